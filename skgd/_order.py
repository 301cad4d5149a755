"""Whether the rows of a stream come shuffled, which a model of the rows left behind takes for granted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd._objective import loss_and_slope
from skgd._stream import A_FEW

UNLIKELY = 6.0  # standard errors that the mean slope of A_FEW rows may be from zero: 1e-9 of shuffled ones are farther


class Order(NamedTuple):
    """Sums of slopes, by which blocks of A_FEW rows or more are compared with all rows before them.

    The slopes are those of the objective at each row, before the row is learned, along a direction in which the objective is at
    its minimum. Of shuffled rows their mean is zero but for chance.
    """

    block: np.ndarray | float = 0.0  # (3, n_targets): of weights, slopes and their squares over the present block
    scatter: np.ndarray | float = 0.0  # (2, n_targets): of weights and squared slopes over all blocks before

    def after(self, weight, slopes, weight_before):
        """With further rows, and whether a block that they complete is unlike all rows before.

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
        # An extreme quantile has few rows on one side: what all blocks before have scattered counts where it is more.
        by_chance = np.sqrt(np.maximum(sums[2], sums[0] * done.scatter[1] / done.scatter[0]))
        by_chance *= np.sqrt(1.0 + sums[0] / weight_before)  # the minimum before is as uncertain as its rows are few
        return done, bool(np.any(np.abs(sums[1]) > UNLIKELY * by_chance))


def slopes_at(problem, parameters, moments):
    """The slope of the objective at each row, along the intercept, or without one along the predictions themselves.

    Parameters have their intercept at zero. The penalty's part is that of `moments.weight` rows.
    """
    residual = problem.rows.residuals(parameters)
    slope = loss_and_slope(problem.loss, residual)[1]
    if problem.geometries[0].metric[1, -1] > 0.0:
        return slope
    penalty, coef = problem.penalty.scaled(moments.n_rows / moments.weight), parameters[:, :-1]
    pull = penalty.l2 * np.sum(coef**2, axis=1) + penalty.l1 * np.sum(np.abs(coef), axis=1)
    return slope * (residual + problem.rows.targets) + pull[:, None]
