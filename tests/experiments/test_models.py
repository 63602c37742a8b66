"""The models that ship: their log, tables and the study of peers, on made-up figures."""

import json
import pathlib

import numpy as np
import pytest

from experiments.models import crops, large, measure, peers, peers_process, ship
from experiments.models.cards import LOGS
from i2sb_jax import zoo
from i2sb_jax.pictures import decode_rgb, to_uint8
from tests.golden.synthetic import photo


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


def row(task, level, method, psnr, **more):
    scores = {"psnr": {"a": psnr, "b": psnr + 2}, "ssim": {"a": 0.8, "b": 0.9}}
    scores |= {"psnr_y": {"a": psnr + 1, "b": psnr + 3}, "distance": psnr / 10}
    return {"task": task, "level": level, "method": method} | scores | more


PEERS = [
    row("jpeg", 10, "before", 27.0),
    row("jpeg", 10, "restored", 28.5, seconds=4.0, megabytes=700, peak=600),
    row("jpeg", 10, "i2sb-restore", 28.5, seconds=8.0, megabytes=600, peak=700),
    row("jpeg", 10, "BM3D", 28.0, seconds=200.0, megabytes=1000, peak=900),
    row("jpeg", 50, "before", 31.0),
    row("jpeg", 50, "restored", 32.0, seconds=6.0, megabytes=800, peak=650),
    row("sr4x", 4, "before", 27.0),
    row("sr4x", 4, "x4plus", 25.0, seconds=50.0, megabytes=5000, peak=3000),
]


def test_the_tables_of_peers():
    scores, reductions, costs, distances = peers.report(PEERS).split("\n\n")
    assert scores.splitlines() == [
        "| jpeg | 10 | 50 | s | MB |",
        "|---|---|---|---|---|",
        "| before | 28.00, 0.850, 29.00 | 32.00, 0.850, 33.00 |  |  |",
        "| restored | +1.50, 0.850, +1.50 | +1.00, 0.850, +1.00 | 5 | 750 |",
        "| BM3D | +1.00, 0.850, +1.00 |  | 200 | 1000 |",
    ]
    assert reductions.splitlines()[3] == "| x4plus | -2.00, 0.850, -2.00 | 50 | 5000 |"
    assert costs.splitlines()[2:] == [
        "| jpeg | 5 | 0.10 | 750 | 650 |",
        "| jpeg, i2sb-restore | 8 | 0.16 | 600 | 700 |",
        "| BM3D | 200 | 4.00 | 1000 | 900 |",
        "| x4plus | 50 | 1.00 | 5000 | 3000 |",
    ]
    assert distances.splitlines()[3] == "| restored | 2.9 | 3.2 |  |"


def test_rows_that_are_there_are_not_measured_again(tmp_path, monkeypatch, capsys):
    measured = []

    def measure_one(case):
        measured.append((case.level, case.name))
        more = {} if case.weights is None else {"weights": case.weights}
        return row(case.task, case.level, case.name, 30.0, **more) | (
            {} if case.name == "before" else {"seconds": 1.0, "megabytes": 1, "peak": 1}
        )

    monkeypatch.setattr(peers, "measure", measure_one)
    command = ["--output", str(tmp_path / "rows.json"), "--tasks", "deblur", "--levels", "1"]
    peers.main([*command, "--methods", "before", "restored"])
    assert measured == [(1.0, "before"), (1.0, "restored")]
    peers.main([*command, "--methods", "before", "restored", "Wiener"])
    assert measured[2:] == [(1.0, "Wiener")]
    # a model with other weights is measured anew, and nothing else
    monkeypatch.setattr(peers, "weights_of", lambda task: "other")
    peers.main([*command, "--methods", "before", "restored", "Wiener"])
    assert measured[3:] == [(1.0, "restored")]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [each["method"] for each in rows] == ["before", "Wiener", "restored"]


def test_a_repair_tells_what_it_took(tmp_path):
    """Two repairs of the same files: the results are the repairs', the figures the process's."""
    pytest.importorskip("skimage")
    clean = photo(1, 128, 3)[0, :64]
    file = measure.degraded("denoise", "a", to_uint8(clean), 25)
    (tmp_path / "a.png").write_bytes(file.data)
    request = {"task": "denoise", "level": 25, "settings": peers.NON_LOCAL_MEANS["denoise"][25]}
    request |= {"method": "non-local means", "files": [str(tmp_path / "a.png")]}
    request |= {"output": str(tmp_path / "out")}
    (tmp_path / "out").mkdir()
    told = peers_process.run(request)
    assert told["seconds"] > 0
    assert told["peak"] >= told["started"] > 0
    made = decode_rgb((tmp_path / "out" / "a.png").read_bytes())
    seen = decode_rgb(file.data)
    truths = {"a": to_uint8(clean)}
    scores = [peers.scores({"a": x}, truths, border=0) for x in (made, seen)]
    assert scores[0]["psnr"]["a"] > scores[1]["psnr"]["a"] + 1
    with pytest.raises(ValueError, match="no repair is called 'magic'"):
        peers_process.run(request | {"method": "magic"})


def test_windows_do_not_overlap():
    picture = np.arange(130 * 200 * 3, dtype=np.uint32).reshape(130, 200, 3)
    found = peers.windows({"a": picture, "b": picture[:64, :64]})
    assert found.shape == (2 * 3 + 1, 64, 64, 3)
    np.testing.assert_array_equal(found[4], picture[64:128, 64:128])


def test_settings_are_there_for_every_level():
    for task, settings in peers.NON_LOCAL_MEANS.items():
        assert set(settings) == set(measure.LEVELS[task])
    assert set(peers.BM3D_OF_JPEG) == set(measure.LEVELS["jpeg"])
    assert set(peers.RICHARDSON_LUCY) == set(measure.LEVELS["deblur"])


def test_degraded_files_are_the_same_each_time():
    clean = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    for task, level in (("jpeg", 50), ("deblur", 1.0), ("denoise", 15), ("sr4x", 4)):
        first, again = (measure.degraded(task, "a", clean, level) for _ in range(2))
        assert first.data == again.data and first.classical.shape == clean.shape


def test_the_page_has_the_tables_of_the_results():
    text = peers.PAGE.read_text()
    rows = json.loads(pathlib.Path(measure.__file__).with_name("measured.json").read_text())
    assert measure.report(rows) in text
    tables = peers.report(json.loads(peers.RESULTS.read_text()))
    assert peers.with_tables(text, tables) == text, "python -m experiments.models.peers"


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="the page lacks"):
        peers.with_tables("# A page", "| table |")


def test_rows_of_models_are_of_the_weights_that_ship():
    """Where they are not, `python -m experiments.models.peers` measures those rows anew."""
    rows = json.loads(peers.RESULTS.read_text())
    found = {(each["task"], each["weights"]) for each in rows if "weights" in each}
    assert found == {(task, peers.weights_of(task)) for task in zoo.MODELS}


def test_what_is_told_of_a_large_photograph_is_read():
    lines = ["1 picture, 70 tiles", "about 0.63 GB of memory"]
    lines += ["2.16 s an evaluation: about 0:01:52 in all", "evaluation 5/24  0.4 evaluations/s"]
    said = [large.told_in(line) for line in lines]
    assert said == [{}, {"gigabytes": 0.63}, {"seconds": 112.0}, {}]
    assert large.told_in("0.1 s an evaluation: about 7.5 s in all") == {"seconds": 7.5}


def test_crops_of_all_methods_are_of_one_place():
    pytest.importorskip("skimage")
    row = crops.Row("denoise", 25, "astronaut", 32, 144, ("non-local means", "magic"))
    before, repaired, missing, clean = crops.panels(row).values()
    assert missing is None and before.shape == repaired.shape == clean.shape
    assert measure.psnr(repaired, clean) > measure.psnr(before, clean) + 5
    page = np.asarray(crops.sheet([{"a": clean, "b": None}, {"a": clean, "b": before}]))
    side = len(clean)
    np.testing.assert_array_equal(page[16 : 16 + side, :side], clean)
    assert (page[16 : 16 + side, side + 4 : 2 * side] == 255).all()
    np.testing.assert_array_equal(page[-side - 4 : -4, side + 4 : 2 * side + 4], before)
