"""The benchmark of restoring, with this checkout on both sides and a network of few weights."""

import pathlib

import pytest

pytest.importorskip("ml_collections")

from experiments.benchmarks import restoring

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["model_channels=8", "head_channels=8", 'norm="none"', "middle_attention=false"]


@pytest.mark.slow
def test_time_and_memory_are_told(monkeypatch):
    monkeypatch.setattr(restoring, "SIZE", (70, 40))
    monkeypatch.setitem(restoring.MEMORY_SIZES, 12, (100, 90))
    found = restoring.measure_speed(ROOT, older_tile=32, changes=TINY, repeats=1)
    for unit in ("seconds", "processor seconds"):
        assert found[unit]["this, µs a pixel"]["median"] > 0
        assert found[unit]["this over older"]["median"] > 0
    found = restoring.measure_memory(12, changes=TINY)
    assert found["decoded picture, MB"] == 3 * 100 * 90 / 1e6
    assert found["peak, MB"] > found["start-up, MB"] > 100
