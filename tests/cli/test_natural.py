"""i2sb-restore on what people have, a task each; and a network that gives NaN."""

import sys

import imagecodecs
import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.cli import restore
from i2sb_jax.corruptions import enlarge_smoothly
from tests.restoration.models import identity_model, photo


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """i2sb-restore on tmp_path/in; status, its output folder and stderr."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    (tmp_path / "in").mkdir()

    def call(model, *options):
        arguments = ["--model", model, "--input", tmp_path / "in", "--output", tmp_path / "out"]
        arguments += ["--nfe", "1", *options]
        monkeypatch.setattr(sys, "argv", ["i2sb-restore", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            restore.main()
        return stop.value.code, tmp_path / "out", capfd.readouterr().err

    return call


def read(path):
    return imagecodecs.png_decode(path.read_bytes())


@pytest.mark.parametrize("task", ["blur-photo-0-2", "noise-5-20", "real", "jpeg-file"])
def test_a_picture_is_taken_as_it_is(run, tmp_path, task):
    deep = photo(40, 25).astype(np.uint16) * 257 + 3
    (tmp_path / "in" / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    Image.fromarray(photo(20, 30)[..., 0]).save(tmp_path / "in" / "grey.png")
    status, out, _ = run(identity_model(tmp_path / "model", task))
    assert status == 0
    restored = read(out / "deep.png")
    assert restored.dtype == np.uint16
    assert np.abs(restored.astype(int) - deep).max() <= 1
    np.testing.assert_array_equal(read(out / "grey.png"), photo(20, 30)[..., 0])


@pytest.mark.parametrize("factor", [2, 4])
def test_a_small_picture_is_enlarged_smoothly_whatever_the_tiles(run, tmp_path, factor):
    small = np.dstack([photo(21, 13), np.full((21, 13), 200, np.uint8)])
    Image.fromarray(small).save(tmp_path / "in" / "a.png")
    model = identity_model(tmp_path / "model", f"sr{factor}x-photo")
    status, out, _ = run(model, "--tile", "32", "--overlap", "16")
    assert status == 0
    restored = read(out / "a.png")
    assert restored.shape == (factor * 21, factor * 13, 4) and (restored[..., 3] == 200).all()
    values = photo(21, 13).astype(np.float32) / np.float32(127.5) - 1
    whole = np.clip(np.rint((enlarge_smoothly(values, factor) + 1) * 127.5), 0, 255)
    assert np.abs(restored[..., :3] - whole).max() <= 1


def test_float_noise_is_restored_from_arrays_into_arrays(run, tmp_path):
    noisy = photo(20, 30).astype(np.float32) / 127.5 - 1
    noisy += np.float32(0.3) * np.random.default_rng(0).standard_normal(noisy.shape, np.float32)
    assert noisy.max() > 1.1
    np.save(tmp_path / "in" / "a.npy", noisy)
    np.save(tmp_path / "in" / "scaled.npy", np.float32(127.5) * (noisy + 1))
    Image.fromarray(photo(20, 30)).save(tmp_path / "in" / "b.png")
    status, out, err = run(identity_model(tmp_path / "model", "noise-float-0-50"))
    assert status == 1 and "scaled.npy is left out: images are not in [-1, 1], largest" in err
    restored = np.load(out / "a.npy")
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, np.clip(noisy, -1, 1), atol=1e-5)
    np.testing.assert_array_equal(read(out / "b.png"), photo(20, 30))
    assert sorted(path.name for path in out.iterdir()) == [
        *("a.npy", "b.png", "restore.json", "restore.results.jsonl")
    ]


def poisoned(folder, value):
    """A model folder of which one number is not finite, or too large to be computed with."""
    file = identity_model(folder, "jpeg-10") / "model.safetensors"
    params = jax.tree.map(np.array, interop.load_safetensors(file))
    if np.isfinite(value):
        params["conv_out"]["kernel"][:] = value
    else:
        params["conv_in"]["bias"][0] = value
    interop.save_safetensors(file, params)
    return folder


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("options", [(), ("--preview",), ("--degrade",)], ids=str)
def test_a_network_that_gives_nan_writes_nothing(run, tmp_path, value, options):
    Image.fromarray(photo(40, 30)).save(tmp_path / "in" / "a.png")
    status, out, err = run(poisoned(tmp_path / "model", value), *options)
    last = err.splitlines()[-1]
    assert status == 3
    assert last.startswith("error: a.png") and str(tmp_path / "model") in last
    assert ("conv_in/bias" in last) != (value == 3e38)
    assert not out.exists()


def test_what_was_finished_before_stays(run, tmp_path):
    Image.fromarray(photo(20, 20)).save(tmp_path / "in" / "a.png")
    good = identity_model(tmp_path / "model", "jpeg-10")
    assert run(good)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    status, out, _ = run(poisoned(tmp_path / "model", np.nan), "--overwrite")
    assert status == 3
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
