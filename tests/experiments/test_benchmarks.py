"""The benchmarks: their clock, counts, fits and tables, and the scripts at the smallest size."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import (
    __main__ as command,
)
from experiments.benchmarks import (
    costs,
    gpu,
    layers,
    networks,
    operations,
    pace,
    report,
    sampler,
    timing,
)
from i2sb_jax.models import adm_256

TINY = networks.SIZES["tiny"]


def test_sides_run_in_turn_and_backwards_every_other_round():
    calls = []

    def side(name):
        return lambda runs: calls.append((name, runs)) or float(len(calls))

    seconds = timing.alternate({"a": side("a"), "b": side("b")}, rounds=3, runs={"a": 1, "b": 4})
    assert calls[:2] == [("a", 2), ("b", 2)]  # warm-up
    assert calls[2::2] == [(name, 1) for name in "abbaab"]  # not timed
    assert calls[3::2] == [("a", 1), ("b", 4), ("b", 4), ("a", 1), ("a", 1), ("b", 4)]
    assert seconds == {"a": [4, 10, 12], "b": [6, 8, 14]}
    with pytest.raises(ValueError, match="rounds=0"):
        timing.alternate({"a": side("a")}, rounds=0)


def test_a_run_is_timed_over_all_runs():
    now = [0.0]

    def function():
        now[0] += 3
        return jnp.zeros(1)

    assert timing.timed(function, clock=lambda: now[0])(4) == 3


def test_ratios_are_taken_round_by_round():
    # twice as slow throughout, on a machine that became ten times slower: the ratio is 2
    assert timing.ratio([2, 20, 200], [1, 10, 100]) == {"median": 2, "lowest": 2, "highest": 2}
    assert timing.ratio([1, 8], [1, 2]) == {"median": 2.5, "lowest": 1, "highest": 4}
    expected = {"median": 3, "lower quartile": 2, "upper quartile": 4}
    assert timing.spread([5, 1, 3, 2, 4]) == expected


def test_the_line_through_nfe_is_found():
    def row(nfe):
        spread, one = {"median": 0.3 + 0.07 * nfe}, {"median": 0.05}
        return {"nfe": nfe, "seconds": spread, "seconds of a pass": one}

    line = sampler.line([row(nfe) for nfe in (1, 2, 5, 10, 50)])
    assert line["a"] == pytest.approx(0.3) and line["b"] == pytest.approx(0.07)
    assert line["b over a pass"] == pytest.approx(1.4)


def test_flops_by_hand_are_xlas():
    """But for elementwise work, which only XLA counts: 2 % of so narrow a network."""
    found = costs.analyse_forward(TINY.replaced(batch_size=1))["flops"]
    assert operations.total_flops(TINY.network, TINY.image_size) == pytest.approx(found, rel=0.03)


@pytest.mark.slow
def test_a_step_is_three_passes():
    found = costs.picture_costs(networks.SIZES["cpu"])
    assert found["by hand over XLA"] == pytest.approx(1, abs=0.02)
    assert found["training over forward"] == pytest.approx(3, abs=0.1)


def test_adm_256_costs_what_it_did_elsewhere():
    """2.21 TFLOP a picture, as XLA counted when the library was first measured on a TPU."""
    assert operations.total_flops(adm_256(), 256) / 1e12 == pytest.approx(2.21, abs=0.005)


def test_no_device_exceeds_its_peak_or_its_bandwidth():
    size = networks.SIZES["adm256"]
    parameters = 552_807_171
    for device in costs.DEVICES:
        row = costs.roofline(device, size, parameters)
        flops = row["training pictures/s"] * 3 * operations.total_flops(size.network, 256)
        assert flops == pytest.approx(row["training's share of the peak"] * device.flops)
        assert flops < device.flops
    slow = costs.Device("slow memory", 1e20, 1e12, "")
    counted = list(operations.operations(adm_256(), 256))
    numbers = sum(16 * each.numbers + each.weights for each in counted)
    seconds = 16 / costs.roofline(slow, size, parameters)["forward pictures/s"]
    assert seconds == pytest.approx(2 * numbers / 1e12)


def test_plain_layers_are_what_the_library_computes():
    for kind in (layers._attention, layers._normalisation):
        ours, plain, arguments = kind(TINY, 8, 64, jnp.dtype(jnp.float32))
        outputs = [jax.jit(function)(*arguments) for function in (ours, plain)]
        np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_results_become_tables(tmp_path):
    rows = [
        {"side": "JAX", "seconds": {"median": 1.5, "lowest": 1.0, "highest": 2.0}},
        {"side": "other", "error": "no memory | none"},
    ]
    found = {"size": "tiny", "train": rows}
    (tmp_path / "network.json").write_text(json.dumps(found))
    report.collect(tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "- size: tiny" in table
    assert "| JAX | 1.5 (1 … 2) |  |" in table
    assert r"| other |  | no memory \| none |" in table


def test_the_gpu_script_tells_what_it_left_out(tmp_path):
    tasks = gpu.plan("tiny", torch_reference="DIR")
    assert {task.part for task in tasks} == set(gpu.PARTS)
    gpu.run(tasks, size="tiny", output=tmp_path, budget=0, repeats=1)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["summary"] == {}
    for part in gpu.PARTS:
        assert found[part] and all("left out" in row["error"] for row in found[part])


def test_the_gpu_script_spares_itself_what_has_no_room():
    row = {"batch": 16, "remat": "none", "peak bytes": 50e9, "temporary bytes": 40e9}
    found = {"device": [{"bytes": 80e9}], "train": [row]}
    options = {"batch": 24, "remat": "none"}
    assert gpu._too_large(gpu.Task("train", options, 0, 0), found) is None
    assert "not tried" in gpu._too_large(gpu.Task("train", options | {"batch": 32}, 0, 0), found)
    assert gpu._too_large(gpu.Task("train", {"batch": 32, "remat": "dots"}, 0, 0), found) is None


def test_the_gpu_scripts_summary_compares():
    found = {
        "device": [{"TFLOP/s": 700.0}, {"TFLOP/s": 800.0}],
        "train": [
            {"batch": 16, "remat": "none", "pictures a second": 50.0, "TFLOP/s": 332.0},
            {"batch": 32, "remat": "none", "pictures a second": 60.0, "TFLOP/s": 400.0},
            {"batch": 64, "remat": "none", "error": "no memory"},
        ],
        "torch": [{"mode": "best", "batch": 32, "pictures a second": 40.0}],
    }
    told = gpu.summary(found)
    assert told["best"] == "batch 32, remat none"
    assert told["share of the measured peak"] == 0.5
    assert told["JAX at its best over PyTorch best at batch 32, one after another"] == 1.5


def test_the_gpu_script_puts_the_compilers_word_beside_use():
    program = {
        "batch": 16, "remat": "none", "temporary bytes": 2**30, "bytes by the compiler": 2**31,
        "TFLOP by the compiler": 3.0, "TFLOP/s by the compiler": 30.0,
    }  # fmt: skip
    found = {
        "device": [{"platform": "gpu"}],
        "train": [program | {"peak bytes": 3 * 2**30}, {"error": "no memory"}],
        "sample": [program | {"nfe": 10, "peak bytes": None}],
    }
    told = gpu.everything(found)
    train, sample = told["the compiler's word beside use"]
    assert (train["GiB used"], train["used over compiler"]) == (3.0, 1.5)
    assert train["GiB of temporaries, compiler"] == 1 and train["TFLOP/s"] == 30
    assert sample["nfe"] == 10 and sample["GiB used"] == "not counted here"
    assert "measured on" not in told
    assert "a CPU" in gpu.everything({"device": [{"platform": "cpu"}]})["measured on"]


@pytest.mark.parametrize("budget", ["541", "-1", "long"])
def test_the_gpu_script_takes_nine_minutes_at_most(budget, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--output", str(tmp_path), "--budget", budget])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and f"{budget} must lie in" in told


@pytest.mark.slow
def test_the_logged_pace_is_that_of_a_loop_timed_by_hand():
    """Without a bound: how near it comes is for a quiet machine to say."""
    found = pace.measure(size="tiny", steps=2, wait=0.01, rounds=1)
    assert len(found["rounds"]) == 1
    assert found["GFLOP a step and device, by the compiler"] > 0
    for what in ("TFLOP/s", "waiting"):
        assert found[f"{what}, logged over by hand"]["median"] > 0
        assert isinstance(found[f"{what} within 5%"], bool)


@pytest.mark.slow
def test_the_gpu_script_measures_on_any_device(tmp_path):
    gpu.main(["--size", "tiny", "--repeats", "1", "--output", str(tmp_path), "--budget", "540"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["summary"]["pictures a second"] > 0
    assert found["device"][0]["platform"] == jax.default_backend()
    if jax.default_backend() != "gpu":
        assert "it shows that the script works, and nothing of a GPU" in found["measured on"]
    (word, *_) = found["the compiler's word beside use"]
    assert word["GiB together, compiler"] > word["GiB of temporaries, compiler"] > 0
    assert all(row["TFLOP/s, logged over by hand"]["median"] > 0 for row in found["loop"])
    assert all("TFLOP/s" in row for row in found["device"] if "product of" in row)
    assert all(row["passes"] for row in found["goldens"] if "passes" in row)
    assert [row for row in found["attention"] if row["kernel"] == "xla" and "seconds" in row]
    assert all("pictures a second" in row for row in found["train"] + found["sample"])


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--only", "nothing"], "nothing"),
        (["--repeats", "0"], "positive integer"),
        (["--torch-reference", "/nowhere"], "guided_diffusion"),
    ],
)
def test_bad_input_is_one_line(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and line in told


def test_importing_them_needs_neither_torch_nor_the_extras():
    """A machine with a GPU need not have more than the device's side."""
    blocked = ("torch", "tensorflow", "clu", "ml_collections", "imagecodecs", "matplotlib")
    modules = (
        "network",
        "sampler",
        "layers",
        "costs",
        "startup",
        "gpu",
        "gpu_parts",
        "pace",
        "report",
    )
    program = (
        f"import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        f"for part in {modules}:\n"
        f"    importlib.import_module('experiments.benchmarks.' + part)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ
    )
    assert result.returncode == 0, result.stderr
