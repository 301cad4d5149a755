"""The duality gap: an upper bound of the suboptimality.

With residuals r_i = x_i.w + b - y_i, any dual variables t_i, and v = (1/S) sum_i s_i t_i x_i (Fenchel's inequality)::

    F(w, b) - min F  <=  (1/S) sum_i s_i (l(r_i) + l*(t_i) - t_i r_i)  +  R(w) + R*(-v) + v.w         sum_i s_i t_i = 0

The constraint on the right is needed only with an intercept. The conjugate of a loss, in its four numbers, is
l*(t) = insensitive |t| + t^2 / (2 curvature) between the caps, and infinite beyond. R*(-v) is |shrink(v, l1)|^2 / (2 l2), or
without an l2 norm 0 where all |v_j| <= l1 and infinite elsewhere. If coefficients must be >= 0, -v_j takes the place of |v_j|.

t_i is the slope that the model of a step d gives to row i: t_i = l_h'(r_i) + c_i z_i.d, where c_i is the curvature of row i in
that model (l_h''(r_i) for Newton's step). At a vertex, it solves a linear program (see _vertex.py). Then v satisfies the
constraints, since the step ends where the gradient of its model balances that of the penalty. If some t_i lie beyond a cap, all
are multiplied by one factor: since the caps lie on both sides of zero, it is at most 1, and sum_i s_i t_i stays zero.
"""

from operator import add
from typing import NamedTuple

import numpy as np

from skgd._moments import HALF_OF_THE_DIGITS
from skgd._objective import beyond_l1, damped_bend, gradient_at_minimum, loss_and_slope, penalty_at
from skgd._reading import ROUNDING


class DualSums(NamedTuple):
    """The sums over some rows that a duality gap needs; those of parts add up to those of all rows."""

    loss: float  # sum_i s_i l(r_i), of the exact loss; below also sums:
    linear: float  # of s_i (insensitive |t_i| - t_i r_i),
    quadratic: float  # of s_i t_i^2 / (2 curvature),
    v: np.ndarray  # (n_features + 1,): of s_i t_i (x_i - center, 1),
    sizes: np.ndarray  # (n_features + 1,): of the absolute values of these terms
    slopes: float  # of s_i |t_i|
    columns: np.ndarray  # (n_features + 1,): of s_i |x_i - center, 1|
    factor: float  # at most 1: what brings all t_i between the caps

    @classmethod
    def over(cls, rows, at, smoothed, loss, step, damping=0.0):
        """The sums over some rows for a TargetAt, where `step` is that of a model with this damping (see _quadratic.py)."""
        zeros = np.zeros(len(step))
        total = cls(0.0, 0.0, 0.0, zeros, zeros, 0.0, zeros, 1.0)
        for X, weight, residual in rows.residual_blocks(at):
            curvature = damped_bend(smoothed, residual, damping)
            t = loss_and_slope(smoothed, residual)[1] + curvature * (X @ step[:-1] + at.has_intercept * step[-1])
            s, sizes = weight * t, abs(X)
            total += cls(
                weight @ loss_and_slope(loss, residual)[0],
                loss.insensitive * (weight @ np.abs(t)) - s @ residual,
                s @ t / (2.0 * loss.curvature),
                np.append(s @ X, at.has_intercept * s.sum()),
                np.append(np.abs(s) @ sizes, np.abs(s).sum()),
                np.abs(s).sum(),
                np.append(weight @ sizes, weight.sum()),
                1.0 / max(1.0, t.max() / loss.cap_above, -t.min() / loss.cap_below),
            )
        return total

    def __add__(self, other):
        return DualSums(*map(add, self[:-1], other[:-1]), min(self.factor, other.factor))

    @property
    def size_of_terms(self):
        """The size of the terms of v. Slopes of rows that are fitted exactly are rounding errors: the mean slope counts."""
        size = np.maximum(self.sizes, self.slopes / self.columns[-1] * self.columns)
        return np.where(size > 0.0, size, 1.0)


def dual_sums_after(target, point, smoothed, step, damping=0.0):
    """The DualSums of the slopes that the model at a point, of this damping, has after a step; in one pass over the rows."""
    (sums,) = target.rows.add_up((DualSums.over, target.at(point), smoothed, target.loss, step, damping))
    return sums


def duality_gap(target, sums, parameters):
    """F(parameters) minus a lower bound of the minimum of F, up to rounding errors; inf if the sums give none.

    The coefficient of a constant column does not move: v may be anything there, and is no more than rounding errors.
    """
    penalty, total_weight, moves = target.penalty, target.total_weight, target.geometry.metric.scales > 0.0
    size, v = sums.size_of_terms / total_weight, np.where(moves, sums.v, 0.0) / total_weight
    # 1. What may be a rounding error of v counts as none: beside a tiny l2 norm or long columns it would seem a large gap.
    dropped = np.clip(gradient_at_minimum(penalty, parameters, v) - v, -ROUNDING * size, ROUNDING * size)
    v += dropped
    coef, of_coef, of_intercept, factor = parameters[:-1], v[:-1], v[-1], sums.factor
    has_only_l1, has_neither = penalty.l2 == 0.0 < penalty.l1, penalty.l2 == penalty.l1 == 0.0
    # 2. Where R* is infinite without an l2 norm: a factor brings v within the l1 norm, and without that v must be zero, as its
    # last entry always must. Rounding errors and inaccurate steps leave less than this; more is a violation: there is no bound.
    violation = beyond_l1(of_coef, penalty)
    if has_only_l1:
        factor *= np.min(penalty.l1 / (penalty.l1 + violation))
    amiss = np.append(violation if has_neither else np.zeros(len(of_coef)), of_intercept)
    if not np.linalg.norm(amiss / size) <= HALF_OF_THE_DIGITS:
        return np.inf
    # 3. What 1. and 2. let pass counts times the parameters at the minimum, taken to be as far from a constant as these.
    missed = (np.abs(dropped) + np.abs(amiss)) @ np.abs(parameters - target.constant_parameters)
    # 4. The sum.
    beyond = beyond_l1(factor * of_coef, penalty)
    conjugate = 0.5 * beyond @ beyond / penalty.l2 if penalty.l2 > 0.0 else 0.0
    of_rows = (sums.loss + factor * sums.linear + factor**2 * sums.quadratic) / total_weight
    return of_rows + penalty_at(penalty, coef) + conjugate + factor * (of_coef @ coef) + missed
