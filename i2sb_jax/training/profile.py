"""A trace of some steps for TensorBoard's profiler, of process 0 and its devices.

It lies where TensorBoard looks for it, in tensorboard/plugins/profile/TIME of the run's folder.
"""

import sys
import tempfile
from typing import Any

import jax
from etils import epath

from i2sb_jax.config import profile_span
from i2sb_jax.files import is_remote, write_atomically
from i2sb_jax.reasons import first_line
from i2sb_jax.training.pace import Pace

_FOLDER = "tensorboard"


class Profile:
    """Traces the updates that follow step A, up to step B; a context manager.

    A run that ends within leaves the trace of what it did. One that cannot be made or written is
    one warning, and the run goes on without.
    """

    def __init__(self, folder: epath.PathLike, steps: str, *, start_step: int, pace: Pace):
        """Says where the run goes on from a step at which less is left to trace, or nothing.

        Args:
            folder: of the run; a bucket gets the files once they are complete.
            steps: "A:B", or "" for none; checked by the configuration.
            start_step: updates that were made before.
            pace: which leaves out the time of starting and writing.
        """
        span = profile_span(steps) if jax.process_index() == 0 else None
        self._folder, self._pace = epath.Path(folder) / _FOLDER, pace
        self._local: tempfile.TemporaryDirectory | None = None
        self._is_on = False
        if span is not None and start_step > span[0]:
            begins = "nothing of it is left" if start_step >= span[1] else "the rest is traced"
            _say(
                f"note: training.profile_steps={steps!r}: the run goes on from step {start_step}, "
                f"so {begins}"
            )
            span = (start_step, span[1]) if start_step < span[1] else None
        self._span = span

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_on:
            self._stop(f"from step {self._span[0]} to where the run ended")

    def reached(self, step: int, last: Any) -> None:
        """Begins or ends the trace, where it is time to.

        Args:
            step: updates made.
            last: arrays of the last of them, which is waited for: the trace has whole steps.
        """
        if self._span is None or step not in self._span:
            return
        jax.block_until_ready(last)
        with self._pace.aside():
            if step == self._span[0]:
                self._start()
            elif self._is_on:
                self._stop(f"from step {self._span[0]} to step {step}")

    def step(self, number: int) -> jax.profiler.StepTraceAnnotation:
        """Returns a context manager that marks an update in the trace."""
        return jax.profiler.StepTraceAnnotation("update", step_num=number)

    def _start(self) -> None:
        folder = self._folder
        if is_remote(folder):  # the profiler writes local files
            self._local = tempfile.TemporaryDirectory()
            folder = epath.Path(self._local.name)
        try:
            jax.profiler.start_trace(folder)
        except RuntimeError as error:  # another trace runs in this process
            _warn(error)
        else:
            self._is_on = True

    def _stop(self, what: str) -> None:
        self._is_on = False
        try:
            jax.profiler.stop_trace()
            if self._local is not None:
                _copy(epath.Path(self._local.name), self._folder)
        except (RuntimeError, OSError) as error:  # a full disk
            _warn(error)
        else:
            _say(f"note: profile {what} in {self._folder}/plugins/profile")
        finally:
            if self._local is not None:
                self._local.cleanup()
                self._local = None


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copies the files of a folder and those below it."""
    for folder, _, names in source.walk():
        for path in (folder / name for name in names):
            write_atomically(target / path.relative_to(source).as_posix(), path.read_bytes())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _warn(error: Exception) -> None:
    reason = first_line(error)
    _say(f"warning: no profile: {reason}; the run goes on")
