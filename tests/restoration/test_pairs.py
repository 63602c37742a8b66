"""Paired data restored: files of the targets' type and units, of any number of channels."""

import numpy as np
import pytest

from i2sb_jax.data.scaling import ValueRange, ValueRanges, save_value_ranges
from i2sb_jax.pictures import decode_array, encode_array
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import PREVIEW
from tests.restoration.models import identity_model


def model(folder, *, channels=(1, 1), suffix=".tif", dtype="uint16", high=65535.0, side=None):
    """A run on pairs; `side` is the source's in one picture, None where it has its own."""
    source, target = channels
    data = {
        "source": "pairs", "path": "x", "target_path": "" if side else "y",
        "source_side": side or "left",
        "source_channels": source, "target_channels": target,
        "cond_x1": source != target,
    }  # fmt: skip
    identity_model(folder, "pairs", data=data)
    sides = [
        ValueRange(channels=n, dtype=dtype, low=(0.0,) * n, high=(high,) * n, suffix=suffix)
        for n in channels
    ]
    save_value_ranges(folder, ValueRanges(source=sides[0], target=sides[1], scaling="dtype"))
    return folder


def restore(folder, model, options, **arrays):
    (folder / "in").mkdir()
    for name, array in arrays.items():
        path = folder / "in" / name
        path.write_bytes(encode_array(array, suffix=path.suffix))
    return restore_folder(model, folder / "in", folder / "out", options, quiet=True)


def read(path):
    return decode_array(path.read_bytes(), suffix=path.suffix)


@pytest.mark.parametrize("high", [65535.0, 4000.5])
def test_the_identity_returns_a_deep_tiff_within_one_count(tmp_path, high):
    array = np.random.default_rng(0).integers(0, 4000, (50, 70, 1)).astype(np.uint16)
    options = Options(nfe=5, tile=32)
    outcome = restore(tmp_path, model(tmp_path / "m", high=high), options, **{"a.tif": array})
    assert outcome.restored == 1
    restored = read(tmp_path / "out" / "a.tif")
    assert restored.dtype == np.uint16 and restored.shape == array.shape
    assert np.abs(restored.astype(int) - array).max() <= 1


def test_two_channels_become_one(tmp_path):
    array = np.random.default_rng(0).integers(0, 60000, (40, 33, 2)).astype(np.uint16)
    two_to_one = model(tmp_path / "m", channels=(2, 1))
    restore(tmp_path, two_to_one, Options(nfe=2), **{"a.tif": array})
    restored = read(tmp_path / "out" / "a.tif")
    # the network does nothing, and X_1 is the mean of the channels
    assert np.abs(restored[..., 0] - array.mean(axis=2)).max() <= 1
    preview = Options(nfe=2, preview=True)
    outcome = restore_folder(two_to_one, tmp_path / "in", tmp_path / "p", preview, quiet=True)
    assert outcome.written == (PREVIEW,)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 16, 16, 2)).astype(np.float32)
    restored = Restorer.from_workdir(two_to_one)(images, nfe=2)
    np.testing.assert_allclose(restored, images.mean(axis=3, keepdims=True), atol=1e-5)


def test_floats_keep_their_units_and_format(tmp_path):
    array = np.random.default_rng(0).uniform(0, 300, (20, 20, 1)).astype(np.float32)
    floats = model(tmp_path / "m", suffix=".npy", dtype="float32", high=300.0)
    restore(tmp_path, floats, Options(nfe=1), **{"a.npy": array})
    np.testing.assert_allclose(read(tmp_path / "out" / "a.npy"), array, atol=1e-3)


def test_files_unlike_the_training_ones_are_left_out(tmp_path):
    outcome = restore(
        tmp_path, model(tmp_path / "m"), Options(nfe=1),
        **{"a.tif": np.zeros((9, 9, 1), np.uint8), "b.tif": np.zeros((9, 9, 2), np.uint16)},
    )  # fmt: skip
    assert outcome.restored == 0
    assert "uint8" in outcome.unreadable["a.tif"]
    assert "2 channels" in outcome.unreadable["b.tif"]


def test_what_pairs_do_not_know_is_refused(tmp_path):
    pairs, array = model(tmp_path / "m"), np.zeros((9, 9, 1), np.uint16)
    with pytest.raises(ValueError, match="comes degraded"):
        restore(tmp_path, pairs, Options(nfe=1, degrade=True), **{"a.tif": array})
    (pairs / "value_ranges.json").unlink()
    with pytest.raises(ValueError, match=r"has no value_ranges\.json"):
        restore_folder(pairs, tmp_path / "in", tmp_path / "out", Options(nfe=1))


def test_infinite_values_are_refused_by_number(tmp_path):
    floats = model(tmp_path / "m", suffix=".npy", dtype="float32", high=300.0)
    lost = np.ones((9, 9, 1), np.float32)
    lost[0, :3, 0] = np.nan, np.inf, -np.inf
    outcome = restore(
        tmp_path, floats, Options(nfe=1), **{"a.npy": lost, "b.npy": np.ones_like(lost)}
    )
    assert outcome.restored == 1
    assert "2 of its 81 values are infinite" in outcome.unreadable["a.npy"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_of_pictures_that_hold_a_pair_the_sources_half_is_restored(tmp_path, side, capsys):
    pairs = model(tmp_path / "m", suffix=".png", dtype="uint8", high=255.0, side=side)
    source, target = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 1), np.uint8)
    both = np.concatenate([source, target] if side == "left" else [target, source], axis=1)
    given = {"a.png": both, "odd.png": both[:, 1:]}
    options = Options(nfe=1, side_by_side=True)
    outcome = restore(tmp_path, pairs, options, **given)
    assert "width of 39 pixels" in outcome.unreadable["odd.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png"), source)
    assert "side-by-side" not in capsys.readouterr().err
    # a source on its own comes as it is; what looks like a pair is asked about
    (tmp_path / "in" / "source.png").write_bytes(encode_array(source, suffix=".png"))
    restore_folder(pairs, tmp_path / "in", tmp_path / "whole", Options(nfe=1), quiet=True)
    np.testing.assert_array_equal(read(tmp_path / "whole" / "source.png"), source)
    assert read(tmp_path / "whole" / "a.png").shape == (20, 40, 1)
    (warning,) = capsys.readouterr().err.splitlines()
    assert "a.png is twice as wide as high" in warning and "--side-by-side" in warning


def test_halves_are_refused_where_the_run_had_none(tmp_path):
    options = Options(nfe=1, side_by_side=True)
    with pytest.raises(ValueError, match="side_by_side is for runs that learnt from"):
        restore(tmp_path, model(tmp_path / "m"), options, **{"a.tif": np.zeros((9, 9, 1), "u2")})
