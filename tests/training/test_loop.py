"""The loop: resume to the last bit, non-finite values, initial weights, what it writes."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.run import Run
from i2sb_jax.training import loop, report
from tests.training.tiny import (
    Killed,
    Recorder,
    endless,
    killed_after,
    make_batch,
    make_config,
    train,
)


def in_slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its folder and its last state."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, train(workdir)


def log_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("stop_at", [in_slow(3), 5, in_slow(11)])
def test_restarted_run_is_bit_identical(whole, tmp_path, stop_at):
    workdir, last = whole
    with pytest.raises(Killed):
        train(tmp_path, batches=killed_after(stop_at))
    assert_same(train(tmp_path), last)
    assert [line["step"] for line in log_of(tmp_path)] == list(range(1, 13))
    assert [x["loss_hex"] for x in log_of(tmp_path)] == [x["loss_hex"] for x in log_of(workdir)]


def test_another_seed_is_another_run(whole, tmp_path):
    config = make_config(seed=1, training={"num_steps": 1})
    train(tmp_path, config)
    assert log_of(tmp_path)[0]["loss_hex"] != log_of(whole[0])[0]["loss_hex"]


def test_a_finished_run_does_nothing_more(whole):
    workdir, last = whole
    before = (workdir / "metrics.jsonl").read_text()
    assert_same(train(workdir, batches=killed_after(0)), last)
    assert (workdir / "metrics.jsonl").read_text() == before


def test_a_longer_run_continues(whole, tmp_path):
    train(tmp_path, make_config(training={"num_steps": 8}))
    assert_same(train(tmp_path), whole[1])


def test_what_a_run_writes(whole):
    workdir, _ = whole
    assert json.loads((workdir / "config.json").read_text())["image_size"] == 16
    assert sorted(int(p.name) for p in (workdir / "checkpoints").iterdir()) == [4, 8, 12]
    with Image.open(workdir / "images" / "step_00000012.png") as sheet:
        assert sheet.size == (3 * 16, 2 * 16)  # clean | degraded | restored, two rows
    assert float.fromhex(log_of(workdir)[0]["loss_hex"]) == log_of(workdir)[0]["loss"]


def test_the_writer_gets_scalars_and_pictures(tmp_path):
    writer = Recorder()
    train(tmp_path, make_config(training={"num_steps": 2, "image_every": 1}), writer=writer)
    names = {name for _, scalars in writer.scalars for name in scalars}
    assert {"loss", "grad_norm", "eval/psnr_degraded", "eval/psnr_restored"} <= names
    assert [step for step, _ in writer.images] == [1, 2]
    assert writer.images[0][1] == {"clean | degraded | restored": (2, 16, 48, 3)}
    assert writer.flushed


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, batches=killed_after(6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # a kill in the middle of a line
    train(tmp_path)
    assert [line["step"] for line in log_of(tmp_path)] == list(range(1, 13))


def spoilt_at(bad):
    def batches(start):
        for step, batch in enumerate(endless(start), start=start + 1):
            if step == bad:
                batch.clean[1, 0, 0, 0] = np.nan
            yield batch

    return batches


@pytest.mark.parametrize("log_every", [in_slow(1), 5])
def test_a_non_finite_loss_stops_and_saves_nothing(tmp_path, log_every):
    config = make_config(training={"log_every": log_every})
    with pytest.raises(loop.NonFiniteError) as error:
        train(tmp_path, config, batches=spoilt_at(6))
    assert str(error.value) == (
        "loss is nan at step 6: the clean picture of number 1 of the batch holds NaN "
        "(1 of 768 values); stopped, the last saved step is 4"
    )
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 4
    assert all(np.isfinite(line["loss"]) for line in log_of(tmp_path))
    train(tmp_path, config)  # and goes on from there once the cause is gone


def test_a_checkpoint_that_is_not_finite_does_not_go_on(whole, tmp_path):
    _, last = whole
    kernel = last.params["conv_in"]["kernel"].at[0, 0, 0, 0].set(np.nan)
    params = {**last.params, "conv_in": {**last.params["conv_in"], "kernel": kernel}}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(8, last._replace(step=jax.numpy.int32(8), params=params))
    with pytest.raises(ValueError, match=r"checkpoint 8, .*: params/conv_in/kernel holds"):
        train(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_init_from_takes_averaged_weights_and_nothing_else(whole, tmp_path):
    source, last = whole
    interop.save_safetensors(tmp_path / "w.safetensors", jax.device_get(last.ema_params))
    interop.save_model(tmp_path / "model", make_config(), jax.device_get(last.ema_params))
    for number, origin in enumerate([source, tmp_path / "w.safetensors", tmp_path / "model"]):
        # a learning rate too small to move anything shows the start
        config = make_config(
            training={"num_steps": 1, "init_from": str(origin)},
            optimizer={"learning_rate": 1e-30},
        )
        state = train(tmp_path / str(number), config)
        assert int(state.step) == 1
        assert_same(state.params, last.ema_params)


def test_where_initial_weights_come_from_is_carried_along(whole, tmp_path):
    _, last = whole
    origin = interop.Provenance(
        source="a.pt", sha256="0" * 64, licence="MIT", weights="initial", trained=False
    )
    params = jax.device_get(last.ema_params)
    interop.save_model(tmp_path / "model", make_config(), params, provenance=origin)
    weights = tmp_path / "model" / "model.safetensors"
    config = make_config(training={"num_steps": 1, "init_from": str(weights)})
    train(tmp_path / "run", config)
    began = dataclasses.replace(origin, trained=True)
    assert interop.read_provenance(tmp_path / "run") == began
    interop.load_model_folder(tmp_path / "run")  # as it is: initial weights only at its start
    # it was written at the start: going on asks nothing of a source that may be gone
    shutil.rmtree(tmp_path / "model")
    train(tmp_path / "run", config)
    assert interop.read_provenance(tmp_path / "run") == began
    assert interop.read_provenance(whole[0]) is None


def test_a_broken_origin_is_told_before_anything_is_written(whole, tmp_path):
    interop.save_model(tmp_path / "model", make_config(), jax.device_get(whole[1].ema_params))
    (tmp_path / "model" / "provenance.json").write_text("{}")
    config = make_config(training={"num_steps": 1, "init_from": str(tmp_path / "model")})
    with pytest.raises(ValueError, match=r"provenance\.json: it must be a JSON object"):
        train(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_init_from_of_another_network(whole, tmp_path):
    config = make_config(training={"init_from": str(whole[0])}, model={"channel_mult": (1.0, 2.0)})
    with pytest.raises(ValueError, match=r"does not fit this config: ema_params/.* is"):
        train(tmp_path, config)


@pytest.mark.slow
def test_accumulated_run_learns_the_same(whole, tmp_path):
    state = train(tmp_path, make_config(training={"accumulation_steps": 2, "num_steps": 2}))
    reference = train(tmp_path / "one", make_config(training={"num_steps": 2}))
    first, second = log_of(tmp_path), log_of(tmp_path / "one")
    assert first[1]["loss"] == pytest.approx(second[1]["loss"], rel=1e-5)
    assert int(state.step) == int(reference.step) == 2


def test_workdir_of_another_run(whole):
    with pytest.raises(ValueError, match="seed is 0 there, 3 here"):
        train(whole[0], make_config(seed=3))


def test_paths_may_be_epath(tmp_path):
    train(epath.Path(tmp_path), make_config(training={"num_steps": 1}))
    assert (tmp_path / "checkpoints" / "1").is_dir()


def test_previews_draw_from_a_stream_of_their_own(tmp_path):
    """Splitting a key gives the same keys as folding 0, 1, 2, … into it, which the steps do."""
    config = make_config()
    made = report.Report(Run(config), tmp_path, make_batch(2), writer=Recorder(), start_step=0)
    root = jax.random.key(config.seed)
    steps = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(root, np.arange(1000))
    used = {tuple(words) for words in jax.random.key_data(steps).tolist()}
    previews = made._inputs.key.tolist()
    assert len(previews) == 2 and not used & {tuple(words) for words in previews}
    naive = jax.random.key_data(jax.random.split(root, 2)).tolist()
    assert used & {tuple(words) for words in naive}  # the trap is real
