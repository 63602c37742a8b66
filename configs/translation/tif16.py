"""One's own measurements: 16-bit .tif of two channels to one, as in fluorescence microscopy.

    i2sb-train --config configs/translation/tif16.py --workdir runs/tif16 \
        --config.data.path=low --config.data.target_path=high \
        --config.data.group_pattern='fov[0-9]+'

Files of the two folders have the same names, such as fov012_t03.tif; a field of view is never both
trained on and held out. Windows are cut at native resolution, and outputs have the targets' type
and units. Hardware: one GPU with 16 GB. Expected: no published number.
"""

from i2sb_jax.configs import base


def get_config():
    """A 15 M-parameter OT-ODE on windows of 128², values by percentiles of the training side."""
    config = base.get_config()
    config.corruption = "pairs"
    config.image_size = 128
    config.bridge.beta_max = 1.0
    config.bridge.deterministic = True
    config.model.model_channels = 64
    config.model.channel_mult = (1.0, 2.0, 2.0, 4.0)
    config.model.num_res_blocks = 1
    config.model.attention_downsamples = (8,)
    config.data.source = "pairs"
    config.data.path = "low"
    config.data.target_path = "high"
    config.data.source_channels = 2
    config.data.target_channels = 1
    config.data.cond_x1 = True
    config.data.scaling = "percentiles"
    config.data.crop = "window"
    config.data.quarter_turns = True
    config.optimizer.learning_rate = 2e-4
    config.training.num_steps = 100_000
    config.training.batch_size = 16
    config.sampling.sampler = "ode"
    return config
