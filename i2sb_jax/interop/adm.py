"""ADM's PyTorch weights (guided-diffusion, MIT licence) as parameters of `i2sb_jax.models.UNet`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from i2sb_jax.config import flatten
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.corruptions.names import MIXTURE_NAMES
from i2sb_jax.finite import in_words, is_finite
from i2sb_jax.interop.mapped import float_array
from i2sb_jax.interop.weight_files import read_weights_file
from i2sb_jax.interop.wrapped import FIRST_KERNEL, unwrap
from i2sb_jax.models.architecture import BlockSpec, UNetConfig, block_plan
from i2sb_jax.types import Params

# What a PyTorch tensor of each layout is called along its axes, and the same for Flax. An axis
# "1" has length one and exists on one side only.
LAYOUTS = {
    "vector": ("o", "o"),
    "linear": ("oi", "io"),
    "pointwise_1d": ("oi1", "io"),
    "conv_2d": ("oihw", "hwio"),
}

# what ADM's networks have in common, beside the groups of their normalisation
_ALWAYS = {
    "patch": 1, "norm": "group", "middle_attention": True, "sharpened": (), "thresholded": (),
}  # fmt: skip
_CLASSES = "label_emb."  # how the tensor of a class-conditional network begins
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

    Raises:
        ValueError: guided-diffusion has no such network.
    """
    for name, value in _ALWAYS.items():
        if (ours := getattr(config, name)) != value:
            raise ValueError(
                f"model.{name}={ours!r}: guided-diffusion's networks always have {value!r}, so "
                "they share no weights with this one"
            )
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
            network and nothing else, of floats of any width.
        config: the network.

    Returns:
        Nested dict of float32 arrays: views of the given ones where these are float32.

    Raises:
        ValueError: tensors are missing or surplus, or one has another shape than the network's,
            is no tensor of floats, or holds what is not finite as a float32.
    """
    table = list(parameter_table(config))
    check_names(state_dict, table)
    params: dict[str, Any] = {}
    for entry in table:
        tensor = float_array(entry.torch_name, state_dict[entry.torch_name])
        if tensor.shape != entry.torch_shape:
            raise ValueError(
                f"{entry.torch_name} has shape {tensor.shape}, expected {entry.torch_shape}"
            )
        with np.errstate(over="ignore"):  # what is too large is told
            tensor = tensor.astype(np.float32, copy=False)
        if not is_finite(tensor):
            raise ValueError(f"{entry.torch_name} holds {in_words(tensor)}: weights must be finite")
        node = params
        for key in entry.flax_path[:-1]:
            node = node.setdefault(key, {})
        node[entry.flax_path[-1]] = to_flax_layout(tensor, entry.layout)
    return params


def check_names(names: Iterable[str], table: Sequence[ParameterEntry]) -> None:
    """Raises ValueError, in one line, unless `names` are those of the table, in any order."""
    names = list(names)
    have, expected = set(names), {entry.torch_name for entry in table}
    missing = [entry.torch_name for entry in table if entry.torch_name not in have]
    surplus = [name for name in names if name not in expected]
    problems = [
        f"{len(wrong)} {what}: {', '.join(map(str, wrong[:_SHOWN]))}"
        + (", …" if len(wrong) > _SHOWN else "")
        for what, wrong in (("missing", missing), ("surplus", surplus))
        if wrong
    ]
    if any(str(name).startswith(_CLASSES) for name in surplus):
        problems.append("the weights are class-conditional, and networks here know no classes")
    if problems:
        raise ValueError(f"tensor names do not fit the network; {'; '.join(problems)}")


def state_dict_from_params(params: Params, config: UNetConfig) -> dict[str, np.ndarray]:
    """A guided-diffusion state dict from parameters of `UNet(config)`.

    The inverse of `params_from_state_dict`, bit by bit.

    Args:
        params: nested dict of arrays.
        config: the network.

    Returns:
        guided-diffusion's name to array in PyTorch's layout, in PyTorch's parameter order; views
        where the parameters are numpy's.

    Raises:
        ValueError: the parameters are not the network's.
    """
    flat = flatten(params, separator="/")
    table = list(parameter_table(config))
    paths = ["/".join(entry.flax_path) for entry in table]
    if set(paths) != set(flat):
        odd = sorted(set(paths) ^ set(flat))
        raise ValueError(f"the parameters are not this network's: {odd[0]} is in one of them only")
    return {
        entry.torch_name: to_torch_layout(np.asarray(flat[path]), entry.layout)
        for path, entry in zip(paths, table, strict=True)
    }


def load_adm(path: epath.PathLike, config: UNetConfig, *, seed: int = 0) -> Params:
    """Parameters of `UNet(config)` from a released ADM file, such as 256x256_diffusion_uncond.pt.

    Args:
        path: a PyTorch file with one flat state dict, or safetensors with the same names.
        config: the network; its input and output channels may differ from the file's as
            `adapt_adm_channels` says.
        seed: of the weights of input channels that the file has not.

    Returns:
        Nested dict of float32 arrays, mapped and not copied where the file is float32.

    Raises:
        ValueError: the file cannot be read, or its tensors are not the network's or not finite.
    """
    return adm_params(unwrap(read_weights_file(path)).contents, config, seed=seed)


def adm_params(state_dict: Any, config: UNetConfig, *, seed: int = 0, adapt: bool = True) -> Params:
    """Returns `load_adm` of what was read; without `adapt` all channels must fit as they are."""
    if not is_adm(state_dict):
        raise ValueError(f"there are none of ADM's tensors in it: no {FIRST_KERNEL}")
    kernel = float_array(FIRST_KERNEL, state_dict[FIRST_KERNEL])
    wanted = config.in_channels
    given = kernel.shape[1] if kernel.ndim == 4 else wanted
    if given > wanted or (given != wanted and not adapt):
        raise ValueError(explain_inputs(given, wanted))
    if adapt:
        state_dict = adapt_adm_channels(state_dict, config, seed=seed)
    return params_from_state_dict(state_dict, config)


def is_adm(contents: Any) -> bool:
    """Whether the contents of a file of weights are a state dict with guided-diffusion's names."""
    return isinstance(contents, Mapping) and FIRST_KERNEL in contents


def explain_inputs(given: int, wanted: int) -> str:
    """One line on weights whose network takes other inputs than the task's."""
    fitting = [
        name
        for name in (*MIXTURE_NAMES, "mixture", "colorize")
        if given == (6 if corruption_facts(name).has_cond else 3)
    ]
    tasks = f"such weights fit {', '.join(fitting)}" if fitting else "no task of the paper has that"
    pairs = " and paired data with as many channels"
    return (
        f"the network of these weights takes {given} input channels, the task's takes {wanted} "
        f"(3, and 3 more where it sees X_1 beside X_t): {tasks}{pairs}"
    )


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

    Raises:
        ValueError: one of these is no tensor of floats.
    """
    adapted = dict(state_dict)
    for name in ("out.2.weight", "out.2.bias"):
        if name in adapted:
            tensor = float_array(name, adapted[name])
            adapted[name] = tensor[: config.out_channels] if tensor.ndim else tensor
    if FIRST_KERNEL in adapted:
        kernel = float_array(FIRST_KERNEL, adapted[FIRST_KERNEL])
        fits = kernel.shape[:1] + kernel.shape[2:] == (config.level_channels[0], 3, 3)
        if fits and 0 < kernel.shape[1] < config.in_channels:
            added = config.in_channels - kernel.shape[1]
            bound = (config.in_channels * 9) ** -0.5
            rng = np.random.Generator(np.random.PCG64(seed))
            shape = (kernel.shape[0], added, 3, 3)
            new = rng.uniform(-bound, bound, shape).astype(np.float32)
            kernel = np.concatenate([kernel.astype(np.float32), new], axis=1)
            adapted[FIRST_KERNEL] = kernel
    return adapted
