"""Solvers of the squared error with at most an l2 penalty: one Newton step, or conjugate gradients.

Up to MOST_COLUMNS columns, the Hessian is computed and one Newton step is exact. More columns take preconditioned conjugate
gradients (Hestenes & Stiefel 1952). With H the Hessian and D the diagonal preconditioner, which holds the scales of the
metric::

    w <- w + a p        a = -(g.p) / (p.H p)        p <- -D g + (g.D g / g_before.D g_before) p

H p is the gradient at p with all targets set to zero, so that each step reads the rows once. The suboptimality is at most F
itself, and with an l2 norm at most g.g / (2 l2), the duality gap of t = l'(r). It is also at most g.D g / (2 theta), where
theta is the smallest eigenvalue of D^(1/2) H D^(1/2). That of columns dependent to a share e of their deviation is e^2, and CG
does not show it before g is as small. So theta is taken to be ROUNDING: columns that differ by less than 1e-5 of their
deviation from others count as redundant.
"""

from operator import attrgetter

import numpy as np

from skgd._descent import Solver
from skgd._moments import HALF_OF_THE_DIGITS, NEGLIGIBLE
from skgd._objective import SQUARED_ERROR
from skgd._quadratic import solve
from skgd._reading import ROUNDING, look_at


class LeastSquares(Solver):
    """The solver by one Newton step: the Hessian is constant, so the step leads to the minimum, up to rounding errors.

    The decrease that the Newton step predicts is the duality gap itself. All targets share one Hessian.
    """

    most_steps = 3
    next = property(attrgetter("best"))

    def __init__(self, targets, starts, accuracy, memory=None):
        self.targets, self.accuracy, self.best = targets, accuracy, starts.copy()
        self.is_done = self.has_stalled = np.zeros(len(targets), dtype=bool)
        self.basis, self.has_moved = targets[0].basis, False  # at least one step is made, however small its gain
        target = targets[0]
        (sums,) = target.rows.add_up((target.derivatives, target.at(starts[0]), target.scaling, (target.loss,)))
        hessian = target.completed(sums, starts[0]).hessian / target.total_weight
        hessian[:-1, :-1] += target.l2_in_basis
        self.hessian = hessian + NEGLIGIBLE * max(np.trace(hessian), target.curvature) * np.eye(len(hessian))
        self.look()

    def look(self):
        """Read the rows: objectives, Newton's steps, and what these would gain."""
        self.value, gradient = look_at(self.targets, self.best, SQUARED_ERROR)
        slope = np.column_stack([gradient[:, :-1] @ self.basis, gradient[:, -1]])
        moved = -solve(self.hessian, slope.T).T
        self.moved = np.column_stack([moved[:, :-1] @ self.basis.T, moved[:, -1]])
        self.left = -0.5 * np.sum(slope * moved, axis=1)

    def step(self):
        """A step of each target that is not at its minimum; the objectives before."""
        objective, before = self.value, self.best
        self.is_done = self.has_moved & ((self.excess() <= self.accuracy) | self.has_stalled)
        if not self.is_done.all():
            self.best, self.has_moved = np.where(self.is_done[:, None], before, before + self.moved), True
            self.look()
            self.has_stalled = self.value >= objective  # rounding errors
            if np.any(self.value > objective):
                self.best = np.where((self.value > objective)[:, None], before, self.best)
                self.look()
        return objective


class ConjugateGradients(Solver):
    """The solver by conjugate gradients: each step reads the rows once and moves every target that has not arrived."""

    most_steps = 1600  # 600 columns that differ by 1e-3 or 1e-4 of their deviation from 600 others take 450
    remembered = ("gradient", "direction")
    next = property(attrgetter("best"))

    def __init__(self, targets, starts, accuracy, memory=None):
        self.targets, self.accuracy, self.best = targets, accuracy, starts.copy()
        self.scale = np.array([target.geometry.metric.scales for target in targets])
        self.value, self.gradient = look_at(targets, self.best, SQUARED_ERROR)
        self.direction = -self.scale * self.gradient
        self.go_on(memory)

    @property
    def left(self):
        return np.array([self.left_of(k) for k in range(len(self.targets))])

    def left_of(self, k):
        """An upper bound of the suboptimality of a target."""
        target, gradient, bound = self.targets[k], self.gradient[k], self.value[k]
        l2, squares = target.penalty.l2, self.scale[k] @ gradient**2
        if squares <= HALF_OF_THE_DIGITS**2 * 2.0 * SQUARED_ERROR.curvature * bound:
            return 0.0
        if l2 > 0.0:  # the duality gap of t = l'(r) minus its mean, which must be zero
            slope = gradient[:-1] - gradient[-1] * target.mean_of_columns
            bound = min(bound, 0.5 * slope @ slope / l2 + 0.5 * gradient[-1] ** 2 / SQUARED_ERROR.curvature)
        return min(bound, 0.5 * squares / ROUNDING)

    @property
    def is_done(self):
        return self.excess() <= self.accuracy

    def step(self):
        """Read the rows and move each target that has not arrived; the objectives before."""
        which, objective = np.flatnonzero(~self.is_done), self.value.copy()
        if not len(which):
            return objective
        gradient, direction, scale = self.gradient[which], self.direction[which], self.scale[which]
        targets = [self.targets[k] for k in which]
        _, bent = look_at(targets, direction, SQUARED_ERROR, without_targets=True)
        slope, curvature = np.sum(gradient * direction, axis=1), np.sum(direction * bent, axis=1)
        length = np.divide(-slope, curvature, out=np.zeros_like(slope), where=curvature > 0.0)
        before = np.sum(scale * gradient**2, axis=1)
        gradient += length[:, None] * bent
        ratio = np.divide(np.sum(scale * gradient**2, axis=1), before, out=np.zeros_like(before), where=before > 0.0)
        self.value[which] += 0.5 * length * slope
        self.best[which] += length[:, None] * direction
        self.gradient[which] = gradient
        self.direction[which] = ratio[:, None] * direction - scale * gradient
        return objective
