"""Deblurring (Gaussian kernel) on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/blur_gauss.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS \
        --config.data.eval_list=LIST

Hardware: the paper used 16 V100-32GB at batch 256; the number of updates and the time are not
published. Initial weights: ADM's, made ready by i2sb-import --task blur-gauss.
Expected: FID 3.0, CA 75.0 at 1000 evaluations, on the 10,000 pictures of LIST (Palette's subset,
one name a line) (published, arXiv 2302.05872; not reproduced here).
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """OT-ODE with beta_max 1.0."""
    return recipe.imagenet256("blur-gauss", beta_max=1.0, deterministic=True)
