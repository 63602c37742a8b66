"""Pictures out, in the format that is asked for: PNG, JPEG, WebP and TIFF."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np
from PIL import Image

from i2sb_jax.pictures.exif import Entry, read_tags, with_resolution, write_ifds
from i2sb_jax.pictures.header import UnreadableImage
from i2sb_jax.pictures.profiles import grey_in_srgb
from i2sb_jax.pictures.reader import Chunks, Picture
from i2sb_jax.pictures.writer import encode_picture_rows

SAME = "same"
_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
FORMATS = (SAME, *_SUFFIXES)
_FORMAT_OF = {".jpg": "jpeg", ".jpeg": "jpeg", ".jfif": "jpeg", ".jpe": "jpeg", ".mpo": "jpeg"}
_FORMAT_OF |= {".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}
_MOST_SIDE = {"jpeg": 65535, "webp": 16383}
_INCH, _EXIF_IFD, _INTEROP_IFD = 0.0254, 0x8769, 0xA005
_METRES = 1  # the unit of a PNG's chunk pHYs
_TIFF_ROWS = 64  # of a strip
_DEFLATE, _DIFFERENCES, _STRAIGHT, _CENTIMETRE = 8, 2, 2, 3
_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7


def format_of(suffix: str) -> str | None:
    """Returns the format that is written for a suffix; None of others."""
    return _FORMAT_OF.get(suffix.lower())


def result_suffix(name: str, file_format: str) -> str:
    """The suffix of what a picture becomes.

    Args:
        name: of the picture.
        file_format: one of FORMATS; "same": that of the picture, PNG where it is not written here.
    """
    if file_format != SAME:
        return _SUFFIXES[file_format]
    suffix = PurePath(name).suffix
    return suffix if format_of(suffix) else _SUFFIXES["png"]


def lost_in(picture: Picture, suffix: str) -> tuple[str, ...]:
    """Returns what a format does not hold of a picture, in words that go on from its name."""
    kind, lost = format_of(suffix), []
    if kind in _MOST_SIDE and picture.pixels.dtype == np.uint16:
        lost.append(f"has 16 bits a channel, of which {suffix} keeps 8")
    if kind == "webp" and picture.icc_profile and picture.pixels.shape[2] == 1:
        lost.append(f"has a grey profile, which {suffix} cannot keep, and becomes sRGB")
    if kind != "png":
        meaning = [k.decode() for k, _ in picture.chunks if k != b"pHYs"]
        if meaning:
            lost.append(f"has {', '.join(meaning)}, which {suffix} cannot keep")
        if b"pHYs" in dict(picture.chunks) and _per_metre(picture.chunks) is None:
            lost.append(f"states the shape of its pixels alone, which {suffix} cannot keep")
    return tuple(lost)


def check_fits(picture: Picture, suffix: str, *, scale: int = 1) -> None:
    """Raises UnreadableImage, in one line, where a format cannot take what becomes of a picture."""
    kind = format_of(suffix)
    if kind == "jpeg" and picture.alpha is not None:
        raise UnreadableImage("it is transparent, which no JPEG can be: use --format png or same")
    side = scale * max(picture.pixels.shape[:2])
    if side > _MOST_SIDE.get(kind, side):
        raise UnreadableImage(
            f"its result has {side} pixels a side, and {suffix} at most {_MOST_SIDE[kind]}: use "
            "--format png or tiff"
        )


def encode_as(
    pixels: np.ndarray,
    *,
    suffix: str,
    quality: int = 95,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    chunks: Chunks = (),
) -> Iterator[bytes]:
    """A picture's file, in parts.

    Args:
        pixels: uint8 or uint16 [h, w, 1 or 3]; JPEG and WebP keep 8 bits.
        suffix: that tells the format.
        quality: of JPEG (4:4:4) and WebP, 1...100.
        alpha: [h, w] of the same type; none for JPEG.
        icc_profile: of the pixels' colour space.
        exif: with or without the "Exif" that JPEG files start it with.
        chunks: of `Picture.chunks`; a PNG keeps all, the others the resolution.
    """
    own = {"icc_profile": icc_profile, "exif": exif}
    match format_of(suffix):
        case "jpeg":
            own |= {"subsampling": 0, "dpi": _dots_per_inch(chunks)}
            return iter([_with_pillow(pixels, alpha, "JPEG", quality=quality, **own)])
        case "webp":
            if icc_profile and pixels.shape[2] == 1:  # WebP is never grey
                pixels, own["icc_profile"] = grey_in_srgb(pixels, icc_profile), None
            if (resolution := _per_metre(chunks)) is not None:
                own["exif"] = with_resolution(exif, *resolution)
            return iter([_with_pillow(pixels, alpha, "WEBP", quality=quality, exact=True, **own)])
        case "tiff":
            return _tiff_parts(pixels, alpha, icc_profile, exif, chunks)
    return encode_picture_rows(pixels, alpha=alpha, chunks=chunks, **own)


def _with_pillow(pixels: np.ndarray, alpha: np.ndarray | None, kind: str, **options) -> bytes:
    array = pixels
    if alpha is not None:
        array = np.dstack([np.broadcast_to(pixels, (*alpha.shape, 3)), alpha])
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    options = {key: value for key, value in options.items() if value is not None}
    buffer = io.BytesIO()
    Image.fromarray(array.squeeze(-1) if array.shape[2] == 1 else array).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def _dots_per_inch(chunks: Chunks) -> tuple[int, int] | None:
    resolution = _per_metre(chunks)
    return None if resolution is None else tuple(round(side * _INCH) for side in resolution)


def _per_metre(chunks: Chunks) -> tuple[int, int] | None:
    """Pixels in a metre, across and down; None where no size is stated, or their ratio alone."""
    body = dict(chunks).get(b"pHYs", b"")
    if len(body) != 9:
        return None
    across, down, unit = struct.unpack(">IIB", body)
    return (across, down) if unit == _METRES and across and down else None


def _tiff_parts(pixels, alpha, icc_profile, exif, chunks: Chunks) -> Iterator[bytes]:
    """A TIFF of deflated strips, whose tags are those of the picture and of its EXIF."""
    tags = read_tags(exif or b"")
    order = tags.order
    array = pixels if alpha is None else np.dstack([pixels, alpha])
    height, width, channels = array.shape
    strips = []
    for top in range(0, height, _TIFF_ROWS):
        rows = array[top : top + _TIFF_ROWS]
        differences = rows.copy()
        differences[:, 1:] -= rows[:, :-1]
        stored = differences.astype(rows.dtype.newbyteorder(order))
        strips.append(zlib.compress(stored.tobytes(), 6))
    counts = [len(strip) for strip in strips]
    offsets = (8 + np.cumsum([0, *counts[:-1]])).tolist()
    padding = sum(counts) % 2
    start = 8 + sum(counts) + padding
    if start > 2**32 - 2**26:
        raise UnreadableImage("its result is too large for a TIFF: use --format png")

    def entry(type_: int, values: list[int]) -> Entry:
        code = {_SHORT: "H", _LONG: "I"}[type_]
        return Entry(type_, len(values), struct.pack(f"{order}{len(values)}{code}", *values))

    table = dict(tags.camera) | {
        0x0100: entry(_LONG, [width]),
        0x0101: entry(_LONG, [height]),
        0x0102: entry(_SHORT, [8 * array.itemsize] * channels),
        0x0103: entry(_SHORT, [_DEFLATE]),
        0x0106: entry(_SHORT, [2 if pixels.shape[2] == 3 else 1]),
        0x0111: entry(_LONG, offsets),
        0x0112: entry(_SHORT, [1]),
        0x0115: entry(_SHORT, [channels]),
        0x0116: entry(_LONG, [_TIFF_ROWS]),
        0x0117: entry(_LONG, counts),
        0x011C: entry(_SHORT, [1]),
        0x013D: entry(_SHORT, [_DIFFERENCES]),
    }
    table.pop(_EXIF_IFD, None)
    if alpha is not None:
        table[0x0152] = entry(_SHORT, [_STRAIGHT])
    if icc_profile:
        table[0x8773] = Entry(_UNDEFINED, len(icc_profile), icc_profile)
    if (resolution := _per_metre(chunks)) is not None:
        for tag, side in zip((0x011A, 0x011B), resolution, strict=True):
            table[tag] = Entry(_RATIONAL, 1, struct.pack(order + "II", side, 100))
        table[0x0128] = entry(_SHORT, [_CENTIMETRE])
    shot = {tag: value for tag, value in tags.shot.items() if tag != _INTEROP_IFD}
    tables = [(table, _EXIF_IFD), (shot, _INTEROP_IFD), (tags.interop, None)]
    tables = tables[: 3 if tags.interop else 2 if shot else 1]
    head = b"II*\0" if order == "<" else b"MM\0*"
    yield head + struct.pack(order + "I", start)
    yield from strips
    yield bytes(padding) + write_ifds(order, tables, start)
