"""Pairs on disk that the tests of paired data share."""

import numpy as np

from i2sb_jax.pictures import encode_array
from tests.data.pictures import data_config


def pairs_config(**changes):
    folders = {"path": "sources", "target_path": "targets"}
    return data_config(**{"source": "pairs", "crop": "window", **folders, **changes})


def write_arrays(folder, arrays):
    """Name -> array [h, w, c] as files of those names; returns the folder as str."""
    for name, array in arrays.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_array(array, suffix=path.suffix))
    return str(folder)


def noise(number, *, channels=3, dtype=np.uint8, height=20, width=24, high=None):
    rng = np.random.default_rng(number)
    high = np.iinfo(dtype).max + 1 if high is None else high
    return rng.integers(0, high, (height, width, channels)).astype(dtype)


def write_noise(root, count, *, suffix=".png", stem="p{:02d}"):
    """Two folders of pairs of one value each: sources 2·n, targets 2·n + 1."""
    folders = {"path": 0, "target_path": 1}
    names = [stem.format(number) + suffix for number in range(count)]
    return {
        key: write_arrays(
            root / key,
            {name: np.full((8, 8, 3), 2 * n + more, np.uint8) for n, name in enumerate(names)},
        )
        for key, more in folders.items()
    }
