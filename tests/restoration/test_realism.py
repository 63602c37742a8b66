"""Between the mean and a sample: in files, in tiles, in arrays, with samples and settings."""

import json

import imagecodecs
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.sampling import sample_fn
from tests.restoration.models import identity_model, photo
from tests.training.tiny import make_config

NFE = 2


def wave(network, schedule, params, **_):
    """Predictions that are far apart on the way, of no network: there is little to compile."""
    del network, schedule, params
    return lambda xt, step: 0.6 * jnp.sin(3 * xt + jnp.asarray(step, jnp.float32) / 1000)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder of an SDE."""
    folder = tmp_path_factory.mktemp("realism") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_fn, "make_predict_x0", wave)
        sampling = {"sampler": "ddpm", "nfe": NFE, "batch_size": 4}
        yield identity_model(folder, "jpeg-10", bridge={"beta_max": 1.0}, sampling=sampling)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(photo(20, 40)).save(path)
    return path


def restored(model, picture, output, **options):
    """uint8 [h, w, 3], in windows as arrays are, so that programs are shared."""
    options = Options(tile=16, overlap=0, **options)
    restore_folder(model, picture, output, options, quiet=True)
    return imagecodecs.png_decode((output / "a.png").read_bytes())


def test_files_in_tiles_lie_between(model, picture, tmp_path):
    by_realism = {
        realism: restored(model, picture, tmp_path / str(realism), realism=realism).astype(float)
        for realism in (0.0, 0.5, 1.0)
    }
    first, half, last = by_realism.values()
    inside = (first > 0) & (first < 255) & (last > 0) & (last < 255)  # what was not clipped
    assert inside.mean() > 0.5 and np.abs(first - last)[inside].max() > 5
    # both ends were rounded, and what was mixed once more
    assert np.abs(half - (first + last) / 2)[inside].max() <= 1
    for realism, noted in ((1.0, None), (0.5, 0.5)):
        settings = json.loads((tmp_path / str(realism) / "restore.json").read_text())
        assert settings.get("realism") == noted
    with pytest.raises(ValueError, match=r"realism is 0.5 there, 0.25 here"):
        restored(model, picture, tmp_path / "0.5", realism=0.25)


def test_arrays(model):
    restorer, images = Restorer.from_workdir(model), photo(16, 16)[None]
    first, half, last = (restorer(images, realism=realism) for realism in (0, 0.5, 1))
    inside = (np.abs(first) < 1) & (np.abs(last) < 1)
    np.testing.assert_allclose(half[inside], (first + last)[inside] / 2, atol=1e-5)
    assert inside.mean() > 0.5 and np.abs(first - last)[inside].max() > 0.05
    with pytest.raises(ValueError, match=r"^realism=2 must lie in 0 … 1"):
        restorer(images, realism=2)
    with pytest.raises(ValueError, match=r"^realism=0.5 lies between .*nfe=1"):
        restorer(images, realism=0.5, nfe=1)


def test_each_sample_is_mixed(model, picture, tmp_path):
    """The first prediction is the same of all, so that half of the deviation is left."""
    deviation = {}
    for realism in (1.0, 0.5):
        output = tmp_path / str(realism)
        restored(model, picture, output, realism=realism, samples=2)
        deviation[realism] = np.load(output / "a_std.npy")
    np.testing.assert_allclose(deviation[0.5], deviation[1.0] / 2, atol=1e-3)
    assert deviation[1.0].max() > 1


def test_where_nothing_is_drawn():
    config = make_config(corruption="jpeg-10")
    assert not Options(realism=0.5).resolve(config).is_seed_idle(config)
    assert Options(realism=0.0).resolve(config).is_seed_idle(config)
    with pytest.raises(ValueError, match=r"^samples=2 .* the first evaluation \(realism=0.0\)"):
        Options(realism=0.0, samples=2).resolve(config)
    with pytest.raises(ValueError, match=r"^realism=0.5 lies between .*nfe=1"):
        Options(realism=0.5, nfe=1).resolve(config)
    # a run that has it goes on by one evaluation where a person asks for no more
    always = make_config(corruption="jpeg-10", sampling={"realism": 0.5})
    assert Options(nfe=1).resolve(always).nfe == 1
    assert Options().resolve(always).settings()["realism"] == 0.5
