"""One network for the nine tasks of the paper on ImageNet at 256².

    i2sb-train --config configs/imagenet256/mixture.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS \
        --config.mask_file=MASKS.npz

Each picture meets one of the nine at random, evaluation picture i number i mod 9. The loss knows no
mask. Hardware as for the single tasks: 16 V100-32GB at batch 256 or the like. Initial weights:
ADM's, made ready by i2sb-import --task mixture.
Expected: no number is published for it, and none was measured here.
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """SDE with beta_max 0.3."""
    return recipe.imagenet256("mixture", beta_max=0.3, deterministic=False)
