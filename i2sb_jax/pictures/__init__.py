"""Files of pictures and of arrays: what they hold, read right, and written back whole.

`read_picture` keeps a picture's kind, `decode_rgb` makes uint8 RGB of any; `encode_picture` writes
what `read_picture` returns. `decode_array` and `encode_array` are for measurements: any number of
channels, in the file's own type. `read_jpeg_info` tells how a JPEG was made,
`read_jpeg_waves` what it holds.
"""

from i2sb_jax.pictures.arrays import (
    ARRAY_SUFFIXES,
    ArrayHeader,
    array_header,
    decode_array,
    encode_array,
)
from i2sb_jax.pictures.formats import (
    FORMATS,
    check_fits,
    encode_as,
    format_of,
    lost_in,
    result_suffix,
)
from i2sb_jax.pictures.georeference import Place, place_of
from i2sb_jax.pictures.header import MAX_PIXELS, NOT_OF_COLOUR, UnreadableImage
from i2sb_jax.pictures.jpeg import JpegInfo, read_jpeg_info
from i2sb_jax.pictures.jpeg_waves import JpegWaves, read_jpeg_waves
from i2sb_jax.pictures.notes import Notes
from i2sb_jax.pictures.pixels import (
    center_crop,
    fill_unseen,
    from_pixels,
    from_uint8,
    resize_short_side,
    to_pixels,
    to_rgb,
    to_uint8,
)
from i2sb_jax.pictures.png import read_text, with_text
from i2sb_jax.pictures.profiles import grey_in_srgb
from i2sb_jax.pictures.reader import (
    Picture,
    PictureHeader,
    decode_rgb,
    decode_square,
    picture_header,
    picture_size,
    read_picture,
)
from i2sb_jax.pictures.writer import encode_picture, encode_picture_rows, encode_png, write_png

__all__ = [
    "ARRAY_SUFFIXES",
    "FORMATS",
    "MAX_PIXELS",
    "NOT_OF_COLOUR",
    "ArrayHeader",
    "JpegInfo",
    "JpegWaves",
    "Notes",
    "Picture",
    "PictureHeader",
    "Place",
    "UnreadableImage",
    "array_header",
    "center_crop",
    "check_fits",
    "decode_array",
    "decode_rgb",
    "decode_square",
    "encode_array",
    "encode_as",
    "encode_picture",
    "encode_picture_rows",
    "encode_png",
    "fill_unseen",
    "format_of",
    "from_pixels",
    "from_uint8",
    "grey_in_srgb",
    "lost_in",
    "picture_header",
    "picture_size",
    "place_of",
    "read_jpeg_info",
    "read_jpeg_waves",
    "read_picture",
    "read_text",
    "resize_short_side",
    "result_suffix",
    "to_pixels",
    "to_rgb",
    "to_uint8",
    "with_text",
    "write_png",
]
