"""From X_1 to X_0 by the bridge's own posterior (SDE or OT-ODE), and all samplers by name."""

from collections.abc import Callable, Sequence

import jax

from i2sb_jax.bridge.ancestral import posterior_steps
from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.gaussian import Bridge
from i2sb_jax.bridge.implicit import check_implicit, implicit_steps
from i2sb_jax.bridge.second_order import FORMS, second_order_steps
from i2sb_jax.bridge.walk import FRESH, NEVER, ONCE, NormalFn, Samples, Steps, check_grid, walk
from i2sb_jax.types import Array, PredictX0Fn, PRNGKey

SAMPLERS = ("ddpm", "ode", "implicit", "implicit2", "implicit3", "heun", "exponential", "ode2")
WITHOUT_NOISE = ("ode", "ode2")  # samplers of the OT-ODE
_ORDER = {"implicit": 1, "implicit2": 2, "implicit3": 3}

Sampler = Callable[..., Samples]
"""(key, schedule, predict_x0_fn, x1, *, steps, mask=, record=, normal_fn=) -> Samples."""


def make_sampler(name: str, *, eta: float = 0.0) -> Sampler:
    """A sampler by its name; all have one interface, that of `sample` without `deterministic`.

    | name | |
    |---|---|
    | "ddpm" | the bridge's posterior, I²SB Algorithm 2 |
    | "ode" | the same without noise, OT-ODE, I²SB Eq. (13) |
    | "implicit" | `sample_implicit`, first order, with η = `eta` |
    | "implicit2", "implicit3" | `sample_implicit`, second and third order |
    | "heun", "exponential" | `sample_second_order`, two evaluations a step |
    | "ode2" | the same by Heun's rule without noise, OT-ODE |

    Args:
        name: one of SAMPLERS.
        eta: of "implicit", 0 … 1.

    Returns:
        (key, schedule, predict_x0_fn, x1, *, steps, mask=None, record=(), normal_fn=…) -> Samples.

    Raises:
        ValueError: another name, or an eta that it does not take.
    """
    _check(name, eta)

    def sampler(
        key: PRNGKey | None,
        schedule: Bridge,
        predict_x0_fn: PredictX0Fn,
        x1: Array,
        *,
        steps: Sequence[int],
        mask: Array | None = None,
        record: tuple[int, ...] = (),
        normal_fn: NormalFn = jax.random.normal,
    ) -> Samples:
        check_grid(schedule.num_steps, steps, record)
        weights, visited, noise = sampler_steps(name, schedule, steps, eta=eta)
        return walk(
            key, weights, predict_x0_fn, x1, steps=visited, noise=noise,
            mask=mask, record=record, normal_fn=normal_fn,
        )  # fmt: skip

    return sampler


def sampler_steps(
    name: str, schedule: Bridge, steps: Sequence[int], *, eta: float = 0.0
) -> tuple[Steps, tuple[int, ...], str]:
    """Returns what a sampler gives to `walk`.

    Args:
        name: one of SAMPLERS.
        schedule: the bridge.
        steps: ascending indices, as `step_grid` returns.
        eta: of "implicit".

    Returns:
        The weights of each step, the indices where the network is evaluated (`steps` of `walk`),
        and its word for the noise.

    Raises:
        ValueError: as `make_sampler`, or a grid that it does not take.
    """
    _check(name, eta)
    check_grid(schedule.num_steps, steps, ())
    steps = tuple(steps)
    if name in _ORDER:
        weights = implicit_steps(schedule.pinned(), steps, eta=eta, order=_ORDER[name])
        return weights, steps, FRESH if eta else ONCE
    if name in FORMS:
        return *second_order_steps(schedule, steps, form=name), ONCE
    if name == "ode2":
        return *second_order_steps(schedule, steps, deterministic=True), NEVER
    return posterior_steps(schedule, steps), steps, NEVER if name == "ode" else FRESH


def _check(name: str, eta: float) -> None:
    check_choice("sampler", name, SAMPLERS)
    if eta and name != "implicit":
        raise ValueError(f"eta={eta} is of sampler='implicit'; {name!r} takes none")
    check_implicit(eta=eta, order=_ORDER.get(name, 1))


def sample(
    key: PRNGKey | None,
    schedule: Bridge,
    predict_x0_fn: PredictX0Fn,
    x1: Array,
    *,
    steps: Sequence[int],
    mask: Array | None = None,
    deterministic: bool = False,
    record: tuple[int, ...] = (),
    normal_fn: NormalFn = jax.random.normal,
) -> Samples:
    """Samples X_0 given X_1 by the bridge's posterior (I²SB Algorithm 2).

    Starts at exactly X_1 at the last index, or around it where the bridge does. With a mask, known
    pixels are put back after every step to what the bridge between X_1 and itself holds there,
    X_m ← (1 - mask)·(X_1 + std_m·z) + mask·X_m, with std_m of Eq. (11) and z = 0 for the OT-ODE.

    Args:
        key: random key; not used, and may be None, if `deterministic`.
        schedule: the bridge; of one given by its coefficients known pixels are X_1 at index 0.
        predict_x0_fn: (xt [batch, ...], step int32 scalar) -> X̂_0 [batch, ...].
        x1: degraded end, [batch, ...].
        steps: ascending indices, as `step_grid` returns; len(steps) - 1 evaluations are made.
        mask: [batch or 1, h, w, 1], 1 = hole; None where nothing is known.
        deterministic: OT-ODE: no noise anywhere, Eq. (13).
        record: positions in `steps` (0 = the end of the bridge, X_0) whose states are returned;
            static. The last position, where sampling starts, is refused.
        normal_fn: draws all noise; see `sampling.window_normal` for windows of pictures.

    Returns:
        Samples.

    Raises:
        ValueError: `steps` is not an ascending grid ending at num_steps - 1, or `record` holds
            something that is not a position in it.
    """
    return make_sampler("ode" if deterministic else "ddpm")(
        key, schedule, predict_x0_fn, x1, steps=steps,
        mask=mask, record=record, normal_fn=normal_fn,
    )  # fmt: skip
