"""ADM in small on a blur of the paper, in minutes on two CPU cores: what the studies share.

    $ i2sb-train --config configs/small_adm.py --workdir runs/small_adm

The paper's operator keeps 64 % of the light and darkens the border of every window; photographs
that a lens blurred are `configs/quickstart.py`. Hardware: two CPU cores, about five minutes.
Expected: experiments/nfe_sweep and experiments/distill, where it is trained as an SDE.
"""

from i2sb_jax.configs import base


def get_config():
    """A 0.19 M-parameter network on native-resolution windows of scikit-image's photographs."""
    config = base.get_config()
    config.corruption = "blur-gauss-exact"
    config.image_size = 64
    config.bridge.beta_max = 1.0
    config.bridge.deterministic = True
    config.model.model_channels = 24
    config.model.channel_mult = (1.0, 1.0)
    config.model.num_res_blocks = 1
    config.model.attention_downsamples = ()
    config.model.head_channels = 24
    config.model.norm_groups = 4
    config.data.source = "photos"
    config.data.crop = "window"
    config.data.quarter_turns = True
    config.data.shuffle_channels = True
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.training.num_steps = 1000
    config.training.batch_size = 4
    config.training.log_every = 50
    config.training.image_every = 500
    config.training.checkpoint_every = 500
    config.sampling.sampler = "ode"
    return config
