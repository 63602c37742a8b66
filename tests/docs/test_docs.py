"""The documentation builds without a warning, and every code block in it is executed.

Blocks of "sh" hold commands that ask for weights, machines or hours that no test has: of these the
tools, modules and options must exist.
"""

import contextlib
import doctest
import functools
import importlib
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import zlib

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytest.importorskip("myst_parser")

from markdown_it import MarkdownIt  # comes with myst_parser

ROOT = pathlib.Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
REFERENCE = sorted((DOCS / "reference").glob("*.rst"))
PACKAGES = (
    *(
        "bridge",
        "models",
        "corruptions",
        "data",
        "learning",
        "sampling",
        "restoration",
        "evaluation",
    ),
    *("interop", "config", "zoo"),
)
NEEDS = {"your-own-corruption": ("tensorflow",), "your-own-paired-data": ("tensorflow", "clu")}
DIRECTIVES = {"{toctree}"}  # what fences hold that is no code


# --- the build ----------------------------------------------------------------------------------


def build(source, output):
    """What `make docs` runs."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html",
         os.fspath(source), os.fspath(output)],
        cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def test_builds_without_warnings_and_has_every_public_name(tmp_path):
    done = build(DOCS, tmp_path)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    packed = (tmp_path / "objects.inv").read_bytes().split(b"\n", 4)[4]  # behind four lines of text
    names = {entry.split()[0] for entry in zlib.decompress(packed).decode().splitlines()}
    for package in PACKAGES:
        public = importlib.import_module(f"i2sb_jax.{package}").__all__
        assert {f"i2sb_jax.{package}.{name}" for name in public} <= names
    for page in (*PAGES, *REFERENCE):
        assert (tmp_path / page.relative_to(DOCS)).with_suffix(".html").exists()


def test_a_warning_fails_the_build(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(DOCS / "conf.py", source)
    texts = {
        "name": "{py:func}`i2sb_jax.bridge.no_such_name`",
        "page": "{doc}`no_such_page`",
        "heading": "### Level",
    }
    for name, text in texts.items():
        (source / f"{name}.md").write_text(f"# Title\n\n{text}\n")
    (source / "index.md").write_text("# Title\n\n```{toctree}\n" + "\n".join(texts) + "\n```\n")
    done = build(source, tmp_path / "out")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(told) == len(texts)
    assert all(any(f"{name}.md:3" in line for line in told) for name in texts)


def test_the_reference_holds_directives_and_no_code():
    assert len(REFERENCE) > len(PACKAGES)
    for page in REFERENCE:
        for line in page.read_text().splitlines():
            if "::" in line or line.startswith(">>>"):
                assert re.match(r"\.\. (toctree|auto(module|class|data))::", line), page


# --- code blocks --------------------------------------------------------------------------------


def code_blocks(text):
    """(kind, code, line) of every block of code on a page, in admonitions too."""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block"):
            kind = token.info.strip()
            if kind not in (*DIRECTIVES, "text"):  # a drawing of characters
                yield kind, token.content, token.map[0] + 1


def execute(text, name):
    """Runs a page's blocks in order and in one namespace, in the current folder."""
    namespace = {"__name__": "__main__"}
    for kind, code, line in code_blocks(text):
        try:
            EXECUTORS[kind](code, namespace, f"{name}, block at line {line}")
        except KeyError as error:
            if kind in EXECUTORS:
                raise
            raise AssertionError(f"{name}:{line}: blocks of {kind!r} are not executed") from error


def run_python(code, namespace, name):
    """Executes it; a block that begins with the name of a file is saved as that file."""
    if saved := re.match(r"# (\w+\.py)\n", code):
        pathlib.Path(saved[1]).write_text(code)
        return
    exec(compile(code, name, "exec"), namespace)


def run_doctest(code, namespace, name):
    test = doctest.DocTestParser().get_doctest(code, namespace, name, name, 0)
    assert test.examples, f"{name}: no example"
    complaints = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=complaints.write, clear_globs=False)
    namespace.update(test.globs)
    assert not runner.failures, complaints.getvalue()


def run_commands(code, namespace, name):
    """Runs what stands behind each $; output that is shown must be what they print."""
    del namespace
    bin_first = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = os.environ | {"PATH": bin_first, "JAX_PLATFORMS": "cpu"}
    first, *commands = re.split(r"^\$ ", code, flags=re.MULTILINE)
    assert not first.strip() and commands, f"{name}: a command begins with $"
    for command in commands:
        command, _, shown = command.partition("\n")
        done = subprocess.run(
            command, shell=True, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        if shown.strip():
            same = doctest.OutputChecker().check_output(shown, done.stdout, doctest.ELLIPSIS)
            assert same, f"{name}: {done.stdout}"


def check_commands(code, namespace, name):
    """Checks that the tools, modules and options which commands name are there."""
    del namespace
    for command in code.replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        if words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), f"{name}: no module {words[2]}"
        elif words and words[0].startswith("i2sb-"):
            known = options_of(words[0])
            asked = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
            unknown = {option for option in asked if not option.startswith("--config")} - known
            assert not unknown, f"{name}: {words[0]} has no {', '.join(sorted(unknown))}"


@functools.cache
def options_of(tool):
    """The options that a console script's help names."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=tool)
    told = io.StringIO()
    with contextlib.redirect_stdout(told), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [tool, "--help"])
        with contextlib.suppress(SystemExit):
            script.load()()
    return set(re.findall(r"--[a-z][a-z0-9-]*", told.getvalue()))


EXECUTORS = {
    "python": run_python,
    "pycon": run_doctest,
    "console": run_commands,
    "sh": check_commands,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_code_block_runs(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    execute(page.read_text(), page.name)
    for saved in tmp_path.glob("*.py"):  # and is used by a command
        assert f"--config {saved.name}" in page.read_text()


def test_the_tutorials_are_there_and_hold_code():
    assert {"bridge", "sampler", "corruption", "paired-data"} == {
        page.stem.removeprefix("your-own-") for page in PAGES if page.parent.name == "tutorials"
    }
    for page in (page for page in PAGES if page.parent.name == "tutorials"):
        assert len(list(code_blocks(page.read_text()))) >= 2, page


def test_a_new_bridge_takes_at_most_thirty_lines():
    text = (DOCS / "tutorials" / "your-own-bridge.md").read_text()
    kind, code, _ = next(code_blocks(text))
    assert kind == "python" and "make_gaussian_bridge" in code and len(code.splitlines()) <= 30


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert False\n```",
        "```pycon\n>>> 1 + 1\n3\n```",
        "```pycon\n1 + 1\n```",
        "```console\n$ false\n```",
        "```console\n$ echo one\ntwo\n```",
        "```console\nfalse\n```",
        "```bash\ntrue\n```",
        "```sh\ni2sb-restore --no-such-option 3\n```",
        "```sh\ni2sb-restore --input A \\\n    --no-such-option 3\n```",
        "```sh\npython -m i2sb_jax.no_such_module\n```",
        "```\nx = 1\n```",
        "A paragraph\n\n    x = 1\n",
        ":::{note}\n```python\nassert False\n```\n:::",
    ],
)
def test_a_block_that_fails_or_is_of_another_kind_is_noticed(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError), contextlib.redirect_stdout(io.StringIO()):
        execute(text, "page")


def test_what_a_block_defines_is_there_in_the_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = ["python\nx = 1", "pycon\n>>> y = x + 1\n>>> y\n2", "python\nassert y == 2"]
    execute("\n\n".join(f"```{block}\n```" for block in blocks), "page")
    execute("```python\n# own.py\nraise ValueError\n```\n\n```console\n$ cat own.py\n```", "page")
    assert (tmp_path / "own.py").read_text() == "# own.py\nraise ValueError\n"
