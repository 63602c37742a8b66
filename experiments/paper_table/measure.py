"""From a row of a table to what is measured of it, by the job that i2sb-evaluate runs."""

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath

from experiments.paper_table.published import Published
from i2sb_jax import interop
from i2sb_jax.accelerators import sharding
from i2sb_jax.cli import config_file, evaluation_data
from i2sb_jax.cli.evaluation_flags import chosen_options, parser, with_flags
from i2sb_jax.cli.tasks import task_file
from i2sb_jax.evaluation.job import evaluate_model
from i2sb_jax.evaluation.results import Model, method_of

LATEST = "latest.pt"


class Row(NamedTuple):
    """A row, measured or not.

    Attributes:
        published: what stands beside it.
        nfe: evaluations that were wanted.
        figures: metric -> value, low, high and pictures, of results.json; empty: not measured.
        reason: why it was not measured; "" where it was.
        left_out: metric -> why it is missing.
        notes: what differs from the published protocol, and where the weights come from.
    """

    published: Published
    nfe: int
    figures: dict[str, dict[str, Any]]
    reason: str = ""
    left_out: dict[str, str] = {}  # noqa: RUF012 (never written to)
    notes: tuple[str, ...] = ()


def wanted_rows(table: Sequence[Published], nfes: Sequence[int]) -> list[tuple[Published, int]]:
    """Each published row at its own evaluations, or at those that were asked for."""
    if not nfes:
        return [(row, row.nfe) for row in table]
    # rows that differ in evaluations alone would be asked for the same
    once = {row.folder: row for row in reversed(table)}
    return [(row, nfe) for row in table if once[row.folder] is row for nfe in nfes]


def measure_table(
    wanted: Sequence[tuple[Published, int]],
    given: argparse.Namespace,
    overrides: Sequence[str],
    *,
    say: Callable[[str], None],
) -> list[Row]:
    """All rows; what cannot be measured says why, and the others go on.

    Args:
        wanted: from `wanted_rows`.
        given: the command line.
        overrides: --config.KEY=VALUE, of weights that are still to be imported.
        say: told what goes on.
    """
    found: dict[str, Row] = {}
    for published in {row.folder: row for row, _ in wanted}.values():
        nfes = sorted({nfe for row, nfe in wanted if row.folder == published.folder})
        say(f"{published.folder}, nfe {', '.join(map(str, nfes))}")
        try:
            rows = _measure(published, nfes, given, overrides, say)
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            say(f"not measured: {reason}")
            rows = [Row(published, nfe, {}, reason) for nfe in nfes]
        found |= {f"{published.folder} {row.nfe}": row for row in rows}
    return [found[f"{row.folder} {nfe}"]._replace(published=row) for row, nfe in wanted]


def _measure(
    published: Published,
    nfes: Sequence[int],
    given: argparse.Namespace,
    overrides: Sequence[str],
    say: Callable[[str], None],
) -> list[Row]:
    folder = model_folder(published.task, given, overrides, say=say)
    config, params = interop.load_model_folder(folder)
    if config.corruption != published.task:
        raise ValueError(f"{folder} holds a model of {config.corruption}, not {published.task}")
    flags = _flags(published, nfes, given, folder)
    config = with_flags(config, flags)
    model = Model(published.task, config, jax.device_get(params), interop.weights_digest(params))
    warn = functools.cache(lambda line: say(f"warning: {line}"))
    data = evaluation_data.open_data(config, folder, flags, warn=warn)
    output = epath.Path(given.output) / published.folder
    options = chosen_options(flags)
    mesh = sharding.make_mesh()
    results = evaluate_model(model, data, output, options, mesh=mesh, warn=warn)
    notes = _notes(published, config, given, results, folder)
    return [
        Row(published, nfe, results["figures"][method_of(nfe)], "", results["left_out"], notes)
        for nfe in nfes
    ]


def model_folder(
    task: str, given: argparse.Namespace, overrides: Sequence[str], *, say: Callable[[str], None]
) -> epath.Path:
    """The task's model folder in --weights, or what is imported from its latest.pt.

    Raises:
        ValueError: neither is there, or the file is not the task's; one line.
    """
    folder = epath.Path(given.weights) / task
    if (folder / "config.json").exists():
        return folder
    source, imported = folder / LATEST, epath.Path(given.output) / "models" / task
    if (imported / "config.json").exists():  # written last, when all else is there
        return imported
    if not source.exists():
        raise ValueError(f"{folder} is no model folder, and there is no {source}")
    arguments = [f"--config={task_file(task)}", *overrides]
    config, _ = config_file.parse(arguments, program="paper_table", needs_workdir=False)
    told = interop.import_weights(source, imported, config)
    say(f"{source}: {told.parameters:,} parameters; {told.provenance}")
    return imported


def _flags(published, nfes, given, folder) -> argparse.Namespace:
    """What i2sb-evaluate would have been given for this row."""
    arguments = {
        "model": folder, "data": given.data, "list": given.list, "seed": given.seed,
        "limit": given.limit, "batch": given.batch, "dtype": given.dtype,
        "inception": given.inception, "resnet50": given.resnet50,
        "reference-stats": given.reference_stats, "nfe": ",".join(map(str, nfes)),
        "sampler": published.sampler, "eta": published.eta,
        "masks": given.masks if "freeform" in published.task else None,
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
    return parser("a row").parse_args(flags + ["--any-weights"] * given.any_weights)


def _notes(published, config, given, results, folder) -> tuple[str, ...]:
    """What sets this measurement apart from the published one."""
    notes = []
    count = results["facts"]["pictures"]
    if count != published.pictures:
        notes.append(f"{count:,} pictures, published: {published.pictures:,}")
    elif published.pictures < 50_000 and not given.list:
        notes.append("no --list: not the published subset")
    if config.image_size != 256:
        notes.append(f"{config.image_size} pixels, published: 256")
    if "freeform" in published.task and not given.masks:
        notes.append("masks drawn here, not the published ones")
    if "fid" in next(iter(results["figures"].values()), {}) and not given.reference_stats:
        notes.append("FID against the clean pictures of this evaluation")
    provenance = interop.read_provenance(folder)
    if provenance is not None:
        notes.append(f"weights: {provenance.source} ({provenance.sha256[:8]}…)")
    else:
        notes.append(f"weights: of a run ({results['facts']['weights']})")
    return tuple(notes)
