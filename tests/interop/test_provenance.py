"""Where weights come from: kept as it was, and checked, since the file may be a stranger's."""

import dataclasses
import json

import pytest

from i2sb_jax.interop import Provenance, inherited_provenance, read_provenance, save_safetensors
from i2sb_jax.interop.provenance import write_provenance
from tests.interop.latest import UNET
from tests.models.networks import hashed_params

GOOD = {"source": "größe 1.pt", "sha256": "0af" + "0" * 61, "licence": "CC BY 4.0",
        "weights": "ema", "trained": False}  # fmt: skip


def test_written_it_is_read(tmp_path):
    for trained in (False, True):
        origin = Provenance(**{**GOOD, "trained": trained})
        write_provenance(tmp_path, origin)
        assert read_provenance(tmp_path) == origin
    assert read_provenance(tmp_path / "none") is None


@pytest.mark.parametrize(
    "change, words",
    [
        ({"source": "/home/ada/a.pt"}, "without its folder"),
        ({"source": ""}, "source='' must be a text"),
        ({"source": None}, "source=None must be a text"),
        ({"source": "a\x1b[2J"}, "source='a\\x1b[2J' must be one line"),
        ({"source": "a\ud800"}, "surrogates not allowed"),
        ({"licence": "a\nb"}, "licence='a\\nb' must be one line"),
        ({"licence": "x" * 501}, "at most 500 characters"),
        ({"licence": 3}, "licence=3 must be a text"),
        ({"sha256": "0" * 63}, "64 hexadecimal digits"),
        ({"sha256": "G" * 64}, "64 hexadecimal digits"),
        ({"weights": "Ema"}, "weights='Ema' is not known: did you mean 'ema'?"),
        ({"weights": []}, "weights=[] must be a text"),
        ({"trained": 1}, "trained=1 must be true or false"),
        ({"more": 1}, "it must be a JSON object of source"),
    ],
    ids=str,
)
def test_what_is_none(tmp_path, change, words):
    (tmp_path / "provenance.json").write_text(json.dumps({**GOOD, **change}))
    assert words in refusal(tmp_path)


def refusal(folder):
    with pytest.raises(ValueError) as error:
        read_provenance(folder)
    message = str(error.value)
    assert message.startswith(str(folder / "provenance.json")) and message.isprintable()
    assert len(message) < len(str(folder)) + 300
    return message


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "[" * 10**5, "x" * (1 << 23)],
                         ids=["empty", "number", "list", "nothing", "deep", "large"])  # fmt: skip
def test_hostile_files(tmp_path, text):
    (tmp_path / "provenance.json").write_text(text)
    refusal(tmp_path)


def test_a_run_inherits_it_from_a_folder_or_a_file_in_it(tmp_path):
    model = tmp_path / "model"
    write_provenance(model, Provenance(**GOOD))
    for name in ("model.safetensors", "renamed.safetensors"):
        save_safetensors(model / name, hashed_params(UNET))
    began = Provenance(**{**GOOD, "trained": True})
    assert str(began).startswith("trained from weights of größe 1.pt (ema), licence: CC BY")
    for source in (model, model / "model.safetensors", model / "renamed.safetensors"):
        assert inherited_provenance(source) == began
    # and a run that starts from that run does too
    write_provenance(tmp_path / "run", began)
    assert inherited_provenance(tmp_path / "run") == began
    assert inherited_provenance(tmp_path) is None


def test_initial_are_those_that_nobody_trained():
    initial = Provenance(**{**GOOD, "weights": "initial"})
    assert initial.is_initial
    assert not dataclasses.replace(initial, trained=True).is_initial
    assert not Provenance(**GOOD).is_initial
