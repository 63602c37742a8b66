"""Every key of a run at its default: the paper's recipe where the paper has one.

A config file starts from `get_config()` and assigns. The dictionary is locked, so a misspelt key
raises instead of being ignored. What each key means stands beside its default in the dataclasses of
`i2sb_jax/config/`; `python -m i2sb_jax.config` prints all of them, as in docs/keys.md.
"""

import ml_collections

from i2sb_jax.config import defaults


def get_config() -> ml_collections.ConfigDict:
    """The locked defaults: I²SB (arXiv 2302.05872) on ImageNet at 256², 4× super-resolution."""
    return ml_collections.ConfigDict(defaults()).lock()
