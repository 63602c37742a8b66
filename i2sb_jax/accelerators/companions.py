"""Whether the other processes of a group are still there.

A link that is cut says nothing: what is sent is swallowed, what is waited for never comes, and a
step would wait for ever. JAX's own heartbeats end that with an abort that names nobody. So all
processes pass a barrier of JAX's coordination service, which process 0 keeps, a few times within a
heartbeat; where one does not arrive, the others end, and name it.
"""

import atexit
import contextlib
import os
import re
import socket
import sys
import threading
import time
from typing import NoReturn

import jax
from orbax.checkpoint import multihost

LOST = 75  # EX_TEMPFAIL of sysexits.h, as of a run that was stopped: start it again
_BARRIERS = 8  # within a heartbeat, where all are there
_TIMEOUT = 0.75  # of a barrier, in heartbeats
_TOLD = 2.0  # seconds until all have heard what a barrier has come to
_CANCELLED = 5.0  # seconds until a barrier returns when its group is left


class Watch:
    """Ends this process, with status LOST, when another one has been silent for a heartbeat.

    Args:
        heartbeat: seconds.
    """

    def __init__(self, heartbeat: float):
        self._heartbeat, self._met = heartbeat, time.monotonic()
        self._leaving, self._left = threading.Event(), threading.Event()
        self._verdict = threading.Lock()
        self._barriers = threading.Thread(target=self._run_barriers, daemon=True)
        self._barriers.start()
        threading.Thread(target=self._run_watchdog, daemon=True).start()
        atexit.register(self._leave)

    def wait(self) -> None:
        """Returns after a heartbeat, if this process is still there: nobody is lost then."""
        time.sleep(self._heartbeat)

    def stop(self) -> None:
        """From here on it ends nothing; for a process that leaves the group."""
        self._leaving.set()

    def _run_barriers(self) -> None:
        limit = int(1000 * _TIMEOUT * self._heartbeat)
        meet = multihost.get_barrier_sync_fn()
        while not self._left.wait(self._heartbeat / _BARRIERS):
            try:
                meet(key="i2sb_jax: all are here", timeout_ms=limit)
            except Exception as error:
                if self._leaving.is_set():  # JAX takes the group down, and its devices
                    return
                if not isinstance(error, jax.errors.JaxRuntimeError):
                    raise
                self._give_up(_missing(str(error)))
            self._met = time.monotonic()

    def _run_watchdog(self) -> None:
        """For those who are cut off from process 0, which keeps the barriers' time limits."""
        met, silent = self._met, 0
        while (
            silent <= _BARRIERS
        ):  # by its own ticks: while this process is stopped, none is silent
            time.sleep(self._heartbeat / _BARRIERS)
            met, silent = self._met, silent + 1 if met == self._met else 0
        if not self._leaving.is_set():
            self._give_up("process 0")

    def _give_up(self, lost: str) -> NoReturn:
        self._verdict.acquire()  # for good: there is one, the first
        with contextlib.suppress(OSError, ValueError):  # a log that is full, or closed
            print(
                f"error: {socket.gethostname()}, process {jax.process_index()}: {lost} did not "
                f"answer for {self._heartbeat:g} s; the same command goes on from the last "
                "checkpoint",
                file=sys.stderr,
                flush=True,
            )
            sys.stdout.flush()
        if jax.process_index() == 0:  # keeps the service that tells the others, too
            time.sleep(_TOLD)
        os._exit(LOST)  # the main thread may wait for it in the middle of a step

    def _leave(self) -> None:
        """Leaves the group when all do; until then this process still takes part in the barriers.

        JAX would leave later; but a barrier must be cancelled before Python ends, whose threads
        may not come back from waiting then.
        """
        self.stop()
        try:
            jax.distributed.shutdown()
        finally:
            self._left.set()
            self._barriers.join(_CANCELLED)


def _missing(reason: str) -> str:
    """Who did not come, in the coordination service's words."""
    found = re.search(r"timed out task names:\n((?:.+\n)+)", reason)
    names = sorted(map(int, re.findall(r"\d+$", found[1], re.MULTILINE))) if found else []
    if not names:
        return "another process"
    return f"process{'es' * (len(names) > 1)} {', '.join(map(str, names))}"
