"""Checkpoints written by the I²SB authors' training (`latest.pt`) as parameters of `UNet`.

Such a file holds the network's state dict under `net`, its names behind a prefix, and the averaged
weights under `ema` as a list in PyTorch's parameter order, without names. The optimizer beside them
is never read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from i2sb_jax.config import nearest
from i2sb_jax.interop.adm import (
    ParameterEntry,
    check_names,
    explain_inputs,
    parameter_table,
    params_from_state_dict,
)
from i2sb_jax.interop.mapped import float_array
from i2sb_jax.interop.weight_files import read_weights_file
from i2sb_jax.interop.wrapped import FIRST_KERNEL, without_wrappers
from i2sb_jax.models.architecture import UNetConfig
from i2sb_jax.types import Params

WEIGHTS = ("ema", "net")
_PREFIX = "diffusion_model."


def load_i2sb(path: epath.PathLike, config: UNetConfig, *, weights: str = "ema") -> Params:
    """Parameters of `UNet(config)` from a `latest.pt`.

    Args:
        path: local or gs://.
        config: the network: six input channels for a task that sees X_1 beside X_t.
        weights: "ema" for the averaged weights, which are sampled from, or "net".

    Returns:
        Nested dict of float32 arrays, mapped and not copied where the file is float32.

    Raises:
        ValueError: the file cannot be read, or its tensors are not the network's or not finite; one
            line.
    """
    return i2sb_params(read_weights_file(path), config, weights=weights)


def i2sb_params(contents: Any, config: UNetConfig, *, weights: str) -> Params:
    """Returns `load_i2sb` of what was read."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights={weights!r} is not known: {nearest(str(weights), WEIGHTS)}")
    if not is_i2sb(contents):
        raise ValueError("there is no 'net' with an 'ema' beside it: not a checkpoint of I²SB")
    for part in ("net", "ema"):
        if not isinstance(contents[part], Mapping):
            kind = type(contents[part]).__name__
            raise ValueError(f"its {part!r} is no table of tensors but of type {kind}")
    table = list(parameter_table(config))
    named = without_wrappers(contents["net"])
    net = {name.removeprefix(_PREFIX): value for name, value in named.items()}
    if len(net) < len(named):
        raise ValueError(f"its 'net' names a tensor twice, with and without {_PREFIX}")
    # the averages have no names: the network's tell whether they are the right ones
    check_names(net, table)
    tensors = net if weights == "net" else _averages(contents["ema"], table)
    shape = float_array(FIRST_KERNEL, tensors[FIRST_KERNEL]).shape
    if len(shape) == 4 and shape[1] != config.in_channels:
        raise ValueError(explain_inputs(shape[1], config.in_channels))
    return params_from_state_dict(tensors, config)


def is_i2sb(contents: Any) -> bool:
    """Whether the contents of a file of weights are laid out as I²SB's checkpoints."""
    return isinstance(contents, Mapping) and "net" in contents and "ema" in contents


def _averages(ema: Mapping[str, Any], table: Sequence[ParameterEntry]) -> dict[str, Any]:
    """The averaged weights under their names: PyTorch's parameter order is the table's."""
    averages = ema.get("shadow_params")
    if not isinstance(averages, list | tuple) or len(averages) != len(table):
        count = len(averages) if isinstance(averages, list | tuple) else "no"
        raise ValueError(
            f"ema.shadow_params holds {count} tensors and the network has {len(table)}: "
            "--weights net takes the network's own"
        )
    return {entry.torch_name: value for entry, value in zip(table, averages, strict=True)}
