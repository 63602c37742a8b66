"""Model folders for tests of restoring: networks that return zero, and thus X_1 under OT-ODE."""

import numpy as np
from PIL import ExifTags, Image

from i2sb_jax import interop
from tests.training.tiny import fresh_params, make_config


def identity_model(folder, corruption="blur-gauss-exact", **overrides):
    """A fresh network predicts ε = 0: every X̂_0 is X_t, and the OT-ODE gives back X_1."""
    overrides = {"bridge": {"deterministic": True}, "sampling": {"sampler": "ode"}} | overrides
    config = make_config(corruption=corruption, **overrides)
    interop.save_model(folder, config, fresh_params(config))
    return folder


def lying():
    """Returns EXIF of a camera that was turned: the first row is the right side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def photo(height, width, *, seed=0):
    """uint8 [h, w, 3], smooth with a little noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 40
    waves = [np.sin(rows * a + columns * b) for a, b in rng.uniform(0.3, 1.5, (3, 2))]
    noise = rng.normal(0, 4, (height, width, 3))
    return np.uint8(np.clip(np.stack(waves, axis=-1) * 90 + 128 + noise, 0, 255))
