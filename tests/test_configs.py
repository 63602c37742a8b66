"""Every config file: through the three gates, its shapes, its docstring, and two steps of it."""

import dataclasses
import functools
import importlib
import pathlib

import jax
import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax import data
from i2sb_jax.cli.tasks import task_file
from i2sb_jax.configs import imagenet256
from i2sb_jax.interop import save_model
from i2sb_jax.models import UNet
from i2sb_jax.run import Run
from i2sb_jax.training import loop
from i2sb_jax.types import Batch
from tests.data.paired import noise, write_arrays
from tests.training.tiny import Recorder, fresh_params

pytest.importorskip("tensorflow")

ROOT = pathlib.Path(__file__).parent.parent
TINY = {
    "model": {
        "model_channels": 8,
        "channel_mult": (1.0,),
        "num_res_blocks": 1,
        "attention_downsamples": (),
        "head_channels": 8,
        "norm_groups": 4,
    },
    "training": {"num_steps": 2, "batch_size": 4, "accumulation_steps": 2, "log_every": 1},
    "sampling": {"nfe": 2, "batch_size": 2},
    "mesh": {"fsdp": 1},
}


def config_modules():
    """Dotted names below i2sb_jax.configs of all files that can be given to --config."""
    for path in sorted((ROOT / "configs").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "configs").with_suffix("").parts)
        if "def get_config(" in path.read_text() and name != "base":
            yield name


MODULES = list(config_modules())
TASKS = [f"imagenet256.{file.removesuffix('.py')}" for file in imagenet256.TASKS.values()]
# those of the same network and code as another, only with other operators and numbers: slow
ALIKE = {
    *("imagenet256.jpeg5", "imagenet256.jpeg10", "imagenet256.sr4x_pool"),
    *("imagenet256.sr4x_bicubic", "imagenet256.blur_uni"),
    "imagenet256.colorize",
    "imagenet256.distill_sr4x_bicubic",
    *("imagenet256.blur_gauss", "imagenet256.inpaint_freeform1020"),
    *("imagenet256.inpaint_freeform2030", "translation.day2night"),
}
ALL_BUT_ALIKE = [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in MODULES]
# one of each kind of run; the others differ from one of these in what other tests look at
KINDS = ("quickstart", "distill_small_adm", "imagenet256.mixture", "translation.tif16")
ONE_OF_A_KIND = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in KINDS)) for name in MODULES
]


def load(name, **overrides):
    """The validated configuration of a config file, changed as `section={key: value}` says."""
    values = importlib.import_module(f"i2sb_jax.configs.{name}").get_config()
    for key, value in overrides.items():
        if isinstance(value, dict):
            values[key].update(value)
        else:
            values[key] = value
    if values.data.source == "folder" and not values.data.path:  # which only the user knows
        values.data.path = "photographs"
    if ".distill_" in name and not values.teacher:
        values.teacher = "a bridge"
    return config_lib.from_config_dict(values.to_dict())


@functools.cache  # tasks share networks, and tracing one of ADM's size takes a while
def output_shape(unet, size):
    """What a network gives for a picture of the run's own size."""
    extra = unet.in_channels - unet.out_channels
    image, cond = (
        jax.ShapeDtypeStruct((1, size, size, channels), np.float32) if channels else None
        for channels in (unet.out_channels, extra)
    )
    level = jax.ShapeDtypeStruct((1,), np.float32)
    output, _ = jax.eval_shape(UNet(unet).init_with_output, jax.random.key(0), image, level, cond)
    return output.shape


def train_state(config):
    """Shapes of the state before and after a step on the config's own batch."""
    size, batch = config.image_size, config.training.batch_size
    image, cond = (
        jax.ShapeDtypeStruct((batch, size, size, channels), np.float32) if channels else None
        for channels in (config.image_channels, config.cond_channels)
    )
    key = jax.random.key(0)
    run = Run(config)
    state = jax.eval_shape(lambda: run.init_state(key))
    batch, frozen = Batch(image, image, cond=cond), run.teacher if config.teacher else run.start
    weights = frozen and jax.eval_shape(frozen.init_params, key)
    return state, jax.eval_shape(run.step, state, batch, key, weights)


def test_every_file_of_the_paper_is_a_task():
    assert [name for name in MODULES if name.startswith("imagenet256.")] == TASKS
    for task in imagenet256.TASKS:
        assert pathlib.Path(task_file(task.replace("_", "-"))).is_file()


def test_the_paper_has_nine_tasks_and_we_two_more():
    corruptions = {load(name).corruption for name in TASKS}
    from i2sb_jax.corruptions.names import MIXTURE_NAMES

    assert corruptions == {*MIXTURE_NAMES, "mixture", "colorize"}


@pytest.mark.parametrize("name", MODULES)
def test_it_says_command_hardware_and_what_to_expect(name):
    text = importlib.import_module(f"i2sb_jax.configs.{name}").__doc__
    path = "configs/" + name.replace(".", "/") + ".py"
    assert f"i2sb-train --config {path}" in text and "--workdir" in text
    assert "Hardware" in text and ("Expected" in text or "Measured" in text)


@pytest.mark.parametrize("name", TASKS)
def test_the_recipe_is_the_papers(name):
    config = load(name)
    restores_noise_free = config.corruption.startswith(("blur-", "inpaint-"))
    assert config.bridge.deterministic == restores_noise_free
    assert config.bridge.beta_max == (1.0 if restores_noise_free else 0.3)
    assert (config.bridge.num_steps, config.training.batch_size) == (1000, 256)
    assert (config.optimizer.learning_rate, config.optimizer.decay_rate) == (5e-5, 0.99)


@pytest.mark.parametrize("name", ALL_BUT_ALIKE)
def test_its_network_and_its_training_step_have_the_right_shapes(name):
    # of the equal blocks of a level one will do: tracing all of ADM's takes a while
    config = load(name, model={"num_res_blocks": 1})
    size = config.image_size
    assert output_shape(config.unet, size) == (1, size, size, config.image_channels)
    # the way back, the optimizer and the batch are those of any network
    state, (after, metrics) = train_state(load(name, model=TINY["model"]))
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert metrics["loss"].shape == ()


def write_pairs(folder, config):
    """Files as a config of pairs wants them; the paths to them."""
    options = config.data
    channels = {"path": options.source_channels}
    if options.target_path:
        channels["target_path"] = options.target_channels
    return {
        key: write_arrays(
            folder / key,
            {f"{n}.tif": noise(n, channels=count, dtype=np.uint16, width=40) for n in range(4)},
        )
        for key, count in channels.items()
    }


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_two_steps_of_it_train_at_a_tiny_size(name, tmp_path):
    from i2sb_jax.data.pipeline import Examples, Share, eval_batches, train_batches

    pairs = load(name).has_pairs
    pictures = write_pairs(tmp_path, load(name)) if pairs else {"source": "photos"}
    config = load(name, image_size=16, data={"crop": "window", **pictures}, **TINY)
    if config.teacher:
        config = dataclasses.replace(config, teacher=str(tmp_path / "teacher"))
        plain = config.without_teacher()
        save_model(config.teacher, plain, fresh_params(plain))
    source, _ = data.make_sources(config.data, tmp_path, report=print)
    examples = Examples(Run(config).corruption, config.data, 16)

    def batches(start):
        return train_batches(source, examples, Share(4), seed=config.seed, start_step=start)

    preview = next(eval_batches(source, examples, Share(2)))
    writer = Recorder()
    start = loop.check_start(Run(config), tmp_path)
    state = loop.train(start, batches=batches, eval_batch=preview, writer=writer)
    assert int(state.step) == 2
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert (tmp_path / "images" / "step_00000002.png").exists()
