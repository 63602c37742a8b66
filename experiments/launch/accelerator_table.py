"""What ADM's training step needs on accelerators for rent, as their compilers say: the table.

    pip install 'i2sb_jax[cuda12,tpu]'
    python -m experiments.launch.accelerator_table [--devices h100 v5e …] [--page]

Compiles the rows of `plan` that accelerator_table.json beside this file does not have, each in a
process of its own, and writes the file and the page `docs/howto/what-fits.md` after each: stopped,
the same command goes on. No GPU, TPU or driver is needed. A row of a GPU takes one to three minutes
and 5 GB, one of a TPU 9 to 12 minutes and 16 GB, of two cores that do nothing else. Rows whose
compiler is not installed are left, and the page says so; --page writes the page alone.

An edge is looked for among batches of 1, 2, 3, 4, 6, 8, 12 … pictures a device. A GPU's memory is
nearly a line in the batch, so what is compiled is where the line meets what there is room for, and
the next. A TPU's compiler saves what it can as the room ends: there it is the next smaller batch.
Rows are kept until the file is deleted: delete it where the step has changed.
"""

import concurrent.futures
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from i2sb_jax.configs.imagenet256 import sr4x_pool
from jax.sharding import SingleDeviceSharding

from experiments.launch import accelerator_page
from i2sb_jax.accelerators import gpus, topologies
from i2sb_jax.cli import startup
from i2sb_jax.config import Config, from_config_dict
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run, room_on_gpu

FILE = pathlib.Path(__file__).with_suffix(".json")

# device -> where there are 8 of them, and 16; libtpu's devices of v5p are chips, of tpu7x halves
SLICES = {
    "h100": ("h100:8", "h100:2x8"),
    "a100-80": ("a100-80:8", "a100-80:2x8"),
    "h200": ("h200:8", "h200:2x8"),
    "b200": ("b200:8", "b200:2x8"),
    "v5e": ("v5e:2x4", "v5e:4x4"),
    "v6e": ("v6e:2x4", "v6e:4x4"),
    "v5p": ("v5p:2x2x2", "v5p:2x2x4"),
    "tpu7x": ("tpu7x:2x2x1", "tpu7x:2x2x2"),
}
GPUS, TPUS = list(SLICES)[:4], list(SLICES)[4:]
# name -> image_size, and what differs from ADM's network at 256² (arXiv 2105.05233, table 12)
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "ADM-256": (256, {}),
    "ADM-64": (
        64,
        {
            "model_channels": 192,
            "channel_mult": (1.0, 2.0, 3.0, 4.0),
            "num_res_blocks": 3,
            "attention_downsamples": (2, 4, 8),
        },
    ),
}
BATCHES = sorted({2**k for k in range(13)} | {3 * 2**k for k in range(11)})
# (model, dtype, remat, fsdp, pictures a device) of every device
_POINTS = (
    ("ADM-256", "bfloat16", "none", 1, 16),
    ("ADM-256", "bfloat16", "blocks", 16, 16),
    ("ADM-256", "float32", "blocks", 1, 16),
    ("ADM-256", "float32", "none", 8, 16),
    ("ADM-64", "bfloat16", "none", 1, 64),
    ("ADM-64", "float32", "blocks", 1, 64),
)
_FIRST = 16  # tried where nothing is known, unless --first says another
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TOO_MUCH = 2**44  # bytes, more than any device has


class Series(NamedTuple):
    """Rows that differ in the batch alone."""

    device: str
    model: str
    dtype: str
    remat: str
    fsdp: int


class Asked(NamedTuple):
    """One thing to be compiled.

    Attributes:
        series: what.
        pictures: a device; None: the largest batch that fits and the next, which does not.
    """

    series: Series
    pictures: int | None = None


Row = dict[str, Any]  # of the file: a series, pictures, topology, and what `compile_row` found


def plan() -> list[Asked]:
    """Returns what is to be in the table, in the order in which it is compiled."""
    edges = [
        Asked(Series(device, "ADM-256", "bfloat16", "blocks", fsdp))
        for device in SLICES
        for fsdp in (1, 8)
    ]
    # of the TPUs the row that README.md had before, first
    edges.insert(2 * len(GPUS), Asked(Series("v5e", "ADM-256", "bfloat16", "blocks", 16), 16))
    points = [Asked(Series(device, *rest), n) for device in SLICES for *rest, n in _POINTS]
    return list(dict.fromkeys(edges + points))


def main(arguments: list[str]) -> int:
    """Compiles what is missing and can be compiled here; 1 where rows are still missing."""
    parser = startup.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--devices", nargs="+", choices=SLICES, default=list(SLICES))
    parser.add_argument("--page", action="store_true", help="write the page, compile nothing")
    parser.add_argument(
        "--first", type=int, choices=BATCHES, default=_FIRST, metavar="N",
        help="pictures a device to try first where nothing is known",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    rows = read_rows()
    asked = [] if given.page else [each for each in plan() if each.series.device in given.devices]
    for series, _ in {each: None for each in asked if not can_compile(each.series.device)}:
        startup.tell(f"{series.device} is left out: its compiler is not installed")
    for each in asked:
        if can_compile(each.series.device):
            for row in answer(each, rows, in_a_process, first=given.first):
                rows.append(row)
                write_rows(rows)
                accelerator_page.write(rows, missing(rows))
                print(line(row), flush=True)
    accelerator_page.write(rows, missing(rows))
    return 1 if missing(rows) else 0


def can_compile(device: str) -> bool:
    """Whether a device's compiler is installed here."""
    packages = ("libtpu",) if device in TPUS else ("jax_cuda12_plugin", "jax_cuda13_plugin")
    return any(importlib.util.find_spec(package) for package in packages)


def read_rows() -> list[Row]:
    """Returns the rows that were compiled; none where there is no file yet."""
    return read_json(FILE) if FILE.exists() else []


def write_rows(rows: list[Row]) -> None:
    """Writes all rows at once, a line each."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    write_atomically(FILE, f"[\n{lines}\n]\n".encode())


def line(row: Row) -> str:
    """A row for people."""
    needs = "?" if row["total"] is None else f"{row['total'] / 2**30:.2f}"
    return (
        f"{'fits' if row['fits'] else 'does not fit'}: {needs} of {row['room'] / 2**30:.2f} GiB, "
        f"{row['topology']} {row['model']} {row['dtype']} remat {row['remat']} fsdp {row['fsdp']} "
        f"{row['pictures']} pictures a device, {row['seconds']:.0f} s"
    )


# --- what to compile ----------------------------------------------------------------------------


def series_of(row: Row) -> Series:
    """Returns the series that a row is of."""
    return Series(*(row[key] for key in Series._fields))


def missing(rows: list[Row]) -> list[Asked]:
    """Returns what is asked for and not in the rows, edges that are known in part included."""
    return [each for each in plan() if next_batch(each, rows) is not None]


def answer(
    asked: Asked,
    rows: list[Row],
    compile_one: Callable[[Series, int], Row | None],
    *,
    first: int = _FIRST,
) -> Iterator[Row]:
    """Yields the rows that are missing of one thing; the caller adds each to `rows`.

    Args:
        asked: the thing.
        rows: what is known.
        compile_one: gives the row of a series and a batch; None where the compiler gave up for
            another reason than memory, which ends this one.
        first: pictures a device where nothing is known.
    """
    while (pictures := next_batch(asked, rows, first=first)) is not None:
        row = compile_one(asked.series, pictures)
        if row is None:
            return
        yield row


def next_batch(asked: Asked, rows: list[Row], *, first: int = _FIRST) -> int | None:
    """Returns the batch to compile next; None where all is known.

    A TPU's compiler refuses within a minute and works for a quarter of an hour at what fits: the
    edge of one is come to from above.
    """
    tried = {row["pictures"]: row for row in rows if series_of(row) == asked.series}
    if asked.pictures is not None:
        return None if asked.pictures in tried else asked.pictures
    low = max((i for i, b in enumerate(BATCHES) if b in tried and tried[b]["fits"]), default=-1)
    refused = [i for i, b in enumerate(BATCHES) if i > low and b in tried]
    high = min(refused, default=len(BATCHES))
    if high - low == 1:
        return None
    if asked.series.device in TPUS:
        above = low + 1 if low >= 0 else BATCHES.index(first)
        return BATCHES[high - 1 if refused else above]
    at = _last_that_should_fit(asked.series, rows)
    if at is None:
        at = (low + high) // 2 if tried else BATCHES.index(first)
    return BATCHES[min(max(at, low + 1), high - 1)]


def _last_that_should_fit(series: Series, rows: list[Row]) -> int | None:
    """Index of the largest batch that fits by the line through what is known, None if nothing is.

    The line goes through the two largest batches of the series. Where there are not two, its slope
    is that of the most similar series, or else memory beside the arguments is taken as a multiple
    of the batch.
    """
    room = next((row["room"] for row in rows if row["device"] == series.device), None)
    if room is None and series.device in gpus.GPUS:
        room = room_on_gpu(gpus.GPUS[series.device].memory).bytes
    points = _points(series, rows)
    others = [_points(each, rows) for each in _similar(series, rows)]
    other = next((each for each in others if len(each) > 1), [])
    points = points or other
    if room is None or not points:
        return None
    batch, total, arguments = points[-1]
    slope = (total - arguments) / batch
    if two := (points if len(points) > 1 else other)[-2:]:
        (b0, y0, _), (b1, y1, _) = two
        slope = (y1 - y0) / (b1 - b0)
    return sum(total + slope * (b - batch) <= room for b in BATCHES) - 1


def _points(series: Series, rows: list[Row]) -> list[tuple[int, int, int]]:
    """(pictures, bytes in all, bytes of arguments) of what is known of a series, by pictures."""
    mine = [row for row in rows if series_of(row) == series and row["total"] is not None]
    return sorted((row["pictures"], row["total"], row["arguments"] or 0) for row in mine)


def _similar(series: Series, rows: list[Row]) -> list[Series]:
    """Series of the same network on GPUs, those with the same fsdp first."""
    others = dict.fromkeys(map(series_of, rows))
    same = [each for each in others if each.device in GPUS and each[1:4] == series[1:4]]
    return sorted(same, key=lambda each: (each.fsdp != series.fsdp, each.device != series.device))


# --- compiling ----------------------------------------------------------------------------------


def in_a_process(series: Series, pictures: int) -> Row | None:
    """`compile_row` in a new process; None, and a line, where it gave up or died."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(compile_row, series, pictures).result()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
    startup.tell(f"no answer: {tuple(series)} at {pictures} pictures: {reason}")
    return None


def compile_row(series: Series, pictures: int) -> Row:
    """Compiles a step in this process, which must not have used JAX, and returns its row.

    Raises:
        RuntimeError: the compiler gave up for another reason than memory.
    """
    jax.config.update("jax_enable_compilation_cache", False)  # seconds are those of compiling
    topology = SLICES[series.device][series.fsdp > 8]
    described = topologies.describe(topology)
    devices, on_tpu = described.devices, described.memory is None
    if on_tpu:
        memory = refused_memory(devices[0])
        room, share = memory, None
    else:
        of_jax = room_on_gpu(described.memory)
        memory, share, room = *of_jax, of_jax.bytes
    row = series._asdict() | {"pictures": pictures, "topology": topology, "devices": len(devices)}
    row |= {"memory": memory, "share": share, "room": room, "versions": versions(on_tpu)}
    row |= dict.fromkeys(("arguments", "outputs", "temporaries", "code", "total", "flops"))
    start = os.times()
    try:
        found = dry_run(Run(config_of(series, len(devices) * pictures), devices))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise RuntimeError(str(error)) from None  # JAX's own does not go to another process
        needs, _ = needs_and_has(str(error))
        return row | {"total": needs, "fits": False, **seconds_since(start)}
    account = found.program.memory
    row |= account._asdict() | {"total": account.total, "fits": account.total <= room}
    return row | {"flops": found.program.flops, **seconds_since(start)}


def seconds_since(start: os.times_result) -> dict[str, int]:
    """Returns seconds, of a clock and of processors, since `os.times()` was `start`."""
    of_clock = os.times().elapsed - start.elapsed
    of_processors = sum(os.times()[:4]) - sum(start[:4])
    return {"seconds": round(of_clock), "cpu_seconds": round(of_processors)}


def config_of(series: Series, batch_size: int) -> Config:
    """Returns the configuration of a step of the paper's recipe."""
    config = sr4x_pool.get_config()
    size, changes = MODELS[series.model]
    config.image_size = size
    config.model.update(changes)
    config.model.dtype, config.model.remat = series.dtype, series.remat
    config.mesh.fsdp = series.fsdp
    config.training.accumulation_steps = 1
    config.training.batch_size = batch_size
    return from_config_dict(config.to_dict())


def refused_memory(device: Any) -> int:
    """Returns a TPU's bytes for programs, as its compiler says where it refuses one.

    Raises:
        ValueError: it refuses none, or says no figure.
    """
    x = jax.ShapeDtypeStruct((_TOO_MUCH // 4,), np.float32, sharding=SingleDeviceSharding(device))
    try:
        jax.jit(jnp.sin).lower(x).compile()
    except jax.errors.JaxRuntimeError as error:
        if (has := needs_and_has(str(error))[1]) is not None:
            return has
        raise
    raise ValueError(f"{device.device_kind} has room for {_TOO_MUCH} bytes, its compiler says")


def needs_and_has(text: str) -> tuple[int | None, int | None]:
    """Bytes that a TPU's compiler says a program needs, and that the device has."""
    size = r"([\d.]+)([KMGT])"
    for form in (rf"Used {size} of {size} hbm", rf"\({size}\) exceeds available HBM \({size}\)"):
        if found := re.search(form, text):
            needs, has = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
            return int(needs), int(has)
    return None, None


def versions(on_tpu: bool) -> dict[str, str]:
    """Returns the packages whose word it is."""
    names = ["jax", "jaxlib"]
    names += ["libtpu"] if on_tpu else [
        name.format(n) for n in (12, 13) for name in ("jax-cuda{}-plugin", "nvidia-cudnn-cu{}")
    ]  # fmt: skip
    installed = {d.name for d in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in names if name in installed}


if __name__ == "__main__":
    startup.run(main)
