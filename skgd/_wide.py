"""Solvers for too many columns to form a Hessian (over MOST_COLUMNS): coordinate descent and L-BFGS-B, in rounds.

The squared error with an l1 norm is minimised by scikit-learn's coordinate descent if rows are in memory, and all else by
L-BFGS-B. After each round the duality gap (see _duality.py) bounds the suboptimality; if that is too large, the next
round has a tighter tolerance.
"""

from typing import NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csc_array
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

from skgd._descent import Solver
from skgd._duality import dual_sums_after, duality_gap
from skgd._moments import NEGLIGIBLE
from skgd._objective import bend, penalty_at, quotient
from skgd._reading import ROUNDING, look_at
from skgd._stopping import TIGHTER

MOST_ROUNDS = 8  # of an inner solver and a duality gap: the last has TIGHTER^7 of the promise as its tolerance
MOST_IN_A_ROUND = 200  # steps of L-BFGS-B, or of conjugate gradients for a dual point: more than a hundred are rare


def descend_bounded(target, start, loss, allowed):
    """L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) until a step gains far less than is `allowed`, or for MOST_IN_A_ROUND steps.

    With an l1 norm, each coefficient is the difference of a positive and a negative part, both >= 0, so that zeros are exact.
    If coefficients must be >= 0, there is only the positive part.
    """
    root, n, penalty = np.sqrt(target.geometry.metric.scales), len(start) - 1, target.penalty
    signs = np.array([1.0] if penalty.l1 == 0.0 or penalty.lowest == 0.0 else [1.0, -1.0])
    lowest, strength = 0.0 if penalty.makes_zeros else -np.inf, penalty.l1 * root[:n]
    unit = target.constant_loss or 1.0  # brings the objective below 1, where L-BFGS-B takes ftol as absolute

    def parameters_at(u):
        return root * np.append(signs @ u[:-1].reshape(-1, n), u[-1])

    def look(u):
        value, gradient = target.look(parameters_at(u), loss)
        parts, gradient = u[:-1].reshape(-1, n), root * gradient
        value += strength @ (parts.sum(axis=0) - np.abs(signs @ parts))  # l1 norm of the parts less that of coefficients
        slopes = np.outer(signs, gradient[:n]) + strength
        return value / unit, np.append(slopes, gradient[-1]) / unit

    u = quotient(start, root)
    u = np.append(np.maximum(np.outer(signs, u[:n]), lowest), u[n])
    bounds = [(lowest, None)] * (len(u) - 1) + [(None, None)]
    options = {"maxiter": MOST_IN_A_ROUND, "ftol": TIGHTER**2 * allowed / unit, "gtol": 0.0}
    return parameters_at(minimize(look, u, method="L-BFGS-B", jac=True, bounds=bounds, options=options).x)


def curved_blocks(rows, at, loss):
    """For each block: centred columns, and the curvature of each row's loss times its weight."""
    return ((X, weight * bend(loss, residual)) for X, weight, residual in rows.residual_blocks(at))


def hessian_times(rows, at, loss, direction):
    """The Hessian of a loss for a TargetAt, summed over rows, times a direction."""
    total = np.zeros(len(direction))
    for X, curvature in curved_blocks(rows, at, loss):
        bent = curvature * (X @ direction[:-1] + at.has_intercept * direction[-1])
        total += np.append(bent @ X, at.has_intercept * bent.sum())
    return total


def hessian_diagonal(rows, at, loss):
    """The diagonal of the Hessian of a loss for a TargetAt, summed over rows."""
    total = np.zeros(len(at.parameters))
    for X, bent in curved_blocks(rows, at, loss):
        squares = X.power(2, dtype=np.float64) if rows.is_sparse else np.square(X)
        total += np.append(bent @ squares, at.has_intercept * bent.sum())
    return total


def newton_step(target, point, smoothed, tolerance):
    """The Newton step by conjugate gradients over the parameters that are not fixed at zero.

    Returned are the step, the smoothed objective at the point, and the decrease that the step predicts, which is inf if
    conjugate gradients have not converged. Each iteration reads the rows once. They are preconditioned by the diagonal of the
    Hessian (Jacobi): beside narrow kinks, it differs between columns by orders of magnitude.
    """
    penalty, at, (value, gradient) = target.penalty, target.at(point), target.look(point, smoothed)
    is_free, l2 = np.append((point[:-1] != 0.0) | (not penalty.makes_zeros), True), np.full(len(point), penalty.l2)
    l2[-1] = 0.0
    gradient[:-1] += penalty.l1 * np.sign(point[:-1])
    (diagonal,) = target.rows.add_up((hessian_diagonal, at, smoothed))
    diagonal = diagonal / target.total_weight + l2
    root = np.sqrt(quotient(is_free, diagonal))

    def curved(u):
        direction = root * u
        (bent,) = target.rows.add_up((hessian_times, at, smoothed, direction))
        return root * (bent / target.total_weight + l2 * direction) + NEGLIGIBLE * u  # keeps it positive definite

    curvature = LinearOperator((len(point), len(point)), curved, dtype=np.float64)
    u, has_failed = cg(curvature, -root * gradient, rtol=0.0, atol=tolerance, maxiter=MOST_IN_A_ROUND)
    return root * u, value, np.inf if has_failed else -0.5 * gradient @ (root * u)


class End(NamedTuple):
    """A point that may be the minimum."""

    left: float  # how far its objective may lie above the minimum: the duality gap, or an estimate
    value: float  # the objective
    further: np.ndarray  # where Newton's step leads
    is_too_wide: bool = False  # whether half of what is left, or more, is what smoothing adds


def judged(target, point, smoothed, promise):
    """The End at a point, by the duality gap of the slopes there, or of those after a Newton step.

    For a loss with kinks, the gap may be loose. Newton's decrement plus what smoothing adds replaces it, if that is far below
    the promise.
    """
    total = target.total_weight
    sums = dual_sums_after(target, point, smoothed, np.zeros(len(point)))
    value = sums.loss / total + penalty_at(target.penalty, point[:-1])
    if adds_up_to_zero(sums):
        left = gap_of(target, sums, point, value)
        if target.share_of_reach(left, value) <= promise:
            return End(left, value, point)
    step, smooth, gain = newton_step(target, point, smoothed, ROUNDING * sums.sizes[-1] / total)
    sums = dual_sums_after(target, point, smoothed, step)
    if not adds_up_to_zero(sums):  # conjugate gradients have ended early
        step[-1] += step_of_intercept(target, point, smoothed, sums)
        sums = dual_sums_after(target, point, smoothed, step)
    left = gap_of(target, sums, point, value)
    smoothing = smooth - value
    estimate, is_too_wide = smoothing + gain, min(left, smoothing + gain) <= 2.0 * smoothing
    if target.share_of_reach(left, value) > promise and target.loss.grows_linearly:
        left = estimate if target.share_of_reach(estimate, value) <= TIGHTER * promise else left
    further = point + step
    if target.penalty.makes_zeros:
        further[:-1] = np.where(further[:-1] * point[:-1] > 0.0, further[:-1], 0.0)
    return End(left, value, further, is_too_wide)


def adds_up_to_zero(sums):
    """Whether sum_i s_i t_i is zero up to rounding errors, as an intercept requires of dual variables."""
    return np.abs(sums.v[-1]) <= ROUNDING * sums.sizes[-1]


def step_of_intercept(target, point, smoothed, sums):
    """The step of the intercept that makes sum_i s_i t_i zero, which is linear in it."""
    one = np.append(np.zeros(len(point) - 1), 1.0)
    (bent,) = target.rows.add_up((hessian_times, target.at(point), smoothed, one))
    return -sums.v[-1] / bent[-1] if bent[-1] > 0.0 else 0.0


def gap_of(target, sums, point, value):
    """The duality gap, or the objective itself if that is less, since the minimum is not negative."""
    return min(duality_gap(target, sums, point), value)


class ByRounds(Solver):
    """A solver in rounds: each runs an inner solver for each target, then bounds the suboptimality by the duality gap."""

    most_steps = MOST_ROUNDS
    remembered = ("best", "next", "value", "lower_bound", "n_rounds", "widths")

    def __init__(self, targets, starts, promise, memory=None):
        self.targets, self.promise, self.best, self.next = targets, promise, starts.copy(), starts.copy()
        self.lower_bound, self.n_rounds = np.full(len(targets), -np.inf), np.zeros(len(targets), dtype=int)  # of the minima
        self.widths = np.array([target.smoothed_at(start).width for target, start in zip(targets, starts, strict=True)])
        self.value, _ = look_at(targets, starts, targets[0].loss)
        self.go_on(memory)

    @property
    def left(self):
        return self.value - self.lower_bound

    @property
    def is_done(self):
        """Which targets have arrived; after MOST_ROUNDS there is nothing more to try."""
        return (self.excess() <= self.promise) | (self.n_rounds >= MOST_ROUNDS)

    def step(self):
        """A round for each target that has not arrived; the objectives before."""
        objective = self.value.copy()
        for k in np.flatnonzero(~self.is_done):
            point, smoothed = self.round(k)
            found = judged(self.targets[k], point, smoothed, self.promise)
            self.next[k], self.lower_bound[k] = point, max(self.lower_bound[k], found.value - found.left)
            if found.value <= self.value[k]:
                self.best[k], self.value[k] = point, found.value
            if self.targets[k].share_of_reach(found.left, found.value) > self.promise:
                ((at_further,),) = self.targets[k].objectives(found.further, self.targets[k].loss)
                self.next[k] = found.further if at_further < found.value else point
            self.n_rounds[k] += 1
            self.widths[k] *= TIGHTER if found.is_too_wide else 1.0
        return objective

    def tolerance(self, k):
        """The tolerance of the next round for target k: tighter after each round."""
        return self.promise * TIGHTER ** self.n_rounds[k]


class CoordinateDescent(ByRounds):
    """The squared error with an l1 norm: scikit-learn's `enet_path`, whose objective is half of this one."""

    def __init__(self, targets, starts, promise, memory=None):
        super().__init__(targets, starts, promise, memory)
        target, rows, penalty = targets[0], targets[0].rows, targets[0].penalty
        weight, X = rows.weights / rows.total_weight * len(rows), rows.columns
        self.root, alpha = np.ones(len(rows)), 0.5 * (penalty.l1 + penalty.l2)
        self.how = {"alphas": [alpha], "l1_ratio": 0.5 * penalty.l1 / alpha}
        self.how |= {"positive": penalty.lowest == 0.0, "check_input": False, "precompute": False}
        if rows.is_sparse:
            X, offset = csc_array(X, dtype=np.float64), target.mean_of_columns
            X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)  # as enet_path takes them
            self.X, self.how = X, self.how | {"sample_weight": weight, "X_offset": offset, "X_scale": np.ones(len(offset))}
        else:
            self.root = np.sqrt(weight)
            self.X = np.asfortranarray(self.root[:, None] * (X - target.center))

    def round(self, k):
        target, start = self.targets[k], self.next[k]
        y = self.root * (target.rows.target(target.k) - target.constant)
        with catch_warnings():
            simplefilter("ignore", ConvergenceWarning)  # of a gap that is looked at afterwards
            _, coef, _ = enet_path(self.X, y, tol=self.tolerance(k), coef_init=start[:-1], **self.how)
        intercept = target.constant - target.has_intercept * (target.mean_of_columns @ coef[:, 0])
        return np.append(coef[:, 0], intercept), target.loss


class QuasiNewton(ByRounds):
    """All else: L-BFGS-B, with narrower kinks once half of what is left is what smoothing adds."""

    def round(self, k):
        target = self.targets[k]
        loss = target.loss.smoothed(self.widths[k])
        return descend_bounded(target, self.next[k], loss, self.tolerance(k) * target.reach(self.value[k])), loss
