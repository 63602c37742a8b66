"""The Fréchet distance between Gaussians (FID), and the statistics of features that it compares.

With features of mean μ and covariance Σ (Heusel et al. 2017, arXiv 1706.08500, Eq. 6):

    d² = |μ₁ - μ₂|² + tr(Σ₁) + tr(Σ₂) - 2 tr((Σ₁ Σ₂)^½)

Everything is float64 on the host. The last trace is the sum of singular values of Σ₁^½ Σ₂^½, which
needs no root of an indefinite matrix and loses nothing where a covariance is singular, as that of
fewer pictures than features is.
"""

import dataclasses
import io
import zipfile
from typing import Any

import numpy as np
from etils import epath

from i2sb_jax.files import write_atomically


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMoments:
    """Count, mean and scatter of feature vectors, in float64; those of parts can be merged.

    Attributes:
        count: n vectors.
        mean: [d].
        scatter: Σ (x - mean)(x - mean)ᵀ, [d, d].
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "FeatureMoments":
        """Returns the statistics of features [n, d], n at least one."""
        features = np.asarray(features, np.float64)
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(count=len(features), mean=mean, scatter=centred.T @ centred)

    def merge(self, other: "FeatureMoments") -> "FeatureMoments":
        """Returns the statistics of both sets together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return FeatureMoments(
            count=count,
            mean=self.mean + apart * (other.count / count),
            scatter=self.scatter
            + other.scatter
            + np.outer(apart, apart) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased, [d, d]; zero of a single vector, which has none."""
        return self.scatter / max(self.count - 1, 1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """The mean and covariance that a set of pictures is compared with.

    Attributes:
        mu: mean feature, float64 [d].
        sigma: covariance, float64 [d, d].
        features: float32 [n, d], for the kernel distance; None where the file has none.
    """

    mu: np.ndarray
    sigma: np.ndarray
    features: np.ndarray | None = None


def frechet_distance(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """The squared Fréchet distance between N(mu1, sigma1) and N(mu2, sigma2).

    Args:
        mu1: [d].
        sigma1: [d, d], symmetric and positive semidefinite; may be singular.
        mu2: [d].
        sigma2: [d, d].

    Returns:
        d², at least 0.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    mu1, mu2 = np.atleast_1d(np.float64(mu1)), np.atleast_1d(np.float64(mu2))
    sigma1, sigma2 = np.atleast_2d(np.float64(sigma1)), np.atleast_2d(np.float64(sigma2))
    if mu1.shape != mu2.shape or not sigma1.shape == sigma2.shape == mu1.shape * 2:
        raise ValueError(
            f"means {mu1.shape} and {mu2.shape} with covariances {sigma1.shape} and "
            f"{sigma2.shape}: must be [d] and [d, d] of one d"
        )
    if not all(np.isfinite(x).all() for x in (mu1, sigma1, mu2, sigma2)):
        raise ValueError("the statistics hold values that are not finite")
    return distance_to_factor(mu1, sigma1, mu2, factor(sigma2))


def distance_to_factor(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, factor2: np.ndarray
) -> float:
    """Returns `frechet_distance` to a second covariance given by its `factor`."""
    cross = factor(sigma1).T @ factor2
    overlap = np.linalg.svd(cross, compute_uv=False).sum()
    traces = np.trace(sigma1) + np.square(factor2).sum()
    return max(float(np.square(mu1 - mu2).sum() + traces - 2 * overlap), 0.0)


def factor(sigma: np.ndarray) -> np.ndarray:
    """A [d, rank] with A Aᵀ = sigma; directions without variance (to rounding) are dropped."""
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])


def sample_factor(features: np.ndarray) -> np.ndarray:
    """Returns `factor` of the unbiased covariance of features [n, d]; [d, n] if n < d."""
    count, dimensions = features.shape
    if count > dimensions:
        return factor(FeatureMoments.of(features).covariance)
    centred = features - features.mean(axis=0, dtype=np.float64)
    return centred.T / np.sqrt(max(count - 1, 1))


def load_statistics(path: epath.PathLike, *, dimensions: int = 2048) -> Statistics:
    """Reads the statistics of a reference set.

    Args:
        path: an .npz with `mu` and `sigma`, as ADM's reference batches, clean-fid and
            `i2sb-evaluate --make-stats` have them, or `feats` [n, d] (clean-fid's for KID), or all.
        dimensions: of the features.

    Raises:
        ValueError: the file is missing or holds no such statistics; one line.
    """
    path = epath.Path(path).expanduser()
    try:
        # by name: ADM's files hold the pictures too
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays: dict[str, Any] = {
                key: file[key] for key in ("mu", "sigma", "feats") if key in file
            }
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it is no .npz of statistics"
        raise ValueError(f"reference statistics {path} cannot be read: {reason}") from None
    for key, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(
                f"reference statistics {path}: {key} has values that are not finite numbers"
            )
    features = arrays.get("feats")
    if features is not None and (features.ndim != 2 or features.shape[1] != dimensions):
        raise ValueError(
            f"reference statistics {path}: feats is {features.shape}, must be [n, {dimensions}]"
        )
    if features is not None and not {"mu", "sigma"} & set(arrays):  # as clean-fid's for KID
        moments = FeatureMoments.of(features)
        arrays |= {"mu": moments.mean, "sigma": moments.covariance}
    wanted = {"mu": (dimensions,), "sigma": (dimensions, dimensions)}
    for key, shape in wanted.items():
        found = arrays[key].shape if key in arrays else "absent"
        if found != shape:
            raise ValueError(f"reference statistics {path}: {key} is {found}, must be {shape}")
    return Statistics(
        mu=arrays["mu"].astype(np.float64), sigma=arrays["sigma"].astype(np.float64),
        features=features,
    )  # fmt: skip


def save_statistics(
    path: epath.PathLike, moments: FeatureMoments, *, features: np.ndarray | None = None
) -> None:
    """Writes what `load_statistics` reads: mu, sigma, count, and feats if there are features."""
    arrays = {"mu": moments.mean, "sigma": moments.covariance, "count": np.int64(moments.count)}
    if features is not None:
        arrays["feats"] = features
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
