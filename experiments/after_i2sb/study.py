"""Trains bridges alike and measures them on photographs that no model has seen.

    python -m experiments.after_i2sb.study --photographs DIR --output DIR [--runs jpeg/flow …]
        [--threads CPUS] [--write experiments/after_i2sb/study.json]
    python -m experiments.after_i2sb.study --table experiments/after_i2sb/study.json

DIR of photographs is made by `python -m experiments.models.photographs DIR`. Each run of RUNS
starts from the weights of its task's shipped model and has the same updates, batches and data; what
differs is in RUNS. They are measured on windows of 64² of scikit-image's astronaut, chelsea, coffee
and rocket. What is in the output already is neither trained nor measured again.
"""

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from scipy.ndimage import gaussian_filter

from experiments.after_i2sb import study_report
from experiments.nfe_sweep.features import Features, make_features
from experiments.nfe_sweep.measure import (
    Bench,
    Pictures,
    Row,
    Setting,
    parse_method,
    read_pictures,
)
from experiments.quickstart import held_out
from i2sb_jax import interop
from i2sb_jax.cli import evaluation_data, startup
from i2sb_jax.config import Config
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.pictures import decode_rgb
from i2sb_jax.types import Params

SIDE = 64
TASKS = {"jpeg": "jpeg-told-10-10", "deblur": "blur-photo-2-2", "sr4x": "sr4x-photo"}
NFES, MANY = (1, 2, 3, 5, 10), (5, 10)
LONG = (*NFES, 20, 50)
LONG_OF = {("jpeg", name) for name in ("flow", "flow-from-answer", "i2sb")}
SECOND = ("ode2", "heun", "exponential")  # samplers that are compared at MANY alone
ANSWER, SHIPPED = "answer", "shipped"  # the shipped model at one evaluation, and at MANY
_EULER = parse_method("ode")
# windows of the picture, by where they are: a face, a badge, fur, wood
SHOWN = ("astronaut_064_192", "astronaut_320_128", "chelsea_064_128", "coffee_192_000")
# and columns, by run, sampler and evaluations
COLUMNS = {
    "degraded": ("degraded", "", 0),
    "answer": (ANSWER, "", 0),
    "flow, 5": ("flow", "ode", 5),
    "from answer, 5": ("flow-from-answer", "ode", 5),
    "from answer, 10": ("flow-from-answer", "ode", 10),
}
GRAIN, SHARPEN = 2, 0.6  # of the controls: about 0.6 dB each
_COMMON = {
    "image_size": SIDE,
    "data.grain": "0.0,0.0",
    "training.batch_size": 4,
    "training.num_steps": 1000,
    "training.log_every": 50,
    "training.image_every": 1000,
    "training.checkpoint_every": 500,
    "optimizer.learning_rate": 5e-4,
    "optimizer.warmup_steps": 50,
}


class Trained(NamedTuple):
    """A run of the study.

    Attributes:
        bridge: the keys of the section `bridge` that differ from configs/posterior_mean.py.
        samplers: with which it is measured; the first is the run's own.
        from_answer: whether it starts at the answer of the task's shipped model.
    """

    bridge: dict[str, object]
    samplers: tuple[str, ...]
    from_answer: bool = False


def _sde(name: str, **keys: float) -> dict[str, object]:
    return {"name": name, "deterministic": False} | keys


_FLOW, _EULER_HEUN = {"name": "linear", "deterministic": True}, ("ode", "ode2")
_NOISELESS = {"start_noise": 0.0}
RUNS = {
    "flow": Trained(_FLOW, _EULER_HEUN),
    "flow-from-answer": Trained(_FLOW | _NOISELESS, _EULER_HEUN, from_answer=True),
    "flow-from-noisy-answer": Trained(
        _FLOW | {"start_noise": 0.015}, _EULER_HEUN, from_answer=True
    ),
    "nadb-from-answer": Trained(_sde("nadb") | _NOISELESS, ("ddpm",), from_answer=True),
    "i2sb": Trained(_sde("i2sb"), ("ddpm", "heun", "exponential")),
    **{name: Trained(_sde(name), ("ddpm",)) for name in ("nadb", "brownian", "vp", "ou")},
    "ecsi": Trained(_sde("linear", gamma=0.25), ("ddpm",)),
    "unidb": Trained(_sde("unidb", penalty=100.0), ("ddpm",)),
    **{name: Trained(_sde(name), ("ddpm",)) for name in ("irsde", "resshift")},
}

_FLOWS = ("flow", "flow-from-answer", "flow-from-noisy-answer")
TASK_RUNS = {"jpeg": tuple(RUNS), "deblur": (*_FLOWS, "i2sb"), "sr4x": (*_FLOWS[:2], "i2sb")}


class Place(NamedTuple):
    """Where a study reads and writes.

    Attributes:
        photographs: that are learnt from.
        output: of runs, windows and rows.
        taskset: the processors that training keeps to, as taskset has them; "": any.
    """

    photographs: epath.Path
    output: epath.Path
    taskset: str = ""


def training_command(task: str, name: str, place: Place) -> list[str]:
    """What trains a run; the same command continues it, and returns at once at its end."""
    run = RUNS[name]
    given = {
        "data.path": place.photographs,
        "corruption": TASKS[task],
        "training.init_from": task,
        "bridge.start": task if run.from_answer else "",
        "sampling.sampler": run.samplers[0],
        **_COMMON,
        **{f"bridge.{key}": value for key, value in run.bridge.items()},
    }
    command = ["taskset", "-c", place.taskset] if place.taskset else []
    command += [sys.executable, "-m", "i2sb_jax.cli.train"]
    command += ["--config", f"configs/posterior_mean.py:{task}"]
    command += ["--workdir", os.fspath(_folder(place, task, name))]
    return [*command, *(f"--config.{key}={value}" for key, value in given.items())]


def _folder(place: Place, task: str, name: str) -> epath.Path:
    return place.output / "runs" / f"{task}-{name}"


def _train(task: str, name: str, place: Place) -> None:
    with open(place.output / f"{task}-{name}.log", "a") as log:
        command = training_command(task, name, place)
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)


def controls(answer: np.ndarray) -> dict[str, np.ndarray]:
    """What anybody can do to an answer to bring its spectrum nearer to a photograph's.

    Args:
        answer: uint8 [n, h, w, 3].

    Returns:
        Name -> the same with grey noise of GRAIN levels, and with its difference from itself
        blurred by a pixel added SHARPEN times.
    """
    grain = np.random.default_rng(0).normal(0, GRAIN, (*answer.shape[:3], 1))
    smooth = gaussian_filter(answer.astype(np.float64), (0, 1, 1, 0), mode="reflect")
    changed = {
        f"answer, grain of {GRAIN} levels": answer + grain,
        f"answer, sharpened by {SHARPEN}": answer + SHARPEN * (answer - smooth),
    }
    return {k: np.clip(np.rint(x), 0, 255).astype(np.uint8) for k, x in changed.items()}


class _Task:
    """A task's windows, measured with whatever restores them."""

    def __init__(self, task: str, windows: epath.Path, features: Features):
        self._name = task
        config, self._params = interop.load_model_folder(task)
        self._config, self._features = self.suited(config, task), features
        given = argparse.Namespace(
            data=os.fspath(windows), eval_data=None, targets=None, list=None, limit=0, seed=0,
            baseline=False,
        )  # fmt: skip
        folder = interop.local_folder(task)
        data = evaluation_data.open_data(self._config, folder, given, warn=print)
        self.pictures: Pictures = read_pictures(data, data.count, rows=config.sampling.batch_size)
        self._measured = self.bench(self._config, self._params)

    @staticmethod
    def suited(config: Config, task: str) -> Config:
        """A configuration at the level and the size of this study."""
        return dataclasses.replace(config, corruption=TASKS[task], image_size=SIDE)

    def measure(self, images: np.ndarray) -> Row:
        """PSNR, SSIM and the kernel distance of restored windows."""
        return self._measured.measure(images)

    def bench(self, config: Config, params: Params) -> Bench:
        return Bench(config, params, self.pictures, self._features, seed=0)

    def bare(self, done: Collection[tuple]) -> Iterator[tuple[tuple[str, str, int], np.ndarray]]:
        """What needs no training: (run, sampler, evaluations), images that are not done.

        They are degraded, the shipped model's answer with its controls, and that model at more
        evaluations.
        """
        bench = self._measured
        if (ANSWER, "", 0) not in done:
            answer, _ = bench.restore(Setting(_EULER, "index", 1))
            shown = {"degraded": self.pictures.views["degraded"], ANSWER: answer}
            for name, images in {**shown, **controls(answer)}.items():
                yield (name, "", 0), images
        for nfe in MANY:
            if (SHIPPED, _EULER.sampler, nfe) not in done:
                images, _ = bench.restore(Setting(_EULER, "index", nfe))
                yield (SHIPPED, _EULER.sampler, nfe), images

    def trained(
        self, run: str, folder: epath.Path, done: Collection[tuple]
    ) -> Iterator[tuple[tuple[str, str, int], np.ndarray]]:
        """The same of a run."""
        first = LONG if (self._name, run) in LONG_OF else NFES
        settings = [
            (sampler, nfe)
            for sampler in RUNS[run].samplers
            for nfe in (MANY if sampler in SECOND else first)
        ]
        wanted = [(name, nfe) for name, nfe in settings if (run, name, nfe) not in done]
        if not wanted:
            return
        bench = self.bench(*interop.load_model_folder(folder))
        for sampler, nfe in wanted:
            images, _ = bench.restore(Setting(parse_method(sampler), "index", nfe))
            yield (run, sampler, nfe), images


def _measure(runs: Sequence[tuple[str, str]], place: Place) -> list[Row]:
    """All rows: of these runs, and of others that are in the output already."""
    path = place.output / "rows.json"
    features = make_features(None)
    rows: list[Row] = read_json(path) if path.exists() else []
    for task in dict.fromkeys(task for task, _ in runs):
        pictures = _Task(task, place.output / "windows", features)
        done = {_key(row)[1:] for row in rows if row["task"] == task}
        found = [pictures.bare(done)]
        for name in (name for of, name in runs if of == task):
            found.append(pictures.trained(name, _folder(place, task, name), done))
        for (run, sampler, nfe), images in itertools.chain.from_iterable(found):
            told = {"task": task, "run": run, "sampler": sampler, "nfe": nfe}
            rows.append(told | pictures.measure(images))
            _keep(place, _key(rows[-1]), images)
            write_atomically(path, json.dumps(rows).encode())
            print(study_report.line(rows[-1]), flush=True)
    return rows


def _key(row: Row) -> tuple[str, str, str, int]:
    return row["task"], row["run"], row["sampler"], row["nfe"]


def _place_of(row: Row) -> tuple[int, int]:
    """Where tables have a row: by its task, and what needs no run before runs."""
    runs = [SHIPPED, *RUNS]
    return list(TASKS).index(row["task"]), runs.index(row["run"]) if row["sampler"] else -1


def _kept(place: Place, key: tuple) -> epath.Path:
    """Where restored windows are kept, in the order of their names."""
    return place.output / "restored" / f"{'_'.join(map(str, key))}.npy"


def _keep(place: Place, key: tuple, images: np.ndarray) -> None:
    path = _kept(place, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, images)


def _grid(place: Place) -> bytes | None:
    """A JPEG of SHOWN windows of every task that has all COLUMNS; None where none has."""
    tasks = [
        task
        for task in TASKS
        if all(_kept(place, (task, *key)).exists() for key in COLUMNS.values())
    ]
    if not tasks:
        return None
    names = sorted(path.stem for path in (place.output / "windows").glob("*.png"))
    clean = [(place.output / "windows" / f"{name}.png").read_bytes() for name in SHOWN]
    chosen = [names.index(name) for name in SHOWN]
    columns = {
        title: np.concatenate([np.load(_kept(place, (task, *key)))[chosen] for task in tasks])
        for title, key in COLUMNS.items()
    }
    columns["photograph"] = np.stack([decode_rgb(data) for data in clean] * len(tasks))
    return study_report.grid(columns)


def main(arguments: Sequence[str]) -> None:
    """Trains and measures what is missing, and prints and writes the table."""
    parser = startup.Parser(
        prog="python -m experiments.after_i2sb.study", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--photographs", type=epath.Path, help="folder that is learnt from")
    parser.add_argument("--output", type=epath.Path, help="folder of runs and rows")
    every = [f"{task}/{name}" for task, names in TASK_RUNS.items() for name in names]
    parser.add_argument("--runs", nargs="+", choices=every, default=every, metavar="TASK/RUN")
    parser.add_argument("--taskset", default="", help="processors that training keeps to")
    parser.add_argument(
        "--write", type=epath.Path, help="a file for the figures; beside it .png, .jpg"
    )
    parser.add_argument("--table", type=epath.Path, help="print the tables of such a file only")
    given = parser.parse_args(arguments)
    if given.table is not None:
        print(study_report.tables(read_json(given.table)))
        return
    for key in ("photographs", "output"):
        if getattr(given, key) is None:
            parser.error(f"--{key} is missing: a folder")
    startup.require("tensorflow")
    startup.prepare_jax()
    place = Place(given.photographs, given.output, given.taskset)
    place.output.mkdir(parents=True, exist_ok=True)
    held_out.main(os.fspath(place.output / "windows"), windows=SIDE)
    tasks = [tuple(run.split("/")) for run in given.runs]
    for task, name in tasks:
        _train(task, name, place)
    rows = sorted(_measure(tasks, place), key=_place_of)
    figures = study_report.figures(rows)
    if given.write is not None:
        write_atomically(given.write, (json.dumps(figures, indent=1) + "\n").encode())
        write_atomically(given.write.with_suffix(".png"), study_report.curves(figures))
        if (page := _grid(place)) is not None:
            write_atomically(given.write.with_suffix(".jpg"), page)
    print(study_report.tables(figures))


if __name__ == "__main__":
    startup.run(main)
