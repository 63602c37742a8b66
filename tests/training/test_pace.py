"""A run's pace, by a clock that the test moves: what is logged is what a loop timed by hand is."""

import json
from typing import NamedTuple

import jax
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.peaks import PEAKS, Peak, bf16_peak
from i2sb_jax.accelerators.program import read_program
from i2sb_jax.run import Run
from i2sb_jax.training import loop
from i2sb_jax.training.pace import Pace, Work
from tests.training.tiny import Recorder, endless, make_batch, make_config

WAIT, WORK, SAVE, DRAW = 0.25, 0.75, 100.0, 1000.0  # seconds: of a batch, a step, …
STEPS = 4  # of a line
KIND = jax.devices()[0].device_kind


class Hand:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


def test_steps_and_waits_between_two_readings():
    clock = Hand()
    pace = Pace(clock)
    clock.pass_by(50)  # compiling
    pace.start(Work(flops=6e12, peak=8e12))
    for _ in range(4):
        with pace.waiting():
            clock.pass_by(0.5)
        clock.pass_by(1.5)
        pace.advance()
    with pace.aside():
        clock.pass_by(30)  # a checkpoint
    found = pace.read()
    assert found == pytest.approx(
        {"data_wait": 0.25, "tflops_per_device": 3.0, "bf16_peak_share": 3 / 8}
    )
    clock.pass_by(1)
    pace.advance()
    assert pace.read()["tflops_per_device"] == pytest.approx(6.0)  # begun anew


def test_what_is_unknown_is_left_out():
    clock = Hand()
    pace = Pace(clock)
    pace.start(Work(flops=1e12, peak=None))
    clock.pass_by(1)
    assert pace.read() == {"data_wait": 0.0}  # no step was made
    pace.advance()
    clock.pass_by(1)
    assert pace.read() == pytest.approx({"data_wait": 0.0, "tflops_per_device": 1.0})
    pace.start(Work(flops=None, peak=1e12))
    pace.advance()
    clock.pass_by(1)
    assert pace.read() == {"data_wait": 0.0}


class Ran(NamedTuple):
    lines: list
    scalars: dict
    told: str
    compiled: list  # names of the programs
    flops: float  # of a step


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run whose batches, steps, pictures and checkpoints take known times."""
    workdir, clock, writer = tmp_path_factory.mktemp("run"), Hand(), Recorder()
    rhythm = {"log_every": STEPS, "image_every": STEPS, "checkpoint_every": STEPS}
    run = Run(make_config(training=rhythm))
    compiled = []

    def listen(event, seconds, **facts):
        if event.endswith("backend_compile_duration"):
            compiled.append(facts["fun_name"])

    def batches(start):
        for batch in endless(start):
            clock.pass_by(WAIT)
            yield batch

    def must_stop(step):  # asked once a step
        clock.pass_by(WORK)
        return False

    def passing(seconds):
        return lambda *args, **options: clock.pass_by(seconds)

    told = []
    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Report, "pictures", passing(DRAW))
        patch.setattr(loop.Checkpoints, "save", passing(SAVE))
        patch.setattr("i2sb_jax.progress.print", lambda *a, **o: told.append(a[0]), raising=False)
        state = loop.train(
            loop.check_start(run, workdir),
            batches=batches,
            eval_batch=make_batch(2, seed=5),
            writer=writer,
            must_stop=must_stop,
            clock=clock,
        )
    jax.monitoring.unregister_event_duration_listener(listen)
    batch = sharding.global_batch(make_batch(4), run.mesh)
    root = jax.device_put(jax.random.key(0), sharding.replicated(run.mesh))
    step = loop.jitted_step(run, state).lower(state, batch, root, None).compile()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    scalars = {step: each for step, each in writer.scalars if "loss" in each}
    return Ran(lines, scalars, "\n".join(told), compiled, read_program(step).flops)


def test_the_log_agrees_with_a_loop_timed_by_hand(ran):
    """Pictures and checkpoints, which take far longer than all steps, do not count."""
    assert [line["step"] for line in ran.lines] == [4, 8, 12]
    # the first batch was there before the clock began
    first = 3 * WAIT / (3 * WAIT + 4 * WORK)
    assert ran.lines[0]["data_wait"] == pytest.approx(first)
    by_hand = ran.flops / (WAIT + WORK) / 1e12
    for line in ran.lines[1:]:
        assert line["data_wait"] == pytest.approx(WAIT / (WAIT + WORK), rel=0.05)
        assert line["tflops_per_device"] == pytest.approx(by_hand, rel=0.05)
        assert ("bf16_peak_share" in line) == (bf16_peak(KIND) is not None)
    for line in ran.lines:  # TensorBoard's are those of the file
        same = ("data_wait", "tflops_per_device")
        assert {name: ran.scalars[line["step"]][name] for name in same} == {
            name: line[name] for name in same
        }
    (told,) = (line for line in ran.told.splitlines() if line.startswith("step 8/12  loss"))
    assert f"{by_hand:.3g} TFLOP/s a device" in told
    assert "waiting for data 25% of the time" in told


def test_the_step_is_compiled_once(ran):
    """Its account is that of the program that runs."""
    assert len([name for name in ran.compiled if "step" in name]) == 1, ran.compiled


def test_peaks_are_of_devices_as_jax_names_them():
    assert bf16_peak("NVIDIA H100 80GB HBM3").flops == 989.4e12
    assert bf16_peak("TPU v5 lite") == Peak(197e12, PEAKS["TPU v5 lite"].source)
    assert bf16_peak("cpu") is None and bf16_peak("NVIDIA H100") is None  # nothing is guessed
    assert all(peak.source and 1e13 < peak.flops < 1e16 for peak in PEAKS.values())
