"""Weights from and to files and other frameworks. No framework is needed for it."""

from i2sb_jax.interop.adm import adapt_adm_channels, parameter_table, params_from_state_dict
from i2sb_jax.interop.weights import (
    check_weights,
    load_safetensors,
    load_weights,
    save_model,
    save_safetensors,
)

__all__ = [
    "adapt_adm_channels",
    "check_weights",
    "load_safetensors",
    "load_weights",
    "parameter_table",
    "params_from_state_dict",
    "save_model",
    "save_safetensors",
]
