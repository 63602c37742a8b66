"""Two processes of two devices do what one process of four does, from shares of its input."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

pytestmark = pytest.mark.slow
STEPS, BATCH = 20, 4
SCRIPT = f"""
import json, pathlib, sys
import jax
from i2sb_jax import data
from i2sb_jax.accelerators import processes
from i2sb_jax.data.pipeline import Examples, Share, eval_batches, train_batches
from i2sb_jax.run import Run
from i2sb_jax.training.loop import check_start, train
from i2sb_jax.training.writers import make_writer
from tests.training.tiny import make_config

processes.join("on")
config = make_config(training={{"num_steps": {STEPS}, "batch_size": {BATCH}}})
run = Run(config)
mine, count = jax.process_index(), jax.process_count()
sources = data.make_sources(config.data, sys.argv[1], process_index=mine, report=print)
examples = Examples(run.corruption, config.data, config.image_size)
names = []

def batches(start):
    stream = train_batches(
        sources[0], examples, Share({BATCH}, mine, count), seed=config.seed, start_step=start
    )
    for batch in stream:
        names.append([name.decode() for name in batch.name])
        yield batch

preview = next(eval_batches(sources[1], examples, Share(2)))
writer = make_writer(config, sys.argv[1], silent=True)
train(check_start(run, sys.argv[1]), batches=batches, eval_batch=preview, writer=writer)
told = {{"names": names[: {STEPS}], "pictures": len(sources[0])}}
pathlib.Path(sys.argv[2], f"{{mine}}-of-{{count}}.json").write_text(json.dumps(told))
"""


def run(count, devices, workdir, out):
    """What each of `count` processes of `devices` devices tells, and the losses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(count),
    }
    errors = out / f"of-{count}.err"
    with errors.open("w") as file:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, workdir, out],
                env=common | {"JAX_PROCESS_ID": str(number)},
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
            for number in range(count)
        ]
        try:
            statuses = [process.wait(timeout=240) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
    assert not any(statuses), errors.read_text()
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    told = [json.loads((out / f"{i}-of-{count}.json").read_text()) for i in range(count)]
    return told, [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return run(1, 4, folder / "one", folder), run(2, 2, folder / "two", folder)


def test_the_losses_agree(runs):
    (_, one), (_, two) = runs
    assert len(one) == len(two) == STEPS
    np.testing.assert_allclose(two, one, rtol=1e-6)


def test_shares_are_disjoint_and_together_complete_over_every_epoch(runs):
    (whole,), parts = runs[0][0], runs[1][0]
    stream = [name for step in zip(*(part["names"] for part in parts), strict=True)
              for share in step for name in share]  # fmt: skip
    assert stream == [name for batch in whole["names"] for name in batch]
    count = whole["pictures"]
    epochs = [stream[i : i + count] for i in range(0, len(stream) - count + 1, count)]
    assert len(epochs) >= 2 and all(len(set(epoch)) == count for epoch in epochs)
    assert {len(part["names"][0]) for part in parts} == {BATCH // 2}
