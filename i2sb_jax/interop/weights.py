"""Our own weights as safetensors, and the model folder: weights with the configuration beside."""

import dataclasses
import hashlib
import os
from typing import Any

import jax
import numpy as np
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import BEST, LATEST, Checkpoints, abstract_like, check_name, check_shapes
from i2sb_jax.config import Config, flatten
from i2sb_jax.finite import check_finite
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.interop.mapped import float_array
from i2sb_jax.interop.provenance import (
    ADM_FILE,
    MODEL_FILE,
    Provenance,
    read_provenance,
    write_provenance,
)
from i2sb_jax.interop.safetensors_file import read_safetensors_file, write_safetensors_file
from i2sb_jax.models import init_params
from i2sb_jax.types import Params, StartedParams

START_FOLDER = "start"  # of a run or a model: the model that its bridge starts at
_CONVERT = "i2sb-import converts PyTorch's weights"


def save_safetensors(path: epath.PathLike, params: Params) -> None:
    """Writes parameters, named by their path in the tree joined with "/", one after the other."""
    flat = flatten(params, separator="/")
    write_safetensors_file(path, {name: np.asarray(value) for name, value in flat.items()})


def load_safetensors(path: epath.PathLike) -> Params:
    """Returns the tree that `save_safetensors` wrote, of read-only arrays.

    They are mapped, and read when used: a local file must not change until then.

    Raises:
        ValueError: the file is missing or not a safetensors file.
    """
    params: dict[str, Any] = {}
    for name, value in read_safetensors_file(path).items():
        *folders, leaf = name.split("/")
        node = params
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path} has the tensor {name} within another")
        if leaf in node:
            raise ValueError(f"{path} has tensors within the tensor {name}")
        node[leaf] = value
    return params


def save_model(
    folder: epath.PathLike,
    config: Config,
    params: Params,
    *,
    provenance: Provenance | None = None,
) -> None:
    """Writes a model folder: model.safetensors, config.json, and provenance.json if it is known.

    Args:
        folder: to be written.
        config: of the model.
        params: of its network; with `bridge.start` StartedParams, as `load_model_folder` gives
            them, and the model that it starts at becomes a model folder in this one.
        provenance: of the weights.
    """
    if config.bridge.start:
        source = local_folder(config.bridge.start)
        save_model(
            epath.Path(folder) / START_FOLDER, config_lib.load(source), params.start,
            provenance=read_provenance(source),
        )  # fmt: skip
        params = params.bridge
    save_safetensors(epath.Path(folder) / MODEL_FILE, params)
    write_provenance(folder, provenance)
    config_lib.save(folder, config)


def load_model_folder(
    path: epath.PathLike, *, checkpoint: str | int = LATEST
) -> tuple[Config, Params]:
    """Returns a run's or a model folder's configuration and (averaged) weights.

    Args:
        path: local, gs:// or hf://OWNER/NAME[@REVISION].
        checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a step.

    Returns:
        The configuration and the parameters, on all devices. Where the bridge starts at another
        model's answer, `bridge.start` is the copy of that model in the folder, and the parameters
        are StartedParams of both.

    Raises:
        ValueError: `path` holds no run, no weights, no such checkpoint, weights of other shapes,
            or initial ones that were never trained as a bridge.
    """
    folder = local_folder(path)  # once: the hub may have another by the next time
    check_trained(folder, path)
    return read_model_folder(folder, checkpoint=checkpoint)


def check_trained(folder: epath.PathLike, path: epath.PathLike) -> None:
    """Raises ValueError where a local folder, called `path`, holds initial weights."""
    provenance = read_provenance(folder)
    if provenance is not None and provenance.is_initial:
        raise ValueError(
            f"{path} holds initial weights ({provenance.source}), which restore nothing: train "
            f"from them by --config.training.init_from={path}"
        )


def load_config(path: epath.PathLike) -> Config:
    """Returns a run's or a model folder's configuration; `bridge.start` is the copy in the folder.

    Args:
        path: as of `load_model_folder`.

    Raises:
        ValueError: there is none.
    """
    path = local_folder(path)
    config = config_lib.load(path)
    if not config.bridge.start:
        return config
    start = os.fspath(epath.Path(path) / START_FOLDER)
    return dataclasses.replace(config, bridge=dataclasses.replace(config.bridge, start=start))


def check_start_config(config: Config, name: epath.PathLike) -> None:
    """Raises ValueError where no bridge can start at the answer of a model called `name`."""
    reason = "is a student, which has learnt its own steps alone" if config.teacher else ""
    if config.bridge.starts_around:
        reason = (
            f"is trained to start with noise around X_1 (bridge.name={config.bridge.name!r}), and "
            "is asked once, at X_1 itself"
        )
    if config.bridge.start:
        reason = "itself starts at the answer of another model"
    if reason:
        raise ValueError(f"bridge.start={name} {reason}: name a bridge that starts at X_1")


def read_model_folder(
    path: epath.PathLike, *, checkpoint: str | int = LATEST
) -> tuple[Config, Params]:
    """Returns `load_model_folder`, of initial weights too."""
    path = local_folder(path)
    config = load_config(path)
    if config.bridge.start:
        check_start_config(config_lib.load(config.bridge.start), config.bridge.start)
        _, start = read_model_folder(config.bridge.start)
    abstract = jax.eval_shape(
        lambda: init_params(jax.random.key(0), config.unet, image_size=config.image_size)
    )
    everywhere = sharding.replicated(sharding.make_mesh())
    weights = load_weights(path, abstract_like(abstract, everywhere), checkpoint=checkpoint)
    return config, StartedParams(weights, start) if config.bridge.start else weights


def is_model_folder(path: epath.PathLike) -> bool:
    """Whether a local folder holds weights to be handed on, and is no run's."""
    return _weights_file(path) is not None


def find_checkpoint(source: epath.PathLike, checkpoint: str | int) -> int | None:
    """The step of a run's checkpoint, as `load_weights` takes it; None for weights of no run.

    Raises:
        ValueError: there is none such.
    """
    source = local_folder(source)
    if _weights_file(source) is not None:
        if check_name(checkpoint) != LATEST:
            raise ValueError(f"checkpoint={checkpoint!r} is for runs, and {source} is none")
        return None
    best_metric = config_lib.load(source).training.best_metric if checkpoint == BEST else ""
    with Checkpoints(source, best_metric=best_metric, read_only=True) as checkpoints:
        return checkpoints.find(checkpoint)


def weights_digest(params: Params) -> str:
    """Returns 16 hexadecimal digits that tell these parameters from others, wherever they lie."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(jax.device_get(leaf)))
    return digest.hexdigest()[:16]


def load_weights(
    source: epath.PathLike, abstract: Params, *, checkpoint: str | int = LATEST
) -> Params:
    """Parameters from a run (its EMA weights), a model folder or a .safetensors file.

    Args:
        source: the run's folder, the model folder (also hf://OWNER/NAME[@REVISION]) or the file.
        abstract: `jax.ShapeDtypeStruct`s with shardings, the shapes that are wanted.
        checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a step.

    Returns:
        The parameters, laid out as `abstract` says.

    Raises:
        ValueError: nothing of the kind is there, names or shapes differ, or a number is not finite.
    """
    source = local_folder(source)
    step, path = find_checkpoint(source, checkpoint), _weights_file(source)
    if path is None:
        with Checkpoints(source, read_only=True) as checkpoints:
            weights = checkpoints.restore_field("ema_params", abstract, step=step)
        check_finite(f"checkpoint {step} in {source}", weights)
        return weights
    check_weights(source, abstract)

    def place(keys: Any, like: jax.ShapeDtypeStruct, value: np.ndarray) -> jax.Array:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told
            value = value.astype(like.dtype)
        check_finite(str(path), {jax.tree_util.keystr(keys, simple=True, separator="/"): value})
        return jax.device_put(value, like.sharding)

    return jax.tree_util.tree_map_with_path(place, abstract, load_safetensors(path))


def check_weights(source: epath.PathLike, abstract: Params) -> None:
    """Raises what `load_weights` would raise, reading only names and shapes."""
    source = local_folder(source)
    path = _weights_file(source)
    if path is None:
        with Checkpoints(source, read_only=True) as checkpoints:
            return checkpoints.check_field("ema_params", abstract)
    want = {name: tuple(like.shape) for name, like in flatten(abstract, separator="/").items()}
    check_shapes(str(path), {name: value.shape for name, value in _tensors(path).items()}, want)


def _weights_file(source: epath.PathLike) -> epath.Path | None:
    """The file of a model folder, or the file given; None for a run's folder."""
    source = epath.Path(source)
    if not source.is_dir():
        return source
    if (source / ADM_FILE).exists():
        raise ValueError(f"{source} has PyTorch's names and layouts: {_CONVERT}")
    return source / MODEL_FILE if (source / MODEL_FILE).exists() else None


def _tensors(path: epath.Path) -> dict[str, np.ndarray]:
    """Returns the mapped tensors of a file of weights in our layout."""
    if not path.exists():
        raise ValueError(f"no weights at {path}")
    try:
        tensors = read_safetensors_file(path)
    except ValueError as error:
        raise ValueError(f"{error}; {_CONVERT}") from None
    if "time_embed.0.weight" in tensors:
        raise ValueError(f"{path} has PyTorch's names and layouts: {_CONVERT}")
    for name, tensor in tensors.items():
        try:
            float_array(name, tensor)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return tensors
