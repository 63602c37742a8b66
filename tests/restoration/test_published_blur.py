"""The light that the published blurs take, and pictures of one's own still have."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from i2sb_jax.bridge import Samples
from i2sb_jax.corruptions import corruption_facts, corruption_names, make_corruption
from i2sb_jax.corruptions.constants import GAUSSIAN_KERNEL, UNIFORM_KERNEL
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.published_blur import REACH, as_published, light_left, note_once
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.sampling import Engine
from tests.restoration.models import identity_model, photo

DARKENING = ("blur-uni", "blur-gauss", "blur-uni-exact", "blur-gauss-exact")
ONCE = Options(nfe=1)


def brighten(monkeypatch, name):
    """Puts the perfect repair of a flat window in the sampler's place: X_1 divided by its light."""

    def finish(self, windows, sampling, **options):
        del self, sampling, options
        for window in windows:
            yield samples_of((window.x1 + 1) / light_left(name, *window.x1.shape[:2]) - 1)

    monkeypatch.setattr(Engine, "stream", finish)
    monkeypatch.setattr(Restorer, "prepare", lambda *_, **__: None)


def samples_of(x0):
    empty = np.zeros((0, *x0.shape), np.float32)
    return Samples(x0, empty, empty)


@pytest.mark.parametrize("name", corruption_names()[:20])
def test_only_what_darkens_is_darkened(name):
    flat = np.full((16, 16, 3), -0.1, np.float32)
    kept = np.array_equal(as_published(name, flat), flat)
    assert kept == corruption_facts(name).keeps_light


@pytest.mark.parametrize("name", DARKENING)
@pytest.mark.parametrize("side", [16, 48])
def test_a_flat_window_is_what_the_operator_makes_of_it(name, side):
    flat = np.full((1, side, side, 3), 120 / 127.5 - 1, np.float32)
    learnt = make_corruption(name, image_size=side).degrade(flat)
    np.testing.assert_allclose(as_published(name, flat), learnt, atol=1e-5)


@pytest.mark.parametrize(
    "name, kernel", [("blur-gauss-exact", GAUSSIAN_KERNEL), ("blur-uni-exact", UNIFORM_KERNEL)]
)
def test_a_picture_blurred_by_the_whole_kernel_comes_near_what_the_operator_makes(name, kernel):
    sharp = photo(64, 64).astype(np.float32) / 127.5 - 1
    blurred = sharp
    for axis in (0, 1):
        blurred = ndimage.correlate1d(blurred, kernel, axis=axis, mode="mirror")
    learnt = make_corruption(name, image_size=64).degrade(sharp[None])[0]
    inner = slice(8, -8)

    def distance(x1):
        return np.sqrt(np.mean((x1 - learnt)[inner, inner] ** 2))

    mine = as_published(name, blurred)
    darkened = (blurred + 1) * light_left(name, 64, 64) - 1  # and left where it was
    assert distance(mine) < 0.4 * distance(darkened)
    assert np.abs(mine - learnt).max() < 0.2  # at borders a mirror is there instead of black


def test_a_window_with_its_surroundings_is_that_of_the_whole():
    picture = photo(80, 80).astype(np.float32) / 127.5 - 1
    share = light_left("blur-gauss-exact", 80, 80)[40, 40]  # far from borders
    whole = (as_published("blur-gauss-exact", picture) + 1) / share - 1
    wide = picture[16 - REACH : 48 + REACH, 16 - REACH : 48 + REACH]
    window = as_published("blur-gauss-exact", wide, margin=REACH)
    assert window.shape == (32, 32, 3)
    expected = (whole[16:48, 16:48] + 1) * light_left("blur-gauss-exact", 32, 32) - 1
    np.testing.assert_allclose(window, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (7, 1030)])
def test_windows_that_are_no_square_have_the_same_borders(shape):
    square, other = light_left("blur-gauss-exact", 64, 64), light_left("blur-gauss-exact", *shape)
    assert other.shape == (*shape, 3)
    np.testing.assert_allclose(other[:3, :3], square[:3, :3], atol=1e-6)
    np.testing.assert_allclose(other[-3:, -3:], square[-3:, -3:], atol=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "blur-gauss-exact")


@pytest.mark.parametrize("options", [ONCE, Options(nfe=1, tile=64)])
def test_a_flat_picture_comes_back_flat(model, tmp_path, monkeypatch, capsys, options):
    brighten(monkeypatch, "blur-gauss-exact")
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((50, 75, 3), 120, np.uint8)).save(tmp_path / "in" / name)
    restore_folder(model, tmp_path / "in", tmp_path / "out", options, quiet=True)
    restored = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.abs(restored.astype(int) - 120).max() <= 1
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1 and "blur-gauss-exact leaves 0.64 of the light" in notes[0]


def test_what_is_wrong_at_the_borders_of_windows_is_not_seen(model, tmp_path, monkeypatch):
    """A repair that is wrong as a trained one was, by so many levels from the border inwards."""
    brighten(monkeypatch, "blur-gauss-exact")
    perfect, levels = Engine.stream, [18, 16, 7, 7, 6, 6, 4, 4, 3, 2, 2, 2, 2, 2, 1, 1, 1]

    def nearly(self, windows, *options, **more):
        for result in perfect(self, windows, *options, **more):
            index = np.arange(len(result.x0))
            inwards = np.minimum(index, index[::-1])
            wrong = np.interp(np.minimum.outer(inwards, inwards), range(17), levels)
            yield samples_of(result.x0 + wrong[..., None].astype(np.float32) / 127.5)

    monkeypatch.setattr(Engine, "stream", nearly)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((150, 200, 3), 120, np.uint8)).save(tmp_path / "in" / "a.png")

    def most_wrong(output, **tiles):
        restore_folder(model, tmp_path / "in", output, Options(nfe=1, **tiles), quiet=True)
        return np.abs(np.asarray(Image.open(output / "a.png")).astype(int) - 120).max()

    assert most_wrong(tmp_path / "default", tile=64) <= 2
    assert most_wrong(tmp_path / "little", tile=64, overlap=16) > 2


def test_clean_pictures_are_degraded_as_ever(model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(16, 16)).save(tmp_path / "in" / "a.png")
    degraded = Options(nfe=1, degrade=True)
    restore_folder(model, tmp_path / "in", tmp_path / "out", degraded, quiet=True)
    sharp = photo(16, 16)[None].astype(np.float32) / np.float32(127.5) - 1
    x1 = make_corruption("blur-gauss-exact", image_size=16).degrade(sharp)[0]
    restored = np.asarray(Image.open(tmp_path / "out" / "a.png"))  # by the identity
    assert np.abs(restored - (x1 + 1) * 127.5).max() <= 1.01
    assert "light" not in capsys.readouterr().err


def test_results_of_before_are_told_apart(model, tmp_path, monkeypatch):
    brighten(monkeypatch, "blur-gauss-exact")
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(16, 16)).save(tmp_path / "in" / "a.png")
    restore_folder(model, tmp_path / "in", tmp_path / "out", ONCE, quiet=True)
    settings = tmp_path / "out" / "restore.json"
    settings.write_text(settings.read_text().replace('"as published"', "null"))
    with pytest.raises(ValueError, match="blurs is None there, 'as published' here"):
        restore_folder(model, tmp_path / "in", tmp_path / "out", ONCE, quiet=True)


@pytest.mark.parametrize("shape", [(16, 16), (20, 50)])
def test_in_python_the_network_sees_the_same(model, monkeypatch, capsys, shape):
    note_once.cache_clear()
    restorer, seen = Restorer.from_workdir(model), []
    windows = Engine.stream

    def watched(self, given, *options, **more):
        given = list(given)
        seen.extend(window.x1 for window in given)
        yield from windows(self, given, *options, **more)

    monkeypatch.setattr(Engine, "stream", watched)
    picture = np.full((1, *shape, 3), 120, np.uint8)
    restored = restorer(picture, nfe=1)
    assert restored.shape == picture.shape
    level = np.float32(120 / 127.5)
    expected = level * light_left("blur-gauss-exact", *seen[0].shape[:2]) - 1
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)
    np.testing.assert_allclose(restored[0], seen[0][: shape[0], : shape[1]], atol=1e-6)
    restorer(picture, nfe=1)
    assert capsys.readouterr().err.count("of the light") == 1
    once = restorer.config.choose_sampling(nfe=1)
    dark = restorer.from_x1(seen[0][None], sampling=once).x0  # X_1 that is dark already
    np.testing.assert_allclose(dark[0], seen[0], atol=1e-6)
