"""TensorBoard through clu."""

import os

from clu import metric_writers
from etils import epath


def make_writer(workdir: epath.PathLike, *, silent: bool = False) -> metric_writers.MetricWriter:
    """Writes scalars and pictures to `workdir`/tensorboard in the background.

    Args:
        workdir: the run's folder.
        silent: for every process but the first: takes everything and writes nothing.
    """
    if silent:
        return metric_writers.MultiWriter([])
    folder = os.fspath(epath.Path(workdir) / "tensorboard")
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(folder))
