"""The README's examples run, and the paths and commands that it names exist."""

import doctest
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_examples_run():
    results = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert results.attempted >= 8 and results.failed == 0


def test_named_paths_exist():
    named = re.findall(r"`((?:i2sb_jax|configs|experiments|tests|docs)/[\w/.]*)`", README)
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).exists() for picture in pictures)


def test_named_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"quickstart", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_console_scripts_it_names_are_installed_ones():
    setup = (ROOT / "setup.cfg").read_text()
    assert all(f"{name} = " in setup for name in set(re.findall(r"\bi2sb-[a-z]+", README)))
