"""The files that an evaluation leaves: results.json, pictures.csv and report.html."""

import csv
import importlib.metadata
import io
import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from i2sb_jax import config as config_lib
from i2sb_jax.config import Config
from i2sb_jax.evaluation import figures as figures_lib
from i2sb_jax.evaluation.bootstrap import LEAST_PICTURES, Figure
from i2sb_jax.evaluation.evaluate import CLEAN, View, trace
from i2sb_jax.evaluation.frechet import Statistics
from i2sb_jax.evaluation.networks import RESNET50, Network
from i2sb_jax.evaluation.options import Options
from i2sb_jax.evaluation.report import Shown, write_report
from i2sb_jax.evaluation.scores import PSNR_Y
from i2sb_jax.evaluation.store import ShardStore, pictures_of
from i2sb_jax.files import write_atomically
from i2sb_jax.pictures import to_rgb, to_uint8, write_png
from i2sb_jax.run import restoring_run
from i2sb_jax.types import Batch, NonFiniteError, Params

RESULTS, TABLE, REPORT = "results.json", "pictures.csv", "report.html"
_PACKAGES = ("i2sb_jax", "jax", "jaxlib", "flax", "numpy")
_SHOWN, _EXTREMES = 12, 6  # pictures spread over the data, and of the best and of the worst
_PATH_NFE, _PATH_STATES = 10, 6  # the longest walk that is shown, and its states
_ACCURACY = "classifier accuracy"


class Model(NamedTuple):
    """The model that is evaluated.

    Attributes:
        name: as the person calls it.
        config: of the run.
        params: numpy.
        digest: what tells the weights from others.
    """

    name: str
    config: Config
    params: Params
    digest: str


class Values(NamedTuple):
    """The meaning of the pictures' numbers, and how they are measured.

    Attributes:
        dtype: of the pictures' files.
        low: values of the file that are -1, one for all channels or one each.
        high: values that are 1.
        limits: what -1 … 1 is clipped to before it is measured, one for all channels or one each:
            what the files can hold; infinite: nothing.
    """

    dtype: str = "uint8"
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)
    limits: tuple[Any, Any] = (-1.0, 1.0)

    def as_json(self) -> dict[str, Any]:
        """Returns the entry of results.json; PSNR and SSIM take the data range."""
        limits = [np.ravel(end).tolist() for end in self.limits]
        clipped = limits if np.isfinite(limits).all() else None
        ends = {"minus_one": list(self.low), "one": list(self.high)}
        return {"data_range": 2.0, "dtype": self.dtype, **ends, "clipped_to": clipped}

    def __str__(self) -> str:
        ends = (", ".join(f"{end:g}" for end in each) for each in (self.low, self.high))
        range_ = "-1 … 1 is {} … {} of {}".format(*ends, self.dtype)
        clipped = self.as_json()["clipped_to"] is not None
        return f"{range_}, {'clipped to what files hold' if clipped else 'unclipped'}"


class Data(NamedTuple):
    """The pictures that a model is evaluated on.

    Attributes:
        name: in words: the source and where it lies.
        count: of pictures.
        pictures: numbers -> batches, of so many pictures a process as asked for.
        views: method -> its picture of a batch, beside the degraded picture itself: classical
            repairs.
        digest: what tells these pictures from others: their names and files, as far as they have
            any.
        labels: in place of those that the pictures come with, -1 where unknown; None: those.
        values: what their numbers mean.
    """

    name: str
    count: int
    pictures: Callable[..., Any]
    views: Mapping[str, View]
    digest: str
    labels: Sequence[int] | None = None
    values: Values = Values()


class Measures(NamedTuple):
    """The measures that are taken.

    Attributes:
        networks: by name.
        arrays: score -> array of the store.
        given: the reference set's statistics; None: the clean pictures are the reference.
        sha256: of the file of statistics, "" without one.
        left_out: metric -> reason, one line.
        border: pixels that are left out on each side where luma is measured.
    """

    networks: Mapping[str, Network]
    arrays: Mapping[str, str]
    given: Statistics | None
    sha256: str
    left_out: dict[str, str]
    border: int = 0


def write_results(
    model: Model,
    data: Data,
    store: ShardStore,
    options: Options,
    measures: Measures,
    methods: Sequence[str],
    *,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Summarises a store whose scores are complete, and writes all three files.

    Args:
        model: that was evaluated.
        data: on what.
        store: of pictures and scores.
        options: resolved.
        measures: what was measured.
        methods: in the order to be shown.
        warn: told of what is left out.

    Returns:
        What results.json holds.
    """
    pictures = figures_lib.read_pictures(store)
    if data.labels is not None:  # a list may have got them since the pictures were restored
        pictures = pictures._replace(labels=np.asarray(data.labels[: store.count]))
    reference = figures_lib.make_reference(store, measures.arrays, pictures, measures.given)
    found = {
        method: figures_lib.summarise(
            store, measures.arrays, pictures, method=method, reference=reference,
            seed=options.seed,
        )
        for method in methods
    }  # fmt: skip
    _warn_of_losses(store, pictures, methods, warn)
    left_out = dict(measures.left_out)
    if RESNET50 in measures.arrays and not (pictures.labels >= 0).any():
        left_out[_ACCURACY] = (
            "no picture has a label: they come from TFDS, from a thousand class folders, or from "
            "a list of names and labels (--list)"
        )
        warn(f"{_ACCURACY} left out: {left_out[_ACCURACY]}")
    if any(_is_of_few(figure) for each, _ in found.values() for figure in each.values()):
        left_out["95 % intervals"] = f"they need {LEAST_PICTURES} pictures at least"
        warn(f"95 % intervals left out: {left_out['95 % intervals']}")
    facts = _facts(model, data, store, options, pictures)
    if PSNR_Y in measures.arrays:
        facts["border without luma"] = f"{measures.border} pixels"
    if reference is not None:
        facts |= {f"{name.upper()} against": origin for name, origin in reference.names.items()}
    figures = {method: figures_lib.as_json(each) for method, (each, _) in found.items() if each}
    present = {name for each in figures.values() for name in each}
    results = {
        "title": f"{model.config.corruption}: {model.name}",
        "facts": facts,
        "methods": {method: {"nfe": nfe_of(method)} for method in figures},
        "metrics": {name: each for name, each in figures_lib.METRICS.items() if name in present},
        "figures": figures,
        "left_out": left_out,
        "values": data.values.as_json(),
        "weights": _hashes(measures),
        "versions": _versions(),
        "config": config_lib.to_dict(model.config),
    }
    scores = {method: each for method, (_, each) in found.items() if method in figures}
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    write_atomically(store.folder / RESULTS, text.encode())
    _write_table(store, pictures, scores)
    if options.png:
        _write_pngs(store, pictures, [method for method in figures if nfe_of(method) is not None])
    shown = _shown(model, data, store, options, pictures, scores, list(figures))
    write_report(
        store.folder / REPORT, results=results, scores=scores, names=pictures.names, pictures=shown
    )
    return json.loads(text)


def _is_of_few(figure: Figure) -> bool:
    return figure.value is not None and figure.low is None


def check_finite(results: Mapping[str, Any]) -> None:
    """Raises NonFiniteError where a network gave nothing that could be measured."""
    psnr = {
        method: results["figures"][method].get("psnr")
        for method, about in results["methods"].items()
        if about["nfe"] is not None
    }
    if empty := [method for method, each in psnr.items() if each and not each["pictures"]]:
        raise NonFiniteError(
            f"{results['title']}: the network gave NaN or infinity for every picture, and the "
            f"figures of {', '.join(empty)} are empty"
        )


def method_of(nfe: int) -> str:
    """The name of a method in a store and in results."""
    return f"nfe {nfe}"


def nfe_of(method: str) -> int | None:
    """The inverse; None of a method without evaluations."""
    number = method.removeprefix("nfe ")
    return int(number) if number != method else None


def nfe_of_kind(kind: str) -> int | None:
    """Returns `nfe_of` by the name that a store gives the method."""
    number = kind.removeprefix("nfe-")
    return int(number) if number != kind and number.isdecimal() else None


def _facts(model, data, store, options, pictures) -> dict[str, Any]:
    config, lost = model.config, int((~pictures.there).sum())
    return {
        "model": model.name,
        "weights": model.digest,
        "corruption": config.corruption,
        "data": data.name,
        "pictures": store.count,
        **({"unreadable": lost} if lost else {}),
        "image size": config.image_size,
        "sampler": options.sampler,
        "spacing": options.spacing,
        **({"eta": options.eta} if options.eta else {}),
        **({"start": _start(config)} if config.bridge.start else {}),
        "seed": options.seed,
        "clip": options.clip,
        **({"consistency": options.consistency} if options.consistency else {}),
        **({"realism": options.realism} if options.realism != 1 else {}),
        "compute type": options.dtype,
        "matmul precision": "highest",
        "devices": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "pictures at once": f"{store.size} a device",
        "values": str(data.values),
    }


def _start(config: Config) -> str:
    return (
        f"{config.start_evaluations} evaluation of the model in start/, not counted in nfe, with "
        f"noise of σ {config.bridge.start_noise:g}"
    )


def _versions() -> dict[str, str]:
    found = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return found | {"python": platform.python_version()}


def _hashes(measures: Measures) -> dict[str, str]:
    """SHA-256 of every file that figures depend on, by the key that names it."""
    files = [pair for network in measures.networks.values() for pair in network.sha256.items()]
    files += [("reference_stats", measures.sha256)] if measures.sha256 else []
    return {f"evaluation.{key}": sha for key, sha in files}


def _warn_of_losses(store, pictures, methods, warn) -> None:
    """A line for pictures of a method that are not finite."""
    for method in methods:
        finite = store.whole(pictures_of(method), arrays=("finite",))["finite"]
        lost = np.flatnonzero(pictures.there & ~finite)
        if len(lost):
            named = ", ".join(pictures.names[i] for i in lost[:3])
            more = ", …" if len(lost) > 3 else ""
            warn(f"{method}: {len(lost)} pictures are not finite, and left out: {named}{more}")
    if lost := int((~pictures.there).sum()):
        warn(f"{lost} of {store.count} pictures could not be used, and are left out")


def _write_table(store: ShardStore, pictures, scores) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header, rows = figures_lib.table(pictures, scores)
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(store.folder / TABLE, buffer.getvalue().encode("utf-8", "replace"))


def _write_pngs(store: ShardStore, pictures, methods: Sequence[str]) -> None:
    """Each restored picture by number and name, but for those that are there."""
    for method in methods:
        kind = pictures_of(method)
        folder = store.folder / "png" / kind.rpartition("/")[2]
        names = [_png_name(number, name) for number, name in enumerate(pictures.names)]
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        for shard in range(len(store)):
            wanted = [number for number in store.numbers(shard) if names[number] not in there]
            images = store.read(kind, shard)["image"] if wanted else ()
            for number in wanted:
                image = to_rgb(_in_bytes(images[number - shard * store.size]))
                write_png(folder / names[number], image)


def _png_name(number: int, name: str) -> str:
    """A name may be of any characters, and of any folder."""
    return f"{number:06d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[-80:]}.png"


def figure_table(results: Mapping[str, Any]) -> str:
    """The figures as lines for a terminal: a method a line, value and 95 % interval."""
    metrics = results["metrics"]
    rows = [["", *(each["title"] + f" [{each['unit']}]" * bool(each["unit"])
                   for each in metrics.values())]]  # fmt: skip
    for method, figures in results["figures"].items():
        cells = [_cell(figures.get(name), each["digits"]) for name, each in metrics.items()]
        rows.append([method, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(figure: Mapping[str, Any] | None, digits: int) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.{digits}f}"
    return (
        f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} … {figure['high']:.{digits}f})"
    )


# --- pictures of the report ---------------------------------------------------------------------


def _shown(model, data, store, options, pictures, scores, methods) -> list[Shown]:
    """Some of the pictures, and the best and the worst ones, with their path."""
    numbers = _worth_showing(pictures, scores, methods)
    if not numbers:
        return []
    nfe = max((n for n in options.nfes if n <= _PATH_NFE), default=min(options.nfes))
    paths = _paths(model, data, store, options, numbers, nfe=nfe)
    shown = []
    for place, number in enumerate(numbers):
        images = {
            method: _in_bytes(store.row(pictures_of(method), number, "image"))
            for method in dict.fromkeys([CLEAN, *methods])
        }
        path = [_in_bytes(state) for state in paths[:, place]]
        shown.append(Shown(pictures.names[number], images, path))
    return shown


def _worth_showing(pictures, scores, methods) -> list[int]:
    best = [method for method in methods if nfe_of(method) is not None][-1:]
    values = scores[best[0]]["psnr"] if best else np.full(len(pictures.names), np.nan)
    usable = np.flatnonzero(np.isfinite(values) & pictures.there)
    order = usable[np.argsort(values[usable], kind="stable")]
    spread = usable[np.linspace(0, len(usable) - 1, min(_SHOWN, len(usable))).astype(int)]
    chosen = [*spread, *order[:_EXTREMES], *order[len(order) - _EXTREMES :]]
    return sorted({int(number) for number in chosen})


def _paths(model, data, store, options, numbers, *, nfe: int) -> np.ndarray:
    """[states, pictures, h, w, c], from X_1 to X_0."""
    # X_1 itself lies at the position nfe, and is not recorded
    places = np.unique(np.linspace(nfe - 1, 0, _PATH_STATES - 1).round().astype(int))[::-1]
    sample_fn = restoring_run(model.config, dtype=options.dtype).sample_fn(
        options.sampling(model.config, nfe), record=tuple(int(place) for place in places)
    )
    device = jax.local_devices()[0]
    found = []
    for batch, rows in _batches(data, store, numbers):
        states = trace(sample_fn, model.params, batch, seed=options.seed, device=device)
        found.append(states[:, :rows])
    return np.concatenate(found, axis=1)


def _batches(data: Data, store: ShardStore, numbers: list[int]) -> Iterator[tuple[Batch, int]]:
    """Batches of one size, and how many rows of each are no padding."""
    padded = numbers + numbers[-1:] * (-len(numbers) % store.size)
    for start, batch in enumerate(data.pictures(padded, rows=store.size)):
        yield batch, min(store.size, len(numbers) - start * store.size)


def _in_bytes(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else to_uint8(image)
