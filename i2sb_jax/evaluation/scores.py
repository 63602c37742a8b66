"""Measures of each picture, in one program for a batch of them.

All of it is of pictures as they are saved: in 8 bits, truncated, as the paper's protocol has it
(I²SB section 4). Only of paired data of other types it is of floats.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from i2sb_jax import metrics
from i2sb_jax.evaluation import inception, resnet
from i2sb_jax.evaluation.lpips import lpips_from_params
from i2sb_jax.evaluation.networks import INCEPTION, LPIPS, RESNET50, Network
from i2sb_jax.types import Array

_EXACT = 100.0  # dB, so that perfect pictures count
_LPIPS_SIDE = 64  # below, its deepest layers see next to nothing


def score_arrays(networks: Mapping[str, Network], *, side: int, channels: int) -> dict[str, str]:
    """Which scores there are of pictures of a size: name -> name of its array in a store.

    Those of a network have its weights' version in the array's name, so that scores by other
    weights are never taken for them.
    """
    arrays = {"psnr": "psnr"}
    if side >= metrics.SSIM_SIDE:
        arrays["ssim"] = "ssim"
    for name, network in networks.items():
        if channels == 3 and (name != LPIPS or side >= _LPIPS_SIDE):
            arrays[name] = f"{name}-{network.version}"
    return arrays


def make_score_fn(
    networks: Mapping[str, Network], arrays: Mapping[str, str]
) -> Callable[[Mapping[str, Any], Array, Array], dict[str, jax.Array]]:
    """A pure, un-jitted (parameters by network, restored, clean) -> scores.

    Args:
        networks: by name.
        arrays: from `score_arrays`.

    Returns:
        The function of pictures [batch, h, w, c], uint8 or float32 in [-1, 1]. It gives
        float32 [batch] for psnr (dB, at most 100), ssim and lpips; for inception the features
        [batch, 2048]; for resnet50 the classes int32 [batch]; under the names in `arrays`.
    """

    def score(params, restored, clean):
        x, y = _unit(restored), _unit(clean)
        found = {"psnr": jnp.minimum(metrics.psnr(y, x), _EXACT)}
        if "ssim" in arrays:
            found["ssim"] = metrics.ssim(y, x)
        if LPIPS in arrays:
            found[LPIPS] = lpips_from_params(params[LPIPS], x, y)
        if INCEPTION in arrays:
            found[INCEPTION] = inception.features_from_params(params[INCEPTION], _bytes(restored))
        if RESNET50 in arrays:
            logits = resnet.logits_from_params(params[RESNET50], _bytes(restored))
            found[RESNET50] = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return {array: found[name] for name, array in arrays.items()}

    return score


def _unit(images: Array) -> jax.Array:
    """Pictures in [-1, 1]."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 127.5 - 1.0
    return images


def _bytes(images: Array) -> jax.Array:
    """Pictures in 8 bits, truncated."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images
    return jnp.clip((images + 1.0) * 127.5, 0, 255).astype(jnp.uint8)
