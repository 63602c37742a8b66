"""Photographs out of focus, sharpened: from nothing to whole pictures on two CPU cores.

`make quickstart` runs this; by hand it is

    $ i2sb-train --config configs/quickstart.py --workdir runs/quickstart

One evaluation at X_1 is the most faithful answer, so nine tenths of the training look there and
sampling.nfe is 1. Neither normalisation nor attention: a pixel sees its surroundings alone, and a
picture of any size comes back as its tiles do. Hardware: two CPU cores, seven minutes;
`make quickstart` installs, restores and measures too, and takes nine. Expected: the last table of
docs/howto/measure.md.
"""

from i2sb_jax.configs import base


def get_config():
    """A 0.55 M-parameter network on windows of scikit-image's photographs, some of them reduced."""
    config = base.get_config()
    config.corruption = "blur-photo-0-2.5"
    config.image_size = 64
    config.bridge.beta_max, config.bridge.deterministic = 1.0, True
    config.bridge.end_share, config.bridge.log_floor = 0.9, 0.02
    config.model.model_channels, config.model.channel_mult = 48, (1.0,)
    config.model.patch, config.model.norm = 2, "none"
    config.model.sharpened = (0.8, 1.1, 1.5, 2.0)
    config.model.attention_downsamples, config.model.middle_attention = (), False
    config.data.source, config.data.crop = "photos", "window"
    config.data.quarter_turns, config.data.shuffle_channels = True, True
    config.data.scales, config.data.grain = (1.0, 1.0, 1.0, 0.5), (0.0, 2.0)
    config.optimizer.learning_rate, config.optimizer.schedule = 1e-3, "cosine"
    config.optimizer.warmup_steps, config.optimizer.clip_norm = 50, 1.0
    config.training.num_steps, config.training.batch_size = 2000, 8
    config.training.log_every = 50
    config.training.image_every, config.training.checkpoint_every = 1000, 1000
    config.sampling.sampler, config.sampling.nfe = "ode", 1
    return config
