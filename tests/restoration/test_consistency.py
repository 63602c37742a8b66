"""Results that agree with the files they are made of, through folders and from Python."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.corruptions.consistency import EIGHT_BITS
from i2sb_jax.corruptions.photo_blur import convolve, gaussian_psf
from i2sb_jax.pictures import decode_rgb, from_uint8, read_jpeg_waves
from i2sb_jax.restoration import Restorer, outputs
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.measured import Held, measure_array, measure_file, reduced
from i2sb_jax.restoration.options import Options
from i2sb_jax.run import Run
from tests.restoration.models import identity_model, photo
from tests.training.tiny import make_config

HELD = {"consistency": "projection"}
BICUBIC = HELD | {"operator": "bicubic"}


def random_model(folder, corruption):
    """A network of random weights, off everywhere, whose windows differ where they overlap."""
    config = make_config(
        corruption=corruption, bridge={"deterministic": True}, sampling={"sampler": "ode"}
    )
    shapes = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    rng = np.random.default_rng(0)
    draw = lambda s: 0.1 * rng.standard_normal(s.shape).astype(np.float32)  # noqa: E731
    interop.save_model(folder, config, jax.tree.map(draw, shapes))
    return folder


@pytest.fixture(scope="module")
def reduction(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("reduction") / "model", "sr4x-photo")


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("jpeg") / "model", "jpeg-told")


def restored(model, source, output, **options):
    outcome = restore_folder(model, source, output, Options(nfe=1, **options), quiet=True)
    assert not outcome.unreadable and outcome.restored == 1
    (made,) = output.glob("*.png")
    return decode_rgb(made.read_bytes())


def reduce(pixels, kernel=Image.Resampling.BICUBIC):
    size = (pixels.shape[1] // 4, pixels.shape[0] // 4)
    return np.asarray(Image.fromarray(pixels).resize(size, kernel), np.int32)


def test_an_enlarged_picture_is_its_own_file_when_reduced(reduction, tmp_path):
    """In windows that overlap, in two pictures of one run."""
    (tmp_path / "in").mkdir()
    small = reduce(photo(96, 128)).astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "in" / "a.png")

    def off(name, **options):
        made = restored(reduction, tmp_path / "in", tmp_path / name, tile=64, **options)
        return np.abs(reduce(made) - small)

    held, free = off("held", **BICUBIC), off("free")
    assert np.mean(free) > 2 and np.mean(held) < 0.6  # of levels; rounding alone is 0.3


def test_python_gives_the_same_as_a_file(reduction):
    restorer = Restorer.from_workdir(reduction)
    small = reduce(photo(32, 48)).astype(np.uint8)
    images = np.stack([enlarge_smoothly(from_uint8(each), 4) for each in (small, small[::-1])])
    np.testing.assert_allclose(reduced("sr4x-photo", images[0]), from_uint8(small), atol=1e-5)
    together = restorer(images, nfe=1, **BICUBIC)
    alone = restorer(images[:1], nfe=1, names=["0"], **BICUBIC)
    np.testing.assert_array_equal(together[0], alone[0])
    free = restorer(images, nfe=1)
    for image, held, other in zip((small, small[::-1]), together, free, strict=True):
        misses = [np.abs(reduce(np.uint8(np.rint((x + 1) * 127.5))) - image) for x in (held, other)]
        assert np.mean(misses[0]) < 0.6 < 2 < np.mean(misses[1])


def test_noise_of_a_blurred_picture_is_not_amplified():
    clean = from_uint8(photo(48, 64))
    rng = np.random.default_rng(5)
    levels = convolve((clean + 1.0) * 127.5, gaussian_psf(1.5, 1.5, 0.0))
    noisy = from_uint8(np.uint8(np.clip(np.rint(levels + rng.normal(0, 3, clean.shape)), 0, 255)))
    guess = clean + 0.03 * rng.standard_normal(clean.shape).astype(np.float32)
    held = Held("blur-photo", "projection", "gauss-1.5")

    def error(measurement):
        return np.mean((measurement.correct(guess) - clean) ** 2)

    told = measure_array(held, noisy)(0, 0, (48, 64))
    untold = told._replace(back=told.gain / (told.gain**2 + (EIGHT_BITS / 0.05) ** 2))
    assert error(told) < np.mean((guess - clean) ** 2) < error(untold)


def coded(subsampling, turn=1, quality=75, mode="RGB", size=(75, 102)):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(photo(*size)).convert(mode)
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, exif=exif)
    return file.getvalue()


def same_numbers(data, pixels, subsampling):
    """The share of whole numbers that pixels have again where they are saved likewise."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75, subsampling=subsampling)
    parts = (read_jpeg_waves(each).components for each in (data, file.getvalue()))
    same = [np.ravel(mine.waves == other.waves) for mine, other in zip(*parts, strict=True)]
    return np.mean(np.concatenate(same))


def steps_outside(data, answer):
    """The furthest cosine of an answer from the cell of its file, in steps."""
    waves = read_jpeg_waves(data)
    assert answer.shape == (waves.height, waves.width, 3)
    ahead = [max(lead) % 16 for lead in zip(*waves.lead, strict=True)]
    sides = [(n, -(n + side) % 16) for n, side in zip(ahead, answer.shape[:2], strict=True)]
    padded = np.pad(answer, [*sides, (0, 0)])
    cell = measure_file(data, answer.shape[:2])(*(-n for n in ahead), padded.shape[:2])
    assert 0.5 < np.isfinite(cell.luma_half).mean() < 1  # the others reach beyond the picture
    pairs = zip(cell.outside(padded), (cell.luma_half, cell.chroma_half), strict=True)
    return max(np.max(np.abs(far) / (2 * np.maximum(half, 1))) for far, half in pairs)


@pytest.mark.parametrize("subsampling, turn, mode", [(2, 1, "RGB"), (1, 3, "RGB"), (0, 6, "L")])
def test_an_answer_lies_in_the_cell_of_its_file(
    jpeg, tmp_path, monkeypatch, subsampling, turn, mode
):
    """Before it is clipped and rounded, in blended windows, however the file was turned."""
    (tmp_path / "in").mkdir()
    data = coded(subsampling, turn, mode=mode)
    (tmp_path / "in" / "a.jpg").write_bytes(data)
    write_rows, finished = outputs.Pixels.write_rows, []

    def spy(self, top, rows):
        finished.append(rows[max(self._subject.lead[0] - top, 0) :, self._subject.lead[1] :])
        write_rows(self, top, rows)

    monkeypatch.setattr(outputs.Pixels, "write_rows", spy)

    def answered(name, **options):
        finished.clear()
        made = restored(jpeg, tmp_path / "in", tmp_path / name, tile=32, **options)
        return steps_outside(data, np.concatenate(finished)), made

    steps, made = answered("held", **HELD)
    assert steps < 1e-3
    if turn == 1:  # the control, and what eight bits leave of it
        free, other = answered("free")
        assert free > 0.1
        shares = [same_numbers(data, pixels, subsampling) for pixels in (made, other)]
        assert shares[0] > 0.8 and shares[0] > shares[1]


def test_python_takes_the_files_themselves(jpeg):
    restorer, data = Restorer.from_workdir(jpeg), coded(2, size=(64, 64))
    image = from_uint8(decode_rgb(data))[None]
    held = restorer(image, nfe=1, told=[data], **HELD)
    cell = measure_file(data, (64, 64))(0, 0, 64)
    assert np.mean(np.abs(cell.outside(held[0])[0]) > 0.01) < 0.01  # clipping moves a few
    for told, words in (
        (None, "needs the JPEG files"),
        ([data, data], "needs the JPEG files"),
        ([b"no"], "not a JPEG"),
        ([coded(2, size=(64, 80))], "64x80 pixels is told for an image of 64x64"),
    ):
        with pytest.raises(ValueError, match=words):
            restorer(image, nfe=1, told=told, **HELD)


def test_what_no_operator_made_is_refused(tmp_path, capsys):
    def model(corruption):
        return identity_model(tmp_path / corruption, corruption)

    (tmp_path / "in").mkdir()
    Image.fromarray(photo(32, 32)).save(tmp_path / "in" / "a.png")
    for corruption, options, words in (
        ("sr4x-photo", HELD, "name it, one of box"),
        ("sr4x-photo", {"operator": "bicubic"}, "for consistency, which is off"),
        ("sr4x-photo", {"consistency": "exact"}, "consistency='exact'"),
        ("sr4x-photo", BICUBIC | {"degrade": True}, "X_1 of sr4x-photo alone"),
        ("blur-gauss", HELD, "only made to look as blur-gauss leaves them"),
        ("noise", HELD, "every pixel at random"),
    ):
        if not (tmp_path / corruption).exists():
            model(corruption)
        with pytest.raises(ValueError, match=words) as error:
            restored(tmp_path / corruption, tmp_path / "in", tmp_path / "out", **options)
        assert "\n" not in str(error.value)
    outcome = restore_folder(
        model("jpeg-10"), tmp_path / "in", tmp_path / "out", Options(**HELD), quiet=True
    )
    assert outcome.unreadable == {"a.png": "not a JPEG"}


def test_windows_that_do_not_fit_are_refused():
    data = coded(2, size=(64, 64))
    with pytest.raises(ValueError, match="whole blocks of 16, and these have 24x32 pixels"):
        measure_file(data, (64, 64))(0, 0, (24, 32))
    with pytest.raises(ValueError, match="30x32 pixels are none that sr4x-photo enlarged 4 times"):
        measure_array(Held("sr4x-photo", "projection", "box"), np.zeros((30, 32, 3), np.float32))


def test_unseen_colours_are_not_agreed_with(tmp_path):
    """Of what is fully transparent nobody knows the colour."""
    (tmp_path / "in").mkdir()
    pixels = np.full((16, 16, 4), 128, np.uint8)
    pixels[:, 8:] = (255, 0, 0, 0)
    pixels[:, :8, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    model = identity_model(tmp_path / "model", "sr4x-photo")
    restore_folder(model, tmp_path / "in", tmp_path / "out", Options(**BICUBIC), quiet=True)
    made = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.abs(made[:, :32, :3].astype(int) - 128).max() < 3


def test_results_without_it_are_gone_on_with(reduction):
    resolved = Options().resolve(config_lib.load(reduction))
    assert resolved.consistency == "" and not {"consistency", "operator"} & set(resolved.settings())
    held = Options(**BICUBIC).resolve(config_lib.load(reduction)).settings()
    assert held["consistency"] == "projection" and held["operator"] == "bicubic"
