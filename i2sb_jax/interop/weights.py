"""Our own weights as safetensors, and the model folder: weights with the configuration beside."""

import json
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from etils import epath
from safetensors import SafetensorError

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import Checkpoints, check_shapes
from i2sb_jax.config import Config, flatten
from i2sb_jax.image_io import write_atomically
from i2sb_jax.types import Params

MODEL_FILE = "model.safetensors"
_MAX_HEADER = 100_000_000  # bytes, the format's own limit


def save_safetensors(path: epath.PathLike, params: Params) -> None:
    """Writes parameters, named by their path in the tree joined with "/"."""
    flat = {
        name: np.ascontiguousarray(value) for name, value in flatten(params, separator="/").items()
    }
    write_atomically(path, safetensors.numpy.save(flat))


def load_safetensors(path: epath.PathLike) -> Params:
    """Reads what `save_safetensors` wrote, as nested dicts of numpy arrays.

    Raises:
        ValueError: the file is missing or not a safetensors file.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"no weights at {path}")
    try:
        flat = safetensors.numpy.load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    params: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, leaf = name.split("/")
        node = params
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return params


def save_model(folder: epath.PathLike, config: Config, params: Params) -> None:
    """Writes a model folder: config.json and model.safetensors."""
    config_lib.save(folder, config)
    save_safetensors(epath.Path(folder) / MODEL_FILE, params)


def load_weights(source: epath.PathLike, abstract: Params) -> Params:
    """Parameters from a run (its EMA weights), a model folder or a .safetensors file.

    Args:
        source: the run's folder, the model folder or the file.
        abstract: `jax.ShapeDtypeStruct`s with shardings, the shapes that are wanted.

    Returns:
        The parameters, laid out as `abstract` says.

    Raises:
        ValueError: nothing of the kind is there, or names or shapes differ.
    """
    check_weights(source, abstract)
    path = _weights_file(source)
    if path is None:
        with Checkpoints(source, read_only=True) as checkpoints:
            return checkpoints.restore_field("ema_params", abstract)
    return jax.tree.map(
        lambda like, value: jax.device_put(value.astype(like.dtype), like.sharding),
        abstract,
        load_safetensors(path),
    )


def check_weights(source: epath.PathLike, abstract: Params) -> None:
    """Raises what `load_weights` would raise, reading only names and shapes."""
    path = _weights_file(source)
    if path is None:
        with Checkpoints(source, read_only=True) as checkpoints:
            return checkpoints.check_field("ema_params", abstract)
    want = {name: tuple(like.shape) for name, like in flatten(abstract, separator="/").items()}
    check_shapes(str(path), _shapes(path), want)


def _weights_file(source: epath.PathLike) -> epath.Path | None:
    """The file of a model folder, or the file given; None for a run's folder."""
    source = epath.Path(source)
    if not source.is_dir():
        return source
    return source / MODEL_FILE if (source / MODEL_FILE).exists() else None


def _shapes(path: epath.Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape, from the header: its length as eight bytes, then JSON."""
    if not path.exists():
        raise ValueError(f"no weights at {path}")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _MAX_HEADER)))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is not a safetensors file") from None
    if path.stat().length != 8 + length + end:
        raise ValueError(f"{path} is cut short: copy or save it again")
    return shapes
