"""One photograph through one model, as a page shows it: files, words and refusals."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from i2sb_jax.pictures import encode_picture, read_picture
from i2sb_jax.restoration import trial
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.restoration.models import identity_model, photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


def deep(height, width):
    """A 16-bit PNG with a profile and an alpha."""
    pixels = photo(height, width).astype(np.uint16) * 257
    alpha = np.full((height, width), 40000, np.uint16)
    return encode_picture(pixels, alpha=alpha, icc_profile=PROFILE)


def too_large():
    """The header of a PNG of 20000×20000 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("kind", ["png", "same"])
def test_the_file_is_that_of_restoring_a_folder(model, tmp_path, kind):
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "a.b.png"
    source.write_bytes(deep(40, 52))
    options, told = Options(nfe=2, format=kind), []
    (tmp_path / "tried").mkdir()
    tried = trial.try_model(
        model, source, tmp_path / "tried", options, on_evaluation=lambda *of: told.append(of)
    )
    restore_folder(model, source.parent, tmp_path / "out", options, quiet=True)
    assert tried.result.name == "a.b_restored.png"
    assert tried.result.read_bytes() == (tmp_path / "out" / "a.b.png").read_bytes()
    result = read_picture(tried.result.read_bytes())
    assert result.pixels.dtype == np.uint16 and result.icc_profile == PROFILE
    assert tried.facts == "52 × 40 pixels, 16 bits, transparency, a colour profile, PNG"
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert told and len(told) % 2 == 0 and tried.seconds > 0
    for path in (tried.before, tried.after):
        with Image.open(path) as shown:
            assert (shown.size, shown.mode, shown.info["icc_profile"]) == (
                (52, 40),
                "RGBA",
                PROFILE,
            )
    with Image.open(tried.before) as shown:
        np.testing.assert_array_equal(np.asarray(shown)[..., :3], photo(40, 52))


def test_a_jpeg_stays_one_and_grey_stays_grey(model, tmp_path):
    Image.fromarray(photo(40, 52)).convert("L").save(tmp_path / "g.jpg", quality=10)
    (tmp_path / "tried").mkdir()
    options = Options(nfe=1, format="same")
    tried = trial.try_model(model, tmp_path / "g.jpg", tmp_path / "tried", options)
    assert tried.result.name == "g_restored.jpg"
    assert tried.facts == "52 × 40 pixels, 8 bits, grey, JPEG of quality 95" and not tried.notes
    with Image.open(tried.after) as shown:
        assert (shown.size, shown.mode) == ((52, 40), "L")


def test_what_a_result_cannot_hold_is_told(model, tmp_path):
    frames = [Image.fromarray(photo(20, 24, seed=n)).convert("P") for n in range(2)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "tried").mkdir()
    tried = trial.try_model(model, tmp_path / "two.gif", tmp_path / "tried", Options(nfe=1))
    (note,) = tried.notes
    assert note.startswith("two.gif ") and "first" in note


def test_an_enlargement_is_compared_at_its_own_size_and_screens_have_an_end(
    tmp_path_factory, tmp_path, monkeypatch
):
    model = identity_model(tmp_path_factory.mktemp("model"), "sr4x-photo")
    buffer = io.BytesIO()
    Image.fromarray(photo(12, 20)).save(buffer, "PNG")
    (tmp_path / "small.png").write_bytes(buffer.getvalue())
    for number, (most, size) in enumerate([(2048, (80, 48)), (40, (40, 24))]):
        monkeypatch.setattr(trial, "SCREEN", most)
        (tmp_path / str(number)).mkdir()
        folder = tmp_path / str(number)
        tried = trial.try_model(model, tmp_path / "small.png", folder, Options(nfe=1))
        for path in (tried.before, tried.after):
            with Image.open(path) as shown:
                assert shown.size == size
        with Image.open(tried.result) as result:
            assert result.size == (80, 48)


def test_a_look_tells_what_a_photograph_is_and_needs(tmp_path):
    Image.fromarray(photo(40, 52)).save(tmp_path / "a.jpg", quality=30)
    look = trial.look_at(tmp_path / "a.jpg")
    assert look.facts == "52 × 40 pixels, 8 bits, JPEG of quality 30"
    assert look.choice.model in ("jpeg", "denoise") and look.choice.reason


def test_a_result_that_could_not_be_shown_is_not_begun(tmp_path_factory, tmp_path, monkeypatch):
    model = identity_model(tmp_path_factory.mktemp("model"), "sr4x-photo")
    Image.fromarray(photo(12, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(trial, "MAX_PIXELS", 80 * 48 - 1)
    with pytest.raises(ValueError, match=r"^a.png: its result would have 80x48 pixels, more than"):
        trial.try_model(model, tmp_path / "a.png", tmp_path, Options(nfe=1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no picture", "no known picture format"),
        (too_large(), "20000x20000 pixels are more than the 178956970 that are allowed"),
    ],
)
def test_what_cannot_be_read_is_one_line(model, tmp_path, data, reason):
    source = tmp_path / "x.png"
    source.write_bytes(data)
    for act in (trial.look_at, lambda path: trial.try_model(model, path, tmp_path, Options())):
        with pytest.raises(ValueError, match=f"^x.png cannot be read: {reason}$"):
            act(source)


def test_what_a_task_refuses_is_one_line(tmp_path_factory, tmp_path):
    model = identity_model(tmp_path_factory.mktemp("model"), "inpaint-center")
    Image.fromarray(photo(40, 52)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^a.png is left out: it has no hole"):
        trial.try_model(model, tmp_path / "a.png", tmp_path, Options(nfe=1))
