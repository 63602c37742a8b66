"""All that is to be known of one GPU, in one call that ends within nine minutes.

    python -m experiments.benchmarks.gpu --output DIR [--torch-reference DIR] [--budget 520]

Parts run in the order of what they are worth, each in a process of its own with its own limit; none
is begun that could not end within the budget. DIR/gpu.json and DIR/gpu.md are written again after
every part. What failed, was stopped or left out is a row that says so. With --parts a further call
measures the rest; with JAX_COMPILATION_CACHE_DIR in the environment it compiles nothing twice.

JAX computes in bfloat16. PyTorch's side ("versus") runs in turn with it at a batch that both have
room for; "torch" is PyTorch alone, at a larger one, and thus after JAX and not in turn.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.benchmarks import report
from experiments.benchmarks.networks import SIZES
from experiments.benchmarks.results import add_torch_reference, positive
from i2sb_jax.cli.startup import Parser
from i2sb_jax.files import write_atomically

PARTS = ("device", "goldens", "train", "versus", "sample", "loop", "attention", "torch")
_MOST = 540  # seconds of a call
_ROOT = pathlib.Path(__file__).parents[2]
_ALONE = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.93"}
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# PyTorch has the device to itself: the output that it is checked against comes from the CPU
_TORCH_ALONE = {"JAX_PLATFORMS": "cpu"}
_COMPILING = 180  # seconds: a step of ADM-256 took an H200's compiler 120 at 16 pictures
_ROOM = 0.93  # of the device's memory that a program is tried in


class Task(NamedTuple):
    """A part with its options.

    Attributes:
        part: one of PARTS.
        options: for `gpu_parts`, name -> value.
        least: seconds that must be left for it to be begun.
        most: seconds after which it is stopped.
    """

    part: str
    options: dict[str, Any]
    least: float
    most: float


def plan(
    size: str, *, torch_reference: str | None = None, shared_batch: int | None = None
) -> list[Task]:
    """What to run, the most valuable first.

    Args:
        size: one of `networks.SIZES`.
        torch_reference: a checkout of guided-diffusion; None leaves PyTorch out.
        shared_batch: pictures at once where both sides share the device; None: the size's own.
    """
    first = SIZES[size].batch_size
    second, third = (2 * first, 3 * first) if size == "adm256" else (first, first)
    tasks = [
        Task("device", {}, 20, 60),
        Task("goldens", {}, 30, 120),
        Task("train", {"batch": first, "remat": "none"}, 60, 220),
    ]
    against = {"batch": shared_batch or first, "torch-reference": torch_reference}
    if torch_reference is not None:
        tasks += [
            Task("versus", {"mode": mode} | against, least, 220)
            for mode, least in (("best", 120), ("float32", 60))
        ]
    tasks += [
        Task("sample", {"batch": first, "nfe": 10}, 90, 150),
        Task("loop", {"batch": first, "remat": "none"}, 60, 220),
        Task("attention", {"batch": first}, 30, 90),
        *(
            Task("train", {"batch": batch, "remat": remat}, _COMPILING, 300)
            for batch, remat in (
                *((second, "none"), (4 * second, "blocks"), (third, "none")),
                *((2 * second, "dots"), (second, "dots"), (second, "blocks")),
            )
        ),
    ]
    if torch_reference is not None:
        tasks.append(Task("torch", {"mode": "best"} | against | {"batch": second}, 90, 220))
    # sizes of which all batches are one would measure it again
    return [task for number, task in enumerate(tasks) if task not in tasks[:number]]


def run(
    tasks: Sequence[Task], *, size: str, output: pathlib.Path, budget: float, repeats: int
) -> dict[str, list[dict[str, Any]]]:
    """Runs the tasks that there is time and room for.

    Args:
        tasks: in their order.
        size: one of `networks.SIZES`.
        output: folder for gpu.json and gpu.md.
        budget: seconds for all of them together.
        repeats: rounds of each timing.

    Returns:
        Part -> its rows.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    end = time.monotonic() + budget
    with tempfile.TemporaryDirectory() as folder:
        cache = {"JAX_COMPILATION_CACHE_DIR": folder} | os.environ
        for task in tasks:
            left = end - time.monotonic()
            told = {name: value for name, value in task.options.items() if "torch" not in name}
            if left < task.least:
                rows = [told | {"error": f"left out: {left:.0f} s of {budget:.0f} were left"}]
            elif reason := _too_large(task, found):
                rows = [told | {"error": reason}]
            else:
                rows = _run_part(task, size, repeats, cache, limit=min(task.most, left))
                rows = rows or [told | {"error": "ended without a row"}]
            found.setdefault(task.part, []).extend(rows)
            _write(found, output)
            print(f"{task.part} {told}: {json.dumps(rows[-1], ensure_ascii=False)}", flush=True)
    return found


def _run_part(
    task: Task, size: str, repeats: int, environment: dict[str, str], *, limit: float
) -> list[dict[str, Any]]:
    memory = {"versus": _SHARED, "torch": _TORCH_ALONE}.get(task.part, _ALONE)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "rows.json"
        options = [f"--{name}={value}" for name, value in task.options.items()]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments.benchmarks.gpu_parts", task.part),
                *(f"--size={size}", f"--output={file}", f"--repeats={repeats}", *options),
            ],
            cwd=_ROOT,
            env=environment | memory,
            start_new_session=True,  # so that its own children can be stopped with it
        )
        try:
            status = process.wait(limit)
            ending = f"ended with status {status}" if status else None
        except subprocess.TimeoutExpired:
            ending = f"stopped after {limit:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        rows = json.loads(file.read_text()) if file.exists() else []
    return rows + [{"error": ending}] * (ending is not None)


def _too_large(task: Task, found: dict[str, list[dict[str, Any]]]) -> str | None:
    """Why a training step is not tried: what a smaller batch needed says that it has no room."""
    if task.part != "train":
        return None
    limits = [row["bytes"] for row in found.get("device", []) if row.get("bytes")]
    for row in found.get("train", []):
        same = row["remat"] == task.options["remat"] if "remat" in row else False
        if limits and same and row.get("peak bytes") and row["batch"] < task.options["batch"]:
            grown = row["temporary bytes"] * (task.options["batch"] / row["batch"] - 1)
            if (needed := row["peak bytes"] + grown) > _ROOM * limits[0]:
                return f"not tried: would need {needed / 2**30:.0f} of {limits[0] / 2**30:.0f} GiB"
    return None


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The best batch, its share of the measured peak, and how it compares to PyTorch."""
    speed = "pictures a second"
    steps = [row for row in found.get("train", []) if speed in row]
    peaks = [row["TFLOP/s"] for row in found.get("device", []) if "TFLOP/s" in row]
    if not steps:
        return {}
    best = max(steps, key=lambda row: row[speed])
    told = {"best": f"batch {best['batch']}, remat {best['remat']}", speed: best[speed]}
    if "share of the bf16 peak" in best:
        told["share of the bf16 peak, by the compiler's FLOPs"] = best["share of the bf16 peak"]
    if peaks:
        told["measured peak, TFLOP/s"] = max(peaks)
        told["share of the measured peak"] = best["TFLOP/s"] / max(peaks)
    for row in found.get("versus", []):
        if "its time over JAX's" in row:
            name = f"PyTorch {row['mode']} over JAX, in turn at batch {row['batch']}"
            told[name] = row["its time over JAX's"]
    others = [row for part in ("versus", "torch") for row in found.get(part, []) if speed in row]
    for mode in sorted({row["mode"] for row in others}):
        most = max((row for row in others if row["mode"] == mode), key=lambda row: row[speed])
        name = f"JAX at its best over PyTorch {mode} at batch {most['batch']}, one after another"
        told[name] = best[speed] / most[speed]
    return told


def beside_use(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The compiler's word on each program beside what was used, a row each.

    What is used is the allocator's peak, which holds the state before the first step too; where
    nobody counts, as on a CPU, it says so.
    """
    rows = []
    for part in ("train", "sample"):
        for row in found.get(part, []):
            if "bytes by the compiler" not in row:
                continue
            told, used = row["bytes by the compiler"], row["peak bytes"]
            rows.append(
                {
                    "program": part,
                    **{name: row[name] for name in ("batch", "remat", "nfe") if name in row},
                    "GiB of temporaries, compiler": row["temporary bytes"] / 2**30,
                    "GiB together, compiler": told / 2**30,
                    "GiB used": used / 2**30 if used else "not counted here",
                    "used over compiler": used / told if used else "",
                    "TFLOP, compiler": row["TFLOP by the compiler"],
                    "TFLOP/s": row["TFLOP/s by the compiler"],
                }
            )
    return rows


def everything(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows of all parts, behind a warning where they are no GPU's, and what follows of them."""
    platforms = {row["platform"] for row in found.get("device", []) if "platform" in row}
    marked = {}
    if platforms - {"gpu"}:
        names = ", ".join(sorted(platforms)).upper()
        marked["measured on"] = f"a {names}: it shows that the script works, and nothing of a GPU"
    rows = beside_use(found)
    compared = {"the compiler's word beside use": rows} if rows else {}
    return {**marked, "summary": summary(found), **compared, **found}


def _write(found: dict[str, list[dict[str, Any]]], output: pathlib.Path) -> None:
    told = everything(found)
    text = json.dumps(told, indent=2, ensure_ascii=False)
    write_atomically(output / "gpu.json", f"{text}\n".encode())
    write_atomically(output / "gpu.md", f"{report.text('GPU', told)}\n".encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen parts and prints their tables."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for results")
    parser.add_argument("--budget", type=_seconds, default=520, help="seconds for everything")
    parser.add_argument("--size", choices=SIZES, default="adm256", help="network and pictures")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds of each timing")
    parser.add_argument(
        "--shared-batch", type=positive, help="pictures at once of JAX and PyTorch in turn"
    )
    add_torch_reference(parser)
    given = parser.parse_args(arguments)
    tasks = plan(given.size, torch_reference=given.torch_reference, shared_batch=given.shared_batch)
    chosen = [task for task in tasks if task.part in given.parts]
    found = run(
        chosen, size=given.size, output=given.output, budget=given.budget, repeats=given.repeats
    )
    print(report.text("GPU", everything(found)))


def _seconds(text: str) -> float:
    """A budget; refuses what nine minutes have no room for."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST:
        raise argparse.ArgumentTypeError(f"{text} must lie in 0…{_MOST} seconds: nine minutes")
    return seconds


if __name__ == "__main__":
    main()
