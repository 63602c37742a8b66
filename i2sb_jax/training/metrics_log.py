"""metrics.jsonl: one line a logged step, never a step lost or doubled."""

import json
from collections.abc import Mapping

from etils import epath

from i2sb_jax.files import write_atomically

_FILE = "metrics.jsonl"


class MetricsLog:
    """Appends scalars to `workdir`/metrics.jsonl.

    Each line holds `step`, the metrics, and `loss_hex`, the last step's loss to its last bit, so
    that two runs can be compared exactly.
    """

    def __init__(self, workdir: epath.PathLike, *, start_step: int):
        """Opens the log and drops whatever was logged after `start_step`.

        A run that died between a checkpoint and its last line logs those steps again.
        """
        self._path = epath.Path(workdir) / _FILE
        lines = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
        kept = [line for line in lines if _step_of(line) <= start_step]
        if len(kept) < len(lines):
            write_atomically(self._path, "".join(kept).encode())

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one line."""
        line = {"step": step, **metrics}
        if "loss_last" in metrics:
            line["loss_hex"] = float(metrics["loss_last"]).hex()
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _step_of(line: str) -> float:
    """The step of a line; infinite for a line that a kill cut short, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")
