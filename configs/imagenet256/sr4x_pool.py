"""4× super-resolution of 4×4 block means on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/sr4x_pool.py --workdir gs://BUCKET/sr4x_pool \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS.safetensors

Hardware: the paper used 16 V100-32GB at batch 256, initialised from ADM's 256² weights (here as
safetensors); the number of updates and the time are not published.
Expected: FID 2.7, CA 71.0 at 1000 evaluations (published, arXiv 2302.05872; not reproduced here).
"""

from configs import base


def get_config():
    """ImageNet, prepared as array_record, SDE with beta_max 0.3."""
    config = base.get_config()
    config.corruption = "sr4x-pool"
    config.bridge.beta_max = 0.3
    config.bridge.deterministic = False
    config.data.source = "tfds"
    config.data.tfds_name = "imagenet2012"
    config.training.accumulation_steps = 4
    return config
