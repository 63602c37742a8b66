"""Pictures out of focus or shaken: blur that keeps the light, then a sensor's noise and 8 bits.

    y = round(h * x + s n),  Σ h = 1,  n ~ N(0, 1)                                            (1)

in 8-bit levels, with x mirrored at its borders. The point spread function h of a picture is

| share | h(r) |
|---|---|
| 60 % | exp(-rᵀ r / 2σ²) |
| 25 % | exp(-rᵀ C⁻¹ r / 2), C of two widths σ, σ′ and any angle |
| 15 % | constant within 2σ, where a pixel takes the area that it shares with the disc |

with σ and σ′ uniform in LO...HI. The disc is what a round lens out of focus makes of a point; one
of radius 2σ has the second moment of a Gaussian of width σ, so LO...HI is about the same blur for
each of them. s is 0 for a quarter of the pictures, for a reduced or denoised picture has no noise
to speak of, and uniform in 0...4 levels for the others.
"""

import dataclasses

import numpy as np

from i2sb_jax.corruptions.facts import psf_radius
from i2sb_jax.corruptions.photographic import (
    Photographic,
    between,
    from_levels,
    round_levels,
    to_levels,
)

ROUND, ELONGATED = 0.6, 0.25  # shares; the rest are discs
NOISELESS, MOST_NOISE = 0.25, 4.0

# Samples of a narrower Gaussian are those of a point, and of a tilted one they miss the line.
_NARROWEST, _NARROWEST_LINE = 0.05, 0.3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PhotoBlur(Photographic):
    """Equation (1). There is no gradient.

    Attributes:
      low, high: the range of σ in pixels.
    """

    low: float
    high: float
    num_draws = 5
    num_noises = 1

    def degrade_picture(self, image, draws, noise=None):
        width, shape, other, angle, grain = np.asarray(draws, np.float64)
        width, other = (between((self.low, self.high), draw) for draw in (width, other))
        if shape < ROUND:
            psf = gaussian_psf(width, width, 0.0)
        elif shape < ROUND + ELONGATED:
            psf = gaussian_psf(width, other, np.pi * angle)
        else:
            psf = disc_psf(2 * width)
        levels = convolve(to_levels(image), psf)
        if noise is not None:
            levels += noise_level(grain) * noise[0]
        return from_levels(round_levels(levels))


def noise_level(draw: float) -> float:
    """The standard deviation of a sensor's noise in levels, from a number in [0, 1)."""
    return MOST_NOISE * max(0.0, draw - NOISELESS) / (1 - NOISELESS)


def gaussian_psf(width: float, other: float, angle: float) -> np.ndarray:
    """Samples of a Gaussian of two widths in pixels, the first along `angle`; [n, n], sum 1."""
    width, other = max(width, _NARROWEST), max(other, _NARROWEST)
    radius = psf_radius(max(width, other))
    if width != other:
        floor = min(_NARROWEST_LINE, max(width, other))
        width, other = max(width, floor), max(other, floor)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    psf = np.exp(-((along / width) ** 2 + (across / other) ** 2) / 2)
    return psf / psf.sum()


def disc_psf(radius: float) -> np.ndarray:
    """The area that a disc covers of each pixel, [n, n], sum 1.

    With A(a, b) the area of the disc in the rectangle 0...a, 0...b,

        A = x b + G(a) - G(x),  x = √(r² - b²),  G(t) = (t √(r² - t²) + r² asin(t/r)) / 2

    for 0 <= a, b <= r (x b alone where x > a, with x = a), odd in both.
    """
    radius = max(radius, _NARROWEST)
    edges = np.arange(-np.ceil(radius) - 0.5, np.ceil(radius) + 1)

    def primitive(t):
        return (t * np.sqrt(radius**2 - t**2) + radius**2 * np.arcsin(t / radius)) / 2

    a, b = (np.minimum(np.abs(side), radius) for side in (edges[:, None], edges[None, :]))
    x = np.minimum(np.sqrt(radius**2 - b**2), a)
    area = (x * b + primitive(a) - primitive(x)) * np.sign(edges[:, None] * edges[None, :])
    psf = np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0)  # differences round
    return psf / psf.sum()


def convolve(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """H * x with mirrored borders (-1 → 0), by FFT: [h, w, c] and an odd [n, n] to [h, w, c]."""
    radius = len(psf) // 2
    if radius == 0:
        return image * psf[0, 0]
    planes = np.moveaxis(image, 2, 0)  # contiguous planes are transformed fastest
    padded = np.pad(planes, ((0, 0), (radius,) * 2, (radius,) * 2), mode="symmetric")
    shape = tuple(_fast_length(side) for side in padded.shape[1:])
    spectrum = np.fft.rfft2(padded, shape)
    spectrum *= np.fft.rfft2(psf, shape)
    # of a circular convolution the first 2·radius rows and columns wrap, and no later one
    blurred = np.fft.irfft2(spectrum, shape)
    height, width = image.shape[:2]
    blurred = blurred[:, 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]
    return np.moveaxis(blurred, 0, 2)


def _fast_length(length: int) -> int:
    """The next number whose prime factors are 2, 3 and 5."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def make_photo_blur(name: str, image_size: int, low: float, high: float) -> PhotoBlur:
    """Blur of widths `low` ... `high` in pixels."""
    return PhotoBlur(name=name, image_size=image_size, low=low, high=high)
