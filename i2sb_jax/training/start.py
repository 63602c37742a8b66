"""The model that a bridge starts at: checked against the run, and kept in the run's folder.

The copy in `start/` is what the run is trained with from its first step on: the model itself may
train on, move or go.
"""

import dataclasses

import jax
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.checkpoint import LATEST, abstract_like
from i2sb_jax.config import Config, flatten, to_dict
from i2sb_jax.corruptions.names import is_within
from i2sb_jax.data import scaling
from i2sb_jax.interop import (
    START_FOLDER,
    check_start_config,
    check_trained,
    check_weights,
    find_checkpoint,
    load_weights,
    local_folder,
    read_provenance,
    save_model,
)
from i2sb_jax.run import Run
from i2sb_jax.training.teacher import SHARED_OF_PAIRS, check_same_values
from i2sb_jax.types import Params


def with_kept_start(run: Run, workdir: epath.PathLike) -> Run:
    """Returns the run with the copy that its folder has of the model it starts at, if it has one.

    Raises:
        ValueError: the run has begun, and its folder has none any more.
    """
    if not run.config.bridge.start:
        return run
    kept = epath.Path(workdir) / START_FOLDER
    if config_lib.has_run(kept):
        return dataclasses.replace(run, start_folder=kept)
    if config_lib.has_run(workdir):
        raise ValueError(f"{kept} is gone, the model that the run starts at: put it back")
    return run


def check_start_model(run: Run) -> None:
    """Finds what would keep a run from starting at another model's answer; reads no weights.

    Args:
        run: from `with_kept_start`.

    Raises:
        ValueError: the model is missing, holds initial weights alone, is a student or starts at
            another's answer itself, or was trained for another task; one line that names what
            differs, and what would be right.
    """
    if run.start is None:
        return
    config, name = run.config, run.config.bridge.start
    path = local_folder(name if run.start_folder is None else run.start_folder)
    theirs = config_lib.load(path)
    check_start_config(theirs, name)
    check_trained(path, name)
    _check_task(config, theirs)
    _check_size(config, theirs)
    check_weights(path, run.abstract_frozen)


def _check_task(config: Config, theirs: Config) -> None:
    name = config.bridge.start
    ours = config.corruption
    if config.has_pairs or theirs.has_pairs:
        if not (config.has_pairs and theirs.has_pairs):
            raise ValueError(f"corruption={ours!r} must be {theirs.corruption!r}, {_as_of(name)}")
        here, there = flatten(to_dict(config)), flatten(to_dict(theirs))
        for key in SHARED_OF_PAIRS:
            if here[key] != there[key]:
                raise ValueError(f"{key}={here[key]!r} must be {there[key]!r}, {_as_of(name)}")
    elif not is_within(ours, theirs.corruption):
        raise ValueError(
            f"corruption={ours!r} must be {theirs.corruption!r}, or lie within it, {_as_of(name)}"
        )


def _check_size(config: Config, theirs: Config) -> None:
    name, side = config.bridge.start, config.image_size
    if theirs.unet.has_attention and side != theirs.image_size:
        raise ValueError(
            f"image_size={side} must be {theirs.image_size}, {_as_of(name)}, whose attention knows "
            "pictures of that size"
        )
    factor = theirs.unet.downsampling_factor
    if side % factor:
        right = max(factor, round(side / factor) * factor)
        raise ValueError(
            f"image_size={side} must be a multiple of {factor}, e.g. {right}, for "
            f"bridge.start={name}"
        )


def _as_of(name: str) -> str:
    return f"as of bridge.start={name}"


def load_start(run: Run, workdir: epath.PathLike) -> Params | None:
    """The weights of the model that the run starts at, as they are kept in its folder.

    They are copied there before the first step: averaged ones, of the newest checkpoint.

    Returns:
        The parameters, laid out as `Run.abstract_frozen` says; None where the run starts at X_1.

    Raises:
        ValueError: they are not there, have other shapes, are not finite, or of pairs learnt other
            values.
    """
    if run.start is None:
        return None
    kept = epath.Path(workdir) / START_FOLDER
    if not agreement.agreed(config_lib.has_run(kept)):
        _keep(run, kept)
    if run.config.has_pairs:
        check_same_values(workdir, kept, named=f"bridge.start={run.config.bridge.start}")
    return load_weights(kept, run.abstract_frozen)


def _keep(run: Run, kept: epath.Path) -> None:
    """Writes the model folder; every process reads the same checkpoint, the first one writes."""
    source = local_folder(run.config.bridge.start)
    step = find_checkpoint(source, LATEST)
    (step,) = agreement.of_first_process([-1 if step is None else step])
    everywhere = sharding.replicated(run.mesh)
    whole = abstract_like(run.abstract_frozen, everywhere)
    params = load_weights(source, whole, checkpoint=LATEST if step < 0 else step)
    if jax.process_index() == 0:
        if (epath.Path(source) / scaling.FILE).exists():
            scaling.save_value_ranges(kept, scaling.load_value_ranges(source))
        save_model(kept, config_lib.load(source), params, provenance=read_provenance(source))
    agreement.barrier("the model that the run starts at is kept")
