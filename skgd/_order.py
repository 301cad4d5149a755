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
    optimal for the rows before. If rows come shuffled, the mean slope is zero but for chance. A row on a kink, as those at an
    atom of y are, has any slope between the lowest and the highest.

    `block`, of shape (6, n_targets), holds the number of rows in the present block and the sums of s, of s^2, of s times the
    lowest slope and the highest, and of s^2 times the larger square. `scatter`, of shape (2, n_targets), holds the sums of s^2,
    and of s^2 times the larger square, over all blocks before.
    """

    block: np.ndarray | float = 0.0
    scatter: np.ndarray | float = 0.0

    def after(self, weight, lowest, highest, weight_before):
        """The sums with further rows, and whether a block that they complete is unlike all rows before it.

        Parameters
        ----------
        weight : ndarray of shape (n,)
        lowest, highest : ndarray of shape (n_targets, n)
            The slopes.
        weight_before : ndarray of shape (n_targets,) or None
            The weight of the rows left behind; None if there are none to compare with.
        """
        of_rows = (np.full(len(lowest), each) for each in (len(weight), weight.sum(), weight @ weight))
        squares = np.maximum(np.abs(lowest), np.abs(highest)) ** 2 @ weight**2
        block = self.block + np.array([*of_rows, lowest @ weight, highest @ weight, squares])
        n, total, spread, low, high, squares = block
        if n[0] < A_FEW:
            return self._replace(block=block), False
        done = Order(scatter=self.scatter + np.array([spread, squares]))
        if weight_before is None:
            return done, False
        # For an extreme quantile, a block may miss the rare side; then the larger scatter of all blocks so far counts.
        by_chance = np.sqrt(np.maximum(squares, spread * done.scatter[1] / done.scatter[0]))
        by_chance *= np.sqrt(1.0 + total / weight_before)  # the minimum over the rows before has a sampling error of its own
        return done, bool(np.any(np.maximum(low, -high) > UNLIKELY * by_chance))


def slopes_at(problem, parameters, moments, widths):
    """The derivative of each row's objective with respect to the intercept or, without one, to a factor of all coefficients.

    Returned are the lowest and the highest slope at residuals within `widths`, one for each target. The intercept is the
    prediction at x = 0.
    """
    residual = problem.rows.residuals(parameters)
    slopes = np.array([loss_and_slope(problem.loss, residual + shift)[1] for shift in (-widths[:, None], widths[:, None])])
    if problem.geometries[0].metric[1, -1] == 0.0:
        penalty, coef = problem.penalty.per_weight(moments.n_rows, moments.weight), parameters[:, :-1]
        pull = penalty.l2 * np.sum(coef**2, axis=1) + penalty.l1 * np.sum(np.abs(coef), axis=1)
        slopes = np.sort(slopes * (residual + problem.rows.targets), axis=0) + pull[:, None]
    return slopes
