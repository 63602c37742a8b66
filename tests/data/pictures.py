"""Small pictures, configurations and stand-ins that the data tests share."""

import io

import numpy as np
from PIL import Image

from i2sb_jax.config import DataConfig
from i2sb_jax.corruptions import Corrupted
from i2sb_jax.data import MissingPicture, Record


def data_config(**changes):
    values = {
        "source": "photos",
        "path": "",
        "eval_path": "",
        "eval_fraction": 0.25,
        "eval_list": "",
        "tfds_name": "",
        "tfds_split": "train",
        "tfds_eval_split": "test",
        "crop": "resize",
        "flip": True,
        "quarter_turns": False,
        "shuffle_channels": False,
        "scales": (1.0,),
        "grain": (0.0, 0.0),
        "max_unreadable": 0,
        "target_path": "",
        "eval_target_path": "",
        "source_side": "left",
        "source_channels": 3,
        "target_channels": 3,
        "scaling": "dtype",
        "source_range": (0.0, 1.0),
        "target_range": (0.0, 1.0),
        "source_nodata": (),
        "target_nodata": (),
        "percentiles": (0.1, 99.9),
        "group_pattern": "",
        "cond_x1": False,
    }
    return DataConfig(**{**values, **changes})


def picture(number, *, height=24, width=32):
    """Noise of its own for every number, uint8 [height, width, 3]."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def png(number, **size):
    buffer = io.BytesIO()
    Image.fromarray(picture(number, **size)).save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(folder, count, **size):
    """Files 000.png, 001.png, …; returns the folder as str."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03d}.png").write_bytes(png(number, **size))
    return str(folder)


class ListSource:
    """Pictures in memory; broken ones are given as bytes that are none, missing ones as None."""

    def __init__(self, images):
        self.images = images
        self.reads = []

    def __len__(self):
        return len(self.images)

    def read(self, index):
        self.reads.append(index)
        name = f"p{index}"
        if self.images[index] is None:
            raise MissingPicture(name, FileNotFoundError(2, "No such file or directory"))
        return Record(name=name, image=self.images[index], label=index)


def flat_source(count, *, broken=(), missing=()):
    """Grey squares whose value is their number; label and name tell it too."""
    images = [np.full((8, 8, 3), number, np.uint8) for number in range(count)]
    for number in broken:
        images[number] = b"broken"
    for number in missing:
        images[number] = None
    return ListSource(images)


def tell_key(key, images, *, index=None):
    """A corruption that shows what it was called with: seeds as the mask, index as the image."""
    import tensorflow as tf

    seeds = tf.reshape(tf.cast(key[:, 0] % 10007, tf.float32), [-1, 1, 1, 1])
    mask = seeds * tf.ones_like(images[..., :1])
    shown = images
    if index is not None:
        shown = tf.reshape(tf.cast(index, tf.float32), [-1, 1, 1, 1]) * tf.ones_like(images)
    return Corrupted(shown, mask, None)
