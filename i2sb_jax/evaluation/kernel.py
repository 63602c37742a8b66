"""The kernel distance between two sets of features (KID, Bińkowski et al. 2018, arXiv 1801.01401).

With the kernel k(x, y) = (x·y / d + 1)³, the unbiased estimate of the squared maximum mean
discrepancy (their Eq. 4) is

    E_{i≠j} k(x_i, x_j)  +  E_{i≠j} k(y_i, y_j)  -  2 E_{i,j} k(x_i, y_j)    (E: the mean)

Other tools average it over random subsets of 1000; this is over all pairs, of which that average is
an estimate.
"""

import numpy as np

_BLOCK = 1024  # rows whose kernels are held at once


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased squared distance; near 0, and as often below it, for sets of one distribution.

    Args:
        x: features [n, d], n at least 2.
        y: features [m, d], m at least 2.

    Raises:
        ValueError: fewer, or of different d.
    """
    return float(kernel_distances(x, y, np.ones((1, len(x))))[0])


def kernel_distances(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The distance for resampled x, in one walk over the kernels.

    Args:
        x: features [n, d].
        y: features [m, d].
        counts: [resamples, n], how often each x is drawn; rows sum to n.

    Returns:
        float64 [resamples]. A picture drawn twice is a pair with itself, as in any bootstrap.

    Raises:
        ValueError: fewer than two features, or of different d.
    """
    if min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:]:
        raise ValueError(f"kernel distance of features {x.shape} and {y.shape}: [n, d], n ≥ 2")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n, m = len(x), len(y)
    among_x = np.zeros(len(counts))
    between = np.zeros(n)
    for rows in _blocks(n):
        kernels = _kernel(x[rows], x)
        among_x += np.einsum("ri,ri->r", counts[:, rows] @ kernels, counts)
        # without the pairs of one draw with itself
        own = np.diagonal(kernels, offset=rows.start)[: rows.stop - rows.start]
        among_x -= counts[:, rows] @ own
        between[rows] = _kernel(x[rows], y).sum(axis=1)
    among_y = 0.0
    for rows in _blocks(m):
        kernels = _kernel(y[rows], y)
        among_y += kernels.sum() - np.diagonal(kernels, offset=rows.start).sum()
    return among_x / (n * (n - 1)) + among_y / (m * (m - 1)) - 2 * (counts @ between) / (n * m)


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3
