"""A test whether the rows of a stream come shuffled, which the model of past rows assumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd._objective import loss_and_slope
from skgd._stream import A_FEW

UNLIKELY = 6.0  # standard errors by which the mean slope of a block may differ from zero; shuffled rows exceed it once in 1e9


class Order(NamedTuple):
    """Sums of slopes that compare each block of rows with all rows before it.

    A slope is the derivative of a row's objective, before the row is learned, along a direction in which the parameters are
    optimal for the rows before. If rows come shuffled, the mean slope is zero but for chance. A row on a kink, as those at an
    atom of y are, has any slope between the lowest and the highest.

    s is the weight of a row. All sums but those that say so are over the present block.
    """

    n_rows: float = 0.0
    weight: float = 0.0  # sum of s
    weight_square: float = 0.0  # of s^2
    lowest: np.ndarray | float = 0.0  # (n_targets,): of s times the lowest slope
    highest: np.ndarray | float = 0.0  # (n_targets,): of s times the highest slope
    square: np.ndarray | float = 0.0  # (n_targets,): of s^2 times the larger squared slope
    weight_square_of_all: float = 0.0  # of s^2, over all blocks that are complete
    square_of_all: np.ndarray | float = 0.0  # (n_targets,): of s^2 times the larger squared slope, over these

    def after(self, weight, lowest, highest, weight_before, deciding):
        """The sums with further rows, and whether a block that they complete is unlike all rows before it.

        Parameters
        ----------
        weight : ndarray of shape (n,)
        lowest, highest : ndarray of shape (n_targets, n)
            The slopes.
        weight_before : ndarray of shape (n_targets,) or None
            The weight of the rows left behind; None if there are none to compare with.
        deciding : float
            The share of rows that decide where the minimum lies. A block has A_FEW of these: of an extreme quantile, fewer rows
            may all lie on one side by chance.
        """
        block = self._replace(
            n_rows=self.n_rows + len(weight),
            weight=self.weight + weight.sum(),
            weight_square=self.weight_square + weight @ weight,
            lowest=self.lowest + lowest @ weight,
            highest=self.highest + highest @ weight,
            square=self.square + np.maximum(lowest**2, highest**2) @ weight**2,
        )
        if block.n_rows * deciding < A_FEW:
            return block, False
        weight_square, square = self.weight_square_of_all + block.weight_square, self.square_of_all + block.square
        done = Order(weight_square_of_all=weight_square, square_of_all=square)
        if weight_before is None:
            return done, False
        # Of skewed residuals, a block without one of the rare large ones scatters less: then the scatter of all blocks counts.
        variance = np.maximum(block.square, block.weight_square * square / weight_square)
        variance *= 1.0 + block.weight / weight_before  # the minimum over the rows before has an error, too
        return done, bool(np.any(np.maximum(block.lowest, -block.highest) > UNLIKELY * np.sqrt(variance)))


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
