"""Every kind of picture through the installed tool: the right result, or one clear line."""

import os
import pathlib
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.picture_files import STORED, pillow, png
from tests.restoration.models import identity_model, photo

TOOL = pathlib.Path(sys.executable).parent / "i2sb-restore"
RGB = photo(40, 56)
GREY, ALPHA = RGB[..., 0], np.uint8(np.linspace(0, 255, 40 * 56).reshape(40, 56))
DEEP = RGB.astype(np.uint16) * 257 + 3
CMYK = np.dstack([255 - RGB, np.zeros_like(GREY)])


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](RGB))
    return pillow(stored, "PNG", exif=exif.tobytes())


def decoded(data):
    """A JPEG's own pixels: what its coding lost is not restoring's doing."""
    return imagecodecs.jpeg_decode(data)


PALETTE = Image.fromarray(RGB).quantize(200)
SMOOTH = pillow(RGB, "JPEG", quality=95, progressive=True)
# name -> (file, pixels that the result must have)
PICTURES = {
    "rgba.png": (pillow(np.dstack([RGB, ALPHA])), np.dstack([RGB, ALPHA])),
    "la.png": (pillow(np.dstack([GREY, ALPHA])), np.dstack([GREY, ALPHA])),
    "l.png": (pillow(GREY), GREY),
    "p.png": (pillow(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    "i16.png": (pillow(DEEP[..., 0]), DEEP[..., 0]),
    "i16.tif": (pillow(DEEP[..., 1], "TIFF"), DEEP[..., 1]),
    "deep.png": (imagecodecs.png_encode(DEEP), DEEP),
    "cmyk.tif": (pillow(Image.fromarray(CMYK, "CMYK"), "TIFF"), RGB),
    "progressive.jpg": (SMOOTH, decoded(SMOOTH)),
    "one.png": (pillow(RGB[:1, :1]), RGB[:1, :1]),
    "long.png": (pillow(photo(50, 2000)), photo(50, 2000)),
    **{f"exif{n}.png": (turned(n), RGB) for n in STORED},
}
REFUSED = {
    "bomb.png": (png(20_000, 20_000), "20000x20000 pixels are more than"),
    "cut.png": (pillow(RGB)[:300], "truncated"),
    "float.tif": (pillow(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "floating-point"),
    "text.jpg": (b"no picture", "no known picture format"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(What the tool returned, the folder of results)."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "in").mkdir()
    # names that differ in their suffix alone would be written to one file
    for name, (data, _) in (PICTURES | REFUSED).items():
        path = folder / "in" / name
        path.with_stem(f"{path.stem}_{path.suffix[1:]}").write_bytes(data)
    identity_model(folder / "model", "jpeg-10")
    paths = ["--model", "model", "--input", "in", "--output", "out"]
    result = subprocess.run(
        [TOOL, *paths, "--nfe", "1", "--sampler", "ode", "--tile", "64"],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    return result, folder / "out"


@pytest.mark.parametrize("name", PICTURES)
def test_the_identity_returns_every_kind(run, name):
    _, out = run
    path = pathlib.Path(name)
    data = (out / f"{path.stem}_{path.suffix[1:]}.png").read_bytes()
    restored, expected = imagecodecs.png_decode(data), PICTURES[name][1]
    assert restored.shape == expected.shape and restored.dtype == expected.dtype
    assert np.abs(restored.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_restored_is_one_line(run, name):
    result, out = run
    path = pathlib.Path(name)
    name = f"{path.stem}_{path.suffix[1:]}{path.suffix}"
    lines = [line for line in result.stderr.splitlines() if name in line]
    assert len(lines) == 1 and REFUSED[path.name][1] in lines[0], result.stderr
    assert not (out / name).with_suffix(".png").exists()


def test_the_rest_is_done_and_the_status_tells(run):
    result, _ = run
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"{len(PICTURES)} pictures restored" in result.stdout
    assert f"{len(REFUSED)} pictures could not be restored" in result.stdout
