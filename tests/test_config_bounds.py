"""Configurations of strangers: bounded before anything is made of them, and fit to be printed."""

import dataclasses
import json

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.config import Config, flatten, from_config_dict, map_paths, to_dict
from i2sb_jax.files import read_json
from tests.test_config import PAIRS, one_line, values

HUGE = 10**12


@pytest.mark.parametrize(
    "change, words",
    [
        ({"bridge.num_steps": HUGE}, ("bridge.num_steps=1000000000000", "at most 100000", "table")),
        ({"image_size": HUGE}, ("image_size=1000000000000", "at most 2048", "tiles")),
        ({"model.model_channels": HUGE}, ("model.model_channels=1000", "at most 16384")),
        ({"model.model_channels": 10**400}, ("model.model_channels=1000", "at most 16384")),
        ({"model.channel_mult": [1.0, 1e300]}, ("channel_mult=2.56e+302", "at most 16384")),
        ({"model.channel_mult": [1.0] * 10**6}, ("levels of", "=1000000", "at most 10")),
        ({"model.num_res_blocks": HUGE}, ("model.num_res_blocks=1000", "at most 16")),
        ({"model.head_channels": HUGE}, ("head_channels 1000000000000",)),
        ({"model.norm_groups": HUGE}, ("norm_groups 1000000000000",)),
        ({**PAIRS, "data.source_channels": HUGE}, ("data.source_channels=1000", "at most 4096")),
        ({**PAIRS, "data.target_channels": HUGE}, ("data.target_channels=1000", "at most 4096")),
        ({**PAIRS, "data.group_pattern": f"a{{{HUGE}}}"}, ("data.group_pattern=",)),
        ({**PAIRS, "data.group_pattern": "(" * 4000}, ("data.group_pattern=",)),
        ({"sampling.batch_size": HUGE}, ("sampling.batch_size=1000", "at most 4096")),
        ({"seed": -1}, ("seed=-1", "0…4294967295")),
        ({"seed": 2**32}, ("seed=4294967296",)),
        ({"bridge.beta_max": float("inf")}, ("bridge.beta_max=inf", "finite")),
        ({"bridge.beta_max": 10**400}, ("bridge.beta_max", "too large")),
        ({"model.channel_mult": [1.0, float("nan")]}, ("model.channel_mult[1]=nan", "finite")),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_would_take_all_memory_is_refused(change, words):
    with pytest.raises(ValueError) as error:
        from_config_dict(values(change))
    assert all(word in one_line(error) for word in words), error.value


@pytest.mark.parametrize(
    "change",
    [{"bridge.num_steps": 100_000}, {"image_size": 2048}, {"model.num_res_blocks": 16},
     {"sampling.batch_size": 4096}, {"seed": 2**32 - 1}],
    ids=str,
)  # fmt: skip
def test_the_bounds_themselves_pass(change):
    from_config_dict(values(change))


TEXTS = [key for key, value in flatten(values()).items() if isinstance(value, str)]


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "a\u202eb", "\x9b2J", "x" * 10**6])
def test_no_text_moves_the_cursor_or_fills_the_screen(key, text):
    with pytest.raises(ValueError) as error:
        from_config_dict(values({key: text}))
    message = one_line(error)
    assert f"{key}=" in message and "one line of at most 4096" in message
    assert message.isprintable() and len(message) < 300


@pytest.mark.parametrize("name", ["Bilder für Ada", "写真", "Screenshot 9\u202f41", "a\udcff"])
def test_names_of_all_languages_and_none_pass(name):
    config = from_config_dict(values({"data.source": "folder", "data.path": name}))
    assert config.data.path == name


@pytest.mark.parametrize(
    "text, words",
    [
        ("[" * 10**5, "nests too deep"),
        ('{"a": "%s"}' % ("x" * (1 << 22)), "more than 4194304 bytes"),
        ('{"seed": %s}' % ("9" * 10**5), "limit"),
        ("\x00\xff", "config.json"),
    ],
    ids=["deep", "large", "digits", "binary"],
)
def test_a_hostile_file(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError) as error:
        config_lib.load(tmp_path)
    assert words in one_line(error) and "config.json" in one_line(error)
    with pytest.raises(ValueError):
        read_json(tmp_path / "config.json")


def test_every_path_can_be_changed_and_nothing_else():
    config = from_config_dict(values({**PAIRS, "data.target_path": "b", "data.eval_path": "c",
                                      "data.eval_target_path": "d", "training.init_from": "e",
                                      "data.eval_list": "f"}))  # fmt: skip
    asked = {}
    changed = map_paths(config, lambda key, path: asked.setdefault(key, f"{path}/x"))
    before, after = flatten(to_dict(config)), flatten(to_dict(changed))
    assert {key for key in before if before[key] != after[key]} == set(asked)
    assert asked == {key: f"{before[key]}/x" for key in asked}
    assert set(asked) == {"data.path", "data.target_path", "data.eval_path", "data.eval_list",
                          "data.eval_target_path", "training.init_from"}  # fmt: skip
    masks = dataclasses.replace(from_config_dict(values()), mask_file="m.npz")
    assert map_paths(masks, lambda key, _: key).mask_file == "mask_file"
    assert isinstance(changed, Config)


def test_json_is_read_as_it_was_written(tmp_path):
    (tmp_path / "x").write_text(json.dumps({"ä": [1, 2.5, None]}))
    assert read_json(tmp_path / "x") == {"ä": [1, 2.5, None]}
