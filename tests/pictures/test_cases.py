"""Files that are easily read wrongly, through the installed tool: each comes back whole."""

import dataclasses
import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.cli import restore
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.pictures import decode_rgb, read_picture
from tests import picture_cases
from tests.picture_cases import DEEP, PIXELS, SRGB
from tests.restoration.models import identity_model

TWELVE = np.uint16(np.rint((DEEP[..., 1:2] >> 4) * (65535 / 4095)))


@dataclasses.dataclass(frozen=True)
class Run:
    status: int
    err: str
    source: object
    out: object

    def result(self, name):
        return read_picture((self.out / name).with_suffix(".png").read_bytes())

    def decoded(self, name):
        with Image.open(self.source / name) as image:
            return np.asarray(image.convert("RGB"))


def tool(model, source, out, *more):
    given = ["--model", model, "--input", source, "--output", out, "--nfe", 1, *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setattr(sys, "argv", ["i2sb-restore", *map(str, given)])
        with pytest.raises(SystemExit) as stop:
            restore.main()
    return stop.value.code


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All cases but the cut-out, whose own task is enlarging, restored by the identity."""
    folder = tmp_path_factory.mktemp("cases")
    picture_cases.write(folder / "in")
    (folder / "in" / "alpha" / "disc.png").rename(folder / "disc.png")
    for name in ("jfif", "jpe", "mpo", "avif"):  # names that differ in their suffix alone
        path = folder / "in" / "suffix" / f"photo.{name}"
        path.rename(path.with_stem(f"photo_{name}"))
    path = folder / "in" / "png" / "turned_by_xmp.webp"
    path.rename(path.with_stem("turned_by_xmp_webp"))
    model = identity_model(folder / "model", "jpeg-10")
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        status = tool(model, folder / "in", folder / "out", "--tile", 64)
        err = sys.stderr.getvalue()
    finally:
        sys.stderr = stderr
    return Run(status, err, folder / "in", folder / "out")


EXACT = {
    "bands/uint16_rgb_as_minisblack.tif": DEEP,
    "bits/twelve.tif": TWELVE,
    "bits/twelve_white_is_zero.tif": TWELVE,
    "depth/white_is_zero16.tif": DEEP[..., 1:2],
    "depth/planar16.tif": DEEP,
    "colour/linear.png": PIXELS,
    "colour/display_p3.png": PIXELS,
    "colour/bigtiff16.tif": DEEP,
    "pages/thumbnail_first.tif": PIXELS,
    "pages/three.tif": PIXELS,
    "names/a.png": PIXELS,
    "names/" + "b" * 246 + ".png": PIXELS,
    "names/c.png": PIXELS,
    "png/trns_beside_alpha.png": PIXELS,
    "png/turned_by_xmp.png": PIXELS,
    "png/turned_by_xmp_webp.webp": PIXELS,
}


@pytest.mark.parametrize("name", EXACT, ids=lambda name: name[:40])
def test_pixels(run, name):
    result = run.result(name).pixels
    assert result.dtype == EXACT[name].dtype
    np.testing.assert_array_equal(result, EXACT[name])


@pytest.mark.parametrize("name", EXACT, ids=lambda name: name[:40])
def test_training_sees_the_same(run, name):
    seen = decode_rgb((run.source / name).read_bytes()).astype(float)
    expected = EXACT[name] / (257 if EXACT[name].dtype == np.uint16 else 1)
    if "alpha" in name:
        opacity = PIXELS[..., :1] / 255
        expected = expected * opacity + 255 * (1 - opacity)
    assert np.abs(seen - expected).max() <= 0.5 + 1e-3 + ("alpha" in name)


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "mpo", "avif"])
def test_suffixes(run, suffix):
    name = f"suffix/photo_{suffix}.{suffix}"
    np.testing.assert_array_equal(run.result(name).pixels, run.decoded(name))


def test_nothing_is_left_out_but_what_is_no_picture(run):
    assert run.status == 0
    assert "1 file with another suffix (.npy) is left out" in run.err
    assert "pages/three.tif is read from page 1 of 3" in run.err
    assert "thumbnail_first" not in run.err


def test_meaning_of_colour(run):
    chunks = {name: dict(run.result(f"colour/{name}").chunks) for name in
              ("linear.png", "display_p3.png")}  # fmt: skip
    assert chunks["linear.png"][b"gAMA"] == struct.pack(">I", 100000)
    assert chunks["display_p3.png"][b"cICP"] == bytes([12, 13, 0, 1])
    assert run.result("colour/bigtiff16.tif").icc_profile == SRGB
    with Image.open(run.out / "colour" / "camera_adobe_rgb.png") as image:
        shot = image.getexif().get_ifd(0x8769)
        assert shot[0xA001] == 65535
        assert image.getexif().get_ifd(0xA005)[1] == "R03"


def test_text_goes_on_as_its_bytes(run):
    exif = run.result("exif/names.jpg").exif
    assert "Ä. Example\0".encode() in exif and "© Ä. Example\0".encode() in exif


def test_a_cut_out_is_enlarged_without_a_fringe(run, tmp_path):
    model = identity_model(tmp_path / "model", "sr4x-photo")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "disc.png").write_bytes((run.source.parent / "disc.png").read_bytes())
    assert tool(model, tmp_path / "in", tmp_path / "out") == 0
    result = read_picture((tmp_path / "out" / "disc.png").read_bytes())
    assert result.pixels.shape == (256, 256, 3)
    opacity = result.alpha[..., None] / 255
    seen = result.pixels * opacity + 255 * (1 - opacity)
    mixture = np.array([220, 40, 40]) * opacity + 255 * (1 - opacity)
    assert (mixture - seen).max() <= 3
    # what is under alpha 0 made the fringe: the same without filling is far darker
    with Image.open(run.source.parent / "disc.png") as image:
        pixels = np.float32(image)[..., :3]
    unfilled = enlarge_smoothly(pixels / 127.5 - 1, 4) * 127.5 + 127.5
    assert (mixture - (unfilled * opacity + 255 * (1 - opacity))).max() > 30
