r"""Restoration in the plane: what is measured tells one coordinate of two, and with noise.

A clean point x_0 is of a prior, a Gaussian or a ring of six blobs, and the measurement is

    y = P·x_0 + σ_n·z,    P = diag(1, 0).                                                  (1)

A bridge starts at x_T = y, or at the posterior mean with noise, x_T = m(y) + σ_s·z. With the first
(x_0, x_T) is a mixture; so it is with the second but for m, which bends: its integral over y is
taken by nodes of the first coordinate, on which alone x_0 depends, and each node is a component.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from experiments.toy_2d import closed_form, conditional
from experiments.toy_2d.closed_form import Mixture
from experiments.toy_2d.problems import BETA_MAX, NUM_STEPS, ring
from i2sb_jax.bridge import Bridge, make_bridge

NOISE = 0.25  # σ_n
START_NOISE = 0.2  # σ_s, as `bridge.start_noise`
GAMMA = 0.25  # of the linear bridge with noise
PENALTY = 100.0  # of UniDB: 0.09 of noise at T
_NODES, _RANGE, _LIGHTEST = 61, 2.4, 1e-5

WITH_NOISE = ("ddpm", "implicit", "implicit2", "heun", "exponential")
FLOWS = ("ode", "ode2")

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""(rng, count) -> x_0 [count, 2] and x_T [count, 2]."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Restoring:
    """A law of clean points and of where the bridge starts.

    Attributes:
        plan: the law of (x_0, x_T).
        draw: from it; of a start at the posterior mean without the nodes.
    """

    plan: Mixture
    draw: Draw


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A bridge with the perfect network that belongs to it.

    Attributes:
        bridge: its x1_input says whether the network sees x_T.
        deterministic: trained without noise.
        samplers: which suit it.
        start: "y" or "mean".
    """

    bridge: Bridge
    deterministic: bool = False
    samplers: tuple[str, ...] = WITH_NOISE
    start: str = "y"

    @property
    def spacings(self) -> tuple[str, ...]:
        """Grids that are measured; there is no λ without noise."""
        return ("index", "lambda") if self.start == "y" and not self.deterministic else ("index",)


def make_methods() -> Mapping[str, Method]:
    """The bridges of the library, by their names here; all but flows see x_T."""

    def bridge(name, *, x1_input=True, gamma=GAMMA):
        return make_bridge(
            name, num_steps=NUM_STEPS, beta_max=BETA_MAX, gamma=gamma, penalty=PENALTY,
            x1_input=x1_input,
        )  # fmt: skip

    names = ("i2sb", "i2sb-exact", "brownian", "vp", "ou", "unidb", "irsde", "resshift", "nadb")
    methods = {name: Method(bridge=bridge(name)) for name in (*names, "linear")}
    flow = {"deterministic": True, "samplers": FLOWS}
    line, straight = bridge("linear", gamma=0.0, x1_input=False), bridge("i2sb", x1_input=False)
    methods["flow"] = Method(bridge=line, **flow)
    methods["i2sb OT-ODE"] = Method(bridge=straight, **flow)
    methods["i2sb, x_t alone"] = Method(bridge=straight)
    for name in ("nadb", "linear", "flow"):
        samplers = methods[name].samplers if name == "flow" else ("ddpm", "implicit2")
        methods[f"{name} from mean"] = dataclasses.replace(
            methods[name], start="mean", samplers=samplers
        )
    return methods


def gaussian() -> Restoring:
    """A stretched Gaussian, measured; it starts at y."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    cov = turn @ np.diag([0.5**2, 0.15**2]) @ turn.T
    prior = Mixture(weights=np.ones(1), means=np.array([[0.3, -0.2]]), covs=cov[None])
    return _from_measurement(prior)


def ring_of_six() -> Restoring:
    """Six blobs on a circle, measured; it starts at y."""
    blobs = ring(6, radius=1.0, std=0.1, turn=15)
    covs = blobs.variances[:, None, None] * np.eye(2)
    return _from_measurement(Mixture(weights=blobs.weights, means=blobs.means, covs=covs))


def _from_measurement(prior: Mixture) -> Restoring:
    seen = np.diag([1.0, 0.0])
    lift = np.concatenate([np.eye(2), seen])
    noise = np.diag([0.0, 0.0, NOISE**2, NOISE**2])
    plan = Mixture(
        weights=prior.weights, means=prior.means @ lift.T, covs=lift @ prior.covs @ lift.T + noise
    )

    def draw(rng, count):
        pairs = closed_form.draw(rng, plan, count)
        return pairs[:, :2], pairs[:, 2:]

    return Restoring(plan=plan, draw=draw)


def from_posterior_mean(measured: Restoring) -> Restoring:
    """The same clean points, with x_T = E[x_0 | y] + σ_s·z."""
    known = conditional.Given.of(measured.plan)
    nodes = np.linspace(-_RANGE, _RANGE, _NODES)
    at = np.stack([nodes, np.zeros(_NODES)], axis=1)
    heights = closed_form.density(closed_form.second_half(measured.plan), at)
    weights, means = known.weights(at), known.means(at)  # [nodes, components], and 2 more
    ends = np.broadcast_to(known.mean(at)[:, None], means.shape)
    covs = np.zeros((*weights.shape, 4, 4))
    covs[..., :2, :2], covs[..., 2:, 2:] = known.covs, START_NOISE**2 * np.eye(2)
    weights = weights * (heights / heights.sum())[:, None]
    kept = weights > _LIGHTEST
    plan = Mixture(
        weights=weights[kept] / weights[kept].sum(),
        means=np.concatenate([means, ends], axis=-1)[kept], covs=covs[kept],
    )  # fmt: skip

    def draw(rng, count):
        x0, y = measured.draw(rng, count)
        return x0, known.mean(y) + START_NOISE * rng.standard_normal(y.shape)

    return Restoring(plan=plan, draw=draw)
