"""From the file that a person has to the windows that a bridge takes, for each kind of task."""

import dataclasses
import functools
import glob
from collections.abc import Callable

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax import image_io
from i2sb_jax.corruptions import Corruption
from i2sb_jax.corruptions.colorize import GREY_FROM_RGB
from i2sb_jax.image_io import Picture, UnreadableImage
from i2sb_jax.restoration.restorer import Restorer, Window, picture_key

_ENLARGEMENT = 4  # of the super-resolution tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One picture on its way.

    Attributes:
        name: of the picture, relative to its folder; decides its noise.
        height: of the result, pixels.
        width: of the result.
        cut: (row, column, side) -> what goes in there as a person sees it, float32
            [side, side, c] in [-1, 1], mirrored where the window reaches beyond the picture.
        cut_hole: the same for its holes, bool [side, side, 1]; None where there are none.
        from_unit: restored rows float32 [n, w, c] -> rows of the file's type, channels and units.
        unit: how much of those units 1.0 is; scalar or one a channel.
        encode: the whole array that `from_unit` made -> the file.
    """

    name: str
    height: int
    width: int
    cut: Callable[[int, int, int], np.ndarray]
    cut_hole: Callable[[int, int, int], np.ndarray] | None
    from_unit: Callable[[np.ndarray], np.ndarray]
    unit: float | np.ndarray
    encode: Callable[[np.ndarray], bytes]

    def shown(self, restorer: Restorer, origin: tuple[int, int], side: int) -> np.ndarray:
        """The window before restoring, with the result's channels, for looking at."""
        del restorer
        return self.cut(*origin, side)

    def window(
        self,
        restorer: Restorer,
        origin: tuple[int, int],
        *,
        side: int,
        seed: int,
        sample: int = 0,
    ) -> Window:
        """The window from `origin` (multiples of 16) as the bridge of `restorer` takes it."""
        at = np.asarray(origin, np.int32)
        corruption = restorer.corruption
        x1, mask, cond = self.cut(*origin, side), None, None

        def noise():
            return restorer.start_noise(seed, self.name, x1.shape, sample=sample, origin=at)

        if self.cut_hole is not None:
            hole = self.cut_hole(*origin, side)
            x1 = np.where(hole, noise(), x1)
            mask = hole.astype(np.float32) if corruption.has_mask else None
        if corruption.has_cond:
            x1, cond = x1 + noise(), x1
        key = picture_key(seed, self.name, sample=sample)
        return Window(key, x1, mask, cond, at)


def cut_window(array: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """[side, side, c] of an array [h, w, c], mirrored where it reaches beyond."""
    part = array[row : row + side, column : column + side]
    borders = [(0, side - length) for length in part.shape[:2]]
    if borders == [(0, 0), (0, 0)]:
        return part
    return np.pad(part, (*borders, (0, 0)), mode="symmetric")


def picture_subject(
    restorer: Restorer, name: str, picture: Picture, *, hole: np.ndarray | None = None
) -> Subject:
    """A picture as it lies in its file, for the task of `restorer`.

    Super-resolution enlarges it four times (each pixel becomes a block, as in training), colouring
    looks at its grey, inpainting fills `hole` or else what is more than half transparent; the
    other tasks take it as it is.

    Args:
        restorer: of the run.
        name: of the picture.
        picture: from `image_io.read_picture`.
        hole: bool [h, w], what is to be filled.

    Raises:
        UnreadableImage: an inpainting task finds no hole.
    """
    corruption = restorer.corruption
    scale = enlargement(corruption)
    alpha = picture.alpha
    if hole is None and alpha is not None and _fills(corruption):
        hole, alpha = alpha < np.iinfo(alpha.dtype).max / 2, None
    if corruption.has_mask and (hole is None or not hole.any()):
        raise UnreadableImage(
            "it has no hole: name its mask by --masks (white = hole), or make the holes transparent"
        )
    height, width = (scale * side for side in picture.pixels.shape[:2])
    grey = picture.pixels.shape[2] == 1 and not corruption.has_cond
    return Subject(
        name=name,
        height=height,
        width=width,
        cut=functools.partial(_cut_picture, picture.pixels, scale, corruption.has_cond),
        cut_hole=hole if hole is None else functools.partial(cut_window, hole[..., None]),
        from_unit=functools.partial(_to_pixels, grey=grey, dtype=picture.pixels.dtype),
        unit=np.iinfo(picture.pixels.dtype).max / 2,
        encode=functools.partial(
            image_io.encode_picture,
            alpha=alpha if alpha is None or scale == 1 else _enlarge_alpha(alpha, scale),
            icc_profile=picture.icc_profile if grey or picture.pixels.shape[2] == 3 else None,
            exif=picture.exif,
        ),
    )


def enlargement(corruption: Corruption) -> int:
    """How many times larger the result is than the picture."""
    return _ENLARGEMENT if corruption.name in ("sr4x-pool", "sr4x-bicubic") else 1


def _fills(corruption: Corruption) -> bool:
    """Whether a task knows of holes; the mixture meets them without being told where."""
    return corruption.has_mask or corruption.name == "mixture"


def _cut_picture(
    pixels: np.ndarray, scale: int, to_grey: bool, row: int, column: int, side: int
) -> np.ndarray:
    part = cut_window(pixels, row // scale, column // scale, -(-side // scale))
    part = image_io.from_pixels(part)
    if scale > 1:
        part = part.repeat(scale, axis=0).repeat(scale, axis=1)[:side, :side]
    if part.shape[2] == 1:
        return np.repeat(part, 3, axis=2)
    return part @ GREY_FROM_RGB.T if to_grey else part


def _to_pixels(rows: np.ndarray, *, grey: bool, dtype: np.dtype) -> np.ndarray:
    # to_pixels clips: what lies beyond [-1, 1] has no level
    return image_io.to_pixels(rows.mean(axis=2, keepdims=True) if grey else rows, dtype)


def _enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    size = (scale * alpha.shape[1], scale * alpha.shape[0])
    smooth = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(smooth)), 0, np.iinfo(alpha.dtype).max).astype(alpha.dtype)


def find_hole(masks: epath.Path | None, name: str, picture: Picture) -> np.ndarray | None:
    """The mask that belongs to a picture, bool [h, w], True = hole.

    Args:
        masks: one mask for all pictures, or a folder with masks of their names and any suffix;
            white is hole. None: there is none.
        name: of the picture, relative to its folder.
        picture: what the mask has to fit.

    Raises:
        UnreadableImage: the folder has no mask of that name, or it is of another size.
    """
    if masks is None:
        return None
    path = masks
    if masks.is_dir():
        stem = epath.Path(name).stem
        candidates = sorted((masks / name).parent.glob(f"{glob.escape(stem)}.*"))
        if not candidates:
            raise UnreadableImage(f"{masks} has no mask named {epath.Path(name).with_suffix('')}.*")
        path = candidates[0]
    hole = image_io.decode_rgb(path.read_bytes()).mean(axis=2) > 127
    if hole.shape != picture.pixels.shape[:2]:
        sizes = ["{1}x{0}".format(*x.shape[:2]) for x in (hole, picture.pixels)]
        raise UnreadableImage(f"its mask {path} is {sizes[0]} pixels, the picture {sizes[1]}")
    return hole
