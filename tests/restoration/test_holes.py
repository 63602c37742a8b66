"""Pictures with holes: which they are, what stays outside of them, and what is computed at all."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.restoration import folder as folder_lib
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import PREVIEW
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.sampling import Engine
from tests.restoration.models import identity_model, photo
from tests.restoration.test_given import close, read, restore


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """An inpainting run with noise: its sampler leaves a little of it on what is known."""
    sde = {"bridge": {"deterministic": False}, "sampling": {"sampler": "ddpm"}}
    return identity_model(tmp_path_factory.mktemp("noisy"), "inpaint-center", **sde)


def cut_out(height, width, rows, columns):
    """A photograph with a transparent rectangle."""
    alpha = np.full((height, width), 255, np.uint8)
    alpha[rows, columns] = 0
    return np.dstack([photo(height, width), alpha])


def test_what_is_known_stays_as_it_is_to_the_last_bit(noisy, tmp_path):
    picture = cut_out(40, 90, slice(4, 12), slice(60, 80))
    deep = np.dstack(
        [picture[..., 0].astype(np.uint16) * 257 + 5, picture[..., 3] * np.uint16(257)]
    )
    given = {"a.png": picture, "deep.png": imagecodecs.png_encode(deep)}
    outcome, out = restore(noisy, tmp_path, Options(nfe=2, tile=32), **given)
    assert outcome.restored == 2
    known = picture[..., 3] > 0
    np.testing.assert_array_equal(read(out / "a.png")[known], picture[known, :3])
    restored = imagecodecs.png_decode((out / "deep.png").read_bytes())
    np.testing.assert_array_equal(restored[known], deep[known, 0])


def test_transparency_that_is_no_hole_stays(noisy, tmp_path):
    picture = cut_out(20, 30, slice(2, 9), slice(2, 9))
    picture[12:, :, 3] = 200
    _, out = restore(noisy, tmp_path, **{"a.png": picture})
    alpha = read(out / "a.png")[..., 3]
    assert (alpha[:12] == 255).all() and (alpha[12:] == 200).all()


def test_tiles_without_a_hole_are_not_restored(noisy, tmp_path, monkeypatch, capsys):
    sizes = []
    windows = Engine.stream

    def counted(self, given, *options, **more):
        given = list(given)
        sizes.append(len(given))
        yield from windows(self, given, *options, **more)

    monkeypatch.setattr(Engine, "stream", counted)
    one_hole = {"a.png": cut_out(64, 128, slice(2, 6), slice(100, 104))}
    for name, options in (("one", {}), ("three", {"samples": 3}), ("states", {"trajectory": True})):
        (tmp_path / name).mkdir()
        options = Options(nfe=2, tile=32, overlap=0, **options)
        outcome, out = restore(noisy, tmp_path / name, options, **one_hole)
        assert outcome.restored == 1
        known = one_hole["a.png"][..., 3] > 0
        restored = read(out / "a.png")
        np.testing.assert_array_equal(restored[known], one_hole["a.png"][known, :3])
        assert not close(restored[~known], one_hole["a.png"][~known, :3], 30)
    assert sizes == [1, 3, 1]  # of the eight tiles
    std = np.load(tmp_path / "three" / "out" / "a_std.npy")
    assert std[~known].min() > 0 and std[known].max() == 0


def test_a_preview_of_a_picture_with_holes_shows_one(noisy, tmp_path):
    given = {"a.png": cut_out(96, 96, slice(2, 8), slice(2, 8))}
    _, out = restore(noisy, tmp_path, Options(nfe=1, preview=True), **given)
    before, after = np.split(read(out / PREVIEW), 2, axis=1)
    changed = np.abs(before.astype(int) - after).max(axis=2) > 30
    hole = given["a.png"][:16, :16, 3] == 0
    assert changed[hole].mean() > 0.9 and not changed[~hole].any()


def test_a_mask_belongs_to_the_picture_of_its_whole_name(noisy, tmp_path):
    hole = np.zeros((20, 20), np.uint8)
    hole[2:9] = 255
    masks = {"a.b.png": hole, "two.png": hole, "two.bmp": hole, "c.png": hole}
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "c.txt").write_text("about c")
    options = Options(nfe=1, masks=str(tmp_path / "masks"))
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / "masks" / name)
    pictures = dict.fromkeys(("a.png", "a.b.png", "two.png", "c.png"), photo(20, 20))
    outcome, _ = restore(noisy, tmp_path, options, **pictures)
    assert outcome.restored == 2
    assert "has no mask named a.*" in outcome.unreadable["a.png"]
    assert "2 masks named two.*: two.bmp, two.png" in outcome.unreadable["two.png"]


def test_white_on_a_transparent_mask_is_a_hole_and_the_transparent_is_none(noisy, tmp_path):
    hole = np.zeros((20, 20), bool)
    hole[2:9] = True
    white = np.full((20, 20, 3), 255, np.uint8)
    painted = np.dstack([white, np.uint8(hole) * 255])
    Image.fromarray(painted).save(tmp_path / "mask.png")
    options = Options(nfe=1, masks=str(tmp_path / "mask.png"))
    _, out = restore(noisy, tmp_path, options, **{"a.png": photo(20, 20)})
    np.testing.assert_array_equal(read(out / "a.png")[~hole], photo(20, 20)[~hole])
    assert not close(read(out / "a.png")[hole], photo(20, 20)[hole], 30)


def test_a_broken_mask_is_named(noisy, tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no picture")
    options = Options(nfe=1, masks=str(tmp_path / "mask.png"))
    outcome, _ = restore(noisy, tmp_path, options, **{"a.png": photo(20, 20)})
    assert "mask.png cannot be read: no known picture format" in outcome.unreadable["a.png"]


def test_large_pictures_with_little_to_restore_do_not_wait_for_a_full_batch(
    noisy, tmp_path, monkeypatch
):
    waiting = []
    tried = folder_lib._Work._job

    def watched(self, name):
        waiting.append(name)
        return tried(self, name)

    wrote = folder_lib._Work._write

    def written(self, job):
        wrote(self, job)
        most.append(len(waiting))
        waiting.remove(job.subject.name)

    monkeypatch.setattr(folder_lib._Work, "_job", watched)
    monkeypatch.setattr(folder_lib._Work, "_write", written)
    given = {f"{n}.png": cut_out(32, 32, slice(2, 6), slice(2, 6)) for n in range(12)}
    bounds = {}
    for limit in (2**24, 2000):  # two pictures of 32² are more
        most = []
        monkeypatch.setattr(folder_lib, "_MOST_PIXELS", limit)
        (tmp_path / str(limit)).mkdir()
        outcome, out = restore(noisy, tmp_path / str(limit), Options(nfe=1, tile=16), **given)
        assert outcome.restored == 12
        bounds[limit] = max(most), [read(out / name).tobytes() for name in given]
    batch = Restorer.from_workdir(noisy).batch_size
    assert bounds[2000][0] <= 4 <= 2 * batch == bounds[2**24][0]
    assert bounds[2000][1] == bounds[2**24][1]


def test_a_mask_without_a_hole_leaves_nothing_to_do(noisy, tmp_path):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "mask.png")
    options = Options(nfe=1, masks=str(tmp_path / "mask.png"))
    outcome, _ = restore(noisy, tmp_path, options, **{"a.png": photo(20, 20)})
    assert "it has no hole" in outcome.unreadable["a.png"]
