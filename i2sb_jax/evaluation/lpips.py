"""LPIPS, the learned perceptual distance of two pictures, with its published weights.

Zhang et al. 2018 (arXiv 1801.03924), version 0.1 of the authors' package (BSD), on the features of
torchvision's AlexNet or VGG16:

    d(a, b) = Σ_l mean_{h,w} Σ_c w_lc (â_lhwc − b̂_lhwc)²,

where â_l are the activations of stage l divided by their norm over channels and w_l is learned and
not negative. Which of the two networks it is, the weights' shapes tell.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.evaluation.inception import PRECISION, tensor
from i2sb_jax.types import Array, Params

# The package's "scaling layer": ImageNet's mean and deviation for pictures in [-1, 1], rounded.
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32).reshape(1, 1, 1, 3)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32).reshape(1, 1, 1, 3)
_NORM_EPS = 1e-10
_FIRST_KERNEL = "features.0.weight"


class _Conv(NamedTuple):
    """A convolution of the network: its place in torchvision's `features`, and what it does."""

    index: int
    features: int
    size: int = 3
    strides: int = 1
    padding: int = 1


class _Backbone(NamedTuple):
    """A network up to its last convolution.

    Attributes:
        name: for messages.
        stages: convolutions, each followed by ReLU; the end of a stage is compared.
        pooled: for each stage, whether a maximum halves the grid before it.
        pool_size: of that maximum, whose stride is 2.
        smallest: the shortest side that leaves the last stage a pixel.
    """

    name: str
    stages: tuple[tuple[_Conv, ...], ...]
    pooled: tuple[bool, ...]
    pool_size: int
    smallest: int

    @property
    def convs(self) -> list[tuple[_Conv, tuple[int, int, int, int]]]:
        """Every convolution with the shape of its kernel, [out, in, h, w]."""
        found, received = [], 3
        for conv in (conv for stage in self.stages for conv in stage):
            found.append((conv, (conv.features, received, conv.size, conv.size)))
            received = conv.features
        return found


_ALEXNET = _Backbone(
    name="AlexNet",
    stages=(
        (_Conv(0, 64, size=11, strides=4, padding=2),),
        (_Conv(3, 192, size=5, padding=2),),
        (_Conv(6, 384),),
        (_Conv(8, 256),),
        (_Conv(10, 256),),
    ),
    pooled=(False, True, True, False, False),
    pool_size=3,
    smallest=31,
)
_VGG16 = _Backbone(
    name="VGG16",
    stages=(
        (_Conv(0, 64), _Conv(2, 64)),
        (_Conv(5, 128), _Conv(7, 128)),
        (_Conv(10, 256), _Conv(12, 256), _Conv(14, 256)),
        (_Conv(17, 512), _Conv(19, 512), _Conv(21, 512)),
        (_Conv(24, 512), _Conv(26, 512), _Conv(28, 512)),
    ),
    pooled=(False, True, True, True, True),
    pool_size=2,
    smallest=16,
)


def lpips(
    backbone: Mapping[str, np.ndarray], linear: Mapping[str, np.ndarray], a: Array, b: Array
) -> jax.Array:
    """The distance of each pair of pictures; 0 for equal ones.

    Args:
        backbone: torchvision's name -> array, of alexnet-owt-7be5be79.pth or vgg16-397923af.pth.
        linear: name -> array, of the LPIPS package's weights/v0.1/alex.pth or vgg.pth.
        a: floats [batch, h, w, 3] in [-1, 1]; sides of at least 31 (AlexNet) or 16 (VGG16).
        b: same shape.

    Returns:
        float32 [batch].

    Raises:
        ValueError: as `lpips_params`, or the pictures are too small or do not fit each other; one
            line.
    """
    return lpips_from_params(lpips_params(backbone, linear), a, b)


def lpips_params(backbone: Mapping[str, np.ndarray], linear: Mapping[str, np.ndarray]) -> Params:
    """Parameters for `lpips_from_params`.

    Args:
        backbone: as for `lpips`; more than the network needs may be there (classifier.…).
        linear: as for `lpips`.

    Returns:
        Dict of float32 arrays: features_N with kernel [h, w, in, out] and bias, and lin0 … lin4
        with one weight a channel.

    Raises:
        ValueError: a tensor is missing, has another shape or is none of floats, or the two files
            are of different networks; one line, on the first of them.
    """
    if _FIRST_KERNEL not in backbone:
        raise ValueError(f"the weights have no {_FIRST_KERNEL}: AlexNet or VGG16 is needed")
    network = _network(np.shape(backbone[_FIRST_KERNEL])[1:])
    params: dict[str, Params] = {}
    for conv, shape in network.convs:
        name = f"features.{conv.index}"
        kernel = tensor(backbone, f"{name}.weight", shape).transpose(2, 3, 1, 0)
        bias = tensor(backbone, f"{name}.bias", shape[:1])
        params[f"features_{conv.index}"] = {
            "kernel": kernel.astype(np.float32),
            "bias": bias.astype(np.float32),
        }
    for stage, convs in enumerate(network.stages):
        features = convs[-1].features
        try:
            weight = tensor(linear, f"lin{stage}.model.1.weight", (1, features, 1, 1))
        except ValueError as error:
            raise ValueError(f"linear weights for {network.name}: {error}") from None
        params[f"lin{stage}"] = weight.reshape(features).astype(np.float32)
    return params


def lpips_from_params(params: Params, a: Array, b: Array) -> jax.Array:
    """Returns `lpips` by converted weights: for jit, with `params` an argument."""
    height, width, received, _ = params["features_0"]["kernel"].shape
    network = _network((received, height, width))
    _check_pictures(network, a, b)
    pair = jnp.stack([jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)])
    # One program run twice, not one over both: where code is vectorised, what a picture rounds to
    # depends on its place, and the distance of equal pictures would not be 0.
    stages = jax.lax.map(lambda x: _stages(network, params, (x - _SHIFT) / _SCALE), pair)
    distance = jnp.zeros(a.shape[0], jnp.float32)
    for stage, (unit_a, unit_b) in enumerate(stages):
        squares = jnp.square(unit_a - unit_b)
        weighted = jnp.einsum("bhwc,c->bhw", squares, params[f"lin{stage}"], precision=PRECISION)
        distance += jnp.mean(weighted, axis=(1, 2))
    return distance


def _network(kernel: tuple[int, ...]) -> _Backbone:
    """The network whose first convolution has a kernel of shape [in, h, w]."""
    for network in (_ALEXNET, _VGG16):
        if network.convs[0][1][1:] == kernel:
            return network
    raise ValueError(
        f"{_FIRST_KERNEL} is of shape (…, {', '.join(map(str, kernel))}), and AlexNet's is of "
        "(64, 3, 11, 11), VGG16's of (64, 3, 3, 3)"
    )


def _check_pictures(network: _Backbone, a: Array, b: Array) -> None:
    if a.ndim != 4 or a.shape[3] != 3 or a.shape != b.shape:
        raise ValueError(
            f"a has shape {a.shape} and b {b.shape}, both must be the same [batch, h, w, 3]"
        )
    if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in (a, b)):
        raise ValueError(f"a is {a.dtype} and b {b.dtype}, both must be floats in [-1, 1]")
    if min(a.shape[1:3]) < network.smallest:
        raise ValueError(
            f"LPIPS with {network.name} needs pictures of at least "
            f"{network.smallest}x{network.smallest}, got {a.shape[1]}x{a.shape[2]}"
        )


def _stages(network: _Backbone, params: Params, x: jax.Array) -> list[jax.Array]:
    """The unit activations at the end of every stage, [batch, h_l, w_l, c_l]."""
    window = (network.pool_size, network.pool_size)
    ends = []
    for convs, pooled in zip(network.stages, network.pooled, strict=True):
        if pooled:
            x = nn.max_pool(x, window, (2, 2), "VALID")
        for conv in convs:
            layer = nn.Conv(
                conv.features, (conv.size, conv.size), conv.strides, conv.padding,
                precision=PRECISION,
            )  # fmt: skip
            x = nn.relu(layer.apply({"params": params[f"features_{conv.index}"]}, x))
        ends.append(_unit(x))
    return ends


def _unit(features: jax.Array) -> jax.Array:
    """Activations [batch, h, w, c] of length one over channels; zero where nothing is active."""
    norm = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
    return features / (norm + _NORM_EPS)
