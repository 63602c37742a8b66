"""The golden checkpoint of I²SB: its network, a run of it, and files made after its pattern."""

from i2sb_jax.config import Config
from i2sb_jax.models import UNetConfig
from tests import golden
from tests.training.tiny import make_config

PATH = golden.FOLDER / "latest.pt"
MODEL = {
    "model_channels": 32,
    "channel_mult": (1.0, 1.0),
    "num_res_blocks": 1,
    "attention_downsamples": (2,),
    "head_channels": 32,
    "norm_groups": 32,
}
UNET = UNetConfig(**MODEL)
# as i2sb-import takes it
OVERRIDES = (
    *(f"--config.model.{key}={value}" for key, value in MODEL.items()),
    "--config.image_size=32",
)


def make_run(**overrides) -> Config:
    """The configuration of a run with that network."""
    return make_config(**{"image_size": 32, "model": MODEL, **overrides})
