"""The configuration as frozen dataclasses: the second and third of three gates.

A field is a key, with its default and its meaning; `python -m i2sb_jax.config` prints all of them.
Gate 1 is the locked ConfigDict of `configs/base.py`, where a misspelt key raises. Gate 2 is
`from_config_dict`, which takes a plain mapping and refuses unknown or missing keys. Gate 3 is each
`__post_init__`, which checks ranges and what must fit together before any device is touched.
"""

from i2sb_jax.config.checks import nearest
from i2sb_jax.config.data import PAIRS, SOURCES, WITH_NAMES, DataConfig
from i2sb_jax.config.evaluation import EvaluationConfig
from i2sb_jax.config.mapping import (
    check_key,
    defaults,
    flatten,
    from_config_dict,
    map_paths,
    to_dict,
)
from i2sb_jax.config.run import check_same_run, has_run, load, save
from i2sb_jax.config.sampling import (
    SamplingConfig,
    check_consistency,
    check_nfe,
    check_realism,
    check_sampler,
    check_spacing,
    check_student,
    check_x1_tells,
)
from i2sb_jax.config.sections import (
    SCHEDULES,
    BridgeConfig,
    Config,
    DistillConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingConfig,
    check_seed,
    profile_span,
)

__all__ = [
    "PAIRS",
    "SCHEDULES",
    "SOURCES",
    "WITH_NAMES",
    "BridgeConfig",
    "Config",
    "DataConfig",
    "DistillConfig",
    "EvaluationConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SamplingConfig",
    "TrainingConfig",
    "check_consistency",
    "check_key",
    "check_nfe",
    "check_realism",
    "check_same_run",
    "check_sampler",
    "check_seed",
    "check_spacing",
    "check_student",
    "check_x1_tells",
    "defaults",
    "flatten",
    "from_config_dict",
    "has_run",
    "load",
    "map_paths",
    "nearest",
    "profile_span",
    "save",
    "to_dict",
]
