"""A test whether the rows of a stream come shuffled, which the model of past rows assumes."""

from operator import add
from typing import NamedTuple

import numpy as np

from skgd._constant import ENOUGH_FOR_A_MEAN
from skgd._objective import INDISTINCT, loss_and_slope
from skgd._stream import UNLIKELY


class Slopes(NamedTuple):
    """Sums over rows for each parameter of the standardised columns, of shape (n_targets, n_features + 1); s are weights.

    Those of parts add up to those of all rows.
    """

    lowest: np.ndarray | float = 0.0  # of s times the lowest slope
    highest: np.ndarray | float = 0.0  # of s times the highest slope
    square: np.ndarray | float = 0.0  # of s^2 times the larger squared slope
    column: np.ndarray | float = 0.0  # of s^2 times the squared entry of the column

    def __add__(self, other):
        return Slopes(*map(add, self, other))


class ShuffleTest(NamedTuple):
    """Whether the rows of a stream come shuffled: sums of slopes that compare each block of rows with all rows before it.

    A slope is the derivative of a row's objective with respect to a parameter, before the row is learned. The parameters are
    optimal for the rows before. If rows come shuffled, each mean slope is zero but for chance. So for each parameter the sum of
    the slopes of a block, over its standard error, is about a standard normal number: beyond UNLIKELY, the test fails. A row on
    a kink, as those at an atom of y are, has any slope between the lowest and the highest.

    s is the weight of a row. All sums but those that say so are over the present block.
    """

    n_rows: float = 0.0
    weight: float = 0.0  # sum of s
    weight_square: float = 0.0  # of s^2
    slopes: Slopes = Slopes()
    weight_square_of_all: float = 0.0  # of s^2, over all blocks that are complete
    square_of_all: np.ndarray | float = 0.0  # (n_targets, n_features + 1): of s^2 times the squared slope, over these

    def after(self, weight, slopes, squares_before, deciding):
        """The sums with further rows, and whether a block that they complete is unlike all rows before it.

        `weight` has the weights of these rows. `squares_before` is sum s z^2 of each column over all rows before, or None if
        there is no minimum over them. `deciding` is the share of rows that decide where the minimum lies. A block has
        ENOUGH_FOR_A_MEAN of these: of an extreme quantile, fewer rows may all lie on one side by chance.
        """
        block = self._replace(
            n_rows=self.n_rows + len(weight),
            weight=self.weight + weight.sum(),
            weight_square=self.weight_square + weight @ weight,
            slopes=self.slopes + slopes,
        )
        if block.n_rows * deciding < ENOUGH_FOR_A_MEAN:
            return block, False
        weight_square, square = self.weight_square_of_all + block.weight_square, self.square_of_all + block.slopes.square
        done = ShuffleTest(weight_square_of_all=weight_square, square_of_all=square)
        if squares_before is None:
            return done, False
        variances = (
            block.slopes.square,
            block.weight_square * square / weight_square,  # of all blocks: this one may lack the rare large residuals
            # A rare column may have no row here, or none beyond an extreme quantile; the mean of its squares is 1.
            np.maximum(block.slopes.column, block.weight_square) * square[:, -1:] / weight_square,
        )
        # The minimum over the rows before has an error, too. As the block's columns see it, it adds the share of their squares
        # to those before. The coefficient of a column that did not vary is not known.
        squares, varied = block.slopes.column * block.weight / block.weight_square, squares_before > 0.0
        variance = np.max(variances, axis=0)[:, varied] * (1.0 + squares[:, varied] / squares_before[varied])
        distance = np.maximum(block.slopes.lowest, -block.slopes.highest)[:, varied]
        return done, bool(np.any(distance > UNLIKELY * np.sqrt(variance)))


def slopes_of(problem, parameters, moments, widths):
    """The Slopes of a problem's rows at parameters whose intercept is the prediction at x = 0.

    `widths`, of shape (n_targets,) and in units of y, say how far from a kink a residual may be to lie on it.
    """
    rows, metric, penalty = problem.rows, problem.geometries[0].metric, problem.penalty
    widths = np.maximum(widths, INDISTINCT * problem.deviation)  # targets that are fitted exactly lie on the kink, too
    root = np.append(metric.root, 1.0)
    (slopes,) = rows.add_up((extreme_slopes_over, problem.loss, parameters, widths, metric.center, root))
    unit, of_intercept = rows.total_weight * root[:-1], np.zeros((len(parameters), 1))
    ends = penalty.per_weight(moments.n_rows, moments.weight).slopes(parameters[:, :-1])
    slopes += Slopes(*(np.hstack([unit * np.where(unit > 0.0, end, 0.0), of_intercept]) for end in ends))
    is_tested = np.append(unit > 0.0, metric.intercept > 0.0)  # without an intercept, its slope may be anything
    return slopes._replace(lowest=np.where(is_tested, slopes.lowest, 0.0), highest=np.where(is_tested, slopes.highest, 0.0))


def extreme_slopes_over(rows, loss, parameters, widths, center, root):
    """The Slopes of some rows, without the penalty; columns are centred, and multiplied by `root`."""
    total = Slopes()
    for part in rows.blocks():
        z = np.column_stack([part.columns - center, np.ones(len(part))]) * root
        residual, weight = part.residuals(parameters), part.weights
        low, high = (weight * loss_and_slope(loss, residual + sign * widths[:, None])[1] for sign in (-1.0, 1.0))
        above, below, square = np.maximum(z, 0.0), np.minimum(z, 0.0), np.maximum(low**2, high**2)
        column = np.broadcast_to(weight**2 @ z**2, (len(parameters), len(root)))
        total += Slopes(low @ above + high @ below, high @ above + low @ below, square @ z**2, column)
    return total
