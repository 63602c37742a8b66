"""The Inception network of the Fréchet distance, from pytorch-fid's weights.

Inception v3 (Szegedy et al. 2015, arXiv 1512.00567) as the graph that TensorFlow published on
2015-12-05 computes it, which the weights of pytorch-fid (Apache 2.0) are a port of. It differs from
torchvision's network in its pooling: means count no padding, and the last block takes a maximum.

Batch normalisation is folded into the convolutions, in float64.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.evaluation.resize import resize_bilinear, unit_range
from i2sb_jax.interop.mapped import float_array
from i2sb_jax.types import Array, Params

INPUT_SIZE = 299
FEATURES = 2048
_NORM_EPS = 1e-3
_SMALLEST = 75  # the smallest input that leaves the last blocks a pixel

# What evaluation is defined at: TPU and H100 would multiply float32 in bfloat16 or TF32.
PRECISION = jax.lax.Precision.HIGHEST


def inception_features(weights: Mapping[str, np.ndarray], images: Array) -> jax.Array:
    """Features of pictures, of which the Fréchet distance compares mean and covariance.

    Args:
        weights: PyTorch name -> array, of pt_inception-2015-12-05-6726825d.pth.
        images: uint8 [batch, h, w, 3], resized here.

    Returns:
        float32 [batch, 2048], not negative: the last block's mean over positions ("pool3").

    Raises:
        ValueError: as `inception_params`, or the images are of another type or shape.
    """
    return features_from_params(inception_params(weights), images)


def features_from_params(params: Params, images: Array) -> jax.Array:
    """Returns `inception_features` by converted weights: for jit, `params` an argument."""
    x = 2 * resize_bilinear(unit_range(images), INPUT_SIZE) - 1
    return Inception().apply({"params": params}, x)


def inception_params(weights: Mapping[str, np.ndarray]) -> Params:
    """Parameters of `Inception`.

    Args:
        weights: PyTorch name -> array; more than the network needs may be there (fc, AuxLogits).

    Returns:
        Nested dict of float32 arrays: block, convolution, then kernel [h, w, in, out] and bias.

    Raises:
        ValueError: a tensor is missing, has another shape or is none of floats; one line, on the
            first of them.
    """
    x = jax.ShapeDtypeStruct((1, _SMALLEST, _SMALLEST, 3), jnp.float32)
    table = jax.eval_shape(Inception().init, jax.random.key(0), x)["params"]

    def convert(table: Params, path: tuple[str, ...]) -> Params:
        if "kernel" in table:
            prefix = ".".join(path)
            shape = table["kernel"].shape
            return folded_conv(weights, f"{prefix}.conv", f"{prefix}.bn", shape, eps=_NORM_EPS)
        return {name: convert(inner, (*path, name)) for name, inner in table.items()}

    return convert(table, ())


def folded_conv(
    weights: Mapping[str, np.ndarray],
    conv: str,
    norm: str,
    shape: tuple[int, int, int, int],
    *,
    eps: float,
) -> dict[str, np.ndarray]:
    """A convolution without bias and the batch normalisation behind it, as one convolution.

    γ(Wx − μ)/√(v + eps) + β = (γ/√(v + eps) W)x + (β − γμ/√(v + eps)).

    Args:
        weights: PyTorch name -> array.
        conv: the convolution's PyTorch name.
        norm: the normalisation's.
        shape: the kernel's, [h, w, in, out].
        eps: added to the variance.

    Returns:
        float32 kernel [h, w, in, out] and bias [out].

    Raises:
        ValueError: as `tensor`.
    """
    height, width, received, returned = shape
    kernel = tensor(weights, f"{conv}.weight", (returned, received, height, width))
    gamma, beta, mean, variance = (
        tensor(weights, f"{norm}.{name}", (returned,)).astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + eps)
    kernel = kernel.transpose(2, 3, 1, 0) * scale
    return {
        "kernel": kernel.astype(np.float32),
        "bias": (beta - mean * scale).astype(np.float32),
    }


def tensor(weights: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array called `name`; ValueError, one line, unless it is there and of floats and fits."""
    if name not in weights:
        raise ValueError(f"the weights have no {name}, a tensor of shape {shape}")
    array = float_array(name, weights[name])
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array


class Inception(nn.Module):
    """float32 [batch, 299, 299, 3] in [-1, 1] -> [batch, 2048]; 75 pixels a side are enough."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the network."""
        x = _conv(x, "Conv2d_1a_3x3", 32, (3, 3), strides=2, padding="VALID")
        x = _conv(x, "Conv2d_2a_3x3", 32, (3, 3), padding="VALID")
        x = _conv(x, "Conv2d_2b_3x3", 64, (3, 3))
        x = _halving_max(x)
        x = _conv(x, "Conv2d_3b_1x1", 80, (1, 1))
        x = _conv(x, "Conv2d_4a_3x3", 192, (3, 3), padding="VALID")
        x = _halving_max(x)
        for name, pool_features in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(pool_features, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        widths = (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192))
        for name, width in widths:
            x = BlockC(width, name=name)(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE("mean", name="Mixed_7b")(x)
        x = BlockE("max", name="Mixed_7c")(x)
        return jnp.mean(x, axis=(1, 2))


class BlockA(nn.Module):
    """Branches of 1x1, 5x5 and twice 3x3, [batch, 35, 35, c] -> [batch, 35, 35, 224 + …].

    Attributes:
        pool_features: channels of the pooling branch.
    """

    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        one = _conv(x, "branch1x1", 64, (1, 1))
        five = _conv(x, "branch5x5_1", 48, (1, 1))
        five = _conv(five, "branch5x5_2", 64, (5, 5))
        double = _conv(x, "branch3x3dbl_1", 64, (1, 1))
        double = _conv(double, "branch3x3dbl_2", 96, (3, 3))
        double = _conv(double, "branch3x3dbl_3", 96, (3, 3))
        pool = _conv(_mean_pool(x), "branch_pool", self.pool_features, (1, 1))
        return jnp.concatenate([one, five, double, pool], axis=-1)


class BlockB(nn.Module):
    """Halves the grid: [batch, 35, 35, 288] -> [batch, 17, 17, 768]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        three = _conv(x, "branch3x3", 384, (3, 3), strides=2, padding="VALID")
        double = _conv(x, "branch3x3dbl_1", 64, (1, 1))
        double = _conv(double, "branch3x3dbl_2", 96, (3, 3))
        double = _conv(double, "branch3x3dbl_3", 96, (3, 3), strides=2, padding="VALID")
        return jnp.concatenate([three, double, _halving_max(x)], axis=-1)


class BlockC(nn.Module):
    """7x7 taken apart into rows and columns, [batch, 17, 17, 768] -> the same shape.

    Attributes:
        width: channels inside the branches.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        width = self.width
        one = _conv(x, "branch1x1", 192, (1, 1))
        seven = _conv(x, "branch7x7_1", width, (1, 1))
        seven = _conv(seven, "branch7x7_2", width, (1, 7))
        seven = _conv(seven, "branch7x7_3", 192, (7, 1))
        double = _conv(x, "branch7x7dbl_1", width, (1, 1))
        double = _conv(double, "branch7x7dbl_2", width, (7, 1))
        double = _conv(double, "branch7x7dbl_3", width, (1, 7))
        double = _conv(double, "branch7x7dbl_4", width, (7, 1))
        double = _conv(double, "branch7x7dbl_5", 192, (1, 7))
        pool = _conv(_mean_pool(x), "branch_pool", 192, (1, 1))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(nn.Module):
    """Halves the grid: [batch, 17, 17, 768] -> [batch, 8, 8, 1280]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        three = _conv(x, "branch3x3_1", 192, (1, 1))
        three = _conv(three, "branch3x3_2", 320, (3, 3), strides=2, padding="VALID")
        seven = _conv(x, "branch7x7x3_1", 192, (1, 1))
        seven = _conv(seven, "branch7x7x3_2", 192, (1, 7))
        seven = _conv(seven, "branch7x7x3_3", 192, (7, 1))
        seven = _conv(seven, "branch7x7x3_4", 192, (3, 3), strides=2, padding="VALID")
        return jnp.concatenate([three, seven, _halving_max(x)], axis=-1)


class BlockE(nn.Module):
    """Branches that fork into a row and a column, [batch, 8, 8, c] -> [batch, 8, 8, 2048].

    Attributes:
        pooling: "mean" or "max", what the pooling branch takes over 3x3.
    """

    pooling: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        one = _conv(x, "branch1x1", 320, (1, 1))
        three = _fork(_conv(x, "branch3x3_1", 384, (1, 1)), "branch3x3_2")
        double = _conv(x, "branch3x3dbl_1", 448, (1, 1))
        double = _fork(_conv(double, "branch3x3dbl_2", 384, (3, 3)), "branch3x3dbl_3")
        pool = {"mean": _mean_pool, "max": _max_pool}[self.pooling](x)
        pool = _conv(pool, "branch_pool", 192, (1, 1))
        return jnp.concatenate([one, *three, *double, pool], axis=-1)


def _conv(
    x: jax.Array,
    name: str,
    features: int,
    size: tuple[int, int],
    *,
    strides: int = 1,
    padding: str = "SAME",
) -> jax.Array:
    """A convolution of the module that calls this, its normalisation folded in, and ReLU."""
    conv = nn.Conv(
        features, size, strides, padding, precision=PRECISION, name=name,
        kernel_init=nn.initializers.zeros,
    )  # fmt: skip
    return nn.relu(conv(x))


def _fork(x: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
    return _conv(x, f"{name}a", 384, (1, 3)), _conv(x, f"{name}b", 384, (3, 1))


def _mean_pool(x: jax.Array) -> jax.Array:
    """Mean over 3x3 of the positions that lie in the picture: padding is not counted."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _max_pool(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def _halving_max(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")
