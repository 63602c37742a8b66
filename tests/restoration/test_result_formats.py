"""--format: what each picture becomes, and that none of it is mixed with another job's."""

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.pictures import read_picture
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.picture_files import pillow, tiff
from tests.restoration.models import identity_model, photo

RGB = photo(16, 16)
DEEP = RGB.astype(np.uint16) * 257 + 5
CUT_OUT = np.dstack([RGB, RGB[..., 0]])
FILES = {
    "a.jpeg": pillow(RGB, "JPEG", quality=90), "b.tif": tiff(DEEP, photometric="rgb"),
    "c.webp": pillow(CUT_OUT, "WEBP"), "d.png": pillow(DEEP[..., 0]), "e.bmp": pillow(RGB, "BMP"),
    "a.png": pillow(CUT_OUT),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    for name, data in FILES.items():
        (tmp_path / "in" / name).write_bytes(data)
    return tmp_path / "in"


def restore(model, source, out, **options):
    return restore_folder(model, source, out, Options(nfe=1, **options), quiet=True)


def test_same_keeps_every_format_and_depth(model, source, tmp_path):
    out = tmp_path / "out"
    assert restore(model, source, out, format="same").restored == 6
    for name in ("a.jpeg", "b.tif", "c.webp", "d.png", "a.png"):
        given, result = (read_picture((folder / name).read_bytes()) for folder in (source, out))
        assert result.file_format == given.file_format
        assert result.pixels.dtype == given.pixels.dtype
        assert (result.alpha is None) == (given.alpha is None)
        lossy = name in ("a.jpeg", "c.webp")
        apart = np.abs(result.pixels.astype(int) - given.pixels)
        assert apart.mean() <= 2 if lossy else apart.max() == 0
    assert read_picture((out / "a.jpeg").read_bytes()).jpeg[:3] == (95, True, "4:4:4")
    with Image.open(out / "e.png") as image:
        np.testing.assert_array_equal(np.asarray(image), RGB)
    assert restore(model, source, out, format="same").skipped == 6
    with pytest.raises(ValueError, match="quality is 95 there, 50 here"):
        restore(model, source, out, format="same", quality=50)


def test_what_jpeg_cannot_hold_is_left_out_or_said(model, source, tmp_path, capsys):
    (source / "a.jpeg").unlink()
    outcome = restore(model, source, tmp_path / "out", format="jpeg", quality=80)
    assert sorted(outcome.unreadable) == ["a.png", "c.webp"] and outcome.restored == 3
    assert "b.tif has 16 bits a channel, of which .jpg keeps 8" in capsys.readouterr().err
    assert read_picture((tmp_path / "out" / "b.jpg").read_bytes()).jpeg.quality == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "format='gif' must be one of same, png"),
        ({"quality": 0}, "quality=0 must lie in 1…100"),
        ({"format": "same", "degrade": True}, "what is measured is PNG"),
    ],
)
def test_choices_that_do_not_fit(model, source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        restore(model, source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "tif", "webp"])
def test_a_single_file(model, source, tmp_path, suffix):
    kind = {"jpg": "jpeg", "jpeg": "jpeg", "tif": "tiff", "webp": "webp"}[suffix]
    out = tmp_path / f"x.{suffix}"
    assert restore(model, source / "e.bmp", out, format=kind).restored == 1
    assert read_picture(out.read_bytes()).file_format == kind.upper()
