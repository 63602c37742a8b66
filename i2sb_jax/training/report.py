"""The reports of a run as it goes: metrics.jsonl, TensorBoard, pictures and progress."""

import time
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from i2sb_jax import metrics
from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.data.view import degraded_view
from i2sb_jax.pictures import to_rgb, to_uint8, write_png
from i2sb_jax.progress import Progress
from i2sb_jax.run import Run
from i2sb_jax.sampling import DeviceSampler, Window
from i2sb_jax.training.metrics_log import MetricsLog
from i2sb_jax.training.pace import Clock, Pace
from i2sb_jax.types import Array, Batch, Params

_SLOW_DATA = 0.1  # share of the time


class Writer(Protocol):
    """The part of clu's MetricWriter that a run needs."""

    def write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Takes scalars."""

    def write_images(self, step: int, images: dict[str, Array]) -> None:
        """Takes uint8 pictures [n, h, w, c]."""

    def flush(self) -> None:
        """Waits until all is written."""


class Report:
    """The run's voice; silent on every process but the first. A context manager.

    Attributes:
        pace: of the run, which its lines tell.
    """

    def __init__(
        self,
        run: Run,
        workdir: epath.PathLike,
        eval_batch: Batch,
        *,
        writer: Writer,
        start_step: int,
        clock: Clock = time.monotonic,
    ):
        """Cuts metrics.jsonl back to `start_step`; compiles nothing yet."""
        config = run.config
        self.pace = Pace(clock)
        self._primary = jax.process_index() == 0
        self._log = MetricsLog(workdir, start_step=start_step) if self._primary else None
        self._writer = writer
        self._progress = Progress(
            config.training.num_steps, unit="step", start=start_step, quiet=not self._primary
        )
        self._folder = epath.Path(workdir) / "images"
        self._batch = eval_batch
        self._is_bounded = config.is_bounded
        # a stream of its own, next to that of the initial weights: steps fold 0, 1, 2, … into the
        # root, and splitting the root itself would give their keys again
        key = jax.random.fold_in(jax.random.key(config.seed), 2**31 + 1)
        keys = jax.random.key_data(jax.random.split(key, eval_batch.clean.shape[0]))
        self._sample = DeviceSampler(
            run.sample_fn(),
            run.mesh,
            rows=sharding.replicated(run.mesh),
            precision=config.matmul_precision,
        )
        self._inputs = self._sample.lay(
            Window(
                key=keys,
                x1=eval_batch.degraded,
                mask=eval_batch.to_restore,
                cond=eval_batch.cond,
                origin=None,
            )
        )
        self._quality = jax.jit(_quality)

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.__exit__(*exc)
        self._writer.flush()

    def advance(self) -> None:
        """Counts a step."""
        self._progress.advance()
        self.pace.advance()

    def scalars(self, step: int, values: list[dict[str, float]]) -> None:
        """Logs the metrics of a step.

        Losses are means over all steps since the line before, or since the run went on, and
        `loss_steps` says of how many; `loss_last` is the last step's, as all else is, but for how
        many of the updates were skipped. The pace is that since the last call, too (`Pace.read`).

        Args:
            step: updates made.
            values: metrics of the steps since the last call.
        """
        if self._log is None:
            return
        pace = self.pace.read()
        logged = values[-1] | pace
        for name in (name for name in logged if name.endswith("loss")):
            logged[name] = sum(value[name] for value in values) / len(values)
        logged |= {"loss_steps": len(values), "loss_last": values[-1]["loss"]}
        if "skipped" in logged:
            logged["skipped"] = sum(value["skipped"] for value in values)
        rate = self._progress.rate()
        self._log.write(step, logged)
        self._writer.write_scalars(step, logged | ({"steps_per_s": rate} if rate else {}))
        line = f"loss {logged['loss']:.4f}"
        if "tflops_per_device" in pace:
            line += f"  {pace['tflops_per_device']:.3g} TFLOP/s a device"
        if "bf16_peak_share" in pace:
            line += f" ({pace['bf16_peak_share']:.0%} of its bf16 peak)"
        if pace["data_wait"] > _SLOW_DATA:
            line += f"  waiting for data {pace['data_wait']:.0%} of the time"
        self._progress.say(line)

    def pictures(self, step: int, params: Params) -> dict[str, float]:
        """Restores the held-out batch: a sheet clean | degraded | restored, its PSNR and SSIM.

        Every process takes part in the computation, the first one writes. What is measured goes to
        the writer alone: metrics.jsonl has one line a logged step, written before this.

        Args:
            step: updates made.
            params: averaged ones, as `Run.sampled` gives them.

        Returns:
            Means over the restored batch, the same on all processes: "psnr" in dB and, where the
            pictures are large enough, "ssim".
        """
        x0 = self._sample(params, self._inputs).x0
        clean, shown = np.asarray(self._batch.clean), degraded_view(self._batch)
        restored = jax.device_get(x0)
        if self._is_bounded:  # of others nothing is clipped in files, and -1 … 1 is no bound
            restored = np.clip(restored, -1, 1)
        valid = self._batch.valid
        before, after = (
            {name: float(value) for name, value in self._quality(clean, pictures, valid).items()}
            for pictures in (shown, restored)
        )
        if self._primary:
            columns = [to_rgb(to_uint8(x)) for x in (clean, shown, restored)]
            rows = np.concatenate(columns, axis=2)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_png(self._folder / f"step_{step:08d}.png", np.concatenate(rows, axis=0))
            self._writer.write_images(step, {"clean | degraded | restored": rows})
            scalars = {f"eval/{name}_degraded": value for name, value in before.items()}
            scalars |= {f"eval/{name}_restored": value for name, value in after.items()}
            self._writer.write_scalars(step, scalars)
            changes = (f"{name} {before[name]:.4g} → {after[name]:.4g}" for name in after)
            self._progress.say(f"held out: {', '.join(changes)}")
        return {name: agreement.agreed(value) for name, value in after.items()}


def _quality(clean: Array, pictures: Array, valid: Array | None) -> dict[str, jax.Array]:
    """Means over a batch: PSNR in dB and, where its window fits, SSIM; of what is data."""
    measures = {"psnr": metrics.capped_psnr}
    if min(clean.shape[1:3]) >= metrics.SSIM_SIDE:
        measures["ssim"] = metrics.ssim
    return {
        name: jnp.nanmean(measure(clean, pictures, valid=valid))
        for name, measure in measures.items()
    }
