"""Quality against network evaluations, for every sampler and spacing, on one trained run.

python -m experiments.nfe_sweep --model RUN --data PICTURES --output DIR [--inception FILE]

Writes sweep.csv, sweep.png and table.md, and sweep.json with every picture's scores, from which the
same command goes on where it was stopped or asked for less.
"""

import argparse
import itertools
import json

from etils import epath

from experiments.nfe_sweep import report
from experiments.nfe_sweep.features import Features, make_features
from experiments.nfe_sweep.flags import add_flags, say
from experiments.nfe_sweep.measure import (
    Bench,
    Row,
    Setting,
    grid,
    parse_method,
    read_pictures,
    usable,
)
from i2sb_jax import interop
from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.cli import evaluation_data, startup
from i2sb_jax.config import Config, check_seed
from i2sb_jax.evaluation.options import parse_nfes
from i2sb_jax.files import read_json, require_apart, write_atomically
from i2sb_jax.progress import Progress

ROWS = "sweep.json"


def main(arguments: list[str]) -> None:
    """Restores, measures and writes."""
    given = _parser().parse_args(arguments)
    startup.require("tensorflow", "matplotlib")
    settings = _settings(given)
    check_seed("--seed", given.seed)
    require_apart(given.data, given.output, what="--output")
    folder = interop.local_folder(given.model)
    config, params = interop.load_model_folder(folder, checkpoint=given.checkpoint)
    if config.has_pairs:
        raise ValueError(f"{given.model} was trained on pairs: only corruptions are swept")
    settings = usable(config, settings, say)
    features = make_features(given.inception, any_weights=given.any_weights)
    startup.prepare_jax()
    data = evaluation_data.open_data(
        config, folder, given, warn=lambda line: say(f"warning: {line}")
    )
    count = min(given.limit or data.count, data.count)
    facts = {
        "weights": interop.weights_digest(params),
        "pictures": [data.digest, count],
        "seed": given.seed,
        "features": features.name,
        "run": [config.corruption, config.image_size, config.sampling.clip],
    }
    rows = _begun(epath.Path(given.output), facts)
    pictures = read_pictures(data, count, rows=config.sampling.batch_size)
    bench = Bench(config, params, pictures, features, seed=given.seed)
    _sweep(bench, config, settings, rows, epath.Path(given.output), facts)
    _write(epath.Path(given.output), config, features, rows, len(pictures.batch.name))


def _sweep(
    bench: Bench,
    config: Config,
    settings: list[Setting],
    rows: list[Row],
    output: epath.Path,
    facts: dict,
) -> None:
    """Adds what is missing to `rows`, and keeps them after each."""
    done = {_key(row) for row in rows}
    for name, images in bench.pictures.views.items():
        if (name, "", 0) not in done:
            told = {"method": name, "sampler": "", "eta": 0.0, "spacing": "", "nfe": 0}
            rows.append(told | {"seconds": 0.0} | bench.measure(images))
    # two spacings of one grid are restored once
    by_grid = {(row["method"], tuple(row["steps"])): row for row in rows if row["sampler"]}
    wanted = [s for s in settings if (s.method.title, s.spacing, s.nfe) not in done]
    with Progress(sum(s.nfe for s in wanted), unit="evaluation") as progress:
        for setting in wanted:
            method, spacing, nfe = setting
            steps = grid(config, setting)
            known = by_grid.get((method.title, steps))
            if known is None:
                images, seconds = bench.restore(setting)
                known = bench.measure(images) | {"seconds": seconds}
            told = {"method": method.title, "sampler": method.sampler, "eta": method.eta}
            row = known | told | {"spacing": spacing, "nfe": nfe, "steps": list(steps)}
            by_grid[method.title, steps] = row
            rows.append(row)
            text = json.dumps({"facts": facts, "rows": rows}, ensure_ascii=False)
            write_atomically(output / ROWS, text.encode())
            progress.advance(nfe)
            progress.say(report.line(row))


def _begun(output: epath.Path, facts: dict) -> list[Row]:
    """The rows that are there; none in a new folder.

    Raises:
        ValueError: they are of another sweep; one line.
    """
    path = output / ROWS
    if not path.exists():
        return []
    held = read_json(path)
    different = sorted(key for key in facts if held["facts"].get(key) != facts[key])
    if different:
        raise ValueError(
            f"--output {output} holds a sweep of other {', '.join(different)}: name another folder"
        )
    return held["rows"]


def _key(row: Row) -> tuple[str, str, int]:
    return row["method"], row["spacing"], row["nfe"]


def _write(output: epath.Path, config: Config, features: Features, rows: list[Row], count: int):
    rows.sort(key=_order)
    write_atomically(output / "sweep.csv", report.as_csv(rows).encode())
    told = f"{count} pictures of {config.image_size}², {config.corruption}"
    table = report.as_markdown(rows, title=features.title, told=told)
    write_atomically(output / "table.md", table.encode())
    write_atomically(output / "sweep.png", report.figure(rows, title=features.title, told=told))
    print(table)
    print(f"see {output / 'sweep.png'}")


def _order(row: Row) -> tuple:
    if not row["sampler"]:
        return (-1, 0, 0, 0)
    return SAMPLERS.index(row["sampler"]), row["eta"], SPACINGS.index(row["spacing"]), row["nfe"]


def _settings(given: argparse.Namespace) -> list[Setting]:
    """Every sampler with every spacing and number of evaluations, the cheap ones first."""
    methods = [parse_method(text) for text in given.samplers.split(",")]
    spacings = given.spacings.split(",")
    for spacing in spacings:
        if spacing not in SPACINGS:
            raise ValueError(f"--spacings {spacing} is not known: choose of {', '.join(SPACINGS)}")
    nfes = sorted(set(parse_nfes(given.nfe)))
    return [
        Setting(method, spacing, nfe)
        for nfe, spacing, method in itertools.product(nfes, spacings, dict.fromkeys(methods))
    ]


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(
        prog="python -m experiments.nfe_sweep", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("--model", required=True, help="a run or a model folder")
    add("--checkpoint", default="latest", help="latest, best or a step")
    add("--nfe", default="1,2,3,5,10,20,50", help="network evaluations")
    default = "ddpm,ode,implicit,implicit:0.5,implicit2,implicit3"
    add("--samplers", default=default, help=f"implicit:ETA has its own line (default {default})")
    add("--spacings", default="index,lambda", help="of the steps: index, sigma, lambda")
    add_flags(parser)
    return parser


if __name__ == "__main__":
    startup.run(main)
