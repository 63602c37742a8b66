"""The teacher of a student: checked against it, and the same weights whenever the run goes on."""

import json

from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.config import Config, flatten, to_dict
from i2sb_jax.config.sections import NO_OT_ODE
from i2sb_jax.data import scaling
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.interop import check_trained, check_weights, find_checkpoint, load_weights
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.types import Params

TEACHER_FILE = "teacher.json"
# a section, or a key: what student and teacher must share, for one network starts as the other
_SHARED = ("corruption", "bridge", "model")
SHARED_OF_PAIRS = (
    *("data.source_channels", "data.target_channels", "data.cond_x1"),
    *("data.scaling", "data.source_range", "data.target_range", "data.percentiles"),
)
_MAY_DIFFER = {
    *("bridge.weighting", "bridge.end_share", "bridge.log_floor"),
    *("model.dropout", "model.dtype", "model.remat"),
}


def check_teacher(config: Config, workdir: epath.PathLike, abstract: Params) -> None:
    """Finds what would keep a student from starting; reads no weights.

    Args:
        config: of the student.
        workdir: its folder.
        abstract: the teacher's shapes.

    Raises:
        ValueError: the teacher is missing, is an OT-ODE, a student or only initial weights, or has
            another bridge, network or task; one line that names what differs.
    """
    path = local_folder(config.teacher)
    theirs = config_lib.load(path)
    if theirs.teacher:
        raise ValueError(f"teacher={config.teacher} is a student itself: name its teacher")
    if theirs.bridge.start:
        raise ValueError(
            f"teacher={config.teacher} starts at another model's answer (bridge.start), and a "
            "student is distilled from X_1 itself: name a bridge that starts there"
        )
    if theirs.bridge.deterministic:
        raise ValueError(f"teacher={config.teacher} is an OT-ODE: {NO_OT_ODE}")
    check_trained(path, config.teacher)
    here, there = flatten(to_dict(config)), flatten(to_dict(theirs))
    shared = (*_SHARED, *(SHARED_OF_PAIRS if config.has_pairs else ()))
    for key, value in here.items():
        is_shared = key in shared or key.split(".")[0] in shared
        if is_shared and key not in _MAY_DIFFER and there[key] != value:
            raise ValueError(
                f"{key}={value!r} must be {there[key]!r}, as of teacher={config.teacher}"
            )
    _wanted(config, workdir)
    check_weights(path, abstract)


def load_teacher(config: Config, workdir: epath.PathLike, abstract: Params) -> Params:
    """The teacher's (averaged) weights, laid out as `abstract` says.

    Of a run that itself goes on, they stay those of the checkpoint that the student began with.

    Raises:
        ValueError: they are not there, have other shapes, are not finite, or of pairs learnt other
            values.
    """
    if config.has_pairs:
        theirs = local_folder(config.teacher)
        check_same_values(workdir, theirs, named=f"teacher={config.teacher}")
    return load_weights(config.teacher, abstract, checkpoint=_checkpoint(config, workdir))


def check_same_values(workdir: epath.PathLike, theirs: epath.PathLike, *, named: str) -> None:
    """Raises ValueError where a run on pairs has learnt other values than a model, called `named`.

    Args:
        workdir: of the run, which may not have learnt any yet.
        theirs: the model's folder.
        named: key and value that name it.
    """
    if not (epath.Path(workdir) / scaling.FILE).exists():
        return
    if scaling.load_value_ranges(workdir) != scaling.load_value_ranges(theirs):
        raise ValueError(
            f"{workdir}/{scaling.FILE} differs from that of {named}: copy its file into the run's "
            "folder"
        )


def note_teacher(config: Config, workdir: epath.PathLike) -> None:
    """Writes down, before it is loaded, which checkpoint of its teacher a student has.

    Not after: a teacher that trains on may have saved another by then. What is noted stays, once
    the run has begun.
    """
    checkpoint = _wanted(config, workdir)
    path = epath.Path(workdir) / TEACHER_FILE
    write_atomically(path, json.dumps({"checkpoint": checkpoint}).encode())


def _wanted(config: Config, workdir: epath.PathLike) -> str | int:
    """The checkpoint that was noted; the newest of a run that has none, or was refused its own."""
    begun = config_lib.has_run(workdir)
    return _checkpoint(config, workdir) if begun else _found(config, LATEST)


def _checkpoint(config: Config, workdir: epath.PathLike) -> str | int:
    """The step that was written down, or the newest; of a model folder, which has one, "latest"."""
    path = epath.Path(workdir) / TEACHER_FILE
    return _found(config, read_json(path)["checkpoint"] if path.exists() else LATEST)


def _found(config: Config, checkpoint: str | int) -> str | int:
    step = find_checkpoint(config.teacher, checkpoint)
    return LATEST if step is None else step
