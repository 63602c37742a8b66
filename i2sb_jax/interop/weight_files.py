"""A file of weights from elsewhere, whichever format it is in."""

import mmap
from typing import Any

from etils import epath

from i2sb_jax.interop.mapped import read_mapped
from i2sb_jax.interop.safetensors_file import safetensors_values
from i2sb_jax.interop.torch_file import is_torch, torch_values

_AGAIN = "load it with PyTorch where you trust it, and save it again"
# How files begin that people have in hand instead, and what to do about it.
_OTHERS = {
    b"\x80": f"a bare pickle: {_AGAIN}",
    b"././@PaxHeader": f"a tar file, as PyTorch wrote until 2017: {_AGAIN}",
    b"\x89HDF": "HDF5",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x93NUMPY": "one numpy array",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself (git lfs pull)",
    b"<": "a web page: the download failed",
}


def read_weights_file(path: epath.PathLike) -> Any:
    """Reads a PyTorch or a safetensors file, told by its content.

    Args:
        path: local or gs://. A local file must not change while the arrays are in use.

    Returns:
        What `read_torch_file` or `read_safetensors_file` returns.

    Raises:
        ValueError: as these two, or the file is of neither format.
    """
    return read_mapped(path, _values)


def _values(buffer: mmap.mmap) -> Any:
    if is_torch(buffer):
        return torch_values(buffer)
    if buffer[8:9] == b"{":
        return safetensors_values(buffer)
    for begin, what in _OTHERS.items():
        if buffer[: len(begin)] == begin:
            raise ValueError(f"it is {what}")
    raise ValueError("it is neither a PyTorch file nor safetensors")
