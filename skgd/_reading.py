"""Readings: sums over all rows at given parameters, such as the objective, its gradient and its Hessian."""

from copy import copy
from functools import cached_property
from operator import add
from typing import NamedTuple

import numpy as np

from skgd._constant import LEAST_REACH, rounding_loss
from skgd._moments import sparse_products, weighted_products
from skgd._objective import SQUARED_ERROR, bend, loss_and_slope, penalty_at, quotient, secant, with_intercept_moved
from skgd._rows import TargetAt

ROUNDING = 1e-10  # relative rounding error of a mean over many rows; also the narrowest kink, as a share of a typical residual
START_SMOOTHING = 0.05  # share of the objective that smoothing may add at first; half or double: 3 % more readings


class Target:
    """One target of a problem, with the sums over rows that solvers need."""

    def __init__(self, problem, k):
        self.rows, self.k, self.loss, self.penalty = problem.rows, k, problem.loss, problem.penalty
        self.geometry = problem.geometries[k]
        self.center = self.geometry.metric.center
        self.has_intercept = self.geometry.metric.intercept
        self.constant, self.constant_loss = problem.constant[k], problem.constant_loss[k]
        self.constant_parameters = problem.constant_parameters[k]
        self.curvature, self.most_reach = problem.curvature[k], problem.most_reach[k]
        self.unit = min(problem.unit[k], self.most_reach)

    def at(self, parameters):
        """This target at some parameters, for functions that are summed over rows."""
        return TargetAt(self.k, self.center, parameters, self.has_intercept)

    def reach(self, value):
        """The unit of suboptimality: how far the best constant prediction lies above this objective.

        It is at least LEAST_REACH of the target's unit. Without an intercept it is limited by `most_reach_of`.
        """
        return max(min(self.constant_loss - value, self.most_reach), LEAST_REACH * self.unit)

    @cached_property
    def rounding(self):
        """The loss of residuals as large as rounding errors of constant predictions."""
        return float(rounding_loss(self.loss, self.constant))

    def share_of_reach(self, left, value):
        """`left`, the suboptimality of `value`, as a share of the reach at the minimum; 0 if it may be a rounding error."""
        reach = self.reach(value - left)
        if left <= self.rounding:
            return 0.0
        return float(left / reach) if 0.0 < reach < np.inf else np.inf

    def on_sample(self, size):
        """This target on a sample of so many rows."""
        target = copy(self)
        target.rows = self.rows.sampled.sample(size)
        return target

    @cached_property
    def basis(self):
        """The coordinates of steps, as columns: the whitening if there is one, otherwise the root of each coefficient's scale.

        With a penalty that makes zeros, each is one scaled coefficient, so that zeros of both are the same. The later minima of
        a stream have no whitening, since its eigendecomposition would cost more than the steps.
        """
        return np.diag(self.scaling) if self.scaling.ndim == 1 else self.scaling

    @cached_property
    def scaling(self):
        """Centred columns times this are the coordinates of `basis`: a whitening matrix, or a number for each column."""
        metric, whitening = self.geometry.metric, self.geometry.whitening
        return metric.root if self.penalty.makes_zeros or whitening is None else whitening

    @cached_property
    def l2_in_basis(self):
        """The Hessian of the l2 penalty in the coordinates of `basis`."""
        scaling = self.scaling
        return self.penalty.l2 * (np.diag(scaling**2) if scaling.ndim == 1 else scaling.T @ scaling)

    @cached_property
    def derivatives(self):
        """The function that sums a reading: by sparse products where they are cheap and lose at most six digits.

        A coordinate, (x - center) basis, has mean square 1, and its terms x basis have (1 / scale + center^2) basis^2 in all:
        the ratio says how many digits cancel where columns are centred and whitened afterwards.
        """
        if not (self.rows.is_unpacked and self.rows.sampled.has_few_numbers):
            return derivatives_over
        scale = self.geometry.metric.scale
        squares = quotient(1.0, scale) + self.center**2
        return derivatives_over_sparse if np.max(squares @ self.basis**2, initial=0.0) <= 1e6 else derivatives_over

    @cached_property
    def mean_of_columns(self):
        """Means of the columns relative to the center; only sparse rows, which are not centred, have other means than zero."""
        if not (self.rows.is_sparse and self.has_intercept):
            return np.zeros(len(self.center))
        one = np.append(np.zeros(len(self.center)), 1.0)
        _, (gradient,) = look_at([self], one[None], SQUARED_ERROR, without_targets=True)
        return gradient[:-1] / gradient[-1]

    @property
    def total_weight(self):
        """sum_i s_i, by which sums are divided."""
        return self.rows.total_weight

    def completed(self, sums, parameters):
        """The sums of a reading at these parameters, in the coordinates of `basis`; a subclass adds those of rows long gone."""
        if self.derivatives is derivatives_over:
            return sums
        size = len(self.center) + 1
        to_basis = np.zeros((size, self.basis.shape[1] + 1))  # (x, 1) times this is ((x - center) basis, has_intercept)
        to_basis[:-1, :-1], to_basis[-1, :-1], to_basis[-1, -1] = self.basis, -self.center @ self.basis, self.has_intercept
        values, gradient, hessian, extra = sums
        return Sums(values, gradient @ to_basis, to_basis.T @ hessian @ to_basis, to_basis.T @ extra @ to_basis)

    @property
    def narrowest(self):
        """The smallest width of a kink."""
        return ROUNDING * self.unit / (self.loss.cap_above + self.loss.cap_below)

    def residuals_of_sample(self, parameters):
        """Predictions minus targets for a sample of the rows."""
        sample = self.rows.sampled
        at_zero = with_intercept_moved(parameters, -self.center)
        return sample.columns @ at_zero[:-1] + at_zero[-1] - sample.target(self.k)

    def smoothed_at(self, parameters):
        """The loss with kinks as wide as may be if the objective rises by the share START_SMOOTHING at most; by a sample."""
        if not self.loss.grows_linearly:
            return self.loss
        sample, residual, width = self.rows.sampled, self.residuals_of_sample(parameters), self.narrowest
        exact = sample.weights @ loss_and_slope(self.loss, residual)[0]
        most = exact + START_SMOOTHING * (exact + sample.total_weight * penalty_at(self.penalty, parameters[:-1]))
        for _ in range(60):  # up to 1e18 times the narrowest
            if not sample.weights @ loss_and_slope(self.loss.smoothed(2.0 * width), residual)[0] <= most:
                break
            width *= 2.0
        return self.loss.smoothed(width)

    def objectives(self, candidates, *losses):
        """The objective for each loss at each of several parameter vectors; X is not centred, as in `predict`."""
        candidates = np.atleast_2d(candidates)
        (sums,) = self.rows.add_up((losses_over, self.k, with_intercept_moved(candidates, -self.center), losses))
        return sums / self.total_weight + penalty_at(self.penalty, candidates[:, :-1])

    def look(self, parameters, loss):
        """The objective, and its gradient without that of the l1 norm, at the cost of reading X once."""
        (value,), (gradient,) = look_at([self], parameters[None], loss)
        return value, gradient


def targets_of(problem):
    """All targets of a problem."""
    return [Target(problem, k) for k in range(len(problem.constant))]


def objectives_at(problem, parameters):
    """The objective of each target at its parameters, in one pass over the rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return look_at(targets_of(problem), parameters, problem.loss)[0]


def look_at(targets, parameters, loss, without_targets=False):
    """Objectives and gradients, without those of the l1 norm, of several targets of the same rows, which are read once.

    `parameters` has a row for each target. `without_targets` replaces y by zeros.
    """
    rows, center, penalty = targets[0].rows, targets[0].center, targets[0].penalty
    numbers, factor = [target.k for target in targets], 0.0 if without_targets else 1.0
    (sums,) = rows.add_up((slopes_over, numbers, with_intercept_moved(parameters, -center), loss, factor))
    sums *= 1.0 / rows.total_weight
    values, gradients = sums[:, 0], sums[:, 1:]
    gradients[:, :-1] += penalty.l2 * parameters[:, :-1] - gradients[:, -1:] * center
    gradients[:, -1] *= targets[0].has_intercept
    return values + penalty_at(penalty, parameters[:, :-1]), gradients


class Sums(NamedTuple):
    """The sums of a reading over some rows; those of parts add up to those of all rows."""

    values: np.ndarray  # of several losses
    gradient: np.ndarray
    hessian: np.ndarray
    extra: np.ndarray  # M - H: the Hessian of the majoriser minus that of the loss

    def __add__(self, other):
        return Sums(*map(add, self, other))

    def __truediv__(self, total):
        return Sums(*(a / total for a in self))


def losses_over(rows, k, candidates, losses):
    """sum_i s_i l(r_i) for each loss, at each of several parameter vectors."""
    total = np.zeros((len(losses), len(candidates)))
    for part in rows.blocks():
        residual = part.columns @ candidates[:, :-1].T + candidates[:, -1] - part.target(k)[:, None]
        total += [part.weights @ loss_and_slope(loss, residual)[0] for loss in losses]
    return total


def slopes_over(rows, which, parameters, loss, factor=1.0):
    """sum_i s_i l(r_i), and its gradient with respect to the coefficients and the intercept, a row for each of some targets.

    y is multiplied by `factor`: 0 leaves it out.
    """
    total = np.zeros((len(which), parameters.shape[1] + 1))
    for part in rows.blocks(1.0 if rows.is_sparse else None):  # products of sparse rows need little room
        X, weight = part.columns, part.weights
        predictions = (X @ parameters[:, :-1].T + parameters[:, -1]).T
        value, slope = loss_and_slope(loss, predictions - factor * part.targets[which])
        slope *= weight
        total[:, 0] += value @ weight
        total[:, 1:-1] += slope @ X
        total[:, -1] += slope.sum(axis=1)
    return total


def derivatives_over(rows, at, scaling, losses):
    """The Sums of several losses. Derivatives are of the first, with columns multiplied by a matrix or by a number each."""
    size = scaling.shape[-1] + 1
    square = np.zeros((size, size))
    total = Sums(np.zeros(len(losses)), np.zeros(size), square, square)
    for X, weight, residual in rows.residual_blocks(at):
        z = np.empty((len(residual), size))
        z[:, :-1], z[:, -1] = X * scaling if scaling.ndim == 1 else X @ scaling, at.has_intercept
        found = {loss: loss_and_slope(loss, residual) for loss in {*losses}}
        curvature = bend(losses[0], residual)
        total += Sums(
            np.array([weight @ found[loss][0] for loss in losses]),
            (weight * found[losses[0]][1]) @ z,
            weighted_products(z, weight * curvature),
            weighted_products(z, weight * (secant(losses[0], residual) - curvature)),
        )
    return total


def derivatives_over_sparse(rows, at, _, losses):
    """The Sums of several losses over sparse rows. Derivatives are of the first, for (x, 1): x is neither centred nor scaled.

    The cost is that of the numbers that are not zero. `Target.completed` moves them to the coordinates of the basis.
    """
    n_columns = len(at.center)
    values, slope, slopes = np.zeros(len(losses)), np.zeros(n_columns), 0.0
    raw = np.zeros((2, n_columns + 1, n_columns + 1))  # of (x, 1), for the Hessian and for M - H
    for part in rows.sparse_blocks():
        X, weight = part.packed_columns, part.weights
        residual = X @ at.parameters[:-1] + (at.parameters[-1] - at.center @ at.parameters[:-1]) - part.target(at.k)
        found = {loss: loss_and_slope(loss, residual) for loss in {*losses}}
        values += [weight @ found[loss][0] for loss in losses]
        s, curvature = weight * found[losses[0]][1], bend(losses[0], residual)
        slope, slopes = slope + s @ X, slopes + s.sum()
        for total, a in zip(raw, (weight * curvature, weight * (secant(losses[0], residual) - curvature)), strict=True):
            total[:-1, :-1] += sparse_products(X, a)
            total[-1, :-1] += a @ X
            total[-1, -1] += a.sum()
    raw[:, :-1, -1] = raw[:, -1, :-1]
    return Sums(values, np.append(slope, slopes), *raw)
