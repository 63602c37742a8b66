"""NVIDIA's GPUs as XLA's compiler is told of them, so that it compiles for one that is not there.

Counts, clocks, caches and bandwidths are those of NVIDIA's data sheets and architecture white
papers; what a compute capability has is from the tables of the CUDA C++ Programming Guide; memory
is what CUDA reports of a GPU with nothing on it, which is less than the data sheet's. The form is
XLA's `GpuTargetConfigProto` as text. XLA has such files of its own for some of these GPUs
(openxla/xla, xla/backends/gpu/target_config/specs); where it does, the values here agree with
them, but for the H200's memory, which was measured. There is none of the L40S and the RTX 4090:
their memory is what PyTorch's users report of them.
"""

import importlib.metadata
import os
import re
from typing import NamedTuple

_VARIABLES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
_DEFAULT_SHARE = 0.75  # of XLA's allocator
_PACKAGES = ("nvidia-cudnn-cu{}", "nvidia-cuda-runtime-cu{}", "nvidia-cuda-runtime")


class Gpu(NamedTuple):
    """One kind of GPU.

    Attributes:
        name: that CUDA gives it.
        capability: compute capability, (major, minor).
        multiprocessors: how many are switched on.
        clock: at most, GHz.
        memory: bytes, as CUDA reports them.
        bandwidth: of the memory, bytes a second.
        l2_cache: bytes.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    memory: int
    bandwidth: int
    l2_cache: int


GPUS = {
    "a100-80": Gpu(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 1.41, 85100068864, 2039040000000, 41943040
    ),
    "h100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 1.98, 84942979072, 3352320000000, 52428800),
    "h200": Gpu("NVIDIA H200", (9, 0), 132, 1.98, 150110000000, 4800000000000, 52428800),
    "b200": Gpu("NVIDIA B200", (10, 0), 148, 1.965, 191514411008, 7672320000000, 132644864),
    "l40s": Gpu("NVIDIA L40S", (8, 9), 142, 2.52, 47670362112, 864000000000, 100663296),
    "rtx4090": Gpu(
        "NVIDIA GeForce RTX 4090", (8, 9), 128, 2.52, 25386352640, 1008000000000, 75497472
    ),
}


class _Capability(NamedTuple):
    """A multiprocessor of one compute capability."""

    threads: int
    float32_units: int
    shared_memory: int  # bytes
    accelerated: bool  # has instructions that later capabilities do not have


_CAPABILITIES = {
    (8, 0): _Capability(2048, 64, 164 * 1024, False),
    (8, 9): _Capability(1536, 128, 100 * 1024, False),
    (9, 0): _Capability(2048, 128, 228 * 1024, True),
    (10, 0): _Capability(2048, 128, 228 * 1024, True),
}


class Libraries(NamedTuple):
    """Versions, (major, minor, patch), of what a program will be run with."""

    cudnn: tuple[int, int, int]
    runtime: tuple[int, int, int]


def installed_libraries(cuda: int) -> Libraries:
    """Returns the versions of NVIDIA's packages that JAX's extra for a CUDA brought along.

    Args:
        cuda: its major version.

    Raises:
        ValueError: they are not installed by pip, so the compiler cannot be told.
    """
    found = []
    for names in (_PACKAGES[:1], _PACKAGES[1:]):
        for name in names:
            try:
                version = importlib.metadata.version(name.format(cuda))
            except importlib.metadata.PackageNotFoundError:
                continue
            numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
            found.append((*numbers, 0, 0)[:3])
            break
        else:
            raise ValueError(
                f"{names[0].format(cuda)} is not installed, whose version the compiler is told: "
                f"pip install 'i2sb_jax[cuda{cuda}]', or describe the GPU by --target-config FILE"
            )
    return Libraries(*found)


def target_config(gpu: Gpu, libraries: Libraries) -> str:
    """Returns a GPU's description as XLA reads it."""
    major, minor = gpu.capability
    has = _CAPABILITIES[gpu.capability]
    extension = "ACCELERATED_FEATURES" if has.accelerated else "NONE"
    return f"""\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {has.shared_memory - 1024}
  shared_memory_per_core: {has.shared_memory}
  threads_per_core_limit: {has.threads}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  core_count: {gpu.multiprocessors}
  fpus_per_core: {has.float32_units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {gpu.bandwidth}
  l2_cache_size: {gpu.l2_cache}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {gpu.memory}
  cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {extension} }}
}}
platform_name: "CUDA"
dnn_version_info {{ {_version(libraries.cudnn)} }}
runtime_version {{ {_version(libraries.runtime)} }}
device_description_str: "{gpu.name}"
"""


def _version(version: tuple[int, int, int]) -> str:
    return "major: {} minor: {} patch: {}".format(*version)


def memory_of(text: str) -> int | None:
    """Returns the bytes of memory in a description; None where it does not tell."""
    found = re.search(r"\bdevice_memory_size\s*:\s*(\d+)", text)
    return int(found[1]) if found else None


def share_for_programs() -> float:
    """Returns the share of a GPU's memory that JAX's allocator takes, as the environment says.

    Raises:
        ValueError: the environment says no share.
    """
    for variable in _VARIABLES:
        if told := os.environ.get(variable):
            try:
                share = float(told)
            except ValueError:
                share = 0.0
            if not 0 < share <= 1:
                raise ValueError(f"{variable}={told} must be a share of the memory, as 0.9")
            return share
    return _DEFAULT_SHARE
