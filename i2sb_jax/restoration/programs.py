"""A model as programs that JAX alone runs: what `i2sb-export --format jax` writes.

`weights.npz` holds arrays in the order in which both programs take them; `network.jax` is one
evaluation, `restore.jax` goes from X_1 to X_0 by the evaluations of one setting. Both are
`jax.export`'s StableHLO for CPUs, NVIDIA GPUs and TPUs. `programs.json` says what they take and
give, and has the checksum of each file.
"""

import hashlib
import importlib.metadata
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax import export

from i2sb_jax.config import SamplingConfig
from i2sb_jax.config.sampling import STEPS
from i2sb_jax.corruptions import CorruptionFacts, corruption_facts
from i2sb_jax.corruptions.jpeg_file import standard_settings
from i2sb_jax.files import require_new_folder, write_atomically
from i2sb_jax.interop import Provenance
from i2sb_jax.restoration.tiles import choose_tiling
from i2sb_jax.run import Run
from i2sb_jax.types import Params, StartedParams

WEIGHTS, NETWORK, RESTORE, FACTS = "weights.npz", "network.jax", "restore.jax", "programs.json"
CARD = "README.md"
PLATFORMS = ("cpu", "cuda", "tpu")

_VERSION = importlib.metadata.version("jax")
_FORMAT = "i2sb-programs-1"
_TOLERANCE = 1e-4  # between a program and the function it was made of, in units of [-1, 1]
_LEAST = 64  # pixels of a free side: what mirrors borders needs so many
CUBIC_REACH = 2  # pixels of a small picture beside one that its enlargement depends on


class _Program(NamedTuple):
    """A function of the weights and of arrays, before it is a file.

    Attributes:
        function: (weights, *arrays) -> array.
        takes: name -> shape and type, sides and batch possibly free.
        meaning: name -> what it is, with its range.
        tried: numbers for what is free, with which the program is tried.
    """

    function: Callable[..., jax.Array]
    takes: dict[str, jax.ShapeDtypeStruct]
    meaning: dict[str, str]
    tried: dict[Any, int]


def save_programs(
    run: Run,
    params: Params | StartedParams,
    output: epath.PathLike,
    *,
    sampling: SamplingConfig,
    tile: int | None = None,
    batch: int | None = None,
    platforms: tuple[str, ...] = PLATFORMS,
    provenance: Provenance | None = None,
) -> None:
    """Writes a model as programs, after each was run beside the function that it was made of.

    Args:
        run: from `restoring_run`, on one device.
        params: as `interop.load_model_folder` gives them.
        output: a new folder.
        sampling: of `restore.jax`.
        tile: side of its windows, pixels; None: free, but of a network with attention the run's.
        batch: of its windows; None: free.
        platforms: that the programs are lowered for, by `jax.export`'s names.
        provenance: of the weights, whose licence travels along.

    Raises:
        ValueError: `output` is not empty, the windows do not suit the network, the sampling needs
            what is no array, or a program gives something else than its function; one line.
    """
    output = require_new_folder(output)
    check_sampling(sampling)
    leaves, structure = jax.tree.flatten(params)
    network = _network(run, structure, started=isinstance(params, StartedParams))
    restore = _restore(run, structure, sampling, window_side(run, tile), batch)
    data, facts = {WEIGHTS: _npz(leaves)}, {}
    with jax.default_matmul_precision(run.config.matmul_precision):
        for name, program in {NETWORK: network, RESTORE: restore}.items():
            made = export.export(jax.jit(program.function), platforms=platforms)
            exported = made(list(map(_abstract, leaves)), *program.takes.values())
            _check(name, program, exported, leaves)
            data[name] = bytes(exported.serialize())
            facts[name] = {
                "weights": f"the {len(leaves)} arrays of {WEIGHTS} in their order, a list",
                **{key: f"{_told(x)}: {program.meaning[key]}" for key, x in program.takes.items()},
                "gives": f"{_told(exported.out_avals[0])}: {program.meaning['gives']}",
            }
    told = {
        "format": _FORMAT,
        "jax": _VERSION,
        "calling convention": exported.calling_convention_version,
        "platforms": list(platforms),
        "corruption": run.config.corruption,
        "sampling": sampling_facts(sampling),
        "origin": origin(provenance),
        "programs": facts,
        "sha256": {name: hashlib.sha256(one).hexdigest() for name, one in data.items()},
    }
    for name, one in data.items():
        write_atomically(output / name, one)
    write_atomically(output / CARD, _card(run, restore, told["origin"]).encode())
    write_atomically(output / FACTS, (json.dumps(told, indent=2) + "\n").encode())


def check_sampling(sampling: SamplingConfig) -> None:
    """Raises ValueError, in one line, where a setting needs what is no array."""
    if sampling.consistency:
        raise ValueError(
            f"consistency={sampling.consistency!r} needs the file of each picture, which a program "
            "is not given: export without it"
        )


def _network(run: Run, structure: Any, *, started: bool) -> _Program:
    config, channels = run.config.unet, run.config.image_channels
    shape = _shape(run, run.config.image_size if config.has_attention else None, None)
    batch, *sides = shape
    takes = {"x": _array(batch, *sides, channels), "noise_level": _array(batch)}
    if extra := config.in_channels - channels:
        takes["cond"] = _array(batch, *sides, extra)

    def evaluate(weights: list[jax.Array], x: jax.Array, level: jax.Array, *cond: jax.Array):
        params = jax.tree.unflatten(structure, weights)
        params = params.bridge if started else params
        return run.network.apply({"params": params}, x, level, *cond)

    levels = np.asarray(run.bridge.noise_level)
    return _Program(evaluate, takes, {
        "x": "X_t, pictures in [-1, 1] with the bridge's noise",
        "noise_level": f"of step t, {levels[0]:g} at the first to {levels[-1]:g} at the last",
        "cond": f"what the network sees beside X_t{told_in_words(run)}",
        "gives": f"the network's output, prediction {run.config.bridge.prediction!r}",
    }, _tried(run, shape))  # fmt: skip


def _restore(
    run: Run, structure: Any, sampling: SamplingConfig, tile: int | None, batch: int | None
) -> _Program:
    config = run.config
    shape = _shape(run, tile, batch)
    count, *sides = shape
    takes = {
        "keys": jax.ShapeDtypeStruct((count, 2), jnp.uint32),
        "x1": _array(count, *sides, config.image_channels),
    }
    if config.has_mask:
        takes["mask"] = _array(count, *sides, 1)
    if config.cond_channels:
        takes["cond"] = _array(count, *sides, config.cond_channels)
    sample_fn = run.sample_fn(sampling)

    def restore(weights: list[jax.Array], keys: jax.Array, x1: jax.Array, *others: jax.Array):
        rest = dict(zip(list(takes)[2:], others, strict=True))
        keys = jax.random.wrap_key_data(keys)
        params = jax.tree.unflatten(structure, weights)
        x0 = sample_fn(keys, params, x1, rest.get("mask"), rest.get("cond")).x0
        return jnp.clip(x0, -1, 1) if config.is_bounded else x0

    return _Program(restore, takes, {
        "keys": "two numbers a picture, of which its noise follows, if the sampler draws any",
        "x1": "degraded pictures in [-1, 1], as large as the results",
        "mask": "1 where a pixel is to be filled in, 0 elsewhere",
        "cond": f"what the network sees beside the pictures{told_in_words(run)}",
        "gives": "restored pictures" + " in [-1, 1]" * config.is_bounded,
    }, _tried(run, shape))  # fmt: skip


def sampling_facts(sampling: SamplingConfig) -> dict[str, Any]:
    """Returns what a program's sampling is, by the names of the configuration."""
    return {key: getattr(sampling, key) for key in (*STEPS, "clip", "realism")}


def told_in_words(run: Run) -> str:
    """Returns what channels that tell how a file was made hold, where a network is told."""
    facts = None if run.config.has_pairs else corruption_facts(run.config.corruption)
    if facts is None or not facts.is_told:
        return ""
    return (
        ": everywhere the same four of a file, log2(mean step) / 4 - 1 of its luma and chroma "
        "tables, and whether chroma is halved across and down, -1 or 1"
    )


def origin(provenance: Provenance | None) -> str:
    """Returns where weights are from, and their licence, for people."""
    return "not stated" if provenance is None else str(provenance)


def window_side(run: Run, tile: int | None) -> int | None:
    """Returns the side of the windows of a program, None where it is free.

    Args:
        run: of the model.
        tile: what was asked for; None: nothing.

    Raises:
        ValueError: it does not suit the network; one line.
    """
    runs = [run] if run.start is None else [run, run.start]
    own = next((one.config.image_size for one in runs if one.config.unet.has_attention), None)
    if tile is None:
        return own
    if own not in (None, tile):
        raise ValueError(f"tile={tile} must be {own}, the size that the network's attention knows")
    if tile < run.side_unit or tile % run.side_unit:
        raise ValueError(f"tile={tile} must be a multiple of {run.side_unit} pixels")
    return tile


def _shape(run: Run, tile: int | None, batch: int | None) -> tuple[Any, Any, Any]:
    """Batch, height and width, as numbers or free."""
    unit = run.side_unit
    side = f"{unit}*h, {unit}*w" if tile is None else f"{tile}, {tile}"
    text = f"{'b' if batch is None else batch}, {side}"
    fewest = _fewest(unit)
    free = [] if tile is not None else [f"h >= {fewest}", f"w >= {fewest}"]
    return export.symbolic_shape(text, constraints=free)


def _fewest(unit: int) -> int:
    """Returns how many units a free side has at least."""
    return -(-_LEAST // unit)


def _tried(run: Run, shape: tuple[Any, Any, Any]) -> dict[Any, int]:
    """Two pictures that are wider than high, of the smallest free sides."""
    side = _fewest(run.side_unit) * run.side_unit
    numbers = zip(shape, (2, side, side + run.side_unit), strict=True)
    return {length: number for length, number in numbers if export.is_symbolic_dim(length)}


def _check(name: str, program: _Program, exported: export.Exported, leaves: list[Any]) -> None:
    """Raises ValueError where a program gives something else than its function."""
    draw = np.random.default_rng(0)

    def drawn(x: jax.ShapeDtypeStruct) -> np.ndarray:
        shape = [program.tried.get(length, length) for length in x.shape]
        if x.dtype == jnp.uint32:
            return draw.integers(0, 2**32, shape, np.uint32)
        return draw.uniform(-1, 1, shape).astype(x.dtype)

    arrays = [drawn(x) for x in program.takes.values()]
    theirs = exported.call(leaves, *arrays)
    ours = jax.jit(program.function)(leaves, *arrays)
    difference = float(jnp.max(jnp.abs(theirs - ours)) / jnp.maximum(1, jnp.max(jnp.abs(ours))))
    if not difference <= _TOLERANCE:
        raise ValueError(f"{name} differs by {difference:.2g} from its function: not written")


def _npz(leaves: list[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{f"{i:05d}": np.asarray(x) for i, x in enumerate(leaves)})
    return buffer.getvalue()


def _abstract(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype)


def _array(*shape: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _told(x: Any) -> str:
    return f"{np.dtype(x.dtype).name}[{', '.join(map(str, x.shape))}]"


_CARD = """# Programs of a model for `{task}`

Made by i2sb_jax with JAX {jax}; JAX alone runs them, that version or one of at least the six months
after it. `{facts}` says what `{network}` and `{restore}` take and give.

Origin: {origin}.
{example}"""
_EXAMPLE = """
```python
import pathlib

import jax
import numpy as np
from jax import export
from PIL import Image, ImageOps

folder = pathlib.Path("{folder}")
weights = list(np.load(folder / "{weights}").values())
restore = export.deserialize(bytearray((folder / "{restore}").read_bytes()))
photo = Image.open("photo.png")
{read}
height, width = pixels.shape[:2]
whole = [max(-(-(side + {around}) // {unit}) * {unit}, {least}) for side in (height, width)]
after = [whole[0] - {lead} - height, whole[1] - {lead} - width]
padded = np.pad(pixels, (({lead}, after[0]), ({lead}, after[1]), (0, 0)), mode="symmetric")
x1, keys = padded[None] / 127.5 - 1, np.zeros((1, 2), np.uint32)
{cond}x0 = jax.jit(restore.call)(weights, keys, x1{given})[0, {lead}:, {lead}:][:height, :width]
levels = np.asarray(x0 * 127.5 + 127.5)
Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8)).save("restored.png")
```
"""
_PIXELS = 'pixels = np.asarray(ImageOps.exif_transpose(photo).convert("RGB"), np.float32)'
_ENLARGED = """upright = np.asarray(ImageOps.exif_transpose(photo).convert("RGB"), np.float32)
small = np.pad(upright, (({reach}, {reach}), ({reach}, {reach}), (0, 0)), mode="symmetric")
size, inner = [{times} * side for side in small.shape[1::-1]], slice({cut}, -{cut})
layers = [Image.fromarray(small[..., i]).resize(size, Image.Resampling.BICUBIC) for i in range(3)]
pixels = np.stack(layers, axis=-1)[inner, inner]"""
# of a file's luma and chroma, as `corruptions.jpeg_file.file_settings` has it
_TOLD = """told = {best}
if hasattr(photo, "quantization"):
    parts = photo.layer[0], photo.layer[:2][-1]
    steps = [np.log2(np.mean(photo.quantization[part[3]])) / 4 - 1 for part in parts]
    halved = [2 * (parts[0][i] == 2 * parts[1][i]) - 1 for i in (1, 2)]
    told = [*np.clip(steps, told[:2], {worst}), *halved]
"""
_COND = "cond = np.broadcast_to(np.float32(told), (*x1.shape[:3], 4))\n"


def reads_photo(run: Run) -> bool:
    """Whether what the model restores is a photograph as it is, and nothing else."""
    facts = None if run.config.has_pairs else corruption_facts(run.config.corruption)
    return facts is not None and facts.is_photographic and not facts.members


def told_lines(facts: CorruptionFacts) -> str:
    """Lines of a script that find `told` of `photo`, as `restoration.told` does."""
    worst, best = (
        [round(float(x), 6) for x in standard_settings(quality, "4:4:4")]
        for quality in facts.quality_range
    )
    return _TOLD.format(best=best, worst=worst[:2])


def _card(run: Run, restore: _Program, origin: str) -> str:
    """A page about the folder, with a script that restores a picture where the task is no more."""
    example = ""
    is_free = bool(restore.tried) and export.is_symbolic_dim(restore.takes["x1"].shape[1])
    if reads_photo(run) and is_free:
        facts, read, cond = corruption_facts(run.config.corruption), _PIXELS, ""
        if facts.enlargement > 1:
            times, reach = facts.enlargement, CUBIC_REACH
            read = _ENLARGED.format(times=times, reach=reach, cut=times * reach)
        if facts.is_told:
            cond = told_lines(facts) + _COND
        start = None if run.start is None else run.start.config.unet
        tiling = choose_tiling(run.config.unet, image_size=run.config.image_size, start=start)
        example = _EXAMPLE.format(
            folder=".", weights=WEIGHTS, restore=RESTORE, read=read, unit=run.side_unit,
            least=_fewest(run.side_unit) * run.side_unit, lead=tiling.lead, margin=tiling.margin,
            around=tiling.lead + tiling.margin, cond=cond, given=", cond" if cond else "",
        )  # fmt: skip
    return _CARD.format(
        task=run.config.corruption, jax=_VERSION, facts=FACTS, network=NETWORK,
        restore=RESTORE, origin=origin, example=example,
    )  # fmt: skip
