"""The end of a descent whose loss is straight but for its kinks: a crossover to a vertex, by linear programming.

At the minimum about as many rows lie on a kink as there are coefficients that are not zero: a vertex (Koenker & Bassett 1978).
Newton's method on smoothed kinks comes near it, but its dual variables may be too inaccurate for a small duality gap (see
_duality.py). So the rows nearest to a kink get new dual variables t_i, while all others keep the slopes that they have at the
point (as Portnoy & Koenker 1997 fix the signs of far rows)::

    min over t    sum_near s_i (insensitive |t_i| - t_i r_i)
    subject to    v = (1/S) sum_i s_i t_i (x_i - center, 1) = g        and each t_i between the caps

where g balances the slope of the penalty at the point. Given multipliers d of the constraints, the Lagrangian is least at ::

    S g.d - sum_near s_i max over t_i of (t_i (r_i + z_i.d) - insensitive |t_i|)  =  S g.d - sum_near s_i l(r_i + z_i.d)

with z_i = (x_i - center, 1): the max is the conjugate of the conjugate, which is the loss. So the optimal multipliers are the
step d that minimises the objective where only near rows pass their kink. It ends at a vertex (crossover, Megiddo 1991).
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from skgd._duality import DualSums, duality_gap
from skgd._objective import gradient_at_minimum, loss_and_slope, quotient
from skgd._quadratic import FRACTIONS, MOST_STEPS
from skgd._stopping import TIGHTER

MOST_PIVOTS = 10  # of the simplex method, for each parameter: usual programs take 1 to 2, ill-conditioned ones may never end
NEAR_ROWS = 3, 30  # near rows for each parameter, of which a vertex has 1 on a kink: first 3, then 30 if there is no solution


class NearRows(NamedTuple):
    """The `size` rows nearest to a kink; those of parts add up to those of all rows."""

    size: int
    distance: np.ndarray  # (n,): of the residual from the nearest kink
    residual: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    z: np.ndarray  # (n, n_features + 1): of (x_i - center, 1)

    @classmethod
    def of(cls, rows, at, loss, size):
        """The nearest of some rows, for a TargetAt."""
        near = None
        for X, weight, residual in rows.residual_blocks(at):
            distance = loss.distance_from_kink(residual)
            chosen = np.argsort(distance, kind="stable")[:size]
            z = np.column_stack([X[chosen], np.full(len(chosen), at.has_intercept)])
            part = cls(size, distance[chosen], residual[chosen], weight[chosen], z)
            near = part if near is None else near + part
        return near

    def __add__(self, other):
        chosen = np.argsort(np.append(self.distance, other.distance), kind="stable")[: self.size]
        joined = (np.concatenate(pair)[chosen] for pair in zip(self[1:], other[1:], strict=True))
        return NearRows(self.size, *joined)


def is_near_vertex(target, point, width):
    """Whether so few rows lie within `width` of a kink that the program for a vertex holds them all; by a sample."""
    if not target.loss.is_piecewise_linear:
        return False
    distance = target.loss.distance_from_kink(target.residuals_of_sample(point))
    return np.mean(distance < width) * len(target.rows) <= NEAR_ROWS[-1] * len(point)


def crossover(target, point, value, promise):
    """The best of a point, vertices near it, and points on the way to them; its objective, and a bound of its suboptimality.

    Each vertex is looked for from the best point so far, while that gains. `value` is the objective at the point.
    """
    if not target.loss.is_piecewise_linear:
        return point, value, np.inf
    lowest = -np.inf  # bound of the minimum, by the smallest duality gap
    for _ in range(MOST_STEPS):
        step, gap = vertex_near(target, point, TIGHTER * promise * target.reach(value))
        lowest = max(lowest, value - gap)
        ends = point + FRACTIONS[:, None] * step
        # The l1 norm counts by its slope at the point, which holds up to a change of sign.
        changes_sign = (ends * point < 0.0) & (target.penalty.l1 > 0.0)
        ends[:, :-1] = np.where(changes_sign, 0.0, ends)[:, :-1].clip(target.penalty.lowest)
        (values,) = target.objectives(ends, target.loss)
        gained = value - values.min()
        if gained > 0.0:
            point, value = ends[values.argmin()], values.min()
        allowed = promise * target.reach(value)
        if value - lowest <= allowed or gained <= TIGHTER * allowed:
            break
    return point, value, max(value - lowest, 0.0)


def vertex_near(target, point, allowed):
    """The step from a point to a vertex near it, and the duality gap of the point by the dual variables of that vertex.

    An l2 norm may add as much to the gap as is `allowed`, since its slope at the point is not that at the minimum. If there is
    no such vertex, the step is zero and the gap inf.
    """
    loss, at, size = target.loss, target.at(point), len(point)
    for n_near in (near * size for near in NEAR_ROWS):
        requests = (DualSums.over, at, loss, loss, np.zeros(size)), (NearRows.of, at, loss, n_near)
        solution = solution_of_program(target, point, *target.rows.add_up(*requests), allowed)
        if solution is not None:
            step, sums = solution
            return with_least_norm(target, step), duality_gap(target, sums, point)
    return np.zeros(size), np.inf


def solution_of_program(target, point, sums, rows, allowed):
    """The step and the DualSums with the t_i of the program for the near rows, or None if it has no solution.

    `sums` are those of the slopes at the point. The unknowns of the program are the t_i, and by how much v differs from g. The
    cost is divided by its largest entry, the unit, and constraint j by the size of its terms, scale_j. So the multiplier of
    that constraint is that of the program as it stands above, times scale_j / unit.
    """
    loss, penalty, total, size = target.loss, target.penalty, target.total_weight, len(point)
    slope, side = loss_and_slope(loss, rows.residual)[1], np.where(rows.residual < 0.0, -1.0, 1.0)
    cost = rows.weight * (loss.insensitive * side - rows.residual)
    g = gradient_at_minimum(penalty, point, np.zeros(size))
    below, above = freedom_of_v(penalty, point, g, allowed)
    of_far_rows = sums.v - (rows.weight * slope) @ rows.z
    of_slopes = bounds_of_slopes(loss, side)
    is_free, scale, unit = below + above > 0.0, sums.size_of_terms, np.abs(cost).max() or 1.0
    program = linprog(
        np.append(cost / unit, np.zeros(is_free.sum())),
        A_eq=np.hstack([(rows.weight[:, None] * rows.z).T, -total * np.eye(size)[:, is_free]]) / scale[:, None],
        b_eq=(total * g - of_far_rows) / scale,
        bounds=[*of_slopes, *zip(-below[is_free], above[is_free], strict=True)],
        # The smallest tolerance of HiGHS: the gap multiplies what it leaves by coefficients.
        options={"primal_feasibility_tolerance": 1e-10, "maxiter": MOST_PIVOTS * size},
    )
    if not program.success:
        return None
    t = np.clip(program.x[: len(cost)], *np.transpose(of_slopes))  # HiGHS holds bounds up to its tolerance
    change = t - slope
    sums = sums._replace(linear=sums.linear + change @ cost, v=sums.v + (rows.weight * change) @ rows.z)
    return unit * program.eqlin.marginals / scale, sums


def bounds_of_slopes(loss, side):
    """The lowest and highest t_i of each row; with an insensitive zone, each row is near the kink on its side."""
    if loss.insensitive == 0.0:
        return [(-loss.cap_below, loss.cap_above)] * len(side)
    return [(0.0, loss.cap_above) if each > 0.0 else (-loss.cap_below, 0.0) for each in side]


def freedom_of_v(penalty, point, g, allowed):
    """By how much each entry of v may be below and above g, which itself balances the penalty at the point.

    With an l2 norm, an entry e beyond the slopes of the penalty adds e^2 / (2 l2) to the gap.
    """
    (low, high), beyond = penalty.slopes(point[:-1]), np.sqrt(2.0 * penalty.l2 * allowed / len(point))
    return np.append(g[:-1] + high + beyond, 0.0), np.append(-low - g[:-1] + beyond, 0.0)


def with_least_norm(target, step):
    """The step without directions that move no prediction, so that redundant columns share their coefficient."""
    root = target.geometry.metric.root
    directions = quotient(target.basis, root[:, None])
    orthonormal = np.linalg.qr(directions)[0]
    coef = quotient(step[:-1], root)
    return np.append(root * (orthonormal @ (orthonormal.T @ coef)), step[-1])
