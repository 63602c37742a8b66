"""Which shipped model a picture asks for, and that taking it does no harm."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from experiments.quickstart import held_out
from i2sb_jax.pictures import read_picture
from i2sb_jax.restoration.choice import choose_for, choose_model
from i2sb_jax.restoration.options import Options

pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def photographs():
    return dict(held_out.photographs("eval"))


def png(pixels):
    return imagecodecs.png_encode(pixels)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def chosen(data):
    return choose_model(read_picture(data)).model


def test_sharp_clean_photographs_are_left_alone(photographs):
    for name, pixels in photographs.items():
        assert chosen(png(pixels)) is None, name
        half = Image.fromarray(pixels).reduce(2)
        assert chosen(png(np.asarray(half))) is None, name


@pytest.mark.parametrize("noise", [5, 10, 25, 50])
def test_noise_is_seen(photographs, noise):
    for name, pixels in photographs.items():
        noisy = held_out.blurred(pixels, width=0, noise=noise, seed=0)
        assert chosen(png(noisy)) == "denoise", name
        assert chosen(jpeg(noisy, quality=98, subsampling=0)) == "denoise", name


@pytest.mark.parametrize("quality", [10, 50, 90, 98])
def test_jpeg_files_are_told_by_their_header(photographs, quality):
    for name, pixels in photographs.items():
        data = jpeg(pixels, quality=quality)
        assert chosen(data) == "jpeg", name
        grey = jpeg(pixels[..., 0], quality=quality)
        assert chosen(grey) == "jpeg", name


@pytest.mark.parametrize("noise", [0, 2])
def test_blur_is_seen_and_its_noise_is_no_reason_to_denoise(photographs, noise):
    for name, pixels in photographs.items():
        for width in (1.2, 1.5, 2):
            blurred = held_out.blurred(pixels, width=width, noise=noise, seed=0)
            assert chosen(png(blurred)) == "deblur", (name, width)


def test_texture_is_not_taken_for_noise():
    rng = np.random.default_rng(0)
    grey = np.clip(rng.normal(128, 40, (128, 128, 1)), 0, 255).astype(np.uint8)
    assert chosen(png(np.repeat(grey, 3, axis=2))) is None
    assert chosen(png(grey)) is None
    assert chosen(png(np.clip(rng.normal(128, 40, (128, 128, 3)), 0, 255).astype(np.uint8))) == (
        "denoise"
    )


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (3, 3, 3), (64, 64, 1), (64, 64, 3)])
def test_flat_and_tiny_pictures_ask_for_nothing(shape):
    assert chosen(png(np.full(shape, 77, np.uint8))) is None


def test_of_large_pictures_the_middle_is_looked_at(photographs):
    pixels = np.tile(photographs["coffee"], (4, 3, 1))
    soft = gaussian_filter(pixels.astype(float), (2, 2, 0)).round().astype(np.uint8)
    assert chosen(png(pixels)) is None and chosen(png(soft)) == "deblur"
    deep = soft.astype(np.uint16) * 257
    assert chosen(png(deep)) == "deblur"


def test_one_line_names_the_choice_and_why(tmp_path, photographs, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(photographs["coffee"], quality=50))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert choose_for(tmp_path, Options()) == "jpeg"
    assert capsys.readouterr().err == (
        "jpeg is taken for a.jpg: a JPEG file of quality 50, and 1 more alike (--model takes "
        "another)\n"
    )
    assert choose_for(tmp_path / "b.jpg", Options()) == "jpeg"
    with pytest.raises(ValueError, match=r"^broken.jpg cannot be read: "):
        choose_for(tmp_path / "broken.jpg", Options())


def test_pictures_that_differ_are_told_apart_and_refused(tmp_path, photographs, capsys):
    pixels = photographs["coffee"]
    (tmp_path / "a.jpg").write_bytes(jpeg(pixels, quality=50))
    noisy = held_out.blurred(pixels, width=0, noise=20, seed=0)
    (tmp_path / "b.png").write_bytes(png(noisy))
    (tmp_path / "c.png").write_bytes(png(pixels))
    with pytest.raises(ValueError, match=r"jpeg suits 1, denoise suits 1, no model suits 1; give"):
        choose_for(tmp_path, Options())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a.jpg: jpeg (a JPEG file of quality 50)"
    assert lines[1].startswith("b.png: denoise (noise of about ")
    assert lines[2] == "c.png: no model (neither JPEG, noise nor blur is found in it)"


def test_where_nothing_is_found_a_name_is_asked_for(tmp_path, photographs):
    (tmp_path / "c.png").write_bytes(png(photographs["coffee"]))
    with pytest.raises(ValueError, match=r"^nothing tells what c.png needs .* name a model by --m"):
        choose_for(tmp_path / "c.png", Options())


@pytest.mark.parametrize(
    "options", [{"degrade": True}, {"masks": "m.png"}, {"member": "jpeg5"}, {"checkpoint": "best"}]
)
def test_options_of_a_run_need_one(tmp_path, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^--model is missing: name it beside --{name}"):
        choose_for(tmp_path, Options(**options))
