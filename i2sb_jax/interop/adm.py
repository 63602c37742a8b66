"""ADM's PyTorch weights (guided-diffusion, MIT licence) as parameters of `i2sb_jax.models.UNet`."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from i2sb_jax.models.architecture import BlockSpec, UNetConfig, block_plan

# What a PyTorch tensor of each layout is called along its axes, and the same for Flax. An axis
# "1" has length one and exists on one side only.
LAYOUTS = {
    "vector": ("o", "o"),
    "linear": ("oi", "io"),
    "pointwise_1d": ("oi1", "io"),
    "conv_2d": ("oihw", "hwio"),
}

_SHOWN = 5  # how many names an error message lists


class ParameterEntry(NamedTuple):
    """One tensor.

    Attributes:
        torch_name: in guided-diffusion's state dict.
        flax_path: keys from the root of the parameters down.
        layout: a key of LAYOUTS.
        torch_shape: the tensor's shape in PyTorch.
    """

    torch_name: str
    flax_path: tuple[str, ...]
    layout: str
    torch_shape: tuple[int, ...]


def parameter_table(config: UNetConfig) -> Iterator[ParameterEntry]:
    """Every parameter of a network under both its names, in PyTorch's parameter order.

    Args:
        config: the network.

    Yields:
        One entry a tensor.
    """
    base, wide = config.model_channels, config.time_channels
    plan = block_plan(config)
    finest = config.level_channels[0]

    yield from _linear("time_embed.0", ("time_embed", "dense_0"), base, wide)
    yield from _linear("time_embed.2", ("time_embed", "dense_1"), wide, wide)
    yield from _conv("input_blocks.0.0", ("conv_in",), config.in_channels, finest, 3)
    for i, stage in enumerate(plan.down, start=1):
        for j, block in enumerate(stage):
            yield from _block(f"input_blocks.{i}.{j}", block, wide)
    for j, block in enumerate(plan.middle):
        yield from _block(f"middle_block.{j}", block, wide)
    for i, stage in enumerate(plan.up):
        for j, block in enumerate(stage):
            yield from _block(f"output_blocks.{i}.{j}", block, wide)
    yield from _norm("out.0", ("norm_out",), finest)
    yield from _conv("out.2", ("conv_out",), finest, config.out_channels, 3)


def _block(prefix: str, block: BlockSpec, time_channels: int) -> Iterator[ParameterEntry]:
    name, received, returned = block.name, block.in_channels, block.out_channels
    if block.kind == "attention":
        yield from _norm(f"{prefix}.norm", (name, "norm"), received)
        yield from _pointwise(f"{prefix}.qkv", (name, "qkv"), received, 3 * received)
        yield from _pointwise(f"{prefix}.proj_out", (name, "proj_out"), received, received)
        return
    yield from _norm(f"{prefix}.in_layers.0", (name, "norm_in"), received)
    yield from _conv(f"{prefix}.in_layers.2", (name, "conv_in"), received, returned, 3)
    yield from _linear(f"{prefix}.emb_layers.1", (name, "emb"), time_channels, 2 * returned)
    yield from _norm(f"{prefix}.out_layers.0", (name, "norm_out"), returned)
    yield from _conv(f"{prefix}.out_layers.3", (name, "conv_out"), returned, returned, 3)
    if received != returned:
        yield from _conv(f"{prefix}.skip_connection", (name, "skip"), received, returned, 1)


def _norm(name: str, path: tuple[str, ...], channels: int) -> Iterator[ParameterEntry]:
    yield ParameterEntry(f"{name}.weight", (*path, "scale"), "vector", (channels,))
    yield ParameterEntry(f"{name}.bias", (*path, "bias"), "vector", (channels,))


def _linear(name: str, path: tuple[str, ...], fan_in: int, out: int) -> Iterator[ParameterEntry]:
    yield ParameterEntry(f"{name}.weight", (*path, "kernel"), "linear", (out, fan_in))
    yield ParameterEntry(f"{name}.bias", (*path, "bias"), "vector", (out,))


def _pointwise(name: str, path: tuple[str, ...], fan_in: int, out: int) -> Iterator[ParameterEntry]:
    yield ParameterEntry(f"{name}.weight", (*path, "kernel"), "pointwise_1d", (out, fan_in, 1))
    yield ParameterEntry(f"{name}.bias", (*path, "bias"), "vector", (out,))


def _conv(
    name: str, path: tuple[str, ...], fan_in: int, out: int, size: int
) -> Iterator[ParameterEntry]:
    shape = (out, fan_in, size, size)
    yield ParameterEntry(f"{name}.weight", (*path, "kernel"), "conv_2d", shape)
    yield ParameterEntry(f"{name}.bias", (*path, "bias"), "vector", (out,))


def to_flax_layout(tensor: np.ndarray, layout: str) -> np.ndarray:
    """A view of a PyTorch tensor with Flax's axes; `layout` is a key of LAYOUTS."""
    torch_axes, flax_axes = LAYOUTS[layout]
    kept = [axis for axis in torch_axes if axis != "1"]
    index = tuple(0 if axis == "1" else slice(None) for axis in torch_axes)
    return tensor[index].transpose([kept.index(axis) for axis in flax_axes])


def to_torch_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """The inverse of `to_flax_layout`, also a view."""
    torch_axes, flax_axes = LAYOUTS[layout]
    kept = [axis for axis in torch_axes if axis != "1"]
    index = tuple(None if axis == "1" else slice(None) for axis in torch_axes)
    return array.transpose([flax_axes.index(axis) for axis in kept])[index]


def params_from_state_dict(
    state_dict: Mapping[str, np.ndarray], config: UNetConfig
) -> dict[str, Any]:
    """Parameters of `UNet(config)` from a guided-diffusion state dict.

    Args:
        state_dict: guided-diffusion's name to array, in PyTorch's layout. All tensors of the
            network and nothing else.
        config: the network.

    Returns:
        Nested dict of float32 arrays: views of the given ones where these are float32.

    Raises:
        ValueError: tensors are missing or surplus, or one has another shape than the network's.
    """
    table = list(parameter_table(config))
    expected = {entry.torch_name for entry in table}
    missing = [entry.torch_name for entry in table if entry.torch_name not in state_dict]
    surplus = [name for name in state_dict if name not in expected]
    problems = [
        f"{len(names)} {what}: {', '.join(map(str, names[:_SHOWN]))}"
        + (", …" if len(names) > _SHOWN else "")
        for what, names in (("missing", missing), ("surplus", surplus))
        if names
    ]
    if problems:
        raise ValueError(f"tensor names do not fit the network; {'; '.join(problems)}")

    params: dict[str, Any] = {}
    for entry in table:
        tensor = np.asarray(state_dict[entry.torch_name])
        if tensor.shape != entry.torch_shape:
            raise ValueError(
                f"{entry.torch_name} has shape {tensor.shape}, expected {entry.torch_shape}"
            )
        node = params
        for key in entry.flax_path[:-1]:
            node = node.setdefault(key, {})
        node[entry.flax_path[-1]] = to_flax_layout(
            tensor.astype(np.float32, copy=False), entry.layout
        )
    return params


def adapt_adm_channels(
    state_dict: Mapping[str, np.ndarray], config: UNetConfig, *, seed: int
) -> dict[str, np.ndarray]:
    """Fits the first and last convolution of a released ADM file to another number of channels.

    ADM's networks output a mean and a learned variance, 6 channels: the first `out_channels` are
    kept. A conditional network has more inputs than the file: the file's come first, where the
    image goes, and the others are drawn from U(±1/sqrt(fan_in)), as for a new convolution.

    Args:
        state_dict: guided-diffusion's name to array; not changed.
        config: the network wanted.
        seed: of the new weights.

    Returns:
        The state dict with `input_blocks.0.0` and `out.2` fitted. Whatever cannot be fitted is left
        alone, for `params_from_state_dict` to refuse by name.
    """
    adapted = dict(state_dict)
    for name in ("out.2.weight", "out.2.bias"):
        if name in adapted:
            adapted[name] = np.asarray(adapted[name])[: config.out_channels]
    name = "input_blocks.0.0.weight"
    if name in adapted:
        kernel = np.asarray(adapted[name], np.float32)
        added = config.in_channels - kernel.shape[1] if kernel.ndim == 4 else 0
        if added > 0:
            bound = (config.in_channels * kernel[0, 0].size) ** -0.5
            rng = np.random.Generator(np.random.PCG64(seed))
            shape = (kernel.shape[0], added, *kernel.shape[2:])
            new = rng.uniform(-bound, bound, shape).astype(np.float32)
            adapted[name] = np.concatenate([kernel, new], axis=1)
    return adapted
