"""The README's examples run, and the paths and commands that it and the pages name exist."""

import doctest
import pathlib
import re

import pytest

from i2sb_jax.bridge import BRIDGES

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_examples_run():
    results = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert results.attempted >= 8 and results.failed == 0


def test_the_first_page_is_short():
    assert README.count("\n") <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_paths_exist(page):
    text = page.read_text()
    named = re.findall(r"`((?:i2sb_jax|configs|experiments|tests|docs)/[\w/.-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    links = re.findall(r"!?\[[^\]]*\]\(([^)#:]+)\)", text)  # of this repository, not of the web
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_there_is_something_to_name():
    text = "".join(page.read_text() for page in PAGES)
    assert text.count("](") > 20 and text.count("`i2sb_jax/") > 20


def test_named_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert {"quickstart", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_console_scripts_it_names_are_installed_ones():
    setup = (ROOT / "setup.cfg").read_text()
    text = "".join(page.read_text() for page in PAGES)
    names = set(re.findall(r"\bi2sb-[a-z]+", text)) - set(BRIDGES)
    assert all(f"{name} = " in setup for name in names)
