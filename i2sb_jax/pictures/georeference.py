"""The place of a TIFF's pixels, on the ground or under a microscope, as tags of another TIFF."""

import io
import re
from typing import Any, NamedTuple

import numpy as np
import tifffile

_NODATA = 42113  # GDAL's
# ModelPixelScale, ModelTiepoint, ModelTransformation, the GeoKeys, and the value of no data.
_GROUND = (33550, 33922, 34264, 34735, 34736, 34737, _NODATA)
_ASCII = 2
_CENTIMETRES = {"nm": 1e-7, "um": 1e-4, "micron": 1e-4, "microns": 1e-4, "mm": 0.1, "cm": 1.0}
_CENTIMETRES |= {"m": 100.0, "inch": 2.54, "in": 2.54}
_MICRO = "\\u00B5"  # as ImageJ writes it
_OF_IMAGEJ = (np.uint8, np.uint16, np.float32)
_OF_OME = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)
_UNITS = {2: 2.54, 3: 1.0}  # ResolutionUnit, in centimetres
_X, _Y, _UNIT = 282, 283, 296


class Place(NamedTuple):
    """The place as `encode_array` takes it.

    Attributes:
        tags: (code, type, count, value) of those that tie pixels to the ground.
        per_centimetre: pixels (across, down) in a centimetre, or None.
        told_by: "imagej" or "ome", whose words told the size; "" where TIFF's own tags did.
        unit: in which they told it, by their name.
    """

    tags: tuple[tuple[int, int, int, Any], ...] = ()
    per_centimetre: tuple[float, float] | None = None
    told_by: str = ""
    unit: str = ""

    def with_nodata(self, value: float) -> "Place":
        """The same, with the value that is no data now in place of another one, if one is named."""
        text = f"{value:.17g}"
        named = (_NODATA, _ASCII, len(text) + 1, text)
        return self._replace(tags=tuple(named if tag[0] == _NODATA else tag for tag in self.tags))

    def written(self, shape: tuple[int, ...], dtype: np.dtype) -> dict[str, Any]:
        """Returns what tifffile's `imwrite` takes with an array [h, w, c] that lies here.

        ImageJ and OME are told in their words, in the unit that they used, of arrays that they can
        hold; a size is in centimetres for all others.
        """
        told: dict[str, Any] = {"extratags": [(*tag, True) for tag in self.tags], "metadata": None}
        if self.per_centimetre is None:
            return told
        per_unit = tuple(side * (_centimetres(self.unit) or 1) for side in self.per_centimetre)
        if self.told_by == "imagej" and dtype in _OF_IMAGEJ and shape[2] == 1:
            words = f"ImageJ=1.11a\nunit={self.unit.replace('µ', _MICRO)}\n"
            return told | {"description": words, "resolution": per_unit, "resolutionunit": "NONE"}
        if self.told_by == "ome" and dtype in _OF_OME:
            sizes = {f"PhysicalSize{a}": 1 / n for a, n in zip("XY", per_unit, strict=True)}
            units = {f"PhysicalSize{a}Unit": self.unit for a in "XY"}
            axes = "YX" if shape[2] == 1 else "YXS"
            return told | {"ome": True, "metadata": {"axes": axes, **sizes, **units}}
        return told | {"resolution": self.per_centimetre, "resolutionunit": "CENTIMETER"}


def place_of(data: bytes) -> Place:
    """The place of a TIFF's first page; empty where nothing tells, and for other files."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0].aspage()
            found = (page.tags.get(code) for code in _GROUND)
            tags = tuple((t.code, int(t.dtype), t.count, t.value) for t in found if t is not None)
            return Place(tags, *_scale(tiff, page))
    except Exception:  # no TIFF; what is wrong with a broken one its decoder says
        return Place()


def _scale(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage
) -> tuple[tuple[float, float] | None, str, str]:
    """Pixels in a centimetre, who told it, and in which unit."""
    nowhere = None, "", ""
    if tiff.is_ome:
        sizes, units = zip(
            *(_ome_size(tiff.ome_metadata or "", axis) for axis in "XY"), strict=True
        )
        return nowhere if None in sizes else ((1 / sizes[0], 1 / sizes[1]), "ome", units[0])
    tags = page.tags
    if _X not in tags or _Y not in tags:
        return nowhere
    (across, above), (down, below) = tags[_X].value, tags[_Y].value
    unit, name = _UNITS.get(int(tags[_UNIT].value) if _UNIT in tags else 2), ""
    if tiff.is_imagej:
        name = str((tiff.imagej_metadata or {}).get("unit", "")).replace(_MICRO, "µ")
        unit = _centimetres(name)
    if unit is None or not (across and above and down and below):
        return nowhere
    return (across / above / unit, down / below / unit), "imagej" if name else "", name


def _ome_size(text: str, axis: str) -> tuple[float | None, str]:
    """Centimetres of a pixel, and the unit in which they are told."""
    size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', text)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
    name = unit[1] if unit else "µm"
    centimetres = _centimetres(name)
    if size is None or centimetres is None or not float(size[1]) > 0:
        return None, name
    return float(size[1]) * centimetres, name


def _centimetres(unit: str) -> float | None:
    return _CENTIMETRES.get(unit.replace("µ", "u").replace("μ", "u"))
