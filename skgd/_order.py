"""A test whether the rows of a stream come shuffled, which the model of past rows assumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd._geometry import INDISTINCT
from skgd._objective import loss_and_slope
from skgd._stream import A_FEW

UNLIKELY = 6.0  # standard errors by which a mean slope of a block may differ from zero; a normal one exceeds it once in 1e9


class Order(NamedTuple):
    """Sums of slopes that compare each block of rows with all rows before it.

    A slope is the derivative of a row's objective with respect to a parameter, before the row is learned. The parameters are
    optimal for the rows before. If rows come shuffled, each mean slope is zero but for chance. A row on a kink, as those at an
    atom of y are, has any slope between the lowest and the highest.

    s is the weight of a row. All sums but those that say so are over the present block.
    """

    n_rows: float = 0.0
    weight: float = 0.0  # sum of s
    weight_square: float = 0.0  # of s^2
    slopes: np.ndarray | float = 0.0  # (4, n_targets, n_features + 1): see `slopes_of`
    weight_square_of_all: float = 0.0  # of s^2, over all blocks that are complete
    square_of_all: np.ndarray | float = 0.0  # (n_targets, n_features + 1): of s^2 times the squared slope, over these

    def after(self, weight, slopes, weight_before, deciding):
        """The sums with further rows, and whether a block that they complete is unlike all rows before it.

        Parameters
        ----------
        weight : ndarray of shape (n,)
        slopes : ndarray of shape (4, n_targets, n_features + 1)
            See `slopes_of`.
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
            slopes=self.slopes + slopes,
        )
        if block.n_rows * deciding < A_FEW:
            return block, False
        lowest, highest, of_block, lengths = block.slopes
        weight_square, square = self.weight_square_of_all + block.weight_square, self.square_of_all + of_block
        done = Order(weight_square_of_all=weight_square, square_of_all=square)
        if weight_before is None:
            return done, False
        # Of skewed residuals, a block without one of the rare large ones scatters less: then the scatter of all blocks counts.
        # Of a rare column, no row of a block may lie beyond an extreme quantile: then the mean slope of all columns counts.
        of_rows = lengths * square[:, -1:] / weight_square
        variance = np.maximum(np.maximum(of_block, block.weight_square * square / weight_square), of_rows)
        variance *= 1.0 + block.weight / weight_before[:, None]  # the minimum over the rows before has an error, too
        return done, bool(np.any(np.maximum(lowest, -highest) > UNLIKELY * np.sqrt(variance)))


def slopes_of(problem, parameters, moments, widths):
    """What rows say of the parameters of the standardised columns: sums over the rows, of shape (4, n_targets, n_features + 1).

    The sums are of s times the lowest slope, of s times the highest, of s^2 times the larger squared slope, and of s^2 times
    the squared entry of the column. `widths`, of shape (n_targets,) and in units of y, say how far from a kink a residual may
    be to lie on it. The intercept is the prediction at x = 0.
    """
    rows, (center, scale), penalty = problem.rows, problem.geometries[0].metric[:2], problem.penalty
    widths = np.maximum(widths, INDISTINCT * problem.deviation)  # targets that are fitted exactly lie on the kink, too
    root = np.append(np.sqrt(scale[:-1]), 1.0)
    (slopes,) = rows.add_up((extreme_slopes_over, problem.loss, parameters, widths, center[:-1], root))
    slopes[:2, :, -1] *= scale[-1] > 0.0  # without an intercept, its slope may be anything
    # A coefficient of zero takes part of the l1 norm's slope. At a bound, the objective's slope may be positive, however large.
    penalty, coef = penalty.per_weight(moments.n_rows, moments.weight), parameters[:, :-1]
    pull, free = penalty.l2 * coef + penalty.l1 * np.sign(coef), np.where(coef == 0.0, penalty.l1, 0.0)
    unit = rows.total_weight * root[:-1]
    below = np.where((coef == 0.0) & (penalty.lowest == 0.0) & (unit > 0.0), np.inf, free)
    slopes[0, :, :-1] += unit * (pull - below)
    slopes[1, :, :-1] += unit * (pull + free)
    return slopes


def extreme_slopes_over(rows, loss, parameters, widths, center, root):
    """`slopes_of` some rows, without the penalty."""
    total = np.zeros((4, len(parameters), len(root)))
    for place, _ in rows.blocks():
        part = rows.part(place)
        z = np.column_stack([part.take(part.numbers) - center, np.ones(len(part))]) * root
        residual, weight = part.residuals(parameters), part.weights
        low, high = (weight * loss_and_slope(loss, residual + sign * widths[:, None])[1] for sign in (-1.0, 1.0))
        above, below, square = np.maximum(z, 0.0), np.minimum(z, 0.0), np.maximum(low**2, high**2)
        lengths = np.broadcast_to(weight**2 @ z**2, total.shape[1:])
        total += low @ above + high @ below, high @ above + low @ below, square @ z**2, lengths
    return total
