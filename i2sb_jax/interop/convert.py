"""From a file of published weights to a model folder: what `i2sb-import` does.

Tensor by tensor: the file is mapped, and each tensor is read as it is written.
"""

from typing import Any, NamedTuple

import jax
from etils import epath

from i2sb_jax import build
from i2sb_jax.config import Config
from i2sb_jax.files import require_new_folder
from i2sb_jax.interop.adm import adm_params, is_adm
from i2sb_jax.interop.i2sb import i2sb_params, is_i2sb
from i2sb_jax.interop.provenance import ADM_LICENCE, I2SB_LICENCE, Provenance, file_sha256
from i2sb_jax.interop.safetensors_file import read_safetensors_metadata
from i2sb_jax.interop.weight_files import read_weights_file
from i2sb_jax.interop.weights import save_model

# said of weights whose file is ADM's: they start a training and restore nothing
INITIAL = "initial"


class Imported(NamedTuple):
    """What was imported.

    Attributes:
        tensors: how many.
        parameters: numbers in them.
        provenance: where they come from.
    """

    tensors: int
    parameters: int
    provenance: Provenance


def import_weights(
    source: epath.PathLike,
    workdir: epath.PathLike,
    config: Config,
    *,
    weights: str | None = None,
    licence: str | None = None,
) -> Imported:
    """Writes a model folder from ADM's or I²SB's published weights.

    Args:
        source: ADM's PyTorch file, safetensors with its names, or I²SB's latest.pt; local or gs://.
        workdir: a new folder, for model.safetensors, config.json and provenance.json.
        config: the task that the weights are for.
        weights: "ema" (also if None) or "net", of I²SB's two.
        licence: of the weights; None: what the file says, or else what is published in its form.

    Returns:
        What was imported.

    Raises:
        ValueError: the folder is not empty, the file cannot be read or is of another kind, or its
            tensors are not those of the task's network; one line. Nothing is written then.
    """
    workdir, source = require_new_folder(workdir), epath.Path(source).expanduser()
    contents = read_weights_file(source)
    unet = build.make_network(config).config
    try:
        if is_i2sb(contents):
            kind, default = weights or "ema", I2SB_LICENCE
            params = i2sb_params(contents, unet, weights=kind)
        elif is_adm(contents):
            if weights is not None:
                raise ValueError(f"it has one set of weights: leave --weights {weights} out")
            params = adm_params(contents, unet, seed=config.seed)
            kind, default = _labels(source)
        else:
            raise ValueError(_unknown(contents))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    provenance = Provenance(
        source=source.name,
        sha256=file_sha256(source),
        licence=default if licence is None else licence,
        weights=kind,
    )
    save_model(workdir, config, params, provenance=provenance)
    leaves = jax.tree.leaves(params)
    return Imported(len(leaves), sum(leaf.size for leaf in leaves), provenance)


def _labels(source: epath.Path) -> tuple[str, str]:
    """Which weights a file with ADM's names has, and their licence, as it says itself if it does.

    An export of ours does: its weights need not be ADM's, nor under ADM's licence.
    """
    with source.open("rb") as file:
        is_torch = file.read(2) == b"PK"
    metadata = {} if is_torch else read_safetensors_metadata(source)
    return metadata.get("weights", INITIAL), metadata.get("licence", ADM_LICENCE)


def _unknown(contents: Any) -> str:
    names = list(map(str, contents)) if isinstance(contents, dict) else []
    if any("/" in name for name in names):
        return "it has this library's own names: restore with its folder, or train from it as it is"
    held = f"it holds {', '.join(names[:5])}" if names else f"it holds a {type(contents).__name__}"
    return (
        "neither ADM's state dict (input_blocks.0.0.weight, …) nor a checkpoint of I²SB "
        f"(net, ema): {held}"
    )
