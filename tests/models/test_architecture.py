"""The configuration refuses what cannot be built."""

import dataclasses

import jax.numpy as jnp
import pytest

from i2sb_jax.models import adm_256
from i2sb_jax.models.architecture import block_plan
from tests.models.networks import SMALL


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_channels", 0, "model_channels is 0, must be a positive integer"),
        ("model_channels", 64.0, "model_channels is 64.0, must be a positive integer"),
        ("model_channels", 9, "model_channels is 9, must be even"),
        ("model_channels", 10, "level 0 has 10 channels .* multiple of norm_groups 4"),
        ("channel_mult", (), "channel_mult is empty"),
        ("channel_mult", (1, 1.25), "level 1 has 10 channels .*1.25.*norm_groups 4"),
        ("channel_mult", (1, 0), "level 1 has 0 channels"),
        ("num_res_blocks", 0, "num_res_blocks is 0"),
        ("attention_downsamples", (3,), "attention_downsamples has 3, with 2 levels .* 1, 2"),
        ("attention_downsamples", (4,), "attention_downsamples has 4"),
        ("head_channels", 12, "level 1 has attention over 16 channels, .* head_channels 12"),
        ("in_channels", -3, "in_channels is -3"),
        ("out_channels", True, "out_channels is True"),
        ("norm_groups", 0, "norm_groups is 0"),
        ("dropout", 1.0, r"dropout is 1.0, must be in \[0, 1\)"),
        ("dropout", float("nan"), "dropout is nan"),
        ("dtype", jnp.float16, "dtype is .*float16.*, must be float32 or bfloat16"),
        ("dtype", "half", "dtype is 'half'"),
        ("remat", "all", "remat is 'all', must be one of none, blocks, dots"),
    ],
)
def test_bad_values_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **{field: value})


def test_unknown_override_is_an_error():
    with pytest.raises(TypeError, match="chanels"):
        adm_256(chanels=3)


def test_adm_256_levels():
    config = adm_256()
    assert config.level_channels == (256, 256, 512, 512, 1024, 1024)
    assert config.downsampling_factor == 32
    config.check_size(256, 384)
    with pytest.raises(ValueError, match="nearest right size is 256x416"):
        config.check_size(260, 400)


def test_adm_at_512_fits():
    config = adm_256(channel_mult=(0.5, 1, 1, 2, 2, 4, 4), attention_downsamples=(16, 32, 64))
    assert config.level_channels[0] == 128
    assert config.downsampling_factor == 64


def test_plan_has_unique_names_and_one_skip_a_stage():
    plan = block_plan(adm_256())
    stages = [*plan.down, plan.middle, *plan.up]
    names = [block.name for stage in stages for block in stage]
    assert len(set(names)) == len(names)
    assert len(plan.up) == len(plan.down) + 1
    assert plan.middle[0].in_channels == plan.down[-1][-1].out_channels
    attention = [block for stage in stages for block in stage if block.kind == "attention"]
    assert len(attention) == 3 * 2 + 1 + 3 * 3
