"""The pictures that a model is evaluated on."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
from etils import epath

from i2sb_jax import data
from i2sb_jax.cli import startup
from i2sb_jax.config import Config, DataConfig
from i2sb_jax.data import scaling
from i2sb_jax.data.fingerprint import fingerprint, imagenet_labels
from i2sb_jax.data.name_list import listed, read_name_list
from i2sb_jax.data.view import degraded_view
from i2sb_jax.evaluation.results import Data, Values
from i2sb_jax.pictures import Notes
from i2sb_jax.restoration.baselines import baseline_for
from i2sb_jax.run import Run
from i2sb_jax.types import Batch


def open_data(
    config: Config, folder: epath.PathLike, given: argparse.Namespace, *, warn: Callable
) -> Data:
    """The run's held-out pictures, or those of a folder, degraded as the run's are.

    Args:
        config: of the run, with the command line's changes.
        folder: of the run, which keeps listings and the value ranges of pairs.
        given: the command line.
        warn: told of broken pictures and of files without a partner.

    Raises:
        ValueError: nothing to evaluate on, or folders that do not match; one line.
    """
    _check_flags(config, given)
    source, name = _source(config, folder, given, warn)
    if given.list:
        source = listed(source, read_name_list(given.list), origin=given.list)
        name += f", {given.list}"
    count = min(given.limit or len(source), len(source))
    corruption = Run(config).corruption
    # only now, when nothing is left to complain of: TensorFlow takes seconds
    from i2sb_jax.data.pipeline import Examples, Reading, Share, eval_batches

    notes = Notes(startup.tell) if jax.process_index() == 0 else None
    examples = Examples(corruption, config.data, config.image_size)
    reading = Reading(warn=warn, notes=notes)

    def pictures(numbers: Sequence[int], *, rows: int) -> Iterator[Batch]:
        return eval_batches(
            source, examples, Share(rows), seed=given.seed, numbers=numbers, leave_out=True,
            reading=reading,
        )  # fmt: skip

    views = {}
    if given.baseline and not config.has_pairs and (base := baseline_for(corruption)):
        views[base.name] = lambda batch: base.repair(degraded_view(batch), batch.mask)
    elif given.baseline:
        warn(f"--baseline: {config.corruption} has no customary repair")
    digest = fingerprint(source, count=count)
    values = _values(scaling.load_value_ranges(folder).target) if config.has_pairs else Values()
    labels = imagenet_labels(source)
    return Data(name, len(source), pictures, views, digest, labels, values)


def _check_flags(config: Config, given: argparse.Namespace) -> None:
    """Raises ValueError for flags of data that do not go together, or with the run."""
    if given.data and given.eval_data:
        raise ValueError(
            f"--eval-data {given.eval_data} is where the run's own data lie, and --data "
            f"{given.data} other pictures: give one of them"
        )
    flag, path = ("--eval-data", given.eval_data) if given.eval_data else ("--data", given.data)
    if given.eval_data and config.data.source in ("photos", "synthetic"):
        raise ValueError(
            f"--eval-data {path}: data.source={config.data.source!r} brings its own pictures; name "
            "others by --data"
        )
    if given.targets and not (config.has_pairs and path):
        raise ValueError(
            f"--targets {given.targets}: only of paired data, beside --data or --eval-data SOURCES"
        )
    if config.has_pairs and config.data.target_path and path and not given.targets:
        raise ValueError(f"--targets is missing: the run has targets beside {flag} {path}")


def _values(range_: scaling.ValueRange) -> Values:
    """How pictures of a range are measured; one number where all channels have the same."""
    ends = (end if len(set(end)) > 1 else end[:1] for end in (range_.low, range_.high))
    return Values(range_.dtype, *ends, range_.limits)


def _moved(config: DataConfig, given: argparse.Namespace) -> DataConfig | None:
    """The run's data section with the paths where its data lie now; None where they stayed."""
    if given.eval_data is None:
        return None
    side = "eval_" if config.eval_path else ""
    paths = {f"{side}path": given.eval_data}
    if given.targets:
        paths[f"{side}target_path"] = given.targets
    return dataclasses.replace(config, **paths)


def _source(config: Config, folder, given, warn) -> tuple[data.Source, str]:
    """The pictures and what they are called."""
    if given.data is None:
        moved = _moved(config.data, given)
        here = config.data if moved is None else moved
        # writes nothing: a run may lie where that is forbidden, and a model folder is not for it
        held_out = data.held_out_source(config.data, folder, moved=moved, report=warn)
        where = here.tfds_name or here.eval_path or here.path
        return held_out, f"{here.source} {where}".strip()
    if not config.has_pairs:
        return data.open_source("folder", path=given.data), given.data
    from i2sb_jax.data.pairs import whole_pairs

    changed = dataclasses.replace(config.data, path=given.data, target_path=given.targets or "")
    ranges = scaling.load_value_ranges(folder)
    name = f"{given.data} and {given.targets}" if given.targets else given.data
    return whole_pairs(changed, ranges, report=warn), name
