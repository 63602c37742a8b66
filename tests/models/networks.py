"""The networks behind the golden files, and cheaper ones."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from i2sb_jax.interop.adm import parameter_table, params_from_state_dict
from i2sb_jax.models import UNetConfig
from tests.golden import synthetic

GOLDEN = Path(synthetic.__file__).parent

TINY = UNetConfig(
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_downsamples=(2,),
    head_channels=32,
)
COND = dataclasses.replace(TINY, in_channels=6)
DEEP = UNetConfig(
    model_channels=32,
    channel_mult=(1, 2, 2, 4),
    num_res_blocks=2,
    attention_downsamples=(2, 4, 8),
    head_channels=32,
)
# The least that has every kind of block.
SMALL = UNetConfig(
    model_channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_downsamples=(2,),
    head_channels=4,
    norm_groups=4,
)
# One level: what differentiation and recomputation need, quick to compile.
FLAT = UNetConfig(
    model_channels=8,
    channel_mult=(1,),
    num_res_blocks=1,
    attention_downsamples=(),
    head_channels=4,
    norm_groups=4,
)


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """PyTorch tensor name to shape, in parameter order."""
    shapes = json.loads((GOLDEN / f"{name}_manifest.json").read_text())
    return {key: tuple(shape) for key, shape in shapes.items()}


def golden_state_dict(name: str, *, in_channels: int = 3) -> dict[str, np.ndarray]:
    """The golden weights of a manifest, for 3 or more input channels."""
    shapes = manifest(name)
    first = "input_blocks.0.0.weight"
    shapes[first] = (shapes[first][0], in_channels, *shapes[first][2:])
    return {key: synthetic.hashed_unet_weight(key, shape) for key, shape in shapes.items()}


def hashed_params(config: UNetConfig) -> dict:
    """Hashed weights for any config, none of them zero."""
    table = parameter_table(config)
    state = {e.torch_name: synthetic.hashed_unet_weight(e.torch_name, e.torch_shape) for e in table}
    return params_from_state_dict(state, config)
