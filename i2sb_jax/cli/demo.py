"""i2sb-demo: shows a page on this machine to try models on one's own photographs.

    i2sb-demo [--model RUN] [--port N]

It needs the extra `demo`. Only this machine can open the page, and nothing is sent anywhere. What
was uploaded and restored goes when it is stopped.
"""

import contextvars
import html
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from i2sb_jax import config as config_lib
from i2sb_jax import interop, zoo
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.cli import errors, startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.trial import Trial, look_at, try_model

_HOST = "127.0.0.1"
_PRIVATE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
}
# a browser that is told this asks nobody else, whatever a version of gradio refers to
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
_FILES = {"PNG": "png", "As the photograph": "same"}
_TITLE = "Restore a photograph"
_SENTENCE = (
    "Drop a photograph, choose what it suffers from, and compare. All of it happens on this "
    "computer: nothing is sent anywhere."
)
_CSS = """
.gradio-container { max-width: 1400px !important; }
#model .wrap { flex-direction: column; }
.i2sb-line { line-height: 1.45; overflow-wrap: anywhere; }
.i2sb-error { color: #b3261e; font-weight: 600; }
.dark .i2sb-error { color: #ffb4ab; }
"""


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    given = parser().parse_args(arguments)
    if given.port is not None and not 0 < given.port < 2**16:
        raise ValueError(f"--port {given.port} must lie in 1…{2**16 - 1}")
    startup.require("gradio")
    models = [given.model] if given.model else list(zoo.MODELS)
    about = {model: describe(model) for model in models}  # a model that is none is told now
    startup.prepare_jax()
    with tempfile.TemporaryDirectory(prefix="i2sb-demo-") as folder:
        os.environ.update(_PRIVATE, GRADIO_TEMP_DIR=folder)
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            _serve(about, folder, given.port)
        except KeyboardInterrupt:
            print("stopped; uploads and results are deleted")


def _interrupt(*given: Any) -> None:
    raise KeyboardInterrupt


class ModelEntry(NamedTuple):
    """A model as the page describes it.

    Attributes:
        label: of its choice, plain text.
        about: what it is for, gains and may be used for, as HTML.
        nfe: network evaluations that it takes unless told otherwise.
    """

    label: str
    about: str
    nfe: int


def _serve(about: dict[str, ModelEntry], folder: str, port: int | None) -> None:
    """Shows the page until the process is interrupted."""
    import gradio  # only now: it reads the environment, and takes seconds
    from starlette.middleware import Middleware

    fonts = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    page = _page(about, folder)
    try:
        try:
            _, address, _ = page.launch(
                server_name=_HOST,
                server_port=port,
                share=False,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
                theme=gradio.themes.Default(primary_hue="blue", font=fonts[0], font_mono=fonts[1]),
                css=_CSS,
                app_kwargs={"middleware": [Middleware(_Policy)]},
            )
        except OSError as error:  # gradio speaks of its own functions
            taken = "the ports from 7860 on are" if port is None else f"--port {port} is"
            raise ValueError(f"{taken} in use: choose another by --port") from error
        print(f"open {address} in a browser; Ctrl-C stops it", flush=True)
        threading.Event().wait()
    finally:
        page.close(verbose=False)


class _Policy:
    """ASGI middleware: browsers fetch nothing from elsewhere for this page."""

    def __init__(self, app: Callable[..., Any]):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = b"content-security-policy", _POLICY.encode()
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _page(about: dict[str, ModelEntry], folder: str) -> Any:
    """Returns the page of models by name; `folder` is for results."""
    import gradio

    models = list(about)

    def looked(photograph: str | None) -> tuple[Any, ...]:
        nothing = gradio.DownloadButton(interactive=False, value=None), None, ""
        if photograph is None:
            return "", gradio.skip(), *nothing
        try:
            look = look_at(photograph)
        except Exception as error:
            return _error_line(error), gradio.skip(), *nothing
        line, chosen = f"{look.facts}.", gradio.skip()
        if look.choice.model in models and len(models) > 1:
            line += f" {look.choice.model} suits it: {look.choice.reason}."
            chosen = look.choice.model
        return _line(line), chosen, *nothing

    def restored(
        photograph: str | None,
        model: str,
        nfe: int,
        realism: float,
        kind: str,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        nothing = None, gradio.DownloadButton(interactive=False, value=None)
        context = contextvars.copy_context()  # in which gradio finds the page that waits

        def tell(done: int, total: int) -> None:
            context.run(progress, (done, total), desc="Restoring", unit="evaluations")

        progress(0, desc="Preparing the model")
        try:
            trial = _tried(photograph, model, nfe, realism, kind, folder, tell)
        except Exception as error:
            return _error_line(error), *nothing
        line = f"Restored by {model} in {trial.seconds:.1f} s: {trial.facts}."
        shown = str(trial.before), str(trial.after)
        return (
            _line(line),
            shown,
            gradio.DownloadButton(
                f"Download {trial.result.name}", str(trial.result), interactive=True
            ),
        )

    with gradio.Blocks(title=_TITLE, analytics_enabled=False) as page:
        gradio.Markdown(f"# {_TITLE}\n{_SENTENCE}")
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                photograph = gradio.File(label="Photograph", height=130, elem_id="photograph")
                facts = gradio.HTML(elem_id="facts", padding=False)
                model = gradio.Radio(
                    [(each.label, name) for name, each in about.items()],
                    value=models[0],
                    label="Task",
                    elem_id="model",
                )
                described = gradio.HTML(about[models[0]].about, elem_id="about", padding=False)
                nfe = gradio.Number(
                    about[models[0]].nfe,
                    precision=0,
                    label="Network evaluations",
                    info="One is fastest, and closest on the average; more draw sharper detail.",
                    elem_id="nfe",
                )
                realism = gradio.Slider(
                    0,
                    1,
                    value=1,
                    step=0.05,
                    label="Realism",
                    info="Of several evaluations: 0 is closest on the average, 1 is sharpest.",
                    elem_id="realism",
                )
                kind = gradio.Radio(
                    list(_FILES), value=next(iter(_FILES)), label="File of the result",
                    elem_id="kind",
                )  # fmt: skip
                button = gradio.Button("Restore", variant="primary", elem_id="restore")
            with gradio.Column(scale=5, min_width=480):
                shown = gradio.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    interactive=False,
                    max_height=700,
                    buttons=["fullscreen"],
                    elem_id="shown",
                )
                message = gradio.HTML(elem_id="message", padding=False)
                download = gradio.DownloadButton(
                    "Download the result", interactive=False, elem_id="download"
                )
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        photograph.change(looked, photograph, [facts, model, download, shown, message], **quiet)
        model.change(lambda name: about[name][1:], model, [described, nfe], **quiet)
        button.click(
            restored,
            [photograph, model, nfe, realism, kind],
            [message, shown, download],
            show_progress_on=shown,
            api_visibility="private",
        )
    return page


def _tried(
    photograph: str | None,
    model: str,
    nfe: int,
    realism: float,
    kind: str,
    folder: str,
    tell: Callable[[int, int], None],
) -> Trial:
    if photograph is None:
        raise ValueError("there is no photograph: drop one first")
    options = Options(nfe=nfe, realism=realism, format=_FILES[kind])
    place = tempfile.mkdtemp(dir=folder)
    return try_model(model, photograph, place, options, on_evaluation=tell)


def describe(model: str) -> ModelEntry:
    """Returns what the page says of a model.

    Raises:
        ValueError: it is none, or one for pairs; one line.
    """
    folder = interop.local_folder(model)
    config = config_lib.load(folder)
    if config.has_pairs:
        raise ValueError(
            f"--model {model} learnt from pairs of files, and the page shows photographs: "
            "i2sb-restore takes it"
        )
    interop.find_checkpoint(folder, LATEST)
    provenance = interop.read_provenance(folder)
    licence = "not stated" if provenance is None else provenance.licence
    licence = f"Licence of its weights: {licence}."
    if model not in zoo.MODELS or folder != zoo.shipped_folder(model):
        about = _line(f"Learnt to undo {config.corruption}.", licence)
        return ModelEntry(model, about, config.sampling.nfe)
    shipped = zoo.MODELS[model]
    about = _line(f"For {shipped.picture}.", f"Gain: {shipped.gain()}.", licence)
    return ModelEntry(f"{model}: {shipped.task}", about, config.sampling.nfe)


def _line(*sentences: str) -> str:
    return f'<div class="i2sb-line">{"<br>".join(map(html.escape, sentences))}</div>'


def _error_line(error: Exception) -> str:
    """The line of an error that a person can mend; of others the terminal has the rest."""
    text = errors.users_line(error)
    if text is None:
        raise error
    return f'<div class="i2sb-line i2sb-error">error: {html.escape(startup.printable(text))}</div>'


def parser() -> ToolParser:
    """Returns the tool's parser."""
    made = ToolParser(
        prog="i2sb-demo",
        usage="[--model RUN] [--port N]",
        description=__doc__.partition("\n")[0],
        examples=(
            Example("i2sb-demo", "Show a page of the shipped models; its address is printed."),
            Example(
                "i2sb-demo --model runs/mine --port 8000",
                "Show a page of a run of your own at http://127.0.0.1:8000.",
            ),
        ),
    )
    add = made.add_argument_group("page").add_argument
    add("--model", help="A run or a model folder. Default: all shipped models.")
    add(
        "--port", type=int, metavar="N", help="Port of 127.0.0.1. Default: a free one from 7860 on."
    )
    return made


if __name__ == "__main__":
    main()
