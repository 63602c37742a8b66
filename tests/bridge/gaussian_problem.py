r"""A bridge whose exact predictor, path and end are known: x_0 | x_T ~ N(μ, s²).

Then x_t | x_T ~ N(a·x_T + b·μ, v) with v_t = b²s² + c², the predictor is

    E[x_0 | x_t, x_T] = μ + (b·s²/v_t)·(x_t - a·x_T - b·μ),

and the ODE that keeps these marginals moves x_t - mean_t in proportion to √v_t. As the predictor is
affine, so is every sampler: what it ends with is Gaussian, with moments that are propagated here.
"""

import numpy as np

MEAN, STD, X_T = 0.3, 0.4, -0.5


def mean(bridge, t):
    return bridge.a[t] * X_T + bridge.b[t] * MEAN


def std(bridge, t):
    return np.sqrt((bridge.b[t] * STD) ** 2 + bridge.c[t] ** 2)


def predictor(bridge, t, x):
    gain = bridge.b[t] * STD**2 / std(bridge, t) ** 2 if bridge.b[t] > 0 else 0.0
    return MEAN + gain * (x - mean(bridge, t))


def moments_of_end(bridge, weights, steps):
    """Mean and standard deviation of what a sampler of these weights ends with."""
    nfe, down = len(steps) - 1, steps[::-1]
    # an affine function of the noises: its value at zero, and its slope in each
    start = np.append(X_T, np.zeros(nfe))
    x, history = start, []
    for i in range(nfe):
        slopes = predictor(bridge, down[i], x) - predictor(bridge, down[i], 0.0)
        slopes[0] = predictor(bridge, down[i], x[0])
        history.insert(0, slopes)
        noise = np.zeros(nfe + 1)
        noise[i + 1] = weights.std[i]
        used = min(weights.x0.shape[1], len(history))
        seen = sum(weights.x0[i, k] * history[k] for k in range(used))
        x = weights.xt[i] * x + seen + weights.x1[i] * start + noise
    return x[0], np.linalg.norm(x[1:])


def error_of_end(bridge, weights, steps):
    """Distance of the end's mean and deviation from the closed form."""
    x, deviation = moments_of_end(bridge, weights, steps)
    return np.hypot(x - mean(bridge, steps[0]), deviation - std(bridge, steps[0]))


def slope(counts, errors):
    """Of log error against log count, turned positive."""
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]
