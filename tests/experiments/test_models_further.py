"""Going on with a denoiser: gates by least squares, then training."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.models import further
from i2sb_jax import config as config_lib
from i2sb_jax.bridge import predict_x0
from i2sb_jax.config import from_config_dict
from i2sb_jax.configs import zoo
from i2sb_jax.interop.weights import load_model_folder, save_safetensors
from i2sb_jax.restoration import Restorer
from i2sb_jax.run import Run
from i2sb_jax.types import Batch
from tests.experiments.test_models_gpu import picture


def small(get_config, **model):
    """configs/zoo.py with a network of some thousand parameters."""

    def values(task):
        config = get_config(task)
        config.data.path = "PHOTOGRAPHS"
        config.model.update({"model_channels": 4, "norm_groups": 4} | model)
        config.image_size = 32
        return config

    return values


@pytest.fixture(scope="module")
def runs():
    """As it was trained, without thresholded pictures, and as it goes on."""
    get_config = zoo.get_config
    return tuple(
        Run(from_config_dict(small(get_config, **model)("denoise").to_dict()))
        for model in ({"thresholded": ()}, {})
    )


@pytest.fixture(scope="module")
def params(runs):
    """At random, the last convolution too: a network that does something."""
    fresh = jax.eval_shape(runs[0].init_params, jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.1 * rng.standard_normal(leaf.shape, np.float32), fresh)


def noisy(rng, levels):
    clean = np.stack([picture(32, 32) for _ in range(4)]).astype(np.float32) / 127.5 - 1
    clean = clean[:, :: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    seen = clean + levels / 127.5 * rng.standard_normal(clean.shape, np.float32)
    return Batch(jnp.asarray(clean), jnp.asarray(seen))


@functools.partial(jax.jit, static_argnums=0)
def answers(run, params, batch):
    last = run.config.bridge.num_steps - 1
    level = jnp.full(len(batch.degraded), run.bridge.noise_level[last])
    output = run.network.apply({"params": params}, batch.degraded, level)
    return predict_x0(run.bridge, jnp.full(len(batch.degraded), last), batch.degraded, output)


def error(run, params, batch):
    return float(jnp.mean((answers(run, params, batch) - batch.clean) ** 2))


def test_a_widened_network_answers_as_before(runs, params):
    before, after = runs
    wide = further.widened(params, after)
    batch = noisy(np.random.default_rng(0), 20)
    np.testing.assert_allclose(
        answers(after, wide, batch), answers(before, params, batch), atol=1e-5
    )
    other = Run(dataclasses.replace(after.config, model=dataclasses.replace(
        after.config.model, num_res_blocks=1, model_channels=8)))  # fmt: skip
    with pytest.raises(ValueError, match=r"conv_in/bias has shape \(4,\), the network's is \(8,\)"):
        further.widened(params, other)


def test_gates_are_the_least_squares(runs, params):
    """No other gates are better on what they are fitted to, and pictures not seen gain, too."""
    run = runs[1]
    wide = further.widened(params, run)
    rng = np.random.default_rng(0)
    seen = [noisy(rng, 20) for _ in range(8)]
    fitted = further.fit_gates(wide, run, iter(seen), len(seen))
    unseen = noisy(rng, 20)
    assert error(run, fitted, unseen) < 0.5 * error(run, wide, unseen)

    def weighed(params):
        floor = run.config.bridge.log_floor
        squares = [(answers(run, params, each) - each.clean) ** 2 for each in seen]
        start = [(answers(run, wide, each) - each.clean) ** 2 for each in seen]
        scale = float(run.bridge.scale[-1]) ** 2
        return sum(
            float(jnp.sum(jnp.mean(now, (1, 2, 3)) / (jnp.mean(was, (1, 2, 3)) + scale * floor)))
            for now, was in zip(squares, start, strict=True)
        )

    best = weighed(fitted)
    for feature, size in itertools.product((0, 3), (-0.05, 0.05)):
        kernel = fitted["conv_gates"]["kernel"]
        moved = {"kernel": kernel.at[1, 1, feature].add(size), "bias": fitted["conv_gates"]["bias"]}
        assert weighed(fitted | {"conv_gates": moved}) > best


def test_it_goes_on_with_a_model_that_restores(runs, params, tmp_path, monkeypatch):
    folder, model = tmp_path / "photographs", tmp_path / "model"
    folder.mkdir()
    model.mkdir()
    Image.fromarray(picture(264, 264)).save(folder / "a.png")
    config_lib.save(model, runs[0].config)
    save_safetensors(model / "model.safetensors", jax.device_get(params))
    (model / "metrics.jsonl").write_text("{}\n")
    monkeypatch.setattr(zoo, "get_config", small(zoo.get_config))
    further.main([
        "--model", str(model), "--photographs", str(folder), "--output", str(tmp_path / "more"),
        "--image-size", "32", "--batch-size", "4", "--fitted", "2", "--updates", "3",
    ])  # fmt: skip
    lines = (tmp_path / "more" / further.LOG).read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["step"], last["windows"]) == (3, 12) and np.isfinite(last["loss"])
    config, made = load_model_folder(tmp_path / "more")
    assert config.model.thresholded and np.any(made["conv_gates"]["kernel"])
    restored = Restorer.from_workdir(tmp_path / "more")(picture(64, 48)[None])
    assert restored.shape == (1, 64, 48, 3)
