"""Grain of a sensor or a film, on both sides of the bridge: what a network should leave alone."""

import tensorflow as tf

from i2sb_jax.data import host_only  # noqa: F401

_PHILOX = "philox"  # named, for the default may differ between machines


def add_grain(
    key: tf.Tensor, square: tf.Tensor, draw: tf.Tensor, grain: tuple[float, float]
) -> tf.Tensor:
    """Adds Gaussian noise of one standard deviation, drawn for the whole square.

    A photograph's file ends at black and white, grain or not, and so does what corruptions take:
    values beyond are clipped before both sides are made of them. They are not rounded, for whole
    levels would take small grain away.

    Args:
        key: stateless seeds, int [2].
        square: uint8 [h, w, 3].
        draw: uniform in [0, 1), the place of the standard deviation between its bounds.
        grain: lower and upper bound, in levels.

    Returns:
        float32 [h, w, 3], in levels within 0 … 255.
    """
    std = grain[0] + draw * (grain[1] - grain[0])
    noise = tf.random.stateless_normal(square.shape, key, alg=_PHILOX)
    return tf.clip_by_value(tf.cast(square, tf.float32) + std * noise, 0.0, 255.0)
