"""Which shipped model suits a picture, from what the picture itself tells.

Looked at are its middle and its header, in this order:

    noise   n: the least of the deviations that the finest diagonal differences of luma and both
            chromas have. White noise is the same in all three, texture hardly has colours.
    JPEG    the file is one
    blur    d = √(v - n²)₊ / √(v' - n²/4)₊, v and v' the variances of those differences of the luma
            and of the luma reduced by two: 0.5 to 1.2 for sharp photographs, which look alike on
            all scales, and below 0.4 where a lens or an enlargement took the finest away

Thresholds lie between what 29 photographs show as they are and noisy (5 levels) or blurred (σ 1).
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from i2sb_jax import files
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.corruptions.classical import layers_of
from i2sb_jax.pictures import Picture, UnreadableImage, from_pixels, read_picture
from i2sb_jax.restoration.options import Options

_NOISY = 3.0  # levels: clean photographs have 1.3 at most, those with noise of 5 levels 4.5
_BLURRED = 0.42  # clean photographs have 0.49 at least, those blurred by σ 1 without noise 0.43
_LEAST = 0.1  # levels²: below it is what rounding leaves
_SIDE = 1024  # pixels of the middle
_LEVELS = 127.5


# what only a run or a model that is named makes sense of
_OF_RUNS = {
    **{"degrade": False, "side_by_side": False, "masks": None, "member": None},
    "checkpoint": LATEST,
}


class Choice(NamedTuple):
    """A shipped model and why; model None where none suits."""

    model: str | None
    reason: str


def choose_model(picture: Picture) -> Choice:
    """Returns the model that suits a picture, as a person would be told.

    Grey pictures tell no noise, for nothing tells it from texture; none is enlarged unasked.

    Args:
        picture: from `pictures.read_picture`.
    """
    top, left = (max(0, side - _SIDE) // 2 for side in picture.pixels.shape[:2])
    middle = picture.pixels[top : top + _SIDE, left : left + _SIDE]
    layers = [_LEVELS * layer for layer in layers_of(from_pixels(middle))]
    noise = white_noise(layers)
    if noise >= _NOISY:
        return Choice("denoise", f"noise of about {noise:.0f} levels")
    if picture.jpeg is not None:
        return Choice("jpeg", f"a JPEG file of quality {picture.jpeg.quality}")
    detail = finest_detail(layers[0], noise)
    if detail is not None and detail < _BLURRED:
        return Choice("deblur", "blurred, without its finest detail")
    return Choice(None, "neither JPEG, noise nor blur is found in it")


def choose_for(source: epath.PathLike, options: Options) -> str:
    """Names the shipped model for a picture, or for all pictures of a folder, in one line.

    Args:
        source: folder of pictures, or one picture.
        options: as the model will be given them.

    Returns:
        The model's name.

    Raises:
        ValueError: none suits, different ones do (each picture's is told then), nothing can be
            read, or the options are for a run; one line.
    """
    for name, default in _OF_RUNS.items():
        if getattr(options, name) != default:
            raise ValueError(
                f"--model is missing: name it beside --{name.replace('_', '-')}, since no shipped "
                "model is chosen for that"
            )
    choices = _choices(source)
    (first, choice), *_ = choices.items()
    models = list(dict.fromkeys(each.model for each in choices.values()))
    if len(models) > 1:
        for name, each in choices.items():
            print(f"{name}: {each.model or 'no model'} ({each.reason})", file=sys.stderr)
        votes = ", ".join(
            f"{model or 'no model'} suits {sum(each.model == model for each in choices.values())}"
            for model in models
        )
        raise ValueError(
            f"the pictures need different models: {votes}; give each a folder, or name one for "
            "all by --model"
        )
    if choice.model is None:
        raise ValueError(
            f"nothing tells what {first} needs ({choice.reason}): name a model by --model, such as "
            "deblur to sharpen, sr4x to enlarge"
        )
    more = f", and {len(choices) - 1} more alike" if len(choices) > 1 else ""
    print(
        f"{choice.model} is taken for {first}: {choice.reason}{more} (--model takes another)",
        file=sys.stderr,
    )
    return choice.model


def white_noise(layers: Sequence[np.ndarray]) -> float:
    """Returns n of the above, levels; 0 where there is no colour to tell it by.

    Args:
        layers: luma and chromas [h, w], levels, as `classical.layers_of` has them.
    """
    if len(layers) < 3:
        return 0.0
    finest = (np.abs(_diagonal(layer)) for layer in layers)
    return min(float(np.median(x)) / 0.6745 if x.size else 0.0 for x in finest)


def finest_detail(luma: np.ndarray, noise: float) -> float | None:
    """Returns d of the above; None of a picture without any detail.

    Args:
        luma: [h, w], levels.
        noise: its standard deviation, levels.
    """
    height, width = (side // 2 for side in luma.shape)
    half = luma[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
    fine, coarse = (_diagonal(layer) for layer in (luma, half))
    if not coarse.size or (below := float(np.mean(coarse**2)) - noise**2 / 4) <= _LEAST:
        return None
    return float(np.sqrt(max(float(np.mean(fine**2)) - noise**2, 0.0) / below))


def _diagonal(layer: np.ndarray) -> np.ndarray:
    return (layer[1:, 1:] - layer[1:, :-1] - layer[:-1, 1:] + layer[:-1, :-1]) / 2


def _choices(source: epath.PathLike) -> dict[str, Choice]:
    path = epath.Path(source).expanduser()
    if path.exists() and not path.is_dir():
        folder, names = path.parent, [path.name]
    else:
        folder, names = path, files.list_images(path)
    chosen, failures = {}, []
    for name in names:
        try:
            chosen[name] = choose_model(read_picture((folder / name).read_bytes()))
        except (UnreadableImage, OSError) as error:  # of several, told where it is left out
            failures.append(f"{name} cannot be read: {error}")
    if not chosen:
        raise ValueError(failures[0])
    return chosen
