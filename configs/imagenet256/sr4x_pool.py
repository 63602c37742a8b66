"""4× super-resolution of 4×4 block means on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/sr4x_pool.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS

Hardware: the paper used 16 V100-32GB at batch 256; the number of updates and the time are not
published. Initial weights: ADM's, made ready by i2sb-import --task sr4x-pool.
Expected: FID 2.7, CA 71.0 at 1000 evaluations on all 50,000 validation pictures (published, arXiv
2302.05872; not reproduced here).
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """SDE with beta_max 0.3."""
    return recipe.imagenet256("sr4x-pool", beta_max=0.3, deterministic=False)
