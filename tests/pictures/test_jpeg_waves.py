"""The whole numbers of JPEG files, beside what Pillow's decoder makes of the same files."""

import io

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from i2sb_jax.pictures import UnreadableImage, read_jpeg_waves, read_picture

SIZE = (43, 70)
PICTURE = Image.fromarray(
    np.uint8(
        np.clip(
            128
            + 80 * np.sin(np.mgrid[0 : SIZE[0], 0 : SIZE[1]].sum(axis=0) / 9)[..., None]
            + np.random.default_rng(0).normal(0, 25, (*SIZE, 3)),
            0,
            255,
        )
    )
)
SHARED = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
WAYS = {
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
    "progressive, restarts": {"progressive": True, "restart_marker_rows": 1},
}


def jpeg(mode="RGB", **options):
    file = io.BytesIO()
    PICTURE.convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def plane(waves, number, *, table=None):
    """The decoded plane, [h, w] of whole blocks."""
    component = waves.components[number]
    cosines = component.waves * (component.table if table is None else table)
    blocks = scipy.fft.idctn(cosines, axes=(2, 3), norm="ortho").swapaxes(1, 2)
    return blocks.reshape(8 * blocks.shape[0], -1) + 128


def decoded(data):
    """The file's own Y, Cb and Cr as Pillow decodes them, rounded and clipped."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("YCbCr", image.size)
        return np.asarray(image, np.float64)


@pytest.mark.parametrize("quality", (8, 75, 98))
@pytest.mark.parametrize("subsampling", SHARED)
def test_they_decode_to_the_pixels_of_the_file(quality, subsampling):
    data = jpeg(quality=quality, subsampling=subsampling)
    waves = read_jpeg_waves(data)
    assert (waves.height, waves.width) == SIZE
    assert [c[2:] for c in waves.components] == [(1, 1), *[SHARED[subsampling]] * 2]
    luma = plane(waves, 0)[: SIZE[0], : SIZE[1]]
    theirs = decoded(data)
    assert np.abs(np.clip(luma, 0, 255) - theirs[..., 0]).max() < 0.6  # half a level of rounding
    other = read_jpeg_waves(jpeg(quality=quality - 3)).components[0].table
    wrong = plane(waves, 0, table=other)[: SIZE[0], : SIZE[1]]
    assert np.abs(np.clip(wrong, 0, 255) - theirs[..., 0]).max() > 1.5
    if subsampling == "4:4:4":
        for number in (1, 2):
            chroma = plane(waves, number)[: SIZE[0], : SIZE[1]]
            assert np.abs(np.clip(chroma, 0, 255) - theirs[..., number]).max() < 0.6


@pytest.mark.parametrize("mode", ("RGB", "L"))
@pytest.mark.parametrize("way", WAYS)
def test_codes_differ_and_numbers_do_not(mode, way):
    for subsampling in SHARED if mode == "RGB" else ("4:4:4",):
        options = {"quality": 92, "subsampling": subsampling}
        plain, other = jpeg(mode, **options), jpeg(mode, **options, **WAYS[way])
        assert plain != other
        luma = read_jpeg_waves(plain).components[0].waves
        assert np.abs(luma).max() > 15  # several bits, which are refined one by one
        for mine, theirs in zip(
            read_jpeg_waves(plain).components, read_jpeg_waves(other).components, strict=True
        ):
            # filled blocks beside the picture may be written by one way alone
            rows, columns = (-(-side // (8 * n)) for side, n in zip(SIZE, mine[2:], strict=True))
            inside = np.s_[:rows, :columns]
            np.testing.assert_array_equal(mine.waves[inside], theirs.waves[inside])


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_file_is_turned_with_its_picture(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = jpeg("L", quality=90, exif=exif)
    waves, picture = read_jpeg_waves(data), read_picture(data).pixels[..., 0]
    assert (waves.height, waves.width) == picture.shape
    top, left = waves.lead[0]
    shown = plane(waves, 0)[top : top + waves.height, left : left + waves.width]
    assert np.abs(np.clip(shown, 0, 255) - picture).max() < 0.6
    assert np.abs(np.clip(shown[::-1], 0, 255) - picture).max() > 5


def test_what_is_not_read_is_refused():
    data = jpeg(quality=75)
    frame = data.index(b"\xff\xc0")
    for broken, words in (
        (b"", "not a JPEG"),
        (b"\x89PNG", "not a JPEG"),
        (data[: len(data) // 2], "truncated"),
        (data[: frame + 1] + b"\xc3" + data[frame + 2 :], "lossless or arithmetic"),
        (data[: frame + 4] + b"\x0c" + data[frame + 5 :], "12 bits"),
        (jpeg(quality=75, keep_rgb=True), "no luma and chroma"),
        (jpeg("CMYK", quality=75), "no luma and chroma"),
    ):
        with pytest.raises(UnreadableImage, match=words) as error:
            read_jpeg_waves(broken)
        assert "\n" not in str(error.value)
