"""Values of files to [-1, 1] and back, and how their ranges are found and kept."""

import json

import numpy as np
import pytest

from i2sb_jax.data import scaling
from i2sb_jax.data.scaling import (
    ValueRange,
    check_values,
    fit_value_ranges,
    load_value_ranges,
    save_value_ranges,
    survey_pairs,
)
from tests.data.paired import noise, pairs_config


def make_range(dtype, low, high, *, suffix=".tif"):
    return ValueRange(channels=len(low), dtype=dtype, low=low, high=high, suffix=suffix)


def fit(pairs, **changes):
    return fit_value_ranges(survey(pairs), pairs_config(**changes), suffixes=(".tif", ".png"))


def survey(pairs):
    named = ((f"{number}.tif", *pair) for number, pair in enumerate(pairs))
    return survey_pairs(named, count=len(pairs))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("low, high", [(0.0, 255.0), (113.7, 9120.2), (0.0, 65535.0)])
def test_every_value_of_a_file_comes_back(dtype, low, high):
    """Those outside of the range too: nothing is clipped on the way in."""
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1, 7).astype(dtype).reshape(-1, 1, 1)
    values = np.concatenate([values, values[::-1]], axis=-1)
    range_ = make_range(dtype, (low, 0.0), (high, 1000.0))
    unit = range_.to_unit(values)
    assert unit.dtype == np.float32 and range_.from_unit(unit).dtype == dtype
    np.testing.assert_array_equal(range_.from_unit(unit), values)
    assert range_.from_unit(unit + np.float32(0.5)).astype(int).mean() > values.astype(int).mean()


def test_the_ends_become_minus_one_and_one():
    range_ = make_range("uint16", (100.0, 5.0), (4000.0, 6.0))
    unit = range_.to_unit(np.array([[[100, 6]], [[4000, 5]]], np.uint16))
    np.testing.assert_allclose(unit, [[[-1, 1]], [[1, -1]]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_stay_floats_in_their_units(dtype):
    range_ = make_range(dtype, (-3.0,), (7.0,))
    values = np.linspace(-5, 20, 99, dtype=dtype).reshape(-1, 1, 1)
    back = range_.from_unit(range_.to_unit(values))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, values, atol=1e-5)


def test_integers_are_rounded_and_clipped_to_their_dtype():
    range_ = make_range("uint8", (0.0,), (255.0,))
    got = range_.from_unit(np.array([[[-1.5]], [[1.5]], [[0.0]]], np.float32))
    assert got.ravel().tolist() == [0, 255, 128]


def test_dtype_ranges():
    ranges = fit([(noise(0, channels=2, dtype=np.uint16), noise(1))])
    assert ranges.source == make_range("uint16", (0.0, 0.0), (65535.0, 65535.0))
    assert ranges.target == make_range("uint8", (0.0,) * 3, (255.0,) * 3, suffix=".png")


def test_fixed_ranges():
    ranges = fit(
        [(noise(0, channels=2, dtype=np.uint16), noise(1))],
        scaling="fixed",
        source_range=(0.0, 4095.0),
        target_range=(10.0, 200.0),
    )
    assert ranges.source.low == (0.0, 0.0) and ranges.source.high == (4095.0, 4095.0)
    assert ranges.target.low == (10.0,) * 3 and ranges.target.high == (200.0,) * 3


def test_percentiles_are_of_each_channel_over_all_pairs():
    rng = np.random.default_rng(0)
    scale = np.array([1000, 30000])
    pairs = [
        ((rng.random((64, 64, 2)) * scale).astype(np.uint16), rng.random((64, 64, 1)))
        for _ in range(20)
    ]
    ranges = fit(pairs, scaling="percentiles", percentiles=(1.0, 99.0))
    for side, arrays in zip((ranges.source, ranges.target), zip(*pairs, strict=True), strict=True):
        values = np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays])
        np.testing.assert_allclose(side.low, np.percentile(values, 1, axis=0))
        np.testing.assert_allclose(side.high, np.percentile(values, 99, axis=0))


def test_percentiles_of_a_bounded_sample_are_near_and_always_the_same(monkeypatch):
    pairs = [(noise(i, dtype=np.uint16, height=64, width=64),) * 2 for i in range(20)]
    whole = fit(pairs, scaling="percentiles", percentiles=(5.0, 95.0))
    monkeypatch.setattr(scaling, "MAX_VALUES", 20 * 1000)
    part, again = (fit(pairs, scaling="percentiles", percentiles=(5.0, 95.0)) for _ in range(2))
    assert part == again != whole
    np.testing.assert_allclose(part.source.high, whole.source.high, rtol=0.02)


def test_what_cannot_be_scaled():
    floats = np.ones((4, 4, 1), np.float32)
    with pytest.raises(ValueError, match=r"'dtype': float32 files .* 'fixed'"):
        fit([(floats, floats)])
    flat = np.stack([noise(0)[..., 0], np.full((20, 24), 7, np.uint8)], axis=-1)
    with pytest.raises(ValueError, match="channel 1 of the target are 7 and 7"):
        fit([(noise(0), flat)], scaling="percentiles")
    nowhere = np.ma.masked_all_like(floats)
    with pytest.raises(ValueError, match="channel 0 of the source holds no data in any file"):
        fit([(nowhere, noise(0))], scaling="percentiles")


def test_jpeg_targets_are_written_as_png():
    assert make_range("uint8", (0.0,), (1.0,), suffix=".jpeg").output_suffix == ".png"
    assert make_range("uint8", (0.0,), (1.0,)).output_suffix == ".tif"


def test_ranges_in_a_folder(tmp_path):
    ranges = fit([(noise(0, channels=2, dtype=np.uint16), noise(1))], scaling="percentiles")
    save_value_ranges(tmp_path, ranges)
    assert load_value_ranges(tmp_path) == ranges
    with pytest.raises(ValueError, match=r"none has no value_ranges\.json"):
        load_value_ranges(tmp_path / "none")


def change(values, side, **changes):
    return {**values, side: {**values[side], **changes}}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: {},
        lambda values: [],
        lambda values: change(values, "source", dtype="uint17"),
        lambda values: change(values, "target", low=[0.0]),
        lambda values: change(values, "target", low="ab"),
        lambda values: change(values, "source", more=1),
        # of a stranger: what would fail, or write elsewhere, in the middle of restoring
        lambda values: change(values, "source", dtype="object"),
        lambda values: {**values, "scaling": "\x1b[2J"},
        lambda values: change(values, "target", suffix="/../x.png"),
        lambda values: change(values, "target", suffix=None),
        lambda values: change(values, "target", low=[1.0] * 3, high=[0.0] * 3),
        lambda values: change(values, "target", high=[float("inf")] * 3),
        lambda values: change(values, "target", low=[float("nan")] * 3),
    ],
)
def test_ranges_that_are_none(tmp_path, spoil):
    save_value_ranges(tmp_path, fit([(noise(0), noise(1))]))
    file = tmp_path / scaling.FILE
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    with pytest.raises(ValueError, match=r"value_ranges\.json holds no value ranges") as error:
        load_value_ranges(tmp_path)
    assert "\n" not in str(error.value)


def told_of(pairs, **changes):
    """Lines about values that training had better not meet."""
    surveys = survey(pairs)
    ranges = fit_value_ranges(surveys, pairs_config(**changes), suffixes=(".tif", ".png"))
    return check_values(surveys, ranges)


def floats(*, size=20, offset=0.0, spoil=()):
    """[size, size, 1] in [0, 1] and an offset, with some values in place of the first ones."""
    array = np.random.default_rng(0).random((size, size, 1)).astype(np.float32) + np.float32(offset)
    array.reshape(-1)[: len(spoil)] = spoil
    return array


def test_one_value_that_takes_the_range_is_an_error():
    """-9999 in 400 pixels maps all others to nearly 1."""
    fine, spoilt = floats(), floats(spoil=(-9999.0,))
    assert told_of([(fine, fine)], scaling="percentiles") == []
    for value in (-9999.0, 32767.0, -3.4e38, 1e5):
        with pytest.raises(ValueError) as error:
            told_of([(fine, fine), (floats(spoil=(value,)), fine)], scaling="percentiles")
        (line,) = str(error.value).splitlines()
        assert line.startswith("1.tif: ") and "in channel 0 of the source" in line
        assert "all but vanish" in line and "data.source_nodata=(" in line
    # and a mask makes good
    masked = np.ma.masked_equal(spoilt, -9999)
    assert told_of([(masked, fine)], scaling="percentiles") == []


@pytest.mark.parametrize("value", [-9999.0, 1e6, -3.4e38])
def test_values_far_outside_of_a_fixed_range_are_told(value):
    fine = floats()
    (line,) = told_of([(fine, floats(spoil=(value,)))], scaling="fixed")
    assert line.startswith("0.tif: ") and "channel 0 of the target" in line
    assert "data.target_nodata=(" in line
    assert told_of([(fine, fine)], scaling="fixed") == []


def test_customary_values_are_told_where_they_are_near():
    terrain = np.random.default_rng(0).integers(0, 3000, (30, 30, 1)).astype(np.int16)
    holes = terrain.copy()
    holes[:3] = -9999
    (line,) = told_of([(terrain, holes)], scaling="fixed", source_range=(0.0, 3000.0),
                      target_range=(0.0, 3000.0))  # fmt: skip
    assert "-9999" in line and "customary for no data" in line


PLACES = np.arange(900).reshape(30, 30, 1)


@pytest.mark.parametrize(
    "side",
    [np.where(PLACES < 3, 65535, 100 + PLACES), PLACES % 7 == 0, PLACES**2 // 20],
    ids=["hot pixels", "two values", "a long tail"],
)
def test_data_as_they_come_are_no_error(side):
    """Hot pixels are told and cut off by the percentiles, as they always were."""
    side = side.astype(np.uint16)
    told = told_of([(side, side)] * 2, scaling="percentiles", percentiles=(0.5, 99.5))
    assert len(told) <= 2 and all("65535" in line for line in told)


def test_no_data_is_written_as_the_target_has_it():
    own = make_range("float32", (0.0,), (1.0,))
    assert np.isnan(own.nodata_value(otherwise=(-9999.0,)))
    whole = make_range("uint16", (0.0,), (1.0,))
    assert whole.nodata_value(otherwise=(-9999.0, 7.0)) == 7 and whole.nodata_value() == 0
    named = ValueRange(
        channels=1, dtype="int16", low=(0.0,), high=(1.0,), suffix=".tif", nodata=(-5.0,)
    )
    assert named.nodata_value(otherwise=(-9999.0,)) == -5
