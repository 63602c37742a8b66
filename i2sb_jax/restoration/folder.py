"""Restoring every picture of a folder."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from etils import epath

from i2sb_jax import build, image_io, metrics
from i2sb_jax.config import Config, check_nfe, check_sampler
from i2sb_jax.corruptions import Corruption
from i2sb_jax.data.preprocess import prepare
from i2sb_jax.progress import Progress
from i2sb_jax.restoration.baselines import Baseline, baseline_for
from i2sb_jax.restoration.restorer import Restorer, name_hash
from i2sb_jax.restoration.sheet import MAX_ROWS, comparison_sheet

SHEET = "comparison_sheet.png"


class Picture(NamedTuple):
    """One picture on its way.

    Attributes:
        name: relative to the input folder.
        shown: what goes in, as a person sees it, float32 [h, w, 3] in [-1, 1].
        clean: the original where the degrading was ours, else None.
        x1, mask, cond: as in `Corrupted`, for one picture; X_1 is `shown` for given pictures.
    """

    name: str
    shown: np.ndarray
    clean: np.ndarray | None
    x1: np.ndarray
    mask: np.ndarray | None = None
    cond: np.ndarray | None = None


class Outcome(NamedTuple):
    """What became of a folder.

    Attributes:
        restored: number of pictures written.
        unreadable: name -> reason of those that could not be read.
        scores: title -> (PSNR in dB, SSIM), means over the pictures; empty without originals.
    """

    restored: int
    unreadable: dict[str, str]
    scores: dict[str, tuple[float, float]]


def restore_folder(
    workdir: epath.PathLike,
    folder: epath.PathLike,
    output: epath.PathLike,
    *,
    nfe: int,
    sampler: str | None = None,
    seed: int = 0,
    clip: bool | None = None,
    degrade: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Restores all pictures below `folder` into PNGs of the same names below `output`.

    Args:
        workdir: the run, or a model folder.
        folder: degraded pictures; clean ones if `degrade`.
        output: another folder.
        nfe: network evaluations a picture.
        sampler: the run's choice if None.
        seed: of all noise.
        clip: clip X̂_0 to [-1, 1] at each step; the run's choice if None.
        degrade: cut each picture to the run's size and degrade it with the run's own corruption
            first, and measure the result against the original.
        quiet: no progress.

    Returns:
        The outcome. A sheet of the first pictures lies beside them.

    Raises:
        ValueError: a folder, name or option that does not fit; one line.
    """
    folder, output = image_io.require_folder(folder), epath.Path(output).expanduser()
    names = image_io.list_images(folder)
    targets = _targets(folder, output, names)
    evaluations = _Evaluations()
    restorer = Restorer.from_workdir(workdir, on_evaluation=evaluations.one_more)
    config = restorer.config
    _check_options(restorer, nfe, sampler, degrade)
    unreadable: dict[str, str] = {}
    decoded = _read(folder, names, unreadable)
    corruption = build.make_corruption(config) if degrade else None
    pictures = _degraded(decoded, config, corruption, seed) if degrade else _given(decoded)
    gallery = _Gallery(corruption)
    if not quiet:
        print(
            f"{len(names)} pictures, {nfe} evaluations each, {config.model.dtype}, "
            f"matmul precision {config.matmul_precision}",
            file=sys.stderr,
        )
    with Progress(len(names) * nfe, unit="evaluation", quiet=quiet) as progress:
        evaluations.progress = progress
        for group in _groups(pictures, restorer.batch_size):
            evaluations.pictures = len(group)
            restored = _restore(restorer, group, nfe=nfe, sampler=sampler, seed=seed, clip=clip)
            for picture, x0 in zip(group, restored, strict=True):
                image_io.write_png(targets[picture.name], image_io.to_uint8(x0))
                gallery.add(picture, x0)
    if gallery.rows:
        image_io.write_png(output / SHEET, comparison_sheet(gallery.rows))
    return Outcome(len(names) - len(unreadable), unreadable, gallery.scores())


def _restore(restorer: Restorer, group: list[Picture], **options) -> np.ndarray:
    """[pictures, h, w, 3] in [-1, 1]."""
    arrays = {field: _stack(group, field) for field in ("x1", "mask", "cond")}
    names = [picture.name for picture in group]
    return np.clip(restorer.from_x1(**arrays, names=names, **options).x0, -1, 1)


def _check_options(restorer: Restorer, nfe: int, sampler: str | None, degrade: bool) -> None:
    config = restorer.config
    check_nfe(nfe, config.bridge.num_steps)
    if sampler is not None:
        check_sampler(sampler, deterministic_bridge=config.bridge.deterministic)
    if not degrade and (restorer.corruption.has_mask or config.corruption == "mixture"):
        raise ValueError(
            f"{config.corruption} repairs holes, and a picture alone does not say where they are: "
            "use --degrade to try it on whole pictures"
        )


class _Evaluations:
    """Feeds the progress from inside the sampler."""

    progress: Progress
    pictures: int

    def one_more(self, step: np.ndarray) -> None:
        del step
        self.progress.advance(self.pictures)
        self.progress.say("", at_most_every=10.0)


class _Gallery:
    """Scores of all pictures, and the first few for the sheet."""

    def __init__(self, corruption: Corruption | None):
        self.rows: list[dict[str, np.ndarray]] = []
        self._baseline = _baseline(corruption) if corruption is not None else None
        self._scores: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, picture: Picture, x0: np.ndarray) -> None:
        columns = {"degraded": picture.shown}
        if self._baseline is not None:
            mask = None if picture.mask is None else picture.mask[None]
            columns[self._baseline.name] = self._baseline.repair(picture.shown[None], mask)[0]
        columns["restored"] = x0
        if picture.clean is not None:
            for title, image in columns.items():
                pair = image[None], picture.clean[None]
                self._scores[title].append(
                    (float(metrics.psnr(*pair)[0]), float(metrics.ssim(*pair)[0]))
                )
            columns |= {"clean": picture.clean}
        if len(self.rows) < MAX_ROWS:
            self.rows.append({title: image_io.to_uint8(x) for title, x in columns.items()})

    def scores(self) -> dict[str, tuple[float, float]]:
        return {
            title: tuple(float(x) for x in np.mean(values, axis=0))
            for title, values in self._scores.items()
        }


def _baseline(corruption: Corruption) -> Baseline | None:
    try:
        return baseline_for(corruption)
    except ModuleNotFoundError as error:
        print(f"warning: the baseline is left out: {error}", file=sys.stderr)
        return None


def _targets(folder: epath.Path, output: epath.Path, names: list[str]) -> dict[str, epath.Path]:
    """Where each picture goes; refuses to overwrite anything that was given."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file: name a folder")
    if output.resolve().is_relative_to(folder.resolve()):
        # a second run would take the first one's results for pictures
        raise ValueError(f"--output {output} lies in the input folder: choose another")
    targets = {name: (output / name).with_suffix(".png") for name in names}
    seen: dict[epath.Path, str] = {output / SHEET: SHEET}
    for name, target in targets.items():
        if target in seen:
            raise ValueError(f"{name} and {seen[target]} would both be written to {target}")
        seen[target] = name
    return targets


def _read(
    folder: epath.Path, names: list[str], unreadable: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """(name, uint8 [h, w, 3]) of every picture that can be read; tells of the others."""
    for name in names:
        try:
            yield name, image_io.decode_rgb((folder / name).read_bytes())
        except (image_io.UnreadableImage, OSError) as error:
            print(f"warning: {name} is left out: {error}", file=sys.stderr)
            unreadable[name] = str(error)


def _given(pictures: Iterator[tuple[str, np.ndarray]]) -> Iterator[Picture]:
    """Pictures that are degraded already."""
    for name, image in pictures:
        shown = image_io.from_uint8(image)
        yield Picture(name, shown, None, shown)


def _degraded(
    pictures: Iterator[tuple[str, np.ndarray]], config: Config, corruption: Corruption, seed: int
) -> Iterator[Picture]:
    """Clean pictures, cut as the run's evaluation does, under its corruption.

    What is drawn depends on the seed and the name; a mask or member of the mixture on the number.
    """
    for index, (name, image) in enumerate(pictures):
        prepared = prepare(image, image_size=config.image_size, crop=config.data.crop)
        square = image_io.center_crop(prepared, config.image_size)
        clean = image_io.from_uint8(square)[None]
        rng = np.random.default_rng([seed, name_hash(name)])
        number = np.array([index])
        corrupted = corruption(rng, clean, index=number)
        shown = corruption.degrade(clean, corrupted.mask, index=number)
        rest = (None if x is None else x[0] for x in corrupted)
        yield Picture(name, shown[0], clean[0], *rest)


def _groups(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    """Pictures of equal shape, at most `size` together."""
    waiting: dict[tuple[int, ...], list[Picture]] = defaultdict(list)
    for picture in pictures:
        group = waiting[picture.x1.shape]
        group.append(picture)
        if len(group) == size:
            yield waiting.pop(picture.x1.shape)
    yield from waiting.values()


def _stack(group: list[Picture], field: str) -> np.ndarray | None:
    values = [picture._asdict()[field] for picture in group]
    return None if values[0] is None else np.stack(values)
