"""Arrays as people have them: pixels of whole numbers, or floats that had better be [-1, 1]."""

import jax.numpy as jnp
import numpy as np

from i2sb_jax.finite import non_finite
from i2sb_jax.pictures import from_pixels
from i2sb_jax.types import Array, NonFiniteError, Params

_DEPTHS = {"uint8": 255, "uint16": 65535}


def from_array(images: Array, *, bound: float | None, known: np.ndarray | None = None) -> Array:
    """Returns images as float32 in [-1, 1]: pixels by their type's range, floats as they are.

    Args:
        images: uint8, uint16 or floats, any shape.
        bound: the largest |x| of floats that are still taken for [-1, 1]; None: there is none, and
            whole numbers have no known scale (paired data).
        known: bool, fits `images`: False in holes, where anything may stand.

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: another type, values that are not finite, or ones beyond the bound; names the
            value and the remedy.
    """
    images = np.asarray(images)
    dtype = images.dtype
    if bound is not None and dtype.name in _DEPTHS:
        return from_pixels(images)
    if not jnp.issubdtype(dtype, jnp.floating):
        wanted = "uint8 or uint16 pixels, or floats in [-1, 1]"
        if bound is None:
            wanted = "floats, scaled to [-1, 1] as the run's value_ranges.json says"
        raise ValueError(f"images are {dtype}: pass {wanted}")
    images = images.astype(np.float32)
    held = images if known is None else images[np.broadcast_to(known, images.shape)]
    if not np.isfinite(held).all():
        lost = held.size - np.isfinite(held).sum()
        raise ValueError(f"{lost} of the {held.size} values of the images are NaN or infinite")
    if bound is not None and held.size:
        _check_bound(held, bound)
    return images


def hole_mask(mask: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a mask of images of some shape as float32 [batch, h, w, 1]; ValueError if none."""
    mask, wanted = np.asarray(mask, np.float32), (*shape[:3], 1)
    if mask.ndim != 4 or any(n not in (1, w) for n, w in zip(mask.shape, wanted, strict=True)):
        raise ValueError(f"mask has shape {mask.shape}, must be {wanted}, or 1 for batch")
    return np.broadcast_to(mask, wanted)


def require_finite(x0: np.ndarray, params: Params, *, name: str, source: str) -> None:
    """Raises NonFiniteError, in one line, where what was restored of a picture is not finite.

    Args:
        x0: of the picture, or of a window of it.
        params: of the network, to be looked at only then.
        name: of the picture.
        source: where the parameters are from.
    """
    finite = np.isfinite(x0)
    if finite.all():
        return
    found = non_finite(params)
    reason = f" (of its weights {found})" if found else ""
    raise NonFiniteError(
        f"{name}: the network of {source}{reason} gave NaN or infinity, "
        f"{x0.size - finite.sum()} of {x0.size} values, and nothing of this picture is kept"
    )


def _check_bound(values: np.ndarray, bound: float) -> None:
    low, high = values.min(), values.max()
    largest = high if high >= -low else low
    if abs(largest) <= bound:
        return
    remedy = "scale them to [-1, 1]"
    for dtype, most in _DEPTHS.items():
        if low >= 0 and high <= most:
            remedy = f"pass {dtype}, or scale by x / {most / 2} - 1"
            break
    raise ValueError(f"images are not in [-1, 1], largest value {largest}: {remedy}")
