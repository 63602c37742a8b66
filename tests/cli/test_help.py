"""The help of every tool: groups, one name an option, one style, and examples that parse."""

import configparser
import importlib
import pathlib
import re
import shlex
import sys

import pytest

from i2sb_jax.cli import config_file, evaluate, evaluation_flags, export, restore, train, train_help
from i2sb_jax.cli.parser import ToolParser

ROOT = pathlib.Path(__file__).parents[2]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
TOOLS = dict(
    re.findall(r"(i2sb-\w+) = ([\w.]+):main", SETUP["options.entry_points"]["console_scripts"])
)
# a capital, and sentences to the end: no phrase that goes on from the option's name
STYLE = re.compile(r"[A-Z].*[^.]\.")
FRAGMENT = re.compile(r"(Of|As|For|With|To|Where|What)\b")
ELSEWHERE = {"i2sb-evaluate": evaluation_flags, "i2sb-train": train_help}


def parser_of(tool):
    return ELSEWHERE.get(tool, importlib.import_module(TOOLS[tool])).parser()


def offences(parser):
    """What a help does wrong, a line each."""
    for action in parser._actions:
        name = "/".join(action.option_strings)
        told = action.help or ""
        if not STYLE.fullmatch(told) or FRAGMENT.match(told):
            yield f"{name}: {told!r}"
        if len([option for option in action.option_strings if option.startswith("--")]) != 1:
            yield f"{name} has several names"
        if any("_" in option for option in action.option_strings):
            yield f"{name} is written with _"
        if action.dest != "help" and action in parser._optionals._group_actions:
            yield f"{name} is in no group"


def test_all_tools_are_looked_at():
    assert {"i2sb-train", "i2sb-restore", "i2sb-evaluate", "i2sb-demo"} <= set(TOOLS)
    assert len(TOOLS) == 7


@pytest.mark.parametrize("tool", TOOLS)
def test_options_are_told_in_one_style(tool):
    parser = parser_of(tool)
    assert parser.prog == tool and list(offences(parser)) == []
    assert STYLE.fullmatch(parser.description.partition(": ")[2].capitalize())
    grouped = [group for group in parser._action_groups[2:] if group._group_actions]
    assert grouped and all(group.title for group in grouped)


def test_an_offence_is_noticed():
    parser = ToolParser(prog="x", usage="", description="x: Does.", examples=())
    add = parser.add_argument_group("x").add_argument
    for option, told in (
        ("--a", "of it"),
        ("--b", "Of all noise."),
        ("--c", None),
        ("--d", "It is"),
    ):
        add(option, help=told)
    add("--e_f", help="A name.")
    add("--g", "--h", help="Two names.")
    parser.add_argument("--i", help="Alone.")
    assert len(list(offences(parser))) == 7


@pytest.mark.parametrize("tool", TOOLS)
def test_two_examples_that_parse(tool, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    parser = parser_of(tool)
    assert len(parser.examples) >= 2
    for example in parser.examples:
        program, *arguments = shlex.split(example.command)
        assert program == tool and STYLE.fullmatch(example.meaning)
        given, overrides = parser.parse_known_args(arguments)
        if tool == "i2sb-train":
            rest = [each for each in arguments if each != "--dry-run"]
            if given.topology:
                at = rest.index("--topology")
                del rest[at : at + 2]
            config_file.parse(rest, program=tool, needs_workdir=not given.dry_run)
        else:
            assert overrides == []


@pytest.mark.parametrize("tool", TOOLS)
def test_the_help_is_printed_whole(tool, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = call(importlib.import_module(TOOLS[tool]), "--help")
    assert status == 0 and out.startswith(f"usage: {tool} ")
    lines = [line for line in out.splitlines() if str(ROOT) not in line]
    assert max(map(len, lines)) <= 100
    parser = parser_of(tool)
    assert all(example.command in out for example in parser.examples)
    assert all(option in out for action in parser._actions for option in action.option_strings)


def test_training_names_keys_configs_and_tensorboard(call):
    _, out, _ = call(train, "--help")
    assert "tensorboard --logdir RUN/tensorboard" in out
    for key in train_help.KEYS:
        assert f"  {key} " in out and train_help.meaning(key)
    folder = pathlib.Path(re.search(r"configs, files of (.+):\n", out)[1])
    named = re.findall(r"^  (\S+\.py) ", out, re.MULTILINE)
    assert {folder / name for name in named} == {
        path for path in folder.rglob("*.py") if "\ndef get_config(" in path.read_text()
    }
    with pytest.raises(KeyError):
        train_help.meaning("training.steps")


def test_former_spellings_go_on_working(call, complaints):
    """--workdir was where --model is; neither help has it any more."""
    for tool in (restore, export, evaluate):
        assert "--workdir" not in call(tool, "--help")[1]
    for given in (("--workdir", "none"), ("--workdir=none",), ("--model", "none")):
        status, (line,) = complaints(export, *given, "--output", "out")
        assert status == 2 and line.startswith(
            "error: none is neither a folder nor a shipped model"
        )
