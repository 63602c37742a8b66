"""Reference numbers, small enough to travel with the tests."""

import functools
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of `name`.npz."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)
