"""JPEG repair at quality 5 on ImageNet at 256², the paper's recipe.

    i2sb-train --config configs/imagenet256/jpeg5.py --workdir gs://BUCKET/jpeg5 \
        --config.data.path=DATA_DIR --config.training.init_from=WEIGHTS.safetensors

Hardware: the paper used 16 V100-32GB at batch 256, initialised from ADM's 256² weights (here as
safetensors); the number of updates and the time are not published.
Expected: FID 4.6, CA 67.9 at 1000 evaluations, FID 5.4, CA 67.5 at 100 (published, arXiv
2302.05872; not reproduced here).
"""

from configs import base


def get_config():
    """ImageNet, prepared as array_record, SDE with beta_max 0.3."""
    config = base.get_config()
    config.corruption = "jpeg-5"
    config.bridge.beta_max = 0.3
    config.bridge.deterministic = False
    config.data.source = "tfds"
    config.data.tfds_name = "imagenet2012"
    config.training.accumulation_steps = 4
    return config
