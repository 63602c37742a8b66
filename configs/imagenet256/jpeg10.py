"""JPEG repair at quality 10 on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/jpeg10.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS \
        --config.data.eval_list=LIST

Hardware: the paper used 16 V100-32GB at batch 256; the number of updates and the time are not
published. Initial weights: ADM's, made ready by i2sb-import --task jpeg-10.
Expected: FID 3.6, CA 72.1 at 1000 evaluations, FID 4.4, CA 71.6 at 100, on the 10,000 pictures of
LIST (Palette's subset, one name a line) (published, arXiv 2302.05872; not reproduced here).
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """SDE with beta_max 0.3."""
    return recipe.imagenet256("jpeg-10", beta_max=0.3, deterministic=False)
