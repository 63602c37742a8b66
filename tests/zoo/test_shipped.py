"""What ships: files, facts, figures and cards agree, and name nothing of a machine."""

import hashlib
import json
import re

import jax
import numpy as np
import pytest

from experiments.models.cards import MEASURED, card, gain_table
from i2sb_jax import config as config_lib
from i2sb_jax import interop, zoo
from i2sb_jax.config import flatten, to_dict
from i2sb_jax.interop.safetensors_file import read_safetensors_file

NAMES = list(zoo.MODELS)
ROWS = json.loads(MEASURED.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_facts_agree_with_the_files(name):
    folder, facts = zoo.shipped_folder(name), zoo.MODELS[name]
    weights = folder / "model.safetensors"
    assert weights.stat().length == facts.size <= 4e6
    assert {x.dtype.name for x in read_safetensors_file(weights).values()} == {"float16"}
    config = config_lib.load(folder)
    assert config.corruption == facts.corruption and config.model.dtype == "float32"
    origin = interop.read_provenance(folder)
    assert origin.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert not origin.trained and facts.licence in origin.licence


@pytest.mark.parametrize("name", NAMES)
def test_gains_are_those_measured(name):
    facts, rows = zoo.MODELS[name], [row for row in ROWS if row["task"] == name]
    assert set(facts.gains) == {row["level"] for row in rows} - {0}
    for level, gain in facts.gains.items():
        those = [row["restored"] - row["file"] for row in rows if row["level"] == level]
        assert len(those) == 4 and gain == pytest.approx(np.mean(those), abs=0.0051)
    clean = [row["restored"] for row in rows if row["level"] == 0]
    assert facts.clean == (pytest.approx(min(clean), abs=0.05) if clean else None)


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_written_from_the_facts(name):
    text = (zoo.shipped_folder(name) / "README.md").read_text()
    assert text == card(name), "python -m experiments.models.ship writes it anew"
    assert "license: apache-2.0\n" in text and "Aitzol Berasategi, CC-BY-4.0" in text
    for level, gain in zoo.MODELS[name].gains.items():
        assert re.search(rf"^\| {level:g} \| [\d.]+ \| \{gain:+.2f} \|", text, re.MULTILINE)


def test_a_card_notices_other_figures():
    changed = [row | {"restored": row["restored"] + 1} for row in ROWS]
    assert gain_table("jpeg", changed) != gain_table("jpeg", ROWS)


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine_is_passed_on(name):
    folder = zoo.shipped_folder(name)
    values = flatten(to_dict(config_lib.load(folder)))
    assert values["data.path"] == "<data.path>"
    text = "".join(path.read_text() for path in folder.glob("*.*") if path.suffix != ".safetensors")
    assert not re.search(r"/(home|work|root|tmp|mnt)/|\.carry", text)


def test_half_precision_on_disk_is_single_in_memory():
    _, params = interop.load_model_folder("denoise")
    leaves = jax.tree.leaves(params)
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}
    stored = read_safetensors_file(zoo.shipped_folder("denoise") / "model.safetensors")
    assert sum(x.size for x in stored.values()) == sum(leaf.size for leaf in leaves)
    biggest = max(stored.values(), key=lambda x: x.size)
    same = [x for x in leaves if x.shape == biggest.shape]
    assert any(np.array_equal(np.asarray(x), biggest.astype(np.float32)) for x in same)


def test_the_listing_has_task_gain_size_and_licence():
    text = zoo.listing()
    for name, facts in zoo.MODELS.items():
        assert name in text and facts.task in text and facts.gain() in text
    assert "+1.6 dB at quality 10, +1.1 at 90; 3.4 MB; Apache-2.0" in text
    assert "+1.0 dB at factor 4;" in text


def test_an_unknown_name_is_told_the_names():
    with pytest.raises(ValueError, match=r"did you mean 'jpeg'\? \(choices: jpeg, deblur, denoise"):
        zoo.shipped_folder("jpg")
