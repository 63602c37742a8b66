"""Pictures in: pixels, alpha, depth, the colours' meaning and what goes with them, of one reading.

`read_picture` keeps a picture's kind: what is grey, transparent or of 16 bits stays so, with its
colour profile, dates and camera. `decode_rgb` is the same picture as training and measures take it:
8 bits, three channels, transparency laid over white.
"""

import contextlib
import importlib
import importlib.util
import io
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
from etils import epath
from PIL import Image, features

from i2sb_jax.pictures.deep import decode_deep, jpeg2000_bits, netpbm_bits
from i2sb_jax.pictures.exif import (
    Tags,
    icc_profile_of,
    kept_exif,
    read_tags,
    resolution_of,
)
from i2sb_jax.pictures.header import (
    COLUMNS_TURNED,
    MAX_PIXELS,
    PNG_SIGNATURE,
    ROWS_TURNED,
    PngHeader,
    UnreadableImage,
    orientation_of,
    read_png_header,
    refused_in_one_line,
    require_pixels,
    upright,
)
from i2sb_jax.pictures.jpeg import JpegInfo, jpeg_info
from i2sb_jax.pictures.jpegxl import decode_jpegxl, is_jpegxl, jpegxl_size
from i2sb_jax.pictures.modes import layers_of, split_alpha
from i2sb_jax.pictures.pixels import center_crop, short_side_scaled
from i2sb_jax.pictures.profiles import fitting_profile, stored_profile
from i2sb_jax.pictures.tiff import (
    TIFF_SIGNATURES,
    UNREAD_COMPRESSIONS,
    Layers,
    TiffPicture,
    require_values,
    tiff_layers,
    tiff_picture,
)

_JPEGS = ("JPEG", "MPO")  # as Pillow calls them
_BLOCK = 16  # pixels: a JPEG's 8, chroma halved
# Formats are named, so that a stray file never starts Ghostscript or some exotic parser.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
_FORMATS += ("AVIF",) if features.check("avif") else ()
if importlib.util.find_spec("pillow_heif") is not None:
    importlib.import_module("pillow_heif").register_heif_opener()
    _FORMATS += ("HEIF",)
_OF_SEVERAL = ("GIF", "WEBP", "AVIF", "MPO", "HEIF")
_MAY_BE_DEEP = ("PPM", "JPEG2000")  # of which Pillow reads 8 bits
_COMPRESSION, _DESCRIPTION = 259, 270  # tags of TIFF
_STACKS = ("ImageJ=", "<?xml", "<OME")
# tag -> values: no reduced copy, black is zero or RGB, one sample or three, and those side by side
_SIMPLE_TIFF = {254: (None, 0), 262: (1, 2), 277: (None, 1, 3), 284: (None, 1)}
_OTHER_COLOURS = ("CMYK", "LAB")  # modes whose pixels become sRGB
_IPTC = 0x0404  # among Photoshop's resources
_INCH = 0.0254
_PIXELS_PER_METRE = 1  # the unit of PNG's chunk pHYs

Chunks = tuple[tuple[bytes, bytes], ...]


class Picture(NamedTuple):
    """A picture as a file holds it, upright.

    Attributes:
        pixels: uint8 or uint16 [h, w, 1] (grey) or [h, w, 3] (RGB).
        alpha: [h, w] of the same type, or None. Straight: colours under it are as stored.
        icc_profile: of the pixels' colour space, or None.
        exif: what may be kept: dates, camera, lens, exposure, artist, copyright; or None.
        jpeg: how a JPEG was made; None for other formats.
        chunks: (kind, contents) of a PNG that tell what the numbers mean as light, or how large the
            picture is; of other formats the latter alone.
        block_offset: as of `PictureHeader`.
        file_format: as Pillow calls it, such as "PNG".
        notes: what of the file is not here, each in some words that go on from its name.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    jpeg: JpegInfo | None = None
    chunks: Chunks = ()
    block_offset: tuple[int, int] = (0, 0)
    file_format: str = "PNG"
    notes: tuple[str, ...] = ()


class PictureHeader(NamedTuple):
    """The header of a picture, of it upright.

    Attributes:
        width, height: pixels.
        block_offset: rows and columns by which a JPEG's grid of 16×16 blocks begins above and left
            of the picture; (0, 0) but where it was turned, and for all other formats.
    """

    width: int
    height: int
    block_offset: tuple[int, int]


def read_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes a picture and keeps its kind.

    Palettes become RGB. CMYK and CIELAB become sRGB, by the embedded profile if there is one. 16
    bits are kept in PNG, PPM, JPEG 2000 and JPEG XL, and in TIFF of grey or RGB; AVIF and HEIC are
    read in 8. TIFF, PPM and JPEG 2000 of 9 to 15 bits are spread over 16. Of an animation the first
    picture is read, of a TIFF the first page that is no reduced copy, or three channels of ImageJ
    or OME as the colours that they are.

    Args:
        data: a whole JPEG, PNG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000, JPEG XL or
            AVIF file.
        max_pixels: refuse larger pictures. The header is asked, before any pixel is decoded.

    Raises:
        UnreadableImage: empty, truncated, unknown, too large or broken in any other way.
    """
    if _is_png(data):
        with refused_in_one_line():
            return _read_png(data, max_pixels)
    if is_jpegxl(data):
        with refused_in_one_line():
            notes = ["is JPEG XL, of which pixels alone are read, and no profile and dates"]
            layers = _jpegxl_layers(data, max_pixels)
            return _picture(layers, None, read_tags(b""), chunks=(), file_format="JXL", notes=notes)
    found = _tiff(data)
    if found is not None and found.is_plain:
        with refused_in_one_line():
            return _read_tiff(data, found, max_pixels)
    with _opened(data, max_pixels, found) as image:
        return _read_other(data, image, found)


def decode_rgb(
    data: bytes, *, max_pixels: int = MAX_PIXELS, tell: Callable[[str], None] | None = None
) -> np.ndarray:
    """Returns the picture that `read_picture` reads as the eye sees it: 8 bits, RGB, over white.

    Args:
        data: as there.
        max_pixels: as there.
        tell: told of what of the file is not seen here, and of colours that become others, in words
            as of `Picture.notes`.

    Returns:
        uint8 [h, w, 3], upright; possibly read-only.

    Raises:
        UnreadableImage: as there.
    """
    if _is_png(data):
        with refused_in_one_line():
            header = read_png_header(io.BytesIO(data))
            _tell_all(tell, _png_notes, header)
            return _shown(_png_layers(data, header, max_pixels))
    if is_jpegxl(data):
        with refused_in_one_line():
            return _shown(_jpegxl_layers(data, max_pixels))
    if (image := _simple_tiff(data, max_pixels)) is not None:
        return np.asarray(_as_rgb(image))
    found = _tiff(data)
    if found is not None and found.is_plain:
        _tell_all(tell, _tiff_notes, found)
        with refused_in_one_line():
            return _shown(tiff_layers(data, found, max_pixels=max_pixels))
    with _opened(data, max_pixels, found) as image:
        _tell_all(tell, _other_notes, image, found)
        loaded = _load(data, image)
        if isinstance(loaded, Layers):
            return _shown(loaded)
        if _is_plain(loaded):  # most pictures are: nothing is copied twice
            turn = orientation_of(loaded)
            return np.ascontiguousarray(upright(np.asarray(_as_rgb(loaded)), turn))
        return _shown(_upright(layers_of(loaded), orientation_of(loaded)))


def decode_square(
    data: bytes,
    size: int,
    *,
    max_pixels: int = MAX_PIXELS,
    tell: Callable[[str], None] | None = None,
) -> np.ndarray:
    """The central square of `decode_rgb`'s picture with its short side scaled to `size`.

    The bytes are those of `center_crop(resize_short_side(decode_rgb(data), size), size)`, but the
    whole picture stays Pillow's. Decoding a JPEG at a half or a quarter of its size would be faster
    and is not done, for it gives other pixels; nor is scaling the square alone (`box` of Pillow's
    resize), whose corners are rounded to float32.

    Args:
        data: as there.
        size: pixels.
        max_pixels: as there.
        tell: as there.

    Returns:
        uint8 [size, size, 3].

    Raises:
        UnreadableImage: as there.
    """
    if (simple := _simple_tiff(data, max_pixels)) is not None:
        return _square(_as_rgb(simple), size)
    if _is_png(data) or is_jpegxl(data) or data[:4] in TIFF_SIGNATURES:
        return _square(Image.fromarray(decode_rgb(data, max_pixels=max_pixels, tell=tell)), size)
    with _opened(data, max_pixels, None) as image:
        _tell_all(tell, _other_notes, image, None)
        loaded = _load(data, image)
        if isinstance(loaded, Layers):
            return _square(Image.fromarray(_shown(loaded)), size)
        turn = orientation_of(loaded)
        if turn == 1 and _is_plain(loaded):
            return _square(_as_rgb(loaded), size)
        return _square(Image.fromarray(_shown(_upright(layers_of(loaded), turn))), size)


def picture_header(
    source: epath.PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS
) -> PictureHeader:
    """Size and place of the blocks of a picture, from its header.

    Args:
        source: a path, local or gs://, or an open file.
        max_pixels: refuse larger pictures.

    Raises:
        UnreadableImage: no picture, or a larger one.
    """
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        with epath.Path(source).open("rb") as file:
            return picture_header(file, max_pixels=max_pixels)
    with refused_in_one_line():
        (width, height), turn, is_jpeg = _stored_size(source)
        require_pixels(width, height, max_pixels)
        width, height = (width, height) if turn < 5 else (height, width)
        offset = _block_offset(width, height, turn) if is_jpeg else (0, 0)
        return PictureHeader(width, height, offset)


def picture_size(
    source: epath.PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """(width, height) of a picture, upright; as `picture_header`."""
    return picture_header(source, max_pixels=max_pixels)[:2]


# --- Each family of files ------------------------------------------------------------------------


def _is_png(data: bytes) -> bool:
    return data.startswith(PNG_SIGNATURE)


def _tiff(data: bytes) -> TiffPicture | None:
    return tiff_picture(io.BytesIO(data)) if data[:4] in TIFF_SIGNATURES else None


def _read_png(data: bytes, max_pixels: int) -> Picture:
    header = read_png_header(io.BytesIO(data))
    layers = _png_layers(data, header, max_pixels)
    tags = read_tags(header.exif or b"")
    chunks = dict(header.chunks)
    if b"sBIT" in chunks:
        chunks[b"sBIT"] = _significant_bits(chunks[b"sBIT"], layers)
    if b"pHYs" not in chunks and (resolution := resolution_of(tags)):
        chunks[b"pHYs"] = _physical(resolution)
    return _picture(
        layers,
        header.icc_profile,
        tags,
        chunks=tuple((kind, body) for kind, body in chunks.items() if body),
        file_format="PNG",
        notes=_png_notes(header) + _text_notes(header.texts),
    )


def _png_notes(header: PngHeader) -> list[str]:
    return ["holds an animation, of which the first picture is read"] if header.is_animated else []


def _png_layers(data: bytes, header: PngHeader, max_pixels: int) -> Layers:
    require_values((header.height, header.width, header.channels), max_pixels)
    try:
        array = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:  # names functions of the library
        raise UnreadableImage(f"a truncated or broken PNG ({error})") from None
    if array.shape[:2] != (header.height, header.width):
        raise UnreadableImage(f"pixels {array.shape} differ from the header's")
    array = array if array.ndim == 3 else array[..., None]
    return _upright(split_alpha(array), header.orientation)


def _jpegxl_layers(data: bytes, max_pixels: int) -> Layers:
    width, height = jpegxl_size(io.BytesIO(data))
    require_pixels(width, height, max_pixels)
    return split_alpha(decode_jpegxl(data))


def _simple_tiff(data: bytes, max_pixels: int) -> Image.Image | None:
    """The usual TIFF, grey or RGB in bytes, upright; None of any other, which takes longer to read.

    Of it Pillow and tifffile tell the same.
    """
    if data[:4] not in TIFF_SIGNATURES:
        return None
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
        tags = {tag: image.tag_v2.get(tag) for tag in _SIMPLE_TIFF}
        channels = len(image.getbands())
        is_simple = all(value in _SIMPLE_TIFF[tag] for tag, value in tags.items())
        is_simple &= image.mode in ("L", "RGB") and image.tag_v2[258] == (8,) * channels
        is_simple &= image.tag_v2.get(_COMPRESSION) not in UNREAD_COMPRESSIONS
        is_simple &= not image.is_animated  # pages that may be colours, or are to be told of
        is_simple &= not str(image.tag_v2.get(_DESCRIPTION, "")).startswith(_STACKS)
    except Exception:  # whoever reads it says what is wrong with it
        return None
    if not is_simple:
        return None
    with refused_in_one_line():
        require_pixels(*image.size, max_pixels)
        image.load()
        return image


def _read_tiff(data: bytes, found: TiffPicture, max_pixels: int) -> Picture:
    layers = tiff_layers(data, found, max_pixels=max_pixels)
    tags = read_tags(data, at=found.place)
    return _picture(
        layers,
        icc_profile_of(tags),
        tags,
        chunks=_physical_chunks(resolution_of(tags)),
        file_format="TIFF",
        notes=_tiff_notes(found) + _text_notes(found.texts),
    )


def _tiff_notes(found: TiffPicture) -> list[str]:
    notes = []
    if found.composite is not None:
        notes.append("holds three channels, which are read as red, green and blue")
    elif found.pages > 1:
        notes.append(f"is read from page 1 of {found.pages}, and the others are left out")
    if found.dropped:
        notes.append(f"has {found.dropped} channels beside its colours, which are left out")
    return notes


def _read_other(data: bytes, image: Image.Image, found: TiffPicture | None) -> Picture:
    notes, loaded = _other_notes(image, found), _load(data, image)
    layers = loaded if isinstance(loaded, Layers) else layers_of(loaded)
    turn = orientation_of(image)
    layers = _upright(layers, turn)
    if found is not None:
        tags = read_tags(data, at=found.place)
        resolution = resolution_of(tags)
    else:
        tags = read_tags(image.info.get("exif") or b"")
        resolution = _resolution(image, tags)
    icc_profile = image.info.get("icc_profile") or stored_profile(data)
    if layers.pixels.dtype == np.uint8 and (bits := _stored_bits(data, image)) > 8:
        notes.append(f"has {bits} bits a channel, of which 8 are read")
    notes += _text_notes(_texts(image) if found is None else found.texts)
    picture = _picture(
        layers,
        icc_profile,
        tags,
        chunks=_physical_chunks(resolution),
        file_format=image.format,
        notes=notes,
        keeps_colours=image.mode not in _OTHER_COLOURS,
    )
    if image.format in _JPEGS:
        height, width = layers.pixels.shape[:2]
        picture = picture._replace(block_offset=_block_offset(width, height, turn))
        # a header that says nothing of the quality is no reason to lose the picture
        with contextlib.suppress(UnreadableImage):
            picture = picture._replace(jpeg=jpeg_info(image))
    return picture


def _other_notes(image: Image.Image, found: TiffPicture | None) -> list[str]:
    """Tells of other pictures in what Pillow has opened, and of colours that become others."""
    notes = [] if found is None else _tiff_notes(found)
    if found is None and image.format in _OF_SEVERAL and getattr(image, "n_frames", 1) > 1:
        notes.append(f"holds {image.n_frames} pictures, of which the first is read")
    if image.mode in _OTHER_COLOURS:
        notes.append(f"is {image.mode}, and becomes sRGB")
    return notes


def _tell_all(
    tell: Callable[[str], None] | None, notes: Callable[..., list[str]], *of: object
) -> None:
    for note in () if tell is None else notes(*of):
        tell(note)


def _picture(
    layers: Layers,
    icc_profile: bytes | None,
    tags: Tags,
    *,
    chunks: Chunks,
    file_format: str,
    notes: list[str],
    keeps_colours: bool = True,
) -> Picture:
    pixels, alpha = layers
    fitting = fitting_profile(icc_profile, pixels.shape[2])
    if icc_profile and fitting is None and keeps_colours:
        notes = [*notes, "has a colour profile that is not of its pixels' kind, and is left out"]
    return Picture(
        np.ascontiguousarray(pixels),
        None if alpha is None else np.ascontiguousarray(alpha),
        fitting,
        kept_exif(tags, keeps_colours=keeps_colours),
        chunks=chunks,
        file_format=file_format,
        notes=tuple(notes),
    )


@contextlib.contextmanager
def _opened(data: bytes, max_pixels: int, found: TiffPicture | None) -> Iterator[Image.Image]:
    """A picture opened by Pillow; whatever fails inside is one line."""
    if not data:
        raise UnreadableImage("the file is empty")
    with refused_in_one_line(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if found is not None and found.page:
            image.seek(found.page)
        require_pixels(*image.size, max_pixels)
        yield image


def _load(data: bytes, image: Image.Image) -> Image.Image | Layers:
    """The same picture loaded; of more bits than Pillow reads, its layers.

    Only then its orientation is known: EXIF may follow the pixels, and TIFF turns itself upright on
    loading.
    """
    if image.format in _MAY_BE_DEEP and (deep := decode_deep(data, *image.size)) is not None:
        return deep
    image.load()
    return image


def _stored_size(file: BinaryIO) -> tuple[tuple[int, int], int, bool]:
    """(width, height) as stored, orientation, and whether it is a JPEG."""
    start = file.read(12)
    file.seek(0)
    if is_jpegxl(start):
        return jpegxl_size(file), 1, False
    if start.startswith(PNG_SIGNATURE):
        header = read_png_header(file)
        return (header.width, header.height), header.orientation, False
    if start[:4] in TIFF_SIGNATURES:
        found = tiff_picture(file)
        if found is not None:
            return (found.width, found.height), found.orientation, False
        file.seek(0)
    with Image.open(file, formats=_FORMATS) as image:
        return image.size, orientation_of(image), image.format in _JPEGS


def _block_offset(width: int, height: int, turn: int) -> tuple[int, int]:
    """Blocks begin at the first stored pixel, wherever that has come to lie upright."""
    return (
        -height % _BLOCK if turn in ROWS_TURNED else 0,
        -width % _BLOCK if turn in COLUMNS_TURNED else 0,
    )


# --- Of the pixels -------------------------------------------------------------------------------


def _is_plain(image: Image.Image) -> bool:
    return image.mode in ("RGB", "L") and not image.has_transparency_data


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(layers: Layers, turn: int) -> Layers:
    pixels, alpha = layers
    return Layers(upright(pixels, turn), None if alpha is None else upright(alpha, turn))


def _shown(layers: Layers) -> np.ndarray:
    """uint8 [h, w, 3] of any layers, over white."""
    pixels, alpha = layers
    if alpha is not None and pixels.dtype == np.uint8:
        rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        rgba = Image.fromarray(np.dstack([rgb, alpha]))
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    if alpha is not None:
        most, opacity = np.uint32(65535), alpha[..., None].astype(np.uint32)
        pixels = (pixels * opacity + most * (most - opacity) + most // 2) // most
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _square(image: Image.Image, size: int) -> np.ndarray:
    new_size = short_side_scaled(*image.size, size)
    scaled = np.asarray(image.resize(new_size, Image.Resampling.BILINEAR))
    # a copy, lest the square keep the whole picture in memory
    return center_crop(scaled, size).copy()


# --- Of what goes with them ----------------------------------------------------------------------


def _texts(image: Image.Image) -> tuple[str, ...]:
    """Returns what JPEG, WebP and AVIF tell in words that EXIF does not."""
    found = {
        "IPTC": _IPTC in image.info.get("photoshop", {}),
        "XMP": bool(image.info.get("xmp")),
    }
    return tuple(name for name, is_there in found.items() if is_there)


def _text_notes(texts: tuple[str, ...]) -> list[str]:
    return [f"has {' and '.join(texts)}, which the result has not"] if texts else []


def _significant_bits(stored: bytes, layers: Layers) -> bytes:
    """A chunk sBIT for the channels that the pixels have now; empty where it does not fit."""
    depth = 8 * layers.pixels.dtype.itemsize
    channels = layers.pixels.shape[2] + (layers.alpha is not None)
    bits = stored.ljust(channels, bytes([depth]))
    return bits if len(bits) == channels and all(0 < b <= depth for b in bits) else b""


def _resolution(image: Image.Image, tags: Tags) -> tuple[float, float] | None:
    unit = {1: 1 / _INCH, 2: 100.0}.get(image.info.get("jfif_unit"))
    if unit and all(image.info.get("jfif_density", (0, 0))):
        across, down = image.info["jfif_density"]
        return across * unit, down * unit
    if image.format == "BMP" and all(image.info.get("dpi", (0, 0))):
        across, down = image.info["dpi"]
        return across / _INCH, down / _INCH
    return resolution_of(tags)


def _physical(resolution: tuple[float, float]) -> bytes:
    """A PNG's chunk pHYs; empty where a side is beyond it."""
    across, down = (round(side) for side in resolution)
    if not (0 < across < 2**31 and 0 < down < 2**31):
        return b""
    return struct.pack(">IIB", across, down, _PIXELS_PER_METRE)


def _physical_chunks(resolution: tuple[float, float] | None) -> Chunks:
    body = b"" if resolution is None else _physical(resolution)
    return ((b"pHYs", body),) if body else ()


def _stored_bits(data: bytes, image: Image.Image) -> int:
    """Bits a channel of the formats that may hold more than Pillow gives; 8 if nothing tells."""
    if image.format == "PPM":
        return netpbm_bits(data)
    if image.format == "JPEG2000":
        return jpeg2000_bits(data)
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format == "AVIF":
        start = data.find(b"pixi", 0, 1 << 16)
        return data[start + 9] if 0 <= start < len(data) - 9 else 8
    return 8
