"""The objective: losses, each given by four numbers, and the penalty.

    F(w, b) = (1/S) sum_i s_i l(x_i.w + b - y_i) + alpha * R(w)        S = sum_i s_i

Every loss here is one formula in the residual r = prediction - target. It is zero inside the insensitive zone; beyond, it
bends upwards with a constant curvature until its slope reaches a cap, and is linear from there on:

    e = max(|r| - insensitive, 0)     q = min(curvature * e, cap)
    l(r) = q * (e - q / (2 * curvature))     l'(r) = sign(r) * q

with one cap for predictions above the target and one for those below.

Up to a constant, a loss with kinks is a multiple of r plus c |r + insensitive| + c |r - insensitive|. Kinks can be smoothed
over a width h: each |r| becomes sqrt(r^2 + h^2), which lies above |r| and tends to it as h tends to 0 (Nesterov 2005). With
F_h the smoothed objective and w* the minimum of F::

    F(w) - min F  <=  (F_h(w) - min F_h) + (F_h(w*) - F(w*)) - (F_h(w) - F(w))
"""

from typing import NamedTuple

import numpy as np

LARGEST = 1e100  # of targets: their squares, and those of quotients of targets and columns, must be finite
INDISTINCT = 1e-4  # share of the deviation of y below which differences of predictions are ignored
NOTHING = 0.01  # share that counts as nothing: of the spread of y, an alpha, an explained loss, a residual, a direction
KINK = 1e300  # the curvature that stands for a kink: finite, so that 0 times it is 0


class Loss(NamedTuple):
    """A loss of the residual: four numbers, which the kernel takes, and the width over which kinks are smoothed."""

    insensitive: float
    curvature: float
    cap_above: float
    cap_below: float
    width: float = 0.0

    def smoothed(self, width):
        """The loss with its kinks smoothed over this width.

        Huber's stays as it is up to a width of epsilon / 2, from where on the smoothed loss lies above it.
        """
        return self._replace(width=width) if width > self.least_width else self

    @property
    def least_width(self):
        """The width up to which smoothing changes nothing."""
        return 0.5 * self.cap_above / self.curvature

    @property
    def largest_curvature(self):
        """An upper bound of the second derivative."""
        return 0.5 * (self.cap_above + self.cap_below) / self.width if self.width > 0.0 else self.curvature

    @property
    def grows_linearly(self):
        """Whether the loss grows linearly for large residuals, as huber does: its slope is bounded."""
        return self.cap_above < np.inf

    def cap(self, residual):
        """The largest slope on the side of each residual."""
        return np.where(residual > 0.0, self.cap_above, self.cap_below)

    def distance_from_kink(self, residual):
        """How far residuals are from the nearest edge of the insensitive zone."""
        return np.abs(np.abs(residual) - self.insensitive)

    @property
    def is_piecewise_linear(self):
        """Whether the loss is straight but for its kinks."""
        return self.curvature == KINK


class Penalty(NamedTuple):
    """l2 * ||w||^2 / 2 + l1 * ||w||_1 over coefficients no lower than a bound, as the kernel takes it."""

    l2: float
    l1: float
    lowest: float = -np.inf  # or 0

    def per_weight(self, n_rows, weight):
        """The penalty beside a loss that is divided by the weight of the rows; the objective divides it by their number."""
        factor = n_rows / weight
        return self._replace(l2=factor * self.l2, l1=factor * self.l1)

    @property
    def makes_zeros(self):
        """Whether coefficients may be exactly zero at the minimum: with an l1 norm or a bound."""
        return self.l1 > 0.0 or self.lowest > -np.inf

    def slopes(self, coef):
        """The lowest and the highest slope at coefficients: the ends of the subdifferential."""
        slope, free = self.l2 * coef + self.l1 * np.sign(coef), np.where(coef == 0.0, self.l1, 0.0)
        return slope - np.where((coef == 0.0) & (self.lowest == 0.0), np.inf, free), slope + free

    def balanced(self, coef, gradient):
        """Of the gradients of the loss that would put the minimum at these coefficients, the one nearest to a given one."""
        low, high = self.slopes(coef)
        return np.clip(gradient, -high, -low)


LOSSES = {
    "squared_error": lambda epsilon, quantile: Loss(0.0, 2.0, np.inf, np.inf),
    "huber": lambda epsilon, quantile: Loss(0.0, 2.0, 2.0 * epsilon, 2.0 * epsilon),
    "epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, KINK, 1.0, 1.0),
    "squared_epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 2.0, np.inf, np.inf),
    "quantile": lambda epsilon, quantile: Loss(0.0, KINK, 1.0 - quantile, quantile),
}
HALVED = {"squared_error", "huber"}  # SGDRegressor defines these as half of ours
SQUARED_ERROR = LOSSES["squared_error"](None, None)


def loss_and_slope(loss, residual):
    """Value and derivative of a loss at an array of residuals."""
    insensitive, curvature, cap_above, cap_below, width = loss
    if width > 0.0:
        (c, apart, distance), line = kinks(loss, residual), 0.5 * (cap_above - cap_below)
        value = line * residual + c * np.sum(distance - insensitive, axis=0) - 0.5 * cap_above * cap_below / curvature
        return value, line + c * np.sum(apart / distance, axis=0)
    e = np.maximum(np.abs(residual) - insensitive, 0.0)
    with np.errstate(over="ignore"):  # KINK times a large e; the cap bounds the slope
        q = np.minimum(curvature * e, loss.cap(residual))
    return q * (e - 0.5 * q / curvature), np.copysign(q, residual)


def kinks(loss, residual):
    """Half the jump of the slope at each kink, signed distances of residuals from the kinks, and their smoothed sizes."""
    at = [loss.insensitive, -loss.insensitive] if loss.insensitive > 0.0 else [0.0]
    apart = np.stack([residual - place for place in at])
    return 0.5 * (loss.cap_above + loss.cap_below) / len(at), apart, np.sqrt(apart * apart + loss.width**2)


def bend(loss, residual):
    """The second derivative of a loss."""
    if loss.width > 0.0:
        return smoothed_bend(loss, residual, loss.width)
    e = np.abs(residual) - loss.insensitive
    return np.where((e >= 0.0) & (loss.curvature * e < loss.cap(residual)), loss.curvature, 0.0)


def smoothed_bend(loss, residual, width):
    """The second derivative of a loss whose kinks are smoothed over a width, of which each residual may have its own."""
    c, _, distance = kinks(loss._replace(width=width), residual)
    return c * np.sum(width**2 / (distance * distance * distance), axis=0)


def secant(loss, residual):
    """The curvature of a parabola that touches a loss at each residual and lies above it (Hunter & Lange 2000)."""
    with np.errstate(divide="ignore"):
        c, _, distance = kinks(loss, residual)
        return np.minimum(c * np.sum(1.0 / distance, axis=0), np.inf if loss.width > 0.0 else loss.curvature)


def damped_bend(loss, residual, damping):
    """The second derivative of a loss, moved by a share `damping` towards the curvature of the parabola that lies above it."""
    curvature = bend(loss, residual)
    return curvature + damping * (secant(loss, residual) - curvature) if damping > 0.0 else curvature


def make_penalty(name, alpha, l1_ratio, positive=False):
    """The Penalty for the estimator's parameters penalty=`name`, alpha, l1_ratio and positive."""
    l1_share = {"l2": 0.0, "l1": 1.0, "elasticnet": l1_ratio}.get(name, 0.0)
    strength = 0.0 if name is None else float(alpha)
    return Penalty(l2=strength * (1.0 - l1_share), l1=strength * l1_share, lowest=0.0 if positive else -np.inf)


def objective_of(model):
    """What a model minimises, in plain numbers: those of its loss and its penalty, and whether it has an intercept."""
    penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio, model.positive)
    return tuple(LOSSES[model.loss](model.epsilon, model.quantile)), tuple(penalty), bool(model.fit_intercept)


def proximal(coef, threshold, lowest):
    """The proximal operator of the l1 norm and the bound."""
    return np.maximum(np.copysign(np.maximum(np.abs(coef) - threshold, 0.0), coef), lowest)


def beyond_l1(v, penalty):
    """How far each v_j lies outside the v with finite R*(-v) without an l2 norm: |v_j| <= l1, or -v_j <= l1 under a bound."""
    return np.abs(v - penalty.balanced(np.zeros(len(v)), v))


def gradient_at_minimum(penalty, end, read):
    """The gradient of the loss at a minimum, where it balances the penalty; as it was read if a coefficient of zero allows."""
    return np.append(penalty.balanced(end[:-1], read[:-1]), 0.0)


def penalty_at(penalty, coef):
    """Value of the penalty at coefficients of shape (..., n_features)."""
    value = np.zeros(np.shape(coef)[:-1])
    if penalty.l2 > 0.0:
        value = value + 0.5 * penalty.l2 * np.einsum("...j,...j", coef, coef)  # no copy of what may be long
    if penalty.l1 > 0.0:
        value = value + penalty.l1 * np.sum(np.abs(coef), axis=-1)
    return value


def with_intercept_moved(parameters, way):
    """Parameters of shape (..., n_features + 1) whose intercept is the prediction at x + way, where it was that at x."""
    moved = np.array(parameters)
    moved[..., -1] += moved[..., :-1] @ way
    return moved


def mean_loss(loss, rows, parameters):
    """Weighted mean loss of predictions for each target; the intercept is the prediction at x = 0."""
    (total,) = rows.add_up((weighted_losses, loss, parameters))
    return total / rows.total_weight


def weighted_losses(rows, loss, parameters):
    """sum_i s_i l(r_i) for each target, by blocks of rows, so that nothing as long as y is held. Constants need no columns."""
    rows = rows if parameters.shape[1] > 1 else rows.without_columns()
    parts = rows.blocks(rows.numbers_in_a_row + 3.0)  # of which three are residuals
    return sum(loss_and_slope(loss, part.residuals(parameters))[0] @ part.weights for part in parts)


def quotient(a, b):
    """a / b, and 0 where b is not above 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=b > 0.0)


def rounding_of(value):
    """The largest difference of numbers of this size that may be a rounding error, of a few operations."""
    return 8.0 * np.finfo(np.float64).eps * np.abs(value)
