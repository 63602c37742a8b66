"""i2sb-evaluate --make-stats: what sets of pictures are compared with."""

import argparse
import sys

import jax
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax import data, interop
from i2sb_jax.accelerators import processes, sharding
from i2sb_jax.cli import config_file, startup
from i2sb_jax.cli.evaluation_flags import with_flags
from i2sb_jax.cli.tasks import base_file
from i2sb_jax.config import Config
from i2sb_jax.data.fingerprint import fingerprint
from i2sb_jax.evaluation.inception import features_from_params
from i2sb_jax.evaluation.networks import INCEPTION, load_networks
from i2sb_jax.evaluation.statistics import PictureSet, make_statistics
from i2sb_jax.pictures import Notes
from i2sb_jax.progress import Progress

_RECORDS = "index.json"  # of a directory that i2sb-prepare wrote


def main(given: argparse.Namespace) -> None:
    """Writes the statistics that `given` asks for."""
    pictures, output = given.make_stats
    if given.image_size < 1:
        raise ValueError(f"--image-size {given.image_size} must be at least 1")
    config = with_flags(_config(given), given)
    processes.join(config.distributed, heartbeat=config.heartbeat)
    startup.prepare_jax()
    networks, left_out = load_networks(config.evaluation, any_weights=given.any_weights)
    if INCEPTION not in networks:
        raise ValueError(left_out[INCEPTION])
    network = networks[INCEPTION]
    processes.check_shared(epath.Path(output).expanduser().parent, option="the folder of")
    kind = "records" if (epath.Path(pictures) / _RECORDS).exists() else "folder"
    source = data.open_source(kind, path=pictures)
    count = min(given.limit or len(source), len(source))
    from i2sb_jax.data.pipeline import Examples, Reading, Share, eval_batches, undegraded

    mesh = sharding.make_mesh(devices=jax.local_devices())
    rows = config.sampling.batch_size * mesh.size
    notes = Notes(startup.tell) if jax.process_index() == 0 else None
    examples = Examples(undegraded, config.data, given.image_size)
    reading = Reading(warn=_warn, notes=notes)

    def batches(numbers):
        return eval_batches(
            source, examples, Share(rows), numbers=numbers, leave_out=True, reading=reading
        )

    quiet = jax.process_index() != 0
    key = f"{fingerprint(source, count=count)} {network.version} {given.image_size}"
    key += f" {config.data.crop}"
    with Progress(-(-count // jax.process_count()), unit="picture", quiet=quiet) as progress:

        def done(number: int) -> None:
            progress.advance(number)
            progress.say("", at_most_every=10.0)

        moments = make_statistics(
            features_from_params, network.params, PictureSet(batches, count, key), output,
            batch_size=config.sampling.batch_size, mesh=mesh, on_batch=done,
        )  # fmt: skip
    if not quiet:
        print(f"mu and sigma of {moments.count} pictures of {pictures} written to {output}")


def _warn(line: str) -> None:
    print("warning:", startup.printable(line), file=sys.stderr, flush=True)


def _config(given: argparse.Namespace) -> Config:
    """Returns the named run's configuration: how it cuts pictures, and where its weights lie."""
    if given.model is not None:
        return config_lib.load(interop.local_folder(given.model))
    defaults = [f"--config={base_file()}", f"--config.data.path={given.make_stats[0]}"]
    return config_file.parse(defaults, program="i2sb-evaluate", needs_workdir=False)[0]
