"""The configuration of a run, as it lies in its folder."""

import json

from etils import epath

from i2sb_jax.config.added import with_added_keys
from i2sb_jax.config.data import WITH_NAMES
from i2sb_jax.config.mapping import flatten, from_config_dict, to_dict
from i2sb_jax.config.sampling import STEPS
from i2sb_jax.config.sections import Config
from i2sb_jax.files import read_json, write_atomically

_FILE = "config.json"
# keys that may change between a run's start and its continuation: none changes what was learnt
_MAY_CHANGE = {
    "data.path",
    "data.eval_path",
    "data.eval_list",
    "data.target_path",
    "data.eval_target_path",
    "data.max_unreadable",
    "mask_file",
    "distributed",
    "heartbeat",
    "mesh.data",
    "mesh.fsdp",
    "mesh.fsdp_min_bytes",
    "training.num_steps",  # except under cosine, whose whole course it shapes
    "training.log_every",
    "training.image_every",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.keep_every",
    "training.best_metric",
    "training.wandb_project",
    "training.profile_steps",
    "sampling.sampler",
    "sampling.nfe",
    "sampling.spacing",
    "sampling.eta",
    "sampling.batch_size",
    "sampling.clip",
    "sampling.consistency",
    "sampling.realism",
    "evaluation.inception",
    "evaluation.resnet50",
    "evaluation.lpips_backbone",
    "evaluation.lpips_linear",
    "evaluation.reference_stats",
}


def has_run(workdir: epath.PathLike) -> bool:
    """Whether a run has begun in `workdir`, or it is a model folder."""
    return (epath.Path(workdir) / _FILE).exists()


def load(workdir: epath.PathLike) -> Config:
    """The configuration of the run in `workdir`; keys newer than it as it meant them.

    Raises:
        ValueError: there is no run there, or its config.json is not one of this library's.
    """
    path = epath.Path(workdir) / _FILE
    if not has_run(workdir):
        raise ValueError(f"{workdir} is not a run's folder: it has no {_FILE}")
    try:
        return from_config_dict(with_added_keys(read_json(path)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save(workdir: epath.PathLike, config: Config) -> None:
    """Writes `workdir`/config.json."""
    text = json.dumps(to_dict(config), indent=2) + "\n"
    write_atomically(epath.Path(workdir) / _FILE, text.encode())


def check_same_run(workdir: epath.PathLike, config: Config) -> None:
    """Compares `config` with that of a run already in `workdir`, if there is one.

    Raises:
        ValueError: a key that shapes the result differs; the line names it and both values. Or
            `workdir` is no folder.
    """
    folder = epath.Path(workdir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{workdir} is a file: choose another workdir")
    if not has_run(workdir):
        return
    theirs, ours = flatten(to_dict(load(workdir))), flatten(to_dict(config))
    fixed = {"training.num_steps"} if config.optimizer.schedule == "cosine" else set()
    if config.teacher:  # these are what it learns to do
        fixed |= {f"sampling.{name}" for name in STEPS}
    may_change = _MAY_CHANGE - fixed
    if {theirs["data.source"], ours["data.source"]} <= set(WITH_NAMES):
        may_change |= {"data.source"}  # whether they hold the same pictures is looked at later
    changed = [key for key in ours if ours[key] != theirs[key] and key not in may_change]
    if changed:
        differences = ", ".join(f"{k} is {theirs[k]!r} there, {ours[k]!r} here" for k in changed)
        raise ValueError(f"{workdir} holds another run: {differences}; choose another workdir")
