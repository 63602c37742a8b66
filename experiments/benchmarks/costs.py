"""What ADM's network costs: FLOPs and bytes of a picture, and what devices could do with it.

    python -m experiments.benchmarks.costs [--size adm256] [--pixels 64 128 256 512] [--output DIR]

Nothing is run and nothing compiled: XLA's cost analysis of the lowered programs is set beside a
count by hand (`operations`). A roofline says how fast each device could be if every product ran at
its peak or every byte at the full bandwidth, whichever takes longer. No device reaches that: see
what was measured. The paper's training is projected from it, each assumption a line of its own.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmarks import networks, results
from experiments.benchmarks.networks import Size
from experiments.benchmarks.operations import operations, total_flops
from i2sb_jax.types import Batch

NAME = "costs"
PIXELS = (64, 128, 256, 512)
_BYTES = 2  # of a number in bfloat16
_TRAINING = 3  # a forward pass, and one each for the gradients of inputs and of weights
# an update reads weight, gradient, both moments and average, and writes all but the gradient
_ADAM_BYTES = 9 * 4
_PAPER_PIXELS, _PAPER_BATCH = 256, 256


class Device(NamedTuple):
    """A device as its maker describes it.

    Attributes:
        name: of one device.
        flops: of dense bfloat16 products a second (float16 where it has no bfloat16).
        bandwidth: bytes of its memory a second.
        source: where that is said.
    """

    name: str
    flops: float
    bandwidth: float
    source: str


DEVICES = (
    Device("V100 SXM (fp16)", 125e12, 0.9e12, "NVIDIA V100 datasheet"),
    Device("A100 SXM 80 GB", 312e12, 2.0e12, "NVIDIA A100 datasheet"),
    Device("H100 SXM", 989e12, 3.35e12, "NVIDIA H100 datasheet, without sparsity"),
    Device("H200 SXM", 989e12, 4.8e12, "NVIDIA H200 datasheet, without sparsity"),
    Device("TPU v5e", 197e12, 0.819e12, "Google Cloud TPU v5e documentation"),
    Device("TPU v5p", 459e12, 2.765e12, "Google Cloud TPU v5p documentation"),
    Device("TPU v6e", 918e12, 1.64e12, "Google Cloud TPU v6e documentation"),
)


class Fleet(NamedTuple):
    """Devices that a training may run on.

    Attributes:
        name: what they are called together.
        device: the name of one of them, of DEVICES.
        count: of them.
        dollars: an hour of one device; an assumption.
    """

    name: str
    device: str
    count: int
    dollars: float


FLEETS = (Fleet("8 × H200", "H200 SXM", 8, 10.0), Fleet("v5e-256", "TPU v5e", 256, 1.2))


def measure(
    *,
    size: str = "adm256",
    pixels: Sequence[int] = PIXELS,
    batch: int = 16,
    steps: int = 1_000_000,
    attained: float = 0.5,
    fleets: Sequence[Fleet] = FLEETS,
) -> dict[str, Any]:
    """Counts, and projects.

    Args:
        size: one of `networks.SIZES`, of which only the network counts.
        pixels: sides of pictures.
        batch: pictures at once on a device, over which its reading of the weights is spread.
        steps: updates of the projected training, of 256 pictures each.
        attained: the share of the roofline's speed that is assumed of it, 0 … 1.
        fleets: where it may run.
    """
    network = networks.SIZES[size].network
    sizes = [Size(network=network, image_size=side, batch_size=batch) for side in pixels]
    shapes = jax.tree.leaves(networks.abstract_params(sizes[0]))
    parameters = sum(math.prod(x.shape) for x in shapes)
    paper = Size(network=network, image_size=_PAPER_PIXELS, batch_size=batch)
    return {
        "size": size,
        "parameters": parameters,
        "pictures": [picture_costs(each) for each in sizes],
        "roofline": [roofline(device, each, parameters) for each in sizes for device in DEVICES],
        "training": projection(
            paper, parameters, steps=steps, attained=attained, fleets=fleets
        ),
    }  # fmt: skip


def picture_costs(size: Size) -> dict[str, Any]:
    """TFLOP and GB of one picture, by XLA and by hand."""
    one = size.replaced(batch_size=1)
    by_hand = total_flops(size.network, size.image_size)
    forward, training = analyse_forward(one), _analyse_training(one)
    numbers = sum(each.numbers for each in operations(size.network, size.image_size))
    return {
        "pixels": size.image_size,
        "forward TFLOP, by hand": by_hand / 1e12,
        "forward TFLOP, by XLA": forward["flops"] / 1e12,
        "by hand over XLA": by_hand / forward["flops"],
        "training TFLOP, by XLA": training["flops"] / 1e12,
        "training over forward": training["flops"] / forward["flops"],
        "forward GB, fused, bfloat16": _BYTES * numbers / 1e9,
        "forward GB, nothing fused, by XLA": forward["bytes accessed"] / 1e9,
    }


def roofline(device: Device, size: Size, parameters: int) -> dict[str, Any]:
    """Pictures a second of a device if each operation takes as long as its slower half."""
    forward = compute = 0.0
    for each in operations(size.network, size.image_size):
        products = size.batch_size * each.flops / device.flops
        numbers = size.batch_size * each.numbers + each.weights
        transfer = _BYTES * numbers / device.bandwidth
        forward += max(products, transfer)
        compute += products
    training = _TRAINING * forward + _ADAM_BYTES * parameters / device.bandwidth
    return {
        "pixels": size.image_size,
        "device": device.name,
        "TFLOP/s": device.flops / 1e12,
        "TB/s": device.bandwidth / 1e12,
        "pictures at once": size.batch_size,
        "forward pictures/s": size.batch_size / forward,
        "training pictures/s": size.batch_size / training,
        "training's share of the peak": _TRAINING * compute / training,
        "source": device.source,
    }


def projection(
    size: Size, parameters: int, *, steps: int, attained: float, fleets: Sequence[Fleet]
) -> dict[str, Any]:
    """Days and dollars of the paper's training, and all that was assumed for them."""
    assumed = [
        f"pictures of {size.image_size}², batches of {_PAPER_BATCH}, as in configs/base.py",
        f"{steps:,} updates: the paper does not say how many; configs/base.py has 1,000,000",
        f"bfloat16, {size.batch_size} pictures at once on a device, whatever its memory",
        f"{attained:.0%} of the roofline's pictures a second, with no time lost between devices "
        "or waiting for data",
        *(f"{each.name}: {each.dollars:.2f} dollars a device and hour" for each in fleets),
    ]
    by_name = {device.name: device for device in DEVICES}
    rows = []
    for fleet in fleets:
        ceiling = roofline(by_name[fleet.device], size, parameters)["training pictures/s"]
        speed = attained * fleet.count * ceiling
        hours = steps * _PAPER_BATCH / speed / 3600
        rows.append(
            {
                "devices": fleet.name,
                "pictures/s": speed,
                "days": hours / 24,
                "dollars": hours * fleet.count * fleet.dollars,
            }
        )
    return {"assumed": assumed, "rows": rows}


def analyse_forward(size: Size) -> dict[str, float]:
    """XLA's account of a forward pass."""
    shapes = networks.abstract_params(size), _pictures(size), _levels(size)
    return _analyse(jax.jit(networks.forward_fn(size)), *shapes)


def _analyse_training(size: Size) -> dict[str, float]:
    state = jax.eval_shape(networks.start_state, networks.abstract_params(size))
    batch = Batch(clean=_pictures(size), degraded=_pictures(size))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return _analyse(networks.train_step(size), state, batch, key)


def _analyse(jitted: Callable, *shapes: Any) -> dict[str, float]:
    """As lowered for a TPU: a CPU's program may hold loops, whose body is counted once."""
    return jitted.trace(*shapes).lower(lowering_platforms=("tpu",)).cost_analysis()


def _pictures(size: Size) -> jax.ShapeDtypeStruct:
    shape = (size.batch_size, size.image_size, size.image_size, networks.CHANNELS)
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _levels(size: Size) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size.batch_size,), jnp.float32)


def main() -> None:
    """Counts, prints tables and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser, default="adm256")
    parser.add_argument("--pixels", type=int, nargs="+", default=PIXELS)
    parser.add_argument("--batch", type=int, default=16, help="pictures at once on a device")
    parser.add_argument("--steps", type=int, default=1_000_000, help="updates of the projection")
    parser.add_argument("--attained", type=float, default=0.5, help="share of the roofline")
    given = parser.parse_args()
    found = measure(
        size=given.size, pixels=given.pixels, batch=given.batch, steps=given.steps,
        attained=given.attained,
    )  # fmt: skip
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
