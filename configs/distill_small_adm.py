"""One step instead of ten: a student of the small ADM's bridge, on two CPU cores.

    $ i2sb-train --config configs/small_adm.py --workdir runs/sde \
        --config.bridge.deterministic=False --config.sampling.sampler=ddpm
    $ i2sb-train --config configs/distill_small_adm.py --workdir runs/student \
        --config.teacher=runs/sde

The teacher is trained as an SDE: an OT-ODE, which `configs/small_adm.py` is, has no law of X_0 to
learn. `--config.sampling.nfe` is how many steps the student learns to take, 1 to 4 as a rule.
Hardware: two CPU cores, under 20 minutes. Expected: experiments/distill/README.md.
"""

from i2sb_jax.configs import small_adm


def get_config():
    """The small ADM's task and network."""
    config = small_adm.get_config()
    config.bridge.deterministic = False
    config.sampling.sampler = "ddpm"
    config.sampling.nfe = 1
    config.optimizer.learning_rate = 1e-3
    config.training.num_steps = 900
    config.training.log_every = 20
    config.training.image_every = 300
    config.training.checkpoint_every = 300
    return config
