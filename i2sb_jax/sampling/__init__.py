"""Sampling of pictures: each meets the same noise in any window and in any company."""

from i2sb_jax.sampling.noise import window_normal

__all__ = ["window_normal"]
