"""Model folders on the Hugging Face hub: hf://OWNER/NAME[@REVISION]; needs the extra `hub`."""

import importlib
import os
import re
from types import ModuleType

from etils import epath

# a model folder and no more: nothing else of a repository is downloaded
_FILES = ("config.json", "model.safetensors", "provenance.json", "value_ranges.json")
_NAME = r"[\w.-]+/[\w.-]+"
# one slash is left of two where a path was made of it
_ADDRESS = re.compile(rf"hf://?({_NAME})(?:@([^\s@]+))?")


def local_folder(path: epath.PathLike) -> epath.PathLike:
    """`path` itself, ~ expanded, or the hub's cache of hf://OWNER/NAME[@REVISION].

    Raises:
        ValueError: the address is malformed, the extra is missing, or the hub refuses.
    """
    text = os.fspath(path)
    if text.startswith("~"):
        return os.path.expanduser(text)
    if not text.startswith("hf:/"):
        return path
    address = _ADDRESS.fullmatch(text)
    if address is None:
        raise ValueError(f"{text} is no address on the hub: use hf://OWNER/NAME[@REVISION]")
    hub = _import_hub()
    try:
        return hub.snapshot_download(
            address[1], revision=address[2], allow_patterns=list(_FILES), repo_type="model"
        )
    except Exception as error:  # of requests or httpx, by the hub's version
        raise ValueError(f"cannot download {text}: {_first_line(error)}") from error


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
        raise ValueError(f"cannot push to {name}: {_first_line(error)}") from error
    return str(url)


def _import_hub() -> ModuleType:
    try:
        return importlib.import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise ValueError(
            "the Hugging Face hub needs an extra: pip install 'i2sb_jax[hub]'"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
