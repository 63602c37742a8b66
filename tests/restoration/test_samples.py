"""Mean and deviation of many samples, on a bridge whose answer is known in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import bridge
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.sampling import noise, sample_fn
from tests.restoration.models import identity_model

# X_0 ~ N(MEAN, STD²) at every pixel, whatever X_1 is; X_1 is a plain picture of this value
MEAN, STD, X1 = 0.1, 0.08, 25 / 127.5 - 1
SAMPLES, NFE = 256, 10


def exact_predict_x0(network, schedule, params, **_):
    """E[X_0 | X_n] of that bridge."""
    del network, params
    fwd, bwd = (jnp.asarray(x) ** 2 for x in (schedule.std_fwd, schedule.std_bwd))

    def predict(xt, step):
        to_x0 = bwd[step] / (fwd[step] + bwd[step])
        noise = fwd[step] * to_x0  # variance of X_n given both ends
        gain = to_x0 * STD**2 / (to_x0**2 * STD**2 + noise)
        return MEAN + gain * (xt - to_x0 * MEAN - (1 - to_x0) * X1)

    return predict


def closed_form_std(nfe):
    """Deviation at the end of a chain of Gaussians: every step is linear in X_n and adds noise."""
    schedule = bridge.make_symmetric_schedule(num_steps=1000, beta_max=1.0)
    fwd, bwd = (np.asarray(x, np.float64) ** 2 for x in (schedule.std_fwd, schedule.std_bwd))
    steps = bridge.step_grid(1000, nfe)
    variance = 0.0
    for prev, now in zip(steps[-2::-1], steps[:0:-1], strict=True):
        to_x0 = bwd[now] / (fwd[now] + bwd[now])
        gain = to_x0 * STD**2 / (to_x0**2 * STD**2 + fwd[now] * to_x0)
        keep = fwd[prev] / fwd[now]
        noise = fwd[prev] * (1 - keep) if prev else 0.0
        variance = ((1 - keep) * gain + keep) ** 2 * variance + noise
    return variance**0.5


def halved(normal):
    return lambda *args, **kwargs: 0.5 * normal(*args, **kwargs)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder whose network knows that bridge; of small windows, so many a call."""
    folder = tmp_path_factory.mktemp("samples") / "model"
    sampling = {"sampler": "ddpm", "batch_size": 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_fn, "make_predict_x0", exact_predict_x0)
        yield identity_model(folder, "jpeg-10", bridge={"beta_max": 1.0}, sampling=sampling)


def restored(model, place, *, mode="RGB", **options):
    """(picture, deviation or None) of samples of a plain picture of 40×24, in 8-bit levels."""
    (place / "in").mkdir(parents=True)
    Image.new(mode, (40, 24), 25 if mode == "L" else (25, 25, 25)).save(place / "in" / "a.png")
    options = Options(**{"nfe": NFE, "samples": SAMPLES, "tile": 16, "overlap": 0} | options)
    restore_folder(model, place / "in", place / "out", options, quiet=True)
    with Image.open(place / "out" / "a.png") as image:
        picture = np.asarray(image)
    std = place / "out" / "a_std.npy"
    return picture, np.load(std) if std.exists() else None


def test_mean_and_deviation_are_the_closed_form_ones(model, tmp_path):
    mean, std = restored(model, tmp_path)
    expected = 127.5 * closed_form_std(NFE)
    assert std.shape == (24, 40, 3) and std.dtype == np.float32
    # the mean over pixels has 54 times less sampling noise than the limit
    assert np.sqrt(np.mean(std**2)) == pytest.approx(expected, rel=0.05)
    assert np.abs(std / expected - 1).max() < 0.3  # 256 samples a pixel: 4.4 % each
    assert mean.mean() == pytest.approx((MEAN + 1) * 127.5, abs=1)


def test_with_many_steps_the_closed_form_is_that_of_the_data():
    coarse, fine = closed_form_std(NFE), closed_form_std(999)
    assert abs(fine / STD - 1) < abs(coarse / STD - 1)
    assert fine == pytest.approx(STD, rel=0.1)


def test_half_the_noise_is_found_out(model, tmp_path, monkeypatch):
    monkeypatch.setattr(noise, "window_normal", halved(noise.window_normal))
    _, std = restored(model, tmp_path)
    assert np.sqrt(np.mean(std**2)) < 0.9 * 127.5 * closed_form_std(NFE)


def test_samples_differ_and_do_not_depend_on_how_many_there_are(model, tmp_path):
    first, _ = restored(model, tmp_path / "1", nfe=2, samples=1)
    mean, std = restored(model, tmp_path / "2", nfe=2, samples=2)
    assert std.max() > 1
    # of two samples a and b: |a - mean| = |a - b| / 2 = std / √2
    np.testing.assert_allclose(np.abs(first - mean.astype(float)), std / np.sqrt(2), atol=1.01)


def test_the_deviation_of_a_grey_picture_is_of_its_grey(model, tmp_path):
    mean, std = restored(model, tmp_path, mode="L")
    assert mean.shape == (24, 40) and std.shape == (24, 40, 1)
    # the three channels are restored apart, and their mean is what is saved
    expected = 127.5 * closed_form_std(NFE) / np.sqrt(3)
    assert np.sqrt(np.mean(std**2)) == pytest.approx(expected, rel=0.05)
