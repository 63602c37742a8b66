"""Day to night: general translation, the network conditioned on X_1, the paper's recipe.

    i2sb-train --config configs/translation/day2night.py --workdir runs/day2night \
        --config.data.path=night2day/train --config.data.eval_path=night2day/val

Data: pix2pix's night2day (17,823 pairs of webcams), each picture 256×512. Look at one: the side
with the day is data.source_side. Without eval_path, data.group_pattern must name the webcam.
Hardware: the paper used 16 V100-32GB at batch 256. Initial weights: ADM's 256² network by
training.init_from, its 3 input channels kept and the condition's 3 new; without, it starts afresh.
Expected: FID 196.3 at 1 evaluation, 185.8 at 5, 153.6 at 1000 (published, arXiv 2302.05872; not
reproduced here).
"""

from i2sb_jax.configs.translation import edges2shoes


def get_config():
    """The recipe of edges→shoes, SDE with beta_max 0.3; the day is the right half."""
    config = edges2shoes.get_config()
    config.data.path = "night2day/train"
    config.data.source_side = "right"
    return config
