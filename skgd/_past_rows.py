"""A quadratic model of the rows that a stream no longer keeps; the models of two chunks add up to that of both together.

At parameters w, some rows have a loss with gradient g and Hessian H; its kinks are smoothed. Their second-order model
g.(v - w) + (v - w)'H(v - w) / 2 is, up to a constant, v'Hv / 2 - (Hw - g).v. So two sums describe all past rows: A = sum H and
b = sum (H w - g). (Renewable estimation, Luo & Song 2020; for quantiles, convolution smoothing as in Fernandes, Guerre & Horta
2021. For the squared error A and b are the moments, whatever w was.)
"""

from dataclasses import dataclass, replace
from operator import add
from typing import NamedTuple

import numpy as np

from skgd._geometry import ROWS_PER_ESTIMATE
from skgd._moments import weighted_products
from skgd._objective import NOTHING, bend, gradient_at_minimum, loss_and_slope, quotient, smoothed_bend
from skgd._reading import Sums, Target
from skgd._stream import UNUSUAL


@dataclass(frozen=True)
class PastRows:
    """For each target, the model v'Av / 2 - b.v + constant of the loss of past rows, as a function of the parameters v.

    The last parameter is the intercept, the prediction at x = `origin`.
    """

    weight: float  # of the rows in the model
    squares: float  # the sum of their squared weights
    origin: np.ndarray  # (n_features,)
    hessian: np.ndarray  # A: (n_targets, n_features + 1, n_features + 1)
    linear: np.ndarray  # b: (n_targets, n_features + 1)
    constant: np.ndarray  # (n_targets,): makes the model's value that of the loss

    @classmethod
    def about(cls, points, origin, weight, squares, values, gradients, hessians):
        """Models of rows by the values, gradients and Hessians of their loss at a point for each target."""
        pull = np.array([hessian @ point for hessian, point in zip(hessians, points, strict=True)])
        constant = values - np.sum(gradients * points, axis=1) + 0.5 * np.sum(points * pull, axis=1)
        return cls(weight, squares, origin, hessians, pull - gradients, constant)

    def __add__(self, other):
        """The sum of models; the other's is moved to the origin of this one."""
        other = other.moved_to(self.origin)
        return PastRows(
            self.weight + other.weight,
            self.squares + other.squares,
            self.origin,
            self.hessian + other.hessian,
            self.linear + other.linear,
            self.constant + other.constant,
        )

    def scaled(self, factor):
        """The model with its value multiplied by a factor for each target; the weight stays that of the rows."""
        hessian, linear = factor[:, None, None] * self.hessian, factor[:, None] * self.linear
        return replace(self, hessian=hessian, linear=linear, constant=factor * self.constant)

    def faded(self, factor):
        """The model with the weight of its rows multiplied by a factor."""
        scaled = self.scaled(np.full(len(self.linear), factor))
        return replace(scaled, weight=factor * self.weight, squares=factor**2 * self.squares)

    def credible_at(self, parameters, loss, root):
        """The model, scaled down if its gradient is larger than that of its rows can be.

        A quadratic ignores that the slope of the loss is capped. Along a column of standard deviation 1, rows of weights s
        have a gradient of at most sum_i s_i times the larger cap. `root`, of the metric's scales, standardises the columns.
        """
        pull = np.einsum("kij,kj->ki", self.hessian, parameters) - self.linear
        most, size = max(loss.cap_above, loss.cap_below) * self.weight, np.max(np.abs(pull) * root, axis=1)
        if np.all(size <= (1.0 + NOTHING) * most):
            return self
        return self.scaled(np.divide(most, size, out=np.ones_like(size), where=size > most))

    def moved_to(self, origin):
        """The model with its intercept at another origin: v = T v', so that A becomes T'AT and b becomes T'b."""
        shift = np.eye(len(origin) + 1)
        shift[-1, :-1] = self.origin - origin
        return replace(self, origin=origin, hessian=shift.T @ self.hessian @ shift, linear=self.linear @ shift)


class TargetOfStream(Target):
    """One target of a stream: its latest rows, which are those of the problem, and the model of those before, if any.

    The model's intercept is at the origin of the problem. Kinks are smoothed over `width`.
    """

    def __init__(self, problem, k, width, past):
        super().__init__(problem, k)
        self.loss, self.past = problem.loss.smoothed(width), past

    @property
    def total_weight(self):
        return self.rows.total_weight + (self.past.weight if self.past else 0.0)

    def completed(self, sums, parameters):
        """Sums over the latest rows, with those of the model."""
        values, gradient, hessian, extra = sums = super().completed(sums, parameters)
        if self.past is None:
            return sums
        root = np.append(self.scaling, self.has_intercept)
        past_hessian, linear = self.past.hessian[self.k], self.past.linear[self.k]
        pull = past_hessian @ parameters
        value = 0.5 * parameters @ pull - linear @ parameters + self.past.constant[self.k]
        return Sums(values + value, gradient + root * (pull - linear), hessian + np.outer(root, root) * past_hessian, extra)

    def reach(self, value):
        """The objective itself, since the loss of the best constant over all rows seen is not known."""
        return max(value, self.unit)


def expansion_at(target, point):
    """Value, gradient and Hessian of the target's loss at a point, summed over its rows."""
    at, loss, scales, rows = target.at(point), target.loss, target.geometry.metric.scales, target.rows
    farthest = UNUSUAL**2 * np.sqrt(target.unit / target.curvature)  # from a kink: 100 typical residuals of the best constant
    spread = rows.add_up((ColumnSums.over, at, loss, scales, farthest))[0].spread if loss.grows_linearly else None
    n_seen = target.total_weight * len(rows) / rows.total_weight
    (sums,) = rows.add_up((expansion_over, at, loss, scales, spread, n_seen))
    return sums[:3]


class ColumnSums(NamedTuple):
    """Sums over rows for each squared standardised column q_j, the intercept last; those of parts add up."""

    square: np.ndarray  # of s q_j
    distance: np.ndarray  # of s q_j times the distance of the residual from the kink, but `farthest` at most

    @classmethod
    def over(cls, rows, at, loss, scales, farthest):
        total = cls(np.zeros(len(scales)), np.zeros(len(scales)))
        for z, weight, residual in rows_and_intercept(rows, at):
            squares = np.square(z, out=z)
            distance = np.minimum(loss.distance_from_kink(residual), farthest)
            total += cls(scales * (weight @ squares), scales * ((weight * distance) @ squares))
        return total

    def __add__(self, other):
        return ColumnSums(*map(add, self, other))

    @property
    def spread(self):
        """The size of residuals where each column tells something."""
        return quotient(self.distance, self.square)


def expansion_over(rows, at, loss, scales, spread_of_columns, n_seen):
    """The Sums of one loss over rows. For the Hessian, kinks are as wide for each row as the columns that it decides need.

    Rows that decide a coefficient nearly alone, as those of a rare category, are fitted nearly exactly, whatever their noise. A
    narrow kink takes that for certainty: the model would hold their coefficient for ever. n_seen / q_j rows like this one
    decide coefficient j: of a category with a share p of the rows, q_j is about 1 / p. So the width of a row is at least the
    size of residuals over the root of this number; for both, the mean over the columns by their q_j.
    """
    size = len(scales)
    total = Sums(0.0, np.zeros(size), np.zeros((size, size)), 0.0)
    for z, weight, residual in rows_and_intercept(rows, at):
        (value, slope), curvature = loss_and_slope(loss, residual), bend(loss._replace(width=0.0), residual)
        if loss.grows_linearly:
            squares = np.square(z)
            length = squares @ scales
            spread = quotient(squares @ (scales * spread_of_columns), length)
            share = quotient(np.square(squares, out=squares) @ scales**2, n_seen * length)
            width = np.maximum(loss.width, spread * np.sqrt(share))
            curvature = np.where(width > loss.least_width, smoothed_bend(loss, residual, width), curvature)
            del squares  # as large as z, of which another copy follows
        total += Sums(weight @ value, (weight * slope) @ z, weighted_products(z, weight * curvature), 0.0)
    return total


def rows_and_intercept(rows, at):
    """The blocks of some rows for a TargetAt: centred columns with the intercept's, weights, and residuals."""
    for X, weight, residual in rows.residual_blocks(at):
        yield np.column_stack([X, np.full(len(residual), at.has_intercept)]), weight, residual


def model_at_minimum(problem, ends, widths, weight, squares):
    """The model of rows of this total weight at their exact minimum, `ends`. The problem may hold only a sample of them.

    `squares` is the sum of their squared weights. The gradient at `ends` is that of the exact loss, which balances the penalty:
    the smoothed loss has its minimum elsewhere, by about the width of its kinks where y has an atom. So kinks only decide the
    Hessian, and may be wide. They cover ROWS_PER_ESTIMATE rows for each parameter, or a tenth of all: near an extreme quantile,
    fewer would leave it nearly singular.
    """
    residual = problem.rows.residuals(problem.published(ends))
    distance = np.sort(problem.loss.distance_from_kink(residual), axis=1)
    near = distance[:, min(ROWS_PER_ESTIMATE * ends.shape[1], residual.shape[1] // 10)]
    found = []
    for k, end in enumerate(ends):
        target = TargetOfStream(problem, k, max(widths[k], near[k]), None)
        value, read, hessian = (part / target.total_weight for part in expansion_at(target, end))
        found.append((value, gradient_at_minimum(problem.penalty, end, read), hessian))
    derivatives = (weight * np.array(part) for part in zip(*found, strict=True))
    return PastRows.about(ends, problem.origin, weight, squares, *derivatives)
