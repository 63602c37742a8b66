"""Weights from and to files and other frameworks. No framework is needed for it."""

from i2sb_jax.interop.adm import (
    adapt_adm_channels,
    load_adm,
    parameter_table,
    params_from_state_dict,
    state_dict_from_params,
)
from i2sb_jax.interop.convert import Imported, import_weights
from i2sb_jax.interop.export import export_model
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.interop.i2sb import load_i2sb
from i2sb_jax.interop.provenance import (
    Provenance,
    inherited_provenance,
    read_provenance,
    write_provenance,
)
from i2sb_jax.interop.safetensors_file import read_safetensors_file
from i2sb_jax.interop.torch_file import read_torch_file
from i2sb_jax.interop.weight_files import read_weights_file
from i2sb_jax.interop.weights import (
    START_FOLDER,
    check_start_config,
    check_trained,
    check_weights,
    find_checkpoint,
    is_model_folder,
    load_config,
    load_model_folder,
    load_safetensors,
    load_weights,
    save_model,
    save_safetensors,
    weights_digest,
)

__all__ = [
    "START_FOLDER",
    "Imported",
    "Provenance",
    "adapt_adm_channels",
    "check_start_config",
    "check_trained",
    "check_weights",
    "export_model",
    "find_checkpoint",
    "import_weights",
    "inherited_provenance",
    "is_model_folder",
    "load_adm",
    "load_config",
    "load_i2sb",
    "load_model_folder",
    "load_safetensors",
    "load_weights",
    "local_folder",
    "parameter_table",
    "params_from_state_dict",
    "read_provenance",
    "read_safetensors_file",
    "read_torch_file",
    "read_weights_file",
    "save_model",
    "save_safetensors",
    "state_dict_from_params",
    "weights_digest",
    "write_provenance",
]
