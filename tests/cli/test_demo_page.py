"""The page of i2sb-demo without gradio and a browser: what follows each of a visitor's actions.

A stand-in for gradio keeps what the page is made of. `test_demo_browser.py` has the real one.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import sys
import threading
import types

import pytest
from PIL import Image

from i2sb_jax import zoo
from i2sb_jax.cli import demo, startup
from tests.restoration.models import identity_model, photo

SKIP = object()  # "leave it as it is"


class Part:
    """A component: what it was made with, and what follows its events."""

    def __init__(self, *values, **options):
        self.value = values[0] if values else options.get("value")
        self.options = options
        self.followed = {}

    def change(self, function, inputs, outputs, **options):
        self.followed["change"] = function, inputs, outputs

    def click(self, function, inputs, outputs, **options):
        self.followed["click"] = function, inputs, outputs


class Page:
    """As much of gradio as the page asks for."""

    def __init__(self, launch):
        self.parts, self.launched, self.closed = {}, None, False
        self._launch = launch

    def launch(self, **options):
        self.launched = options
        return self._launch()

    def close(self, **options):
        self.closed = True

    def made(self, *values, **options):
        part = Part(*values, **options)
        self.parts[options.get("elem_id")] = part
        return part

    def module(self):
        def block(**options):
            return contextlib.nullcontext(self)

        parts = ("Markdown", "File", "HTML", "Radio", "Number", "Slider", "Button", "ImageSlider")
        return types.SimpleNamespace(
            **dict.fromkeys((*parts, "DownloadButton"), self.made),
            **dict.fromkeys(("Blocks", "Row", "Column"), block),
            Progress=lambda: lambda *given, **options: None,
            skip=lambda: SKIP,
            themes=types.SimpleNamespace(Default=lambda **options: None),
        )

    def after(self, name, event, *values):
        """What the parts show after an event, by their names."""
        function, _, outputs = self.parts[name].followed[event]
        shown = function(*values)
        names = [next(n for n, p in self.parts.items() if p is part) for part in outputs]
        return dict(zip(names, shown, strict=True))


@pytest.fixture
def stand_in(monkeypatch):
    """Takes gradio's place; `launch` is what the page's launching does."""

    def make(launch=lambda: None):
        page = Page(launch)
        middleware = types.SimpleNamespace(Middleware=lambda kind: kind)
        for name, module in (
            ("gradio", page.module()),
            ("starlette", types.ModuleType("starlette")),
            ("starlette.middleware", middleware),
        ):
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(startup, "require", lambda *packages: None)
        return page

    for name in (*demo._PRIVATE, "GRADIO_TEMP_DIR"):  # undone afterwards
        monkeypatch.setenv(name, "")
    before = signal.getsignal(signal.SIGTERM)
    yield make
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def model(tmp_path):
    return os.fspath(identity_model(tmp_path / "model", "jpeg-10"))


@pytest.fixture
def page(stand_in, model, tmp_path):
    """The page of a model of one's own."""
    made = stand_in()
    (tmp_path / "results").mkdir()
    demo._page({model: demo.describe(model)}, os.fspath(tmp_path / "results"))
    return made


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "a photo.png"
    Image.fromarray(photo(24, 32)).save(path)
    return os.fspath(path)


def test_a_photograph_is_described(page, photograph):
    shown = page.after("photograph", "change", photograph)
    assert "32 × 24 pixels, 8 bits" in shown["facts"] and "suits" not in shown["facts"]
    assert shown["model"] is SKIP  # the only one
    assert not shown["download"].options["interactive"] and shown["shown"] is None
    gone = page.after("photograph", "change", None)
    assert gone["facts"] == "" and gone["model"] is SKIP


def test_of_several_models_the_one_that_suits_it_is_chosen(stand_in, photograph, tmp_path):
    made = stand_in()
    models = tuple(zoo.MODELS)
    about = {name: demo.ModelEntry(name, f"about {name}", n) for n, name in enumerate(models, 1)}
    demo._page(about, os.fspath(tmp_path))
    shown = made.after("photograph", "change", photograph)
    assert shown["model"] in models and f"{shown['model']} suits it: " in shown["facts"]
    assert made.after("model", "change", models[1]) == {"about": f"about {models[1]}", "nfe": 2}


def test_what_is_no_picture_is_one_line_and_no_markup(page, tmp_path):
    (tmp_path / "<b>.txt").write_text("no picture")
    shown = page.after("photograph", "change", os.fspath(tmp_path / "<b>.txt"))
    assert "error: &lt;b&gt;.txt cannot be read" in shown["facts"]


@pytest.mark.parametrize("kind", ["PNG", "As the photograph"])
def test_a_restored_photograph_is_shown_and_can_be_kept(page, photograph, model, kind):
    shown = page.after("restore", "click", photograph, model, 1, 1, kind)
    assert f"Restored by {model} in " in shown["message"]
    before, after = map(pathlib.Path, shown["shown"])
    assert before.read_bytes() == after.read_bytes()  # by a network that gives back its input
    button = shown["download"]
    assert button.value == "Download a photo_restored.png" and button.options["interactive"]


def test_what_cannot_be_restored_is_one_line(page, photograph, model):
    shown = page.after("restore", "click", None, model, 1, 1, "PNG")
    assert "error: there is no photograph: drop one first" in shown["message"]
    assert shown["shown"] is None and not shown["download"].options["interactive"]
    shown = page.after("restore", "click", photograph, model, 0, 1, "PNG")
    assert "error: nfe=0 must lie in 1…999" in shown["message"]
    shown = page.after("restore", "click", photograph, model, 1, 0.5, "PNG")
    assert "error: realism=0.5 lies between" in shown["message"]


def test_a_fault_of_the_program_is_not_hidden(page, monkeypatch, photograph, model):
    def fails(*given, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "try_model", fails)
    with pytest.raises(ZeroDivisionError):
        page.after("restore", "click", photograph, model, 1, 1, "PNG")


def test_it_is_served_on_this_machine_until_it_is_stopped(stand_in, call, model):
    def launch():
        stop = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        stop.start()
        return None, "http://127.0.0.1:7860/", None

    made = stand_in(launch)
    status, out, err = call(demo, "--model", model)
    assert (status, err) == (0, "")
    assert out == (
        "open http://127.0.0.1:7860/ in a browser; Ctrl-C stops it\n"
        "stopped; uploads and results are deleted\n"
    )
    assert made.closed and made.launched["server_name"] == "127.0.0.1"
    assert made.launched["share"] is False
    assert not pathlib.Path(os.environ["GRADIO_TEMP_DIR"]).exists()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


@pytest.mark.parametrize(
    "arguments, words",
    [(("--port", "7999"), "--port 7999 is in use"), ((), "the ports from 7860 on are in use")],
)
def test_a_port_that_is_taken(stand_in, complaints, model, arguments, words):
    def launch():
        raise OSError("Cannot find empty port in range: use `server_port` of `launch()`")

    made = stand_in(launch)
    status, (line,) = complaints(demo, "--model", model, *arguments)
    assert status == 2 and line == f"error: {words}: choose another by --port" and made.closed


def test_browsers_are_told_to_ask_nobody_else():
    messages = [
        {"type": "http.response.start", "headers": [(b"a", b"b")]},
        {"type": "http.response.body", "body": b"x"},
    ]
    sent = []

    async def app(scope, receive, send):
        for message in messages:
            await send(dict(message))

    async def send(message):
        sent.append(message)

    asyncio.run(demo._Policy(app)({}, None, send))
    (first, (name, policy)), body = sent[0]["headers"], sent[1]
    assert first == (b"a", b"b") and name == b"content-security-policy"
    assert b"default-src 'self'" in policy and body == messages[1]
