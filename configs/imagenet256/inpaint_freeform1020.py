"""Inpainting of brush strokes over 10–20 % on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/inpaint_freeform1020.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS \
        --config.data.eval_list=LIST --config.mask_file=MASKS.npz

Hardware: the paper used 16 V100-32GB at batch 256; the number of updates and the time are not
published. Initial weights: ADM's, made ready by i2sb-import --task inpaint-freeform1020.
Expected: FID 2.9, CA 74.9 at 1000 evaluations, FID 4.1 at a single one, on the 10,000 pictures of
LIST (Palette's subset, one name a line) (published, arXiv 2302.05872; not reproduced here).
MASKS.npz holds the paper's masks; without it strokes of the same areas are drawn.
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """OT-ODE with beta_max 1.0."""
    return recipe.imagenet256("inpaint-freeform1020", beta_max=1.0, deterministic=True)
