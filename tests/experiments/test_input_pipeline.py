"""The benchmark of the input pipeline, on a few pictures."""

import json
import os

import pytest

pytest.importorskip("tensorflow")

from experiments.benchmarks import input_pipeline


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_small_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(input_pipeline, "_BATCH", 2)
    before = os.sched_getaffinity(0)
    options = ["--tasks", "sr4x-pool", "--sources", "synthetic", "--pictures", "2"]
    options += ["--batches", "1", "--repeats", "2", "--output", str(tmp_path)]
    try:
        table = input_pipeline.main(input_pipeline.parser().parse_args(options))
        assert len(os.sched_getaffinity(0)) == table["cores"] == 1
    finally:
        os.sched_setaffinity(0, before)
    assert json.loads((tmp_path / "input_pipeline.json").read_text()) == table
    told = capsys.readouterr().out
    alone, synthetic = input_pipeline.ALONE, f"{input_pipeline.ALONE}, synthetic"
    assert list(table["runs"]) == [alone, "sr4x-pool", synthetic]
    for name, row in table["runs"].items():
        assert 0 < row["lowest"] <= row["pictures a second"] <= row["highest"]
        assert row["by processor time"] > 0 and f"{name:26} {row['pictures a second']:7.1f}" in told
    # as photographs of this size are, and unlike flat pictures
    assert 50 < table["kilobytes a JPEG"] < 200
