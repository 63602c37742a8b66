"""The network's view of the noise level: sinusoids, then a two-layer perceptron.

    e(t) = [cos(t f_0), …, cos(t f_{k-1}), sin(t f_0), …, sin(t f_{k-1})],   f_i = P^(-i/k)     (1)

with k = dim / 2 and P the longest period. Cosines come first: ADM's weights (arXiv 2105.05233)
depend on it.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.models.initializers import fan_in_uniform


def timestep_embedding(
    noise_level: jax.Array, dim: int, *, max_period: float = 10_000.0
) -> jax.Array:
    """Computes the sinusoidal embedding (Eq. 1).

    Args:
        noise_level: [batch], any real numbers; ADM's networks know 0 … 1000.
        dim: length of the embedding, even and positive.
        max_period: P.

    Returns:
        float32 [batch, dim].

    Raises:
        ValueError: `dim` is odd or not positive.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"dim is {dim}, must be even and positive")
    frequencies = sinusoid_frequencies(dim, max_period=max_period)
    angles = noise_level.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def sinusoid_frequencies(dim: int, *, max_period: float = 10_000.0) -> np.ndarray:
    """Returns f of Eq. 1, float32 [dim / 2]; arguments as of `timestep_embedding`."""
    half = dim // 2
    # Float32 throughout, roundings included, as when ADM was trained: the exact frequencies would
    # turn an angle of several hundred radians by 1e-5 or so.
    exponents = np.float32(-math.log(max_period)) * np.arange(half, dtype=np.float32)
    return np.exp(exponents / np.float32(half))


class TimeEmbedding(nn.Module):
    """[batch] -> float32 [batch, channels]: Eq. 1, then Linear-SiLU-Linear.

    Always float32: angles of up to 1000 radians mean nothing in bfloat16, and the cost is nil.

    Attributes:
        dim: length of the sinusoidal embedding.
        channels: width of both linear layers.
    """

    dim: int
    channels: int

    @nn.compact
    def __call__(self, noise_level: jax.Array) -> jax.Array:
        emb = timestep_embedding(noise_level, self.dim)
        emb = nn.Dense(self.channels, kernel_init=fan_in_uniform, name="dense_0")(emb)
        return nn.Dense(self.channels, kernel_init=fan_in_uniform, name="dense_1")(nn.silu(emb))
