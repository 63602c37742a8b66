"""What the environment says of a process: its launcher, and its own devices."""

import threading

import jax
import pytest

from i2sb_jax.accelerators import processes
from i2sb_jax.accelerators.processes import (
    Place,
    find_launch,
    find_place,
    keep_to_own_devices,
    slurm_devices,
)

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "n[0-1]",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
EIGHT = "0,1,2,3,4,5,6,7"


@pytest.fixture(autouse=True)
def no_tpu(monkeypatch):
    monkeypatch.setattr(processes.glob, "glob", lambda pattern: [])


@pytest.mark.parametrize(
    "tasks, local, visible, bound, devices",
    [
        # a process a GPU, all of the node's in sight
        ("4(x2)", 0, "0,1,2,3", {}, (0,)),
        ("4(x2)", 3, "0,1,2,3", {}, (3,)),
        # a process a GPU, its own in sight: numbered 0 whatever its name
        ("4(x2)", 2, "2", {}, (0,)),
        ("4(x2)", 2, "GPU-5ebe9", {}, (0,)),
        ("4(x2)", 2, "4,5", {"SLURM_GPUS_PER_TASK": "2"}, (0, 1)),
        ("4(x2)", 2, "4,5", {"SLURM_GPU_BIND": "single:2"}, (0, 1)),
        # a process a node
        ("1(x2)", 0, "0,1,2,3", {}, (0, 1, 2, 3)),
        # several GPUs a process
        ("2(x2)", 0, EIGHT, {}, (0, 1, 2, 3)),
        ("2(x2)", 1, EIGHT, {}, (4, 5, 6, 7)),
        # a part of the node: Slurm gave four of its eight, numbers as CUDA counts them
        ("2(x2)", 1, "4,5,6,7", {}, (2, 3)),
        # nodes that differ: this is the second of them
        ("4,2", 1, "0,1,2,3", {}, (2, 3)),
        # all in sight though Slurm could have bound them
        ("4(x2)", 1, "0,1,2,3", {"SLURM_GPU_BIND": "none"}, (1,)),
        ("4(x2)", 1, "0,1,2,3", {"SLURM_GPU_BIND": "none", "SLURM_GPUS_PER_TASK": "1"}, (1,)),
        ("4(x2)", 1, "0,1,2,3", {"SLURM_GPU_BIND": "verbose,closest"}, (1,)),
        # no GPUs: whatever JAX sees
        ("4(x2)", 1, "", {}, None),
    ],
)
def test_the_devices_of_a_slurm_process(tasks, local, visible, bound, devices):
    environment = SLURM | bound | {
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_LOCALID": str(local),
        "CUDA_VISIBLE_DEVICES": visible,
    }  # fmt: skip
    assert slurm_devices(environment) == devices
    assert find_launch(environment) == ("Slurm", {}, devices)


@pytest.mark.parametrize("visible", ["0,1,2", "0,1"])
def test_processes_that_cannot_share_their_gpus(visible):
    with pytest.raises(ValueError, match=rf"4 processes on this node .* the GPUs {visible} evenly"):
        slurm_devices(SLURM | {"CUDA_VISIBLE_DEVICES": visible})


def test_gpus_that_slurm_does_not_manage_are_counted(monkeypatch):
    files = ["/dev/nvidia0", "/dev/nvidia1"]
    monkeypatch.setattr(processes.glob, "glob", lambda pattern: files * ("nvidia" in pattern))
    alone = {"SLURM_STEP_TASKS_PER_NODE": "1(x8)", "SLURM_LOCALID": "0"}
    assert slurm_devices(SLURM | alone) == (0, 1)
    assert slurm_devices(SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x4)"}) == (1,)


def test_launchers_are_told_by_their_variables(monkeypatch):
    assert find_launch({}) is None
    assert find_launch(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find_launch({k: v for k, v in SLURM.items() if k != "SLURM_PROCID"}) is None  # sbatch
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert find_launch(pod) is None
    assert find_launch(pod | {"JOB_COMPLETION_INDEX": "3"}).launcher == "Kubernetes"
    monkeypatch.setattr(processes.glob, "glob", lambda pattern: ["/dev/accel0"])
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: name == "libtpu")
    assert find_launch({}).launcher == "TPU"
    assert find_launch({"JAX_PLATFORMS": "cpu"}) is None


def test_processes_by_hand():
    given = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    launch = find_launch(given)
    assert launch.arguments == {
        "coordinator_address": "a:1", "num_processes": 2, "process_id": 1,
        "cluster_detection_method": "deactivate",
    }  # fmt: skip
    with pytest.raises(ValueError, match="JAX_PROCESS_ID=2 must be less than JAX_NUM_PROCESSES=2"):
        find_launch(given | {"JAX_PROCESS_ID": "2"})


def test_the_place_of_a_process_that_joins_no_group(monkeypatch):
    assert find_place({}) is None
    assert find_place(SLURM) == Place(5, 8)
    assert find_place(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    given = {"JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "0"}
    assert find_place(given) == find_place(given | {"JAX_COORDINATOR_ADDRESS": "a:1"}) == (0, 3)
    assert find_launch(given) is None  # which would need the address
    assert find_place(given | {"JAX_NUM_PROCESSES": "1"}) is None
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}
    assert find_place(pod) == Place(None, None)
    monkeypatch.setattr(processes.glob, "glob", lambda pattern: ["/dev/accel0"])
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: name == "libtpu")
    assert find_launch({}).launcher == "TPU" and find_place({}) is None


@pytest.mark.parametrize(
    "environment, seen",
    [
        ({}, None),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}, "1"),
        (SLURM | {"CUDA_VISIBLE_DEVICES": EIGHT}, "2,3"),
        (SLURM | {"CUDA_VISIBLE_DEVICES": ""}, None),
    ],
)
def test_gpus_of_other_processes_are_hidden(environment, seen, monkeypatch):
    said, update = {}, jax.config.update
    monkeypatch.setattr(jax.config, "update", said.__setitem__)
    keep_to_own_devices(environment)
    assert said == ({} if seen is None else {"jax_cuda_visible_devices": seen})
    for name in said:
        update(name, "all")  # there is such an option


def test_a_process_alone_is_a_group_of_one_on_loopback():
    launch = processes.alone()
    assert launch.arguments["coordinator_address"].startswith("127.0.0.1:")
    assert (launch.arguments["num_processes"], launch.arguments["process_id"]) == (1, 0)
    # under srun JAX would otherwise look for others, and take one GPU of many
    assert launch.arguments["cluster_detection_method"] == "deactivate"


def test_a_group_that_cannot_be_joined_is_one_line_with_the_host(monkeypatch):
    def fails(**arguments):
        raise RuntimeError("DEADLINE_EXCEEDED: no answer\nand more")

    monkeypatch.setattr(processes.jax.distributed, "initialize", fails)
    monkeypatch.setattr(processes.socket, "gethostname", lambda: "n7")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as error:
        processes.join("auto")
    assert str(error.value) == (
        "n7 cannot join (Slurm): DEADLINE_EXCEEDED: no answer; where it is alone, "
        "--config.distributed=off needs no group"
    )
    processes.join("off")
    with pytest.raises(ValueError, match=r"no answer$"):
        processes.join("on")


def test_fewer_devices_than_were_granted(monkeypatch):
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda **arguments: None)
    for name, value in (SLURM | {"CUDA_VISIBLE_DEVICES": EIGHT}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"granted GPUs \(2, 3\), and JAX sees 1 cpu devices"):
        processes.join("auto")


@pytest.mark.parametrize("others_end, status", [(True, None), (False, 2)])
def test_who_fails_alone_does_not_wait_for_the_others(monkeypatch, others_end, status):
    waiting, ended = threading.Event(), []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax.distributed, "shutdown", (lambda: None) if others_end else waiting.wait)
    monkeypatch.setattr(processes, "_PATIENCE", 5.0 if others_end else 0.1)
    monkeypatch.setattr(processes.os, "_exit", ended.append)
    processes.leave(status=2)
    waiting.set()
    assert ended == ([] if status is None else [status])


def test_a_process_alone_leaves_as_usual(monkeypatch):
    monkeypatch.setattr(processes.os, "_exit", pytest.fail)
    monkeypatch.setattr(jax.distributed, "shutdown", pytest.fail)
    processes.leave(status=2)
