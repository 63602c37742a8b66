"""A student as a run: it starts as its teacher, keeps its steps, and goes on to the last bit."""

import dataclasses
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from i2sb_jax import interop
from i2sb_jax.data.scaling import ValueRange, ValueRanges, save_value_ranges
from i2sb_jax.learning import Update, init_student
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.options import Options
from i2sb_jax.run import Run
from i2sb_jax.sampling import make_generate_fn
from i2sb_jax.training import (
    DistillState,
    TrainState,
    create_distill_state,
    make_distill_step,
)
from i2sb_jax.training.loop import check_start
from i2sb_jax.training.teacher import load_teacher, note_teacher
from i2sb_jax.types import Batch
from tests.restoration.test_restorer import random_params
from tests.training.tiny import (
    SCHEDULE,
    Killed,
    fresh_params,
    killed_after,
    make_batch,
    make_config,
    train,
)

# three networks in one step, and two optimizers: what they are made of is not the point
SMALL = {"norm": "none", "middle_attention": False}


def small_config(**overrides):
    return make_config(model=SMALL | overrides.pop("model", {}), **overrides)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A bridge's folder."""
    workdir = tmp_path_factory.mktemp("teacher")
    train(workdir, small_config(training={"num_steps": 8}))
    return workdir


def student_config(teacher, **overrides):
    sampling = {"nfe": 1} | overrides.pop("sampling", {})
    distill = {"auxiliary_updates": 2} | overrides.pop("distill", {})
    return small_config(teacher=str(teacher), sampling=sampling, distill=distill, **overrides)


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    """An uninterrupted student: its folder and its last state."""
    workdir = tmp_path_factory.mktemp("student")
    return workdir, train(workdir, student_config(teacher))


def pictures(batch):
    """Degraded pictures as a person has them: in [-1, 1]."""
    return np.clip(make_batch(batch).degraded, -1, 1)


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def log_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


# --- the run ------------------------------------------------------------------------------------


def test_a_student_that_was_killed_is_bit_identical(whole, teacher, tmp_path):
    workdir, last = whole
    with pytest.raises(Killed):
        train(tmp_path, student_config(teacher), batches=killed_after(6))
    resumed = train(tmp_path, student_config(teacher))
    assert isinstance(resumed, DistillState)
    assert_same(resumed, last)  # both networks, the average, and both optimizers
    assert [x["loss_hex"] for x in log_of(tmp_path)] == [x["loss_hex"] for x in log_of(workdir)]
    assert {"loss", "grad_norm", "auxiliary_loss"} <= log_of(workdir)[0].keys()


def test_both_networks_move_and_the_teacher_stays(whole, teacher):
    _, last = whole
    _, weights = interop.load_model_folder(teacher)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), last.auxiliary_params, weights)
    assert max(jax.tree.leaves(moved)) > 1e-4
    kernel = last.params["conv_in"]["kernel"]
    assert kernel.shape[2] == 6 and np.abs(kernel[:, :, 3:]).max() > 1e-5  # noise has a say now
    assert last.auxiliary_params["conv_in"]["kernel"].shape[2] == 3


def test_a_teacher_that_goes_on_is_left_behind(tmp_path):
    """The student goes on with the weights that it began with, a new one with the newest."""
    folder = tmp_path / "teacher"
    options = {"keep_checkpoints": 5}
    train(folder, small_config(training=options | {"num_steps": 4}))
    config = student_config(folder)
    abstract = Run(config).abstract_weights
    note_teacher(config, tmp_path / "student")
    first = load_teacher(config, tmp_path / "student", abstract)
    train(folder, small_config(training=options | {"num_steps": 8}))
    assert_same(load_teacher(config, tmp_path / "student", abstract), first)
    newer = load_teacher(config, tmp_path / "another", abstract)
    assert not np.array_equal(newer["conv_in"]["kernel"], first["conv_in"]["kernel"])


def test_regression_is_a_run_too(teacher, tmp_path):
    config = student_config(teacher, distill={"method": "regression", "teacher_nfe": 3})
    assert isinstance(train(tmp_path, config), TrainState)
    losses = [line["loss"] for line in log_of(tmp_path)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


@pytest.mark.slow
def test_a_student_of_two_steps(teacher, tmp_path):
    state = train(tmp_path, student_config(teacher, sampling={"nfe": 2}))
    assert int(state.step) == 12
    restored = Restorer.from_workdir(tmp_path)(pictures(2), nfe=2)
    assert np.isfinite(restored).all()


# --- the student --------------------------------------------------------------------------------


@pytest.mark.parametrize("nfe", [1, 3])
def test_it_starts_as_its_teacher(teacher, nfe):
    plain, weights = interop.load_model_folder(teacher)
    config = student_config(teacher, sampling={"nfe": nfe})
    keys, x1 = jax.random.split(jax.random.key(0), 2), make_batch(2).degraded
    made = (
        Run(config)
        .sample_fn()(
            keys, init_student(weights, noise_channels=config.noise_channels), x1, None, None
        )
        .x0
    )
    by_teacher = (
        Run(plain).sample_fn(plain.choose_sampling(nfe=nfe))(keys, weights, x1, None, None).x0
    )
    np.testing.assert_allclose(made, by_teacher, atol=1e-5)


def test_it_starts_as_a_teacher_that_sees_patches():
    """Channels of the noise lie between those of the picture, once for each pixel of a patch."""
    plain = small_config(model={"patch": 2})
    weights = random_params(plain)
    config = student_config("folder", model={"patch": 2})
    student = init_student(weights, noise_channels=config.noise_channels, patch=2)
    fresh = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    assert jax.tree.map(jnp.shape, student) == jax.tree.map(jnp.shape, fresh)

    keys, x1 = jax.random.split(jax.random.key(0), 2), make_batch(2).degraded
    made = Run(config).sample_fn()(keys, student, x1, None, None).x0
    by_teacher = (
        Run(plain).sample_fn(plain.choose_sampling(nfe=1))(keys, weights, x1, None, None).x0
    )
    np.testing.assert_allclose(made, by_teacher, atol=1e-5)
    assert np.abs(by_teacher - x1).max() > 1e-3  # it does something

    loud = student["conv_in"]["kernel"].at[:, :, config.image_channels].add(0.1)
    student |= {"conv_in": student["conv_in"] | {"kernel": loud}}  # the first pixel's noise
    heard = Run(config).sample_fn()(keys, student, x1, None, None).x0
    assert np.abs(heard - by_teacher).max() > 1e-3


def test_its_noise_is_of_the_picture_and_the_step(whole, teacher):
    """Not of the batch around it; and no step sees the noise of another."""
    workdir, _ = whole
    restorer = Restorer.from_workdir(workdir)
    three = pictures(3)
    together = restorer(three, names=["a", "b", "c"])
    np.testing.assert_allclose(together[1], restorer(three[1:2], names=["b"])[0], atol=1e-6)
    assert np.abs(restorer(three, seed=1, names=["a", "b", "c"]) - together).max() > 1e-6
    Options(samples=2).resolve(restorer.config)  # one evaluation, and yet samples


def test_other_steps_than_it_has_learnt_are_refused(whole, tmp_path):
    workdir, _ = whole
    interop.export_model(workdir, tmp_path / "export")
    for folder in (workdir, tmp_path / "export"):
        restorer = Restorer.from_workdir(folder)
        one = pictures(1)
        assert restorer(one, nfe=1).shape == one.shape
        for options, told in (
            ({"nfe": 2}, "nfe=2: this model is a student that has learnt nfe=1 alone"),
            ({"sampler": "ode"}, "sampler='ode': .*learnt sampler='ddpm' alone"),
        ):
            with pytest.raises(ValueError, match=told):
                restorer(one, **options)
    card = (tmp_path / "export" / "README.md").read_text()
    assert "distilled by inverse, for exactly 1 evaluation of ddpm" in card
    assert "init_from" not in card
    assert str(workdir) not in (tmp_path / "export" / "config.json").read_text()


def test_its_steps_are_not_changed_on_the_way(whole, teacher):
    workdir, _ = whole
    with pytest.raises(ValueError, match=r"sampling\.nfe is 1 there, 2 here"):
        check_start(Run(student_config(teacher, sampling={"nfe": 2})), workdir)


def test_known_pixels_are_kept_and_their_task_has_noise_already():
    config = small_config(teacher="T", corruption="inpaint-center", sampling={"nfe": 2})
    assert config.noise_channels == 0
    generate = make_generate_fn(Run(config).sample_fn())
    batch, mask = make_batch(2), np.zeros((2, 16, 16, 1), np.float32)
    mask[:, 4:12, 4:12] = 1
    params = fresh_params(config)
    made = generate(params, jax.random.split(jax.random.key(1), 2), batch._replace(mask=mask))
    same = np.asarray(made) == batch.degraded
    assert same[:, :4].all() and not same[:, 4:12, 4:12].any()


def test_pairs_have_noise_beside_their_condition():
    config = small_config(
        teacher="T", corruption="pairs",
        data={"source": "pairs", "path": "P", "target_path": "Q", "source_channels": 2,
              "target_channels": 1, "cond_x1": True},
    )  # fmt: skip
    assert (config.noise_channels, config.cond_channels) == (1, 2)
    assert config.unet.in_channels == 4


# --- what is refused ----------------------------------------------------------------------------


def test_an_ot_ode_is_no_teacher(tmp_path):
    deterministic = {"bridge": {"deterministic": True}, "sampling": {"sampler": "ode"}}
    with pytest.raises(ValueError, match=r"bridge\.deterministic=True does not go .* single point"):
        student_config(tmp_path, **deterministic)
    train(tmp_path / "ode", small_config(training={"num_steps": 1}, **deterministic))
    with pytest.raises(ValueError, match="is an OT-ODE: distillation fits the law"):
        check_start(Run(student_config(tmp_path / "ode")), tmp_path / "student")


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"training": {"init_from": "w"}}, "init_from='w': a student starts as its teacher"),
        ({"model": {"dropout": 0.1}}, "dropout=0.1: a student is trained without"),
        ({"distill": {"teacher_nfe": 0}}, "distill.teacher_nfe=0 must lie in 1"),
        ({"distill": {"method": "invers"}}, "did you mean 'inverse'"),
        ({"distill": {"auxiliary_updates": 0}}, "auxiliary_updates=0 must be at least 1"),
    ],
)
def test_what_does_not_go_with_a_teacher(changes, told):
    with pytest.raises(ValueError, match=told):
        student_config("T", **changes)


def test_another_bridge_network_or_task_is_refused(teacher, tmp_path):
    for changes, told in (
        ({"bridge": {"beta_max": 1.0}}, "bridge.beta_max=1.0 must be 0.3, as of teacher="),
        ({"model": {"num_res_blocks": 2}}, "model.num_res_blocks=2 must be 1"),
        ({"corruption": "sr4x-bicubic"}, "corruption='sr4x-bicubic' must be 'sr4x-pool'"),
    ):
        with pytest.raises(ValueError, match=told):
            check_start(Run(student_config(teacher, **changes)), tmp_path)
    assert not any(tmp_path.iterdir())


def test_students_nobodies_and_initial_weights_teach_nothing(whole, teacher, tmp_path):
    with pytest.raises(ValueError, match="is a student itself"):
        check_start(Run(student_config(whole[0])), tmp_path)
    with pytest.raises(ValueError, match="is not a run's folder"):
        check_start(Run(student_config(tmp_path / "none")), tmp_path)
    config, weights = interop.load_model_folder(teacher)
    origin = interop.Provenance(
        source="adm.pt", sha256="0" * 64, licence="MIT", weights="initial", trained=False
    )
    interop.save_model(tmp_path / "initial", config, weights, provenance=origin)
    with pytest.raises(ValueError, match="holds initial weights"):
        check_start(Run(student_config(tmp_path / "initial")), tmp_path / "run")
    trained = dataclasses.replace(origin, weights="ema", licence="NVIDIA's")
    interop.save_model(tmp_path / "model", config, weights, provenance=trained)
    one = student_config(tmp_path / "model", training={"num_steps": 1})
    train(tmp_path / "run", one)  # a licence stays with what was learnt from the weights
    assert interop.read_provenance(tmp_path / "run").licence == "NVIDIA's"


def test_of_pairs_both_must_mean_the_same_by_a_value(tmp_path):
    def ranges(high):
        side = ValueRange(channels=1, dtype="uint8", low=(0.0,), high=(high,), suffix=".png")
        return ValueRanges(source=side, target=side, scaling="percentiles (1, 99)")

    pairs = {
        "corruption": "pairs",
        "data": {"source": "pairs", "path": "P", "target_path": "Q", "source_channels": 1,
                 "target_channels": 1},
    }  # fmt: skip
    plain = small_config(**pairs)
    interop.save_model(tmp_path / "t", plain, fresh_params(plain))
    config = student_config(tmp_path / "t", **pairs)
    abstract = Run(config).abstract_weights
    save_value_ranges(tmp_path / "t", ranges(200.0))
    save_value_ranges(tmp_path / "s", ranges(201.0))
    with pytest.raises(ValueError, match=r"differs from that of teacher=.*: copy its file"):
        load_teacher(config, tmp_path / "s", abstract)
    save_value_ranges(tmp_path / "s", ranges(200.0))
    load_teacher(config, tmp_path / "s", abstract)


# --- the step -----------------------------------------------------------------------------------


class Line(NamedTuple):
    """A student of two numbers, X_0 = a·X_1 + b·z, with its teacher, a network of one."""

    state: DistillState
    teacher: dict
    tx: optax.GradientTransformation

    def step(self, batch, **options):
        step = make_distill_step(
            generate_fn=self.generate, network_fn=lambda params, xt, step, cond: params["w"] * xt,
            schedule=SCHEDULE, update=Update(self.tx, ema_decay=0.9, **options),
            auxiliary_tx=self.tx, auxiliary_updates=2,
        )  # fmt: skip
        return jax.jit(step)(self.state, self.teacher, batch, jax.random.key(0))

    @staticmethod
    def generate(params, keys, batch):
        z = jax.vmap(lambda key: jax.random.normal(key, batch.degraded.shape[1:]))(keys)
        return params["a"] * batch.degraded + params["b"] * z


@pytest.fixture
def line():
    params = {"a": jnp.float32(0.5), "b": jnp.float32(0.1)}
    teacher, tx = {"w": jnp.float32(0.3)}, optax.sgd(0.1)
    return Line(create_distill_state(params, teacher, tx=tx, auxiliary_tx=tx), teacher, tx)


def degraded_only(count):
    x1 = jnp.asarray(make_batch(count).degraded)
    return Batch(clean=jnp.full_like(x1, jnp.nan), degraded=x1)


def test_micro_batches_give_the_same_step(line):
    """Every picture has its own noise, whichever part of the batch it is in."""
    found = [line.step(degraded_only(4), accumulation_steps=count) for count in (1, 2, 4)]
    for other in found[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found[0], other)
    assert found[0][0].params["a"] != line.state.params["a"]


def test_too_long_a_gradient_leaves_the_student_and_not_the_auxiliary_bridge(line):
    after, metrics = line.step(degraded_only(4), skip_norm=1e-12)
    assert metrics["skipped"] == 1 and int(after.step) == 1
    assert_same(after.params, line.state.params)
    assert after.auxiliary_params["w"] != line.teacher["w"]
