"""Same picture, same seed: the same pixels alone, among seven, on one device and on four."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.restoration import Restorer
from tests.restoration.models import photo
from tests.restoration.test_restorer import random_params
from tests.training.tiny import make_config

BIN = pathlib.Path(sys.executable).parent
SIZES = [(40, 24), (16, 16), (33, 50), (64, 20), (10, 10), (48, 48), (17, 31)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A run whose network does something, and seven pictures of mixed sizes."""
    root = tmp_path_factory.mktemp("company")
    config = make_config(corruption="jpeg-10", sampling={"batch_size": 3})
    interop.save_model(root / "model", config, jax.device_get(random_params(config)))
    (root / "seven").mkdir()
    (root / "one").mkdir()
    for number, size in enumerate(SIZES):
        Image.fromarray(photo(*size, seed=number)).save(root / "seven" / f"{number}.png")
    (root / "one" / "2.png").write_bytes((root / "seven" / "2.png").read_bytes())
    return root


def restore(project, source, devices, *options):
    """File name -> bytes of what the tool writes."""
    out = project / f"{source}-{devices}{''.join(options)}"
    subprocess.run(
        [BIN / "i2sb-restore", "--model", os.fspath(project / "model"),
         "--input", os.fspath(project / source), "--output", os.fspath(out), "--nfe", "3",
         *options],
        env=os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
            # XLA's CPU backend sums by threads, and brings one at least for each device
            "NPROC": "4",
        },
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


def test_the_same_pixels_in_any_company_and_on_any_devices(project):
    seven, alone = restore(project, "seven", 1), restore(project, "one", 1)
    assert len(seven) == 7
    assert alone == {"2.png": seven["2.png"]}
    assert restore(project, "seven", 4) == seven
    other = restore(project, "seven", 1, "--seed=1")
    assert all(other[name] != seven[name] for name in seven)


def test_tiles_see_the_noise_that_the_whole_picture_sees(project):
    """With a network that looks at one pixel only, tiling must not be noticed at all."""
    config = make_config(corruption="jpeg-10")
    restorer = Restorer(config, jax.tree.map(np.zeros_like, random_params(config)))
    image = photo(48, 80).astype(np.float32)[None] / 127.5 - 1
    whole = restorer(image, nfe=3, names=["a"])[0]
    from i2sb_jax.sampling import Window, picture_key

    key = picture_key(0, "a")
    for row, column in ((0, 0), (16, 32), (32, 64)):
        part = image[0, row : row + 16, column : column + 16]
        window = Window(key, part, origin=np.array([row, column], np.int32))
        (samples,) = restorer.engine.stream([window], config.choose_sampling(nfe=3))
        np.testing.assert_allclose(
            np.clip(samples.x0, -1, 1), whole[row : row + 16, column : column + 16], atol=1e-6
        )
