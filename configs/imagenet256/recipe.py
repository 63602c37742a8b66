"""What all tasks of the paper share: ADM's network and ImageNet at 256², prepared as array_record.

The initial weights are ADM's, `256x256_diffusion_uncond.pt` of openai/guided-diffusion (MIT):

    i2sb-import --source 256x256_diffusion_uncond.pt --task TASK --workdir WEIGHTS
"""

import ml_collections

from i2sb_jax.configs import base


def imagenet256(
    corruption: str, *, beta_max: float, deterministic: bool
) -> ml_collections.ConfigDict:
    """The base, which is the paper's recipe, for one of its tasks.

    Args:
        corruption: the task.
        beta_max: 0.3 for JPEG and super-resolution, 1.0 for blurs and inpainting.
        deterministic: False: SDE; True: OT-ODE, without noise in training and in sampling.
    """
    config = base.get_config()
    config.corruption = corruption
    config.bridge.beta_max = beta_max
    config.bridge.deterministic = deterministic
    config.data.source = "tfds"
    config.data.tfds_name = "imagenet2012"
    config.training.accumulation_steps = 4
    config.sampling.sampler = "ode" if deterministic else "ddpm"
    return config
