"""Classical repairs: what a trained bridge has to beat, and what a person would try first.

Each repair is a pure function of a picture and its settings. Pictures are float32 [h, w, c] in
[-1, 1], of one channel or three, of any size; noise that left the range may come in, what comes out
is clipped to it. Borders are mirrored. Colours are taken apart by an orthonormal transform into
luma (r + g + b)/√3 and two chromas, in which white noise stays white: the eye's weights would
not keep that. Widths are in pixels, noise in 8-bit levels.

    blur        Wiener    x̂ = C⁻¹ [ H/(H² + r(f)) · C y ],  H = exp(-2 π² σ² f²)               (1)
                          r(f) = ratio · f^power: noise over a prior that falls as a power of f
                unsharp   x̂ = y + amount · (y - G_σ y)                                         (2)
                R.-Lucy   x ← x · G_σ (y / G_σ x), stopped early                               (3)
    noise,      means     x̂_i = Σ_j w_ij y_j / Σ_j w_ij,  w_ij = exp(-max(d_ij - 2 s², 0)/h²)  (4)
    JPEG                  d_ij: mean square between the patches around i and j
                TV        x̂ = argmin ½ |x - y|² + weight · Σ |∇x|                              (5)
                cosines   x̂ = Σ w C⁻¹ [ C y · 1(|C y| > t) ] / Σ w, over shifted blocks       (6)

C is the cosine transform, for which a Gaussian with mirrored borders is diagonal, and f the
frequency in cycles a pixel. `classical_settings.py` has the settings that `experiments/classical`
tuned.
"""

import numpy as np
import scipy.fft
import scipy.ndimage
from PIL import Image

from i2sb_jax.corruptions.corruption import Corruption

_DARKEST = 0.1  # below this share of the light, dividing by it would only amplify noise
_LEVEL = 1 / 127.5  # an 8-bit level, in [-1, 1]
_BLOCK = 8  # pixels
_TO_LUMA = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def wiener(
    picture: np.ndarray,
    *,
    sigma: float,
    ratio: float,
    power: float,
    chroma_ratio: float,
    chroma_power: float,
) -> np.ndarray:
    """Undoes a Gaussian blur by (1), in float64.

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        sigma: width of the blur, pixels.
        ratio: of (1), for the luma.
        power: of (1), for the luma. A flat prior has 0, Laplace's 4.
        chroma_ratio: of (1), for both chromas.
        chroma_power: of (1), for both chromas.
    """
    priors = ((ratio, power), (chroma_ratio, chroma_power))
    return _picture(_deblurred(layers_of(picture), sigma, priors))


def wiener_gain(frequency: np.ndarray, *, sigma: float, ratio: float, power: float) -> np.ndarray:
    """The factor in (1): H / (H² + ratio · f^power), f in cycles a pixel; 1 for the mean."""
    blur = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    noise = np.where(frequency > 0, ratio * frequency**power, 0.0)
    return blur / (blur**2 + noise)


def _deblurred(layers: list[np.ndarray], sigma: float, priors) -> list[np.ndarray]:
    """(1) of each layer; priors: (ratio, power) of luma and of chromas."""
    frequency = _frequencies(*layers[0].shape)
    gains = [wiener_gain(frequency, sigma=sigma, ratio=a, power=b) for a, b in priors]
    return [
        scipy.fft.idctn(gains[min(i, 1)] * scipy.fft.dctn(layer, norm="ortho"), norm="ortho")
        for i, layer in enumerate(layers)
    ]


def _frequencies(height: int, width: int) -> np.ndarray:
    """Returns the frequencies of a picture's cosines, cycles a pixel: [height, width]."""
    return np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))


def unsharp_mask(
    picture: np.ndarray, *, sigma: float, amount: float, chroma_amount: float
) -> np.ndarray:
    """Adds what a Gaussian takes away, by (2).

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        sigma: width of the Gaussian, pixels.
        amount: of the luma's difference.
        chroma_amount: of the chromas'.
    """
    amounts = (amount, chroma_amount, chroma_amount)
    layers = layers_of(picture)
    return _picture(
        [y + share * (y - _gaussian(y, sigma)) for y, share in zip(layers, amounts, strict=False)]
    )


def richardson_lucy(picture: np.ndarray, *, sigma: float, iterations: int) -> np.ndarray:
    """Undoes a Gaussian blur by (3), each channel by itself, starting from the picture.

    Args:
        picture: float32 [h, w, c] in [-1, 1].
        sigma: width of the blur, pixels.
        iterations: more are sharper and noisier.
    """
    light = np.maximum(np.moveaxis(picture, -1, 0).astype(np.float64) + 1, 0) / 2 + _BLACK
    repaired = []
    for seen in light:
        guess = seen
        for _ in range(iterations):
            guess = guess * _gaussian(seen / _gaussian(guess, sigma), sigma)
        repaired.append(guess)
    return _clipped(2 * (np.stack(repaired, axis=-1) - _BLACK) - 1)


_BLACK = 1 / 255  # of light: Richardson–Lucy divides by what is seen


def non_local_means(
    picture: np.ndarray,
    *,
    strength: float,
    chroma_strength: float,
    noise: float = 0.0,
    patch: int = 1,
    reach: int = 5,
) -> np.ndarray:
    """Averages pixels with those whose surroundings look alike, by (4).

    Buades, Coll and Morel, CVPR 2005.

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        strength: h of (4) for the luma, levels.
        chroma_strength: h for the chromas; patches are compared in luma and chroma together.
        noise: s of (4), levels.
        patch: pixels on each side of a patch's middle.
        reach: pixels to each side within which others are looked for.
    """
    layers = np.stack(layers_of(picture)).astype(np.float32)
    height, width = layers.shape[1:]
    padded = np.pad(layers, ((0, 0), (reach, reach), (reach, reach)), "symmetric")
    total, weights = np.zeros_like(layers), np.zeros_like(layers)
    floor = np.float32(2 * len(layers) * (noise * _LEVEL) ** 2)
    parts = ((slice(0, 1), strength), (slice(1, None), chroma_strength))[: len(layers)]
    for down, right in np.ndindex(2 * reach + 1, 2 * reach + 1):
        moved = padded[:, down : down + height, right : right + width]
        apart = np.square(moved - layers).sum(axis=0)
        apart = np.maximum(scipy.ndimage.uniform_filter(apart, 2 * patch + 1) - floor, 0)
        for part, h in parts:
            weight = np.exp(apart * np.float32(-1 / (h * _LEVEL) ** 2))
            weights[part] += weight
            total[part] += weight * moved[part]
    return _picture(total / weights)


def total_variation(
    picture: np.ndarray, *, weight: float, chroma_weight: float, iterations: int = 50
) -> np.ndarray:
    """Solves (5) for luma and chromas by the accelerated projected gradient of its dual.

    Beck and Teboulle, IEEE TIP 18 (2009).

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        weight: of the luma, levels.
        chroma_weight: of both chromas, whose gradients have one length together.
        iterations: of the gradient.
    """
    layers = np.stack(layers_of(picture)).astype(np.float32)
    parts = [(layers[:1], weight), (layers[1:], chroma_weight)]
    return _picture(
        np.concatenate([_least_variation(x, w * _LEVEL, iterations) for x, w in parts if len(x)])
    )


def dct_thresholding(
    picture: np.ndarray,
    *,
    threshold: float,
    chroma_threshold: float,
    block: int = _BLOCK,
    step: int = 1,
) -> np.ndarray:
    """Drops small coefficients of overlapping blocks, by (6).

    Coifman and Donoho 1995; blocks count by 1 / (coefficients kept), as of Guleryuz, IEEE TIP 16
    (2007).

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        threshold: t for the luma, levels.
        chroma_threshold: t for the chromas.
        block: side of a block, pixels.
        step: pixels between shifts of the grid; divides `block`.
    """
    thresholds = [np.full((block, block), t) for t in (threshold, chroma_threshold)]
    return _picture(_thresholded(layers_of(picture), thresholds, step=step))


def wiener_thresholding(
    picture: np.ndarray,
    *,
    sigma: float,
    ratio: float,
    power: float,
    chroma_ratio: float,
    chroma_power: float,
    threshold: float,
    chroma_threshold: float,
) -> np.ndarray:
    """Undoes a Gaussian blur by (1), then drops by (6) what may be the noise that (1) made larger.

    In the manner of Neelamani, Choi and Baraniuk, IEEE TSP 52 (2004), with cosines in place of
    wavelets. The threshold of a coefficient is t times the factor of (1) at its frequency, so (1)
    may be regularised less than alone.

    Args:
        picture: float32 [h, w, 1 or 3] in [-1, 1].
        sigma: width of the blur, pixels.
        ratio: of (1), for the luma.
        power: of (1), for the luma.
        chroma_ratio: of (1), for both chromas.
        chroma_power: of (1), for both chromas.
        threshold: t for the luma, levels; about three deviations of the picture's noise.
        chroma_threshold: t for the chromas.
    """
    priors = ((ratio, power), (chroma_ratio, chroma_power))
    layers = _deblurred(layers_of(picture), sigma, priors)
    frequency = _frequencies(_BLOCK, _BLOCK)
    thresholds = [
        t * wiener_gain(frequency, sigma=sigma, ratio=a, power=b)
        for t, (a, b) in zip((threshold, chroma_threshold), priors, strict=True)
    ]
    return _picture(_thresholded(layers, thresholds, step=2))


def _thresholded(layers: list[np.ndarray], thresholds: list[np.ndarray], *, step: int):
    """(6) of luma and chromas; thresholds [block, block] of both, levels. [c, h, w]."""
    layers = np.stack(layers).astype(np.float32)
    count, height, width = layers.shape
    block = len(thresholds[0])
    rows, columns = (-(-side // block) + 1 for side in (height, width))  # whole blocks at any shift
    padded = np.pad(
        layers,
        ((0, 0), (block, rows * block - height), (block, columns * block - width)),
        "symmetric",
    )
    total, weights = np.zeros_like(padded), np.zeros_like(padded)
    least = np.stack([thresholds[min(i, 1)] for i in range(count)]).astype(np.float32) * _LEVEL
    for down, right in np.ndindex(block // step, block // step):
        place = (
            slice(None),
            slice(down * step, down * step + rows * block),
            slice(right * step, right * step + columns * block),
        )
        blocks = padded[place].reshape(count, rows, block, columns, block)
        waves = scipy.fft.dctn(blocks, axes=(2, 4), norm="ortho")
        kept = np.abs(waves) > least[:, None, :, None].astype(np.float32)
        kept[:, :, 0, :, 0] = True
        weight = 1 / kept.sum(axis=(2, 4), keepdims=True).astype(np.float32)
        smooth = scipy.fft.idctn(waves * kept, axes=(2, 4), norm="ortho") * weight
        total[place] += smooth.reshape(count, rows * block, -1)
        weights[place] += np.broadcast_to(weight, blocks.shape).reshape(count, rows * block, -1)
    inside = (slice(None), slice(block, block + height), slice(block, block + width))
    return total[inside] / weights[inside]


def brightness_matching(corruption: Corruption, degraded: np.ndarray) -> np.ndarray:
    """Divides, in [0, 1], by what a blur of I²SB leaves of a white picture.

    The blurs of I²SB drop a tap and pad with black, so they darken, most of all at the borders;
    this undoes that exactly and leaves only the smoothing.

    Args:
        corruption: the blur.
        degraded: [batch, image_size, image_size, 3] in [-1, 1].
    """
    white = np.ones((1, corruption.image_size, corruption.image_size, 3), np.float32)
    gain = np.maximum((corruption.degrade(white) + 1) / 2, _DARKEST)
    return np.clip((degraded + 1) / gain - 1, -1, 1)


def biharmonic_filling(degraded: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fills holes with the solution of the biharmonic equation (scikit-image).

    Args:
        degraded: [batch, h, w, c] in [-1, 1].
        mask: [batch, h, w, 1], 1 = hole.
    """
    from skimage.restoration import inpaint_biharmonic  # not in the base install

    return np.stack(
        [
            inpaint_biharmonic(image, hole[..., 0] > 0.5, channel_axis=-1)
            for image, hole in zip(degraded, mask, strict=True)
        ]
    ).astype(np.float32)


def estimate_noise(picture: np.ndarray) -> float:
    """The standard deviation of white noise in a picture, levels.

    From the median size of the luma's finest diagonal differences (Donoho and Johnstone 1994);
    texture is taken for noise, and pictures of one row or column have none.

    Args:
        picture: [h, w, 1 or 3] in [-1, 1].
    """
    luma = layers_of(picture)[0]
    diagonal = (luma[1:, 1:] - luma[1:, :-1] - luma[:-1, 1:] + luma[:-1, :-1]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745 / _LEVEL) if diagonal.size else 0.0


def enlarge(picture: np.ndarray, factor: int, *, kernel: str) -> np.ndarray:
    """Enlarges a picture as Pillow does, in floats.

    Args:
        picture: float32 [h, w, c] in [-1, 1].
        factor: of each side.
        kernel: "bicubic" (a = -0.5) or "lanczos" (three lobes).

    Returns:
        float32 [factor · h, factor · w, c] in [-1, 1].
    """
    height, width = picture.shape[:2]
    layers = [
        Image.fromarray(np.ascontiguousarray(layer, np.float32)).resize(
            (factor * width, factor * height), _KERNELS[kernel]
        )
        for layer in np.moveaxis(picture, -1, 0)
    ]
    return _clipped(np.stack(layers, axis=-1))


_KERNELS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def _least_variation(y: np.ndarray, weight: float, iterations: int) -> np.ndarray:
    """Returns the argmin of (5) for layers [c, h, w] whose gradients are coupled."""
    if weight <= 0:
        return y
    dual = ahead = np.zeros((2, *y.shape), np.float32)
    pace = 1.0
    for _ in range(iterations):
        x = y + weight * _divergence(ahead)
        step = ahead + _gradient(x) / np.float32(8 * weight)
        step /= np.maximum(np.sqrt(np.sum(step**2, axis=(0, 1))), 1)
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = step + np.float32((pace - 1) / faster) * (step - dual)
        dual, pace = step, faster
    return y + weight * _divergence(dual)


def _gradient(x: np.ndarray) -> np.ndarray:
    """Differences to the next row and column, none at the last: [2, c, h, w]."""
    gradient = np.zeros((2, *x.shape), x.dtype)
    gradient[0, :, :-1] = x[:, 1:] - x[:, :-1]
    gradient[1, :, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    return gradient


def _divergence(p: np.ndarray) -> np.ndarray:
    """Minus the adjoint of `_gradient`."""
    divergence = p[0] + p[1]
    divergence[:, 1:] -= p[0, :, :-1]
    divergence[:, :, 1:] -= p[1, :, :, :-1]
    return divergence


def layers_of(picture: np.ndarray) -> list[np.ndarray]:
    """Luma and, of three channels, both chromas: float64 [h, w] each."""
    picture = np.asarray(picture, np.float64)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
        raise ValueError(f"a repair takes a picture [h, w, 1 or 3], not {picture.shape}")
    if picture.shape[2] == 1:
        return [picture[..., 0] * np.sqrt(3)]  # as of three equal channels
    return list(np.moveaxis(picture @ _TO_LUMA.T, -1, 0))


def _picture(layers) -> np.ndarray:
    """The inverse of `layers_of`, clipped: float32 [h, w, 1 or 3]."""
    layers = np.stack(layers, axis=-1).astype(np.float64)
    return _clipped(layers / np.sqrt(3) if layers.shape[-1] == 1 else layers @ _TO_LUMA)


def _clipped(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, -1, 1).astype(np.float32)


def _gaussian(layer: np.ndarray, sigma: float) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(layer, sigma, mode="reflect")
