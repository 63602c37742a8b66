"""Edges to shoes: general translation, the network conditioned on X_1, the paper's recipe.

    i2sb-train --config configs/translation/edges2shoes.py --workdir runs/edges2shoes \
        --config.data.path=edges2shoes/train --config.data.eval_path=edges2shoes/val

Data: pix2pix's edges2shoes (49,825 pairs), each picture 256×512 with the edges on the left.
Hardware: the paper used 16 V100-32GB at batch 256. Initial weights: ADM's 256² network by
training.init_from, its 3 input channels kept and the condition's 3 new; without, it starts afresh.
Expected: FID 73.9 at 1 evaluation, 54.2 at 5, 37.8 at 1000 (published, arXiv 2302.05872; not
reproduced here).
"""

from i2sb_jax.configs import base


def get_config():
    """SDE with beta_max 0.3 (as for JPEG: the paper states none for this task)."""
    config = base.get_config()
    config.corruption = "pairs"
    config.bridge.beta_max = 0.3
    config.bridge.deterministic = False
    config.data.source = "pairs"
    config.data.path = "edges2shoes/train"
    config.data.source_side = "left"
    config.data.cond_x1 = True
    config.training.accumulation_steps = 4
    return config
