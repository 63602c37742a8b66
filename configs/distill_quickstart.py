"""One step instead of ten: a student of the quickstart's bridge, on two CPU cores.

    $ i2sb-train --config configs/quickstart.py --workdir runs/sde \
        --config.bridge.deterministic=False --config.sampling.sampler=ddpm
    $ i2sb-train --config configs/distill_quickstart.py --workdir runs/student \
        --config.teacher=runs/sde

The teacher is trained as an SDE: an OT-ODE, which the quickstart itself is, has no law of X_0 to
learn. `--config.sampling.nfe` is how many steps the student learns to take, 1 to 4 as a rule.
Hardware: two CPU cores, under 20 minutes. Expected: experiments/distill/README.md.
"""

from configs import quickstart


def get_config():
    """The quickstart's task and network."""
    config = quickstart.get_config()
    config.bridge.deterministic = False
    config.sampling.sampler = "ddpm"
    config.sampling.nfe = 1
    config.optimizer.learning_rate = 1e-3
    config.training.num_steps = 900
    config.training.log_every = 20
    config.training.image_every = 300
    config.training.checkpoint_every = 300
    return config
