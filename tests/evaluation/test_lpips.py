"""LPIPS against a transcription into numpy loops, in float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.evaluation import lpips as module
from tests.golden import synthetic


@pytest.fixture(autouse=True)
def no_implicit_conversions():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


# --- the transcription: torchvision's `features`, layer by layer ---------------------------------

# ("conv", out, size, stride, padding), "relu", ("pool", size); a list's index is PyTorch's
ALEX_LAYERS = [
    *(("conv", 64, 11, 4, 2), "relu", ("pool", 3)),
    *(("conv", 192, 5, 1, 2), "relu", ("pool", 3)),
    *(("conv", 384, 3, 1, 1), "relu"),
    *(("conv", 256, 3, 1, 1), "relu"),
    *(("conv", 256, 3, 1, 1), "relu"),
]
ALEX_ENDS = (1, 4, 7, 9, 11)
VGG_WIDTHS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", *(512,) * 3, "pool")
VGG_LAYERS = [
    layer
    for width in (*VGG_WIDTHS, *(512,) * 3)
    for layer in ([("pool", 2)] if width == "pool" else [("conv", width, 3, 1, 1), "relu"])
]
VGG_ENDS = (3, 8, 15, 22, 29)


class Case(NamedTuple):
    """A network: its layers, the indices of those compared, their channels, a size of pictures."""

    layers: list
    ends: tuple[int, ...]
    channels: tuple[int, ...]
    sides: tuple[int, int]


CASES = {
    "alex": Case(ALEX_LAYERS, ALEX_ENDS, (64, 192, 384, 256, 256), (64, 47)),
    "vgg": Case(VGG_LAYERS, VGG_ENDS, (64, 128, 256, 512, 512), (33, 38)),
}
both = pytest.mark.parametrize("name", CASES)


def conv_by_taps(x, weight, bias, stride, padding):
    """NCHW convolution, one tap of the kernel after the other."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    size = weight.shape[2]
    rows, columns = ((n - size) // stride + 1 for n in x.shape[2:])
    total = np.zeros((len(x), len(weight), rows, columns)) + bias[:, None, None]
    for i in range(size):
        for j in range(size):
            seen = x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
            seen = seen[:, :, :rows, :columns]
            total += np.tensordot(weight[:, :, i, j], seen, (1, 1)).swapaxes(0, 1)
    return total


def pool_by_taps(x, size):
    rows, columns = ((n - size) // 2 + 1 for n in x.shape[2:])
    taps = [
        x[:, :, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
        for i in range(size)
        for j in range(size)
    ]
    return np.max(taps, axis=0)


def reference(case, backbone, linear, a, b, *, normalised=True):
    """The distance [batch] of NHWC pictures in [-1, 1], in float64."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x, y = (((image.astype(np.float64) - shift) / scale).transpose(0, 3, 1, 2) for image in (a, b))
    total = np.zeros(len(a))
    for index, layer in enumerate(case.layers):
        if layer == "relu":
            x, y = np.maximum(x, 0), np.maximum(y, 0)
        elif layer[0] == "pool":
            x, y = pool_by_taps(x, layer[1]), pool_by_taps(y, layer[1])
        else:
            weight = backbone[f"features.{index}.weight"].astype(np.float64)
            bias = backbone[f"features.{index}.bias"].astype(np.float64)
            x, y = (conv_by_taps(image, weight, bias, *layer[3:]) for image in (x, y))
        if index in case.ends:
            stage = case.ends.index(index)
            weight = linear[f"lin{stage}.model.1.weight"].astype(np.float64)
            lengths = [
                np.sqrt((image**2).sum(1, keepdims=True)) + 1e-10 if normalised else 1.0
                for image in (x, y)
            ]
            squares = (x / lengths[0] - y / lengths[1]) ** 2
            total += (squares * weight).sum(1).mean((1, 2))
    return total


# --- weights and pictures -------------------------------------------------------------------------


def hashed_weights(case):
    backbone, received = {"classifier.1.weight": np.zeros((2, 2), np.float32)}, 3
    for index, layer in enumerate(case.layers):
        if layer[0] == "conv":
            name = f"features.{index}"
            shape = (layer[1], received, layer[2], layer[2])
            backbone[f"{name}.weight"] = synthetic.hashed_classifier_weight(f"{name}.weight", shape)
            backbone[f"{name}.bias"] = synthetic.hashed_classifier_weight(f"{name}.bias", shape[:1])
            received = layer[1]
    linear = {
        f"lin{k}.model.1.weight": np.abs(
            synthetic.hashed_classifier_weight(f"lin{k}.model.1.weight", (1, channels, 1, 1))
        )
        for k, channels in enumerate(case.channels)
    }
    return backbone, linear


class Ready(NamedTuple):
    """What the tests of one network share."""

    backbone: dict
    linear: dict
    params: dict
    compiled: object
    a: np.ndarray
    b: np.ndarray


@pytest.fixture(scope="module")
def ready():
    return {name: make_ready(case) for name, case in CASES.items()}


def make_ready(case):
    backbone, linear = hashed_weights(case)
    height, width = case.sides
    a, b = (synthetic.photo(2, 64, seed)[:, :height, :width] for seed in (3, 4))
    params = module.lpips_params(backbone, linear)
    return Ready(backbone, linear, params, jax.jit(module.lpips_from_params), a, b)


@both
def test_agrees_with_the_transcription(ready, name):
    one = ready[name]
    expected = reference(CASES[name], one.backbone, one.linear, one.a, one.b)
    got = one.compiled(one.params, one.a, one.b)
    assert got.dtype == jnp.float32 and got.shape == (2,)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    plain = reference(CASES[name], one.backbone, one.linear, one.a, one.b, normalised=False)
    assert np.abs(plain / expected - 1).min() > 0.1


@both
def test_one_call_from_weights_to_distances(ready, name):
    one = ready[name]
    got = module.lpips(one.backbone, one.linear, one.a[:1], one.b[:1])
    np.testing.assert_allclose(got, one.compiled(one.params, one.a, one.b)[:1], rtol=1e-5)


@both
def test_is_a_symmetric_distance(ready, name):
    one = ready[name]
    np.testing.assert_array_equal(one.compiled(one.params, one.a, one.a), np.zeros(2))
    forth = one.compiled(one.params, one.a, one.b)
    assert float(forth.min()) > 1e-2
    np.testing.assert_allclose(one.compiled(one.params, one.b, one.a), forth, rtol=1e-6)


@both
def test_a_pair_is_the_same_in_any_company(ready, name):
    one = ready[name]
    zeros = np.zeros_like(one.a[1:])
    alone = (np.concatenate([x[:1], zeros]) for x in (one.a, one.b))
    got = one.compiled(one.params, *alone)
    np.testing.assert_array_equal(got[0], one.compiled(one.params, one.a, one.b)[0])


@both
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_where_nothing_is_active_the_distance_is_finite(ready, name, channel):
    # all activations zero: a norm of zero, which eps alone keeps from dividing
    one = ready[name]
    silent = {key: np.zeros_like(value) for key, value in one.backbone.items()}
    params = module.lpips_params(silent, one.linear)
    lit = one.a.copy()
    lit[..., channel] = 1
    np.testing.assert_array_equal(one.compiled(params, lit, one.b), np.zeros(2))


@pytest.mark.parametrize(("name", "smallest"), [("alex", 31), ("vgg", 16)])
def test_the_smallest_pictures(ready, name, smallest):
    params = ready[name].params
    x = jax.ShapeDtypeStruct((2, smallest, 64, 3), jnp.float32)
    assert jax.eval_shape(module.lpips_from_params, params, x, x).shape == (2,)
    small = np.zeros((2, 64, smallest - 1, 3), np.float32)
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}, got 64x{smallest - 1}$"):
        module.lpips_from_params(params, small, small)


PICTURES = (2, 64, 64, 3)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((PICTURES, jnp.float32), ((1, *PICTURES[1:]), jnp.float32), "both must be the same"),
        ((PICTURES[1:], jnp.float32), (PICTURES[1:], jnp.float32), r"a has shape \(64, 64, 3\)"),
        (((2, 3, 64, 64), jnp.float32), ((2, 3, 64, 64), jnp.float32), r"\[batch, h, w, 3\]"),
        ((PICTURES, jnp.float32), (PICTURES, jnp.uint8), "a is float32 and b uint8"),
    ],
)
def test_wrong_pictures_are_named(ready, a, b, message):
    a, b = (jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in (a, b))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(module.lpips_from_params, ready["alex"].params, a, b)


@pytest.mark.parametrize(
    ("name", "backbone", "linear", "message"),
    [
        ("alex", {"features.8.bias": None}, {}, r"have no features\.8\.bias, .* \(256,\)$"),
        ("vgg", {"features.17.weight": None}, {}, r"have no features\.17\.weight"),
        ("vgg", {"features.0.weight": None}, {}, r"have no features\.0\.weight: AlexNet or VGG16"),
        (
            "vgg",
            {"features.2.weight": (64, 32, 3, 3)},
            {},
            r"^features\.2\.weight has shape \(64, 32, 3, 3\), expected \(64, 64, 3, 3\)$",
        ),
        # ResNet's and SqueezeNet's first convolutions
        ("alex", {"features.0.weight": (64, 3, 7, 7)}, {}, r"features\.0\.weight .* 7, 7\)"),
        ("alex", {"features.0.weight": (96, 3, 11, 11)}, {}, r"expected \(64, 3, 11, 11\)"),
        ("alex", {}, {"lin4.model.1.weight": None}, r"for AlexNet: .* no lin4\.model\.1\.weight"),
        (
            "alex",
            {},
            {"lin1.model.1.weight": (1, 128, 1, 1)},
            r"^linear weights for AlexNet: lin1\.model\.1\.weight has shape \(1, 128, 1, 1\), "
            r"expected \(1, 192, 1, 1\)$",
        ),
    ],
)
def test_what_does_not_fit_is_named(ready, name, backbone, linear, message):
    given = []
    for weights, changes in ((ready[name].backbone, backbone), (ready[name].linear, linear)):
        weights = dict(weights)
        for key, shape in changes.items():
            weights.pop(key)
            if shape is not None:
                weights[key] = np.zeros(shape, np.float32)
        given.append(weights)
    with pytest.raises(ValueError, match=message) as caught:
        module.lpips_params(*given)
    assert "\n" not in str(caught.value)
