"""A small JPEG repairer for a comparison of corruptions: the network and budget of all its rows.

    i2sb-train --config experiments/jpeg_file/small.py:jpeg-file-5-90 --workdir runs/jpeg/file

What follows the colon is the corruption. README.md has the commands, times and results.
"""

from i2sb_jax.configs import small_adm


def get_config(corruption="jpeg-file-5-90"):
    """The small ADM with a level more, on windows of four blocks by four."""
    config = small_adm.get_config()
    config.corruption = corruption
    config.image_size = 32  # of windows: a step costs little, and restoring takes any size
    config.bridge.beta_max = 0.3
    config.model.channel_mult = (1.0, 1.0, 1.0)
    config.training.num_steps = 4000
    config.training.batch_size = 8
    config.training.log_every = 100
    config.training.image_every = 1000
    config.training.checkpoint_every = 1000
    config.sampling.batch_size = 16
    return config
