"""The synthetic inputs and weights behind the golden files, reproducible from NumPy alone."""

import zlib

import numpy as np


def photo(count: int, size: int, seed: int) -> np.ndarray:
    """Image-like test inputs: waves, discs and a little noise.

    Returns float32 [count, size, size, 3] in [-1, 1].
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    axis = np.linspace(0, 1, size)
    yy, xx = np.meshgrid(axis, axis, indexing="ij")
    images = np.zeros((count, size, size, 3))
    for i in range(count):
        image = np.zeros((size, size, 3))
        for _ in range(6):
            freq = rng.uniform(0.5, 12, 2)
            phase = rng.uniform(0, 6.28, 3)
            amplitude = rng.uniform(0.05, 0.35, 3)
            angle = 2 * np.pi * (freq[0] * yy + freq[1] * xx)
            image += amplitude * np.cos(angle)[..., None] * np.cos(phase) + amplitude * np.sin(
                angle
            )[..., None] * np.sin(phase)
        for _ in range(4):
            centre = rng.uniform(0, 1, 2)
            radius = rng.uniform(0.05, 0.3)
            colour = rng.uniform(-1, 1, 3)
            inside = ((yy - centre[0]) ** 2 + (xx - centre[1]) ** 2 < radius**2)[..., None]
            image = np.where(inside, colour, image)
        image += 0.02 * rng.standard_normal(image.shape)
        images[i] = np.clip(image, -1, 1)
    return images.astype(np.float32)


def hashed_unet_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that a golden U-Net holds under the PyTorch `name`; float32, PyTorch layout."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) >= 2:
        return z / np.sqrt(np.prod(shape[1:])).astype(np.float32)
    if name.endswith("weight"):
        return 1 + np.float32(0.1) * z
    return np.float32(0.1) * z


def hashed_classifier_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As above, for the Inception and ResNet-50 goldens (batch-norm variances kept positive)."""
    weight = hashed_unet_weight(name, shape)
    if name.endswith("running_var"):
        return np.abs(weight) * 3 + 1
    if weight.ndim >= 2:
        return weight * np.float32(2**0.5)
    return weight
