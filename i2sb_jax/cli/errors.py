"""One line for each error that a user may meet."""

import re

from absl import flags

from i2sb_jax.accelerators.memory import is_out_of_memory
from i2sb_jax.reasons import first_line

# whose errors are of no class of Python's own, where a bucket is missing or closed to the user
_STORAGE = ("gcsfs", "google.auth", "google.api_core", "fsspec", "s3fs", "botocore", "aiohttp")
# package -> what needs it, and the extra that brings it
_EXTRAS = {
    "wandb": ("training.wandb_project needs", "wandb"),
    "gradio": ("the page needs", "demo"),
    "pyarrow": ("Parquet files need", "parquet"),
    "lmdb": ("databases need", "lmdb"),
}
_TRAINING = ("training and its data need", "train")
_NO_MEMORY = (
    "not enough memory: restore with a smaller --tile or sampling.batch_size, train with more "
    "training.accumulation_steps, model.remat='blocks' or a larger mesh.fsdp"
)


def users_line(error: Exception) -> str | None:
    """The line about an error that is the user's to mend.

    Args:
        error: of any kind.

    Returns:
        The line; None for an error of the program.
    """
    text = str(error) or repr(error)
    if isinstance(error, ModuleNotFoundError):
        known = (_EXTRAS[package] for package in _EXTRAS if f"'{package}'" in text)
        what, extra = next(known, _TRAINING)
        return f"{text}: {what} pip install 'i2sb_jax[{extra}]'"
    if isinstance(error, ImportError) and re.search("to access|epath", text):  # of a bucket's
        google = re.search("Google|gs://", text)
        return f"{text}: pip install 'i2sb_jax[train]' reaches gs://" if google else text
    if isinstance(error, KeyError) and re.fullmatch(r"'\w+://'", text):  # epath, of a scheme
        return f"there are no paths that begin with {text}: they are local, or gs://"
    if isinstance(error, ValueError | OSError):
        return first_line(error)
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return f"{_NO_MEMORY} ({first_line(error)})"
    origin = type(error).__module__
    if origin.startswith(_STORAGE) or (origin.startswith("tensorflow.") and "://" in text):
        return f"the bucket cannot be used: {' '.join(text.split())}"
    return None


def in_config_file(error: Exception, usage: str) -> str:
    """An error of a config file or its options, with the nearest key where one is misspelt.

    Args:
        error: anything, since a config file is a program.
        usage: of the tool.

    Returns:
        One line.
    """
    text = str(error)
    if misspelt := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
        return f"unknown config key {misspelt[2]!r}: did you mean {misspelt[1]!r}?"
    if unknown := re.search(r'Key "(\w+)" does not exist', text):
        return f"unknown config key {unknown[1]!r}: python -m i2sb_jax.config lists all there are"
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{error.flagname} is not an option: {usage}"
    if "Traceback" in text:  # ml_collections quotes it; its last line is the error
        text = text.strip().splitlines()[-1]
    kind = "" if isinstance(error, flags.Error) else f"{type(error).__name__} in the config file: "
    return kind + " ".join(text.split())
