"""A whole evaluation: pictures restored, scored, summarised and reported."""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.config import BridgeConfig, Config
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.data.view import degraded_view
from i2sb_jax.evaluation.evaluate import (
    CLEAN,
    DEGRADED,
    batches_left,
    evaluate,
    score_pictures,
    seconds_per_evaluation,
    write_views,
)
from i2sb_jax.evaluation.frechet import load_statistics
from i2sb_jax.evaluation.networks import file_sha256, load_networks
from i2sb_jax.evaluation.options import Options
from i2sb_jax.evaluation.results import (
    Data,
    Measures,
    Model,
    method_of,
    nfe_of_kind,
    write_results,
)
from i2sb_jax.evaluation.scores import PSNR_Y, SSIM_Y, score_arrays
from i2sb_jax.evaluation.store import PICTURES, ShardStore, pictures_of
from i2sb_jax.progress import Progress, duration
from i2sb_jax.run import restoring_run


def evaluate_model(
    model: Model,
    data: Data,
    output: epath.PathLike,
    options: Options,
    *,
    mesh: Mesh,
    warn: Callable[[str], None],
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluates a model; what `output` holds of the same evaluation is not computed again.

    Args:
        model: which.
        data: on what.
        output: a folder, for results.json, pictures.csv, report.html and all pictures.
        options: how.
        mesh: all devices of all processes.
        warn: told of what is left out.
        quiet: no plan and no progress.

    Returns:
        What results.json holds, on process 0; elsewhere nothing of use.

    Raises:
        ValueError: options that do not fit, or `output` holds something else; one line.
    """
    config, options = model.config, options.resolve(model.config)
    count = min(options.limit or data.count, data.count)
    store = ShardStore(
        output, count=count, size=config.sampling.batch_size, floats=config.has_pairs,
        limits=data.values.limits,
    )  # fmt: skip
    measures = _measures(config, options, warn)
    settings = _settings(model, data, options, store)
    measured = [sorted(measures.arrays.items()), sorted(measures.left_out)]
    agreement.check_same("the pictures and settings", json.dumps(settings, sort_keys=True))
    agreement.check_same("the weights for metrics", json.dumps(measured))
    store.check_settings(settings)
    agreement.barrier("an evaluation begins")
    if jax.process_index() == 0:
        store.begin(settings)
    rows = store.size * mesh.size // jax.process_count()
    pictures = functools.partial(data.pictures, rows=rows)
    quiet = quiet or jax.process_index() != 0
    write_views(pictures, store, {DEGRADED: degraded_view, **data.views}, mesh=mesh, warn=warn)
    agreement.barrier("the pictures are there")
    _restore(model, pictures, store, options, mesh=mesh, quiet=quiet)
    nfes = agreement.of_first_process(_restored(store))  # also those that were asked for before
    methods = [CLEAN, DEGRADED, *data.views, *map(method_of, nfes)]
    for method in methods:
        if not quiet:
            print(f"measuring: {method}", file=sys.stderr, flush=True)
        score_pictures(
            store, measures.networks, measures.arrays, method=method, mesh=mesh,
            border=measures.border,
        )  # fmt: skip
    agreement.barrier("an evaluation is measured")
    results: dict[str, Any] = {}
    if jax.process_index() == 0:
        options = dataclasses.replace(options, nfes=tuple(nfes))
        results = write_results(model, data, store, options, measures, methods, warn=warn)
    agreement.barrier("an evaluation is written")
    return results


def _restored(store: ShardStore) -> list[int]:
    """The evaluations of every method whose pictures are all there."""
    found = [nfe_of_kind(path.name) for path in (store.folder / PICTURES).iterdir()]
    nfes = sorted(nfe for nfe in found if nfe is not None)
    return [nfe for nfe in nfes if not store.missing(pictures_of(method_of(nfe)))]


def _measures(config: Config, options: Options, warn: Callable[[str], None]) -> Measures:
    networks, missing = load_networks(config.evaluation, any_weights=options.any_weights)
    given, sha256 = None, ""
    metrics = {"inception": "FID and KID", "resnet50": "classifier accuracy", "lpips": "LPIPS"}
    left_out = {metrics[name]: reason for name, reason in missing.items()}
    if config.evaluation.reference_stats and "inception" in networks:
        try:
            given = load_statistics(config.evaluation.reference_stats)
            sha256 = file_sha256(epath.Path(config.evaluation.reference_stats).expanduser())
        except (ValueError, OSError) as error:  # other metrics need none of it
            left_out[metrics["inception"]] = str(error)
            del networks["inception"]
    border = _border(config)
    arrays = score_arrays(
        networks, side=config.image_size, channels=config.image_channels, border=border,
        is_colour=not config.has_pairs or config.data.scaling == "dtype",
    )  # fmt: skip
    for name in networks:
        if name not in arrays:
            left_out[metrics[name]] = (
                f"pictures of {config.image_size} pixels and {config.image_channels} channels are "
                "not what its network was made for"
            )
    if "ssim" not in arrays:
        left_out["SSIM"] = f"pictures of {config.image_size} pixels are smaller than its window"
    elif PSNR_Y in arrays and SSIM_Y not in arrays:
        inside = config.image_size - 2 * border
        left_out["SSIM of Y"] = (
            f"pictures of {inside} pixels without their border are smaller than its window"
        )
    for name, reason in left_out.items():
        warn(f"{name} left out: {reason}")
    return Measures(networks, arrays, given, sha256, left_out, border)


def _border(config: Config) -> int:
    """The factor of a reduction, which papers on super-resolution leave out; 0 of other tasks."""
    factor = 1 if config.has_pairs else corruption_facts(config.corruption).enlargement
    return factor if factor > 1 else 0


def _restore(
    model: Model,
    pictures: Callable,
    store: ShardStore,
    options: Options,
    *,
    mesh: Mesh,
    quiet: bool,
) -> None:
    """All pictures by all methods, with a plan before and progress on the way."""
    config = model.config
    run = restoring_run(config, dtype=options.dtype)
    params = sharding.replicate(model.params, mesh)
    batches = {nfe: batches_left(store, method_of(nfe), mesh) for nfe in options.nfes}
    more = config.start_evaluations
    total = sum((nfe + more) * left for nfe, left in batches.items())
    if not total:
        return
    # a student takes no other steps than it has learnt, but here nobody looks at what it makes
    once = run.sample_fn(dataclasses.replace(config.sampling, nfe=1))
    seconds = seconds_per_evaluation(once, params, pictures, store, mesh=mesh) / (1 + more)
    if not quiet:
        _print_plan(store, {nfe + more: left for nfe, left in batches.items()}, seconds, mesh)
    with Progress(total, unit="evaluation", quiet=quiet) as progress:
        for nfe in (nfe for nfe, left in batches.items() if left):

            def done(nfe: int = nfe) -> None:
                progress.advance(nfe + more)
                progress.say(method_of(nfe), at_most_every=10.0)

            evaluate(
                run.sample_fn(options.sampling(config, nfe)), params, pictures, store,
                method=method_of(nfe), seed=options.seed, mesh=mesh, on_batch=done,
            )  # fmt: skip
    agreement.barrier("the pictures are restored")


def _print_plan(store: ShardStore, batches: Mapping[int, int], seconds: float, mesh: Mesh) -> None:
    evaluations = sum(nfe for nfe, left in batches.items() if left)
    calls = sum(nfe * left for nfe, left in batches.items())
    rows = store.size * mesh.size
    print(
        f"{store.count} pictures × {evaluations} evaluations × {seconds / rows:.3g} s (measured, "
        f"{seconds:.3g} s for the {rows} that are computed at once): {calls} network calls, about "
        f"{duration(calls * seconds)}",
        file=sys.stderr,
        flush=True,
    )


def _settings(model: Model, data: Data, options: Options, store: ShardStore) -> dict[str, Any]:
    """Returns the settings that shape a store's pictures: neither places nor measures."""
    config = model.config
    masks = epath.Path(config.mask_file).expanduser() if config.mask_file else None
    return {
        "weights": model.digest,
        "corruption": config.corruption,
        "masks": file_sha256(masks) if masks is not None and masks.is_file() else "",
        "image_size": config.image_size,
        "crop": config.data.crop,
        "bridge": _bridge(config.bridge),
        "pictures": store.count,
        "data": data.digest or data.name,
        "batch_size": store.size,
        # other settings told nothing of them
        **({"values": data.values.as_json()} if config.has_pairs else {}),
        **options.settings(),
    }


def _bridge(config: BridgeConfig) -> dict[str, Any]:
    """A bridge's own settings; of another model that it starts at, the weights tell it apart."""
    settings = dataclasses.asdict(config)
    del settings["start"]
    if not config.start:
        del settings["start_noise"]
    return settings
