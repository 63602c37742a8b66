"""Sources with pixels that hold no data: the others are restored as if all did."""

import numpy as np
import pytest
import tifffile

from i2sb_jax.data.scaling import ValueRange, ValueRanges, save_value_ranges
from i2sb_jax.pictures import decode_array
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.cli import evaluations
from tests.restoration.models import identity_model

DATA = {
    "source": "pairs", "path": "x", "target_path": "y", "source_channels": 1, "target_channels": 1,
    "scaling": "fixed", "source_range": (0.0, 4000.0), "target_range": (0.0, 4000.0),
}  # fmt: skip


def model(folder, *, dtype="float32", nodata=(), target_nodata=(), trained=False):
    data = DATA | {"source_nodata": nodata, "target_nodata": target_nodata}
    if trained:  # weights everywhere: a pixel depends on its neighbours
        evaluations.make_model(folder, corruption="pairs", data=data)
    else:
        identity_model(folder, "pairs", data=data)
    source, target = (
        ValueRange(
            channels=1, dtype=dtype, low=(0.0,), high=(4000.0,), suffix=".tif", nodata=values
        )
        for values in (nodata, target_nodata)
    )
    save_value_ranges(folder, ValueRanges(source=source, target=target, scaling="fixed"))
    return folder


def picture(dtype="float32"):
    return np.random.default_rng(0).integers(100, 4000, (50, 70)).astype(dtype)


def holes(share):
    return np.random.default_rng(1).random((50, 70)) < share


def restored(root, model, array, *, tag=None, **options):
    (root / "in").mkdir(parents=True, exist_ok=True)
    tags = [] if tag is None else [(42113, "s", 0, tag, True)]
    tifffile.imwrite(root / "in" / "a.tif", array, extratags=tags, metadata=None)
    options = Options(nfe=3, tile=32, **options)
    outcome = restore_folder(model, root / "in", root / "out", options, quiet=True)
    assert outcome.restored == 1, outcome
    return decode_array((root / "out" / "a.tif").read_bytes(), suffix=".tif", finite=False)[..., 0]


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return model(tmp_path_factory.mktemp("identity"))


@pytest.mark.parametrize("tag, written", [("-9999", -9999.0), (None, np.nan)])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.6])
def test_valid_pixels_are_restored_as_of_a_clean_picture(identity, tmp_path, share, tag, written):
    clean, gone = picture(), holes(share)
    whole = restored(tmp_path / "clean", identity, clean)
    result = restored(
        tmp_path / "holes", identity, np.where(gone, np.float32(written), clean), tag=tag
    )
    assert np.isnan(result[gone]).all()
    np.testing.assert_allclose(result[~gone], whole[~gone], rtol=1e-6)
    np.testing.assert_allclose(result[~gone], clean[~gone], rtol=1e-4)


def test_what_stands_for_no_data_changes_no_pixel(tmp_path):
    """A network that looks at its neighbours sees the same, however holes are written."""
    run = model(tmp_path / "m", trained=True, nodata=(7e4,))
    clean, gone = picture(), holes(0.3)
    results = [
        restored(tmp_path / str(number), run, np.where(gone, np.float32(value), clean), tag=tag)
        for number, (value, tag) in enumerate([(-9999, "-9999"), (np.nan, None), (7e4, None)])
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert np.isnan(results[0][gone]).all() and np.isfinite(results[0][~gone]).all()
    # the control: taken for data, it spreads
    other = restored(tmp_path / "control", run, np.where(gone, np.float32(6e4), clean))
    assert not np.allclose(other[~gone], results[0][~gone], rtol=1e-3)


@pytest.mark.parametrize(
    "target_nodata, tag, expected, told",
    [((65535.0,), "0", 65535, False), ((), "0", 0, True), ((), "-9999", 0, True)],
)
def test_integers_get_the_value_that_the_targets_have(
    tmp_path, capsys, target_nodata, tag, expected, told
):
    run = model(tmp_path / "m", dtype="uint16", target_nodata=target_nodata, nodata=(0.0,))
    clean, gone = picture("uint16"), holes(0.1)
    result = restored(tmp_path / "r", run, np.where(gone, 0, clean).astype(np.uint16), tag=tag)
    assert result.dtype == np.uint16 and (result[gone] == expected).all()
    assert np.abs(result[~gone].astype(int) - clean[~gone]).max() <= 1
    line = capsys.readouterr().err
    assert ("pixels without data, which are 0 in the result" in line) == told


def test_samples_and_arrays_have_no_data_there_either(tmp_path):
    run = model(tmp_path / "m", trained=True)
    clean, gone = picture(), holes(0.2)
    array = np.where(gone, np.float32(np.nan), clean)
    restored(tmp_path / "r", run, array, samples=2)
    std = np.load(tmp_path / "r" / "out" / "a_std.npy")[..., 0]
    np.testing.assert_array_equal(np.isnan(std), gone)
    source = (array / 2000 - 1)[None, :32, :32, None]
    result = Restorer.from_workdir(run)(source, nfe=2)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(source))
    # and what is there does not depend on it
    again = Restorer.from_workdir(run)(np.where(np.isnan(source), np.nan, source), nfe=2)
    np.testing.assert_array_equal(again, result)


def test_a_source_without_data_is_left_out_by_name(identity, tmp_path):
    (tmp_path / "in").mkdir()
    for name, value in (("a", np.nan), ("b", 5.0)):
        array = np.full((20, 20), value, np.float32)
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", array, metadata=None)
    options = Options(nfe=1)
    outcome = restore_folder(identity, tmp_path / "in", tmp_path / "out", options, quiet=True)
    assert outcome.restored == 1 and outcome.unreadable == {"a.tif": "no pixel of it holds data"}
