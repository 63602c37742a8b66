"""Pictures out, as PNG: what the eye is shown, and what `read_picture` found, kept whole."""

import io
from collections.abc import Iterable, Iterator

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax.files import write_atomically
from i2sb_jax.pictures.pixels import require_pixel_type
from i2sb_jax.pictures.png import encode_png_rows


def encode_picture(
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """PNG bytes of what `read_picture` returns; arguments as of `encode_picture_rows`."""
    parts = encode_picture_rows(
        pixels, alpha=alpha, icc_profile=icc_profile, exif=exif, chunks=chunks
    )
    return b"".join(parts)


def encode_picture_rows(
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> Iterator[bytes]:
    """The same in parts, none of which is large.

    Args:
        pixels: uint8 or uint16 [h, w, 1 or 3].
        alpha: [h, w] of the same type.
        icc_profile: of the pixels' colour space.
        exif: with or without the "Exif" that Pillow starts it with.
        chunks: of `Picture.chunks`.

    Raises:
        ValueError: shapes or types are others.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"pixels of a picture are [h, w, 1 or 3], not {pixels.shape}")
    if pixels.dtype != np.uint16:
        require_pixel_type(pixels.dtype)
    if alpha is not None and (alpha.shape, alpha.dtype) != (pixels.shape[:2], pixels.dtype):
        raise ValueError(
            f"alpha {alpha.shape} {alpha.dtype} does not fit pixels {pixels.shape} {pixels.dtype}"
        )
    channels = pixels.shape[2], pixels.shape[2] + (alpha is not None)
    chunks = [
        (kind, _per_channel(body, *channels) if kind == b"sBIT" else body) for kind, body in chunks
    ]
    return encode_png_rows(pixels, alpha=alpha, icc_profile=icc_profile, exif=exif, chunks=chunks)


def _per_channel(bits: bytes, colours: int, channels: int) -> bytes:
    """The chunk sBIT of a picture that may have been grey, or transparent, when it was read."""
    of_colours = bits[:1] * 3 if colours == 3 and len(bits) < 3 else bits[:colours]
    of_alpha = bits[-1:] if channels > colours else b""
    return of_colours + of_alpha


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of a uint8 [h, w, 3] or [h, w] picture."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: epath.PathLike, image: np.ndarray) -> None:
    """Writes a uint8 [h, w, 3] or [h, w] picture as PNG; a reader never sees half of it."""
    write_atomically(path, encode_png(image))
