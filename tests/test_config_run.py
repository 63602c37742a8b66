"""A run's config.json: written, read again, and held against a continued run."""

import json
import pathlib
import tarfile

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.config import flatten, from_config_dict, to_dict
from i2sb_jax.config.added import ADDED_KEYS
from tests.test_config import KEYS, PAIRS, find, one_line, values

OLDER = pathlib.Path(__file__).parent / "assets" / "96e2f41.tar.xz"


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
        ("{}", ("config.json", "'corruption' is missing")),
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
    "data.eval_path": "held_out",
    "data.max_unreadable": 5,
    "mask_file": "masks.npz",
    "distributed": "off",
    "heartbeat": 30.0,
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
    "training.profile_steps": "100:110",
    "data.source": "records",
    "sampling.sampler": "implicit",
    "sampling.nfe": 7,
    "sampling.spacing": "lambda",
    "sampling.eta": 0.5,
    "sampling.batch_size": 7,
    "sampling.clip": True,
    "sampling.consistency": "projection",
    "sampling.realism": 0.5,
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
    "data.source_nodata": (-9999.0,),
    "data.target_nodata": (0.0, 255.0),
    "data.percentiles": (1.0, 99.0),
    "data.group_pattern": "[a-z]+",
    "data.cond_x1": True,
}


# bridges that a key belongs to
OF_A_BRIDGE = {
    "bridge.gamma": {"bridge.name": "linear", "bridge.gamma": 0.5},
    "bridge.penalty": {"bridge.name": "unidb", "sampling.sampler": "ddpm"},
}


def test_pairs_may_move(tmp_path):
    config_lib.save(tmp_path, from_config_dict(values(PAIRS)))
    config_lib.check_same_run(tmp_path, from_config_dict(values(PAIRS | PAIRS_MAY_CHANGE)))


def test_a_run_may_go_on_with_other_logging_and_sampling(tmp_path):
    config_lib.check_same_run(tmp_path / "none", from_config_dict(values()))
    folder = {"data.source": "folder", "data.path": "somewhere"}
    config_lib.save(tmp_path, from_config_dict(values(folder)))
    config_lib.check_same_run(tmp_path, from_config_dict(values(folder | MAY_CHANGE)))


@pytest.mark.parametrize("key", sorted(set(KEYS) - {*MAY_CHANGE, *PAIRS_MAY_CHANGE}))
def test_no_other_key_may_change(tmp_path, key):
    """Whatever shapes the result is named, with both values."""
    # fit for either value of any key, and free to differ
    common = {"sampling.sampler": "ode", "data.source": "folder", "data.path": "somewhere"}
    if key == "data.scales":
        common["data.crop"] = "window"
    common |= OF_A_BRIDGE.get(key, {})
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
    "teacher": "a/bridge",
    "distill.method": "regression",
    "distill.auxiliary_updates": 2,
    "distill.teacher_nfe": 5,
    "corruption": "blur-uni",
    "image_size": 128,
    "matmul_precision": "highest",
    "bridge.num_steps": 500,
    "bridge.deterministic": True,
    "bridge.name": "vp",
    "bridge.start": "a/model",
    "bridge.prediction": "v",
    "bridge.weighting": "min_snr",
    "bridge.end_share": 0.5,
    "bridge.log_floor": 0.01,
    "model.model_channels": 128,
    "model.channel_mult": (1.0, 1.0, 2.0, 2.0, 4.0, 8.0),
    "model.num_res_blocks": 3,
    "model.attention_downsamples": (16,),
    "model.head_channels": 32,
    "model.norm_groups": 16,
    "model.norm": "none",
    "model.patch": 2,
    "model.middle_attention": False,
    "model.sharpened": (1.0, 2.0),
    "model.thresholded": (2.2, 3.4),
    "model.dropout": 0.1,
    "model.dtype": "bfloat16",
    "model.remat": "dots",
    "data.scales": (1.0, 0.5),
    "data.grain": (0.0, 3.0),
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


def test_every_key_that_an_older_run_lacks_is_in_the_table_and_no_other():
    """A new key needs a line in ADDED_KEYS: what a run meant that was trained without it."""
    with tarfile.open(OLDER) as archive:
        older = set(flatten(json.load(archive.extractfile("model/config.json"))))
    assert older <= set(KEYS)  # a key that was taken away would orphan them
    assert set(KEYS) - older == set(ADDED_KEYS) - older
    assert set(ADDED_KEYS) <= set(KEYS)
