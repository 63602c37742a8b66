"""A bridge that is none of I²SB's, from training to an export: what is chosen goes all the way."""

import json

import numpy as np
import pytest

from i2sb_jax import interop
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.options import Options
from tests.training.tiny import make_config, train

CHOSEN = {"name": "irsde", "num_steps": 50, "x1_input": True}
CHOSEN |= {"prediction": "x0", "weighting": "x0"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("irsde")
    sampling = {"sampler": "heun", "nfe": 3}
    small = {"norm": "none", "middle_attention": False}
    length = {"num_steps": 3}
    config = make_config(bridge=CHOSEN, sampling=sampling, training=length, model=small)
    train(workdir, config)
    return workdir, config


def test_it_is_trained_exported_and_restored(run, tmp_path):
    workdir, config = run
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 3 and np.isfinite(losses).all() and len(set(losses)) == 3

    exported = tmp_path / "model"
    interop.export_model(workdir, exported)
    card = (exported / "README.md").read_text()
    assert "irsde, 50 steps, its network sees X_1 beside X_t, SDE, predicts x0" in card
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    ours, theirs = (Restorer.from_workdir(path) for path in (workdir, exported))
    assert theirs.config.bridge == config.bridge and theirs.config.bridge.name == "irsde"
    restored = ours(images)
    np.testing.assert_array_equal(restored, theirs(images))
    # the start is drawn, by one evaluation too; X_1 is seen
    assert np.abs(ours(images, nfe=1) - ours(images, nfe=1, seed=1)).max() > 1e-3
    for sampler in ("ddpm", "exponential"):
        assert np.isfinite(ours(images, sampler=sampler)).all()
    with pytest.raises(ValueError, match="sampler='ode' starts at X_1 itself"):
        ours(images, sampler="ode")


def test_options_know_that_its_start_is_drawn(run):
    config = run[1]
    one = Options(nfe=1, samples=2).resolve(config)
    assert not one.is_seed_idle(config)
    plain = make_config(sampling={"sampler": "heun"})
    assert Options(nfe=1).resolve(plain).is_seed_idle(plain)
    with pytest.raises(ValueError, match="samples=2 need noise"):
        Options(nfe=1, samples=2).resolve(plain)
    flow = make_config(
        bridge={"name": "linear", "deterministic": True}, sampling={"sampler": "ode2"}
    )
    assert Options().resolve(flow).is_seed_idle(flow)
    with pytest.raises(ValueError, match="samples=2 need noise, and the run is an OT-ODE"):
        Options(samples=2).resolve(flow)
