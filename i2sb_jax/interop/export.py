"""From a run to a folder that can be passed on: what `i2sb-export` does."""

import dataclasses
import importlib.metadata
import json
import os
from typing import Any

from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.config import Config, map_paths
from i2sb_jax.config.checks import check_choice
from i2sb_jax.data import scaling
from i2sb_jax.files import is_remote, require_new_folder, write_atomically
from i2sb_jax.interop.adm import state_dict_from_params
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.interop.model_card import model_card
from i2sb_jax.interop.provenance import (
    ADM_FILE,
    MODEL_FILE,
    Provenance,
    read_provenance,
    write_provenance,
)
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.interop.weights import (
    START_FOLDER,
    find_checkpoint,
    read_model_folder,
    save_safetensors,
)

LAYOUTS = ("i2sb", "adm")
CARD_FILE = "README.md"

_METRICS_FILE = "metrics.jsonl"
_ADM_GROUPS = 32
_UNSTATED = "not stated"


def export_model(
    workdir: epath.PathLike,
    output: epath.PathLike,
    *,
    layout: str = "i2sb",
    address: str | None = None,
    checkpoint: str | int = LATEST,
) -> Provenance | None:
    """Writes a run's averaged weights, its configuration and a model card into a new folder.

    The model that its bridge starts at, if any, is exported with it, into the folder's `start`.
    An export goes to strangers, and paths are of one machine: in its configuration the name of the
    key, such as <data.path>, stands in place of each.

    Args:
        workdir: the run or a model folder; local, gs:// or hf://OWNER/NAME.
        output: a new folder; local or gs://.
        layout: "i2sb" writes model.safetensors, a model folder like any; "adm" writes
            adm.safetensors, in guided-diffusion's names and layouts, for PyTorch.
        address: what the card calls the folder; the name of `output` if None.
        checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a step.

    Returns:
        Where the weights come from, None where they began with the run.

    Raises:
        ValueError: there is no run, model or such checkpoint, `output` is not empty, or `layout`
            is unknown or cannot express the network; one line. Nothing is written then.
    """
    check_choice("format", layout, LAYOUTS)
    output, workdir = require_new_folder(output), epath.Path(local_folder(workdir))
    config = config_lib.load(workdir)
    if layout == "adm" and config.bridge.start:
        raise ValueError(
            f"format='adm' is of one network, and {workdir} has two, for it starts at another "
            f"model's answer (bridge.start): use 'i2sb', or export {workdir / START_FOLDER} alone"
        )
    # a number: of a run that goes on, the latest would soon be another
    step = find_checkpoint(workdir, checkpoint)
    _, params = read_model_folder(workdir, checkpoint=LATEST if step is None else step)
    if layout == "adm" and config.model.norm_groups != _ADM_GROUPS:
        raise ValueError(
            f"model.norm_groups={config.model.norm_groups}: guided-diffusion always has "
            f"{_ADM_GROUPS}, so it would load these weights and compute something else"
        )
    provenance, ranges = read_provenance(workdir), _value_ranges(workdir)
    unet = config.unet
    public = _public(config)
    card = model_card(
        public,
        (unet.in_channels, unet.out_channels),
        layout=layout,
        address=address or _name(output),
        provenance=provenance,
        step=step,
        metrics=_metrics(workdir, step),
    )
    if config.bridge.start:
        name = f"{address or _name(output)}/{START_FOLDER}"
        export_model(workdir / START_FOLDER, output / START_FOLDER, address=name)
        params = params.bridge
    if layout == "i2sb":
        save_safetensors(output / MODEL_FILE, params)
    else:
        state_dict = state_dict_from_params(params, unet)
        metadata = _metadata(provenance, ranges)
        write_safetensors_file(output / ADM_FILE, state_dict, metadata=metadata)
    if ranges is not None:
        scaling.save_value_ranges(output, ranges)
    write_provenance(output, provenance)
    write_atomically(output / CARD_FILE, card.encode())
    config_lib.save(output, public)  # last: without it the folder is no model
    return provenance


def _public(config: Config) -> Config:
    """The configuration without what is of its owner's machine or account."""
    training = dataclasses.replace(config.training, wandb_project="")
    config = dataclasses.replace(config, training=training)
    return map_paths(config, lambda key, _: f"<{key}>")


def _name(folder: epath.Path) -> str:
    """Returns a folder's name, of "." too."""
    return folder.name if is_remote(folder) else os.path.basename(os.path.abspath(folder))


def _value_ranges(workdir: epath.Path) -> scaling.ValueRanges | None:
    """Those of a run on pairs; initial weights have none yet."""
    found = (workdir / scaling.FILE).exists()
    return scaling.load_value_ranges(workdir) if found else None


def _metadata(provenance: Provenance | None, ranges: scaling.ValueRanges | None) -> dict[str, str]:
    """Returns metadata for a file with ADM's names, lest it be taken for ADM's own."""
    metadata = {"i2sb_jax": importlib.metadata.version("i2sb_jax"), "licence": _UNSTATED}
    metadata["weights"] = "ema"  # of a run
    if provenance is not None:
        metadata |= {"licence": provenance.licence, "source": provenance.source}
        metadata["source_sha256"] = provenance.sha256
        if not provenance.trained:
            metadata["weights"] = provenance.weights
    if ranges is not None:  # without them the weights cannot say what their outputs mean
        metadata["value_ranges"] = scaling.to_json(ranges)
    return metadata


def _metrics(workdir: epath.Path, step: int | None) -> dict[str, float]:
    """The numbers in the last whole line of metrics.jsonl up to `step`, if there is one."""
    path = workdir / _METRICS_FILE
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            metrics = json.loads(line)
        except (ValueError, RecursionError):  # a kill cut it short
            continue
        if isinstance(metrics, dict):
            numbers = {name: value for name, value in metrics.items() if _is_number(value)}
            if step is None or numbers.get("step", 0) <= step:
                return numbers
    return {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
