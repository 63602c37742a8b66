"""The two problems: a pair of Gaussians, and three blobs that become a ring of six."""

import dataclasses

import numpy as np

from experiments.toy_2d import closed_form, conditional
from experiments.toy_2d.closed_form import Mixture, Potential
from experiments.toy_2d.conditional import Affine
from i2sb_jax.bridge import BridgeSchedule, i2sb_bridge, make_symmetric_schedule
from i2sb_jax.types import PredictX0Fn

NUM_STEPS, BETA_MAX = 1000, 1.0  # σ_T = 0.497


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A bridge that is known.

    Attributes:
        name: "gaussians" or "mixtures".
        plan: the law of (x_0, x_1).
        predict_x0: what a perfect network answers, (xt [batch, 2], step) -> [batch, 2].
        linear: the same by `conditional.affine`; None: not linear.
        symmetries: rotations and reflections that leave the plan as it is, [count, 2, 2].
    """

    name: str
    plan: Mixture
    predict_x0: PredictX0Fn
    linear: Affine | None
    symmetries: np.ndarray


def make_schedule() -> BridgeSchedule:
    """I²SB's, with 1000 steps and beta_max = 1."""
    return make_symmetric_schedule(num_steps=NUM_STEPS, beta_max=BETA_MAX)


def make_problems(schedule: BridgeSchedule) -> tuple[Problem, Problem]:
    """Both problems, for the process of that schedule in its exact convention."""
    return gaussians(schedule), mixtures(schedule)


def gaussians(schedule: BridgeSchedule) -> Problem:
    """Two stretched Gaussians, given by their means and covariances."""
    bridge = i2sb_bridge(schedule)
    plan = closed_form.gaussian_plan(
        mean0=np.array([0.55, 0.3]), cov0=_ellipse(0.32, 0.10, degrees=-40),
        mean1=np.array([-0.55, -0.3]), cov1=_ellipse(0.30, 0.12, degrees=60),
        variance=_variance(schedule),
    )  # fmt: skip
    tables = conditional.answer(plan, bridge)
    single = conditional.single(tables)
    return Problem(
        name="gaussians",
        plan=plan,
        predict_x0=lambda xt, step: conditional.posterior_mean(single, xt, xt, step),
        linear=conditional.affine(tables),
        symmetries=np.eye(2)[None],
    )


def mixtures(schedule: BridgeSchedule) -> Problem:
    """Three blobs about the middle and a ring of six, given by their potentials."""
    phi0, phi1 = ring(6, radius=1.0, std=0.08, turn=0), ring(3, radius=0.55, std=0.14, turn=90)
    return Problem(
        name="mixtures",
        plan=closed_form.mixture_plan(phi0, phi1, variance=_variance(schedule)),
        predict_x0=closed_form.mixture_predictor(phi0, i2sb_bridge(schedule)),
        linear=None,
        symmetries=_triangle(),
    )


def ring(count: int, *, radius: float, std: float, turn: float) -> Potential:
    """Equal round blobs evenly on a circle, the first at `turn` degrees."""
    angles = 2 * np.pi * np.arange(count) / count + np.radians(turn)
    return Potential(
        weights=np.full(count, 1 / count),
        means=radius * np.stack([np.cos(angles), np.sin(angles)], axis=1),
        variances=np.full(count, std**2),
    )


def _ellipse(long: float, short: float, *, degrees: float) -> np.ndarray:
    """A covariance by the standard deviations along its axes; the long one turned by so much."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    return turn @ np.diag([long**2, short**2]) @ turn.T


def _triangle() -> np.ndarray:
    """The six ways in which a triangle with a corner at the top lies on itself, [6, 2, 2]."""
    cos, sin = np.cos(2 * np.pi / 3), np.sin(2 * np.pi / 3)
    third, mirror = np.array([[cos, -sin], [sin, cos]]), np.diag([-1.0, 1.0])
    turns = [np.eye(2), third, third @ third]
    return np.array([turn @ flip for turn in turns for flip in (np.eye(2), mirror)])


def _variance(schedule: BridgeSchedule) -> float:
    return float(schedule.scale[-1]) ** 2
