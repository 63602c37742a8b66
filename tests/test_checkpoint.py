"""What is saved comes back exactly, on any mesh, or one line says why not."""

import gc
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import Checkpoints, abstract_like, checkpoint_folder
from i2sb_jax.training import TrainState


def make_state(step, *, width=8, seed=0):
    """Arrays of every kind that a state holds, low bits set."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    params = {"dense": {"kernel": draw(4, width), "bias": draw(width)}}
    ema_params = {"dense": {"kernel": draw(4, width), "bias": draw(width)}}
    opt_state = ({"mu": draw(4, width), "count": jnp.int32(step)}, ())
    return TrainState(jnp.int32(step), params, ema_params, opt_state)


def abstract(state):
    return abstract_like(state, sharding.replicated(sharding.make_mesh()))


def assert_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with three saves, of which it keeps two."""
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir, keep=2) as checkpoints:
        assert checkpoints.latest_step() is None
        for step in (3, 6, 9):
            checkpoints.save(step, make_state(step, seed=step))
            checkpoints.wait()
    return workdir


def test_the_newest_comes_back_exactly(saved):
    with Checkpoints(saved, read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 9
        expected = make_state(9, seed=9)
        checkpoints.check(abstract(expected))
        assert_same(checkpoints.restore(abstract(expected)), expected)


def test_an_older_one_and_no_more_than_are_kept(saved):
    with Checkpoints(saved, read_only=True) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(6)), step=6), make_state(6, seed=6))
    steps = {path.name for path in (saved / "checkpoints").iterdir() if path.name.isdigit()}
    assert steps == {"6", "9"}


def test_every_kth_stays(tmp_path):
    with Checkpoints(tmp_path, keep=2, keep_every=4) as checkpoints:
        for step in range(1, 12):
            checkpoints.save(step, make_state(step))
    steps = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert steps == [4, 8, 10, 11]


def test_a_state_is_donated_as_soon_as_it_is_saved(tmp_path):
    """As steps do that follow: the memory is written over while the save is under way."""
    expected = make_state(3, width=1 << 18)
    state = jax.tree.map(jnp.copy, expected)
    where = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
    step = jax.jit(lambda state: jax.tree.map(lambda x: -1 - x, state), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state)
        after = jax.block_until_ready(step(state))
        assert [x.unsafe_buffer_pointer() for x in jax.tree.leaves(after)] == where
        assert_same(checkpoints.restore(abstract(expected)), expected)


def test_a_save_blocks_neither_the_loop_nor_those_that_look_at_it(tmp_path, monkeypatch):
    begun, go_on, orbax = threading.Event(), threading.Event(), ocp.CheckpointManager.save

    def save(*args, **kwargs):
        begun.set()
        assert go_on.wait(60)
        return orbax(*args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", save)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1))
        assert begun.wait(60)
        checkpoints.check_saves()
        assert not list((tmp_path / "checkpoints").iterdir())
        go_on.set()
        assert checkpoints.latest_step() == 1
    assert (tmp_path / "checkpoints" / "1").is_dir()


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A run whose first checkpoint is complete and whose others fail -> what its lines say."""

    def finalize(*args, **kwargs):
        raise RuntimeError("No space left\nand so on")

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1))
    monkeypatch.setattr(ocp.StandardCheckpointHandler, "finalize", finalize)
    return (
        f"a checkpoint in {tmp_path}/checkpoints could not be saved (No space left); "
        "that of step 1 is complete"
    )


@pytest.mark.parametrize("look", ["check_saves", "wait", "save"])
def test_what_fails_beside_the_loop_is_told_once(tmp_path, monkeypatch, full_disk, look):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, make_state(2))
        with pytest.raises(OSError) as told:
            for _ in range(1000 if look == "check_saves" else 0):  # it waits for nothing
                checkpoints.check_saves()
                time.sleep(0.01)
            checkpoints.save(3, make_state(3)) if look == "save" else checkpoints.wait()
        assert str(told.value) == full_disk
        checkpoints.check_saves()
        monkeypatch.undo()
        checkpoints.save(4, make_state(4))
        assert checkpoints.latest_step() == 4


def test_what_fails_at_the_end_is_told_unless_something_else_ended_it(tmp_path, full_disk):
    with pytest.raises(OSError) as told, Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, make_state(2))
    assert str(told.value) == full_disk
    with pytest.raises(KeyError), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, make_state(3))
        raise KeyError
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(1))), make_state(1))


def test_what_an_interrupted_save_left_is_removed(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    remains = tmp_path / "run" / "checkpoints" / "12.orbax-checkpoint-tmp"
    shutil.copytree(saved / "checkpoints" / "9", remains)
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 9 and remains.exists()
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest_step() == 9 and not remains.exists()


def parts_of_a_checkpoint(saved):
    """Relative paths of all files and folders of the newest one."""
    return [path.relative_to(saved) for path in (saved / "checkpoints" / "9").rglob("*")]


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_damaged_checkpoint_is_one_line_or_no_harm(saved, tmp_path, harm, monkeypatch):
    """Every file cut in half or taken away: what comes back is exact, or one line says why not."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # tasks that are given up
    told, expected = 0, make_state(9, seed=9)
    for part in parts_of_a_checkpoint(saved):
        shutil.copytree(saved, tmp_path / "run")
        victim = tmp_path / "run" / part
        if harm == "gone":
            shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        elif victim.is_file():
            os.truncate(victim, victim.stat().st_size // 2)
        try:
            with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
                assert_same(checkpoints.restore(abstract(expected)), expected)
        except ValueError as error:
            folder = f"{tmp_path}/run/checkpoints"
            assert str(error).startswith(f"checkpoint 9 in {folder} cannot be read (")
            assert f"if it is damaged, remove {folder}/9 to go on from step 6" in str(error)
            assert "\n" not in str(error)
            told += 1
        shutil.rmtree(tmp_path / "run")
    assert told >= 16  # at least four files of each field
    gc.collect()


def test_the_older_one_is_there_when_the_damaged_is_removed(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "9")
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(6))), make_state(6, seed=6))


@pytest.mark.parametrize("field", ["ema_params", "step"])
def test_one_field(saved, field):
    expected = make_state(9, seed=9)._asdict()[field]
    with Checkpoints(saved, read_only=True) as checkpoints:
        checkpoints.check_field(field, abstract(expected))
        assert_same(checkpoints.restore_field(field, abstract(expected)), expected)


def test_reading_writes_nothing(saved, tmp_path):
    before = sorted(str(path) for path in saved.rglob("*"))
    with Checkpoints(saved, read_only=True) as checkpoints:
        checkpoints.restore(abstract(make_state(9)))
    assert sorted(str(path) for path in saved.rglob("*")) == before
    with Checkpoints(tmp_path / "none", read_only=True) as checkpoints:
        assert checkpoints.latest_step() is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("call", ["restore", "check", "restore_field", "check_field"])
def test_no_checkpoint(tmp_path, call):
    state = abstract(make_state(0))
    arguments = ("ema_params", state.ema_params) if call.endswith("field") else (state,)
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    for name in ("none", "empty"):
        checkpoints = Checkpoints(tmp_path / name, read_only=True)
        with checkpoints, pytest.raises(ValueError) as error:
            getattr(checkpoints, call)(*arguments)
        assert str(error.value) == (
            f"no checkpoint in {tmp_path / name}/checkpoints: train first, or name another run"
        )


@pytest.mark.parametrize("call", ["restore", "check"])
def test_another_shape(saved, call):
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(ValueError) as error:
        getattr(checkpoints, call)(abstract(make_state(9, width=16)))
    assert str(error.value) == (
        f"checkpoint 9 in {saved}/checkpoints does not fit this config: "
        "params/dense/bias is (8,) there, (16,) here"
    )


def test_other_names(saved):
    wanted = make_state(9).ema_params
    wanted["other"] = wanted.pop("dense")
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(ValueError) as error:
        checkpoints.restore_field("ema_params", abstract(wanted))
    message = str(error.value)
    assert "ema_params/dense/bias is (8,) there, absent here" in message and "\n" not in message


def test_another_mesh(saved, tmp_path):
    """Saved by one device, restored over four, donated by them, restored by one: the same."""
    program = textwrap.dedent(
        f"""
        import jax, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        from i2sb_jax.accelerators import sharding
        from i2sb_jax.checkpoint import Checkpoints, abstract_like
        from tests.test_checkpoint import assert_same, make_state

        assert jax.device_count() == 4
        mesh = sharding.make_mesh(fsdp=2)
        expected = make_state(9, seed=9)
        state = abstract_like(expected, sharding.replicated(mesh))
        cut = NamedSharding(mesh, PartitionSpec(None, sharding.FSDP_AXIS))
        kernel = jax.ShapeDtypeStruct((4, 8), np.float32, sharding=cut)
        state.params["dense"]["kernel"] = kernel
        with Checkpoints({str(saved)!r}, read_only=True) as checkpoints:
            got = checkpoints.restore(state)
        assert_same(got, expected)
        shards = got.params["dense"]["kernel"].addressable_shards
        assert [shard.data.shape for shard in shards] == [(4, 4)] * 4
        step = jax.jit(lambda state: jax.tree.map(lambda x: -1 - x, state), donate_argnums=0)
        with Checkpoints({str(tmp_path)!r}) as checkpoints:
            checkpoints.save(9, got)
            jax.block_until_ready(step(got))
        """
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **flags}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(9))), make_state(9, seed=9))


def test_a_relative_workdir_and_a_bucket(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    with Checkpoints(saved.name, read_only=True) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(9))), make_state(9, seed=9))
    assert str(checkpoint_folder("gs://bucket/run")) == "gs://bucket/run/checkpoints"
