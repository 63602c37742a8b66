"""Features of pictures, whose sets the kernel distance compares.

With the weights of Inception they are its pool3 features, and the distance is KID. Without, they
are "block-DCT": of each picture the mean over all of its 8×8 blocks of log(1e-2 + |coefficient|),
for each of the 64 coefficients of luma, blue and red chroma (192 numbers, pixels in [-1, 1]; the
floor is a grey level and a quarter). They tell how much there is of each frequency, and thus how
sharp and how grainy a picture is, not what it shows. Each is standardised by the mean and the
standard deviation of the clean pictures, so that the kernel sees all frequencies alike. This is not
KID, and comparable to no published number.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from i2sb_jax.config import EvaluationConfig
from i2sb_jax.corruptions import constants
from i2sb_jax.evaluation.inception import features_from_params
from i2sb_jax.evaluation.networks import INCEPTION, load_networks

_FLOOR = 1e-2
_BLOCK = 8
_AT_ONCE = 8  # pictures that Inception sees


class Features(NamedTuple):
    """What the kernel distance looks at.

    Attributes:
        name: for settings: results of other features are never taken for these.
        title: of the distance, in tables and figures.
        extract: uint8 [n, h, w, 3] -> [n, d].
        standardised: whether by the clean pictures' mean and standard deviation.
    """

    name: str
    title: str
    extract: Callable[[np.ndarray], np.ndarray]
    standardised: bool


def block_dct(images: np.ndarray) -> np.ndarray:
    """The features "block-DCT" of this module.

    Args:
        images: uint8 [n, h, w, 3], sides at least 8; what is no whole block at the lower and right
            borders is left out.

    Returns:
        float64 [n, 192].
    """
    height, width = (side // _BLOCK * _BLOCK for side in images.shape[1:3])
    if not height or not width:
        raise ValueError(f"block-DCT needs pictures of at least {_BLOCK} pixels: {images.shape}")
    x = images[:, :height, :width].astype(np.float64) / 127.5 - 1
    x = np.einsum("dc,nhwc->ndhw", constants.YCBCR_FROM_RGB, x)
    # n: picture, d: channel, (i, j): block, (y, x): pixel in its block, (u, v): frequency
    blocks = x.reshape(len(x), 3, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    half = np.einsum("uy,ndiyjx->ndiujx", constants.DCT, blocks)
    coefficients = np.einsum("vx,ndiujx->ndiujv", constants.DCT, half)
    return np.log(_FLOOR + np.abs(coefficients)).mean(axis=(2, 4)).reshape(len(x), -1)


def make_features(inception: str | None, *, any_weights: bool = False) -> Features:
    """Block-DCT, or Inception's where its weights are named.

    Raises:
        ValueError: the file will not do; one line.
    """
    if inception is None:
        return Features("block-DCT", "kernel distance (block-DCT)", block_dct, True)
    paths = EvaluationConfig(
        inception=inception, resnet50="", lpips_backbone="", lpips_linear="", reference_stats=""
    )
    networks, left_out = load_networks(paths, any_weights=any_weights)
    if INCEPTION not in networks:
        raise ValueError(left_out[INCEPTION])
    network = networks[INCEPTION]
    params, run = jax.device_put(network.params), jax.jit(features_from_params)

    def pool3(images: np.ndarray) -> np.ndarray:
        found = []
        with jax.default_matmul_precision("highest"):
            for start in range(0, len(images), _AT_ONCE):
                part = images[start : start + _AT_ONCE]
                padded = np.concatenate([part, *[part[-1:]] * (_AT_ONCE - len(part))])
                found.append(np.asarray(run(params, padded))[: len(part)])
        return np.concatenate(found).astype(np.float64)

    return Features(f"Inception pool3 {network.version}", "KID (Inception pool3)", pool3, False)


def standardiser(clean: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """(features [n, d]) -> those in units of the clean pictures' spread around their mean.

    What all clean pictures have alike has no such unit, and only loses its mean.
    """
    mean, std = clean.mean(axis=0), clean.std(axis=0)
    std = np.where(std > 1e-9, std, 1.0)
    return lambda features: (features - mean) / std
