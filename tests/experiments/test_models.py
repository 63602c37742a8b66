"""The models that ship: their log, tables and the study of peers, on made-up figures."""

import json
import pathlib

import numpy as np

from experiments.models import measure, peers, ship
from experiments.models.cards import LOGS
from i2sb_jax import zoo


def test_a_thinned_log_keeps_its_ends():
    lines = [json.dumps({"step": step, "loss": 0.5}) for step in range(100, 1250, 100)]
    kept = [json.loads(line)["step"] for line in ship.thinned("\n".join(lines)).splitlines()]
    assert kept == [100, 500, 1000, 1200]


def test_every_model_has_its_log():
    for name in zoo.MODELS:
        lines = [json.loads(line) for line in (LOGS / f"{name}.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] > 10_000 and lines[-1]["seconds"] <= 400
        assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_table_of_gains():
    row = {"task": "jpeg", "picture": "a", "level": 10, "file": 30.0}
    rows = [row | {"restored": 32.0, "classical": 30.5}, row | {"restored": 31.0, "classical": 31}]
    rows.append({"task": "jpeg", "picture": "a", "level": 0, "restored": 50.0})
    lines = measure.report(rows).splitlines()
    assert lines[2] == "| jpeg | 10 | 30.00 | +0.75 | +1.50 | +1.00 |"
    assert "50.0 dB at least" in lines[3]


def test_the_table_of_peers():
    row = {"task": "denoise", "picture": "a", "level": 15, "file": 24.0, "classical": 32.0}
    row |= {"restored": 33.0, "restored, s/MP": 10.0, "BM3D": 33.5, "BM3D, s/MP": 200.0}
    lines = peers.report([row]).splitlines()
    assert lines[0] == "| denoise | before | classical | restored | BM3D |"
    assert lines[2] == "| 15 | 24.00 | +8.00 | +9.00 (10 s) | +9.50 (200 s) |"


def test_settings_are_there_for_every_level():
    for task, settings in peers.NON_LOCAL_MEANS.items():
        assert set(settings) == set(measure.LEVELS[task])
    assert set(peers.BM3D_OF_JPEG) == set(measure.LEVELS["jpeg"])


def test_degraded_files_are_the_same_each_time():
    clean = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    for task, level in (("jpeg", 50), ("deblur", 1.0), ("denoise", 15), ("sr4x", 4)):
        first, again = (measure.degraded(task, "a", clean, level) for _ in range(2))
        assert first.data == again.data and first.classical.shape == clean.shape


def test_the_page_has_the_tables_of_the_results():
    folder = pathlib.Path(measure.__file__).parent
    text = (folder / "README.md").read_text()
    for name, report in (("measured", measure.report), ("peers", peers.report)):
        rows = json.loads((folder / f"{name}.json").read_text())
        assert report(rows).strip() in text, name
