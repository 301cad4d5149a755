"""The solver by the damped Newton method: iterations that end by a proof.

When the estimate of an iteration is small enough to stop, the duality gap decides (see _duality.py). Its dual variables are
feasible at the minimum for any width of kinks, so that it is a bound, but a loose one while the model is inaccurate. If it
refutes the estimate, the next widths are minimised more accurately, and a loss that is straight but for its kinks is followed
to a vertex (see _vertex.py).
"""

import numpy as np

from skgd._descent import Solver
from skgd._duality import dual_sums_after, duality_gap
from skgd._geometry import n_rows_that_tell
from skgd._moments import NEGLIGIBLE
from skgd._newton import Newton
from skgd._objective import penalty_at
from skgd._quadratic import MOST_STEPS
from skgd._reading import look_at
from skgd._rows import SAMPLE
from skgd._stopping import LEAST_PROMISE, TIGHTER
from skgd._vertex import crossover, is_near_vertex

SAMPLE_RATIO = 8  # a sample this many times smaller gives a warm start that pays for itself; 4 or 12: a tenth more or less


class CertifiedNewton(Newton):
    """An iteration that ends once the duality gap confirms the estimate, or nothing is left to try.

    `left` is then a bound of the suboptimality of `best`, unless `give_up` has had to believe the estimate.
    """

    is_done = False

    @property
    def allowed(self):
        """The suboptimality that the promise allows."""
        return self.promise * self.target.reach(self.best_value)

    @property
    def may_gain(self):
        """Whether a step may still gain: not where full damping was needed, nor if what is asked for is a rounding error."""
        negligible = NEGLIGIBLE * max(self.target.unit, self.best_value)
        return self.damping < 1.0 and self.accuracy * self.target.reach(self.best_value) > negligible

    @property
    def is_near_vertex(self):
        return is_near_vertex(self.target, self.best, self.model.loss.width)

    def conclude(self):
        """Whether to stop, after a reading. If the gap refutes the estimate, a vertex is tried if it is near.

        A vertex that is near is also tried after each MOST_STEPS / 2 readings, whatever the estimate: beside an extreme
        quantile, steps may take hundreds.
        """
        if self.seems_done:
            self.left = self.bound_after(self.undamped)
            if self.left > self.allowed and (not self.may_gain or self.is_near_vertex):
                self.left = min(self.left, self.cross_over())
            self.is_done = self.left <= self.allowed or not self.may_gain
            self.n_refuted += not self.is_done
        elif self.n_read % (MOST_STEPS // 2) == 0 and self.is_near_vertex:
            bound = self.cross_over()
            if bound <= self.allowed:
                self.left, self.is_done = bound, True
        return self.is_done

    def bound_after(self, step):
        """A bound of the suboptimality of `best`: the duality gap of the slopes after a step from the model's point.

        The gap bounds F(point) - min F. What F(best) is below F(point) has been gained already.
        """
        target, model = self.target, self.model
        displacement = np.append(target.basis @ step.moved[:-1], step.moved[-1])
        sums = dual_sums_after(target, model.point, model.loss, displacement, step.damping)
        value = sums.loss / target.total_weight + penalty_at(target.penalty, model.point[:-1])
        gap = duality_gap(target, sums, model.point)
        return min(self.best_value, max(gap - (value - self.best_value), 0.0))  # no objective is negative

    def cross_over(self):
        """Move `best` to a vertex, or on the way there, if that lowers it; returns a bound of its suboptimality."""
        self.best, self.best_value, bound = crossover(self.target, self.best, self.best_value, self.promise)
        return bound

    def approach(self):
        """Iterate until `conclude` says so; returns the end, and its suboptimality as a share of the reach."""
        for _ in range(MOST_STEPS):
            self.read()
            if self.conclude():
                break
        else:
            self.give_up()
        return self.end(), self.target.share_of_reach(self.left, self.best_value)

    def give_up(self):
        """Bound the suboptimality after MOST_STEPS.

        The estimate counts only if steps were damped, and no duality gap has refuted an earlier one. So many nearly undamped
        steps converge, unless rounding errors shorten them, or the tiny ridge of the model does. Then the Newton decrement does
        not measure what is left.
        """
        is_credible = self.n_refuted == 0 and self.damping > TIGHTER**3 and self.model.extra.any()
        is_credible = is_credible and self.model.hidden(self.undamped) <= self.allowed
        self.left = min(self.left if is_credible else np.inf, *map(self.bound_after, (self.damped, self.undamped)))
        if self.left > self.allowed:
            self.left = min(self.left, self.cross_over())

    def end(self):
        """The best point read, or the next one if it is better still."""
        (values,) = self.target.objectives(np.vstack([self.best, self.trial]), self.target.loss)
        return self.trial if values[1] < values[0] else self.best

    # What `resumed` needs, beside plain attributes: see `DampedNewton.remembered`.
    point = property(lambda self: self.model.point)
    width_of_model = property(lambda self: self.model.loss.width)
    width = property(lambda self: self.loss.width)

    @classmethod
    def resumed(cls, target, promise, *, point, width_of_model, width, **known):
        """The iteration that a paused fit has left, ready to go on."""
        iteration = cls(target, point, promise, target.loss.smoothed(width_of_model))
        iteration.read()  # restores the model there
        vars(iteration).update(known, loss=target.loss.smoothed(width))
        iteration.choose_step()
        return iteration


def of_each(name):
    """A property of `DampedNewton`: this attribute of the iteration of each target, as an array."""
    return property(lambda solver: np.array([getattr(iteration, name) for iteration in solver.iterations]))


class DampedNewton(Solver):
    """The solver by the damped Newton method: each step reads all rows once and moves every target that has not arrived."""

    best, value = of_each("best"), of_each("best_value")
    next, left, is_done = of_each("trial"), of_each("left"), of_each("is_done")
    remembered = "point", "width_of_model", "width", "best", "best_value", "damping", "n_read", "n_refuted", "left", "is_done"

    def __init__(self, targets, starts, promise, memory=None):
        self.targets, self.rows = targets, targets[0].rows
        if memory is None:
            self.iterations = [self.started(*pair, promise) for pair in zip(targets, starts, strict=True)]
        else:
            known = (dict(zip(memory, parts, strict=True)) for parts in zip(*memory.values(), strict=True))
            self.iterations = [
                CertifiedNewton.resumed(target, promise, **each) for target, each in zip(targets, known, strict=True)
            ]

    @staticmethod
    def started(target, start, promise):
        """The iteration of a target; if the start is zero and there are many rows, from where a sample of them leads."""
        size = min(SAMPLE, len(target.rows) // SAMPLE_RATIO)
        if size < n_rows_that_tell(target.rows.n_features) or start[:-1].any():
            return CertifiedNewton.far(target, start, promise)
        of_sample = Newton.far(target.on_sample(size), start, promise / TIGHTER)
        return CertifiedNewton(target, of_sample.settle(), promise, of_sample.loss)

    @classmethod
    def approach(cls, targets, starts, promise):
        """Minimise from starts, or from best constants where these are better; the ends, and their excess.

        Kinks are wide at first. If an end is not accurate enough, an iteration begins anew there. With an l1 norm and fewer
        rows than columns, most coefficients are zero at the minimum: it takes far longer from where few are.
        """
        values, _ = look_at(targets, starts, targets[0].loss)
        tighter = LEAST_PROMISE if targets[0].penalty.makes_zeros else promise  # for exact zeros
        ends, excess = starts.copy(), np.zeros(len(targets))
        is_dense = targets[0].penalty.l1 > 0.0 and len(targets[0].rows) < targets[0].rows.n_features
        for k, (target, value) in enumerate(zip(targets, values, strict=True)):
            if is_dense or target.unit == 0.0 or not value <= target.constant_loss:
                ends[k] = target.constant_parameters
            if target.unit == 0.0:  # all targets are zero
                continue
            for _ in range(2):
                ends[k], excess[k] = CertifiedNewton.far(target, ends[k], tighter).approach()
                if not excess[k] > promise:
                    break
        return ends, excess

    @property
    def memory(self):
        """What a later fit goes on from: arrays by their names."""
        return {name: np.array([getattr(each, name) for each in self.iterations]) for name in self.remembered}

    def step(self):
        """Make one reading for all targets that have not arrived; returns the objectives at the points read."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            objective = self.value
            going_on = [k for k, iteration in enumerate(self.iterations) if not iteration.is_done]
            sums = self.rows.add_up(*(self.iterations[k].request() for k in going_on)) if going_on else []
            for k, of_target in zip(going_on, sums, strict=True):
                objective[k] = self.iterations[k].learn(of_target)
                self.iterations[k].conclude()
        return objective

    def end(self, parameters):
        """Where the descent has ended."""
        return np.array([iteration.end() for iteration in self.iterations])
