"""The samplers written out in numpy, float64, sharing nothing with the library.

Noise comes from the same keys as the library's, so that results are comparable draw by draw.
"""

import jax
import numpy as np


def exact_coefficients(schedule):
    """a, b, c of I²SB with σ̄² = σ_T² - σ_t²."""
    var = np.asarray(schedule.std_fwd, np.float64) ** 2
    total = var[-1]
    return var / total, (total - var) / total, np.sqrt(var * (total - var) / total)


def draws(key, nfe, shape):
    """(for the state, for known pixels) of each step, in walking order."""
    for step_key in jax.random.split(key, nfe):
        first, second = jax.random.split(step_key)
        yield tuple(
            np.asarray(jax.random.normal(k, shape, np.float32), np.float64) for k in (first, second)
        )


def once(key, shape):
    return np.asarray(jax.random.normal(key, shape, np.float32), np.float64)


def put_back(x, x1, mask, std, z):
    return x if mask is None else (1 - mask) * (x1 + std * z) + mask * x


def posterior_walk(key, schedule, predict, x1, steps, mask=None, deterministic=False):
    """I²SB Algorithm 2, Eq. (4), with known pixels at the marginal of Eq. (11)."""
    var = np.asarray(schedule.std_fwd, np.float64) ** 2
    bwd = np.asarray(schedule.std_bwd, np.float64) ** 2
    nfe, x = len(steps) - 1, np.asarray(x1, np.float64)
    noise = draws(key, nfe, x.shape) if not deterministic else None
    for n, m in zip(steps[:0:-1], steps[-2::-1], strict=True):
        x0 = predict(x, n)
        z, z_known = (0.0, 0.0) if deterministic else next(noise)
        ratio = var[m] / var[n]
        x = (1 - ratio) * x0 + ratio * x
        if m > 0:
            x = x + np.sqrt(var[m] * (1 - ratio)) * z
        std = np.sqrt(var[m] * bwd[m] / (var[m] + bwd[m]))
        x = put_back(x, x1, mask, std, z_known)
    return x


def implicit_walk(key, coefficients, predict, x1, steps, *, mask=None, eta=0.0, order=1):
    """DBIM with booting; known pixels at X_1 + c·z."""
    a, b, c = coefficients
    nfe, xT = len(steps) - 1, np.asarray(x1, np.float64)
    down = steps[::-1]
    noise = draws(key, nfe, xT.shape) if eta else None
    z = z_known = once(key, xT.shape) if not eta else None
    x, history = xT, []
    for i in range(nfe):
        s, t, last = down[i], down[i + 1], i == nfe - 1
        history.insert(0, (predict(x, s), s))
        if eta:
            z, z_known = next(noise)
        if i == 0:
            x = a[t] * xT + b[t] * history[0][0] + (0 if last else c[t]) * z
        elif min(order, i) == 1 or last:
            x = first_order(a, b, c, x, xT, history, t, eta, z, last)
        else:
            x = higher_order(a, b, c, x, xT, history, t, min(order, i))
        x = put_back(x, xT, mask, 0.0 if last else c[t], z_known)
    return x


def second_order_walk(
    key, coefficients, predict, x1, steps, *, mask=None, form="heun", deterministic=False
):
    """Two evaluations a step over every second index, after a drawn one; coefficients are a, b, c.

    Of the OT-ODE they are 0, 1, σ²: x - X̂_0 shrinks as σ², the posterior's mean.
    """
    a, b, c = coefficients
    xT, p = np.asarray(x1, np.float64), len(steps) - 1
    x, z = xT, 0.0
    if not deterministic:
        z, first, t = once(key, xT.shape), predict(xT, steps[p]), steps[p - 1]
        x = put_back(a[t] * xT + b[t] * first + (c[t] if t else 0) * z, xT, mask, c[t] * (t > 0), z)
        p -= 1
    while p > 0:
        s, t = steps[p], steps[max(p - 2, 0)]
        first, kappa = predict(x, s), c[t] / c[s]
        held = kappa * x + (a[t] - kappa * a[s]) * xT  # what does not come from predictions
        known = 0.0 if deterministic or not t else c[t]
        guess = put_back(held + (b[t] - kappa * b[s]) * first, xT, mask, known, z)
        if p == 1:
            return guess
        second = predict(guess, t)
        if form == "heun":
            ends = held + c[t] * (b[t] / c[t] - b[s] / c[s]) * (first + second) / 2
        else:
            h = np.log(b[t] / c[t]) - np.log(b[s] / c[s])
            slope = (second - first) / h
            ends = held + b[t] * ((1 - np.exp(-h)) * first + (np.exp(-h) + h - 1) * slope)
        x, p = put_back(ends, xT, mask, known, z), p - 2
    return x


def first_order(a, b, c, x, xT, history, t, eta, z, last):
    x0, s = history[0]
    # for any bridge; I²SB's own is σ_t·√(1 - σ_t²/σ_s²)
    omega = eta * np.sqrt(c[t] ** 2 - (b[s] * c[t] ** 2 / (b[t] * c[s])) ** 2)
    kappa = np.sqrt(c[t] ** 2 - omega**2) / c[s]
    mean = kappa * x + (b[t] - kappa * b[s]) * x0 + (a[t] - kappa * a[s]) * xT
    return mean + (0 if last else omega) * (z if eta else 0.0)


def higher_order(a, b, c, x, xT, history, t, order):
    def lam(k):
        return np.log(b[k] / c[k])

    (xs, s), (xu, u) = history[:2]
    h, h1 = lam(t) - lam(s), lam(s) - lam(u)
    if order == 2:
        bracket = (1 - np.exp(-h)) * xs + (np.exp(-h) + h - 1) * (xs - xu) / h1
    else:
        xw, w = history[2]
        h2 = lam(u) - lam(w)
        d1 = ((xs - xu) * (2 * h1 + h2) / h1 - (xu - xw) * h1 / h2) / (h1 + h2)
        d2 = 2 * ((xs - xu) / h1 - (xu - xw) / h2) / (h1 + h2)
        bracket = (1 - np.exp(-h)) * xs + (np.exp(-h) + h - 1) * d1
        bracket = bracket + (h**2 / 2 - h + 1 - np.exp(-h)) * d2
    return (c[t] / c[s]) * x + (a[t] - a[s] * c[t] / c[s]) * xT + c[t] * np.exp(lam(t)) * bracket
