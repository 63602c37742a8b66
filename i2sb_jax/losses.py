"""The losses of `i2sb_jax.learning.losses`, under the name that they are known by."""

from i2sb_jax.learning.losses import (
    bridge_loss,
    bridge_losses,
    inverse_bridge_losses,
    valid_mean,
)

__all__ = ["bridge_loss", "bridge_losses", "inverse_bridge_losses", "valid_mean"]
