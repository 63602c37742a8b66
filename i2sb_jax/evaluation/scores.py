"""Measures of each picture, in one program for a batch of them.

All of it is of pictures as they are saved: in 8 bits, truncated, as the paper's protocol has it
(I²SB section 4). Only of paired data of other types it is of floats.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from i2sb_jax import metrics
from i2sb_jax.evaluation import inception, resnet
from i2sb_jax.evaluation.lpips import lpips_from_params
from i2sb_jax.evaluation.networks import INCEPTION, LPIPS, RESNET50, Network
from i2sb_jax.types import Array

PSNR_Y, SSIM_Y = "psnr_y", "ssim_y"
_LPIPS_SIDE = 64  # below, its deepest layers see next to nothing


def score_arrays(
    networks: Mapping[str, Network],
    *,
    side: int,
    channels: int,
    border: int = 0,
    is_colour: bool = True,
) -> dict[str, str]:
    """Which scores there are of pictures of a size: name -> name of its array in a store.

    Those of a network have its weights' version in the array's name, so that scores by other
    weights are never taken for them.

    Args:
        networks: by name.
        side: of the pictures, pixels.
        channels: of the pictures.
        border: pixels that are left out on each side where luma is measured.
        is_colour: whether three channels are RGB, which luma is made of.
    """
    arrays = {"psnr": "psnr"}
    if side >= metrics.SSIM_SIDE:
        arrays["ssim"] = "ssim"
    if channels == 3 and is_colour and side > 2 * border:
        arrays[PSNR_Y] = f"{PSNR_Y}-{border}"
        if side - 2 * border >= metrics.SSIM_SIDE:
            arrays[SSIM_Y] = f"{SSIM_Y}-{border}"
    for name, network in networks.items():
        if channels == 3 and (name != LPIPS or side >= _LPIPS_SIDE):
            arrays[name] = f"{name}-{network.version}"
    return arrays


def make_score_fn(
    networks: Mapping[str, Network], arrays: Mapping[str, str], *, border: int = 0
) -> Callable[..., dict[str, jax.Array]]:
    """A pure, un-jitted (parameters by network, restored, clean, valid=None) -> scores.

    Args:
        networks: by name.
        arrays: from `score_arrays`.
        border: as there.

    Returns:
        The function of pictures [batch, h, w, c], uint8 or float32 in [-1, 1], and of pairs what
        of them is data, bool [batch, h, w, 1]: where it is none, pictures count as equal. It gives
        float32 [batch] for psnr and psnr_y (dB, at most 100), ssim, ssim_y and lpips; for inception
        the features [batch, 2048]; for resnet50 the classes int32 [batch]; by their arrays' names.
    """

    def score(params, restored, clean, valid=None):
        if valid is not None:
            restored = jnp.where(valid, restored, clean)
        x, y = _unit(restored), _unit(clean)
        found = {"psnr": metrics.capped_psnr(y, x, valid=valid)}
        if "ssim" in arrays:
            found["ssim"] = metrics.ssim(y, x, valid=valid)
        if PSNR_Y in arrays:
            luma_psnr = metrics.psnr_y(y, x, border=border, valid=valid)
            found[PSNR_Y] = jnp.minimum(luma_psnr, metrics.MOST_PSNR)
        if SSIM_Y in arrays:
            found[SSIM_Y] = metrics.ssim_y(y, x, border=border, valid=valid)
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
