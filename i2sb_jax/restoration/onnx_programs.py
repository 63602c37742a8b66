"""A model as ONNX programs: what `i2sb-export --format onnx` writes.

`network.onnx` is one evaluation, `restore.onnx` goes from degraded pictures to restored ones by the
evaluations of one setting (`restoration.onnx_walk`). Arrays are [b, c, h, w], as ONNX has pictures.
`programs.json` says what they take and give, and has the checksum of each file.
"""

import hashlib
import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from etils import epath
from jax.extend.random import define_prng_impl

from i2sb_jax.config import SamplingConfig
from i2sb_jax.corruptions import corruption_facts, enlarge_smoothly
from i2sb_jax.files import require_new_folder, write_atomically
from i2sb_jax.interop import Provenance
from i2sb_jax.interop.onnx_graph import OPSET, Graph
from i2sb_jax.interop.onnx_network import add_network
from i2sb_jax.restoration.onnx_walk import Frame, choose_frame, restoring_graph
from i2sb_jax.restoration.programs import (
    CARD,
    FACTS,
    check_sampling,
    origin,
    reads_photo,
    sampling_facts,
    told_lines,
    window_side,
)
from i2sb_jax.run import Run
from i2sb_jax.sampling.noise import normal_each
from i2sb_jax.types import Array, Params, StartedParams

NETWORK, RESTORE, WEIGHTS = "network.onnx", "restore.onnx", "weights.bin"

_FORMAT = "i2sb-onnx-1"
_LARGEST = 2**30  # bytes of weights in a program; protobuf holds 2 GiB at most
_TOLERANCE = 1e-4  # between a program and the function that it stands for, in units of [-1, 1]
_TRIED = {"batch": 2, "height": 45, "width": 70}  # where they are free
# A coefficient that lies on its threshold falls to either side by a rounding.
_TRIALS_OF_THRESHOLDS = 3


class _Program(NamedTuple):
    """A graph and the function that it stands for.

    Attributes:
        graph: the program.
        function: arrays of the graph's inputs by their names -> its output.
        draw: generator -> such arrays.
    """

    graph: Graph
    function: Callable[[dict[str, np.ndarray]], Array]
    draw: Callable[[np.random.Generator], dict[str, np.ndarray]]


def save_onnx(
    run: Run,
    params: Params | StartedParams,
    output: epath.PathLike,
    *,
    sampling: SamplingConfig,
    tile: int | None = None,
    batch: int | None = None,
    provenance: Provenance | None = None,
) -> None:
    """Writes a model as ONNX programs, after each ran beside this package's own function.

    Args:
        run: from `restoring_run(config, dtype="float32")`, on one device.
        params: as `interop.load_model_folder` gives them.
        output: a new folder.
        sampling: of `restore.onnx`.
        tile: side of its pictures, pixels; None: free, but of a network with attention the run's.
        batch: of its pictures; None: free.
        provenance: of the weights, whose licence travels along.

    Raises:
        ValueError: `output` is not empty, the windows do not suit the network, something computes
            in bfloat16, the sampling needs what is no array, or a program gives something else
            than its function; one line.
    """
    output = require_new_folder(output)
    check_sampling(sampling)
    _check_types(run)
    programs = {
        NETWORK: _network(run, params.bridge if isinstance(params, StartedParams) else params),
        RESTORE: _restore(run, params, sampling, side=window_side(run, tile), batch=batch),
    }
    chosen = sampling_facts(sampling)
    about = {
        "format": _FORMAT,
        "arrays": "float32 [batch, channels, height, width]",
        "corruption": run.config.corruption,
        "sampling": json.dumps(chosen),
        "origin": origin(provenance),
    }
    with tempfile.TemporaryDirectory() as folder:
        names = _write(programs, about, pathlib.Path(folder))
        runs = [run] if run.start is None else [run, run.start]
        has_thresholds = any(each.config.unet.thresholded for each in runs)
        trials = _TRIALS_OF_THRESHOLDS if has_thresholds else 1
        for name, program in programs.items():
            _check(pathlib.Path(folder) / name, program, trials)
        sha256 = {}
        for name in names:
            data = (pathlib.Path(folder) / name).read_bytes()
            sha256[name] = hashlib.sha256(data).hexdigest()
            write_atomically(output / name, data)
    facts = about | {
        "sampling": chosen,
        "opset": OPSET,
        "programs": {name: program.graph.described() for name, program in programs.items()},
        "sha256": sha256,
    }
    write_atomically(output / CARD, _card(run, programs[RESTORE].graph, about).encode())
    write_atomically(output / FACTS, (json.dumps(facts, indent=2) + "\n").encode())


def _check_types(run: Run) -> None:
    """Raises ValueError, in one line, where a network computes in bfloat16."""
    for name, each in {"the run": run, "bridge.start": run.start}.items():
        if each is not None and each.config.unet.dtype != np.float32:
            raise ValueError(
                f"model.dtype={each.config.unet.dtype.name} of {name}: ONNX programs compute in "
                "float32, as the same weights can; use that"
            )


def _network(run: Run, params: Params) -> _Program:
    """One evaluation."""
    config, channels = run.config.unet, run.config.image_channels
    sides = (run.config.image_size,) * 2 if config.has_attention else ("height", "width")
    levels = np.asarray(run.bridge.noise_level)
    graph, extra = Graph(), config.in_channels - channels
    unit = f", sides multiples of {config.downsampling_factor}"
    x = graph.input(
        "x_t", ("batch", channels, *sides), f"X_t, in [-1, 1] with the bridge's noise{unit}"
    )
    level = graph.input(
        "noise_level", ("batch",),
        f"of step t, {levels[0]:g} at the first to {levels[-1]:g} at the last",
    )  # fmt: skip
    cond = None
    if extra:
        cond = graph.input("cond", ("batch", extra, *sides), "what the network sees beside X_t")
    graph.output(
        "output", add_network(graph, config, params, x, level, cond),
        ("batch", channels, *sides), f"the network's, prediction {run.config.bridge.prediction!r}",
    )  # fmt: skip

    def evaluate(given: dict[str, np.ndarray]) -> Array:
        cond = _last(given["cond"]) if extra else None
        apply = jax.jit(run.network.apply)
        return _first(apply({"params": params}, _last(given["x_t"]), given["noise_level"], cond))

    factor = config.downsampling_factor
    sides = {key: -(-_TRIED[key] // factor) * factor for key in ("height", "width")}

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        given = _drawn(random, graph, _TRIED | sides)
        level = random.uniform(levels[0], levels[-1], given["noise_level"].shape)
        return given | {"noise_level": level.astype(np.float32)}

    return _Program(graph, evaluate, draw)


def _restore(
    run: Run,
    params: Params | StartedParams,
    sampling: SamplingConfig,
    *,
    side: int | None,
    batch: int | None,
) -> _Program:
    """From degraded pictures to restored ones."""
    graph = restoring_graph(run, params, sampling, side=side, batch=batch)
    frame, sample_fn = choose_frame(run, side), jax.jit(run.sample_fn(sampling))

    def restore(given: dict[str, np.ndarray]) -> Array:
        given = {name: _last(x) for name, x in given.items() if name != "noise"}
        given["degraded"] = enlarge_smoothly(given["degraded"], frame.times)
        height, width = given["degraded"].shape[1:3]
        given = {name: _padded(x, frame) for name, x in given.items()}
        x1, mask, cond = (given.get(name) for name in ("degraded", "mask", "cond"))
        x0 = sample_fn(_constant_keys(len(x1)), params, x1, mask, cond).x0
        inner = (slice(frame.lead, frame.lead + length) for length in (height, width))
        x0 = jnp.clip(x0, -1, 1) if run.config.is_bounded else x0
        return _first(x0[:, *inner])

    tried = dict(_TRIED)
    for name in ("height", "width"):
        large = frame.times * _TRIED[name]
        tried[f"{frame.times}*{name}"] = large
        tried[f"noise_{name}"] = large + sum(frame.around(large))

    def draw(random: np.random.Generator) -> dict[str, np.ndarray]:
        given = _drawn(random, graph, tried)
        if "mask" in given:
            given["mask"] = np.float32(given["mask"] > 0)
        if "noise" in given:
            draws, count, channels, *sides = given["noise"].shape
            once = normal_each(_constant_keys(count), (count, *sides, channels), np.float32)
            given["noise"] = np.tile(_first(once), (draws, 1, 1, 1, 1))
        return given

    return _Program(graph, restore, draw)


def _padded(x: np.ndarray, frame: Frame) -> np.ndarray:
    sides = (frame.around(length) for length in x.shape[1:3])
    return np.pad(x, ((0, 0), *sides, (0, 0)), mode="symmetric")


def _drawn(
    random: np.random.Generator, graph: Graph, tried: dict[str, int]
) -> dict[str, np.ndarray]:
    shapes = {
        name: [tried[x] if isinstance(x, str) else x for x in shape]
        for name, shape in graph.inputs.items()
    }
    return {name: random.uniform(-1, 1, x).astype(np.float32) for name, x in shapes.items()}


def _constant_keys(count: int) -> Array:
    """Keys of pictures each of whose draws are the same one, for a program to be given it."""
    same = define_prng_impl(
        key_shape=(2,),
        seed=lambda number: jnp.stack([number, number]).astype(jnp.uint32),
        split=lambda key, shape: jnp.broadcast_to(key, (*shape, 2)),
        random_bits=lambda key, width, shape: jax.random.bits(
            jax.random.wrap_key_data(key), shape, f"uint{width}"
        ),
        fold_in=lambda key, number: key,
        name="same",
        tag="same",
    )
    data = jnp.arange(2 * count, dtype=jnp.uint32).reshape(count, 2)
    return jax.random.wrap_key_data(data, impl=same)


def _write(programs: dict[str, _Program], about: dict[str, str], folder: pathlib.Path) -> list[str]:
    """Writes the programs, and their weights beside them where these are many; returns names."""
    weights = {key: x for each in programs.values() for key, x in each.graph.weights.items()}
    lengths = [x.nbytes for x in weights.values()]
    offsets, names = {}, list(programs)
    if sum(lengths) > _LARGEST:
        starts = np.cumsum([0, *lengths[:-1]])
        offsets = dict(zip(weights, map(int, starts), strict=True))
        with (folder / WEIGHTS).open("wb") as file:
            for x in weights.values():
                file.write(x.tobytes())
        names.append(WEIGHTS)
    for name, program in programs.items():
        title = name.removesuffix(".onnx")
        model = program.graph.model(title, facts=about, offsets=offsets, file=WEIGHTS)
        (folder / name).write_bytes(model.SerializeToString())
    return names


def _check(path: pathlib.Path, program: _Program, trials: int) -> None:
    """Raises ValueError where a program gives something else than its function."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random, found = np.random.default_rng(0), []
    for _ in range(trials):
        given = program.draw(random)
        with jax.default_matmul_precision("highest"):
            ours = np.asarray(program.function(given))
        (theirs,) = session.run(None, given)
        found.append(float(np.max(np.abs(theirs - ours)) / max(1, np.max(np.abs(ours)))))
        if found[-1] <= _TOLERANCE:
            return
    raise ValueError(f"{path.name} differs by {min(found):.2g} from its function: not written")


def _first(x: Array) -> np.ndarray:
    """[b, h, w, c] -> [b, c, h, w]."""
    return np.moveaxis(np.asarray(x), -1, 1)


def _last(x: np.ndarray) -> np.ndarray:
    """[b, c, h, w] -> [b, h, w, c]."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


_CARD = """# ONNX programs of a model for `{task}`

Made by i2sb_jax, opset {opset}, and tried with onnxruntime {version} on a CPU. `{facts}` says what
`{network}` and `{restore}` take and give.

Origin: {origin}.
{example}"""
_EXAMPLE = """
```python
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("{restore}")
photo = Image.open("photo.png")
pixels = np.asarray(ImageOps.exif_transpose(photo).convert("RGB"), np.float32)
degraded = pixels.transpose(2, 0, 1)[None] / 127.5 - 1
{more}(restored,) = session.run(None, {{"degraded": degraded{given}}})
levels = np.rint(restored[0].transpose(1, 2, 0) * 127.5 + 127.5)
Image.fromarray(levels.astype(np.uint8)).save("restored.png")
```
"""
_COND = "cond = np.tile(np.float32(told)[:, None, None], (1, 1, *degraded.shape[2:]))\n"
_NOISE = """sides = [{times} * side + {largest} for side in degraded.shape[2:]]
noise = np.random.default_rng(0).standard_normal(({draws}, 1, 3, *sides), np.float32)
"""


def _card(run: Run, graph: Graph, about: dict[str, str]) -> str:
    """A page about the folder, with a script that restores a picture where the task is no more."""
    example = ""
    if reads_photo(run) and isinstance(graph.inputs["degraded"][2], str):
        facts = corruption_facts(run.config.corruption)
        more, given = "", ""
        if facts.is_told:
            more, given = told_lines(facts) + _COND, ', "cond": cond'
        if "noise" in graph.inputs:
            draws, largest = graph.inputs["noise"][0], choose_frame(run, None).most
            more += _NOISE.format(times=facts.enlargement, largest=largest, draws=draws)
            given += ', "noise": noise'
        example = _EXAMPLE.format(restore=RESTORE, more=more, given=given)
    return _CARD.format(
        task=run.config.corruption, opset=OPSET, facts=FACTS, network=NETWORK, restore=RESTORE,
        version=onnxruntime.__version__, origin=about["origin"], example=example,
    )  # fmt: skip
