"""TensorBoard and, where a run asks for it, Weights & Biases, through clu."""

import importlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from clu import metric_writers
from etils import epath

from i2sb_jax.config import Config, to_dict
from i2sb_jax.files import is_remote, read_json, write_atomically
from i2sb_jax.reasons import first_line
from i2sb_jax.types import Array

_ID_FILE = "wandb.json"
_PATIENCE = 60  # seconds, at the end, for what is not uploaded yet; `wandb sync` still can


def make_writer(
    config: Config, workdir: epath.PathLike, *, silent: bool = False
) -> metric_writers.MetricWriter:
    """Writes scalars and pictures to `workdir`/tensorboard in the background, and to W&B.

    Args:
        config: the run; W&B takes part where `training.wandb_project` names a project.
        workdir: the run's folder.
        silent: for every process but the first: takes everything and writes nothing.

    Raises:
        ValueError: W&B cannot be started for a run that it does not know yet; one line.
    """
    if silent:
        return metric_writers.MultiWriter([])
    folder = os.fspath(epath.Path(workdir) / "tensorboard")
    # first, since it may refuse
    wandb = [WandbWriter(config, workdir)] if config.training.wandb_project else []
    tensorboard = metric_writers.AsyncWriter(metric_writers.SummaryWriter(folder))
    return metric_writers.MultiWriter([tensorboard, *wandb])


class WandbWriter(metric_writers.MetricWriter):
    """Writes to Weights & Biases (the extra `wandb`), one W&B run for a run's folder.

    What fails there once a run has begun is one warning, and the run goes on without it. Steps that
    W&B has already, where a run went back to a checkpoint, are not told again: the loop comes to
    the same values.
    """

    def __init__(self, config: Config, workdir: epath.PathLike):
        """Starts the W&B run of `workdir`, or goes on with it.

        Args:
            config: the run, as W&B shows it.
            workdir: its folder, which keeps the W&B run's id in wandb.json. W&B's own files lie
                there too where it is local.

        Raises:
            ValueError: W&B cannot be started for a run that it does not know yet; one line.
        """
        self._wandb = importlib.import_module("wandb")
        self._run, self._first = None, 0
        path = epath.Path(workdir) / _ID_FILE
        known = path.exists()
        name = read_json(path)["id"] if known else secrets.token_hex(8)
        try:
            self._run = self._start(config, workdir, name)
            self._first = self._run.step
        except Exception as error:  # of W&B and the network, of many kinds
            if not known:  # whoever started it is there to mend it
                raise ValueError(
                    f"Weights & Biases: {_reason(error)}; mend that, set WANDB_MODE=offline, "
                    "or leave training.wandb_project=''"
                ) from error
            self._give_up(error)
        if not known:
            write_atomically(path, json.dumps({"id": name}).encode())

    def _start(self, config: Config, workdir: epath.PathLike, name: str) -> Any:
        folder = None if is_remote(workdir) else epath.Path(workdir)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return self._wandb.init(
            project=config.training.wandb_project,
            id=name,
            resume="allow",
            config=to_dict(config),
            dir=folder and os.fspath(folder),
            settings=self._wandb.Settings(finish_timeout=_PATIENCE),
        )

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Takes numbers, or arrays of one."""
        self._log(step, scalars, lambda value: np.asarray(value).item())

    def write_images(self, step: int, images: Mapping[str, Array]) -> None:
        """Takes uint8 pictures [n, h, w, c] or [h, w, c]."""

        def shown(pictures: Array) -> list[Any]:
            pictures = np.asarray(pictures)
            return [self._wandb.Image(x) for x in pictures.reshape(-1, *pictures.shape[-3:])]

        self._log(step, images, shown)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Takes texts."""
        self._log(step, texts, str)

    def write_histograms(
        self,
        step: int,
        arrays: Mapping[str, Array],
        num_buckets: Mapping[str, int] | None = None,
    ) -> None:
        """Takes arrays of any shape; their buckets are W&B's choice."""
        self._log(step, arrays, lambda array: self._wandb.Histogram(np.ravel(array)))

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Adds to the configuration that W&B shows."""
        self._tried(lambda run: run.config.update(dict(hparams), allow_val_change=True))

    def write_summaries(
        self, step: int, values: Mapping[str, Array], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Takes nothing: these are TensorBoard's own."""

    def write_videos(self, step: int, videos: Mapping[str, Array]) -> None:
        """Takes nothing: W&B needs further packages for it."""

    def write_audios(self, step: int, audios: Mapping[str, Array], *, sample_rate: int) -> None:
        """Takes nothing: W&B needs further packages for it."""

    def flush(self) -> None:
        """Does nothing: W&B uploads as it goes, and `close` waits for the rest."""

    def close(self) -> None:
        """Ends the W&B run; waits for what is not uploaded yet, a minute at most."""
        self._tried(lambda run: run.finish())
        self._run = None

    def _log(self, step: int, values: Mapping[str, Any], convert: Callable[[Any], Any]) -> None:
        if step >= self._first:
            self._tried(
                lambda run: run.log({k: convert(value) for k, value in values.items()}, step=step)
            )

    def _tried(self, act: Callable[[Any], Any]) -> None:
        """`act` of the W&B run; a training of days does not end for what fails there."""
        if self._run is None:
            return
        try:
            act(self._run)
        except Exception as error:  # as above
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        line = f"Weights & Biases: {_reason(error)}; the run goes on without it"
        print("warning:", line, file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
