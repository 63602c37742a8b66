"""The ADM U-Net: a time-conditioned network from images to images."""

from i2sb_jax.models.architecture import UNetConfig, adm_256
from i2sb_jax.models.unet import UNet, init_params, make_network

__all__ = ["UNet", "UNetConfig", "adm_256", "init_params", "make_network"]
