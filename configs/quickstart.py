"""Deblurring real photographs on a laptop's CPU.

i2sb-train --config configs/quickstart.py --workdir runs/quickstart
"""

from configs import base


def get_config():
    """A 0.8 M-parameter network on native-resolution windows of scikit-image's photographs."""
    config = base.get_config()
    config.corruption = "blur-gauss-exact"
    config.image_size = 64
    config.bridge.beta_max = 1.0
    config.bridge.deterministic = True
    config.model.model_channels = 32
    config.model.channel_mult = (1.0, 2.0)
    config.model.num_res_blocks = 1
    config.model.attention_downsamples = (2,)
    config.model.head_channels = 32
    config.model.norm_groups = 8
    config.data.source = "photos"
    config.data.crop = "window"
    config.data.quarter_turns = True
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.training.num_steps = 1000
    config.training.batch_size = 8
    config.training.ema_decay = 0.99
    config.training.log_every = 50
    config.training.image_every = 500
    config.training.checkpoint_every = 500
    config.sampling.sampler = "ode"
    return config
