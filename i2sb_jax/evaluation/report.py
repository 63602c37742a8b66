"""report.html of an evaluation: figures, curves and pictures in one file that needs no other.

The page is static: its HTML, style and script lie beside this file and never change. What was
measured goes in as JSON, which the script shows through text nodes alone, so a picture may have any
name. A content security policy names the hashes of that one style and that one script: nothing else
runs, and nothing is fetched. The same input gives the same bytes.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from i2sb_jax.files import write_atomically
from i2sb_jax.pictures import encode_png, to_rgb

_SPARE_DIGITS = 4  # of scores, beyond those shown: what ties there is in order still


class Shown(NamedTuple):
    """A picture that the report embeds.

    Attributes:
        name: one of the names that have scores; rows of the table lead here by it.
        images: method -> uint8 [h, w, c], all of one size; besides the methods that restore there
            are "clean" and "degraded".
        path: the bridge's states from X_1 to X_0, uint8 [h, w, c].
    """

    name: str
    images: Mapping[str, np.ndarray]
    path: Sequence[np.ndarray] = ()


def write_report(
    path: epath.PathLike,
    *,
    results: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    names: Sequence[str],
    pictures: Sequence[Shown],
) -> None:
    """Writes the page; a reader never sees half of it.

    Args:
        path: of the file, local or gs://.
        results: what results.json holds, all in the order to be shown:
            "title": a line;
            "facts": what -> text or number, such as the model and the seed;
            "methods": method -> {"nfe": int or None};
            "metrics": metric -> {"title", "unit", "better": "higher" | "lower", "digits"};
            "figures": method -> metric -> {"value", "low", "high", "pictures"}, any of the first
            three None; low and high bound the 95 % interval; a method may lack metrics;
            "left_out": metric's title -> reason.
        scores: method -> metric -> a value a picture, in the order of `names`; what is not finite
            is shown as missing. Metrics of whole sets have none.
        names: of all pictures.
        pictures: those to look at.

    Raises:
        ValueError: scores or figures of a method or metric that `results` does not list, another
            number of scores than of names, or pixels that are not uint8.
    """
    _require_consistent(results, scores, names)
    data = {
        "title": results["title"],
        "facts": list(results["facts"].items()),
        "leftOut": list(results["left_out"].items()),
        "metrics": list(results["metrics"].values()),
        "methods": [_method(name, results, scores) for name in results["methods"]],
        "names": list(names),
        "pictures": [_picture(shown) for shown in pictures],
    }
    write_atomically(path, _page(_json(data)).encode("utf-8"))


def _require_consistent(results, scores, names) -> None:
    for kind, tables in (("figures", results["figures"]), ("scores", scores)):
        for method, table in tables.items():
            if method not in results["methods"]:
                raise ValueError(f"{kind} of {method!r}, which is none of the methods")
            for metric in table:
                if metric not in results["metrics"]:
                    raise ValueError(f"{kind} of {metric!r}, which is none of the metrics")
    for method, table in scores.items():
        for metric, values in table.items():
            if len(values) != len(names):
                raise ValueError(
                    f"{method!r} has {len(values)} scores of {metric!r} for {len(names)} names"
                )


def _method(name: str, results, scores) -> dict[str, Any]:
    """A method with a figure and a list of scores for each metric, None where there is none."""
    # lists, not mappings: JavaScript would move a key such as "10" to the front
    figures, values = results["figures"].get(name, {}), scores.get(name, {})
    return {
        "name": name,
        "nfe": results["methods"][name]["nfe"],
        "figures": [figures.get(metric) for metric in results["metrics"]],
        "scores": [
            _rounded(values[metric], about["digits"]) if metric in values else None
            for metric, about in results["metrics"].items()
        ],
    }


def _rounded(values: Sequence[float], digits: int) -> list[float]:
    # scores of 50,000 pictures in all their digits would be most of the file
    return np.round(np.asarray(values, np.float64), digits + _SPARE_DIGITS).tolist()


def _picture(shown: Shown) -> dict[str, Any]:
    height, width = next(iter(shown.images.values())).shape[:2]
    return {
        "name": shown.name,
        "width": width,
        "height": height,
        "images": [(method, _data_uri(image)) for method, image in shown.images.items()],
        "path": [_data_uri(state) for state in shown.path],
    }


def _data_uri(image: np.ndarray) -> str:
    if image.dtype != np.uint8:
        raise ValueError(f"pixels to show are uint8, not {image.dtype}")
    return "data:image/png;base64," + base64.b64encode(encode_png(to_rgb(image))).decode()


def _json(data: Any) -> str:
    """JSON in ASCII that no HTML parser takes for markup; numbers that are not finite as null."""
    # "</script>" or "<!--" in a name would end or change the element that holds it
    return json.dumps(_plain(data), allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")


def _plain(value: Any) -> Any:
    """The same of dicts, lists and Python's own scalars, without numbers that are not finite."""
    match value:
        case str():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.generic():
            return _plain(value.item())
        case float() if not math.isfinite(value):
            return None
    return value


def _page(data: str) -> str:
    """The document around JSON."""
    style = _static("report_page.css")
    script = _static("report_charts.js") + "\n" + _static("report_page.js")
    parts = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "data": data,
    }
    # in one pass: what is put in is not searched again
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _static("report_page.html"))


def _static(name: str) -> str:
    return resources.files("i2sb_jax.evaluation").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Returns the text's hash as a content security policy names an element by it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
