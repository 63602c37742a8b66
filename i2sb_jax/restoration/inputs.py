"""From the file that a person has to the windows that a bridge takes, for each kind of task."""

import dataclasses
import functools
import glob
from collections.abc import Callable, Iterable

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax.corruptions import CorruptionFacts, corruption_facts, enlarge_smoothly
from i2sb_jax.corruptions.colorize import GREY_FROM_RGB
from i2sb_jax.data.windows import window_at
from i2sb_jax.files import IMAGE_SUFFIXES
from i2sb_jax.pictures import (
    NOT_OF_COLOUR,
    Picture,
    PictureHeader,
    UnreadableImage,
    check_fits,
    encode_array,
    encode_as,
    fill_unseen,
    from_pixels,
    grey_in_srgb,
    read_picture,
    to_pixels,
)
from i2sb_jax.restoration.arrays import from_array
from i2sb_jax.restoration.measured import MeasureFn
from i2sb_jax.restoration.published_blur import MARGIN, REACH, as_published
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import Grid, Tiling
from i2sb_jax.restoration.told import told_settings
from i2sb_jax.sampling import Window
from i2sb_jax.sampling.noise import BLOCK, picture_key, start_noise

_REACH = 2  # pixels of a small picture beside a window that smooth enlarging looks at


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One picture on its way.

    Rows and columns count from where the grid of windows begins, `lead` before the picture itself.

    Attributes:
        name: of the picture, relative to its folder; decides its noise.
        cut: (row, column, side) -> what goes in there as a person sees it, float32
            [side, side, c] in [-1, 1], mirrored where the window reaches beyond the picture.
        cut_hole: the same for its holes, bool [side, side, 1]; None where there are none.
        merge: restored float32 [..., c] -> as many channels as the file will have.
        from_unit: what `merge` made -> the file's type and units.
        unit: how much of those units 1.0 is; scalar or one a channel.
        encode: the whole array that `from_unit` made -> the file, whole or in parts.
        lead: rows and columns of the grid that lie above and left of the picture.
        cut_learnt: as `cut`, what the bridge has learnt to see in its place; None: the same.
        measure: (row, column, side), of the picture itself without `lead`, -> what X̂_0 is held
            consistent with there; None: nothing, or what the window's X_1 tells.
        blockwise: whether rows of whole blocks are held consistent by themselves.
        told: numbers [n] that the network sees at every pixel; None: it is told nothing.
        valid: bool [h, w], where the picture holds data; None: everywhere.
        nodata: what its file has elsewhere.
    """

    name: str
    cut: Callable[[int, int, int], np.ndarray]
    cut_hole: Callable[[int, int, int], np.ndarray] | None
    merge: Callable[[np.ndarray], np.ndarray]
    from_unit: Callable[[np.ndarray], np.ndarray]
    unit: float | np.ndarray
    encode: Callable[[np.ndarray], bytes | Iterable[bytes]]
    lead: tuple[int, int] = (0, 0)
    cut_learnt: Callable[[int, int, int], np.ndarray] | None = None
    measure: MeasureFn | None = None
    blockwise: bool = False
    told: np.ndarray | None = None
    valid: np.ndarray | None = None
    nodata: float = 0.0

    def with_nodata(self, array: np.ndarray, value: float | None = None) -> np.ndarray:
        """A whole result with `nodata`, or another value, where the picture holds no data."""
        if self.valid is None:
            return array
        value = self.nodata if value is None else value
        return np.where(self.valid[..., None], array, array.dtype.type(value))

    def is_known(self, origin: tuple[int, int], side: int) -> bool:
        """Whether a window of a picture with holes has none, so that nothing is to be restored."""
        return self.cut_hole is not None and not self.cut_hole(*origin, side).any()

    def keep_known(self, x0: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
        """A restored window with what lies outside of the holes as the picture has it.

        The SDE ends at σ_0 > 0 (`bridge.sample`), so what it puts back there is a little noisy.
        """
        if self.cut_hole is None:
            return x0
        window = *origin, len(x0)
        return np.where(self.cut_hole(*window), x0, self.cut(*window))

    def settled(self, top: int, rows: np.ndarray) -> np.ndarray:
        """Finished rows from a multiple of 16, consistent where blending has left it a little.

        Args:
            top: the first of them.
            rows: float32 [n, w, c], not clipped.
        """
        if not self.blockwise:
            return rows
        height, width = rows.shape[:2]
        padded = np.pad(rows, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
        measurement = self.measure(top - self.lead[0], -self.lead[1], padded.shape[:2])
        return np.asarray(measurement.correct(padded))[:height, :width]

    def mixed(self, x0: np.ndarray, origin: tuple[int, int], strength: float) -> np.ndarray:
        """A restored window of which only a part of the change is taken; 1 is all of it."""
        if strength == 1:
            return x0
        seen = self.cut(*origin, len(x0))
        return seen + np.float32(strength) * (np.clip(x0, -1, 1) - seen)

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
        x1, mask, cond = (self.cut_learnt or self.cut)(*origin, side), None, None

        def noise():
            return start_noise(seed, self.name, x1.shape, sample=sample, origin=at)

        if self.cut_hole is not None:
            hole = self.cut_hole(*origin, side)
            x1 = np.where(hole, noise(), x1)
            mask = hole.astype(np.float32) if corruption.has_mask else None
        if self.told is not None:
            cond = np.broadcast_to(self.told, (side, side, len(self.told)))
        elif corruption.has_cond:
            x1, cond = x1 + noise(), x1
        key = picture_key(seed, self.name, sample=sample)
        measurement = None
        if self.measure is not None:
            row, column = (start - ahead for start, ahead in zip(origin, self.lead, strict=True))
            measurement = self.measure(row, column, side)
        return Window(key, x1, mask, cond, at, measurement)


def picture_subject(
    restorer: Restorer,
    name: str,
    picture: Picture,
    *,
    task: str | None = None,
    hole: np.ndarray | None = None,
    lead: tuple[int, int] = (0, 0),
    suffix: str = ".png",
    quality: int = 95,
) -> Subject:
    """A picture as it lies in its file, for one task.

    Super-resolution enlarges it as in training (in blocks, or smoothly), colouring looks at its
    grey, inpainting fills `hole` or else what is more than half transparent (which is opaque then),
    the published blurs make its windows like theirs (`published_blur`); the other tasks take it as
    it is, transparency included.

    Args:
        restorer: of the run.
        name: of the picture.
        picture: from `read_picture`.
        task: the corruption that it suffered: of a mixture's run a member; None: the run's.
        hole: bool [h, w], what is to be filled; all else stays as it is.
        lead: of the grid of windows, as `picture_grid` gives it.
        suffix: of the result, which tells its format.
        quality: of a result in JPEG or WebP.

    Raises:
        UnreadableImage: there is no hole where one is needed, or the format cannot take the result.
    """
    task = restorer.corruption.name if task is None else task
    facts, alpha = corruption_facts(task), picture.alpha
    if hole is None and alpha is not None and facts.has_mask:
        opaque = np.iinfo(alpha.dtype).max
        hole = alpha < opaque / 2
        alpha = np.where(hole, opaque, alpha).astype(alpha.dtype)
        alpha = None if (alpha == opaque).all() else alpha
    if facts.has_mask if hole is None else not hole.any():
        raise UnreadableImage(
            "it has no hole: name its mask by --masks (white = hole), or make the holes transparent"
        )
    check_fits(picture._replace(alpha=alpha), suffix, scale=facts.enlargement)
    picture = prepared_picture(picture, facts)
    grey = picture.pixels.shape[2] == 1 and not facts.adds_noise
    scale = facts.enlargement
    cut = functools.partial(_cut_picture, picture.pixels, facts, lead)
    return Subject(
        name=name,
        cut=cut,
        cut_hole=hole if hole is None else functools.partial(_cut_hole, hole[..., None], lead),
        merge=_mean_channel if grey else _all_channels,
        from_unit=functools.partial(to_pixels, dtype=picture.pixels.dtype),
        unit=np.iinfo(picture.pixels.dtype).max / 2,
        encode=functools.partial(
            encode_as,
            suffix=suffix,
            quality=quality,
            alpha=alpha if alpha is None or scale == 1 else _enlarge_alpha(alpha, scale),
            icc_profile=picture.icc_profile,
            exif=picture.exif,
            chunks=picture.chunks,
        ),
        lead=lead,
        cut_learnt=None if facts.keeps_light else functools.partial(_cut_published, task, cut),
        told=told_settings(facts, picture.jpeg) if facts.is_told else None,
    )


def prepared_picture(picture: Picture, facts: CorruptionFacts) -> Picture:
    """Returns a task's view of a picture, where that is not the picture in its file.

    Enlarging would mix colours that nobody sees into the rim of what is cut out, and what is to be
    coloured is grey in the colour space of its result.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if facts.enlargement > 1 and alpha is not None and not alpha.all() and alpha.any():
        return picture._replace(pixels=fill_unseen(pixels, alpha))
    if facts.adds_noise and pixels.shape[2] == 1 and picture.icc_profile is not None:
        pixels = grey_in_srgb(pixels, picture.icc_profile)
        chunks = tuple(chunk for chunk in picture.chunks if chunk[0] in NOT_OF_COLOUR)
        return picture._replace(pixels=pixels, icc_profile=None, chunks=chunks)
    return picture


def array_subject(
    name: str, array: np.ndarray, *, task: str, lead: tuple[int, int] = (0, 0)
) -> Subject:
    """An array as it lies in its file, float in [-1, 1] and somewhat beyond, or pixels.

    Args:
        name: of the file.
        array: [h, w, 1 or 3], of floats or of uint8 or uint16; the result has the same type.
        task: the corruption that it suffered.
        lead: of the grid of windows, as `picture_grid` gives it.

    Raises:
        UnreadableImage: other types or channels, or values that are no [-1, 1].
    """
    if array.shape[2] not in (1, 3):
        raise UnreadableImage(f"an array of {array.shape[2]} channels: 1 (grey) or 3 (RGB) are")
    try:
        values = from_array(array, bound=corruption_facts(task).bound)
    except ValueError as error:
        raise UnreadableImage(str(error)) from None
    grey, is_float = array.shape[2] == 1, array.dtype.kind == "f"
    convert = _clipped if is_float else to_pixels

    def cut(row: int, column: int, side: int) -> np.ndarray:
        part = window_at(values, row - lead[0], column - lead[1], image_size=side)
        return part.repeat(3 if grey else 1, axis=2)

    return Subject(
        name=name,
        cut=cut,
        cut_hole=None,
        merge=_mean_channel if grey else _all_channels,
        from_unit=functools.partial(convert, dtype=array.dtype),
        unit=1.0 if is_float else np.iinfo(array.dtype).max / 2,
        encode=functools.partial(encode_array, suffix=".npy"),
        lead=lead,
    )


def picture_grid(
    facts: CorruptionFacts, header: PictureHeader, tiling: Tiling
) -> tuple[Grid, tuple[int, int]]:
    """The windows of a picture, and its place among them: the `lead` of its subject.

    Windows start where a JPEG's blocks do. Those of the published blurs, whose borders are dark,
    begin and end beyond the picture.

    Args:
        facts: of the task.
        header: of the picture.
        tiling: of the job.
    """
    scale = facts.enlargement
    # of an enlarged picture blocks are no longer those that any run was trained on
    rows, columns = header.block_offset if scale == 1 else (0, 0)
    has_dark_borders = not facts.keeps_light and tiling.side > MARGIN
    first = max(tiling.lead, MARGIN if has_dark_borders else 0)
    beyond = MARGIN if has_dark_borders and tiling.margin < MARGIN else 0
    lead = rows + first, columns + first
    height, width = scale * header.height + lead[0], scale * header.width + lead[1]
    grid = tiling.grid(height + beyond, width + beyond)
    return Grid(**grid._asdict() | {"height": height, "width": width}), lead


def _cut_hole(hole, lead: tuple[int, int], row: int, column: int, side: int) -> np.ndarray:
    return window_at(hole, row - lead[0], column - lead[1], image_size=side)


def _cut_published(
    task: str, cut: Callable[[int, int, int], np.ndarray], row: int, column: int, side: int
) -> np.ndarray:
    wide = cut(row - REACH, column - REACH, side + 2 * REACH)
    return as_published(task, wide, margin=REACH)


def _cut_picture(
    pixels: np.ndarray,
    facts: CorruptionFacts,
    lead: tuple[int, int],
    row: int,
    column: int,
    side: int,
) -> np.ndarray:
    part = _cut_enlarged(pixels, facts, row - lead[0], column - lead[1], side)
    if part.shape[2] == 1:
        return np.repeat(part, 3, axis=2)
    return part @ GREY_FROM_RGB.T if facts.adds_noise else part


def _cut_enlarged(
    pixels: np.ndarray, facts: CorruptionFacts, row: int, column: int, side: int
) -> np.ndarray:
    """A window of the picture as large as its result, float32 [side, side, c]; 0 mod `scale`."""
    scale = facts.enlargement
    reach = _REACH if facts.enlarged_by == "smooth" else 0
    small = -(-side // scale) + 2 * reach
    part = from_pixels(
        window_at(pixels, row // scale - reach, column // scale - reach, image_size=small)
    )
    if facts.enlarged_by == "smooth":
        part = enlarge_smoothly(part, scale)
    elif scale > 1:
        part = part.repeat(scale, axis=0).repeat(scale, axis=1)
    inside = slice(scale * reach, scale * reach + side)
    return part[inside, inside]


def _clipped(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.clip(x, -1, 1).astype(dtype)


def _mean_channel(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=2, keepdims=True)


def _all_channels(rows: np.ndarray) -> np.ndarray:
    return rows


def _enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    size = (scale * alpha.shape[1], scale * alpha.shape[0])
    smooth = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(smooth)), 0, np.iinfo(alpha.dtype).max).astype(alpha.dtype)


def find_hole(masks: epath.Path | None, name: str, picture: Picture) -> np.ndarray | None:
    """The mask that belongs to a picture, bool [h, w], True = hole.

    Args:
        masks: one mask for all pictures, or a folder with masks of their names and any suffix;
            white is hole, and what is transparent is none. None: there is none.
        name: of the picture, relative to its folder.
        picture: what the mask has to fit.

    Raises:
        UnreadableImage: the folder has no mask of that name or several, or it is of another size.
    """
    if masks is None:
        return None
    (path,) = mask_files(masks, name)
    try:
        mask = read_picture(path.read_bytes())
    except UnreadableImage as error:
        raise UnreadableImage(f"its mask {path} cannot be read: {error}") from None
    whiteness = (from_pixels(mask.pixels).mean(axis=2) + 1) / 2
    if mask.alpha is not None:
        whiteness *= mask.alpha / np.iinfo(mask.alpha.dtype).max
    hole = whiteness > 0.5
    if hole.shape != picture.pixels.shape[:2]:
        sizes = ["{1}x{0}".format(*x.shape[:2]) for x in (hole, picture.pixels)]
        raise UnreadableImage(f"its mask {path} is {sizes[0]} pixels, the picture {sizes[1]}")
    return hole


def mask_files(masks: epath.Path | None, name: str) -> list[epath.Path]:
    """The file of the mask that belongs to a picture, if there are masks; as `find_hole`."""
    if masks is None:
        return []
    return [_mask_file(masks, name) if masks.is_dir() else masks]


def _mask_file(folder: epath.Path, name: str) -> epath.Path:
    """The one picture in a folder of masks with the name of `name`, whatever its suffix."""
    stem, within = epath.Path(name).stem, (folder / name).parent
    beside = within.glob(f"{glob.escape(stem)}.*")  # a.b.png of the picture a.b is among these
    found = sorted(p for p in beside if p.stem == stem and p.suffix.lower() in IMAGE_SUFFIXES)
    if len(found) != 1:
        wanted = epath.Path(name).with_suffix("")
        several = f"{len(found)} masks named {wanted}.*: {', '.join(p.name for p in found)}"
        raise UnreadableImage(f"{folder} has {several if found else f'no mask named {wanted}.*'}")
    return found[0]
