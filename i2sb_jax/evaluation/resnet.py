"""ResNet-50, the classifier of the protocol's accuracy, from torchvision's weights.

He et al. 2015 (arXiv 1512.03385) with the stride in the 3x3 convolution ("v1.5"), as torchvision's
`resnet50` (BSD) has it; the paper's numbers are of its first weights, IMAGENET1K_V1.

Batch normalisation is folded into the convolutions, in float64.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.evaluation.inception import PRECISION, folded_conv, tensor
from i2sb_jax.evaluation.resize import resize_bicubic, unit_range
from i2sb_jax.types import Array, Params

INPUT_SIZE = 224
CLASSES = 1000
_NORM_EPS = 1e-5
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks, channels inside them
_EXPANSION = 4

# of ImageNet's pictures in [0, 1], as torchvision's networks were trained with
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 1, 3)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 1, 3)


def resnet50_logits(weights: Mapping[str, np.ndarray], images: Array) -> jax.Array:
    """Logits of ImageNet's classes for whole pictures: no crop.

    Args:
        weights: PyTorch name -> array, of resnet50-0676ba61.pth.
        images: uint8 [batch, h, w, 3], resized here.

    Returns:
        float32 [batch, 1000].

    Raises:
        ValueError: as `resnet50_params`, or the images are of another type or shape.
    """
    return logits_from_params(resnet50_params(weights), images)


def logits_from_params(params: Params, images: Array) -> jax.Array:
    """Returns `resnet50_logits` by converted weights: for jit, `params` an argument."""
    x = (resize_bicubic(unit_range(images), INPUT_SIZE) - _MEAN) / _STD
    return ResNet50().apply({"params": params}, x)


def resnet50_params(weights: Mapping[str, np.ndarray]) -> Params:
    """Parameters of `ResNet50`.

    Args:
        weights: PyTorch name -> array; more than the network needs may be there.

    Returns:
        Nested dict of float32 arrays: block, convolution, then kernel [h, w, in, out] and bias;
        "fc" has kernel [2048, 1000].

    Raises:
        ValueError: a tensor is missing, has another shape or is none of floats; one line, on the
            first of them.
    """
    x = jax.ShapeDtypeStruct((1, INPUT_SIZE, INPUT_SIZE, 3), jnp.float32)
    table = jax.eval_shape(ResNet50().init, jax.random.key(0), x)["params"]
    fan_in = table.pop("fc")["kernel"].shape[0]
    params = {}
    for name, inner in table.items():
        if "kernel" in inner:
            params[name] = _conv_params(weights, "", name, inner)
        else:
            prefix = f"{name.replace('_', '.')}."
            params[name] = {
                conv: _conv_params(weights, prefix, conv, leaf) for conv, leaf in inner.items()
            }
    kernel = tensor(weights, "fc.weight", (CLASSES, fan_in)).T
    bias = tensor(weights, "fc.bias", (CLASSES,))
    params["fc"] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    return params


def _conv_params(
    weights: Mapping[str, np.ndarray], prefix: str, name: str, table: Params
) -> dict[str, np.ndarray]:
    """Returns torchvision's conv1 and bn1, …, or downsample.0 and downsample.1, as one."""
    names = (
        (f"{name}.0", f"{name}.1") if name == "downsample" else (name, name.replace("conv", "bn"))
    )
    conv, norm = (prefix + part for part in names)
    return folded_conv(weights, conv, norm, table["kernel"].shape, eps=_NORM_EPS)


class ResNet50(nn.Module):
    """float32 [batch, h, w, 3], normalised by ImageNet's mean and std -> [batch, 1000]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the network."""
        x = nn.relu(_conv(x, "conv1", 64, 7, strides=2))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for stage, (blocks, width) in enumerate(_STAGES, start=1):
            for block in range(blocks):
                strides = 2 if stage > 1 and block == 0 else 1
                x = Bottleneck(width, strides, name=f"layer{stage}_{block}")(x)
        x = jnp.mean(x, axis=(1, 2))
        dense = nn.Dense(CLASSES, precision=PRECISION, kernel_init=nn.initializers.zeros, name="fc")
        return dense(x)


class Bottleneck(nn.Module):
    """[batch, h, w, c] -> [batch, h / strides, w / strides, 4 width].

    Attributes:
        width: channels of the 3x3 convolution.
        strides: of the 3x3 convolution and of the skip branch.
    """

    width: int
    strides: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block."""
        features = _EXPANSION * self.width
        h = nn.relu(_conv(x, "conv1", self.width, 1))
        h = nn.relu(_conv(h, "conv2", self.width, 3, strides=self.strides))
        h = _conv(h, "conv3", features, 1)
        if x.shape[-1] != features:
            x = _conv(x, "downsample", features, 1, strides=self.strides)
        return nn.relu(x + h)


def _conv(x: jax.Array, name: str, features: int, size: int, *, strides: int = 1) -> jax.Array:
    """A convolution of the module that calls this, its normalisation folded in."""
    # half the kernel on either side, as PyTorch pads: "SAME" would pad unevenly where it strides
    conv = nn.Conv(
        features, (size, size), strides, size // 2, precision=PRECISION, name=name,
        kernel_init=nn.initializers.zeros,
    )  # fmt: skip
    return conv(x)
