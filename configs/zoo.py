"""The models that ship: small networks for photographs, learnt from a folder of them.

    $ python -m experiments.models.photographs photographs
    $ i2sb-train --config configs/zoo.py:jpeg --config.data.path=photographs --workdir runs/jpeg

and likewise :deblur, :denoise and :sr4x. Hardware: hours on CPU cores, or some minutes of one GPU
(experiments/models/gpu.py). Expected: experiments/models/README.md.
"""

from i2sb_jax.configs import quickstart

TASKS = {
    "jpeg": "jpeg-told-5-95",
    "deblur": "blur-photo-0-2.5",
    "denoise": "noise-0-60",
    "sr4x": "sr4x-photo",
}


def get_config(task="jpeg"):
    """1.7 M parameters, two resolutions, neither normalisation nor attention."""
    config = quickstart.get_config()
    config.corruption = TASKS[task]
    config.image_size = 128
    config.bridge.log_floor = {"jpeg": 0.001, "denoise": 0.0003, "deblur": 0.005}.get(task, 0.02)
    config.model.channel_mult, config.model.num_res_blocks = (1.0, 2.0), 1
    config.model.sharpened = (0.8, 1.1, 1.5, 2.0) if task == "deblur" else ()
    config.model.thresholded = (2.2, 2.8, 3.4) if task == "denoise" else ()
    config.data.source = "folder"
    config.data.grain = {"jpeg": (0.0, 3.0), "deblur": (0.0, 2.0)}.get(task, (0.0, 0.0))
    config.optimizer.warmup_steps = 200
    config.training.num_steps, config.training.batch_size = 20_000, 32
    config.training.image_every, config.training.checkpoint_every = 5000, 1000
    return config
