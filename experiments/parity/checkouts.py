"""Whether two checkouts compute the same: losses of a training, and pixels of a restored picture.

    git worktree add ../before COMMIT
    python -m experiments.parity.checkouts ../before . [--config configs/small_adm.py]

Both train the config's first steps and restore a photograph with what the first one has learnt, on
one CPU device and on four. Exit status 1 where a loss or a pixel differs.
"""

import argparse
import json
import os
import pathlib
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
    given = parser.parse_args()
    checkouts = [path.resolve() for path in given.checkouts]
    same = True
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        Image.fromarray(data.chelsea()[:128, :192]).save(work / "photograph.png")
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


def train(checkout: pathlib.Path, run: pathlib.Path, config: str, steps: int, devices: int) -> None:
    """Trains the first steps of a config, each of them logged."""
    options = {"training.num_steps": steps, "training.log_every": 1}
    arguments = [f"--config.{key}={value}" for key, value in options.items()]
    run_tool(checkout, devices, "train", "--config", config, "--workdir", str(run), *arguments)


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
    source = str(work / "photograph.png")
    run_tool(checkout, devices, "restore", "--model", str(run), "--input", source,
             "--output", str(target))  # fmt: skip
    return np.asarray(Image.open(target))


def run_tool(checkout: pathlib.Path, devices: int, tool: str, *arguments: str) -> None:
    """Runs a command line of a checkout on so many CPU devices.

    Raises:
        subprocess.CalledProcessError: it failed; its output has been shown.
    """
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from i2sb_jax.cli.{tool} import main; main()", *arguments],
        cwd=checkout, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()


if __name__ == "__main__":
    main()
