"""A bridge at several numbers of evaluations beside its students, on pictures none has seen.

python -m experiments.distill --teacher RUN --students RUN [RUN …] --data PICTURES --output DIR

Writes table.md, rows.json with every picture's scores, and grid.png, where one sees them.
"""

import argparse
import itertools
import json
from typing import NamedTuple

import numpy as np
from etils import epath

from experiments.distill import report
from experiments.nfe_sweep.features import Features, make_features
from experiments.nfe_sweep.flags import add_flags, say
from experiments.nfe_sweep.measure import (
    Bench,
    Method,
    Pictures,
    Row,
    Setting,
    parse_method,
    read_pictures,
    usable,
)
from i2sb_jax import interop
from i2sb_jax.cli import evaluation_data, startup
from i2sb_jax.config import Config, check_seed
from i2sb_jax.evaluation.options import parse_nfes
from i2sb_jax.files import require_apart, write_atomically
from i2sb_jax.progress import Progress
from i2sb_jax.types import Params

_MANY = Method("ddpm", 0.0)  # with the most evaluations: what the students learn from


class Model(NamedTuple):
    """A teacher or a student.

    Attributes:
        title: in tables.
        config: of its run.
        params: its averaged weights.
        settings: at which it is measured.
    """

    title: str
    config: Config
    params: Params
    settings: list[Setting]


def main(arguments: list[str]) -> None:
    """Restores, measures and writes."""
    given = _parser().parse_args(arguments)
    startup.require("tensorflow", "matplotlib")
    check_seed("--seed", given.seed)
    require_apart(given.data, given.output, what="--output")
    teacher = _teacher(given)
    students = [_student(path, teacher.config) for path in given.students]
    features = make_features(given.inception, any_weights=given.any_weights)
    startup.prepare_jax()
    folder = interop.local_folder(given.teacher)
    data = evaluation_data.open_data(
        teacher.config, folder, given, warn=lambda line: say(f"warning: {line}")
    )
    count = min(given.limit or data.count, data.count)
    pictures = read_pictures(data, count, rows=teacher.config.sampling.batch_size)
    rows, images = _measure([teacher, *students], pictures, features, seed=given.seed)
    told = f"{len(pictures.batch.name)} pictures of {teacher.config.image_size}², "
    told += teacher.config.corruption
    output = epath.Path(given.output)
    write_atomically(output / "rows.json", json.dumps(rows, ensure_ascii=False).encode())
    table = report.as_markdown(rows, title=features.title, told=told)
    write_atomically(output / "table.md", table.encode())
    write_atomically(output / "grid.png", report.grid(images, rows=given.shown))
    print(table)
    print(f"see {output / 'grid.png'}")


def _measure(
    models: list[Model], pictures: Pictures, features: Features, *, seed: int
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """A row for each picture set, and the pictures; the last of the teacher's is what others meet.

    Each row has `teacher`, the kernel distance to the teacher's own with the most evaluations.
    """
    evaluations = sum(setting.nfe for model in models for setting in model.settings)
    rows: list[Row] = []
    images = dict(pictures.views)
    with Progress(evaluations, unit="evaluation") as progress:
        for model in models:
            bench = Bench(model.config, model.params, pictures, features, seed=seed)
            for setting in model.settings:
                title = _title(model, setting)
                images[title], seconds = bench.restore(setting)
                told = {"method": title, "nfe": setting.nfe, "seconds": seconds}
                rows.append(told | bench.measure(images[title]))
                progress.advance(setting.nfe)
                progress.say(report.line(rows[-1]))
    views = [
        {"method": name, "nfe": 0, "seconds": 0.0} | bench.measure(view)
        for name, view in pictures.views.items()
    ]
    rows = views + rows
    many = max((s for s in models[0].settings if s.method == _MANY), key=lambda s: s.nfe)
    for row in rows:
        reference = images[_title(models[0], many)]
        row["teacher"], _ = bench.distance(images[row["method"]], reference)
    return rows, images


def _title(model: Model, setting: Setting) -> str:
    return f"{model.title}, {setting.method.title}, {setting.nfe}"


def _teacher(given: argparse.Namespace) -> Model:
    """With every sampler and number of evaluations that are asked for."""
    config, params = interop.load_model_folder(given.teacher)
    if config.has_pairs or config.teacher:
        what = "a student" if config.teacher else "trained on pairs"
        raise ValueError(f"--teacher {given.teacher} is {what}: name a bridge of a corruption")
    methods = dict.fromkeys([_MANY, *map(parse_method, given.samplers.split(","))])
    nfes = sorted(set(parse_nfes(given.nfe)))
    every = [Setting(method, "index", nfe) for method, nfe in itertools.product(methods, nfes)]
    return Model("teacher", config, params, usable(config, every, say))


def _student(path: str, teacher: Config) -> Model:
    """With the steps that it has learnt.

    Raises:
        ValueError: it is no student, or repairs something else than the teacher; one line.
    """
    config, params = interop.load_model_folder(path)
    if not config.teacher:
        raise ValueError(f"--students {path} is no student: it has no teacher")
    if (config.corruption, config.image_size) != (teacher.corruption, teacher.image_size):
        raise ValueError(
            f"--students {path} repairs {config.corruption} at {config.image_size} px, the teacher "
            f"{teacher.corruption} at {teacher.image_size} px"
        )
    sampling = config.sampling
    method = Method(sampling.sampler, sampling.eta)
    title = {"inverse": "student", "regression": "regression"}[config.distill.method]
    return Model(title, config, params, [Setting(method, sampling.spacing, sampling.nfe)])


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(
        prog="python -m experiments.distill", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("--teacher", required=True, help="a run or a model folder")
    add("--students", required=True, nargs="+", help="runs or model folders")
    add("--nfe", default="1,2,5,10,100", help="the teacher's network evaluations")
    add("--samplers", default="ddpm,implicit,implicit2", help="the teacher's; ddpm is among them")
    add("--shown", type=int, default=5, help="pictures in grid.png")
    add_flags(parser)
    return parser


if __name__ == "__main__":
    startup.run(main)
