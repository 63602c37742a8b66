"""Trains one network by several recipes, and measures each on photographs that none of them saw.

    python -m experiments.remedies blur|jpeg --output DIR [--rows "as ADM" …] [--steps 700]

Every run has the same number of updates of eight windows of 64². What differs between rows is in
ROWS below, each added to what came before. Runs learn from the photographs TUNING of
`i2sb_jax.data.photos` and are measured on its VALIDATION: whole pictures, from files, by
i2sb-restore's defaults. A row that is in DIR already is not trained again.
"""

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath
from PIL import Image

from experiments.quickstart import held_out
from i2sb_jax import metrics
from i2sb_jax.pictures import decode_rgb, encode_png, from_uint8
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options

_PLAIN = {
    "bridge.end_share": 0.0,
    "bridge.log_floor": 0.0,
    "model.sharpened": "()",
    "data.scales": "(1.0,)",
    "data.grain": "(0.0,0.0)",
}
_ADM = {"model.norm": "group", "model.norm_groups": 4, "optimizer.learning_rate": 2e-3}
_END, _LOG = {"bridge.end_share": 0.5}, {"bridge.log_floor": 0.02}
_SCALES = {"data.scales": "(1.0,1.0,0.5,0.33)"}
_FILTERS = {"model.sharpened": "(0.8,1.1,1.5,2.0)"}
_JPEG_LOG = {"bridge.log_floor": 0.005}
_TOLD = {"corruption": "jpeg-told-5-95"}

TASKS = {"blur": "blur-photo-0-2.5", "jpeg": "jpeg-file-5-95"}
ROWS = {
    "blur": {
        "t uniform, squared error": _PLAIN,
        "… with group normalisation": _PLAIN | _ADM,
        "t = T for half": _PLAIN | _END,
        "and three sizes": _PLAIN | _END | _SCALES,
        "and the logarithm": _PLAIN | _END | _SCALES | _LOG,
        "and sharpened inputs": _PLAIN | _END | _SCALES | _LOG | _FILTERS,
    },
    "jpeg": {
        "t uniform, squared error": _PLAIN,
        "t = T for half": _PLAIN | _END,
        "and three sizes": _PLAIN | _END | _SCALES,
        "and the logarithm": _PLAIN | _END | _SCALES | _JPEG_LOG,
        "and grain": _PLAIN | _END | _SCALES | _JPEG_LOG | {"data.grain": "(0.0,4.0)"},
        "and the file's tables": _PLAIN | _END | _SCALES | _JPEG_LOG | _TOLD,
    },
}
LEVELS = {"blur": (1.0, 1.5, 2.0), "jpeg": (10, 20, 30, 50, 75, 90)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and measures what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--output", required=True, help="folder of runs, pictures and results")
    parser.add_argument("--rows", nargs="+", help="some of them only")
    parser.add_argument("--steps", type=int, default=700, help="updates of each run")
    given = parser.parse_args(arguments)
    rows, folder = ROWS[given.task], epath.Path(given.output)
    if unknown := [row for row in given.rows or () if row not in rows]:
        parser.error(f"--rows {unknown[0]!r}: {given.task} has {', '.join(rows)}")
    held_out.main(str(folder / "tuning"), split="tuning")
    held_out.main(str(folder / "validation"), split="validation")
    for number, (row, overrides) in enumerate(rows.items()):
        if given.rows and row not in given.rows:
            continue
        place = folder / f"{given.task}{number}"
        if not (place / "gains.json").exists():
            _train(place / "run", folder, given.task, given.steps, overrides)
            gains = _measure(place, folder / "validation", given.task)
            (place / "gains.json").write_text(json.dumps(gains, indent=1))
        gains = json.loads((place / "gains.json").read_text())
        print(f"| {row} | {' | '.join(gains.values())} |", flush=True)


def _train(run: epath.Path, folder: epath.Path, task: str, steps: int, overrides: dict) -> None:
    given = {
        "corruption": TASKS[task],
        "data.source": "folder",
        "data.path": folder / "tuning",
        "data.eval_path": folder / "validation",
        "training.num_steps": steps,
        "training.checkpoint_every": steps,
        "training.image_every": steps,
        **overrides,
    }
    command = [sys.executable, "-m", "i2sb_jax.cli.train", "--config", "configs/quickstart.py"]
    command += ["--workdir", str(run), *(f"--config.{key}={value}" for key, value in given.items())]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _measure(place: epath.Path, validation: epath.Path, task: str) -> dict[str, str]:
    """Level -> mean gain in dB; and as what sharp pictures come back."""
    clean = {path.stem: decode_rgb(path.read_bytes()) for path in validation.glob("*.png")}
    for name, level, suffix, data in _degraded(clean, task):
        target = place / "degraded" / f"{name}_{level}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    restore_folder(place / "run", place / "degraded", place / "restored", Options(), quiet=True)
    gains = {}
    for level in (*LEVELS[task], "itself"):
        values = []
        for name, picture in clean.items():
            (before,) = (place / "degraded").glob(f"{name}_{level}.*")
            after = (place / "restored" / before.name).with_suffix(".png")
            before, after = (_psnr(path, picture) for path in (before, after))
            values.append(after if level == "itself" else after - before)
        gains[str(level)] = f"{np.mean(values):+.2f}" if level != "itself" else f"{min(values):.1f}"
    return gains


def _degraded(clean: dict[str, np.ndarray], task: str) -> Iterator[tuple]:
    """(name, level, suffix, file) of every picture at every level, and as it was."""
    for name, picture in clean.items():
        for level in LEVELS[task]:
            if task == "blur":
                seen = held_out.blurred(picture, width=level, noise=held_out.NOISE, seed=0)
                yield name, level, ".png", encode_png(seen)
            else:
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "JPEG", quality=level, subsampling=2)
                yield name, level, ".jpg", file.getvalue()
        yield name, "itself", ".png", encode_png(picture)


def _psnr(path: epath.Path, truth: np.ndarray) -> float:
    seen = decode_rgb(path.read_bytes())
    return float(metrics.psnr(from_uint8(seen)[None], from_uint8(truth)[None])[0])


if __name__ == "__main__":
    main()
