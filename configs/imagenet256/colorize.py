"""Colouring grey photographs, ImageNet at 256².

    i2sb-train --config configs/imagenet256/colorize.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS

The network sees X_t and the grey picture side by side, and N(0, 1) is added to X_1: one grey
picture has many colourings. Hardware: 16 V100-32GB at batch 256 or the like. Initial weights:
ADM's, made ready by i2sb-import --task colorize, which adds three input channels.
Expected: no number is published for it, and none was measured here.
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """SDE with beta_max 0.3, conditioned on X_1."""
    return recipe.imagenet256("colorize", beta_max=0.3, deterministic=False)
