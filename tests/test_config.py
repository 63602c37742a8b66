"""The three gates of a configuration, and what of it may change when a run goes on."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from i2sb_jax.config import (
    BridgeConfig,
    Config,
    DataConfig,
    ModelConfig,
    check_key,
    from_config_dict,
    to_dict,
)
from i2sb_jax.config.__main__ import page, table
from i2sb_jax.models import UNetConfig, adm_256

pytest.importorskip("ml_collections")

from i2sb_jax.configs import base

CONFIGS = pathlib.Path(base.__file__).parent


def values(changes=None):
    """The defaults as plain dicts, on scikit-image's photographs; `changes` by dotted key."""
    plain = base.get_config().to_dict()
    for key, value in {"data.source": "photos", **(changes or {})}.items():
        section, name = find(plain, key)
        section[name] = value
    return plain


def find(tree, key):
    """The dict of a dotted key, and its last name."""
    *sections, name = key.split(".")
    for section in sections:
        tree = tree[section]
    return tree, name


def keys_of(tree, prefix=""):
    """Dotted names of all leaves of nested dicts, or of a dataclass and its sections."""
    if dataclasses.is_dataclass(tree):
        tree = {field.name: field.type for field in dataclasses.fields(tree)}
    for key, value in tree.items():
        if isinstance(value, dict) or dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{key}.")
        else:
            yield prefix + key


KEYS = tuple(keys_of(Config))
PAIRS = {"corruption": "pairs", "data.source": "pairs", "data.path": "somewhere"}


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def test_base_is_locked():
    config = base.get_config()
    for section in (config, *(value for value in config.values() if hasattr(value, "items"))):
        assert section.is_locked
        with pytest.raises(AttributeError):
            section.no_such_key = 1


def test_base_and_dataclasses_have_the_same_keys():
    assert sorted(keys_of(base.get_config().to_dict())) == sorted(KEYS)


def test_every_key_is_explained_once():
    """The page of keys is what the command prints; a field without a meaning would stop it."""
    assert (CONFIGS.parent / "docs" / "keys.md").read_text() == page()
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `([\w.]+)`", row)[1] for row in rows] == sorted(
        KEYS, key=lambda key: ("." in key, KEYS.index(key))
    )
    assert "| `bridge.num_steps` | `1000` | N, steps of the bridge; even |" in rows
    assert "    num_steps: N, steps of the bridge; even" in BridgeConfig.__doc__.splitlines()
    with pytest.raises(KeyError, match="meaning"):
        list(table(dataclasses.make_dataclass("Bare", [("seed", int, 0)]), prefix=""))


def test_defaults_of_dataclasses_are_those_of_base():
    config = Config(data=DataConfig(source="photos"))
    assert config == from_config_dict(values())
    with pytest.raises(ValueError, match=r"^data.path='' must name a directory"):
        Config()
    other = Config(corruption="pairs", data=DataConfig(source="pairs", path="a", cond_x1=True))
    assert other == from_config_dict(values({**PAIRS, "data.path": "a", "data.cond_x1": True}))


def test_keys_of_the_model_are_the_networks():
    model, network = ModelConfig(), adm_256(in_channels=6)
    assert model.unet_config(in_channels=6) == network
    of_network = {field.name: field for field in dataclasses.fields(UNetConfig)}
    channels = {"in_channels", "out_channels"}
    assert {field.name for field in dataclasses.fields(model)} == set(of_network) - channels
    for field in dataclasses.fields(model):
        twin = of_network[field.name]
        assert field.metadata["meaning"] == twin.metadata["meaning"]
        assert field.type == (str if field.name == "dtype" else twin.type)


ODE = {"bridge.deterministic": True, "sampling.sampler": "ode"}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sede": 1}, ("unknown config key 'sede'", "'seed'")),
        ({"bridge.num_step": 1}, ("unknown config key 'bridge.num_step'", "'num_steps'")),
        ({"model": 3}, ("model=3", "section")),
        ({"seed": "0"}, ("seed='0'", "int")),
        ({"seed": True}, ("seed=True", "int")),
        ({"seed": 0.5}, ("seed=0.5", "int")),
        ({"data.flip": 1}, ("data.flip=1", "bool")),
        ({"optimizer.b1": "0.9"}, ("optimizer.b1='0.9'", "float")),
        ({"corruption": None}, ("corruption=None", "str")),
        ({"model.channel_mult": 2.0}, ("model.channel_mult=2.0", "sequence")),
        ({"model.channel_mult": [1, "2"]}, ("model.channel_mult[1]='2'", "float")),
    ],
    ids=str,
)
def test_second_gate(change, words):
    with pytest.raises(ValueError) as error:
        from_config_dict(values(change))
    assert all(word in one_line(error) for word in words), error.value


@pytest.mark.parametrize("key", KEYS)
def test_no_key_may_be_missing(key):
    plain = values()
    section, name = find(plain, key)
    del section[name]
    with pytest.raises(ValueError) as error:
        from_config_dict(plain)
    assert f"config key {key!r} is missing" in one_line(error)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"corruption": "blur-unif"}, ("'blur-unif'", "'blur-uni'")),
        ({"corruption": "jpeg-5", "image_size": 100}, ("16", "100", "96 or 112")),
        ({"image_size": 72}, ("image_size=72", "multiple of 32, e.g. 64")),
        ({"matmul_precision": "hi"}, ("matmul_precision='hi'", "default, high, highest")),
        ({"bridge.num_steps": 999}, ("bridge.num_steps=999", "even", "e.g. 1000")),
        ({"bridge.num_steps": 0}, ("bridge.num_steps=0", "at least 2")),
        ({"bridge.beta_max": 0.0}, ("bridge.beta_max=0.0", "positive")),
        ({"bridge.beta_max": float("nan")}, ("bridge.beta_max=nan", "finite")),
        ({"bridge.deterministic": True}, ("sampler='ddpm'", "'ode'")),
        ({"model.model_channels": 31}, ("model: model_channels is 31", "even")),
        ({"model.norm_groups": 48}, ("model: level 0", "norm_groups 48")),
        ({"model.channel_mult": []}, ("model: channel_mult is empty",)),
        ({"model.attention_downsamples": [3]}, ("attention_downsamples has 3", "1, 2, 4")),
        ({"model.head_channels": 48}, ("model: level", "head_channels 48")),
        ({"model.num_res_blocks": 0}, ("num_res_blocks is 0",)),
        ({"model.dropout": 1.0}, ("dropout is 1.0", "[0, 1)")),
        ({"model.dtype": "float16"}, ("'float16'", "bfloat16")),
        ({"model.remat": "all"}, ("remat is 'all'", "none, blocks, dots")),
        ({"data.source": "foldr"}, ("data.source='foldr'", "did you mean 'folder'")),
        ({"data.source": "folder"}, ("data.path=''", "directory")),
        ({"data.path": "pictures"}, ("data.path='pictures'", "'photos'", "'folder'")),
        ({"data.eval_path": "pictures"}, ("data.eval_path='pictures'", "'photos'")),
        ({"data.source": "synthetic", "data.path": "x"}, ("data.path='x'", "'synthetic'")),
        ({"data.scales": ()}, ("data.scales=()", "(0, 1]")),
        ({"data.scales": (1.0, 0.0)}, ("data.scales=(1.0, 0.0)", "(0, 1]")),
        ({"data.scales": (2.0,), "data.crop": "window"}, ("data.scales=(2.0,)", "(0, 1]")),
        ({"data.scales": (1.0, 0.5)}, ("data.scales=(1.0, 0.5)", "data.crop='window'")),
        ({**PAIRS, "data.scales": (0.5,)}, ("data.scales=(0.5,)", "pairs")),
        ({"data.grain": (2.0,)}, ("data.grain=(2.0,)", "two")),
        ({"data.grain": (2.0, 1.0)}, ("data.grain=(2.0, 1.0)", "lower")),
        ({"data.grain": (-1.0, 1.0)}, ("data.grain=(-1.0, 1.0)", "0…128")),
        ({**PAIRS, "data.grain": (0.0, 1.0)}, ("data.grain=(0.0, 1.0)", "pairs")),
        ({"data.source": "records"}, ("data.path=''", "directory")),
        ({"data.source": "tfds"}, ("data.tfds_name=''", "builder")),
        ({"data.crop": "centre"}, ("data.crop='centre'", "resize, window")),
        ({"data.eval_fraction": 1.0}, ("data.eval_fraction=1.0", "[0.0, 1.0)")),
        ({"data.max_unreadable": -1}, ("data.max_unreadable=-1", "at least 0")),
        ({"corruption": "pairs"}, ("'pairs'", "data.source='photos'", "both")),
        ({"data.source": "pairs", "data.path": "a"}, ("corruption='sr4x-pool'", "both")),
        ({**PAIRS, "mask_file": "m.npz"}, ("mask_file='m.npz'", "no masks")),
        ({**PAIRS, "data.path": ""}, ("data.path=''", "'pairs'")),
        ({**PAIRS, "data.eval_fraction": 0.0}, ("data.eval_fraction=0.0", "0.02")),
        ({**PAIRS, "data.eval_path": "somewhere"}, ("data.eval_path='somewhere'", "other")),
        ({**PAIRS, "data.target_path": "somewhere"}, ("data.target_path='somewhere'", "''")),
        ({**PAIRS, "data.target_path": "b", "data.eval_path": "c"}, ("eval_target_path=''",)),
        ({**PAIRS, "data.eval_path": "c", "data.eval_target_path": "d"}, ("'d'", "target_path")),
        ({**PAIRS, "data.source_side": "top"}, ("data.source_side='top'", "left, right")),
        ({**PAIRS, "data.scaling": "dtypes"}, ("'dtypes'", "did you mean 'dtype'")),
        ({**PAIRS, "data.source_channels": 0}, ("data.source_channels=0", "at least 1")),
        ({**PAIRS, "data.target_channels": 0}, ("data.target_channels=0", "at least 1")),
        ({**PAIRS, "data.source_channels": 1}, ("source_channels=1", "equal", "one picture")),
        (
            {**PAIRS, "data.target_path": "b", "data.source_channels": 2},
            ("data.source_channels=2", "data.target_channels=3", "data.cond_x1=True"),
        ),
        ({**PAIRS, "data.source_range": [1, 1]}, ("data.source_range=(1.0, 1.0)", "lower")),
        ({**PAIRS, "data.target_range": [1.0]}, ("data.target_range=(1.0,)", "two")),
        ({**PAIRS, "data.percentiles": [-1, 50]}, ("data.percentiles=(-1.0, 50.0)", "0…100")),
        ({**PAIRS, "data.group_pattern": "("}, ("data.group_pattern='('",)),
        ({**PAIRS, "data.shuffle_channels": True}, ("data.shuffle_channels=True", "False")),
        ({"data.cond_x1": True}, ("data.cond_x1=True", "'pairs', not 'photos'")),
        ({"data.target_path": "b"}, ("data.target_path='b'", "not 'photos'")),
        ({"data.group_pattern": "b"}, ("data.group_pattern='b'", "not 'photos'")),
        ({"data.eval_list": "b"}, ("data.eval_list='b'", "photos")),
        ({"optimizer.schedule": "linear"}, ("optimizer.schedule='linear'", "step, cosine")),
        ({"optimizer.learning_rate": 0.0}, ("optimizer.learning_rate=0.0", "positive")),
        ({"optimizer.warmup_steps": -1}, ("optimizer.warmup_steps=-1", "at least 0")),
        ({"optimizer.decay_every": 0}, ("optimizer.decay_every=0", "at least 1")),
        ({"optimizer.decay_rate": 1.5}, ("optimizer.decay_rate=1.5", "(0, 1]")),
        ({"optimizer.b1": 1.0}, ("optimizer.b1=1.0", "[0.0, 1.0)")),
        ({"optimizer.b2": -0.1}, ("optimizer.b2=-0.1", "[0.0, 1.0)")),
        ({"optimizer.eps": 0.0}, ("optimizer.eps=0.0", "positive")),
        ({"optimizer.weight_decay": -1.0}, ("optimizer.weight_decay=-1.0", "at least 0")),
        ({"optimizer.clip_norm": -1.0}, ("optimizer.clip_norm=-1.0", "at least 0")),
        ({"optimizer.skip_norm": -1.0}, ("optimizer.skip_norm=-1.0", "at least 0")),
        (
            {"optimizer.clip_norm": 2.0, "optimizer.skip_norm": 1.0},
            ("optimizer.clip_norm=2.0", "optimizer.skip_norm=1.0"),
        ),
        ({"training.keep_every": -1}, ("training.keep_every=-1", "at least 0")),
        ({"training.keep_every": 7}, ("training.keep_every=7", "checkpoint_every=5000")),
        ({"training.num_steps": 0}, ("training.num_steps=0", "at least 1")),
        ({"training.batch_size": 0}, ("training.batch_size=0", "at least 1")),
        ({"training.accumulation_steps": 0}, ("training.accumulation_steps=0", "at least 1")),
        ({"training.accumulation_steps": 3}, ("training.batch_size=256", "steps=3")),
        ({"training.ema_decay": 1.0}, ("training.ema_decay=1.0", "[0.0, 1.0)")),
        ({"training.log_every": 0}, ("training.log_every=0", "at least 1")),
        ({"training.image_every": 0}, ("training.image_every=0", "at least 1")),
        ({"training.checkpoint_every": 0}, ("training.checkpoint_every=0", "at least 1")),
        ({"training.keep_checkpoints": 0}, ("training.keep_checkpoints=0", "at least 1")),
        ({"sampling.sampler": "ddim"}, ("sampler='ddim'", "ddpm, ode, implicit, implicit2")),
        ({"sampling.spacing": "even"}, ("spacing='even'", "index, sigma, lambda")),
        ({"sampling.eta": 0.5}, ("eta=0.5", "sampler='implicit'", "'ddpm'")),
        ({"sampling.sampler": "implicit", "sampling.eta": 2.0}, ("eta=2.0", "0…1")),
        ({"sampling.sampler": "implicit2", "sampling.eta": 1.0}, ("eta=1.0", "'implicit2' takes")),
        (
            {"bridge.deterministic": True, "sampling.sampler": "implicit"},
            ("sampler='implicit'", "booting", "'ode'"),
        ),
        ({"bridge.name": "vpp"}, ("bridge.name='vpp'", "did you mean 'vp'")),
        ({"bridge.name": "ou", "sampling.spacing": "sigma"}, ("'sigma'", "'ou'", "'lambda'")),
        ({"bridge.prediction": "noise"}, ("bridge.prediction='noise'", "epsilon, x0, v")),
        ({"bridge.log_floor": -1.0}, ("bridge.log_floor=-1.0", "at least 0")),
        ({"bridge.gamma": -0.1}, ("bridge.gamma=-0.1", "at least 0")),
        ({"bridge.penalty": 0.0}, ("bridge.penalty=0.0", "positive")),
        (
            {"bridge.name": "brownian", "bridge.gamma": 0.2},
            ("bridge.gamma=0.2", "of bridge.name='linear'", "'brownian' has none", "leave it 0.0"),
        ),
        ({"bridge.penalty": 9.0}, ("bridge.penalty=9.0", "of bridge.name='unidb'", "10000000.0")),
        (
            {"bridge.name": "linear", "bridge.weighting": "truncated_snr"} | ODE,
            ("weighting='truncated_snr' is infinite", "no noise", "'min_snr'"),
        ),
        (
            {"bridge.name": "irsde", "teacher": "T", "distill.method": "regression"},
            ("distill.method='regression'", "bridge.name='irsde'", "noise around", "'inverse'"),
        ),
        (
            {"bridge.name": "linear", "sampling.spacing": "sigma"} | ODE,
            ("spacing='sigma'", "'linear'", "use 'index'"),
        ),
        (
            {"bridge.name": "linear"},
            ("bridge.gamma=0.0", "'linear' has no noise", "bridge.deterministic=True"),
        ),
        (
            {"bridge.name": "linear", "bridge.gamma": 0.2} | ODE,
            ("bridge.gamma=0.2", "'linear' has noise", "bridge.deterministic=False"),
        ),
        (
            {"bridge.name": "linear", "sampling.spacing": "lambda"} | ODE,
            ("spacing='lambda'", "'linear' without noise", "'index'"),
        ),
        (
            {"bridge.name": "irsde", "sampling.sampler": "ode2"},
            ("sampler='ode2'", "start with noise", "'ddpm'"),
        ),
        (
            {"bridge.deterministic": True, "sampling.sampler": "heun"},
            ("sampler='heun'", "booting", "'ode'"),
        ),
        (
            {"bridge.x1_input": True, "corruption": "colorize"},
            ("bridge.x1_input=True", "sees what X_1 is made of already", "'colorize'"),
        ),
        (
            {"bridge.name": "linear", "bridge.x1_input": True} | ODE,
            ("bridge.x1_input=True", "bridge.deterministic=True", "use x1_input=False"),
        ),
        ({"bridge.end_share": 1.5}, ("bridge.end_share=1.5", "0…1")),
        ({"model.sharpened": (1.0, -2.0)}, ("sharpened has -2.0", "above 0")),
        ({"model.thresholded": (0.0,)}, ("thresholded has 0.0", "above 0")),
        ({"model.thresholded": (3.0, 30.0)}, ("thresholded has 30.0", "up to 10 deviations")),
        ({"model.patch": 3}, ("patch is 3", "1, 2, 4")),
        ({"bridge.weighting": "snr2"}, ("bridge.weighting='snr2'", "did you mean 'snr'")),
        ({"sampling.nfe": 0}, ("sampling.nfe=0", "1…999")),
        ({"sampling.nfe": 1000}, ("sampling.nfe=1000", "1…999")),
        ({"sampling.batch_size": 0}, ("sampling.batch_size=0", "at least 1")),
    ],
    ids=str,
)
def test_third_gate(change, words):
    with pytest.raises(ValueError) as error:
        from_config_dict(values(change))
    assert all(word in one_line(error) for word in words), error.value


@pytest.mark.parametrize(
    "change",
    [
        {"sampling.nfe": 999},
        {"sampling.nfe": 1},
        {"bridge.num_steps": 2, "sampling.nfe": 1},
        {"optimizer.decay_rate": 1.0},
        {"optimizer.b1": 0.0},
        {"training.ema_decay": 0.0},
        ODE,
        {"bridge.name": "linear"} | ODE,
        {"bridge.name": "linear", "bridge.gamma": 0.2, "sampling.sampler": "exponential"},
        {"bridge.name": "irsde", "bridge.x1_input": True},
        {"bridge.name": "resshift", "bridge.deterministic": True, "sampling.sampler": "ode2"},
        {"bridge.beta_max": 1},
    ],
    ids=str,
)
def test_the_ends_of_the_ranges_pass(change):
    from_config_dict(values(change))


def test_check_key():
    for key in (*KEYS, "bridge", "model"):
        check_key(key)
    with pytest.raises(ValueError) as error:
        check_key("training.batchsize")
    assert "'training.batchsize': did you mean 'batch_size'?" in one_line(error)
    with pytest.raises(ValueError):
        check_key("bridge.num_steps.x")


def test_round_trip_through_json():
    config = from_config_dict(values())
    again = from_config_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert isinstance(again.model.channel_mult, tuple) and hash(again) == hash(config)


def test_validation_builds_no_operator_and_meets_no_device():
    """Where both would fail, every task's configuration is read as anywhere."""
    program = (
        "import json, sys\n"
        "import jax, numpy\n"
        "from i2sb_jax.config import from_config_dict\n"
        "from i2sb_jax.corruptions import corruption_names, make_corruption\n"
        "numpy.linalg.svd = None\n"
        "values = json.load(sys.stdin)\n"
        "for name in corruption_names():\n"
        "    from_config_dict(values | {'corruption': name})\n"
        "for build in (jax.devices, lambda: make_corruption('blur-uni', image_size=256)):\n"
        "    try:\n"
        "        build()\n"
        "    except (RuntimeError, TypeError):\n"
        "        continue\n"
        "    sys.exit('nothing would have failed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"JAX_PLATFORMS": "no_such_platform"},
        input=json.dumps(values()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
