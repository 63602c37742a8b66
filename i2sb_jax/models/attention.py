"""Self-attention over the positions of a feature map (arXiv 2105.05233, section 3)."""

from collections.abc import Callable
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.models.conv import flax_dense
from i2sb_jax.models.cpu.attention import attention_by_heads
from i2sb_jax.models.initializers import fan_in_uniform
from i2sb_jax.models.norm import make_norm

PerDevice: TypeAlias = Callable[[Callable[..., jax.Array]], Callable[..., jax.Array]]

SHORTEST_BY_CUDNN = 64  # positions: fewer have logits that are no burden


def attention(
    query: jax.Array, key: jax.Array, value: jax.Array, *, per_device: PerDevice | None = None
) -> jax.Array:
    """Computes softmax attention.

    On an NVIDIA GPU by cuDNN where it has a kernel, whose logits are never in memory; there reverse
    mode works, and forward mode does not.

    Args:
        query: [batch, T, heads, d].
        key: [batch, T, heads, d].
        value: [batch, T, heads, d].
        per_device: as of `UNet`.

    Returns:
        [batch, T, heads, d].
    """
    # A loop over heads and pictures, which the compiler does not divide among devices.
    by_heads = attention_by_heads if per_device is None else per_device(attention_by_heads)
    elsewhere = jax.nn.dot_product_attention
    by_cudnn = attention_by_cudnn if cudnn_has(query, key, value) else elsewhere
    return jax.lax.platform_dependent(
        query, key, value, cpu=by_heads, cuda=by_cudnn, default=elsewhere
    )


def attention_by_cudnn(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Computes softmax attention by cuDNN's fused kernel."""
    return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")


def cudnn_has(query: jax.Array, key: jax.Array, value: jax.Array) -> bool:
    """Whether the cuDNN that is installed, if any, has a fused kernel for arrays like these.

    It takes two bytes a value, and GPUs from Ampere (compute capability 8) on; JAX knows the rest.
    """
    if query.dtype not in (jnp.bfloat16, jnp.float16) or query.shape[1] < SHORTEST_BY_CUDNN:
        return False
    capabilities = [getattr(device, "compute_capability", "") for device in jax.local_devices()]
    if any(capability.startswith(("5.", "6.", "7.")) for capability in capabilities):
        return False
    try:
        jax.eval_shape(attention_by_cudnn, query, key, value)
    except (NotImplementedError, RuntimeError):  # of head sizes; of a missing cuDNN
        return False
    return True


class AttentionBlock(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, c]: x + Project(Attention(Norm(x))).

    The 3c channels of the qkv projection are ordered head by head and, inside a head, query, key,
    value. The output projection starts at zero, so a new block is the identity.

    Attributes:
        head_channels: channels a head; divides c.
        norm_groups: groups of the normalisation; divides c. None: none.
        dtype: of the computation.
        per_device: as of `UNet`.
    """

    head_channels: int
    norm_groups: int | None
    dtype: np.dtype
    per_device: PerDevice | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = make_norm(self.norm_groups, name="norm")(x)
        qkv = nn.Dense(
            3 * channels, dtype=self.dtype, kernel_init=fan_in_uniform, dot_general=flax_dense,
            name="qkv",
        )(h)  # fmt: skip
        qkv = qkv.reshape(batch, height * width, -1, 3 * self.head_channels)
        h = attention(*jnp.split(qkv, 3, axis=-1), per_device=self.per_device)
        h = nn.Dense(
            channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, dot_general=flax_dense,
            name="proj_out",
        )(h.reshape(x.shape))  # fmt: skip
        return x + h
