"""A test whether the rows of a stream come shuffled, which the model of past rows assumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd._objective import loss_and_slope
from skgd._stream import A_FEW

UNLIKELY = 6.0  # standard errors by which the mean slope of a block may differ from zero; shuffled rows exceed it once in 1e9


class Order(NamedTuple):
    """Sums of slopes that compare each block of at least A_FEW rows with all rows before it.

    A slope is the derivative of a row's objective, before the row is learned, along a direction in which the parameters are
    optimal for the rows before. If rows come shuffled, the mean slope is zero but for chance.
    """

    block: np.ndarray | float = 0.0  # (3, n_targets): of weights, slopes and their squares over the present block
    scatter: np.ndarray | float = 0.0  # (2, n_targets): of weights and squared slopes over all blocks before

    def after(self, weight, slopes, weight_before):
        """The sums with further rows, and whether a block that they complete is unlike all rows before it.

        Parameters
        ----------
        weight : ndarray of shape (n,)
        slopes : ndarray of shape (n_targets, n)
        weight_before : ndarray of shape (n_targets,) or None
            The weight of the rows left behind; None if there are none to compare with.
        """
        sums = self.block + np.array([np.full(len(slopes), weight.sum()), slopes @ weight, slopes**2 @ weight])
        if sums[0, 0] < A_FEW:
            return self._replace(block=sums), False
        done = Order(scatter=self.scatter + sums[[0, 2]])
        if weight_before is None:
            return done, False
        # For an extreme quantile, a block may miss the rare side; then the larger scatter of all blocks so far counts.
        by_chance = np.sqrt(np.maximum(sums[2], sums[0] * done.scatter[1] / done.scatter[0]))
        by_chance *= np.sqrt(1.0 + sums[0] / weight_before)  # the minimum over the rows before has a sampling error of its own
        return done, bool(np.any(np.abs(sums[1]) > UNLIKELY * by_chance))


def slopes_at(problem, parameters, moments):
    """The derivative of each row's objective with respect to the intercept or, without one, to a factor of all coefficients.

    The intercept is the prediction at x = 0.
    """
    residual = problem.rows.residuals(parameters)
    slope = loss_and_slope(problem.loss, residual)[1]
    if problem.geometries[0].metric[1, -1] > 0.0:
        return slope
    penalty, coef = problem.penalty.per_weight(moments.n_rows, moments.weight), parameters[:, :-1]
    pull = penalty.l2 * np.sum(coef**2, axis=1) + penalty.l1 * np.sum(np.abs(coef), axis=1)
    return slope * (residual + problem.rows.targets) + pull[:, None]
