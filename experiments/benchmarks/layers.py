"""Attention and normalisation alone, at the shapes that a network meets, against plain jnp.

    python -m experiments.benchmarks.layers [--size cpu] [--dtype float32] [--output DIR]

The library's side is what its blocks call. The plain one is the formula as one would write it.
Both are jitted alone, forward and with gradients, and run in turn.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import networks, results, timing
from experiments.benchmarks.operations import operations
from i2sb_jax.models.attention import attention
from i2sb_jax.models.norm import GroupNorm

NAME = "layers"
_EPSILON = 1e-5


def measure(
    *, size: str = "cpu", rounds: int = 5, runs: int = 5, dtype: str = "float32"
) -> dict[str, Any]:
    """Times the layers.

    Args:
        size: one of `networks.SIZES`; its batch is what each layer is given.
        rounds: rounds of each side.
        runs: runs of a side in a round.
        dtype: of what goes in, "float32" or "bfloat16".

    Returns:
        Rows, each a layer, shape and direction; "plain over ours" above 1 says that the library's
        is faster.
    """
    chosen = networks.SIZES[size]
    met = {
        (each.kind, each.side, each.channels)
        for each in operations(chosen.network, chosen.image_size)
        if each.kind in ("attention", "normalisation")
    }
    rows = []
    for kind, side, channels in sorted(met):
        make = _attention if kind == "attention" else _normalisation
        ours, plain, arguments = make(chosen, side, channels, jnp.dtype(dtype))
        for direction, lift in (("forward", lambda f: f), ("with gradients", _with_gradients)):
            seconds = timing.alternate(
                {
                    name: _side(lift(function), arguments)
                    for name, function in (("ours", ours), ("plain", plain))
                },
                rounds=rounds,
                runs=runs,
            )
            rows.append(
                {
                    "layer": kind, "side": side, "channels": channels, "direction": direction,
                    "seconds": timing.spread(seconds["ours"]),
                    "plain seconds": timing.spread(seconds["plain"]),
                    "plain over ours": timing.ratio(seconds["plain"], seconds["ours"]),
                }
            )  # fmt: skip
    return {"size": size, "batch": chosen.batch_size, "dtype": dtype, "rows": rows}


def plain_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax(Q·Kᵀ/√d)·V of [batch, length, heads, d], as one would write it."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
    weights = jax.nn.softmax(logits / np.sqrt(query.shape[-1]), axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


def plain_norm_silu(
    x: jax.Array, scale: jax.Array, shift: jax.Array, gain: jax.Array, bias: jax.Array, groups: int
) -> jax.Array:
    """SiLU of the modulated group normalisation of [batch, h, w, c], as one would write it."""
    batch, height, width, channels = x.shape
    grouped = x.astype(jnp.float32).reshape(batch, height, width, groups, channels // groups)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    var = grouped.var((1, 2, 4), keepdims=True)
    y = ((grouped - mean) / jnp.sqrt(var + _EPSILON)).reshape(x.shape)
    y = y * gain[None, None, None, :] + bias[None, None, None, :]
    y = y * (1 + scale[:, None, None, :]) + shift[:, None, None, :]
    return jax.nn.silu(y.astype(x.dtype))


def _attention(size: networks.Size, side: int, channels: int, dtype: np.dtype):
    heads = channels // size.network.head_channels
    shape = (size.batch_size, side * side, heads, size.network.head_channels)
    return attention, plain_attention, _normal([shape] * 3, dtype)


def _normalisation(size: networks.Size, side: int, channels: int, dtype: np.dtype):
    groups = size.network.norm_groups
    norm = GroupNorm(groups)

    def ours(x, scale, shift, gain, bias):
        return jax.nn.silu(norm.apply({"params": {"scale": gain, "bias": bias}}, x, scale, shift))

    def plain(x, scale, shift, gain, bias):
        return plain_norm_silu(x, scale, shift, gain, bias, groups)

    batch = size.batch_size
    (x,) = _normal([(batch, side, side, channels)], dtype)
    others = _normal([(batch, channels)] * 2 + [(channels,)] * 2, np.dtype(np.float32))
    return ours, plain, [x, *others]


def _normal(shapes: list[tuple[int, ...]], dtype: np.dtype) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape, np.float32), dtype) for shape in shapes]


def _with_gradients(function: Callable[..., jax.Array]) -> Callable:
    """Value and gradients for all arguments of the mean square of what `function` returns."""

    def loss(*arguments):
        return jnp.mean(jnp.square(function(*arguments).astype(jnp.float32)))

    return lambda *arguments: jax.value_and_grad(loss, tuple(range(len(arguments))))(*arguments)


def _side(function: Callable, arguments: list[jax.Array]) -> timing.Side:
    jitted = networks.jit(function)
    return timing.timed(lambda: jitted(*arguments))


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    given = parser.parse_args()
    found = measure(size=given.size, rounds=given.repeats, dtype=given.dtype)
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
