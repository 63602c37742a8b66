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
SAMPLES, NFE = 256, 30


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


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """(mean, deviation) in 8-bit levels of 256 samples of a picture of 40×24."""
    monkeypatch.setattr(sample_fn, "make_predict_x0", exact_predict_x0)
    model = identity_model(
        tmp_path / "model", "jpeg-10", bridge={"beta_max": 1.0}, sampling={"sampler": "ddpm"}
    )
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 24), (25, 25, 25)).save(tmp_path / "in" / "a.png")

    def measure():
        options = Options(nfe=NFE, samples=SAMPLES, tile=16, overlap=0, overwrite=True)
        restore_folder(model, tmp_path / "in", tmp_path / "out", options, quiet=True)
        with Image.open(tmp_path / "out" / "a.png") as image:
            mean = np.asarray(image)
        return mean, np.load(tmp_path / "out" / "a_std.npy")

    return measure


def test_mean_and_deviation_are_the_closed_form_ones(measured):
    mean, std = measured()
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


def test_half_the_noise_is_found_out(measured, monkeypatch):
    monkeypatch.setattr(noise, "window_normal", halved(noise.window_normal))
    _, std = measured()
    assert np.sqrt(np.mean(std**2)) < 0.9 * 127.5 * closed_form_std(NFE)


def test_samples_differ_and_do_not_depend_on_how_many_there_are(measured, tmp_path):
    measured()
    model = tmp_path / "model"
    for count in (1, 2):
        options = Options(nfe=2, samples=count, overwrite=True)
        restore_folder(model, tmp_path / "in", tmp_path / str(count), options, quiet=True)
    with Image.open(tmp_path / "1" / "a.png") as one, Image.open(tmp_path / "2" / "a.png") as two:
        first, mean = np.asarray(one).astype(float), np.asarray(two).astype(float)
    std = np.load(tmp_path / "2" / "a_std.npy")
    assert std.max() > 1
    # of two samples a and b: |a - mean| = |a - b| / 2 = std / √2
    np.testing.assert_allclose(np.abs(first - mean), std / np.sqrt(2), atol=1.01)


def test_the_deviation_of_a_grey_picture_is_of_its_grey(measured, tmp_path):
    Image.new("L", (40, 24), 25).save(tmp_path / "in" / "a.png")
    mean, std = measured()
    assert mean.shape == (24, 40) and std.shape == (24, 40, 1)
    # the three channels are restored apart, and their mean is what is saved
    expected = 127.5 * closed_form_std(NFE) / np.sqrt(3)
    assert np.sqrt(np.mean(std**2)) == pytest.approx(expected, rel=0.05)
