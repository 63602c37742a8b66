r"""Schrödinger bridges that are known in closed form.

Take Brownian motion of total variance σ_T² as the reference, which is I²SB's process. The bridge
between two distributions is the coupling

    π(x_0, x_1) ∝ φ_0(x_0) · N(x_1; x_0, σ_T²·I) · φ_1(x_1),                               (1)

whose potentials φ are such that its marginals are the two distributions; between its ends the path
is a Brownian bridge. Given x_1, π(x_0 | x_1) ∝ φ_0(x_0) · N(x_0; x_1, σ_T²·I). In between,

    x_t = a_t·x_1 + b_t·x_0 + c_t·z,    z ~ N(0, I),                                       (2)
    a = σ_t²/σ_T²,    b = 1 - a,    c² = σ_t²·b,

and, because the path is Markov, what is known of x_0 at x_t does not depend on x_1:

    p(x_0 | x_t) ∝ φ_0(x_0) · N(x_0; x_t, σ_t²·I),    D(x_t, t) = E[x_0 | x_t].            (3)

D is what a perfect network would answer.

**Mixtures.** Let φ_0 = Σ_i w_i·N(r_i, s_i·I) and φ_1 = Σ_j v_j·N(q_j, u_j·I). Then Eq. (1) is a
mixture over pairs (i, j). With S = s_i + u_j + σ_T², each pair has the weight w_i·v_j·N(r_i; q_j,
S·I), and in it

    E x_0 = (r_i·(σ_T² + u_j) + q_j·s_i) / S,     E x_1 = (q_j·(σ_T² + s_i) + r_i·u_j) / S,  (4)
    Var x_0 = s_i·(σ_T² + u_j) / S,    Var x_1 = u_j·(σ_T² + s_i) / S,    Cov = s_i·u_j / S.  (5)

By Eq. (3), with γ_i(x) ∝ w_i·N(x; r_i, (s_i + σ_t²)·I) that sum to one,

    D(x, t) = Σ_i γ_i(x) · (r_i·σ_t² + x·s_i) / (s_i + σ_t²).                              (6)

**Gaussians.** Between N(m_0, Σ_0) and N(m_1, Σ_1) the coupling is Gaussian, with

    Cov(x_1, x_0) = Σ_1^½·(Σ_1^½·Σ_0·Σ_1^½ + σ_T⁴/4·I)^½·Σ_1^-½ - σ_T²/2·I                 (7)

(Janati et al., arXiv 2006.02572, with ε = 2σ_T² there; Mallasto et al., arXiv 2006.03416), and D
is linear regression on x_t, by Eq. (2) (`conditional.affine`).

All arrays are float64 NumPy ones; the predictors answer in JAX.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.bridge import Bridge
from i2sb_jax.types import Array, PredictX0Fn


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixture of Gaussians in `d` dimensions.

    Attributes:
        weights: [components], positive, of sum one.
        means: [components, d].
        covs: covariances, [components, d, d].
    """

    weights: np.ndarray
    means: np.ndarray
    covs: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Potential:
    """A mixture of round Gaussians, the φ of Eq. (1); its mass does not matter.

    Attributes:
        weights: [components], positive.
        means: [components, 2].
        variances: of each coordinate, [components], positive.
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


def gaussian_plan(
    *, mean0: Array, cov0: Array, mean1: Array, cov1: Array, variance: float
) -> Mixture:
    """The coupling of two Gaussians, Eq. (7).

    Args:
        mean0: m_0, [2].
        cov0: Σ_0, [2, 2], positive definite.
        mean1: m_1, [2].
        cov1: Σ_1, [2, 2], positive definite.
        variance: σ_T², positive.

    Returns:
        One Gaussian over (x_0, x_1), [4].
    """
    root = symmetric_root(cov1)
    middle = symmetric_root(root @ cov0 @ root + variance**2 / 4 * np.eye(2))
    cross = root @ middle @ np.linalg.inv(root) - variance / 2 * np.eye(2)  # of x_1 with x_0
    cov = np.block([[np.asarray(cov0), cross.T], [cross, np.asarray(cov1)]])
    mean = np.concatenate([mean0, mean1])
    return Mixture(weights=np.ones(1), means=mean[None], covs=cov[None])


def mixture_plan(phi0: Potential, phi1: Potential, *, variance: float) -> Mixture:
    """The coupling of two mixtures by its potentials, Eq. (4) and (5).

    Args:
        phi0: φ_0.
        phi1: φ_1.
        variance: σ_T², positive.

    Returns:
        A mixture over (x_0, x_1), one component for each pair of theirs.
    """
    pairs = [(i, j) for i in range(len(phi0.weights)) for j in range(len(phi1.weights))]
    i, j = np.transpose(pairs)
    s, u = phi0.variances[i], phi1.variances[j]
    r, q = phi0.means[i], phi1.means[j]
    total = s + u + variance
    distance2 = ((r - q) ** 2).sum(axis=1)
    weights = phi0.weights[i] * phi1.weights[j] * np.exp(-distance2 / (2 * total)) / total
    mean0 = (r * (variance + u)[:, None] + q * s[:, None]) / total[:, None]
    mean1 = (q * (variance + s)[:, None] + r * u[:, None]) / total[:, None]
    blocks = np.array([[s * (variance + u), s * u], [s * u, u * (variance + s)]]) / total
    return Mixture(
        weights=weights / weights.sum(),
        means=np.concatenate([mean0, mean1], axis=1),
        covs=np.array([np.kron(block, np.eye(2)) for block in np.moveaxis(blocks, 2, 0)]),
    )


def pairs_at(plan: Mixture, bridge: Bridge, step: int) -> Mixture:
    """The law of (x_t, x_1) at an index, Eq. (2).

    Args:
        plan: the coupling over (x_0, x_1).
        bridge: a, b and c.
        step: the index, 0 … num_steps - 1.

    Returns:
        A mixture over (x_t, x_1), [4].
    """
    a, b, c = (float(values[step]) for values in (bridge.a, bridge.b, bridge.c))
    lift = np.kron([[b, a], [0.0, 1.0]], np.eye(2))
    noise = np.kron([[c**2, 0.0], [0.0, 0.0]], np.eye(2))
    return Mixture(
        weights=plan.weights, means=plan.means @ lift.T, covs=lift @ plan.covs @ lift.T + noise
    )


def first_half(pairs: Mixture) -> Mixture:
    """The marginal of the first two of four coordinates."""
    return Mixture(weights=pairs.weights, means=pairs.means[:, :2], covs=pairs.covs[:, :2, :2])


def second_half(pairs: Mixture) -> Mixture:
    """The marginal of the last two of four coordinates."""
    return Mixture(weights=pairs.weights, means=pairs.means[:, 2:], covs=pairs.covs[:, 2:, 2:])


def draw(rng: np.random.Generator, mixture: Mixture, count: int) -> np.ndarray:
    """Independent draws, [count, d]."""
    chosen = rng.choice(len(mixture.weights), size=count, p=mixture.weights)
    factors = np.linalg.cholesky(mixture.covs)
    noise = rng.standard_normal((count, mixture.means.shape[1]))
    return mixture.means[chosen] + np.einsum("nij,nj->ni", factors[chosen], noise)


def density(mixture: Mixture, points: np.ndarray) -> np.ndarray:
    """The density at points [..., d]; [...]."""
    centred = points[..., None, :] - mixture.means
    solved = np.einsum("kij,...kj->...ki", np.linalg.inv(mixture.covs), centred)
    scale = mixture.weights / np.sqrt(np.linalg.det(2 * np.pi * mixture.covs))
    return (np.exp(-(centred * solved).sum(axis=-1) / 2) * scale).sum(axis=-1)


def transport_cost(pairs: Mixture) -> float:
    """E‖x_0 - x_1‖² of a law of four coordinates."""
    apart = np.concatenate([np.eye(2), -np.eye(2)], axis=1)
    spread = np.trace(apart @ pairs.covs @ apart.T, axis1=1, axis2=2)
    return float(pairs.weights @ (spread + ((pairs.means @ apart.T) ** 2).sum(axis=1)))


def mixture_predictor(phi0: Potential, bridge: Bridge) -> PredictX0Fn:
    """D of Eq. (6): (xt [batch, 2], step) -> E[x_0 | x_t], [batch, 2].

    Args:
        phi0: φ_0; φ_1 does not matter.
        bridge: its scale is σ.
    """
    std = jnp.asarray(bridge.scale, jnp.float32)
    means, own = (jnp.asarray(x, jnp.float32) for x in (phi0.means, phi0.variances))
    log_weights = jnp.asarray(np.log(phi0.weights), jnp.float32)

    def predict(xt, step):
        noise = std[step] ** 2
        total = own + noise  # [components]
        distance2 = ((xt[:, None, :] - means[None]) ** 2).sum(axis=-1)
        logits = (log_weights - jnp.log(total))[None] - distance2 / (2 * total)[None]
        gamma = jax.nn.softmax(logits, axis=-1)  # [batch, components]
        toward = (gamma * (noise / total)[None]) @ means
        return toward + (gamma @ (own / total))[:, None] * xt

    return predict


def symmetric_root(matrix: Array) -> np.ndarray:
    """The square root of a symmetric matrix without negative eigenvalues, [d, d]."""
    values, vectors = np.linalg.eigh(matrix)
    # rounding may leave a zero eigenvalue a little below zero
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
