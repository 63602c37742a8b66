r"""How far two distributions are from each other: the 2-Wasserstein distance, and its slices.

Between Gaussians it is known (Bures),

    W² = ‖m - m'‖² + tr(Σ + Σ' - 2·(Σ^½·Σ'·Σ^½)^½),                                        (1)

and for samples of one dimension it pairs them in order. Sliced, it is the root of the mean square
over projections on directions θ,

    SW² = mean over θ of W²(θ·x, θ·x').                                                    (2)
"""

import numpy as np

from experiments.toy_2d.closed_form import Mixture, symmetric_root


def gaussian_distance(one: Mixture, other: Mixture) -> float:
    """Eq. (1) between mixtures of a single component.

    Raises:
        ValueError: one has several.
    """
    if len(one.weights) != 1 or len(other.weights) != 1:
        raise ValueError("the distance is known between single Gaussians only")
    cov, cov_other = one.covs[0], other.covs[0]
    root, root_other = symmetric_root(cov), symmetric_root(cov_other)
    # tr (Σ^½·Σ'·Σ^½)^½ is the sum of the singular values of Σ'^½·Σ^½, which are exact to more
    # digits than the root of the product
    cross = np.linalg.svd(root_other @ root, compute_uv=False).sum()
    mean = ((one.means[0] - other.means[0]) ** 2).sum()
    return float(np.sqrt(max(mean + np.trace(cov) + np.trace(cov_other) - 2 * cross, 0.0)))


def directions(dimension: int, count: int) -> np.ndarray:
    """Unit vectors, the same ones always, [count, dimension]."""
    vectors = np.random.default_rng(0).standard_normal((count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def with_images(pairs: np.ndarray, symmetries: np.ndarray) -> np.ndarray:
    """Each pair of points of the plane and its images; [count, 4] to [count · symmetries, 4].

    Where a law has symmetries, so has the estimate then: the chance with which a draw fell to one
    of two places that are each other's images is taken out of it.
    """
    images = np.einsum("gij,npj->gnpi", symmetries, pairs.reshape(-1, 2, 2))
    return images.reshape(-1, 4)


def slices(points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Sorted projections of points [count, d] on directions [k, d]; [k, count]."""
    return np.sort(along @ np.asarray(points, np.float64).T, axis=1)


def sliced_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Eq. (2) between two samples of one size, by their `slices` on the same directions."""
    return float(np.sqrt(((one - other) ** 2).mean()))
