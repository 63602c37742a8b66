"""From a file of published weights to a model folder: what `i2sb-import` does.

Tensor by tensor: the file is mapped, and each tensor is read as it is written.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from i2sb_jax.config import Config
from i2sb_jax.data.scaling import FILE, ValueRanges, from_json, save_value_ranges
from i2sb_jax.files import require_new_folder
from i2sb_jax.interop.adm import adm_params, is_adm
from i2sb_jax.interop.i2sb import i2sb_params, is_i2sb
from i2sb_jax.interop.provenance import INITIAL, Provenance, file_sha256
from i2sb_jax.interop.safetensors_file import read_safetensors_metadata
from i2sb_jax.interop.weight_files import read_weights_file
from i2sb_jax.interop.weights import save_model
from i2sb_jax.interop.wrapped import unread, unwrap
from i2sb_jax.types import Params

# What a file is under is known from its publisher. Its form alone tells nothing, so all of these
# are said to be assumed; `licence` overrides them, and so does what the file says of itself.
ADM_LICENCE = "MIT (OpenAI, guided-diffusion) if this is OpenAI's file, as its name says"
I2SB_LICENCE = (
    "assumed to be non-commercial, as the weights of I²SB's authors are (NVIDIA Source Code "
    "License-NC): ask the file's publisher"
)
UNKNOWN_LICENCE = "not stated: ask the file's publisher"
# the models without classes in guided-diffusion's list of downloads: the others do not fit
_RELEASED = (
    *("256x256_diffusion_uncond.pt", "lsun_bedroom.pt", "lsun_cat.pt"),
    *("lsun_horse.pt", "lsun_horse_nodropout.pt"),
)
_RELEASED_OUTPUTS = 6  # a mean and a variance
_LAST_BIAS = "out.2.bias"
_NO_RANGES = (
    f"{FILE} is missing: nothing tells what values the files of these pairs hold, so it restores "
    "nothing until that of the run which trained these weights lies beside them"
)


class Imported(NamedTuple):
    """The outcome of an import.

    Attributes:
        tensors: how many.
        parameters: numbers in them.
        provenance: where they come from.
        notes: lines on what was unwrapped or passed over in the file, and on what is missing.
    """

    tensors: int
    parameters: int
    provenance: Provenance
    notes: tuple[str, ...] = ()


class _Read(NamedTuple):
    """The weights that a file holds: which, their licence, and value ranges of pairs."""

    params: Params
    weights: str
    licence: str
    ranges: ValueRanges | None


def import_weights(
    source: epath.PathLike,
    workdir: epath.PathLike,
    config: Config,
    *,
    weights: str | None = None,
    licence: str | None = None,
) -> Imported:
    """Writes a model folder from ADM's or I²SB's published weights.

    Args:
        source: ADM's PyTorch file, safetensors with its names, or I²SB's latest.pt; local or gs://.
            A state dict may be wrapped as trainers do (`wrapped.unwrap`).
        workdir: a new folder, for model.safetensors, config.json and provenance.json, and for
            value_ranges.json where an export of a run on pairs carries them.
        config: the task that the weights are for.
        weights: "ema" (also if None) or "net", of I²SB's two. Of ADM's names None means what the
            file says of itself or else initial weights, which are fitted to the task's channels;
            "ema" or "net" says that they are a trained bridge, which must fit as it is.
        licence: of the weights; None: what the file says, or else what may be assumed.

    Returns:
        What was imported.

    Raises:
        ValueError: the folder is not empty, the file cannot be read or is of another kind, or its
            tensors are not those of the task's network, or not finite; one line. Nothing is written
            then.
    """
    workdir, source = require_new_folder(workdir), epath.Path(source).expanduser()
    contents = read_weights_file(source)
    try:
        if is_i2sb(contents):
            notes = unread(contents)
            read = _read_i2sb(contents, config, weights)
        else:
            contents, notes = unwrap(contents, weights=weights)
            if not is_adm(contents):
                raise ValueError(_unknown(contents))
            read = _read_adm(contents, source, config, weights)
        provenance = Provenance(
            source=source.name.encode(errors="replace").decode(),
            sha256=file_sha256(source),
            licence=read.licence if licence is None else licence,
            weights=read.weights,
            trained=False,
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    save_model(workdir, config, read.params, provenance=provenance)
    if read.ranges is not None:
        save_value_ranges(workdir, read.ranges)
    elif config.has_pairs and not provenance.is_initial:
        notes += (_NO_RANGES,)
    leaves = jax.tree.leaves(read.params)
    return Imported(len(leaves), sum(leaf.size for leaf in leaves), provenance, notes)


def _read_i2sb(contents: Any, config: Config, weights: str | None) -> _Read:
    kind = weights or "ema"
    params = i2sb_params(contents, config.unet, weights=kind)
    return _Read(params, kind, I2SB_LICENCE, None)


def _read_adm(contents: Any, source: epath.Path, config: Config, weights: str | None) -> _Read:
    metadata = _metadata(source)
    kind = weights or metadata.get("weights", INITIAL)
    unet = config.unet
    # new channels are for a training to fill: a finished bridge has none to spare
    params = adm_params(contents, unet, seed=config.seed, adapt=kind == INITIAL)
    licence = metadata.get("licence") or _assumed_licence(source.name, contents)
    return _Read(params, kind, licence, _ranges(metadata, config))


def _metadata(source: epath.Path) -> dict[str, str]:
    """Returns a file's metadata: exports of this library have some."""
    with source.open("rb") as file:
        is_torch = file.read(2) == b"PK"
    return {} if is_torch else read_safetensors_metadata(source)


def _assumed_licence(name: str, state_dict: Mapping[str, Any]) -> str:
    outputs = np.shape(state_dict[_LAST_BIAS])  # which fits, or it would have been refused
    return ADM_LICENCE if name in _RELEASED and outputs == (_RELEASED_OUTPUTS,) else UNKNOWN_LICENCE


def _ranges(metadata: Mapping[str, str], config: Config) -> ValueRanges | None:
    """The value ranges that travel in an export of a run on pairs."""
    if not config.has_pairs or "value_ranges" not in metadata:
        return None
    try:
        ranges = from_json(json.loads(metadata["value_ranges"]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata {error}") from None
    channels = (ranges.source.channels, ranges.target.channels)
    wanted = (config.data.source_channels, config.data.target_channels)
    if channels != wanted:
        raise ValueError(
            f"its value ranges are of {channels[0]} and {channels[1]} channels, and the task has "
            f"data.source_channels={wanted[0]} and data.target_channels={wanted[1]}"
        )
    return ranges


def _unknown(contents: Any) -> str:
    names = list(map(str, contents)) if isinstance(contents, dict) else []
    if any("/" in name for name in names):
        return "it has this library's own names: restore with its folder, or train from it as it is"
    held = f"it holds {', '.join(names[:5])}" if names else f"it holds a {type(contents).__name__}"
    return (
        "neither ADM's state dict (input_blocks.0.0.weight, …) nor a checkpoint of I²SB "
        f"(net, ema): {held}"
    )
