"""The pictures that a model is evaluated on."""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
from etils import epath

from i2sb_jax import build, data
from i2sb_jax.config import Config
from i2sb_jax.data import scaling
from i2sb_jax.data.fingerprint import fingerprint, imagenet_labels
from i2sb_jax.data.name_list import listed, read_name_list
from i2sb_jax.data.view import degraded_view
from i2sb_jax.evaluation.results import Data
from i2sb_jax.restoration.baselines import baseline_for
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
    if given.targets and not (config.has_pairs and given.data):
        raise ValueError(f"--targets {given.targets}: only of paired data, beside --data SOURCES")
    if config.has_pairs and config.data.target_path and given.data and not given.targets:
        raise ValueError(f"--targets is missing: the run has targets beside --data {given.data}")
    source, name = _source(config, folder, given, warn)
    if given.list:
        source = listed(source, read_name_list(given.list), origin=given.list)
        name += f", {given.list}"
    count = min(given.limit or len(source), len(source))
    corruption = build.make_corruption(config)
    # only now, when nothing is left to complain of: TensorFlow takes seconds
    from i2sb_jax.data.pipeline import eval_batches

    def pictures(numbers: Sequence[int], *, rows: int) -> Iterator[Batch]:
        return eval_batches(
            source, corruption, config.data, image_size=config.image_size, batch_size=rows,
            seed=given.seed, numbers=numbers, leave_out=True, warn=warn,
        )  # fmt: skip

    views = {}
    if given.baseline and not config.has_pairs and (base := baseline_for(corruption)):
        views[base.name] = lambda batch: base.repair(degraded_view(batch), batch.mask)
    elif given.baseline:
        warn(f"--baseline: {config.corruption} has no customary repair")
    digest = fingerprint(source, count=count)
    return Data(name, len(source), pictures, views, digest, imagenet_labels(source))


def _source(config: Config, folder, given, warn) -> tuple[data.Source, str]:
    """The pictures and what they are called."""
    if given.data is None:
        report = functools.partial(data.make_sources, config.data, folder, report=warn)
        kind = config.data.source
        where = config.data.tfds_name or config.data.eval_path or config.data.path
        return report(process_index=jax.process_index())[1], f"{kind} {where}".strip()
    if not config.has_pairs:
        return data.open_source("folder", path=given.data), given.data
    from i2sb_jax.data.pairs import whole_pairs

    changed = dataclasses.replace(config.data, path=given.data, target_path=given.targets or "")
    ranges = scaling.load_value_ranges(folder)
    told = f"{given.data} and {given.targets}" if given.targets else given.data
    return whole_pairs(changed, ranges, report=warn), told
