"""From scores of pictures to the figures of a method, with 95 % intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from i2sb_jax.evaluation.bootstrap import NO_FIGURE, Figure, mean_figure, set_figure
from i2sb_jax.evaluation.evaluate import CLEAN
from i2sb_jax.evaluation.frechet import (
    FeatureMoments,
    Statistics,
    distance_to_factor,
    factor,
)
from i2sb_jax.evaluation.kernel import kernel_distance, kernel_distances
from i2sb_jax.evaluation.networks import INCEPTION, LPIPS, RESNET50
from i2sb_jax.evaluation.scores import PSNR_Y, SSIM_Y
from i2sb_jax.evaluation.store import ShardStore, pictures_of, scores_of

FID, KID, ACCURACY = "fid", "kid", "accuracy"
METRICS = {
    "psnr": {"title": "PSNR", "unit": "dB", "better": "higher", "digits": 2},
    "ssim": {"title": "SSIM", "unit": "", "better": "higher", "digits": 4},
    PSNR_Y: {"title": "PSNR of Y", "unit": "dB", "better": "higher", "digits": 2},
    SSIM_Y: {"title": "SSIM of Y", "unit": "", "better": "higher", "digits": 4},
    LPIPS: {"title": "LPIPS", "unit": "", "better": "lower", "digits": 4},
    FID: {"title": "FID", "unit": "", "better": "lower", "digits": 2},
    KID: {"title": "KID", "unit": "", "better": "lower", "digits": 5},
    ACCURACY: {"title": "ResNet-50 top-1 accuracy", "unit": "%", "better": "higher", "digits": 1},
}
_OTHERS = (FID, KID, ACCURACY)  # than means of what pictures are to their clean ones
_SET = {FID: "normal", KID: "normal"}  # how intervals are made; of means from percentiles


class Reference(NamedTuple):
    """The reference that sets of features are compared with.

    Attributes:
        mu: [d].
        factor: of the covariance, [d, rank].
        features: [n, d], of the kernel distance; None where there are none.
        names: metric -> what it is compared with, in words.
    """

    mu: np.ndarray
    factor: np.ndarray
    features: np.ndarray | None
    names: Mapping[str, str]


class Pictures(NamedTuple):
    """The facts about each picture of an evaluation.

    Attributes:
        names: of all.
        labels: int [n], -1 where unknown.
        there: bool [n], whether it could be read.
    """

    names: list[str]
    labels: np.ndarray
    there: np.ndarray


def read_pictures(store: ShardStore) -> Pictures:
    """Returns the store's facts about the pictures; those not readable go by their number."""
    facts = store.whole(pictures_of(CLEAN), arrays=("name", "label", "there"))
    raw = [bytes(name).decode("utf-8", "replace") for name in facts["name"]]
    names = [name or f"picture {number}" for number, name in enumerate(raw)]
    return Pictures(names, facts["label"], facts["there"])


def make_reference(
    store: ShardStore, arrays: Mapping[str, str], pictures: Pictures, given: Statistics | None
) -> Reference | None:
    """Returns a file's statistics, or those of the clean pictures; None without features."""
    if INCEPTION not in arrays:
        return None
    clean = store.whole(scores_of(CLEAN))[arrays[INCEPTION]][pictures.there]
    own = f"the {len(clean)} clean pictures of this evaluation"
    if given is not None:
        features = clean if given.features is None else given.features
        kid = own if given.features is None else "the features of evaluation.reference_stats"
        names = {FID: "evaluation.reference_stats", KID: kid}
        return Reference(given.mu, factor(given.sigma), features, names)
    if len(clean) < 2:
        return None
    moments = FeatureMoments.of(clean)
    both = {FID: own, KID: own}
    return Reference(moments.mean, factor(moments.covariance), clean, both)


def summarise(
    store: ShardStore,
    arrays: Mapping[str, str],
    pictures: Pictures,
    *,
    method: str,
    reference: Reference | None,
    seed: int,
) -> tuple[dict[str, Figure], dict[str, np.ndarray]]:
    """The figures of a method, and what each picture has.

    Args:
        store: holds its scores.
        arrays: score -> array, from `score_arrays`.
        pictures: from `read_pictures`.
        method: which.
        reference: of FID and KID; without one they are left out.
        seed: of the resampling.

    Returns:
        Metric -> figure, and metric -> float64 [n], NaN where a picture has none.
    """
    scores = store.whole(scores_of(method))
    valid = pictures.there & store.whole(pictures_of(method), arrays=("finite",))["finite"]
    each = {}
    for name in METRICS if method != CLEAN else ():
        if name in arrays and name not in _OTHERS:
            each[name] = np.where(valid, scores[arrays[name]].astype(np.float64), np.nan)
    known = valid & (pictures.labels >= 0)
    if RESNET50 in arrays and known.any():
        right = 100.0 * (scores[arrays[RESNET50]] == pictures.labels)
        each[ACCURACY] = np.where(known, right, np.nan)
    figures = {name: mean_figure(values, seed=seed) for name, values in each.items()}
    if INCEPTION in arrays and reference is not None:
        features = scores[arrays[INCEPTION]][valid]
        figures |= _set_figures(features, reference, seed, compare_own=method != CLEAN)
    return {name: figures[name] for name in METRICS if name in figures}, each


def _set_figures(
    features: np.ndarray, reference: Reference, seed: int, *, compare_own: bool
) -> dict[str, Figure]:
    """FID and KID; of the clean pictures only where they are compared with others."""
    found = {}
    own = {
        name for name, origin in reference.names.items() if origin.endswith("of this evaluation")
    }
    for name, measure, least in ((FID, _frechet, 0.0), (KID, _kernel, -np.inf)):
        if name in own and not compare_own:
            continue
        found[name] = NO_FIGURE
        if len(features) >= 2 and (name == FID or len(reference.features) >= 2):
            value, resampled = measure(features, reference)
            found[name] = set_figure(value, resampled, len(features), seed=seed, least=least)
    return found


def _frechet(features: np.ndarray, reference: Reference) -> tuple[float, Callable]:
    moments = FeatureMoments.of(features)
    value = distance_to_factor(moments.mean, moments.covariance, reference.mu, reference.factor)
    x = features.astype(np.float64)
    projected = x @ reference.factor
    constant = np.square(reference.factor).sum()

    def resampled(counts: np.ndarray) -> np.ndarray:
        return np.array([one(row.astype(np.float64)) for row in counts])

    def one(counts: np.ndarray) -> float:
        n = counts.sum()
        mean = counts @ x / n
        variance = (counts @ np.square(x).sum(axis=1) - n * mean @ mean) / (n - 1)
        centred = projected - mean @ reference.factor
        centred *= np.sqrt(counts / (n - 1))[:, None]
        wide = centred.shape[0] < centred.shape[1]
        gram = centred @ centred.T if wide else centred.T @ centred
        overlap = np.sqrt(np.linalg.eigvalsh(gram).clip(0)).sum()
        return float(np.square(mean - reference.mu).sum() + variance + constant - 2 * overlap)

    return value, resampled


def _kernel(features: np.ndarray, reference: Reference) -> tuple[float, Callable]:
    y = reference.features
    return kernel_distance(features, y), lambda counts: kernel_distances(features, y, counts)


def as_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as they stand in results.json."""
    return {
        name: figure._asdict() | {"interval": _SET.get(name, "percentile")}
        for name, figure in figures.items()
    }


def table(
    pictures: Pictures, scores: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[list[str], list[Sequence[Any]]]:
    """A header and a row a picture: name, label, then each method's metrics; None for no value."""
    columns = [(method, name) for method, each in scores.items() for name in each]
    header = ["name", "label", *(f"{method}: {name}" for method, name in columns)]
    rows = []
    for number, picture in enumerate(pictures.names):
        values = [float(scores[method][name][number]) for method, name in columns]
        shown = [value if np.isfinite(value) else None for value in values]
        rows.append([picture, int(pictures.labels[number]), *shown])
    return header, rows
