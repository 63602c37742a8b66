"""Our own weights as safetensors, and the model folder: weights with the configuration beside."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from etils import epath
from safetensors import SafetensorError

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.config import Config
from i2sb_jax.types import Params

MODEL_FILE = "model.safetensors"


def save_safetensors(path: epath.PathLike, params: Params) -> None:
    """Writes parameters, named by their path in the tree joined with "/"."""
    flat = {name: np.ascontiguousarray(value) for name, value in _flatten(params).items()}
    epath.Path(path).write_bytes(safetensors.numpy.save(flat))


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
    source = epath.Path(source)
    if source.is_dir() and not (source / MODEL_FILE).exists():
        with Checkpoints(source, read_only=True) as checkpoints:
            return checkpoints.restore_field("ema_params", abstract)
    path = source / MODEL_FILE if source.is_dir() else source
    params = load_safetensors(path)
    have, want = _flatten(params), _flatten(abstract)
    for name in sorted(set(have) | set(want)):
        shapes = [tuple(tree[name].shape) if name in tree else "absent" for tree in (have, want)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} does not fit this config: {name} is {shapes[0]} there, {shapes[1]} here"
            )
    return jax.tree.map(
        lambda like, value: jax.device_put(value.astype(like.dtype), like.sharding),
        abstract,
        params,
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat
