"""The three gates of a configuration, and what of it may change when a run goes on."""

import dataclasses
import json
import pathlib

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.config import Config, check_key, from_config_dict, to_dict

pytest.importorskip("ml_collections")

from configs import base

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


def test_every_key_of_base_is_explained():
    source = pathlib.Path(base.__file__).read_text().splitlines()
    names = {key.rpartition(".")[2] for key in KEYS} - {"b1", "b2", "eps"}
    for name in names:
        # config.data is a section, mesh.data a key
        lines = [line for line in source if f".{name} = " in line and " = _" not in line]
        assert lines and all("  # " in line for line in lines), name


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
        ({"sampling.sampler": "ddim"}, ("sampler='ddim'", "ddpm, ode")),
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
        {"bridge.deterministic": True, "sampling.sampler": "ode"},
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


def test_save_and_load(tmp_path):
    config = from_config_dict(values({"seed": 7}))
    config_lib.save(tmp_path / "run", config)
    assert config_lib.load(tmp_path / "run") == config


@pytest.mark.parametrize(
    "text, words",
    [
        (None, ("is not a run's folder", "config.json")),
        ("", ("config.json",)),
        ("{", ("config.json",)),
        ("{}", ("config.json", "'bridge' is missing")),
        ("3", ("config.json", "mapping")),
        ('{"num": 1}', ("config.json", "unknown config key 'num'")),
    ],
)
def test_load_what_is_none(tmp_path, text, words):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError) as error:
        config_lib.load(tmp_path)
    assert all(word in one_line(error) for word in words), error.value


MAY_CHANGE = {
    "data.path": "elsewhere",
    "data.eval_path": "elsewhere",
    "data.max_unreadable": 5,
    "mask_file": "masks.npz",
    "distributed": "off",
    "mesh.data": 1,
    "mesh.fsdp": 2,
    "mesh.fsdp_min_bytes": 1,
    "training.num_steps": 2_000_000,
    "training.log_every": 7,
    "training.image_every": 7,
    "training.checkpoint_every": 7,
    "training.keep_checkpoints": 7,
    "training.keep_every": 7,
    "training.best_metric": "psnr",
    "training.wandb_project": "bridges",
    "sampling.sampler": "ode",
    "sampling.nfe": 7,
    "sampling.batch_size": 7,
    "sampling.clip": True,
    "evaluation.inception": "inception.pth",
    "evaluation.resnet50": "resnet50.pth",
    "evaluation.lpips_backbone": "alexnet.pth",
    "evaluation.lpips_linear": "alex.pth",
    "evaluation.reference_stats": "stats.npz",
}


# keys of pairs alone
PAIRS_MAY_CHANGE = {
    "data.path": "a",
    "data.target_path": "b",
    "data.eval_path": "c",
    "data.eval_target_path": "d",
    "data.eval_list": "e",
}
PAIRS_OTHER = {
    "data.source_side": "right",
    "data.source_channels": 1,
    "data.target_channels": 4,
    "data.scaling": "fixed",
    "data.source_range": (0.0, 4095.0),
    "data.target_range": (-1.0, 1.0),
    "data.percentiles": (1.0, 99.0),
    "data.group_pattern": "[a-z]+",
    "data.cond_x1": True,
}


def test_pairs_may_move(tmp_path):
    config_lib.save(tmp_path, from_config_dict(values(PAIRS)))
    config_lib.check_same_run(tmp_path, from_config_dict(values(PAIRS | PAIRS_MAY_CHANGE)))


def test_a_run_may_go_on_with_other_logging_and_sampling(tmp_path):
    config_lib.check_same_run(tmp_path / "none", from_config_dict(values()))
    config_lib.save(tmp_path, from_config_dict(values()))
    config_lib.check_same_run(tmp_path, from_config_dict(values(MAY_CHANGE)))


@pytest.mark.parametrize("key", sorted(set(KEYS) - {*MAY_CHANGE, *PAIRS_MAY_CHANGE}))
def test_no_other_key_may_change(tmp_path, key):
    """Whatever shapes the result is named, with both values."""
    # fit for either value of any key, and free to differ
    common = {"sampling.sampler": "ode", "data.path": "somewhere"}
    if key in PAIRS_OTHER:
        common |= PAIRS | {"data.target_path": "targets", "data.cond_x1": key != "data.cond_x1"}
    config = from_config_dict(values(common))
    section, name = find(to_dict(config), key)
    here = section[name]
    usual = (lambda: not here) if isinstance(here, bool) else (lambda: here * 0.5)
    there = OTHER[key] if key in OTHER else usual()
    theirs = values({**common, key: there})
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    with pytest.raises(ValueError) as error:
        config_lib.check_same_run(tmp_path, config)
    assert f"{key} is {there!r} there, {here!r} here" in one_line(error)
    assert str(tmp_path) in one_line(error) and "choose another workdir" in one_line(error)


# another valid value, where half of a number or the opposite of a flag would not be one
OTHER = {
    "seed": 1,
    "corruption": "blur-uni",
    "image_size": 128,
    "matmul_precision": "highest",
    "bridge.num_steps": 500,
    "bridge.deterministic": True,
    "model.model_channels": 128,
    "model.channel_mult": (1.0, 1.0, 2.0, 2.0, 4.0, 8.0),
    "model.num_res_blocks": 3,
    "model.attention_downsamples": (16,),
    "model.head_channels": 32,
    "model.norm_groups": 16,
    "model.dropout": 0.1,
    "model.dtype": "bfloat16",
    "model.remat": "dots",
    "data.source": "folder",
    "data.tfds_name": "cifar10",
    "data.tfds_split": "test",
    "data.tfds_eval_split": "test",
    "data.crop": "window",
    "optimizer.schedule": "cosine",
    "optimizer.warmup_steps": 10,
    "optimizer.decay_every": 10,
    "optimizer.weight_decay": 0.1,
    "optimizer.clip_norm": 1.0,
    "optimizer.skip_norm": 10.0,
    "training.batch_size": 128,
    "training.accumulation_steps": 2,
    "training.init_from": "elsewhere",
    **PAIRS_OTHER,
}


def test_every_difference_is_named(tmp_path):
    config_lib.save(tmp_path, from_config_dict(values()))
    with pytest.raises(ValueError) as error:
        config_lib.check_same_run(tmp_path, from_config_dict(values({"seed": 3, "image_size": 64})))
    message = one_line(error)
    assert "seed is 0 there, 3 here" in message and "image_size is 256 there, 64 here" in message


def test_the_length_of_a_cosine_is_part_of_the_run(tmp_path):
    cosine = {"optimizer.schedule": "cosine"}
    config_lib.save(tmp_path, from_config_dict(values(cosine)))
    longer = from_config_dict(values(cosine | {"training.num_steps": 7}))
    with pytest.raises(ValueError, match=r"training.num_steps is \d+ there, 7 here"):
        config_lib.check_same_run(tmp_path, longer)
