r"""What a perfect network answers for any bridge, where pairs are a mixture of Gaussians.

Let (x_0, x_T) be a mixture with weights w_k, means and covariances, over four coordinates, and

    x_t = a_t·x_T + b_t·x_0 + c_t·z,    z ~ N(0, I).                                       (1)

A network that sees x_T beside x_t knows of each component, from x_T alone, the weight w_k(x_T) ∝
w_k·N(x_T; m_1k, Σ_11k), and that

    x_0 ~ N(μ_k, S_k),    μ_k = m_0k + G_k·(x_T - m_1k),    S_k = Σ_00k - G_k·Σ_10k,

    G_k = Σ_01k·Σ_11k⁻¹.

With r_k = x_t - a·x_T - b·μ_k and C_k = b²·S_k + c²·I it then is, by Bayes' rule,

    E[x_0 | x_t, x_T] = Σ_k γ_k·(μ_k + b·S_k·C_k⁻¹·r_k),    γ_k ∝ w_k(x_T)·N(r_k; 0, C_k).  (2)

A network that sees x_t alone has w_k and the whole covariance in their places,

    E[x_0 | x_t] = Σ_k γ_k·(m_0k + (b·Σ_00k + a·Σ_01k)·C_k⁻¹·r_k),  γ_k ∝ w_k·N(r_k; 0, C_k),  (3)

with r_k = x_t - a·m_1k - b·m_0k and C_k its covariance. Both are one formula, in which what is
known of (x_0, x_T) has a mean that is affine in x_T: constant, for the second.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.toy_2d.closed_form import Mixture
from i2sb_jax.bridge import Bridge
from i2sb_jax.types import Array


class Answer(NamedTuple):
    """Eq. (2) or (3) for each index of a bridge, as tables of `components` and `num_steps`.

    Attributes:
        log_weights: of the components, up to a constant that they share, [components].
        end_means, end_precisions: of x_T, for w_k(x_T), [components, 2] and [components, 2, 2];
            the latter is zero for a network that does not see x_T.
        base, slope: (x_0, x_T) is expected at base + slope·x_T; [components, 4] and [.., 4, 2].
        a, b: of the bridge, [num_steps].
        gains: what is multiplied by r, [num_steps, components, 2, 2].
        precisions, log_dets: C⁻¹ and log det C, [num_steps, components, 2, 2] and without 2, 2.
    """

    log_weights: Array
    end_means: Array
    end_precisions: Array
    base: Array
    slope: Array
    a: Array
    b: Array
    gains: Array
    precisions: Array
    log_dets: Array


class Given(NamedTuple):
    """The law of x_0 given x_T, a mixture whose weights and means depend on x_T.

    Attributes:
        log_weights: of the components, [components].
        ends, precisions: mean and inverse covariance of x_T, [components, 2], [components, 2, 2].
        starts, slopes: μ = starts + slopes·(x_T - ends), [components, 2], [components, 2, 2].
        covs: S, [components, 2, 2].
    """

    log_weights: np.ndarray
    ends: np.ndarray
    precisions: np.ndarray
    starts: np.ndarray
    slopes: np.ndarray
    covs: np.ndarray

    @classmethod
    def of(cls, plan: Mixture) -> "Given":
        """Conditions the law of (x_0, x_T)."""
        precisions = np.linalg.inv(plan.covs[:, 2:, 2:])
        slopes = plan.covs[:, :2, 2:] @ precisions
        log_weights = np.log(plan.weights) + np.linalg.slogdet(precisions)[1] / 2
        return cls(
            log_weights=log_weights - log_weights.max(), ends=plan.means[:, 2:],
            precisions=precisions, starts=plan.means[:, :2], slopes=slopes,
            covs=plan.covs[:, :2, :2] - slopes @ plan.covs[:, 2:, :2],
        )  # fmt: skip

    def weights(self, x1: np.ndarray) -> np.ndarray:
        """w_k(x_T) for x_T [count, 2], of sum one; [count, components]."""
        apart = x1[:, None] - self.ends
        solved = np.einsum("kij,pkj->pki", self.precisions, apart)
        logits = self.log_weights - (apart * solved).sum(axis=-1) / 2
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def means(self, x1: np.ndarray) -> np.ndarray:
        """μ_k for x_T [count, 2]; [count, components, 2]."""
        return self.starts + np.einsum("kij,pkj->pki", self.slopes, x1[:, None] - self.ends)

    def mean(self, x1: np.ndarray) -> np.ndarray:
        """E[x_0 | x_T], [count, 2]."""
        return np.einsum("pk,pki->pi", self.weights(x1), self.means(x1))

    def draw(self, rng: np.random.Generator, x1: np.ndarray) -> np.ndarray:
        """Draws one x_0 for each x_T, [count, 2]."""
        below = np.cumsum(self.weights(x1), axis=1) < rng.uniform(size=(len(x1), 1))
        chosen = np.minimum(below.sum(axis=1), len(self.log_weights) - 1)
        roots = np.linalg.cholesky(self.covs)[chosen]
        noise = np.einsum("pij,pj->pi", roots, rng.standard_normal(x1.shape))
        return self.means(x1)[np.arange(len(x1)), chosen] + noise


class Affine(NamedTuple):
    """The answer of a single Gaussian, M_n·x_t + K_n·x_T + v_n at index n.

    Attributes:
        state: M, [num_steps, 2, 2].
        end: K, [num_steps, 2, 2].
        offset: v, [num_steps, 2].
    """

    state: np.ndarray
    end: np.ndarray
    offset: np.ndarray


def answer(plan: Mixture, bridge: Bridge, *, deterministic: bool = False) -> Answer:
    """Eq. (2) where the network of the bridge sees x_T beside x_t, else Eq. (3); float64.

    Args:
        plan: the law of (x_0, x_T).
        bridge: a, b, c and x1_input.
        deterministic: trained without noise: c is 0.
    """
    covs, slope = plan.covs, np.zeros_like(plan.covs[:, :, 2:])
    known = Given.of(plan)
    if bridge.x1_input:
        slope = np.concatenate([known.slopes, np.broadcast_to(np.eye(2), known.covs.shape)], axis=1)
        covs = np.zeros_like(covs)
        covs[:, :2, :2] = known.covs
    else:
        log_weights, precisions = np.log(plan.weights), np.zeros_like(known.precisions)
        known = known._replace(log_weights=log_weights, precisions=precisions)
    a, b, c = (np.asarray(x, np.float64) for x in (bridge.a, bridge.b, bridge.c))
    c = np.zeros_like(c) if deterministic else c
    lift = (b[:, None, None] * np.eye(2, 4) + a[:, None, None] * np.eye(2, 4, k=2))[:, None]
    with_state = covs[:, :2] @ np.swapaxes(lift, 2, 3)  # Cov(x_0, x_t), [num_steps, components]
    spread = lift @ covs @ np.swapaxes(lift, 2, 3) + (c**2)[:, None, None, None] * np.eye(2)
    # where nothing but x_T is in x_t, that tells nothing more of x_0
    told = ~((b == 0) & (c == 0) & bridge.x1_input)[:, None, None, None]
    inverse = np.where(told, np.linalg.inv(np.where(told, spread, np.eye(2))), 0.0)
    return Answer(
        log_weights=known.log_weights, end_means=known.ends, end_precisions=known.precisions,
        base=plan.means - np.einsum("kij,kj->ki", slope, known.ends), slope=slope, a=a, b=b,
        gains=with_state @ inverse, precisions=inverse,
        log_dets=np.linalg.slogdet(np.where(told, spread, np.eye(2)))[1],
    )  # fmt: skip


def affine(tables: Answer) -> Affine:
    """The answer of one component, whose weight is always one.

    Raises:
        ValueError: there are several.
    """
    if len(tables.log_weights) != 1:
        raise ValueError(f"{len(tables.log_weights)} components: only one Gaussian's D is linear")
    gains, (base,), (slope,) = tables.gains[:, 0], tables.base, tables.slope
    lift = tables.b[:, None, None] * np.eye(2, 4) + tables.a[:, None, None] * np.eye(2, 4, k=2)
    rest = np.eye(2, 4) - gains @ lift
    return Affine(state=gains, end=rest @ slope, offset=rest @ base)


def single(tables: Answer) -> Answer:
    """The tables in float32, as the predictor takes them."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tables)


def posterior_mean(tables: Answer, xt: Array, x1: Array, step: Array) -> jax.Array:
    """E[x_0 | x_t, x_T] or E[x_0 | x_t], what a perfect network answers.

    Args:
        tables: in float32.
        xt: x_t, [batch, 2].
        x1: x_T, [batch, 2].
        step: the index.

    Returns:
        [batch, 2].
    """

    # a pair of coordinates, [components, batch] each: arrays of pairs are slower than two arrays
    def times(matrix, pair):
        return tuple(row[:, 0, None] * pair[0] + row[:, 1, None] * pair[1] for row in
                     (matrix[:, 0], matrix[:, 1]))  # fmt: skip

    def plus(one, other, factor=1.0):
        return tuple(x + factor * y for x, y in zip(one, other, strict=True))

    def squared(pair, precisions):
        return sum(x * y for x, y in zip(pair, times(precisions, pair), strict=True))

    def columns(points):
        return points[..., 0][:, None], points[..., 1][:, None]

    end, state = (tuple(x.T[:, None]) for x in (x1, xt))  # [1, batch] each
    start_mean = plus(columns(tables.base[:, :2]), times(tables.slope[:, :2], end))
    end_mean = plus(columns(tables.base[:, 2:]), times(tables.slope[:, 2:], end))
    rest = plus(plus(state, start_mean, -tables.b[step]), end_mean, -tables.a[step])
    apart = plus(end, columns(tables.end_means), -1.0)
    quadratic = squared(rest, tables.precisions[step]) + squared(apart, tables.end_precisions)
    logits = (tables.log_weights - tables.log_dets[step] / 2)[:, None] - quadratic / 2
    gamma = jax.nn.softmax(logits, axis=0)
    expected = plus(start_mean, times(tables.gains[step], rest))
    return jnp.stack([(gamma * x).sum(axis=0) for x in expected], axis=1)
