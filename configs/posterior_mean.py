"""Texture on top of a shipped model's answer: a bridge from the mean of what X_0 may be to one X_0.

    $ i2sb-train --config configs/posterior_mean.py:jpeg --config.data.path=photographs \
        --workdir runs/jpeg-texture

and likewise :deblur, :denoise and :sr4x. The shipped model (configs/zoo.py) is frozen, and each
picture starts at what it answers, with noise, for a flow that leads on from there: PMRF (arXiv
2410.00418). Hardware: as configs/zoo.py; a step is a forward pass of the shipped model
longer. Expected, of minutes of one CPU core without that noise: about half the kernel distance to
clean photographs of the shipped model's answer, and half a dB less PSNR
(experiments/after_i2sb/study.md).
"""

from i2sb_jax.configs import zoo


def get_config(task="jpeg"):
    """The network, data and task of the shipped model; all steps of the bridge, not the last."""
    config = zoo.get_config(task)
    config.bridge.name, config.bridge.start = "linear", task
    config.bridge.end_share = config.bridge.log_floor = 0.0
    config.sampling.nfe = 5
    return config
