"""The benchmark of reading, with this checkout on both sides."""

import pathlib
import sys

import pytest

pytest.importorskip("tensorflow")

from experiments.benchmarks import reading

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="keeps to one core")
def test_both_sides_read_the_same():
    found = reading.measure(ROOT, pictures=2, batches=1, repeats=1)
    assert found["pictures a run"] == 32
    assert "same pixels" not in found["12 megapixels, windows of 64²"]
    for kind in reading.KINDS:
        for crop in reading.CROPS:
            rates = found[f"{kind}, {crop}"]
            assert rates["same pixels"] is True
            for clock in ("clock", "processor"):
                ratio = rates[clock]["this over older"]
                assert 0 < ratio["lowest"] <= ratio["median"] <= ratio["highest"]


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no i2sb_jax: name another checkout"):
        reading.measure(tmp_path)
