"""How a JPEG was made, from its header: quality, chroma subsampling, quantisation tables.

The Independent JPEG Group's encoder, and so nearly all others, scales the tables of ITU-T T.81
Annex K by a quality q in 1...100, in whole numbers:

    scale = 5000 // q  if q < 50 else  200 - 2 q
    table = clip((scale · annex_k + 50) // 100, 1, 255)                                     (1)

Every q gives another luma table, so q can be read back exactly. Encoders with tables of their own
(cameras, photo editors) are told by `is_standard`; theirs is the quality that comes closest.
"""

import io
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin

from i2sb_jax.jpeg_tables import (
    CHROMINANCE_TABLE,
    LUMINANCE_TABLE,
    standard_table,
)
from i2sb_jax.pictures.header import UnreadableImage

_SUBSAMPLING = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (1, 2): "4:4:0",
}
_BASELINE_LIMIT, _EXTENDED_LIMIT = 255, 32767


class JpegInfo(NamedTuple):
    """How a JPEG was made.

    Attributes:
        quality: 1...100; of the tables (1) that are nearest if `is_standard` is False.
        is_standard: the tables are exactly those of `quality`.
        subsampling: 4:4:4, 4:2:2, 4:2:0, 4:1:1 or 4:4:0; 4:0:0 for grey; else the sampling
            factors of each component, such as 2x2,1x2,1x1.
        luma_table: [8, 8] integers, by [vertical, horizontal] frequency.
        chroma_table: the same; None for grey and for RGB, which has no chroma.
    """

    quality: int
    is_standard: bool
    subsampling: str
    luma_table: np.ndarray
    chroma_table: np.ndarray | None


def read_jpeg_info(source: bytes | BinaryIO) -> JpegInfo:
    """Reads a JPEG's header up to its first scan.

    Args:
        source: the bytes of a file, or a file at its start.

    Raises:
        UnreadableImage: not a JPEG, truncated, or without tables; in one line.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if file.read(2) != b"\xff\xd8":
        raise UnreadableImage("not a JPEG")
    file.seek(0)
    try:
        with Image.open(file, formats=("JPEG", "MPO")) as image:
            return jpeg_info(image)
    except UnreadableImage:
        raise
    except Exception:  # broken bytes make decoders raise nearly anything
        raise UnreadableImage("a JPEG with a broken header") from None


def jpeg_info(image: JpegImagePlugin.JpegImageFile) -> JpegInfo:
    """The same of a JPEG that Pillow has opened."""
    try:
        used = [np.array(image.quantization[layer[3]]).reshape(8, 8) for layer in image.layer]
    except (KeyError, ValueError):
        used = []
    if not used:
        raise UnreadableImage("a JPEG with a broken header")
    names = bytes(layer[0] for layer in image.layer)
    is_rgb = image.info.get("adobe_transform") == 0 or names == b"RGB"
    luma, chroma = used[0], None if len(used) == 1 or is_rgb else used[1]
    quality, is_standard = _quality(luma, chroma)
    factors = [layer[1:3] for layer in image.layer]
    return JpegInfo(quality, is_standard, _subsampling(factors), luma, chroma)


def _quality(luma: np.ndarray, chroma: np.ndarray | None) -> tuple[int, bool]:
    """(quality, whether its tables are these exactly)."""
    found = luma[None] if chroma is None else np.stack([luma, chroma])
    annex_k = np.stack([LUMINANCE_TABLE, CHROMINANCE_TABLE])[: len(found)]
    for quality in range(1, 101):
        for limit in (_BASELINE_LIMIT, _EXTENDED_LIMIT):
            if np.array_equal(standard_table(annex_k, quality, limit=limit), found):
                return quality, True
    # By ratios, so that fine and coarse steps weigh the same.
    logs = np.log(np.maximum(found, 1))
    distances = [np.abs(logs - np.log(standard_table(annex_k, q))).sum() for q in range(1, 101)]
    return int(np.argmin(distances)) + 1, False


def _subsampling(factors: list[tuple[int, int]]) -> str:
    """Names (horizontal, vertical) sampling factors of each component."""
    if len(factors) == 1:
        return "4:0:0"
    (wide, high), *others = factors
    # A fourth component, black, is sampled as the first.
    if len(set(others[:2])) == 1 and others[2:] in ([], [factors[0]]):
        across, down = others[0]
        if across and down and not wide % across and not high % down:
            name = _SUBSAMPLING.get((wide // across, high // down))
            if name:
                return name
    return ",".join(f"{wide}x{high}" for wide, high in factors)
