"""Models by name: shipped ones, and the Hugging Face hub's hf://OWNER/NAME[@REVISION].

The hub needs the extra `hub`.
"""

import functools
import importlib
import os
import re
import sys
from types import ModuleType

from etils import epath

from i2sb_jax import zoo
from i2sb_jax.config.checks import nearest
from i2sb_jax.reasons import first_line

# a model folder and no more: nothing else of a repository is downloaded
_FILES = ("config.json", "model.safetensors", "provenance.json", "value_ranges.json")
_PATTERNS = (*_FILES, *(f"start/{name}" for name in _FILES))  # and what its bridge starts at
_OF_MODELS = _FILES[:2]  # either makes of a folder a run or a model
_NAME = r"[\w.-]+/[\w.-]+"
# one slash is left of two where a path was made of it
_ADDRESS = re.compile(rf"hf://?({_NAME})(?:@([^\s@]+))?")


def local_folder(path: epath.PathLike) -> epath.PathLike:
    """Returns a model's folder: `path` itself, ~ expanded, or a shipped one's or the hub's.

    A run or model folder called as a shipped model is goes first, which a line says once: commands
    on it mean what they meant before there was one of that name. Other folders, of pictures such
    as jpeg/, do not stand in the way.

    Args:
        path: of a run, a model folder or a file of weights, local or gs://; the name of a shipped
            model; or hf://OWNER/NAME[@REVISION].

    Raises:
        ValueError: a plain name that is neither, or of the hub: the address is malformed, the extra
            is missing, or the hub refuses.
    """
    text = os.fspath(path)
    if text.startswith("~"):
        return os.path.expanduser(text)
    if text in zoo.MODELS:
        if not any((epath.Path(text) / name).exists() for name in _OF_MODELS):
            return zoo.shipped_folder(text)
        _note_local(text)
        return path
    if not text.startswith("hf:/"):
        # a path that a program made is no name that somebody typed
        is_name = isinstance(path, str) and re.fullmatch(r"[\w-]+", text)
        if is_name and not epath.Path(text).exists():
            raise ValueError(
                f"{text} is neither a folder nor a shipped model: "
                f"{nearest(text, tuple(zoo.MODELS))}"
            )
        return path
    address = _ADDRESS.fullmatch(text)
    if address is None:
        raise ValueError(f"{text} is no address on the hub: use hf://OWNER/NAME[@REVISION]")
    hub = _import_hub()
    try:
        return hub.snapshot_download(
            address[1], revision=address[2], allow_patterns=list(_PATTERNS), repo_type="model"
        )
    except Exception as error:  # of requests or httpx, by the hub's version
        raise ValueError(f"cannot download {text}: {first_line(error)}") from error


@functools.lru_cache
def _note_local(name: str) -> None:
    print(f"note: {name} is the folder of that name, not the shipped model", file=sys.stderr)


def check_can_push(name: str) -> None:
    """Raises ValueError unless `name` is OWNER/NAME and the extra is installed."""
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"{name!r} is no name of a repository: use OWNER/NAME")
    _import_hub()


def push_folder(folder: epath.PathLike, name: str) -> str:
    """Uploads a folder as a model repository; a new one starts private.

    Args:
        folder: local.
        name: OWNER/NAME.

    Returns:
        The repository's address.

    Raises:
        ValueError: malformed name, missing extra, or the hub refuses.
    """
    check_can_push(name)
    hub = _import_hub()
    try:
        url = hub.create_repo(name, repo_type="model", private=True, exist_ok=True)
        hub.upload_folder(repo_id=name, repo_type="model", folder_path=os.fspath(folder))
    except Exception as error:  # of requests or httpx, by the hub's version
        raise ValueError(f"cannot push to {name}: {first_line(error)}") from error
    return str(url)


def _import_hub() -> ModuleType:
    try:
        return importlib.import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise ValueError(
            "the Hugging Face hub needs an extra: pip install 'i2sb_jax[hub]'"
        ) from None
