"""What one picture asks of the U-Net, operation by operation, counted by hand.

A product of matrices of [m, k] and [k, n] is 2·m·k·n FLOPs, and a convolution is one with k taps
times channels, less those that look at padding; elementwise work is not counted, since it costs
bytes and not FLOPs. Bytes are those
of what must go through the device's memory even if everything elementwise is fused into its
neighbours: the inputs, weights and outputs of products, and for each normalisation one reading of
its input and one more with its writing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from i2sb_jax.models import UNetConfig
from i2sb_jax.models.architecture import BlockSpec, block_plan


class Operation(NamedTuple):
    """A product or a normalisation, for one picture.

    Attributes:
        kind: "convolution", "projection" (of attention), "attention" (both of its products) or
            "normalisation".
        side: of the feature map it works on, pixels.
        channels: that go in.
        flops: of its products.
        numbers: that it reads or writes for a picture.
        weights: numbers that it reads for a batch.
    """

    kind: str
    side: int
    channels: int
    flops: int
    numbers: int
    weights: int


def operations(config: UNetConfig, image_size: int) -> Iterator[Operation]:
    """All that the network does to a picture, in order, but for the time embedding.

    Args:
        config: the network.
        image_size: side of the picture, a multiple of `config.downsampling_factor`.
    """
    config.check_size(image_size, image_size)
    plan, finest = block_plan(config), config.level_channels[0]
    side = image_size
    yield _convolution(side, config.in_channels, finest, 3)
    for stage in (*plan.down, plan.middle, *plan.up):
        for block in stage:
            if block.kind == "attention":
                yield from _attention(block, side)
            else:
                after = {"keep": side, "down": side // 2, "up": side * 2}[block.resample]
                yield from _residual(block, side, after)
                side = after
    yield _normalisation(side, finest)
    yield _convolution(side, finest, config.out_channels, 3)


def _residual(block: BlockSpec, side: int, after: int) -> Iterator[Operation]:
    yield _normalisation(side, block.in_channels)
    yield _convolution(after, block.in_channels, block.out_channels, 3)
    yield _normalisation(after, block.out_channels)
    yield _convolution(after, block.out_channels, block.out_channels, 3)
    if block.in_channels != block.out_channels:
        yield _convolution(after, block.in_channels, block.out_channels, 1)


def _attention(block: BlockSpec, side: int) -> Iterator[Operation]:
    channels, positions = block.in_channels, side * side
    yield _normalisation(side, channels)
    yield _product("projection", side, channels, 3 * channels, 1)
    # logits and mixture; the logits of fused attention never reach memory
    flops = 2 * 2 * positions * positions * channels
    yield Operation("attention", side, channels, flops, 4 * positions * channels, 0)
    yield _product("projection", side, channels, channels, 1)


def _normalisation(side: int, channels: int) -> Operation:
    return Operation("normalisation", side, channels, 0, 3 * side * side * channels, 0)


def _convolution(side: int, received: int, returned: int, taps: int) -> Operation:
    return _product("convolution", side, received, returned, taps)


def _product(kind: str, side: int, received: int, returned: int, taps: int) -> Operation:
    """A window of `taps` × `taps` over a feature map padded to keep its size."""
    seen = side * taps - (taps * taps - 1) // 4  # pixels along one axis that all windows see
    channels = received * returned
    numbers = side * side * (received + returned)
    return Operation(kind, side, received, 2 * seen**2 * channels, numbers, taps**2 * channels)


def total_flops(config: UNetConfig, image_size: int) -> int:
    """FLOPs of the products of one picture's forward pass."""
    return sum(operation.flops for operation in operations(config, image_size))
