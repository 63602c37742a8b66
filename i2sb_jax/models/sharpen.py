r"""Wiener filters for several blurs, whose results a network chooses from.

For a Gaussian blur of width σ with transfer function H(f) = exp(-2 (π σ f)²), f in cycles a pixel,
over noise that falls with frequency more slowly than pictures do,

    G(f) = H / (H² + r f^p),   f > 0;   G(0) = 1                                                (1)

A photograph's width is unknown, and a chain of 3x3 convolutions learns to undo a wide blur slowly;
given these, a network has only to choose among them at each pixel. The filters are cut off at
`RADIUS` pixels, so the receptive field stays bounded.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

RADIUS = 10  # pixels
_RATIO, _POWER = 0.08, 1.4  # r and p of (1)
_PERIOD = 128  # samples of (1) along a side


@functools.cache
def wiener_kernel(width: float) -> np.ndarray:
    """Returns the filter (1) for a blur of `width` pixels, float32 [21, 21], sum 1."""
    frequency = np.fft.fftfreq(_PERIOD)
    f = np.hypot(frequency[:, None], frequency)
    blur = np.exp(-2 * (np.pi * width * f) ** 2)
    kernel = np.fft.fftshift(np.fft.ifft2(blur / (blur**2 + _RATIO * f**_POWER)).real)
    middle = slice(_PERIOD // 2 - RADIUS, _PERIOD // 2 + RADIUS + 1)
    kernel = kernel[middle, middle]
    return (kernel / kernel.sum()).astype(np.float32)


def sharpened(x: jax.Array, widths: tuple[float, ...]) -> jax.Array:
    """Returns each filter's change of a picture: (G - 1) x, borders mirrored.

    Args:
        x: [batch, h, w, c].
        widths: of the blurs, pixels.

    Returns:
        float32 [batch, h, w, c · len(widths)], the widths of a channel together.
    """
    batch, height, width, channels = x.shape
    x = x.astype(jnp.float32)
    sides = ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))
    padded = jnp.pad(x, sides, mode="symmetric")
    size = padded.shape[1:3]
    kernels = jnp.asarray(np.stack([wiener_kernel(width) for width in widths], axis=-1))
    if any(map(export.is_symbolic_dim, size)):  # which no FFT takes
        change = _convolved(padded, kernels) - x[..., None]
        return change.reshape(batch, height, width, channels * len(widths))
    # By FFT: a CPU's compiler is slow with convolutions of few channels. What wraps is cut away.
    transfer = jnp.fft.rfft2(kernels, size, axes=(0, 1))[None, :, :, None, :]
    spectrum = jnp.fft.rfft2(padded, axes=(1, 2))[..., None]
    filtered = jnp.fft.irfft2(spectrum * transfer, size, axes=(1, 2))
    inner = slice(2 * RADIUS, 2 * RADIUS + height), slice(2 * RADIUS, 2 * RADIUS + width)
    change = filtered[:, inner[0], inner[1]] - x[..., None]
    return change.reshape(batch, height, width, channels * len(widths))


def _convolved(padded: jax.Array, kernels: jax.Array) -> jax.Array:
    """[b, h + 2·RADIUS, w + 2·RADIUS, c] and [21, 21, n] -> [b, h, w, c, n], without a border."""
    planes = jnp.moveaxis(padded, -1, 1)[..., None]  # [b, c, ...]: each channel is a picture
    batch, channels, *sides = planes.shape
    filtered = jax.lax.conv_general_dilated(
        planes.reshape(batch * channels, *sides),
        jnp.flip(kernels, (0, 1))[:, :, None],
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    filtered = filtered.reshape(batch, channels, *filtered.shape[1:])
    return jnp.moveaxis(filtered, 1, 3)
