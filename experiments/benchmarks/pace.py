"""The pace that training logs, beside a loop timed by hand.

    python -m experiments.benchmarks.pace [--size cpu] [--steps 20] [--wait 0.02] [--output DIR]

`training.loop.train` makes so many steps a line of its log, and waits so many seconds for each
batch. Between two lines, when the device has nothing to do, a plain loop here makes as many steps
of the same program, waits as long for its batches, and is timed by a clock of its own; the first
one's clock stands still meanwhile. So a slow minute of the machine slows both alike. What is logged
should be within 5 % of what was timed. On a busy machine steps that follow each other differ by
more: a stopwatch beside the training itself, from line to line, tells the log's error from the
machine's, and is what the verdict is about.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax

from experiments.benchmarks import networks, results, timing
from experiments.benchmarks.networks import Size
from experiments.benchmarks.operations import total_flops
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.peaks import bf16_peak
from i2sb_jax.accelerators.program import read_program
from i2sb_jax.config import Config, DataConfig, ModelConfig, SamplingConfig, TrainingConfig
from i2sb_jax.run import Run
from i2sb_jax.training.loop import check_start, jitted_step, train
from i2sb_jax.types import Batch

NAME = "pace"
AGREEMENT = 0.05
_FOREVER = 1_000_000  # steps: the run is ended before, so that nothing is saved


class _Enough(Exception):
    """All lines are there."""


def run_of(size: Size, *, log_every: int) -> Run:
    """A training of a benchmark's network that does nothing but make steps and log."""
    chosen = {f.name: getattr(size.network, f.name) for f in dataclasses.fields(ModelConfig)}
    return Run(
        Config(
            image_size=size.image_size,
            model=ModelConfig(**chosen | {"dtype": size.network.dtype.name}),
            data=DataConfig(source="synthetic"),
            training=TrainingConfig(
                num_steps=_FOREVER, batch_size=size.batch_size * jax.device_count(),
                log_every=log_every, image_every=_FOREVER, checkpoint_every=_FOREVER,
            ),
            sampling=SamplingConfig(nfe=1, batch_size=1),
        )
    )  # fmt: skip


def host_batch(size: Size) -> Batch:
    """Noise in the place of a global batch, NumPy."""
    whole = size.replaced(batch_size=size.batch_size * jax.device_count())
    return Batch(*(networks.pictures(whole, seed=seed) for seed in range(2)))


class _Hand:
    """A loop over the step, as one would write it, and its clock."""

    def __init__(self, run: Run, batch: Batch, *, steps: int, wait: float):
        key = jax.random.key(run.config.seed)
        self._state = jax.jit(run.init_state, out_shardings=run.state_shardings)(key)
        self._root = jax.device_put(key, sharding.replicated(run.mesh))
        self._batch, self._mesh, self._steps, self._wait = batch, run.mesh, steps, wait
        laid = sharding.global_batch(batch, run.mesh)
        with jax.default_matmul_precision(run.config.matmul_precision):
            lowered = jitted_step(run, self._state).lower(self._state, laid, self._root, None)
            self._step = lowered.compile()
        self.flops = read_program(self._step).flops
        self()  # to warm up

    def __call__(self) -> tuple[float, float]:
        """Makes the steps; returns the seconds that they took and those without a batch."""
        begun, waited, before = time.perf_counter(), 0.0, None
        for _ in range(self._steps):
            asked = time.perf_counter()
            time.sleep(self._wait)
            waited += time.perf_counter() - asked
            batch = sharding.global_batch(self._batch, self._mesh)
            self._state, metrics = self._step(self._state, batch, self._root, None)
            jax.block_until_ready(before)  # one step ahead of the device, as training is
            before = metrics
        jax.block_until_ready(before)
        return time.perf_counter() - begun, waited


class _Lines:
    """Takes what training logs, and after each line has as much done by hand."""

    def __init__(self, hand: _Hand, *, count: int):
        self.logged: list[dict[str, float]] = []
        self.by_hand: list[tuple[float, float]] = []
        self.watched: list[tuple[float, float]] = []
        self._hand, self._count, self._lost = hand, count, 0.0
        self._since, self._waited = time.perf_counter(), 0.0

    def clock(self) -> float:
        """Seconds, but those of the hand."""
        return time.perf_counter() - self._lost

    def write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Takes a line."""
        del step
        begun = time.perf_counter()
        self.logged.append(dict(scalars))
        self.watched.append((begun - self._since, self._waited))
        self.by_hand.append(self._hand())
        self._since, self._waited = time.perf_counter(), 0.0
        self._lost += self._since - begun

    def write_images(self, step: int, images: Any) -> None:
        """Nothing is drawn."""

    def flush(self) -> None:
        """All is here."""

    def batches(self, batch: Batch, wait: float) -> Iterator[Batch]:
        """The same batch, after so many seconds, until all lines are there."""
        while len(self.logged) < self._count:
            asked = time.perf_counter()
            time.sleep(wait)
            self._waited += time.perf_counter() - asked
            yield batch
        raise _Enough


def measure(
    *,
    size: str = "cpu",
    steps: int = 20,
    wait: float = 0.02,
    rounds: int = 5,
    network: dict[str, Any] | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Trains, and does the same by hand.

    Args:
        size: one of `networks.SIZES`.
        steps: of a line of the log.
        wait: seconds for each batch.
        rounds: lines that are compared; one more comes before.
        network: fields of the network to change.
        batch_size: pictures a device; the size's if None.
    """
    chosen = networks.SIZES[size].replaced(batch_size=batch_size, **network or {})
    run, batch = run_of(chosen, log_every=steps), host_batch(chosen)
    hand = _Hand(run, batch, steps=steps, wait=wait)
    lines = _Lines(hand, count=rounds + 1)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
        train(
            check_start(run, folder),
            batches=lambda start: lines.batches(batch, wait),
            eval_batch=Batch(*(x[:1] for x in batch[:2])),
            writer=lines,
            clock=lines.clock,
        )
    kind = jax.devices()[0].device_kind
    peak = bf16_peak(kind)
    rows = [
        {
            "TFLOP/s logged": logged["tflops_per_device"],
            "by hand": hand.flops * steps / seconds / 1e12,
            "waiting logged": logged["data_wait"],
            "waiting by hand": waited / seconds,
            "by a stopwatch": hand.flops * steps / watched[0] / 1e12,
            "waiting by a stopwatch": watched[1] / watched[0],
        }
        | ({"share of the bf16 peak": logged["bf16_peak_share"]} if peak else {})
        for logged, (seconds, waited), watched in zip(
            lines.logged[1:], lines.by_hand[1:], lines.watched[1:], strict=True
        )
    ]
    by_formula = 3 * chosen.batch_size * total_flops(chosen.network, chosen.image_size)
    found = {
        "size": size,
        "device": kind,
        "bf16 peak": f"{peak.flops / 1e12:g} TFLOP/s: {peak.source}" if peak else "not known",
        "GFLOP a step and device, by the compiler": hand.flops / 1e9,
        "the same by hand, products alone": by_formula / 1e9,
        "steps a line": steps,
        "seconds waited for a batch": wait,
        "rounds": rows,
    }
    for what, (name, *others) in {
        "TFLOP/s": ("TFLOP/s logged", "by hand", "by a stopwatch"),
        "waiting": ("waiting logged", "waiting by hand", "waiting by a stopwatch"),
    }.items():
        of_hand, of_watch = (
            timing.ratio([row[name] for row in rows], [row[other] for row in rows])
            for other in others
        )
        found[f"{what}, logged over by hand"] = of_hand
        found[f"{what}, logged over by a stopwatch"] = of_watch
        found[f"{what} within {AGREEMENT:.0%}"] = abs(of_watch["median"] - 1) <= AGREEMENT
    return found


def main() -> None:
    """Measures, prints tables and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    parser.add_argument("--steps", type=results.positive, default=20, help="of a line")
    parser.add_argument("--wait", type=float, default=0.02, help="seconds for each batch")
    given = parser.parse_args()
    found = measure(size=given.size, steps=given.steps, wait=given.wait, rounds=given.repeats)
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
