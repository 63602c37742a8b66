"""Restoring pictures with a trained bridge."""

from i2sb_jax.restoration.restorer import Restorer

__all__ = ["Restorer"]
