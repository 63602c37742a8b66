"""Inception and ResNet-50 against numbers of the reference implementation, resizes included."""

import json
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.evaluation import inception, resize, resnet
from tests.golden import FOLDER, load, synthetic


@pytest.fixture(autouse=True)
def no_implicit_conversions():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


class Network(NamedTuple):
    """One of the two, under the names that the tests need."""

    manifest: str
    golden: str
    surplus: tuple[str, ...]  # what published files hold besides
    whole: object
    convert: object
    apply: object


NETWORKS = {
    "inception": Network(
        "inception_manifest.json",
        "inception",
        ("AuxLogits.conv0.conv.weight", "Conv2d_1a_3x3.bn.num_batches_tracked"),
        inception.inception_features,
        inception.inception_params,
        inception.features_from_params,
    ),
    "resnet50": Network(
        "resnet50_manifest.json",
        "resnet50_logits",
        ("bn1.num_batches_tracked",),
        resnet.resnet50_logits,
        resnet.resnet50_params,
        resnet.logits_from_params,
    ),
}
both = pytest.mark.parametrize("name", NETWORKS)


class Ready(NamedTuple):
    """A network with its golden weights, converted and compiled."""

    weights: dict
    params: dict
    compiled: object
    expected: np.ndarray


@pytest.fixture(scope="module")
def images():
    return load("features")["images"]


@pytest.fixture(scope="module")
def ready():
    return {name: make_ready(network) for name, network in NETWORKS.items()}


def make_ready(network):
    shapes = json.loads((FOLDER / network.manifest).read_text())
    weights = {
        key: synthetic.hashed_classifier_weight(key, tuple(shape)) for key, shape in shapes.items()
    }
    weights |= {key: np.array(7) for key in network.surplus}
    expected = load("features")[network.golden]
    return Ready(weights, network.convert(weights), jax.jit(network.apply), expected)


def relative_error(got, expected):
    assert got.shape == expected.shape
    return float(np.abs(np.asarray(got) - expected).max() / expected.std())


@both
def test_agrees_with_the_reference_implementation(ready, images, name):
    one = ready[name]
    got = one.compiled(one.params, images)
    assert got.dtype == jnp.float32
    assert relative_error(got, one.expected) < 1e-4


@both
def test_one_call_from_weights_to_numbers(ready, images, name):
    one = ready[name]
    got = NETWORKS[name].whole(one.weights, images[:1])
    # the standard deviation is that of all three
    assert np.abs(np.asarray(got) - one.expected[:1]).max() < 1e-4 * one.expected.std()


@both
def test_a_picture_is_the_same_in_any_company(ready, images, name):
    one = ready[name]
    alone = np.concatenate([images[:1], np.zeros_like(images[1:])])
    together, padded = one.compiled(one.params, images), one.compiled(one.params, alone)
    np.testing.assert_array_equal(together[0], padded[0])
    assert relative_error(together[1:], np.asarray(padded[1:])) > 1e-2


def corner_pixels(x, size):
    # the legacy sampling of TensorFlow 1: position = scale · index, without half-pixel centres
    positions = np.arange(size) * (x.shape[1] / size)
    first = np.minimum(positions.astype(int), x.shape[1] - 1)
    after = np.minimum(first + 1, x.shape[1] - 1)
    t = (positions - first).astype(np.float32)

    def along(x, axis):
        weight = t.reshape([-1 if i == axis else 1 for i in range(4)])
        return jnp.take(x, first, axis) * (1 - weight) + jnp.take(x, after, axis) * weight

    return along(along(x, 1), 2)


def counted_padding(x):
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False) * counted_share(x)


def counted_share(x):
    # 4 of 9 positions lie in the picture at its corners, 6 along its sides
    rows, columns = (np.where(np.isin(np.arange(n), (0, n - 1)), 2, 3) for n in x.shape[1:3])
    return (np.outer(rows, columns) / 9).astype(np.float32)[None, :, :, None]


def antialiased(x, size):
    return jax.image.resize(x, (x.shape[0], size, size, 3), "cubic", antialias=True)


def clamped(x, size):
    return jnp.clip(resize.resize_bicubic(x, size), 0, 1)


def keys_cubic(x, size):
    return jax.image.resize(x, (x.shape[0], size, size, 3), "cubic", antialias=False)


class FirstVersion(resnet.Bottleneck):
    """The block of the original paper: the first 1x1 convolution strides."""

    @nn.compact
    def __call__(self, x):
        """Applies the block."""
        h = nn.relu(resnet._conv(x, "conv1", self.width, 1, strides=self.strides))
        h = nn.relu(resnet._conv(h, "conv2", self.width, 3))
        h = resnet._conv(h, "conv3", 4 * self.width, 1)
        if x.shape[-1] != h.shape[-1]:
            x = resnet._conv(x, "downsample", h.shape[-1], 1, strides=self.strides)
        return nn.relu(x + h)


DAMAGES = [
    ("inception", inception, "resize_bilinear", corner_pixels),
    ("inception", inception, "_mean_pool", counted_padding),
    ("inception", inception, "_max_pool", inception._mean_pool),
    ("inception", inception, "_NORM_EPS", 1e-5),
    ("resnet50", resnet, "resize_bicubic", antialiased),
    ("resnet50", resnet, "resize_bicubic", clamped),
    ("resnet50", resnet, "resize_bicubic", keys_cubic),
    ("resnet50", resnet, "Bottleneck", FirstVersion),
    ("resnet50", resnet, "_NORM_EPS", 1e-3),
]


@pytest.mark.parametrize(
    ("name", "module", "attribute", "wrong"),
    [
        pytest.param(*damage, id=f"{damage[2]}-{getattr(damage[3], '__name__', damage[3])}")
        for damage in DAMAGES
    ],
)
def test_goldens_notice_another_protocol(
    ready, images, monkeypatch, name, module, attribute, wrong
):
    one, network = ready[name], NETWORKS[name]
    monkeypatch.setattr(module, attribute, wrong)
    params = network.convert(one.weights) if attribute == "_NORM_EPS" else one.params
    # a new function, or jit would give back what it compiled before
    got = jax.jit(lambda p, x: network.apply(p, x))(params, images)
    assert relative_error(got, one.expected) > 1e-3


def cubic_weight(distance):
    """The cubic convolution kernel with a = -0.75, one number at a time."""
    a, d = -0.75, abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def tent_weight(distance):
    return max(0.0, 1 - abs(distance))


def resample(signal, size, weight, *, align_corners=False):
    """One row, tap by tap in Python numbers; what lies beyond an end is its last sample."""
    n, row = len(signal), []
    for i in range(size):
        at = i * (n - 1) / (size - 1) if align_corners else (i + 0.5) * n / size - 0.5
        taps = range(math.floor(at) - 1, math.floor(at) + 3)
        row.append(sum(weight(at - tap) * signal[min(max(tap, 0), n - 1)] for tap in taps))
    return np.array(row)


RESIZES = {
    "bilinear": (resize.resize_bilinear, tent_weight),
    "bicubic": (resize.resize_bicubic, cubic_weight),
}


@pytest.mark.parametrize("kind", RESIZES)
@pytest.mark.parametrize(("sides", "size"), [((5, 8), 13), ((31, 16), 7), ((9, 1), 9)])
def test_resizes_take_pytorchs_taps(kind, sides, size):
    function, weight = RESIZES[kind]
    rng = np.random.Generator(np.random.PCG64(size))
    x = rng.uniform(0, 1, (2, *sides, 3))
    got = function(jnp.asarray(x, jnp.float32), size)
    assert got.dtype == jnp.float32

    def both_ways(**options):
        tall = np.apply_along_axis(resample, 1, x, size, weight, **options)
        return np.apply_along_axis(resample, 2, tall, size, weight, **options)

    # float32: a dozen roundings of numbers below 2
    np.testing.assert_allclose(got, both_ways(), atol=12 * 2**-23)
    if sides != (9, 1):
        assert np.abs(got - both_ways(align_corners=True)).max() > 1e-2


def test_a_picture_of_the_right_size_stays_as_it_is():
    rng = np.random.Generator(np.random.PCG64(0))
    x = rng.uniform(0, 1, (1, 299, 299, 3)).astype(np.float32)
    for function, _ in RESIZES.values():
        np.testing.assert_array_equal(function(x, 299), x)


@both
def test_params_are_float32_of_numpy(ready, name):
    leaves = jax.tree.leaves(ready[name].params)
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float32 for leaf in leaves)


def without(name):
    return lambda weights: weights.pop(name)


def reshaped(name, shape):
    return lambda weights: weights.update({name: np.zeros(shape, np.float32)})


def integers(name):
    return lambda weights: weights.update({name: weights[name].astype(np.int32)})


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "inception",
            without("Mixed_6b.branch7x7_2.conv.weight"),
            r"have no Mixed_6b\.branch7x7_2\.conv\.weight, a tensor of shape "
            r"\(128, 128, 1, 7\)$",
        ),
        (
            "inception",
            without("Mixed_7c.branch_pool.bn.running_var"),
            r"have no Mixed_7c\.branch_pool\.bn\.running_var",
        ),
        (
            "inception",
            reshaped("Mixed_6b.branch7x7_2.conv.weight", (128, 128, 7, 1)),
            r"^Mixed_6b\.branch7x7_2\.conv\.weight has shape \(128, 128, 7, 1\), "
            r"expected \(128, 128, 1, 7\)$",
        ),
        ("inception", integers("Conv2d_1a_3x3.bn.bias"), "^Conv2d_1a_3x3.bn.bias holds int32"),
        ("resnet50", without("layer4.2.bn3.bias"), r"have no layer4\.2\.bn3\.bias"),
        (
            "resnet50",
            without("layer2.0.downsample.1.weight"),
            r"have no layer2\.0\.downsample\.1\.weight",
        ),
        (
            "resnet50",
            reshaped("fc.weight", (10, 2048)),
            r"^fc\.weight has shape \(10, 2048\), expected \(1000, 2048\)$",
        ),
        ("resnet50", without("fc.bias"), r"have no fc\.bias, a tensor of shape \(1000,\)$"),
    ],
)
def test_what_does_not_fit_is_named(ready, name, damage, message):
    weights = dict(ready[name].weights)
    damage(weights)
    with pytest.raises(ValueError, match=message) as caught:
        NETWORKS[name].convert(weights)
    assert "\n" not in str(caught.value)


def test_the_first_of_many_is_named():
    with pytest.raises(ValueError, match=r"have no Conv2d_1a_3x3\.conv\.weight"):
        inception.inception_params({})
    with pytest.raises(ValueError, match=r"have no conv1\.weight"):
        resnet.resnet50_params({})


@both
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "images are float32, must be uint8"),
        (np.zeros((8, 8, 3), np.uint8), r"images have shape \(8, 8, 3\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"images have shape \(1, 3, 8, 8\)"),
        (np.zeros((1, 0, 8, 3), np.uint8), r"images have shape \(1, 0, 8, 3\)"),
    ],
)
def test_wrong_images_are_named(ready, name, images, message):
    with pytest.raises(ValueError, match=message):
        NETWORKS[name].apply(ready[name].params, images)
