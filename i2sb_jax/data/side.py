"""One side of a pair as its file holds it: its numbers, and where they are no data.

No data are NaN, what a TIFF's GDAL_NODATA tag names, and what the configuration names. Where a
channel has none, nothing of the pixel is used.
"""

import io
from collections.abc import Sequence

import numpy as np
import tifffile
from etils import epath

from i2sb_jax.pictures import (
    ArrayHeader,
    UnreadableImage,
    array_header,
    decode_array,
    decode_rgb,
)

_GDAL_NODATA = 42113  # a tag of TIFF: a number as text
_TIFFS = (".tif", ".tiff")
# formats whose channels have one meaning: grey, grey and alpha, RGB, RGB and alpha
_PICTURES = (".png", ".jpg", ".jpeg")


def read_side(
    path: epath.Path, *, channels: int, nodata: Sequence[float] = ()
) -> np.ma.MaskedArray:
    """Reads one file.

    Grey and transparent PNG and JPEG files among coloured ones become RGB as `decode_rgb` makes
    them: grey three times, what is transparent over white.

    Args:
        path: of the file.
        channels: that it should have.
        nodata: values that are no data, beside NaN and those that the file names.

    Returns:
        [h, w, c] in the type of the file, masked where it holds no data; c may differ from
        `channels` where no conversion is plain.

    Raises:
        UnreadableImage: it cannot be decoded, or holds infinite values that are not `nodata`.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    array = decode_array(data, suffix=path.suffix, finite=False)
    if _converted(array.shape[2], channels, path.suffix) != array.shape[2]:
        array = _with_channels(array, channels, data)
    return mask_nodata(array, (*nodata, *file_nodata(data, suffix=path.suffix)))


def side_header(path: epath.PathLike, *, channels: int) -> ArrayHeader:
    """Returns the header of `read_side`'s result; raises as it does but for pixels."""
    path = epath.Path(path)
    header = array_header(path)
    return header._replace(channels=_converted(header.channels, channels, path.suffix))


def file_nodata(data: bytes, *, suffix: str) -> tuple[float, ...]:
    """The value that a file itself names as no data, in GDAL's tag; () where it names none.

    A tag that is no number says nothing.
    """
    if suffix.lower() not in _TIFFS:
        return ()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tag = tiff.pages[0].tags.get(_GDAL_NODATA)
    try:
        return () if tag is None else (float(str(tag.value).strip("\0 ")),)
    except ValueError:
        return ()


def mask_nodata(array: np.ndarray, nodata: Sequence[float]) -> np.ma.MaskedArray:
    """An array, masked where it was, where it is NaN, and where it is one of some values.

    Values that its type cannot be are none of it.

    Raises:
        UnreadableImage: what is left is infinite somewhere.
    """
    mask, array = np.ma.getmaskarray(array).copy(), np.ma.getdata(array)
    is_float = array.dtype.kind == "f"
    if is_float:
        mask |= np.isnan(array)
    for value in nodata:
        if fits(value, array.dtype):
            with np.errstate(over="ignore"):  # as the type has it: 1e39 is infinite in float32
                mask |= array == np.asarray(value).astype(array.dtype)
    if is_float and (lost := int((np.isinf(array) & ~mask).sum())):
        raise UnreadableImage(f"{lost} of its {array.size} values are infinite")
    return np.ma.MaskedArray(array, mask if mask.any() else np.ma.nomask)


def fits(value: float, dtype: np.dtype) -> bool:
    """Whether numbers of a type can be this value: -9999 is none of uint8, nor is NaN."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def valid_pixels(*sides: np.ma.MaskedArray) -> np.ndarray:
    """Returns the pixels at which all channels of all sides hold data, bool [h, w]."""
    return ~np.any([np.ma.getmaskarray(side).any(axis=-1) for side in sides], axis=0)


def _converted(have: int, wanted: int, suffix: str) -> int:
    """Channels of a file once it is read, where so many are wanted."""
    if suffix.lower() not in _PICTURES:
        return have
    return wanted if (have, wanted) in ((1, 3), (2, 3), (4, 3), (2, 1)) else have


def _with_channels(array: np.ndarray, wanted: int, data: bytes) -> np.ndarray:
    if wanted == 3 and array.dtype == np.uint8:
        return decode_rgb(data)
    if array.shape[2] in (2, 4):
        most = np.iinfo(array.dtype).max
        colours, alpha = array[..., :-1].astype(np.float64), array[..., -1:] / most
        array = np.rint(colours * alpha + most * (1 - alpha)).astype(array.dtype)
    return array.repeat(wanted // array.shape[2], axis=2)
