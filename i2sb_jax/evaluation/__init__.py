"""Measuring restorations by the paper's protocol, and showing them (I²SB section 4).

`evaluate` restores, `scores` measures pictures and `figures` sets of them; `job` is all of it.
"""

from i2sb_jax.evaluation.evaluate import evaluate
from i2sb_jax.evaluation.frechet import FeatureMoments, frechet_distance, load_statistics
from i2sb_jax.evaluation.inception import inception_features
from i2sb_jax.evaluation.kernel import kernel_distance
from i2sb_jax.evaluation.resnet import resnet50_logits

__all__ = [
    "FeatureMoments",
    "evaluate",
    "frechet_distance",
    "inception_features",
    "kernel_distance",
    "load_statistics",
    "resnet50_logits",
]
