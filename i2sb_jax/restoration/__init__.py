"""Restoring pictures with a trained bridge."""

from i2sb_jax.restoration.load import load_model
from i2sb_jax.restoration.restorer import Restorer

__all__ = ["Restorer", "load_model"]
