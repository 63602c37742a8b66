"""The models that come with the package: what each repairs, what it gains, where it lies.

A folder a model: model.safetensors (float16; float32 in memory), config.json, provenance.json and
README.md, its card. `experiments/models` has how they were made and measured.
"""

import dataclasses
import types
from collections.abc import Mapping

from etils import epath

from i2sb_jax.config.checks import nearest

__all__ = ["MODELS", "ShippedModel", "listing", "shipped_folder"]

_HERE = epath.Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """The facts about a model that are known before it is loaded.

    Attributes:
        task: what it does, one phrase.
        corruption: the one that it was trained on, as `make_corruption` takes it.
        picture: which pictures it is for, one phrase.
        level: what tells the conditions of `gains` apart: "quality", "σ", "noise" or "factor".
        gains: condition -> mean gain in PSNR over the degraded picture (over bicubic enlargement
            where that is smaller), dB, on four photographs that training never saw.
        clean: PSNR with which a picture that has nothing to repair comes back, dB, the least of
            the four; None where that has no meaning.
        size: of its weights' file, bytes.
        licence: of the weights, as SPDX names it.
    """

    task: str
    corruption: str
    picture: str
    level: str
    gains: Mapping[float, float]
    clean: float | None
    size: int
    licence: str = "Apache-2.0"

    def gain(self) -> str:
        """The first and the last of `gains`, in words."""
        (first, at_first), (last, at_last) = (list(self.gains.items())[i] for i in (0, -1))
        text = f"{at_first:+.1f} dB at {self.level} {first:g}"
        return text if first == last else f"{text}, {at_last:+.1f} at {last:g}"


def _gains(values: dict[float, float]) -> Mapping[float, float]:
    return types.MappingProxyType(values)


# Figures are those of experiments/models/measured.json.
MODELS: Mapping[str, ShippedModel] = types.MappingProxyType(
    {
        "jpeg": ShippedModel(
            task="removes the blocks, ripples and lost colours of JPEG files",
            corruption="jpeg-told-5-95",
            picture="a JPEG file of quality 5 to 95, as it was saved",
            level="quality",
            gains=_gains({10: 1.64, 20: 1.57, 30: 1.56, 50: 1.50, 75: 1.38, 90: 1.07}),
            clean=49.4,
            size=3441392,
        ),
        "deblur": ShippedModel(
            task="sharpens pictures that are slightly out of focus, noise of some levels included",
            corruption="blur-photo-0-2.5",
            picture="a photograph that is soft at 100 %, by up to 2.5 pixels",
            level="σ",
            gains=_gains({1: 2.78, 1.5: 2.79, 2: 2.74}),
            clean=39.3,
            size=3469048,
        ),
        "denoise": ShippedModel(
            task="removes noise and grain",
            corruption="noise-0-60",
            picture="a photograph with white noise of 15 to 60 levels",
            level="noise",
            gains=_gains({5: 5.33, 15: 9.31, 25: 11.23, 50: 13.78}),
            clean=44.9,
            size=3500424,
        ),
        "sr4x": ShippedModel(
            task="enlarges pictures four times",
            corruption="sr4x-photo",
            picture="a small picture, at most some hundred pixels a side",
            level="factor",
            gains=_gains({4: 1.01}),
            clean=None,
            size=3427568,
        ),
    }
)
"""Name -> what is known of the model."""


def shipped_folder(name: str) -> epath.Path:
    """The folder of a shipped model, as any model folder.

    Raises:
        ValueError: there is no such model; names those that there are.
    """
    if name not in MODELS:
        raise ValueError(f"{name!r} is no shipped model: {nearest(name, tuple(MODELS))}")
    return _HERE / name


def listing() -> str:
    """Returns the list of models for people: a paragraph each."""
    lines = []
    for name, model in MODELS.items():
        lines.append(f"{name:<9}{model.task}")
        lines.append(f"{'':<9}for {model.picture}")
        lines.append(f"{'':<9}{model.gain()}; {model.size / 1e6:.1f} MB; {model.licence}")
    return "\n".join(lines)
