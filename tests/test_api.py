"""The conventions of the public functions: key first, options by keyword, a docstring each."""

import importlib
import inspect
import types

import pytest

from i2sb_jax import metrics, models, training
from i2sb_jax.bridge import BridgeSchedule
from i2sb_jax.corruptions import Corruption
from i2sb_jax.restoration import Restorer
from i2sb_jax.types import Batch

PACKAGES = (
    "bridge",
    "corruptions",
    "models",
    "interop",
    "learning",
    "losses",
    "restoration",
    "sampling",
    "training",
)
MODULES = ("metrics",)
KEY_NAMES = ("key", "keys")

# what has a default and may yet be given by position, since everybody does
POSITIONAL_DEFAULTS = {("Corruption.degrade", "mask"), ("UNet.__call__", "cond")}

# name: parameters; those after * are by keyword only, = marks a default
SIGNATURES = {
    "bridge.make_symmetric_schedule": "* num_steps beta_max",
    "bridge.marginal": "schedule step x0 x1",
    "bridge.q_sample": "key schedule step x0 x1 * deterministic=",
    "bridge.regression_target": "schedule step xt x0 * prediction=",
    "bridge.predict_x0": "schedule step xt output * prediction= clip=",
    "bridge.posterior": "schedule step_prev step xt x0",
    "bridge.posterior_sample": "key schedule step_prev step xt x0 * deterministic=",
    "bridge.step_grid": "num_steps nfe * spacing= schedule=",
    "bridge.sample": (
        "key schedule predict_x0_fn x1 * steps mask= deterministic= record= normal_fn="
    ),
    "bridge.sample_implicit": (
        "key schedule predict_x0_fn x1 * steps mask= eta= order= record= normal_fn="
    ),
    "bridge.make_sampler": "name * eta=",
    "bridge.make_gaussian_bridge": "* a b c scale noise_level= kept= start_std=",
    "models.UNetConfig": (
        "* model_channels channel_mult num_res_blocks attention_downsamples head_channels "
        "in_channels= out_channels= norm_groups= norm= patch= middle_attention= sharpened= "
        "thresholded= dropout= dtype= remat="
    ),
    "models.UNet.__call__": "self x noise_level cond= * train=",
    "models.adm_256": "**overrides",
    "corruptions.make_corruption": "name * image_size mask_file=",
    "corruptions.Corruption.__call__": "self key images * index=",
    "corruptions.Corruption.degrade": "self images mask= * index=",
    "interop.params_from_state_dict": "state_dict config",
    "interop.load_model_folder": "path * checkpoint=",
    "interop.load_weights": "source abstract * checkpoint=",
    "losses.bridge_loss": (
        "key schedule predict_fn batch * deterministic= prediction= weighting= end_share= "
        "log_floor="
    ),
    "losses.bridge_losses": (
        "keys schedule predict_fn batch * deterministic= prediction= weighting= end_share= "
        "log_floor="
    ),
    "training.make_train_step": (
        "* apply_fn tx schedule ema_decay accumulation_steps= skip_norm= start_fn= **loss_options"
    ),
    "restoration.Restorer.from_workdir": "path * checkpoint= dtype= on_evaluation=",
    "restoration.load_model": "path * checkpoint=",
    "restoration.Restorer.__call__": (
        "self images * nfe= sampler= seed= mask= member= told= names= strength= record= **sampling"
    ),
    "metrics.psnr": "a b * data_range= valid=",
    "metrics.ssim": "a b * data_range= valid=",
}  # fmt: skip


def exported():
    """(name, object) of everything public."""
    for package in PACKAGES:
        module = importlib.import_module(f"i2sb_jax.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):  # no alias, no tuple of names
                yield name, value
    for module in MODULES:
        module = importlib.import_module(f"i2sb_jax.{module}")
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                yield name, value


def is_own(function):
    """Written by us: neither inherited from a framework nor made by a decorator."""
    return function.__module__.startswith("i2sb_jax") and function.__doc__ is not None


def public_callables():
    """(qualified name, function) of every public function and method, none private."""
    for name, value in exported():
        if not inspect.isclass(value):
            if not name.startswith("_"):
                yield name, value
            continue
        for attribute, member in vars(value).items():
            function = getattr(member, "__func__", member)
            shown = attribute in ("__call__", "__init__") or not attribute.startswith("_")
            if shown and isinstance(function, types.FunctionType) and is_own(function):
                yield f"{name}.{attribute}", function


PUBLIC = dict(public_callables())


def misplaced_keys(function):
    """Parameters that break "key first, and called key"."""
    # xp, the array module of a backend, is what `self` is: not an input
    names = [n for n in inspect.signature(function).parameters if n not in ("self", "xp")]
    late = [name for name in names[1:] if name in KEY_NAMES]
    return late + [name for name in names if name in ("rng", "prng", "prng_key", "rng_key")]


def positional_defaults(function):
    """Parameters that have a default and may be given by position."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
    ]


def shown(function):
    """A signature as in SIGNATURES."""
    parts, by_keyword = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            parts.append(f"**{parameter.name}")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not by_keyword:
            parts.append("*")
            by_keyword = True
        default = "" if parameter.default is parameter.empty else "="
        parts.append(parameter.name + default)
    return " ".join(parts)


def test_there_is_something_to_check():
    wanted = {"sample", "bridge_loss", "Corruption.__call__", "UNet.__call__", "Restorer.__call__"}
    assert wanted <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_key_first_and_options_by_keyword(name):
    assert misplaced_keys(PUBLIC[name]) == []
    offending = [
        parameter
        for parameter in positional_defaults(PUBLIC[name])
        if (name, parameter) not in POSITIONAL_DEFAULTS
    ]
    assert offending == []


@pytest.mark.parametrize("name", dict(exported()))
def test_docstrings(name):
    value = dict(exported())[name]
    assert (value.__doc__ or "").strip()
    assert not value.__doc__.startswith(f"{name}(")  # what dataclass and NamedTuple fill in
    for attribute, member in vars(value).items() if inspect.isclass(value) else ():
        public = attribute == "__call__" or not attribute.startswith("_")
        if public and getattr(member, "__module__", "").startswith("i2sb_jax"):
            assert member.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    package, *path = name.split(".")
    value = importlib.import_module(f"i2sb_jax.{package}")
    for part in path:
        value = getattr(value, part)
    assert shown(value) == SIGNATURES[name]


def test_the_train_step_is_the_exception():
    step = training.make_train_step(apply_fn=None, tx=None, schedule=None, ema_decay=0.9)
    assert shown(step) == "state batch key start="


def test_fields():
    assert Batch._fields == ("clean", "degraded", "mask", "cond", "label", "name", "valid")
    assert Batch._field_defaults == dict.fromkeys(("mask", "cond", "label", "name", "valid"))
    assert training.TrainState._fields == ("step", "params", "ema_params", "opt_state")
    assert set(BridgeSchedule.__dataclass_fields__) == {
        *("std_fwd", "std_bwd", "noise_level", "num_steps", "x1_input")
    }
    assert inspect.signature(metrics.psnr).parameters["data_range"].default == 2.0


def test_a_breach_is_noticed():
    assert misplaced_keys(lambda x, key: None) == ["key"]
    assert misplaced_keys(lambda rng, x: None) == ["rng"]
    assert misplaced_keys(lambda key, x: None) == []
    assert positional_defaults(lambda x, clip=False: None) == ["clip"]
    assert positional_defaults(lambda x, *, clip=False: None) == []
    assert shown(lambda x, y=1, *, z, **rest: None) == "x y= * z **rest"
    assert is_own(Corruption.__call__) and is_own(Restorer.__call__)
    assert not is_own(models.UNet.init)
