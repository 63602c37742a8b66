"""From a run to a folder that can be passed on: what `i2sb-export` does."""

import dataclasses
import importlib.metadata
import json
from typing import Any

from etils import epath

from i2sb_jax import build
from i2sb_jax import config as config_lib
from i2sb_jax.config import Config
from i2sb_jax.config.checks import check_choice
from i2sb_jax.files import require_new_folder, write_atomically
from i2sb_jax.interop.adm import state_dict_from_params
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.interop.model_card import model_card
from i2sb_jax.interop.provenance import Provenance, copy_provenance, read_provenance
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.interop.weights import load_model_folder, save_model

LAYOUTS = ("i2sb", "adm")
ADM_FILE = "adm.safetensors"
CARD_FILE = "README.md"

_METRICS_FILE = "metrics.jsonl"
_RANGES_FILE = "value_ranges.json"  # of paired data: how its channels became [-1, 1]
_ADM_GROUPS = 32
_UNSTATED = "not stated"


def export_model(
    workdir: epath.PathLike,
    output: epath.PathLike,
    *,
    layout: str = "i2sb",
    address: str | None = None,
) -> Provenance | None:
    """Writes a run's averaged weights, its configuration and a model card into a new folder.

    Paths in the configuration are cut to their last part: an export goes to strangers.

    Args:
        workdir: the run or a model folder; local, gs:// or hf://OWNER/NAME.
        output: a new folder; local or gs://.
        layout: "i2sb" writes model.safetensors, a model folder like any; "adm" writes
            adm.safetensors, in guided-diffusion's names and layouts, for PyTorch.
        address: what the card calls the folder; `output` if None.

    Returns:
        Where the weights come from, None where they began with the run.

    Raises:
        ValueError: there is no run or model, `output` is not empty, or `layout` is unknown or
            cannot express the network; one line. Nothing is written then.
    """
    check_choice("format", layout, LAYOUTS)
    output, workdir = require_new_folder(output), epath.Path(local_folder(workdir)).expanduser()
    config, params = load_model_folder(workdir)
    if layout == "adm" and config.model.norm_groups != _ADM_GROUPS:
        raise ValueError(
            f"model.norm_groups={config.model.norm_groups}: guided-diffusion always has "
            f"{_ADM_GROUPS}, so it would load these weights and compute something else"
        )
    provenance = read_provenance(workdir)
    metrics, ranges = _last_metrics(workdir), workdir / _RANGES_FILE
    unet = build.make_network(config).config
    public = _without_paths(config)
    if layout == "i2sb":
        save_model(output, public, params)
    else:
        state_dict = state_dict_from_params(params, unet)
        write_safetensors_file(output / ADM_FILE, state_dict, metadata=_metadata(provenance))
        config_lib.save(output, public)
    if ranges.exists():
        write_atomically(output / _RANGES_FILE, ranges.read_bytes())
    copy_provenance(workdir, output)
    card = model_card(
        public,
        (unet.in_channels, unet.out_channels),
        layout=layout,
        address=address or output.name,
        provenance=provenance,
        metrics=metrics,
    )
    write_atomically(output / CARD_FILE, card.encode())
    return provenance


def _metadata(provenance: Provenance | None) -> dict[str, str]:
    """What a file with ADM's names says of itself, lest it be taken for ADM's own."""
    origin = {} if provenance is None else dataclasses.asdict(provenance)
    version = importlib.metadata.version("i2sb_jax")
    return {"licence": _UNSTATED} | origin | {"weights": "ema", "i2sb_jax": version}


def _without_paths(config: Config) -> Config:
    """The configuration with the last part of each path: the others are of one machine."""

    def last(path: str) -> str:
        return path.rstrip("/").rpartition("/")[2]

    data = dataclasses.replace(
        config.data, path=last(config.data.path), eval_path=last(config.data.eval_path)
    )
    training = dataclasses.replace(config.training, init_from=last(config.training.init_from))
    return dataclasses.replace(
        config, data=data, training=training, mask_file=last(config.mask_file)
    )


def _last_metrics(workdir: epath.Path) -> dict[str, Any] | None:
    """The last whole line of metrics.jsonl, if there is one."""
    path = workdir / _METRICS_FILE
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:  # a kill cut it short
            continue
    return None
