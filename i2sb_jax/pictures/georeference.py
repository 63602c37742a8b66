"""The place of a TIFF's pixels, on the ground or under a microscope, as tags of another TIFF."""

import io
import re
from typing import Any, NamedTuple

import tifffile

_NODATA = 42113  # GDAL's
# ModelPixelScale, ModelTiepoint, ModelTransformation, the GeoKeys, and the value of no data.
_GROUND = (33550, 33922, 34264, 34735, 34736, 34737, _NODATA)
_ASCII = 2
_CENTIMETRES = {"nm": 1e-7, "um": 1e-4, "micron": 1e-4, "microns": 1e-4, "mm": 0.1, "cm": 1.0}
_CENTIMETRES |= {"m": 100.0, "inch": 2.54, "in": 2.54}
_UNITS = {2: 2.54, 3: 1.0}  # ResolutionUnit, in centimetres
_X, _Y, _UNIT = 282, 283, 296


class Place(NamedTuple):
    """The place as `encode_array` takes it.

    Attributes:
        tags: (code, type, count, value) of those that tie pixels to the ground.
        per_centimetre: pixels (across, down) in a centimetre, or None.
    """

    tags: tuple[tuple[int, int, int, Any], ...] = ()
    per_centimetre: tuple[float, float] | None = None

    def with_nodata(self, value: float) -> "Place":
        """The same, with the value that is no data now in place of another one, if one is named."""
        text = f"{value:.17g}"
        named = (_NODATA, _ASCII, len(text) + 1, text)
        return self._replace(tags=tuple(named if tag[0] == _NODATA else tag for tag in self.tags))


def place_of(data: bytes) -> Place:
    """The place of a TIFF's first page; empty where nothing tells, and for other files."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0].aspage()
            found = (page.tags.get(code) for code in _GROUND)
            tags = tuple((t.code, int(t.dtype), t.count, t.value) for t in found if t is not None)
            return Place(tags, _scale(tiff, page))
    except Exception:  # no TIFF; what is wrong with a broken one its decoder says
        return Place()


def _scale(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float, float] | None:
    if tiff.is_ome:
        sizes = [_ome_size(tiff.ome_metadata or "", axis) for axis in "XY"]
        return None if None in sizes else (1 / sizes[0], 1 / sizes[1])
    tags = page.tags
    if _X not in tags or _Y not in tags:
        return None
    (across, above), (down, below) = tags[_X].value, tags[_Y].value
    unit = _UNITS.get(int(tags[_UNIT].value) if _UNIT in tags else 2)
    if tiff.is_imagej:
        name = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "u")
        unit = _CENTIMETRES.get(name.replace("µ", "u").replace("μ", "u"))
    if unit is None or not (across and above and down and below):
        return None
    return across / above / unit, down / below / unit


def _ome_size(text: str, axis: str) -> float | None:
    """Centimetres of a pixel."""
    size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', text)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
    name = (unit[1] if unit else "µm").replace("µ", "u").replace("μ", "u")
    if size is None or name not in _CENTIMETRES or not float(size[1]) > 0:
        return None
    return float(size[1]) * _CENTIMETRES[name]
