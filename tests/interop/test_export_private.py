"""What an export does not pass on: where its data lay, and what no stranger has a use for."""

import contextlib
import dataclasses
import json

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.config import Config, EvaluationConfig, flatten, from_config_dict, to_dict
from i2sb_jax.interop import export_model, load_model_folder, save_model
from tests.interop.latest import UNET, make_run
from tests.models.networks import hashed_params

# texts that are no paths
NO_PATHS = {"data.tfds_name", "data.tfds_split", "data.tfds_eval_split", "data.group_pattern"}
PAIRS = {
    "source": "pairs",
    "path": "/mnt/data/train",
    "target_path": "/mnt/targets/train",
    "eval_path": "/other/train",
    "eval_target_path": "/mnt/other/train/",
    "eval_list": "/mnt/lists/train",
}


RUNS = {
    "photos": {},
    "folder": {"data": {"source": "folder", "path": "p", "eval_path": "q"}},
    "pairs": {"corruption": "pairs", "data": PAIRS},
    # a task whose students have the teacher's network
    "student": {"corruption": "inpaint-center", "teacher": "t"},
}


def with_texts(config: Config, texts: dict[str, str]) -> Config:
    """The configuration with other texts, by dotted key."""
    values = to_dict(config)
    for key, text in texts.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = text
    return from_config_dict(values)


def free_texts(config: Config) -> list[str]:
    """Keys whose text is not one of a few that the code knows."""
    free = []
    for key, value in flatten(to_dict(config)).items():
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                with_texts(config, {key: "/home/zuzana/any"})
                free.append(key)
    return free


@pytest.mark.parametrize("layout", ["i2sb", "adm"])
@pytest.mark.parametrize("place", ["/home/zuzana", "gs://zuzana", "C:\\zuzana", "zuzana"])
def test_no_path_leaves_the_machine(tmp_path, layout, place):
    """Whatever keys the configuration will have: a new one is met here."""
    tried, params = set(), hashed_params(UNET)
    for name, changes in RUNS.items():
        config = make_run(**changes)
        free = [key for key in free_texts(config) if key != "teacher" or name == "student"]
        free = [key for key in free if key != "bridge.start"]  # has weights too: test_start
        paths = {key: f"{place}/{key}" for key in free if key not in NO_PATHS}
        tried |= paths.keys()
        run, out = tmp_path / name, tmp_path / f"{name}.out"
        save_model(run, with_texts(config, paths), params)
        (run / "metrics.jsonl").write_text(json.dumps({"loss": 0.5, "from": place}))
        export_model(run, out, layout=layout)
        assert config_lib.load(out).data.source == config.data.source
        for file in out.iterdir():
            assert b"zuzana" not in file.read_bytes(), file
        assert "| loss | 0.5 |" in (out / "README.md").read_text()
    known = ("path", "eval_path", "target_path", "eval_target_path", "eval_list")
    others = {"mask_file", "teacher", "training.init_from", "training.wandb_project"}
    others |= {f"evaluation.{field.name}" for field in dataclasses.fields(EvaluationConfig)}
    assert tried == {*others, *(f"data.{key}" for key in known)}


def test_folders_of_one_name_stay_apart(tmp_path):
    """They are legal, so what is exported of them has to be."""
    config = make_run(corruption="pairs", data=PAIRS)
    save_model(tmp_path / "run", config, hashed_params(UNET))
    export_model(tmp_path / "run", tmp_path / "out")
    exported, _ = load_model_folder(tmp_path / "out")
    assert exported.data.path == "<data.path>" and exported.training.init_from == ""
    assert dataclasses.replace(exported, data=config.data) == config
    # and an export of the export is the same
    export_model(tmp_path / "out", tmp_path / "again")
    assert config_lib.load(tmp_path / "again") == exported
