"""One process among many: who the others are, which devices are its own, and when all must stop.

What a launcher says of itself lies in the environment:

    Slurm         srun's SLURM_… variables; a process a GPU, a node, or a part of a node
    Kubernetes    a Job's completion index, read by jax[k8s]
    TPU           libtpu beside a TPU's device file: a pod, or a single VM
    anything else JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES, JAX_PROCESS_ID

Without any of these a process is alone, and joins a group of one: jax.distributed is what hears of
preemptions (SIGTERM).
"""

import contextlib
import glob
import importlib.util
import math
import os
import re
import secrets
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from i2sb_jax.accelerators.agreement import agreed
from i2sb_jax.accelerators.companions import Watch
from i2sb_jax.reasons import first_line

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",
          "SLURM_LOCALID")  # fmt: skip
_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
# else JAX would ask Slurm, and show a process on its own one GPU of many
_NO_DETECTION = {"cluster_detection_method": "deactivate"}
_PATIENCE = 10.0  # seconds for the others to end too
_JAX_WAITS = 60  # seconds longer than we do
_TPU_FILES = ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")
_watches: list[Watch] = []  # one at most: a process joins one group


class Launch(NamedTuple):
    """How a process was started.

    Attributes:
        launcher: its name, for people.
        arguments: of `jax.distributed.initialize`; what is absent JAX finds out itself.
        devices: numbers of the process's own GPUs among those it sees; None: all that it sees.
    """

    launcher: str
    arguments: dict[str, Any]
    devices: tuple[int, ...] | None = None


class Place(NamedTuple):
    """The place of a process among those that work side by side, and join no group.

    Attributes:
        index: its number; None: nobody has counted.
        count: how many were started; None as well.
    """

    index: int | None = None
    count: int | None = None


def join(mode: str, *, heartbeat: float = 100.0) -> None:
    """Makes this process one of its group; before JAX has touched a device.

    Where another process of the group is silent for a heartbeat, this one ends (`companions`).

    Args:
        mode: "auto" takes the launcher that the environment names, or else a group of one; "on"
            insists on a launcher; "off" joins nothing, and then SIGTERM kills.
        heartbeat: seconds.

    Raises:
        ValueError: the group cannot be joined, or fewer devices are there than were granted; one
            line that names this host. A process that should be one of many never goes on alone.
    """
    if mode == "off":
        return
    launch = find_launch(os.environ)
    if launch is None and mode == "on":
        raise ValueError(
            "distributed='on' and no launcher: run it by srun, in a Kubernetes Job, on a TPU, or "
            f"set {', '.join(_BY_HAND)}"
        )
    launch = alone() if launch is None else launch
    try:
        jax.distributed.initialize(
            **launch.arguments,
            local_device_ids=launch.devices,
            # JAX's own end of a group is an abort: it comes last
            heartbeat_timeout_seconds=math.ceil(heartbeat) + _JAX_WAITS,
        )
    except Exception as error:  # of many kinds, by where it fails
        reason = first_line(error)
        if mode == "auto":
            reason += "; where it is alone, --config.distributed=off needs no group"
        line = f"{socket.gethostname()} cannot join ({launch.launcher}): {reason}"
        raise ValueError(line) from error
    if launch.devices is not None and jax.local_device_count() < len(launch.devices):
        raise ValueError(
            f"{socket.gethostname()}: {launch.launcher} granted GPUs {launch.devices}, and JAX "
            f"sees {jax.local_device_count()} {jax.default_backend()} devices"
        )
    if jax.process_count() > 1:
        _watches.append(Watch(heartbeat))


def await_verdict(error: Exception) -> None:
    """Returns where an error is this process's own; where another one is gone, it ends first.

    What another process was needed for fails at once where that one is killed, and the error of the
    step does not say whose end it was: a heartbeat later the group knows.
    """
    if isinstance(error, jax.errors.JaxRuntimeError):
        for watch in _watches:
            print(f"note: is another process lost? {first_line(error)}", file=sys.stderr)
            watch.wait()


def leave(*, status: int, error: Exception | None = None) -> None:
    """Ends this process where an error ended its work and not that of the others.

    They may wait for it in the middle of a step; at its usual end it would wait for them, for
    minutes. Where all end, it returns.

    Args:
        status: of the exit; the others are stopped by the loss of their companion.
        error: printed with where it arose, if this does not return.
    """
    if not jax.distributed.is_initialized():
        return
    for watch in _watches:
        watch.stop()
    leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    leaving.start()
    leaving.join(_PATIENCE)
    if leaving.is_alive():
        with contextlib.suppress(OSError, ValueError):  # a log that is full, or closed
            if error is not None:
                traceback.print_exception(error)
            sys.stderr.flush()
        os._exit(status)


def find_place(environment: Mapping[str, str]) -> Place | None:
    """The place of a process that a launcher has started as one of several; None on its own.

    Raises:
        ValueError: variables that contradict each other; one line.
    """
    if (place := _place_by_hand(environment)) is not None:
        return None if place.count == 1 else place
    match find_launch(environment):
        case Launch("Slurm"):
            numbers = environment["SLURM_PROCID"], environment["SLURM_STEP_NUM_TASKS"]
            return Place(*map(int, numbers))
        case Launch("Kubernetes"):  # which tells no process how many there are
            return Place()
    return None  # on its own, or on a TPU, whose processes work as one


def keep_to_own_devices(environment: Mapping[str, str]) -> None:
    """Hides the GPUs of other processes on the node; before JAX has touched a device.

    For processes that join no group, whose GPUs `join` would tell apart.

    Raises:
        ValueError: as of `find_launch`.
    """
    launch = find_launch(environment)
    if launch is not None and launch.devices is not None:
        jax.config.update("jax_cuda_visible_devices", ",".join(map(str, launch.devices)))


def find_launch(environment: Mapping[str, str]) -> Launch | None:
    """The launcher that an environment names; None for a process on its own.

    Raises:
        ValueError: variables that contradict each other; one line.
    """
    place = _place_by_hand(environment)
    if place is not None and _BY_HAND[0] in environment:
        given = {"coordinator_address": environment[_BY_HAND[0]], "num_processes": place.count}
        return Launch(_BY_HAND[0], {**given, "process_id": place.index, **_NO_DETECTION})
    if all(name in environment for name in _SLURM):
        if int(environment["SLURM_STEP_NUM_TASKS"]) == 1:
            return None
        return Launch("Slurm", {}, slurm_devices(environment))
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return Launch("Kubernetes", {})
    on_cpu = environment.get("JAX_PLATFORMS") == "cpu"
    if not on_cpu and importlib.util.find_spec("libtpu") and any(map(glob.glob, _TPU_FILES)):
        return Launch("TPU", {})
    return None


def _place_by_hand(environment: Mapping[str, str]) -> Place | None:
    if not all(name in environment for name in _BY_HAND[1:]):
        return None
    count, number = (environment[name] for name in _BY_HAND[1:])
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
        raise ValueError(f"JAX_PROCESS_ID={number} must be less than JAX_NUM_PROCESSES={count}")
    return Place(int(number), int(count))


def slurm_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Which of the GPUs that it sees belong to a process started by srun.

    Slurm shows a process all GPUs of its node's share, or with --gpus-per-task or --gpu-bind its
    own only.

    Returns:
        Numbers as CUDA counts the visible ones; None on a node without GPUs.

    Raises:
        ValueError: the node's processes cannot share them evenly.
    """
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if "CUDA_VISIBLE_DEVICES" not in environment:  # Slurm does not manage GPUs here
        visible = sorted(glob.glob("/dev/nvidia[0-9]*"))
    if not visible:
        return None
    tasks, number = _tasks_here(environment), int(environment["SLURM_LOCALID"])
    if len(visible) == 1 or _bound_by_slurm(environment):
        return tuple(range(len(visible)))
    if len(visible) % tasks:
        raise ValueError(
            f"{tasks} processes on this node cannot share the GPUs {','.join(visible)} evenly: "
            "choose --ntasks-per-node and --gpus-per-node so that one divides the other"
        )
    share = len(visible) // tasks
    return tuple(range(number * share, (number + 1) * share))


def _bound_by_slurm(environment: Mapping[str, str]) -> bool:
    """Whether each process was shown its own GPUs only; --gpus-per-task does that by default."""
    binding = environment.get("SLURM_GPU_BIND", "").removeprefix("verbose,")
    if binding.startswith("none"):
        return False
    apart = binding.startswith(("single", "map_gpu", "mask_gpu", "per_task"))
    return apart or bool(environment.get("SLURM_GPUS_PER_TASK"))


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Processes of the step on this node: 4 and 2 are the counts in "4(x2),2" of three nodes."""
    counts = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        count, times = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part).groups()
        counts += [int(count)] * int(times or 1)
    return counts[int(environment.get("SLURM_NODEID", "0"))]


def alone() -> Launch:
    """A group of one on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    only = {"coordinator_address": address, "coordinator_bind_address": address}
    return Launch("alone", {**only, "num_processes": 1, "process_id": 0, **_NO_DETECTION})


def check_shared(workdir: epath.PathLike, *, option: str = "--workdir") -> None:
    """Raises ValueError, on every process, where not all see what process 0 writes there.

    The line begins with `option`, by which the folder was named.
    """
    if jax.process_count() == 1:
        return
    mine = np.frombuffer(secrets.token_bytes(8), np.uint8)
    token = bytes(np.asarray(multihost_utils.broadcast_one_to_all(mine))).hex()
    probe, reason = epath.Path(workdir) / f".seen-by-all-{token}", ""
    if jax.process_index() == 0:
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
        except OSError as error:  # all must hear of it: the others wait
            reason = f": {error}"
    if not agreed(not reason):
        raise ValueError(f"{option} {workdir} cannot be written by process 0{reason}")
    seen = np.asarray(multihost_utils.process_allgather(np.array(probe.exists()))).reshape(-1)
    if jax.process_index() == 0:
        probe.unlink()
    if not seen.all():
        blind = ", ".join(map(str, np.flatnonzero(~seen)))
        raise ValueError(
            f"{option} {workdir} is not the same folder for all: process 0 writes there and "
            f"processes {blind} do not see it; use a shared file system or gs://"
        )


def preemption_notice(mode: str) -> Callable[[int], bool]:
    """Returns a function that tells, after a step, whether all processes must save it and stop.

    It is True at the same step everywhere, soon after any process got SIGTERM. A second SIGTERM
    then kills at once. All processes must ask after every step.
    """
    if mode == "off":
        return lambda step: False

    def must_stop(step: int) -> bool:
        stop = multihost_utils.reached_preemption_sync_point(step)
        if stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return stop

    return must_stop
