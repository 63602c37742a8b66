"""Where weights come from and under what licence; it travels with them wherever they go."""

import dataclasses
import hashlib
import json

from etils import epath

from i2sb_jax.files import write_atomically
from i2sb_jax.interop.hub import local_folder

MODEL_FILE = "model.safetensors"
PROVENANCE_FILE = "provenance.json"

ADM_LICENCE = "MIT (OpenAI, guided-diffusion)"
I2SB_LICENCE = "non-commercial (NVIDIA Source Code License-NC); see the file's publisher"

_CHUNK = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """The file that weights were imported from, or that the training of a run started from.

    Attributes:
        source: the file's name, without its folder.
        sha256: of the file, hexadecimal.
        licence: of the weights in it, for people.
        weights: which of its weights: "initial" (ADM's), "ema" or "net" (I²SB's).
    """

    source: str
    sha256: str
    licence: str
    weights: str

    def __str__(self) -> str:
        return f"weights of {self.source} ({self.weights}), licence: {self.licence}"


def read_provenance(folder: epath.PathLike) -> Provenance | None:
    """What is known of the weights in a run, a model folder or hf://OWNER/NAME.

    Returns:
        The provenance; None where there is none, as in a run that started from random weights.

    Raises:
        ValueError: provenance.json is not one of this library's.
    """
    path = epath.Path(local_folder(folder)) / PROVENANCE_FILE
    if not path.exists():
        return None
    try:
        return Provenance(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        keys = ", ".join(field.name for field in dataclasses.fields(Provenance))
        raise ValueError(f"{path} must be a JSON object of the strings {keys}") from None


def write_provenance(folder: epath.PathLike, provenance: Provenance) -> None:
    """Writes `folder`/provenance.json."""
    text = json.dumps(dataclasses.asdict(provenance), indent=2, ensure_ascii=False) + "\n"
    write_atomically(epath.Path(folder) / PROVENANCE_FILE, text.encode())


def copy_provenance(source: epath.PathLike, folder: epath.PathLike) -> Provenance | None:
    """Carries what is known of `source`, which `load_weights` takes, over to `folder`.

    Returns:
        What was written, None where nothing is known.
    """
    source = epath.Path(local_folder(source))
    provenance = read_provenance(source.parent if source.name == MODEL_FILE else source)
    if provenance is not None:
        write_provenance(folder, provenance)
    return provenance


def file_sha256(path: epath.PathLike) -> str:
    """The file's digest, hexadecimal; reads it in parts."""
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
