"""Puts trained models where the package has them, in float16, each with its card.

    python -m experiments.models.ship --models DIR [--tasks jpeg …]

DIR holds a folder a task, as `experiments.models.gpu` or `i2sb-export` writes it. Without --models
only the cards are written anew, from `i2sb_jax.zoo`, measured.json and the logs.
"""

import argparse
import json
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
from etils import epath

from experiments.models import further
from experiments.models.cards import LOGS, card
from i2sb_jax import zoo
from i2sb_jax.interop import Provenance, export_model, write_provenance
from i2sb_jax.interop.provenance import MODEL_FILE, file_sha256
from i2sb_jax.interop.safetensors_file import read_safetensors_file, write_safetensors_file

_EVERY = 500  # updates between the lines of a log that are kept


def ship(model: epath.Path, name: str) -> None:
    """Writes one model's folder in the package, and its logs.

    Args:
        model: of float32 weights.
        name: one of `zoo.MODELS`.
    """
    folder = zoo.shipped_folder(name)
    with tempfile.TemporaryDirectory() as temporary:
        exported = epath.Path(temporary) / name
        export_model(model, exported)
        folder.mkdir(exist_ok=True)
        (exported / "config.json").copy(folder / "config.json", overwrite=True)
        tensors = read_safetensors_file(exported / MODEL_FILE)
        halves = {key: value.astype(np.float16) for key, value in tensors.items()}
        write_safetensors_file(folder / MODEL_FILE, halves)
    write_provenance(
        folder,
        Provenance(
            source=f"{name}, shipped with i2sb_jax",
            sha256=file_sha256(folder / MODEL_FILE),
            licence=f"{zoo.MODELS[name].licence}; photographers are named in its card",
            weights="ema",
            trained=False,
        ),
    )
    for log, kept in (("metrics.jsonl", f"{name}.jsonl"), (further.LOG, f"{name}_further.jsonl")):
        if (model / log).exists():
            LOGS.mkdir(exist_ok=True)
            (LOGS / kept).write_text(thinned((model / log).read_text()))


def thinned(log: str) -> str:
    """Some lines of a metrics.jsonl, the first and the last among them."""
    lines = log.splitlines()
    kept = [
        line
        for i, line in enumerate(lines)
        if i in (0, len(lines) - 1) or json.loads(line)["step"] % _EVERY == 0
    ]
    return "".join(f"{line}\n" for line in kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ships, and writes the cards."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--tasks", nargs="+", choices=zoo.MODELS, default=list(zoo.MODELS))
    given = parser.parse_args(arguments)
    for name in given.tasks:
        folder = zoo.shipped_folder(name)
        if given.models is not None:
            ship(epath.Path(given.models / name), name)
        (folder / "README.md").write_text(card(name))
        print(name, (folder / MODEL_FILE).stat().length, "bytes", flush=True)


if __name__ == "__main__":
    main()
