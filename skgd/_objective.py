"""What is minimised: the losses as a table of four numbers each, and the penalty.

    F(w, b) = (1/S) sum_i s_i l(x_i.w + b - y_i) + alpha * R(w)        S = sum_i s_i

Every loss here is one formula in the residual r = prediction - target. It is zero inside the insensitive zone; beyond, it
bends upwards with a constant curvature until its slope meets a cap, and goes on straight:

    e = max(|r| - insensitive, 0)     q = min(curvature * e, cap)
    l(r) = q * (e - q / (2 * curvature))     l'(r) = sign(r) * q

with one cap for predictions above the target and one for those below.
"""

from typing import NamedTuple

import numpy as np

INF = np.inf
STEEP = 1e300  # the curvature of a kink: finite, so that 0 times it is 0
MOST_ROWS = 10_000  # from which the best constant of other losses than the squared error is found; also a block of rows


class Loss(NamedTuple):
    """A loss of the residual, as the kernel takes it."""

    insensitive: float
    curvature: float
    cap_above: float
    cap_below: float


class Penalty(NamedTuple):
    """l2 * ||w||^2 / 2 + l1 * ||w||_1, as the kernel takes it."""

    l2: float
    l1: float


LOSSES = {
    "squared_error": lambda epsilon, quantile: Loss(0.0, 2.0, INF, INF),
    "huber": lambda epsilon, quantile: Loss(0.0, 2.0, 2.0 * epsilon, 2.0 * epsilon),
    "epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, STEEP, 1.0, 1.0),
    "squared_epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 2.0, INF, INF),
    "quantile": lambda epsilon, quantile: Loss(0.0, STEEP, 1.0 - quantile, quantile),
}
HALVED = {"squared_error", "huber"}  # of these, scikit-learn's SGD takes half
SQUARED_ERROR = LOSSES["squared_error"](None, None)


def loss_and_slope(loss, residual):
    """Value and derivative of a loss at an array of residuals."""
    insensitive, curvature, cap_above, cap_below = loss
    excess = np.maximum(np.abs(residual) - insensitive, 0.0)
    with np.errstate(over="ignore"):  # a kink's curvature times any excess: the cap holds
        steepness = np.minimum(curvature * excess, np.where(residual > 0.0, cap_above, cap_below))
    return steepness * (excess - 0.5 * steepness / curvature), np.copysign(steepness, residual)


def make_penalty(name, alpha, l1_ratio):
    """The strengths of both norms for penalty=`name`."""
    l1_share = {"l2": 0.0, "l1": 1.0, "elasticnet": l1_ratio}.get(name, 0.0)
    strength = 0.0 if name is None else float(alpha)
    return Penalty(l2=strength * (1.0 - l1_share), l1=strength * l1_share)


def penalty_at(penalty, coef):
    """Value of the penalty at coefficients of shape (..., n_features)."""
    return 0.5 * penalty.l2 * np.sum(coef**2, axis=-1) + penalty.l1 * np.sum(np.abs(coef), axis=-1)


def best_constant(loss, y, weight):
    """The constant prediction of smallest loss, for targets y of shape (n_targets, n_samples)."""
    if loss == SQUARED_ERROR:
        return y @ weight / weight.sum()
    every = -(-y.shape[1] // MOST_ROWS)
    y, weight = y[:, ::every], weight[::every]
    low, high = y.min(axis=1), y.max(axis=1)
    for _ in range(50):  # halvings of the range of y: the slope of the mean loss rises with the constant
        middle = 0.5 * (low + high)
        rising = loss_and_slope(loss, middle[:, None] - y)[1] @ weight > 0.0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return 0.5 * (low + high)


def constant_loss(loss, y, weight, constant):
    """Weighted mean loss of a constant prediction for each target."""
    value = np.square if loss == SQUARED_ERROR else lambda residual: loss_and_slope(loss, residual)[0]
    return sum_over_rows(value, y, weight, constant) / weight.sum()


def sum_over_rows(function, y, weight, constant):
    """sum_i s_i function(constant - y_i) for each target, by blocks of rows, so that nothing as long as y is held."""
    blocks = (slice(start, start + MOST_ROWS) for start in range(0, y.shape[1], MOST_ROWS))
    return sum(function(constant[:, None] - y[:, rows]) @ weight[rows] for rows in blocks)


def curvature_at(loss, y, weight, constant):
    """The curvature of a parabola as steep as the loss at the residuals of a constant prediction, for each target.

    Its own curvature, if the loss grows like a square; if it goes on straight, its mean slope over its mean residual, since
    far from the minimum it is the distance to cross, in units of y, that calls for a step and not the sharpness of the bend.
    """
    if min(loss.cap_above, loss.cap_below) == INF:
        return np.full(len(y), loss.curvature)
    steepness = sum_over_rows(lambda residual: np.abs(loss_and_slope(loss, residual)[1]), y, weight, constant)
    return secant_curvature(loss, steepness, sum_over_rows(np.abs, y, weight, constant))


def secant_curvature(loss, slope, distance):
    """Mean slope over mean residual, but no more than the curvature of the loss; 1 where neither is known."""
    return np.minimum(np.divide(slope, distance, out=np.ones_like(slope), where=slope > 0.0), loss.curvature)
