"""A bridge that starts at another model's answer: X_T, the run that learns from it, refusals."""

import shutil

import jax
import numpy as np
import optax
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.config import SamplingConfig
from i2sb_jax.data.scaling import (
    ValueRange,
    ValueRanges,
    load_value_ranges,
    save_value_ranges,
)
from i2sb_jax.run import Run
from i2sb_jax.sampling import make_sample_fn, make_start_fn, start_at
from i2sb_jax.sampling.start import END
from i2sb_jax.training import create_state, make_train_step
from i2sb_jax.training.loop import check_start
from i2sb_jax.training.start import load_start
from i2sb_jax.types import StartedParams
from tests.restoration.test_restorer import random_params
from tests.training.tiny import (
    SCHEDULE,
    Killed,
    killed_after,
    linear_apply,
    linear_params,
    make_batch,
    make_config,
    train,
)

SMALL = {"norm": "none", "middle_attention": False}
ONCE = SamplingConfig(sampler="ode", nfe=1)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def within(batch):
    """With X_1 in [-1, 1], as pictures are."""
    return batch._replace(degraded=np.clip(batch.degraded, -1, 1))


# --- X_T -----------------------------------------------------------------------------------------


class Answers:
    """A network by the X̂_0 that it is to have: ε = (x - answer(x)) / σ."""

    def __init__(self, answer):
        self.answer = answer

    def apply(self, variables, x, noise_level, cond=None):
        del variables, noise_level, cond
        return (x - self.answer(x)) / SCHEDULE.scale[-1]


def starting(answer, noise=0.0, **options):
    fn = make_sample_fn(Answers(answer), SCHEDULE, ONCE, record=END)
    return make_start_fn(fn, noise=noise, **options)


def test_a_model_that_changes_nothing_changes_no_bit_of_the_training():
    def step(**options):
        update = make_train_step(
            apply_fn=linear_apply, tx=optax.adam(0.1), schedule=SCHEDULE, ema_decay=0.9,
            accumulation_steps=2, **options,
        )  # fmt: skip
        state = create_state(linear_params(), optax.adam(0.1))
        return jax.jit(update)(state, within(make_batch(4)), jax.random.key(3), {})

    def by(start):
        return lambda params, keys, batch: start(keys, params, batch.degraded, None, None)

    plain, identical = step(), step(start_fn=by(starting(lambda x: x)))
    jax.tree.map(np.testing.assert_array_equal, identical, plain)
    noisy = step(start_fn=by(starting(lambda x: x, noise=0.1)))
    assert noisy[1]["loss"] != plain[1]["loss"]


def test_from_a_perfect_answer_the_bridge_comes_to_the_clean_picture():
    batch = within(make_batch(2))
    bridge = make_sample_fn(Answers(lambda x: x), SCHEDULE, SamplingConfig(sampler="ode", nfe=3))

    def restored(answer):
        sample = start_at(starting(answer), bridge)
        return sample(keys(2), StartedParams({}, {}), batch.degraded, None, None).x0

    np.testing.assert_allclose(restored(lambda x: batch.clean), batch.clean, atol=1e-6)
    assert np.abs(restored(lambda x: x) - batch.clean).max() > 0.1


def test_its_noise_is_the_pictures_own_and_as_large_as_was_said():
    x1 = np.zeros((3, 64, 64, 3), np.float32)
    start = starting(lambda x: x + 0.5, noise=0.2)
    three = start(keys(3), {}, x1, None, None) - 0.5
    np.testing.assert_array_equal(start(keys(3)[1:2], {}, x1[:1], None, None)[0] - 0.5, three[1])
    count = three.size
    assert abs(three.mean()) < 5 * 0.2 / np.sqrt(count)
    assert abs(three.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * count)
    assert np.abs(np.corrcoef(three.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 0.05


def test_answers_are_clipped_where_pictures_are_and_known_pixels_stay():
    x1 = np.full((1, 16, 16, 3), 0.25, np.float32)
    far = starting(lambda x: x + 3, noise=0.0)
    assert (far(keys(1), {}, x1, None, None) == 1).all()
    unbounded = starting(lambda x: x + 3, is_bounded=False)
    np.testing.assert_allclose(unbounded(keys(1), {}, x1, None, None), 3.25, atol=1e-5)
    mask = np.zeros((1, 16, 16, 1), np.float32)
    mask[:, 4:12] = 1
    filled = starting(lambda x: x - 1, noise=0.1)(keys(1), {}, x1, mask, None)
    same = np.asarray(filled == x1)
    assert same[:, :4].all() and same[:, 12:].all() and not same[:, 4:12].any()


# --- the run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder that answers with something else than it is given."""
    folder = tmp_path_factory.mktemp("model")
    config = make_config(model=SMALL)
    interop.save_model(folder, config, random_params(config))
    return folder


def started(model, **overrides):
    bridge = {"start": str(model)} | overrides.pop("bridge", {})
    training = {"num_steps": 4, "checkpoint_every": 2} | overrides.pop("training", {})
    return make_config(model=SMALL, bridge=bridge, training=training, **overrides)


def test_a_killed_run_goes_on_to_the_bit_though_the_model_is_gone(model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    config = started(tmp_path / "model")
    last = train(tmp_path / "whole", config)
    with pytest.raises(Killed):
        train(tmp_path / "killed", config, batches=killed_after(3))
    shutil.rmtree(tmp_path / "model")
    resumed = train(tmp_path / "killed", config)
    jax.tree.map(np.testing.assert_array_equal, resumed, last)
    # both networks come back, and what was frozen is what it was
    kept, params = interop.load_model_folder(tmp_path / "killed")
    assert kept.bridge.start == str(tmp_path / "killed" / "start")
    _, theirs = interop.load_model_folder(model)
    jax.tree.map(np.testing.assert_array_equal, params.start, theirs)
    jax.tree.map(np.testing.assert_array_equal, params.bridge, last.ema_params)
    # another model, or none any more, is no way to go on
    with pytest.raises(ValueError, match=r"bridge\.start is .* there, .* here; choose another"):
        check_start(Run(started(model)), tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "start")
    with pytest.raises(ValueError, match="start is gone, the model that the run starts at"):
        check_start(Run(config), tmp_path / "killed")


PAIRS = {"source": "pairs", "path": "P", "target_path": "Q"}


def suits(model, **overrides):
    check_start(Run(started(model, **overrides)), "nowhere")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"corruption": "jpeg-10"}, "corruption='jpeg-10' must be 'sr4x-pool', or lie within it, "),
        ({"corruption": "pairs", "data": PAIRS}, "corruption='pairs' must be 'sr4x-pool', as of"),
    ],
)
def test_another_task_is_refused(model, changes, told):
    with pytest.raises(ValueError, match=told + ".*bridge.start="):
        suits(model, **changes)


def test_a_range_within_the_models_own_is_its_task(tmp_path):
    config = make_config(model=SMALL, corruption="noise-0-50")
    interop.save_model(tmp_path, config, random_params(config))
    suits(tmp_path, corruption="noise-15-50")
    for wider in ("noise-0-60", "noise-float-0-50"):
        with pytest.raises(ValueError, match=f"corruption='{wider}' must be 'noise-0-50'"):
            suits(tmp_path, corruption=wider)


def ranges(high):
    side = ValueRange(channels=1, dtype="uint8", low=(0.0,), high=(high,), suffix=".png")
    return ValueRanges(source=side, target=side, scaling="percentiles (1, 99)")


def test_of_pairs_both_must_mean_the_same_by_a_value(tmp_path):
    pairs = PAIRS | {"source_channels": 1, "target_channels": 1}
    theirs = make_config(model=SMALL, corruption="pairs", data=pairs)
    interop.save_model(tmp_path / "m", theirs, random_params(theirs))
    save_value_ranges(tmp_path / "m", ranges(200.0))
    with pytest.raises(ValueError, match="scaling='percentiles' must be 'dtype', as of bridge"):
        suits(tmp_path / "m", corruption="pairs", data=pairs | {"scaling": "percentiles"})
    with pytest.raises(ValueError, match=r"corruption='sr4x-pool' must be 'pairs', as of bridge"):
        suits(tmp_path / "m")
    run = Run(started(tmp_path / "m", corruption="pairs", data=pairs))
    save_value_ranges(tmp_path / "run", ranges(201.0))
    with pytest.raises(ValueError, match=r"differs from that of bridge\.start=.*: copy its file"):
        load_start(run, tmp_path / "run")
    save_value_ranges(tmp_path / "run", ranges(200.0))
    load_start(run, tmp_path / "run")
    assert load_value_ranges(tmp_path / "run" / "start") == ranges(200.0)


def test_a_shipped_model_is_named():
    suits("jpeg", corruption="jpeg-told-10-50")
    with pytest.raises(ValueError, match="jpge is neither a folder nor a shipped model: did you"):
        suits("jpge", corruption="jpeg-told-10-50")


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"teacher": "T"}, "is a student, which has learnt its own steps alone: name a bridge"),
        ({"bridge": {"start": "S"}}, "itself starts at the answer of another model: name a bridge"),
        (
            {"bridge": {"start": "S", "name": "irsde"}, "sampling": {"sampler": "ddpm"}},
            "itself starts at the answer of another model: name a bridge that starts at X_1",
        ),
        (
            {"bridge": {"name": "resshift"}, "sampling": {"sampler": "ddpm"}},
            r"is trained to start with noise around X_1 \(bridge.name='resshift'\), and is asked "
            "once, at X_1 itself: name a bridge that starts at X_1",
        ),
        ({"model": {"middle_attention": True}, "image_size": 32}, "image_size=16 must be 32, as"),
        ({"model": {"channel_mult": (1.0,) * 6}, "image_size": 32}, "must be a multiple of 32, e."),
    ],
)
def test_a_model_that_cannot_answer_is_refused(tmp_path, theirs, told):
    network = SMALL | theirs.pop("model", {})
    config = make_config(model=network, sampling={"nfe": 1} | theirs.pop("sampling", {}), **theirs)
    config_lib.save(tmp_path, config)
    with pytest.raises(ValueError, match=told):
        suits(tmp_path)


def test_initial_weights_answer_nothing_and_students_start_at_x1(model, tmp_path):
    config, params = interop.load_model_folder(model)
    origin = interop.Provenance(
        source="adm.pt", sha256="0" * 64, licence="MIT", weights="initial", trained=False
    )
    interop.save_model(tmp_path, config, params, provenance=origin)
    with pytest.raises(ValueError, match="holds initial weights"):
        suits(tmp_path)
    with pytest.raises(ValueError, match="does not go with a teacher: a student is distilled from"):
        started(model, teacher="T")
    with pytest.raises(ValueError, match=r"bridge\.start_noise=-0\.1 must be at least 0"):
        started(model, bridge={"start_noise": -0.1})


def test_a_bridge_that_starts_elsewhere_teaches_nothing(model, tmp_path):
    interop.save_model(
        tmp_path / "started", started(model), StartedParams(*[random_params(started(model))] * 2)
    )
    student = make_config(model=SMALL, teacher=str(tmp_path / "started"), sampling={"nfe": 1})
    with pytest.raises(ValueError, match=r"starts at another model's answer .*, and a student is"):
        check_start(Run(student), tmp_path / "student")
