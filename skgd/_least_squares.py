"""Solvers of the squared error: the normal equations where moments are accurate, otherwise conjugate gradients.

Preconditioned conjugate gradients (Hestenes & Stiefel 1952) take at most an l2 penalty. With H the Hessian, and D the whitening
times its transpose or, for more than MOST_COLUMNS columns, the scales of the metric::

    w <- w + a p        a = -(g.p) / (p.H p)        p <- -D g + (g.D g / g_before.D g_before) p

H p is the gradient at p with all targets set to zero, so that each step reads the rows once. A whitening makes D a multiple of
the inverse of H: the first step is then Newton's, and ends at the minimum, up to rounding errors.

The suboptimality is at most F itself. With an l2 norm it is at most the duality gap of t = l'(r): there R(w) + R*(-v) + v.w is
|l2 w + v|^2 / (2 l2), which is g.g / (2 l2) for the gradient g of the coefficients, plus what the intercept can gain. It is
also at most g.D g / (2 theta), where theta is the smallest eigenvalue of D^(1/2) H D^(1/2). A whitening makes theta the
curvature of the loss. If D only scales, columns dependent to a share e of their deviation make theta e^2, and CG does not show
it before g is as small. So theta is then taken to be ROUNDING: columns that differ by less than 1e-5 of their deviation from
others count as redundant.
"""

from operator import attrgetter

import numpy as np

from skgd._descent import Solver
from skgd._moments import HALF_OF_THE_DIGITS
from skgd._objective import SQUARED_ERROR, quotient
from skgd._reading import ROUNDING, look_at
from skgd._reference import COEF


class ClosedForm(Solver):
    """The solver of the squared error by its normal equations, where moments are accurate: the second step shows the end."""

    next = property(attrgetter("best"))

    def __init__(self, problem, starts):
        self.problem, self.best = problem, starts
        self.has_moved, self.is_done = False, np.zeros(len(starts), dtype=bool)

    @classmethod
    def of(cls, model, problem, state, is_done):
        return cls(problem, state.for_engine(problem)[:, COEF])

    def step(self):
        """Go to the minimum, unless it is there; the objectives before."""
        objective, self.is_done = self.problem.objectives(self.best), np.full(len(self.best), self.has_moved)
        if not self.has_moved:
            self.best, self.has_moved = self.problem.minimum_from(self.best), True
        return objective

    def excess(self):
        return np.zeros(len(self.best))


class ConjugateGradients(Solver):
    """The solver by conjugate gradients: each step reads the rows once and moves every target that has not arrived."""

    most_steps = 1600  # 600 columns that differ by 1e-3 or 1e-4 of their deviation from 600 others take 450
    remembered = ("gradient", "direction")
    next = property(attrgetter("best"))

    def __init__(self, targets, starts, promise, memory=None):
        self.targets, self.promise, self.best = targets, promise, starts.copy()
        self.is_done, self.misled = np.zeros(len(targets), dtype=bool), 0.0  # how far objectives are above what was tracked
        self.value, self.gradient = look_at(targets, self.best, SQUARED_ERROR)
        self.direction = -self.preconditioned(self.gradient)
        self.go_on(memory)

    @classmethod
    def of(cls, model, problem, state, is_done):
        solver = super().of(model, problem, state, is_done)
        if solver.whitening is not None:  # a step costs far less than the whitening has: go on up to rounding errors
            solver.promise = 0.0
        return solver

    @property
    def whitening(self):
        return self.targets[0].geometry.whitening

    def preconditioned(self, gradient):
        """D times the gradients of some targets; D is the same for all."""
        found = self.targets[0].geometry.metric.scales * gradient
        if self.whitening is not None:
            found[:, :-1] = gradient[:, :-1] @ self.whitening @ self.whitening.T
        return found

    @property
    def left(self):
        squares = np.sum(self.gradient * self.preconditioned(self.gradient), axis=1)
        return self.misled + np.array([self.left_of(k, square) for k, square in enumerate(squares)])

    def left_of(self, k, square):
        """An upper bound of the suboptimality of a target, by its g.D g."""
        target, gradient, bound, curvature = self.targets[k], self.gradient[k], self.value[k], SQUARED_ERROR.curvature
        if square <= HALF_OF_THE_DIGITS**2 * 2.0 * curvature * bound:
            return 0.0
        if target.penalty.l2 > 0.0:  # the gap of t = l'(r) minus its mean, which takes the mean times that of x off v
            slope = gradient[:-1] - gradient[-1] * target.mean_of_columns
            bound = min(bound, 0.5 * slope @ slope / target.penalty.l2 + 0.5 * gradient[-1] ** 2 / curvature)
        return min(bound, 0.5 * square / (ROUNDING if self.whitening is None else curvature))

    def end(self, parameters):
        """Where the descent has ended. Where rounding errors may have misled it, objectives are looked at."""
        if self.whitening is None or self.targets[0].geometry.is_doubtful:
            value, _ = look_at(self.targets, self.best, SQUARED_ERROR)
            self.misled = np.maximum(value - self.value, 0.0)
        return self.best.copy()

    def step(self):
        """Read the rows and move each target that has not arrived; the objectives before."""
        self.is_done = self.excess() <= self.promise
        which, objective = np.flatnonzero(~self.is_done), self.value.copy()
        if not len(which):
            return objective
        gradient, direction, targets = self.gradient[which], self.direction[which], [self.targets[k] for k in which]
        _, bent = look_at(targets, direction, SQUARED_ERROR, without_targets=True)
        slope, curvature = np.sum(gradient * direction, axis=1), np.sum(direction * bent, axis=1)
        length = quotient(-slope, curvature)
        square = np.sum(gradient * self.preconditioned(gradient), axis=1)
        gradient += length[:, None] * bent
        downhill = self.preconditioned(gradient)
        ratio = quotient(np.sum(gradient * downhill, axis=1), square)
        self.value[which] = np.maximum(self.value[which] + 0.5 * length * slope, 0.0)  # below 0 only by rounding errors
        self.best[which] += length[:, None] * direction
        self.gradient[which] = gradient
        self.direction[which] = ratio[:, None] * direction - downhill
        return objective
