"""Training photographs of scikit-image, degraded as whole pictures: what repairs are tuned on.

Grey photographs stand for the luma of coloured ones: all three channels get the same noise, of
1/√3 of the standard deviation, which is the noise of a mean of three.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.quickstart import held_out
from i2sb_jax.data import open_source
from i2sb_jax.data.photos import OF_SCIKIT_LEARN
from i2sb_jax.pictures import decode_rgb

# the scene of motorcycle_left, from beside it; and what joined the training pictures later
_LEFT_OUT = ("motorcycle_right.png", *OF_SCIKIT_LEARN)
_LARGEST = 512  # of a side: the middle of a larger photograph is taken

KERNELS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
}


class Problem(NamedTuple):
    """A picture and what became of it, uint8 [h, w, 3] each; of a reduction [h/f, w/f, 3]."""

    clean: np.ndarray
    degraded: np.ndarray


def photographs(side: int | None = None) -> dict[str, np.ndarray]:
    """Name -> uint8 [h, w, 3]: whole, or the middle of so many pixels."""
    source = open_source("photos", split="train")
    records = [source.read(i) for i in range(len(source))]
    return {
        record.name.rsplit(".", 1)[0]: _middle(decode_rgb(record.image), side or _LARGEST)
        for record in records
        if record.name not in _LEFT_OUT
    }


def blurred(pictures: list[np.ndarray], *, width: float, noise: float) -> list[Problem]:
    """A Gaussian of so many pixels, then noise of so many levels."""
    return [
        Problem(clean, _with_noise(clean, width=width, noise=noise, seed=seed))
        for seed, clean in enumerate(pictures)
    ]


def noisy(pictures: list[np.ndarray], *, noise: float) -> list[Problem]:
    """Noise of so many levels, clipped and rounded."""
    return blurred(pictures, width=0, noise=noise)


def compressed(pictures: list[np.ndarray], *, quality: int) -> list[Problem]:
    """JPEG files, every other one with chroma at all pixels."""
    return [
        Problem(clean, _through_a_file(clean, quality, ("4:2:0", "4:4:4")[i % 2]))
        for i, clean in enumerate(pictures)
    ]


def reduced(
    pictures: list[np.ndarray], *, factor: int, kernel: str, quality: int | None = None
) -> list[Problem]:
    """Reduced by Pillow, and through a JPEG file if a quality is given."""
    problems = []
    for picture in pictures:
        height, width = (side // factor * factor for side in picture.shape[:2])
        clean = picture[:height, :width]
        size = (width // factor, height // factor)
        small = np.asarray(Image.fromarray(clean).resize(size, KERNELS[kernel]))
        small = small if quality is None else _through_a_file(small, quality, "4:2:0")
        problems.append(Problem(clean, small))
    return problems


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    if side == _LARGEST and max(image.shape) <= 1.5 * side:
        return image
    top, left = (max(0, extent - side) // 2 for extent in image.shape[:2])
    return image[top : top + side, left : left + side]


def _with_noise(clean: np.ndarray, *, width: float, noise: float, seed: int) -> np.ndarray:
    if np.ptp(clean, axis=-1).any():
        return held_out.blurred(clean, width=width, noise=noise, seed=seed)
    grey = held_out.blurred(clean[..., :1], width=width, noise=noise / np.sqrt(3), seed=seed)
    return np.repeat(grey, 3, axis=-1)


def _through_a_file(picture: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return decode_rgb(file.getvalue())
