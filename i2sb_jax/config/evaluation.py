"""The evaluation section: files that metrics need, none of which is downloaded."""

import dataclasses

from i2sb_jax.config.checks import path_field


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Weights of the networks that metrics look through, and statistics to compare with."""

    inception: str = path_field()
    resnet50: str = path_field()
    lpips_backbone: str = path_field()
    lpips_linear: str = path_field()
    reference_stats: str = path_field()
