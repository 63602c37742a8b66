"""Image-to-Image Schrödinger Bridge (I²SB, arXiv 2302.05872) in JAX.

`bridge` is the mathematics, `models` the network, `corruptions` what is repaired; `training` and
`restoration` put them to use.
"""

import importlib.metadata

__version__ = "0.1.0"
_OLDEST_JAX = (0, 10)


def _check_jax(version: str) -> None:
    """Fails in one line, before anything imports an interface that is not there yet."""
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_JAX:
        oldest = ".".join(map(str, _OLDEST_JAX))
        raise ImportError(f"i2sb_jax needs jax >= {oldest}, found {version}: pip install -U jax")


_check_jax(importlib.metadata.version("jax"))
