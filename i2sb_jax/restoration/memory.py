"""How much memory restoring will take, told once the network is compiled and before it is called.

That is what the process holds then, two batches, since the engine makes the next one ready while
one is computed, and the largest picture with its result.
"""

import pathlib
import resource
import sys

from i2sb_jax.accelerators.program import Memory

_BATCHES = 2
_STATUS = pathlib.Path("/proc/self/status")  # Linux


def bytes_to_come(program: Memory, *, pixels: int, samples: int = 1, states: int = 0) -> int:
    """Returns the bytes that the process will take on top of those that it holds.

    Args:
        program: of the largest network call, on a CPU.
        pixels: of the largest result; its picture is taken for one of 8 bits and as large.
        samples: of each picture.
        states: recorded of each.
    """
    result = 3 if samples == 1 else 24  # bytes a pixel; mean and squares are float32
    return _BATCHES * (program.total - program.code) + pixels * (3 + result + 3 * states)


def bytes_on_device(program: Memory, *, weights: int) -> int:
    """Returns the bytes that calls in turn take on a device on top of the weights.

    Args:
        program: of a call.
        weights: bytes of them, which lie there already.
    """
    batch = program.arguments - weights + program.outputs
    return program.temporaries + program.code + _BATCHES * batch


def peak_bytes(to_come: int) -> int:
    """Returns the most that the process will have held in the end."""
    return max(_held() + to_come, _peak())


def _held() -> int:
    return status_bytes("VmRSS") if _STATUS.exists() else _peak()


def _peak() -> int:
    if _STATUS.exists():  # what ru_maxrss counts begins with the program that started this one
        return status_bytes("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status_bytes(name: str) -> int:
    """Returns the bytes of a line of this process's /proc/self/status, as "VmRSS"; Linux."""
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return next(1024 * int(line[1]) for line in lines if line[0] == f"{name}:")
