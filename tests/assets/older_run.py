"""The run in 96e2f41.tar.xz, as it was trained then."""

from i2sb_jax.configs import base


def get_config():
    config = base.get_config()
    config.corruption = "sr4x-pool"
    config.image_size = 16
    config.model.model_channels = 4
    config.model.channel_mult = (1.0, 2.0)
    config.model.num_res_blocks = 1
    config.model.attention_downsamples = ()
    config.model.head_channels = 4
    config.model.norm_groups = 2
    config.data.source = "synthetic"
    config.optimizer.learning_rate = 1e-3
    config.training.num_steps = 4
    config.training.batch_size = 4
    config.training.log_every = 1
    config.training.image_every = 100
    config.training.checkpoint_every = 4
    config.training.keep_checkpoints = 1
    config.sampling.nfe = 2
    config.sampling.batch_size = 2
    return config
