"""Pictures that went through several hands: everything at once, twice, strength unknown.

In the manner of BSRGAN (Zhang et al. 2021) and Real-ESRGAN (Wang et al. 2021): a picture is taken
and sent, then taken from there and sent again, and each time blurred, resized, made noisy and
compressed as chance will have it,

    X_1 = S(J(N(R(B(·))))) twice, S back to the size of X_0 before the last compression

with B blur, R resizing, N noise, J JPEG. The papers train for pictures that may be ruined; here
parameters are chosen so that a picture stays recognisable at its own size, and most of what people
keep lies within. So blurs are narrower than theirs (which are up to 3 pixels before a reduction by
4), noise is at most half of theirs, factors lie above a half, and no quality lies below 40. The
second round is the gentler one, as in both papers.
"""

import dataclasses

import numpy as np
from PIL import Image

from i2sb_jax.corruptions.jpeg_file import code_as_drawn
from i2sb_jax.corruptions.photo_blur import convolve, gaussian_psf
from i2sb_jax.corruptions.photographic import (
    Photographic,
    between,
    from_levels,
    round_levels,
    to_levels,
)
from i2sb_jax.corruptions.reduction import KERNELS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """The settings of one pass over a picture; ranges are uniform, both ends included.

    Attributes:
      blur_share: of pictures that are blurred; a picture may come sharp from a reduction.
      blur: both widths in pixels, at any angle: nothing tells why they should be equal.
      size_share: of pictures that are resized; the others go on at X_0's size.
      size: of a resized picture, in sizes of X_0. None is larger than X_0, where nothing new could
        be seen; the second pass may still enlarge what the first left.
      noise: standard deviation in 8-bit levels. 10 is a small sensor in the dark.
      grey_share: of pictures whose noise is the same in all colours, as a luma channel's is.
      quality: of the JPEG; 40 is the worst that messengers make.
    """

    blur_share: float
    blur: tuple[float, float]
    size_share: float
    size: tuple[float, float]
    noise: tuple[float, float]
    grey_share: float
    quality: tuple[int, int]


ROUNDS = (
    Round(
        blur_share=0.8,
        blur=(0.2, 1.6),
        size_share=0.7,
        size=(0.5, 1.0),
        noise=(0.0, 10.0),
        grey_share=0.4,
        quality=(40, 95),
    ),
    Round(
        blur_share=0.5,
        blur=(0.2, 1.0),
        size_share=0.5,
        size=(0.6, 1.0),
        noise=(0.0, 5.0),
        grey_share=0.4,
        quality=(50, 95),
    ),
)

_ENLARGING = KERNELS[1:]  # a box would repeat pixels, which none of today's programs does

_DRAWS_A_ROUND = 12


class Real(Photographic):
    """The two hands. There is no gradient."""

    num_draws = len(ROUNDS) * _DRAWS_A_ROUND
    num_noises = len(ROUNDS)

    def degrade_picture(self, image, draws, noise=None):
        height, width = image.shape[:2]
        levels = to_levels(image)
        last = len(ROUNDS) - 1
        # one column a round, so that the evenly spread columns in front are those of both
        columns = np.asarray(draws, np.float64).reshape(_DRAWS_A_ROUND, len(ROUNDS))
        for number, round_ in enumerate(ROUNDS):
            size, noise_sd, quality, *rest = columns[:, number]
            is_blurred, blur, other, angle, is_resized, kernel, is_grey, subsampling, back = rest
            if is_blurred < round_.blur_share:
                widths = (between(round_.blur, draw) for draw in (blur, other))
                levels = convolve(levels, gaussian_psf(*widths, np.pi * angle))
            factor = between(round_.size, size) if is_resized < round_.size_share else 1.0
            shape = tuple(max(1, round(factor * side)) for side in (height, width))
            levels = resize(levels, shape, kernel)
            if noise is not None:
                grain = noise[number][: shape[0], : shape[1]]
                grain = grain[..., :1] if is_grey < round_.grey_share else grain
                levels = levels + between(round_.noise, noise_sd) * grain
            if number == last:
                levels = resize(levels, (height, width), back)
            levels = code_as_drawn(round_levels(levels), round_.quality, quality, subsampling)
        return from_levels(levels)


def resize(levels: np.ndarray, shape: tuple[int, int], draw: float) -> np.ndarray:
    """Resizes [h, w, 3] by a kernel that a number in [0, 1) chooses; the same size stays itself."""
    if levels.shape[:2] == shape:
        return levels
    kernels = KERNELS if shape < levels.shape[:2] else _ENLARGING
    kernel = kernels[int(draw * len(kernels))]
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(levels, 2, 0)]
    return np.stack([np.asarray(plane.resize(shape[::-1], kernel)) for plane in planes], axis=2)


def make_real(name: str, image_size: int) -> Real:
    """The two hands on a picture."""
    return Real(name=name, image_size=image_size)
