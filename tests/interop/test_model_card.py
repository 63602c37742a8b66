"""The card: what people copy from it works, and it claims no licence that nobody stated."""

import json
import shlex

import pytest

from i2sb_jax.cli.import_checkpoint import parser as import_parser
from i2sb_jax.cli.restore import parser as restore_parser
from i2sb_jax.interop import Provenance
from i2sb_jax.interop.model_card import model_card
from tests.interop.latest import make_run

MIT = {"source": "a|b.pt", "sha256": "0" * 64, "licence": "MIT", "weights": "ema"}


def card(config=None, **changes):
    options = {"layout": "i2sb", "address": "out", "provenance": None, "step": None, "metrics": {}}
    return model_card(config or make_run(), (3, 3), **options | changes)


def commands(text, program):
    """The command lines of a program in its blocks, as a shell takes them apart."""
    lines = [line for block in text.split("```")[1::2] for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


def test_of_ones_own_weights():
    text = card()
    assert "not stated" in text and "random weights" in text and "None were logged" in text
    assert "license: other\n" in text
    text = card(make_run(training={"init_from": "<training.init_from>"}))
    assert "random weights" not in text and "weights of which nothing is told" in text


@pytest.mark.parametrize(
    "changes, licence",
    [
        ({}, "mit"),
        ({"trained": True}, "other"),  # under what its trainer says
        ({"licence": "MIT (OpenAI, guided-diffusion) if this is OpenAI's file"}, "other"),
        ({"licence": "non-commercial"}, "other"),
        ({"licence": "MITRE's own"}, "other"),
    ],
)
def test_the_header_says_mit_where_it_was_stated(changes, licence):
    text = card(provenance=Provenance(**{**MIT, "trained": False, **changes}))
    assert f"license: {licence}\n" in text and "a\\|b.pt" in text


def test_began_as_or_are():
    assert "| weights began as | " in card(provenance=Provenance(**MIT, trained=True))
    assert "| weights are those of | " in card(provenance=Provenance(**MIT, trained=False))


@pytest.mark.parametrize("address", ["out", "my model", "it's", "hf://ada/sr4x", "$(touch x)"])
def test_commands_can_be_pasted(address):
    (line,) = commands(card(address=address), "i2sb-restore")
    options = restore_parser().parse_args(line)
    assert options.model == address and options.nfe == make_run().sampling.nfe
    assert f"Restorer.from_workdir({json.dumps(address)})" in card(address=address)


@pytest.mark.parametrize("address, folder", [("my model", "my model"), ("hf://ada/sr", "sr")])
def test_commands_of_the_other_layout(address, folder):
    text = card(layout="adm", address=address)
    (line,) = commands(text, "i2sb-import")
    options = import_parser().parse_args(line)
    assert options.source == f"{folder}/adm.safetensors" and options.task is None
    (line,) = commands(text, "i2sb-restore")
    assert restore_parser().parse_args(line).model == options.workdir
    if address != folder:
        assert commands(text, "hf") == [["download", "ada/sr", "--local-dir", "sr"]]


@pytest.mark.parametrize(
    "changes, option, words",
    [
        ({"corruption": "sr4x-pool"}, "SMALL", "4 times larger"),
        ({"corruption": "sr2x-photo"}, "SMALL", "2 times larger"),
        ({"corruption": "jpeg-5"}, "DEGRADED", "suffered from `jpeg-5`"),
        ({"corruption": "blur-uni"}, "DEGRADED", "as bright as sharp ones"),
        ({"corruption": "noise-float"}, "DEGRADED", "float arrays"),
        ({"corruption": "mixture"}, "DEGRADED", "MEMBER is which of them: jpeg-5"),
        ({"corruption": "colorize"}, "GREY", "coloured"),
        ({"corruption": "inpaint-center"}, "PICTURES", "white where there are holes"),
        (
            {"corruption": "inpaint-freeform1020", "mask_file": "<mask_file>", "image_size": 256},
            *("PICTURES", "Without --masks"),
        ),
        (
            {
                "corruption": "pairs",
                "data": {"source": "pairs", "path": "p", "source_channels": 3},
            },
            *("SOURCES", "3 channels"),
        ),
    ],
)
def test_each_task_says_what_it_takes(changes, option, words):
    text = card(make_run(**changes))
    (line,) = commands(text, "i2sb-restore")
    options = restore_parser().parse_args(line)
    assert options.input == option and words in text
    assert (options.masks is not None) == changes["corruption"].startswith("inpaint")


@pytest.mark.parametrize("layout", ["i2sb", "adm"])
def test_initial_weights_are_not_said_to_restore(layout):
    origin = Provenance(**{**MIT, "weights": "initial"}, trained=False)
    text = card(layout=layout, provenance=origin)
    assert "i2sb-restore" not in text and "initial weights" in text
    assert "--config.training.init_from=" in text


def test_noise_levels_are_the_bridges():
    assert "0.1 to 1000" in card(layout="adm")
    assert "0.01 to 100" in card(make_run(bridge={"num_steps": 100}), layout="adm")
