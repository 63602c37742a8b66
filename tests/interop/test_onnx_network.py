"""The U-Net as ONNX operations, beside the Flax module, for all that a configuration can say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from i2sb_jax.interop.onnx_graph import Graph, mirrored
from i2sb_jax.interop.onnx_network import add_network
from i2sb_jax.models import UNetConfig, init_params, make_network

WIDE = UNetConfig(
    model_channels=8, channel_mult=(1.0,), num_res_blocks=1, attention_downsamples=(),
    head_channels=4, norm_groups=4,
)  # fmt: skip
NETWORKS = {
    # several heads, up and down, skips of 1x1, a condition
    "adm": {"channel_mult": (1.0, 2.0), "attention_downsamples": (2,), "in_channels": 5},
    # as the models that ship
    "local": {
        "channel_mult": (1.0, 2.0), "norm": "none", "middle_attention": False, "patch": 2,
        "sharpened": (0.8, 2.0), "thresholded": (2.2, 3.0),
    },
    "grey": {"patch": 4, "thresholded": (1.5,), "in_channels": 1, "out_channels": 1},
    "bfloat16": {"norm": "none", "dtype": jnp.bfloat16},
}  # fmt: skip


def exported(config, params):
    """A network as a session of onnxruntime, of any batch and size."""
    graph, channels = Graph(), config.out_channels
    x = graph.input("x_t", ("b", channels, "h", "w"), "")
    level = graph.input("noise_level", ("b",), "")
    cond = None
    if extra := config.in_channels - channels:
        cond = graph.input("cond", ("b", extra, "h", "w"), "")
    output = add_network(graph, config, params, x, level, cond)
    graph.output("output", output, ("b", channels, "h", "w"), "")
    return session(graph)


def session(graph):
    model = graph.model("test", facts={}, offsets={}, file="")
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def drawn_params(config):
    """Random weights, of which none is 0, and as large as those that are learnt."""
    draw = np.random.default_rng(0)

    def drawn(x):
        spread = np.prod(x.shape[:-1]) ** -0.5 if x.ndim > 1 else 0.3
        return draw.normal(0, spread, x.shape).astype(np.float32)

    init = lambda key: init_params(key, config, image_size=16)  # noqa: E731
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(drawn, shapes)


def drawn_inputs(config, *, sides=(24, 32)):
    """X_t, noise level and condition (None where there is none) of two pictures."""
    draw, channels = np.random.default_rng(1), config.out_channels
    seen = draw.uniform(-1, 1, (2, *sides, config.in_channels)).astype(np.float32)
    cond = seen[..., channels:]
    return seen[..., :channels], np.float32([0.1, 987]), cond if cond.size else None


def answer(program, x, level, cond):
    """What a program gives, [b, h, w, c]."""
    given = {"x_t": x.transpose(0, 3, 1, 2), "noise_level": level}
    if cond is not None:
        given["cond"] = cond.transpose(0, 3, 1, 2)
    return program.run(None, given)[0].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_what_the_module_gives_and_each_weight_counts(name):
    config = dataclasses.replace(WIDE, **NETWORKS[name])
    params = drawn_params(config)
    program = exported(config, params)
    config = dataclasses.replace(config, dtype=jnp.float32)  # by the same weights
    apply, inputs = jax.jit(make_network(config).apply), drawn_inputs(config)
    theirs, ours = answer(program, *inputs), apply({"params": params}, *inputs)
    assert np.abs(ours).max() > 0.1
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    leaves, structure = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        turned = jax.tree.unflatten(structure, [*leaves[:i], leaf[..., ::-1], *leaves[i + 1 :]])
        assert np.abs(theirs - apply({"params": turned}, *inputs)).max() > 2e-4, i


def test_a_program_takes_any_size_and_batch():
    config = dataclasses.replace(WIDE, **NETWORKS["local"])
    params = drawn_params(config)
    program = exported(config, params)
    x, level, _ = drawn_inputs(config, sides=(20, 44))
    one = [answer(program, x[i : i + 1], level[i : i + 1], None) for i in range(2)]
    np.testing.assert_allclose(np.concatenate(one), answer(program, x, level, None), atol=1e-5)


@pytest.mark.parametrize("length", [1, 4, 30])
def test_borders_are_mirrored_as_numpy_does(length):
    graph = Graph()
    x = graph.input("x", ("b", "n"), "")
    graph.output("y", mirrored(graph, x, 1, before=7, after=9), ("b", "m"), "")
    given = np.arange(2 * length, dtype=np.float32).reshape(2, length)
    (padded,) = session(graph).run(None, {"x": given})
    np.testing.assert_array_equal(padded, np.pad(given, ((0, 0), (7, 9)), mode="symmetric"))


def test_a_weight_is_kept_once_and_constants_too():
    """However many evaluations a graph has."""
    config = dataclasses.replace(WIDE, **NETWORKS["local"])
    params, graph = drawn_params(config), Graph()
    x, sizes = graph.input("x_t", ("b", 3, "h", "w"), ""), []
    for step in (1.0, 2.0):
        x = add_network(graph, config, params, x, np.float32([step]))
        graph.outputs.clear()
        sizes.append(graph.model("test", facts={}, offsets={}, file="").ByteSize())
    assert sum(w.size for w in graph.weights.values()) == sum(map(np.size, jax.tree.leaves(params)))
    assert sizes[1] - sizes[0] < 0.5 * sizes[0]
