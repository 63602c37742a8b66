"""Whether two checkouts compute the same: losses of a training, and pixels of a restored picture.

    git worktree add ../before COMMIT
    python -m experiments.parity.checkouts ../before . [--config configs/small_adm.py]
    python -m experiments.parity.checkouts ../before . --pairs 5

Both train the config's first steps and restore a photograph with what the first one has learnt, on
one CPU device and on four. Exit status 1 where a loss or a pixel differs.

With --pairs both start, train and restore in turns, so many times, and the processor's own seconds
of the second are divided by those of the first: the median of the pairs, and their range.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from skimage import data


def main() -> None:
    """Prints a line for each number of devices and each kind of result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkouts", nargs=2, type=pathlib.Path)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--pairs", type=int, default=0, help="compare times, not results")
    given = parser.parse_args()
    checkouts = [path.resolve() for path in given.checkouts]
    same = True
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        Image.fromarray(data.chelsea()[:128, :192]).save(work / "photograph.png")
        if given.pairs:
            compare_times(checkouts, work, given.config, given.steps, given.pairs)
            return
        for devices in given.devices:
            runs = [work / f"{name}{devices}" for name in "ab"]
            for checkout, run in zip(checkouts, runs, strict=True):
                train(checkout, run, given.config, given.steps, devices)
            losses = [read_losses(run) for run in runs]
            pictures = [
                restore(checkout, runs[0], work / f"{name}{devices}.png", work, devices)
                for name, checkout in zip("ab", checkouts, strict=True)
            ]
            same &= say(f"{devices} devices, losses", *losses)
            same &= say(f"{devices} devices, pixels", *pictures)
    sys.exit(not same)


def compare_times(
    checkouts: list[pathlib.Path], work: pathlib.Path, config: str, steps: int, pairs: int
) -> None:
    """Prints the ratios of the second checkout's processor seconds to the first's."""
    run = work / "run"
    train(checkouts[0], run, config, 1, 1)
    seconds: dict[str, list[list[float]]] = {"start": [], "step": [], "restoring": []}
    for pair in range(pairs + 1):  # the first fills the cache of compiled programs
        order = [0, 1] if pair % 2 else [1, 0]
        found = {name: [0.0, 0.0] for name in seconds}
        for number in order:
            checkout, folder = checkouts[number], work / f"{pair}-{number}"
            start = train(checkout, folder / "one", config, 1, 1)
            whole = train(checkout, folder / "all", config, 1 + steps, 1)
            found["start"][number] = start
            found["step"][number] = (whole - start) / steps
            found["restoring"][number] = run_restore(checkout, run, folder / "out.png", work, 1)
        for name in seconds:
            seconds[name] += [found[name]] if pair else []
    for name, rows in seconds.items():
        ratios = [after / before for before, after in rows]
        before, after = np.median(rows, axis=0)
        print(
            f"{name}: {before:.3g} s before, {after:.3g} s after; ratio {np.median(ratios):.3f} "
            f"({min(ratios):.3f}-{max(ratios):.3f})",
            flush=True,
        )


def say(what: str, one: np.ndarray, other: np.ndarray) -> bool:
    """Prints the largest difference; whether there is none."""
    difference = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    scale = float(np.std(one))
    verdict = "identical" if one.tobytes() == other.tobytes() else "differ"
    print(
        f"{what}: {verdict}, largest difference {difference:.3g} "
        f"({difference / scale:.3g} of their standard deviation)",
        flush=True,
    )
    return verdict == "identical"


def train(
    checkout: pathlib.Path, run: pathlib.Path, config: str, steps: int, devices: int
) -> float:
    """Trains the first steps of a config, each of them logged; returns processor seconds."""
    options = {"training.num_steps": steps, "training.log_every": 1}
    arguments = [f"--config.{key}={value}" for key, value in options.items()]
    return run_tool(
        checkout, devices, "train", "--config", config, "--workdir", str(run), *arguments
    )


def read_losses(run: pathlib.Path) -> np.ndarray:
    """Returns the losses of all steps, float64 and exact."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return np.array([float.fromhex(json.loads(line)["loss_hex"]) for line in lines])


def restore(
    checkout: pathlib.Path,
    run: pathlib.Path,
    target: pathlib.Path,
    work: pathlib.Path,
    devices: int,
) -> np.ndarray:
    """Returns the restored photograph, uint8 [h, w, 3]."""
    run_restore(checkout, run, target, work, devices)
    return np.asarray(Image.open(target))


def run_restore(
    checkout: pathlib.Path,
    run: pathlib.Path,
    target: pathlib.Path,
    work: pathlib.Path,
    devices: int,
) -> float:
    """Restores the photograph; returns processor seconds."""
    source = str(work / "photograph.png")
    return run_tool(checkout, devices, "restore", "--model", str(run), "--input", source,
                    "--output", str(target))  # fmt: skip


def run_tool(checkout: pathlib.Path, devices: int, tool: str, *arguments: str) -> float:
    """Runs a command line of a checkout on so many CPU devices.

    Returns:
        The processor's seconds, of all its threads.

    Raises:
        subprocess.CalledProcessError: it failed; its output has been shown.
    """
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", f"from i2sb_jax.cli.{tool} import main; main()", *arguments],
        cwd=checkout, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
