"""One's own photographs at 64, 128, 256 or 512, trained from scratch on one GPU.

    i2sb-train --config configs/folder.py:256 --workdir runs/mine --config.data.path=PHOTOGRAPHS

What follows the colon is the size of the windows, cut at native resolution: 256 if left out. The
task is to enlarge small files four times; any `--config.corruption=NAME` will do, as `real`,
`blur-photo-0-3` or `jpeg-file-5-95`. For blurs and inpainting the paper adds
`--config.bridge.beta_max=1.0 --config.bridge.deterministic=True --config.sampling.sampler=ode`.
sampling.nfe is 1, the most faithful in small studies and not measured at this size. Levels are
ADM's, at half its width: `--config.model.model_channels=256` is ADM and takes its weights at 256.
Hardware: one GPU of 16 GB or more; weights and optimizer take 2.2 GB, the rest and times are not
measured: double training.accumulation_steps when memory runs out. Expected: not measured.
"""

from i2sb_jax.configs import base

_LEVELS = {
    "64": (1.0, 2.0, 3.0, 4.0),
    "128": (1.0, 1.0, 2.0, 3.0, 4.0),
    "256": (1.0, 1.0, 2.0, 2.0, 4.0, 4.0),
    "512": (0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0),
}


def get_config(size="256"):
    """4× enlargement by SDE; attention where 32, 16 and 8 pixels are left of the side."""
    if size not in _LEVELS:
        raise ValueError(f"size {size!r}: folder.py knows {', '.join(_LEVELS)}")
    config = base.get_config()
    config.corruption, config.image_size = "sr4x-photo", int(size)
    config.bridge.end_share, config.sampling.nfe = 0.5, 1
    config.model.model_channels = 128
    config.model.channel_mult = _LEVELS[size]
    config.model.attention_downsamples = tuple(int(size) // side for side in (32, 16, 8))
    config.model.dtype, config.model.remat = "bfloat16", "blocks"
    config.data.crop = "window"
    config.optimizer.learning_rate, config.optimizer.warmup_steps = 1e-4, 1000
    config.training.num_steps, config.training.batch_size = 300_000, 32
    config.training.accumulation_steps, config.training.ema_decay = max(1, int(size) // 64), 0.999
    return config
