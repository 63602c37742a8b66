"""The origin and licence of weights, which travel with them wherever they go."""

import dataclasses
import hashlib
import json
import re

from etils import epath

from i2sb_jax.config.checks import check_choice, check_text
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.interop.hub import local_folder

MODEL_FILE = "model.safetensors"
ADM_FILE = "adm.safetensors"
PROVENANCE_FILE = "provenance.json"

INITIAL = "initial"  # of weights that were never trained as a bridge
KINDS = (INITIAL, "ema", "net")

_CHUNK = 1 << 22
_LONGEST = 500  # characters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """The file that weights were imported from, or that the training of a run started from.

    Attributes:
        source: the file's name, without its folder.
        sha256: of the file, hexadecimal.
        licence: of the weights in it, for people.
        weights: which of its weights: "initial" (ADM's), "ema" or "net" (I²SB's).
        trained: whether a training began from them; if not, they are as they were in the file.

    Raises:
        ValueError: a value is of another kind, or no text to show to people: the values may come
            from a stranger's file.
    """

    source: str
    sha256: str
    licence: str
    weights: str
    trained: bool

    def __post_init__(self):
        for name in ("source", "sha256", "licence", "weights"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name}={value!r} must be a text")
            check_text(name, value, longest=_LONGEST)
            value.encode()  # half of a surrogate pair is no text either
        if "/" in self.source:
            raise ValueError(f"source={self.source!r} must be a file's name without its folder")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256={self.sha256!r} must be 64 hexadecimal digits")
        check_choice("weights", self.weights, KINDS)
        if not isinstance(self.trained, bool):
            raise ValueError(f"trained={self.trained!r} must be true or false")

    @property
    def is_initial(self) -> bool:
        """Whether the weights are for a training to start from, and restore nothing yet."""
        return self.weights == INITIAL and not self.trained

    def __str__(self) -> str:
        begin = "trained from weights" if self.trained else "weights"
        return f"{begin} of {self.source} ({self.weights}), licence: {self.licence}"


def read_provenance(folder: epath.PathLike) -> Provenance | None:
    """Returns the origin of the weights of a run, a model folder or hf://OWNER/NAME.

    Returns:
        The provenance; None where there is none, as in a run that started from random weights.

    Raises:
        ValueError: provenance.json is not one of this library's.
    """
    path = epath.Path(local_folder(folder)) / PROVENANCE_FILE
    if not path.exists():
        return None
    keys = [field.name for field in dataclasses.fields(Provenance)]
    try:
        values = read_json(path)
        if not isinstance(values, dict) or set(values) != set(keys):
            raise ValueError(f"it must be a JSON object of {', '.join(keys)}")
        return Provenance(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_provenance(folder: epath.PathLike, provenance: Provenance | None) -> None:
    """Writes `folder`/provenance.json, where anything is known."""
    if provenance is None:
        return
    text = json.dumps(dataclasses.asdict(provenance), indent=2, ensure_ascii=False) + "\n"
    write_atomically(epath.Path(folder) / PROVENANCE_FILE, text.encode())


def inherited_provenance(source: epath.PathLike) -> Provenance | None:
    """Returns the origin that a run which starts from other weights has to name.

    Args:
        source: what `load_weights` takes; of a file, what lies beside it is believed.

    Returns:
        The provenance, None where nothing is known.

    Raises:
        ValueError: provenance.json is not one of this library's.
    """
    source = epath.Path(local_folder(source))
    provenance = read_provenance(source if source.is_dir() else source.parent)
    return provenance and dataclasses.replace(provenance, trained=True)


def file_sha256(path: epath.PathLike) -> str:
    """The file's digest, hexadecimal; reads it in parts."""
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
