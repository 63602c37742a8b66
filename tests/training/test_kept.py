"""A step in a file: what it computes when it is loaded, and what it is not loaded from."""

from importlib.metadata import version

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.run import Run
from i2sb_jax.training.kept import load_program, save_program
from i2sb_jax.training.loop import jitted_step
from tests.training.tiny import fresh_params, make_batch, make_config


def test_a_loaded_step_is_the_step(tmp_path):
    run = Run(make_config())
    line = save_program(run, tmp_path / "step.bin")
    assert (
        str(tmp_path / "step.bin") in line
        and "on 1 × cpu" in line
        and f"jax {version('jax')}" in line
    )
    batch = sharding.global_batch(make_batch(4)._replace(label=np.zeros(4, np.int32)), run.mesh)
    root = jax.device_put(jax.random.key(7), sharding.replicated(run.mesh))

    def state():  # a step writes over what it is given
        return jax.device_put(run.state_from(fresh_params(run.config)), run.state_shardings)

    loaded, metrics = load_program(tmp_path / "step.bin")(state(), batch, root)
    expected, same = jitted_step(run, state())(state(), batch, root, None)
    assert jax.tree.structure(loaded) == jax.tree.structure(expected)
    assert int(loaded.step) == 1
    np.testing.assert_allclose(metrics["loss"], same["loss"], rtol=1e-5)
    jax.tree.map(
        lambda mine, other: np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5),
        loaded.params,
        expected.params,
    )


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "mine").write_text("dear")
    with pytest.raises(ValueError, match="mine exists"):
        save_program(Run(make_config()), tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "dear"


def test_what_is_no_program_is_one_line(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 8)
    for name in ("empty", "noise"):
        with pytest.raises(ValueError, match=f"{name} is no program that jax"):
            load_program(tmp_path / name)
    with pytest.raises(OSError, match="nothing"):
        load_program(tmp_path / "nothing")
