"""The start that all tools share: one line for a user's mistake, and JAX made ready."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import jax
from etils import epath

from i2sb_jax.accelerators.processes import await_verdict, leave
from i2sb_jax.accelerators.topologies import check_accelerator_visible
from i2sb_jax.checkpoint import silence_orbax
from i2sb_jax.cli.errors import users_line
from i2sb_jax.types import NonFiniteError

_TRACEBACK = "I2SB_TRACEBACK"
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_LEAST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def run(main: Callable[[list[str]], int | None]) -> None:
    """Calls main(arguments) and exits with its status.

    A ValueError or OSError is the user's to mend, and so are a missing package and a bucket that
    cannot be reached: one line is printed, and the status is 2. A NonFiniteError is a line too, and
    the status 3. With I2SB_TRACEBACK=1 in the environment it is raised as it is.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # TensorFlow tells what its kernels are
    try:
        sys.exit(main(sys.argv[1:]) or 0)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what was saved", file=sys.stderr)
        sys.exit(130)  # as shells report an interrupt
    except Exception as error:
        line = users_line(error)
        if line is None:
            await_verdict(error)
        if line is None or os.environ.get(_TRACEBACK):
            leave(status=1, error=error)
            raise
        print("error:", printable(line), file=sys.stderr)
        status = 3 if isinstance(error, NonFiniteError) else 2
        leave(status=status)
        sys.exit(status)


def tell(line: str) -> None:
    """Prints a line beside the output."""
    print(printable(line), file=sys.stderr, flush=True)


def printable(line: str) -> str:
    """A line with names of files and texts of strangers, none of which may move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in line)


def require(*packages: str) -> None:
    """Raises ModuleNotFoundError for the first package that is not installed; imports none."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}")


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line too, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def prepare_jax() -> None:
    """Turns on the persistent compilation cache, and looks for overlooked accelerators.

    Raises:
        ValueError: the machine has an accelerator that JAX cannot see.
    """
    if _CACHE not in os.environ:
        cache = epath.Path("~/.cache/i2sb_jax/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", os.fspath(cache))
    if _LEAST not in os.environ:
        # everything but the smallest programs: start-up is the sum of many
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    if not os.environ.get(_TRACEBACK):
        silence_orbax()
    check_accelerator_visible()
