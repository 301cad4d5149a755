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
    "squared_error": lambda epsilon: Loss(0.0, 2.0, INF, INF),
}


def loss_and_slope(loss, residual):
    """Value and derivative of a loss at an array of residuals."""
    insensitive, curvature, cap_above, cap_below = loss
    excess = np.maximum(np.abs(residual) - insensitive, 0.0)
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
    return y @ weight / weight.sum()


def constant_loss(loss, y, weight, constant):
    """Weighted mean loss of a constant prediction for each target."""
    if loss == LOSSES["squared_error"](0.0):
        return np.square(y - constant[:, None]) @ weight / weight.sum()
    return loss_and_slope(loss, constant[:, None] - y)[0] @ weight / weight.sum()
