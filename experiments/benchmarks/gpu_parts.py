"""The parts of `gpu`, each run in a process of its own.

    python -m experiments.benchmarks.gpu_parts PART --size SIZE --output FILE [options]

A part writes its rows as soon as it has them, so that one that is stopped leaves what it found.
What fails becomes a row that says why.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import pathlib
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if importlib.util.find_spec("imagecodecs") is None:
    # weights and pictures share a package, and no part of this reads a picture: a machine that has
    # all but this codec can measure
    sys.modules["imagecodecs"] = types.ModuleType("imagecodecs")

from experiments.benchmarks import networks, pace, reference_process, results, sampler, timing
from experiments.benchmarks.networks import Size
from experiments.benchmarks.operations import operations, total_flops
from experiments.benchmarks.reference_process import MODES, ReferenceFailed
from i2sb_jax.accelerators.peaks import bf16_peak
from i2sb_jax.accelerators.program import read_program
from i2sb_jax.cli.startup import Parser
from i2sb_jax.interop import params_from_state_dict
from i2sb_jax.models import UNet, UNetConfig
from tests.models.networks import DEEP, GOLDEN, TINY, golden_state_dict

Row = dict[str, Any]
_ERROR_CHARACTERS = 300
_PEAK_SIDES = {"tiny": (256,), "cpu": (1024,), "adm256": (4096, 8192, 16384)}
_PAUSE = 0.3
_GOLDENS = {"uncond": (TINY, "unet_tiny"), "deep": (DEEP, "unet_deep")}
_WAYS = {
    "float32, highest": ("highest", "float32"),
    "float32, default": ("default", "float32"),
    "bfloat16": ("default", "bfloat16"),
}
AGREEMENT = 1e-4  # of the goldens in full float32, as in tests/models


def attempt(row: Row, measure: Callable[[], Row]) -> Row:
    """`row` with what `measure` finds, or with the one line that says why it found nothing."""
    try:
        return row | measure()
    except Exception as error:  # no memory, no such kernel, no other side: the others still run
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return row | {"error": line[:_ERROR_CHARACTERS]}


def device(given: argparse.Namespace) -> Iterator[Row]:
    """The machine, and the fastest bfloat16 product of square matrices of normal numbers."""
    peak = bf16_peak(jax.devices()[0].device_kind)
    stated = {"bf16 peak TFLOP/s": peak.flops / 1e12, "source": peak.source} if peak else {}
    facts = results.facts() | {"platform": jax.default_backend()} | stated
    yield facts | {"bytes": _memory("bytes_limit")}
    for side in _PEAK_SIDES[given.size]:
        yield attempt({"product of": side}, functools.partial(_product, side, given.repeats))


def _product(side: int, rounds: int) -> Row:
    a, b = (jax.random.normal(jax.random.key(k), (side, side), jnp.bfloat16) for k in range(2))
    multiply = jax.jit(jnp.matmul)
    product = timing.timed(lambda: multiply(a, b))
    spread = timing.spread(timing.alternate({"": product}, rounds=rounds, runs=10)[""])
    return {"seconds": spread, "TFLOP/s": 2 * side**3 / spread["median"] / 1e12}


def goldens(given: argparse.Namespace) -> Iterator[Row]:
    """How far our outputs are from the reference's, over their standard deviation."""
    with np.load(GOLDEN / "unet_tiny.npz") as file:
        golden = dict(file)
    for way, (precision, dtype) in _WAYS.items():
        for name, (config, weights) in _GOLDENS.items():
            measure = functools.partial(_deviation, golden, name, config, weights, precision, dtype)
            row = attempt({"output": name, "computed in": way}, measure)
            if precision == "highest":
                row["passes"] = row.get("largest over deviation", np.inf) < AGREEMENT
            yield row


def _deviation(
    golden: dict[str, np.ndarray],
    name: str,
    config: UNetConfig,
    weights: str,
    precision: str,
    dtype: str,
) -> Row:
    params = params_from_state_dict(golden_state_dict(weights), config)
    network = UNet(dataclasses.replace(config, dtype=dtype))
    x, level = (jnp.asarray(golden[key]) for key in ("x", "t"))

    @jax.jit
    def forward(params, x, level):
        return network.apply({"params": params}, x, level)

    with jax.default_matmul_precision(precision):
        output = np.asarray(forward(params, x, level))
    difference = np.abs(output - golden[name])
    return {
        "largest over deviation": float(difference.max() / golden[name].std()),
        "root mean square over deviation": float(
            np.sqrt(np.square(difference).mean()) / golden[name].std()
        ),
    }


def train(given: argparse.Namespace) -> Iterator[Row]:
    """The training step in bfloat16 at one batch and one `remat`."""
    size = _size(given)
    row = {"batch": given.batch, "remat": given.remat}
    yield attempt(row, functools.partial(_train, size, given.repeats))


def _train(size: Size, rounds: int) -> Row:
    trainer, row = _compiled_trainer(size)
    sides = {"": timing.timed(trainer)}
    seconds = timing.alternate(sides, rounds=rounds, runs=3, warm_up=1)[""]
    row |= _speed(seconds, size) | {"peak bytes": _memory("peak_bytes_in_use")}
    return row | _by_compiler(row, row["seconds"]["median"])


def _compiled_trainer(size: Size) -> tuple[networks.Trainer, Row]:
    params = networks.random_params(size)
    given = networks.start_state(params), networks.train_batch(size), jax.random.key(0)
    lowered = networks.train_step(size).lower(*given)
    start = time.perf_counter()
    compiled = lowered.compile()
    row = {"compile seconds": time.perf_counter() - start} | _account(compiled)
    return networks.Trainer(compiled, given[0], given[1]), row


def _account(compiled: jax.stages.Compiled) -> Row:
    """The compiler's word on a program."""
    program = read_program(compiled)
    return {
        "temporary bytes": program.memory.temporaries,
        "bytes by the compiler": program.memory.total,
        "TFLOP by the compiler": program.flops / 1e12,
    }


def _by_compiler(row: Row, seconds: float) -> Row:
    """The rate of a program by the compiler's FLOPs, those computed twice included."""
    rate = row["TFLOP by the compiler"] / seconds
    peak = bf16_peak(jax.devices()[0].device_kind)
    share = {"share of the bf16 peak": 1e12 * rate / peak.flops} if peak else {}
    return {"TFLOP/s by the compiler": rate} | share


def _speed(seconds: list[float], size: Size) -> Row:
    spread = timing.spread(seconds)
    pictures = size.batch_size / spread["median"]
    flops = 3 * total_flops(size.network, size.image_size)
    return {
        "seconds": spread,
        "pictures a second": pictures,
        "TFLOP/s": flops * pictures / 1e12,
    }


def versus(given: argparse.Namespace) -> Iterator[Row]:
    """JAX's step in bfloat16 and one of PyTorch's modes in turn, both at one batch."""
    yield from _against_torch(given, alone=False)


def torch(given: argparse.Namespace) -> Iterator[Row]:
    """One of PyTorch's modes at one batch, with the device to itself."""
    yield from _against_torch(given, alone=True)


def _against_torch(given: argparse.Namespace, *, alone: bool) -> Iterator[Row]:
    size = _size(given)
    row = {"mode": given.mode, "batch": given.batch}
    yield attempt(row, functools.partial(_compare, size, given, alone))


def _compare(size: Size, given: argparse.Namespace, alone: bool) -> Row:
    params = networks.random_params(size)
    # a picture tells as much as a batch, and the program in full float32 is the smaller for it
    expected = reference_process.expected_output(size, params, pictures=1)
    start = functools.partial(reference_process.start, given.torch_reference, given.mode)
    with start(size, params, expected=expected) as child:
        row = {"difference over deviation": child.ask("check")["over the deviation"]}
        row |= child.ask("facts") | child.ask("prepare", work="train")
        if row["kept"] is None:
            raise ReferenceFailed(f"nothing ran: {row['trials']}")
        sides = {given.mode: child.side("train")}
        if not alone:
            sides["JAX"] = timing.timed(_compiled_trainer(size)[0])
        seconds = timing.alternate(sides, rounds=given.repeats, runs=3, warm_up=1, pause=_PAUSE)
        row |= _speed(seconds[given.mode], size) | {"peak bytes": child.ask("memory")["peak"]}
        if not alone:
            row["JAX pictures a second"] = _speed(seconds["JAX"], size)["pictures a second"]
            row["its time over JAX's"] = timing.ratio(seconds[given.mode], seconds["JAX"])
        return row


def sample(given: argparse.Namespace) -> Iterator[Row]:
    """Restoring at one NFE in bfloat16."""
    row = {"nfe": given.nfe, "batch": given.batch}
    yield attempt(row, functools.partial(_sample, _size(given), given.nfe, given.repeats))


def _sample(size: Size, nfe: int, rounds: int) -> Row:
    params = jax.device_put(networks.random_params(size))
    keys = jax.random.split(jax.random.key(0), size.batch_size)
    x1 = jnp.asarray(networks.pictures(size))
    function = sampler.sample_fn(size, nfe, sampler="ddpm")
    lowered = networks.jit(function).lower(keys, params, x1)
    start = time.perf_counter()
    program = lowered.compile()
    row = {"compile seconds": time.perf_counter() - start} | _account(program)
    side = timing.timed(lambda: program(keys, params, x1))
    spread = timing.spread(timing.alternate({"": side}, rounds=rounds, warm_up=1)[""])
    speed = {"seconds": spread, "pictures a second": size.batch_size / spread["median"]}
    row |= speed | {"peak bytes": _memory("peak_bytes_in_use")}
    return row | _by_compiler(row, spread["median"])


def loop(given: argparse.Namespace) -> Iterator[Row]:
    """What the training loop logs of its pace, beside a loop timed by hand; in bfloat16."""
    measure = functools.partial(
        pace.measure, size=given.size, steps=given.steps, rounds=given.repeats,
        network={"dtype": jnp.dtype("bfloat16"), "remat": given.remat}, batch_size=given.batch,
    )  # fmt: skip
    row = {"batch": given.batch, "remat": given.remat}
    yield attempt(row, lambda: {k: v for k, v in measure().items() if k not in ("size", "rounds")})


def attention(given: argparse.Namespace) -> Iterator[Row]:
    """XLA's attention and cuDNN's, in bfloat16, at the network's shapes; with gradients too."""
    size = _size(given)
    met = {
        (each.side, each.channels)
        for each in operations(size.network, size.image_size)
        if each.kind == "attention"
    }
    for side, channels in sorted(met):
        for kernel in ("xla", "cudnn"):
            for gradients in (False, True):
                row = {"side": side, "channels": channels, "kernel": kernel, "gradients": gradients}
                yield attempt(row, functools.partial(_attention, size, given.repeats, **row))


def _attention(
    size: Size, rounds: int, *, side: int, channels: int, kernel: str, gradients: bool
) -> Row:
    heads = channels // size.network.head_channels
    shape = size.batch_size, side * side, heads, size.network.head_channels
    arrays = [jax.random.normal(jax.random.key(k), shape, jnp.bfloat16) for k in range(3)]
    function = functools.partial(jax.nn.dot_product_attention, implementation=kernel)
    if gradients:
        forward = function

        def loss(*arrays):
            return jnp.square(forward(*arrays).astype(jnp.float32)).mean()

        function = jax.grad(loss, (0, 1, 2))
    jitted = jax.jit(function)
    sides = {"": timing.timed(lambda: jitted(*arrays))}
    return {"seconds": timing.spread(timing.alternate(sides, rounds=rounds, runs=10)[""])}


def _size(given: argparse.Namespace) -> Size:
    size = networks.SIZES[given.size]
    return size.replaced(batch_size=given.batch, dtype="bfloat16", remat=given.remat)


def _memory(name: str) -> int | None:
    """A number of the device's allocator; None where nobody counts."""
    return (jax.devices()[0].memory_stats() or {}).get(name)


PARTS = {
    "device": device, "goldens": goldens, "train": train, "versus": versus, "torch": torch,
    "sample": sample, "attention": attention, "loop": loop,
}  # fmt: skip


def main() -> None:
    """Runs a part and writes its rows."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--size", choices=networks.SIZES, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="file of rows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--remat", default="none")
    parser.add_argument("--nfe", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5, help="of a line of the training's log")
    parser.add_argument("--torch-reference")
    parser.add_argument("--mode", choices=MODES, default="best")
    given = parser.parse_args()
    rows: list[Row] = []
    for row in PARTS[given.part](given):
        rows.append(row)
        given.output.write_text(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    main()
