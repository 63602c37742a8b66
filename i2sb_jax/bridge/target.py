r"""Targets of the network's training, and how errors are weighted.

With a bridge's scale s_t (I²SB: σ_t) a state is x_t = x_0 + s_t·ε. A network may predict

    "epsilon"   ε = (x_t - x_0)/s_t                    I²SB, Eq. (12)                    (1)
    "x0"        x_0                                                                     (2)
    "v"         (ε - s_t·x_0)/√(1 + s_t²)              Salimans and Ho, arXiv 2202.00512 (3)

of which (3) is their v = α·ε - σ·x_0 for the variance-preserving state x_t/√(1 + s_t²). At a given
x_t an error e of X̂_0 is an error of -e/s_t in ε and of -e·√(1 + s_t²)/s_t in v. So the squared
errors are those of X̂_0 times

    "epsilon"   1/s_t²,        "x0"   1,        "v"   1 + 1/s_t²                         (4)

and any of these, or of the bridge's own signal-to-noise ratio SNR_t = b_t²/c_t²,

    "snr" SNR_t      "min_snr" min(SNR_t, 5), arXiv 2303.09556      "truncated_snr" max(SNR_t, 1)
                                                                                        (5)
may weight the loss, whatever the network predicts. Where c_0 is 0, SNR is infinite, and "snr" and
"truncated_snr" are refused.
"""

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.gaussian import Bridge, array_module, signal_to_noise
from i2sb_jax.bridge.process import at_step
from i2sb_jax.types import Array

PREDICTIONS = ("epsilon", "x0", "v")
WEIGHTINGS = (*PREDICTIONS, "snr", "min_snr", "truncated_snr")
_MIN_SNR = 5.0  # γ of arXiv 2303.09556


def regression_target(
    schedule: Bridge, step: Array | int, xt: Array, x0: Array, *, prediction: str = "epsilon"
) -> jax.Array:
    """Returns the network's target: by default ε = (X_n - X_0)/σ_n, I²SB's Eq. (12).

    Args:
        schedule: the bridge.
        step: n, int or int [batch].
        xt: X_n, [batch, ...].
        x0: clean end, same shape.
        prediction: "epsilon", "x0" or "v", Eq. (1) to (3) of this module.

    Returns:
        [batch, ...].

    Raises:
        ValueError: another prediction.
    """
    check_choice("prediction", prediction, PREDICTIONS)
    if prediction == "x0":
        return jnp.asarray(x0)
    scale = at_step(schedule.scale, step, xt)
    epsilon = (xt - x0) / scale
    if prediction == "epsilon":
        return epsilon
    return (epsilon - scale * x0) / jnp.sqrt(1 + scale**2)


def predict_x0(
    schedule: Bridge,
    step: Array | int,
    xt: Array,
    output: Array,
    *,
    prediction: str = "epsilon",
    clip: bool = False,
) -> jax.Array:
    """X̂_0 of a network's output, the inverse of `regression_target`: X̂_0 = X_n - σ_n·ε_θ.

    Args:
        schedule: the bridge.
        step: n, int or int [batch].
        xt: X_n, [batch, ...].
        output: of the network, same shape.
        prediction: what it stands for.
        clip: to [-1, 1].

    Returns:
        [batch, ...].

    Raises:
        ValueError: another prediction.
    """
    check_choice("prediction", prediction, PREDICTIONS)
    scale = at_step(schedule.scale, step, xt)
    if prediction == "x0":
        x0 = jnp.asarray(output)
    elif prediction == "epsilon":
        x0 = xt - scale * output
    else:
        x0 = xt / (1 + scale**2) - scale / jnp.sqrt(1 + scale**2) * output
    return jnp.clip(x0, -1.0, 1.0) if clip else x0


def loss_weight(schedule: Bridge, *, prediction: str, weighting: str) -> Array | None:
    """By what the squared error of an output is multiplied at each step, [num_steps].

    It is the weight of X̂_0's squared error, Eq. (4) and (5), over what the prediction gives by
    itself, Eq. (4). None stands for 1 everywhere: a weighting by what is predicted.

    Raises:
        ValueError: an unknown prediction or weighting, or weights that are not finite.
    """
    check_choice("prediction", prediction, PREDICTIONS)
    check_choice("weighting", weighting, WEIGHTINGS)
    if weighting == prediction:
        return None
    snr = signal_to_noise(schedule)
    xp = array_module(snr)
    by_scale = 1 / schedule.scale**2
    weights = {
        "epsilon": by_scale,
        "x0": xp.ones_like(by_scale),
        "v": 1 + by_scale,
        "snr": snr,
        "min_snr": xp.minimum(snr, _MIN_SNR),
        "truncated_snr": xp.maximum(snr, 1.0),
    }
    if xp is np and not np.isfinite(weights[weighting]).all():
        raise ValueError(
            f"weighting={weighting!r} is infinite at index 0, where this bridge has no noise: use "
            "'min_snr'"
        )
    return weights[weighting] / weights[prediction]
