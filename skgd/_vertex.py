"""The end of a descent whose loss has kinks and is straight elsewhere: a step to a vertex, by linear programming.

At the minimum about as many rows lie on a kink as there are coefficients that are not zero (Koenker & Bassett 1978). Newton's
method on smoothed kinks comes near it, but its dual variables may be too inaccurate for a small duality gap (see _duality.py).
So the rows nearest to a kink get dual variables anew, while all others keep the slopes t_i that they have at the point::

    min over t    sum_near s_i (insensitive |t_i| - t_i r_i)        with v = the gradient at the minimum, t_i between the caps

This is the dual of minimising the objective over a step d where only near rows pass their kink, and the penalty counts by its
slope at the point. The multipliers of the constraints are that step.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag
from scipy.optimize import linprog

from skgd._duality import DualSums, duality_gap
from skgd._objective import gradient_at_minimum, loss_and_slope
from skgd._reading import ROUNDING

NEAR = 3, 30  # rows near a kink for each parameter: more only where with fewer the program is infeasible, as it may be


class NearRows(NamedTuple):
    """The `size` rows nearest to a kink; those of parts add up to those of all rows."""

    size: int
    distance: np.ndarray  # (n,): of the residual from the nearest kink
    residual: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    z: np.ndarray  # (n, n_features + 1): of (x_i - center, 1)

    @classmethod
    def of(cls, rows, k, center, parameters, has_intercept, insensitive, size):
        """The nearest of some rows, for target k at these parameters."""
        near = cls(size, *(np.empty(0) for _ in range(3)), np.empty((0, len(parameters))))
        for X, weight, residual in rows.residual_blocks(k, center, parameters):
            z = np.column_stack([X, np.full(len(X), has_intercept)])
            near += cls(size, np.abs(np.abs(residual) - insensitive), residual, weight, z)
        return near

    def __add__(self, other):
        several = [np.concatenate(pair) for pair in zip(self[1:], other[1:], strict=True)]
        chosen = np.argsort(several[0], kind="stable")[: self.size]
        return NearRows(self.size, *(each[chosen] for each in several))


def vertex_near(target, point, allowed):
    """The step from a point to a vertex near it, and the duality gap of the point by the dual variables of that vertex.

    Parameters
    ----------
    target : Target
    point : ndarray of shape (n_features + 1,)
    allowed : float
        How much of the gap may come from an l2 norm, whose slope differs at the point and at the minimum.

    Returns
    -------
    step : ndarray of shape (n_features + 1,)
        Zero, if there is no such vertex.
    gap : float
        An upper bound of the point's suboptimality; inf if there is no such vertex.
    """
    loss, about, size, total = target.loss, target.at(point), len(point), target.total_weight
    for near in NEAR:
        of_near = NearRows.of, *about, loss.insensitive, near * size
        sums, rows = target.rows.add_up((DualSums.over, *about, loss, loss, np.zeros(size)), of_near)
        step, change, linear = solution(target, point, sums, rows, allowed)
        if step is not None:
            sums = sums._replace(linear=sums.linear + linear, v=sums.v + (rows.weight * change) @ rows.z)
            return step, duality_gap(sums, total, target.penalty, point)
    return np.zeros(size), np.inf


def solution(target, point, sums, rows, allowed):
    """The solution of the program for the near rows: the step to the vertex, how t changes, and the sum of what is minimised.

    The step is None if there is no solution.
    """
    loss, penalty, total, size = target.loss, target.penalty, target.total_weight, len(point)
    slope, side = loss_and_slope(loss, rows.residual)[1], np.where(rows.residual < 0.0, -1.0, 1.0)
    lowest, highest = np.full(len(side), -loss.cap_below), np.full(len(side), loss.cap_above)
    if loss.insensitive > 0.0:  # each row is near one of two kinks
        lowest, highest = np.where(side > 0.0, 0.0, lowest), np.where(side < 0.0, 0.0, highest)
    # Further variables: a coefficient of zero takes any slope that the l1 norm or the bound allows, and with an l2 norm v may
    # differ from the gradient at the minimum by as much as adds no more than is allowed to the gap.
    is_zero = np.append((point[:-1] == 0.0) & penalty.makes_zeros, False)
    differs = np.append(np.full(size - 1, np.sqrt(2.0 * penalty.l2 * allowed / size)), 0.0)
    below = differs + np.where(is_zero, penalty.l1, 0.0)
    above = differs + np.where(is_zero, np.inf if penalty.lowest == 0.0 else penalty.l1, 0.0)
    is_free, v = below + above > 0.0, np.where(is_zero, 0.0, gradient_at_minimum(penalty, point, sums.v / total))
    cost, basis = rows.weight * (loss.insensitive * side - rows.residual), block_diag(target.basis, 1.0)
    scale, unit = sums.size_of_terms @ np.abs(basis), np.abs(cost).max() or 1.0
    scale[scale == 0.0] = 1.0  # of constant columns, which do not move
    program = linprog(
        np.append(cost / unit, np.zeros(is_free.sum())),
        A_eq=(np.vstack([rows.weight[:, None] * rows.z, -total * np.eye(size)[is_free]]) @ basis / scale).T,
        b_eq=(total * v - sums.v + (rows.weight * slope) @ rows.z) @ basis / scale,
        bounds=[*zip(lowest, highest, strict=True), *zip(-below[is_free], above[is_free], strict=True)],
        options={"primal_feasibility_tolerance": ROUNDING},
    )
    if not program.success:
        return None, 0.0, 0.0
    change = program.x[: len(side)] - slope
    return basis @ (unit * program.eqlin.marginals / scale), change, change @ cost
