"""The damped Newton method: solves the full batch for any loss, and finishes a descent that has ended too early.

Each reading of all rows gives a quadratic model of the objective (see _quadratic.py). If a step lowers the objective by G,
where the damped model predicted m and the undamped one m_0, the damping becomes the one that would have predicted G (as in
Levenberg 1944, Marquardt 1963)::

    damping (m_0 - G) / (m_0 - m)

A step that raises the objective is rejected, and solved again from the same model with more damping. Kinks of the loss are
smoothed (see _objective.py). The suboptimality is estimated as the Newton decrement (what an undamped step would gain) plus
what smoothing adds to the objective: with F_h >= F the smoothed objective, F(w) - min F <= (F_h(w) - min F_h) + (F_h - F at the
minimum of F), and near the minimum F_h - F changes little. Once smoothing adds more than the decrement, kinks become half as
wide. When the estimate is small enough to stop, the duality gap decides (see _duality.py). Its dual variables are feasible at
the minimum for any width of kinks. So if it is too large, the next widths are minimised more accurately, and a loss that is
straight but for its kinks is followed to a vertex (see _vertex.py).
"""

import numpy as np

from skgd._descent import Solver
from skgd._duality import DualSums, duality_gap
from skgd._geometry import n_rows_that_tell
from skgd._moments import NEGLIGIBLE
from skgd._objective import penalty_at
from skgd._quadratic import FRACTIONS, MOST_STEPS, Model
from skgd._reading import ROUNDING, look_at
from skgd._rows import SAMPLE
from skgd._stopping import LEAST_PROMISE
from skgd._vertex import NEAR, vertex_near

HALVING = 2.0  # damping and kinks fall by this factor at most; a rejection raises damping by it at least; 4: 5-18 % slower
FAR = 0.05  # share of the objective that smoothing may add at a start that may be far; half or double: 3 % more readings
SMALLER = 8  # a sample this many times smaller gives a warm start that pays for itself; 4 or 12: a tenth more or less
TIGHTER = 0.1  # factor on a tolerance: for the next try where a duality gap is too large, and for what is far below it


class Newton:
    """The Newton iteration of one target: readings of all rows in turn with steps of the quadratic model.

    The first reading is made at the start, of a smoothed `loss`. The promise is the suboptimality at which to stop, as a share
    of the reach.
    """

    def __init__(self, target, start, promise, loss):
        self.target, self.promise = target, promise
        self.trial, self.loss = start, loss  # where to read next, and the smoothed loss to read
        self.model = self.undamped = self.damped = None  # of the last accepted point; its undamped and damped steps
        self.damping = 1.0 / HALVING
        self.best, self.best_value = start, np.inf  # the lowest exact objective
        self.left, self.n_read, self.n_refuted = np.inf, 0, 0  # n_refuted: estimates with too large a duality gap
        self.seems_done = self.is_done = False  # by the estimate, and by what `conclude` has found

    @classmethod
    def far(cls, target, start, promise):
        """An iteration from a start that may be far from the minimum: kinks are smoothed widely."""
        return cls(target, start, promise, target.smoothed(start, FAR))

    @classmethod
    def resumed(cls, target, promise, *, point, width_of_model, width, damping, **known):
        """The iteration that left this `memory`, ready to go on."""
        iteration = cls(target, point, promise, target.loss.smoothed(width_of_model))
        iteration.read()  # restores the model there
        vars(iteration).update(known, damping=damping, loss=target.loss.smoothed(width), damped=iteration.model.step(damping))
        iteration.trial = iteration.damped.end
        return iteration

    @property
    def memory(self):
        """What `resumed` needs to go on."""
        names, model = ("best", "best_value", "damping", "n_read", "n_refuted", "left", "is_done"), self.model
        known = {"point": model.point, "width_of_model": model.loss.width, "width": self.loss.width}
        return known | {name: getattr(self, name) for name in names}

    def request(self):
        """The next reading: a function to sum over all rows, and its arguments."""
        losses = self.loss, self.target.loss, self.model.loss if self.model else self.loss
        return self.target.derivatives, self.target.at(self.trial), self.target.scaling, losses

    def learn(self, sums):
        """Accept or reject the point read, by its sums, and choose the next one; returns the exact objective there."""
        target, noise, self.n_read = self.target, ROUNDING * self.target.unit, self.n_read + 1
        values, *derivatives = target.completed(sums, self.trial) / target.total_weight
        value, exact, value_in_model = values + penalty_at(target.penalty, self.trial[:-1])
        # 1. the best point: by the exact objective, which may fall where the smoothed one rises
        if exact < self.best_value:
            self.best, self.best_value = self.trial, exact
        # 2. the damping, from the gain of the last step
        has_lost = self.seems_done = False
        if self.model is not None:
            gained = self.model.value - value_in_model
            has_lost = not gained >= -noise  # as NaN has
            self.seems_done = has_lost and self.damping == 1.0  # a fully damped step can only fail by rounding errors
            self.damping = self.damping_after(gained, has_lost, noise)
        # 3. a new model and narrower kinks, unless the step was rejected
        if not has_lost:
            self.model = Model(target, self.trial, self.loss, value, *derivatives)
            self.undamped = self.model.step(0.0)
            smoothing = value - exact
            self.left = min(smoothing + self.undamped.gain, self.best_value)  # no objective is negative
            self.seems_done = self.left <= max(self.accuracy * target.reach(self.best_value), noise)
            # Kinks become narrower only once their minimum is reached: 100 times as accurately after each refuted estimate.
            if self.undamped.gain <= TIGHTER ** (2 * self.n_refuted) * smoothing:
                self.loss = target.loss.smoothed(max(self.loss.width / HALVING, target.narrowest))
        # 4. the next step: a quadratic loss is its own majoriser, so damping changes nothing
        self.damped = self.model.step(self.damping) if self.model.extra.any() else self.undamped
        self.trial = self.damped.end
        return exact

    def damping_after(self, gained, has_lost, noise):
        """The damping that would have predicted the gain of the last step, within bounds."""
        undamped, damped, damping = self.damped.gain, self.damped.damped_gain, self.damping
        least = min(1.0, damping * HALVING) if has_lost else damping / HALVING
        foreseen = damping * (undamped - gained) / max(undamped - damped, noise)
        return 1.0 if np.isnan(foreseen) else float(np.clip(foreseen, least, 1.0))

    def certify(self, step):
        """An upper bound of the suboptimality of the best point: the duality gap of the slopes after this step, in one pass."""
        target, model = self.target, self.model
        displacement = np.append(target.basis @ step.moved[:-1], step.moved[-1])
        request = DualSums.over, target.at(model.point), model.loss, target.loss, displacement, step.damping
        (sums,) = target.rows.add_up(request)
        gap = duality_gap(target, sums, model.point)
        value = sums.loss / target.total_weight + penalty_at(target.penalty, model.point[:-1])
        return min(self.best_value, max(gap - (value - self.best_value), 0.0))  # no objective is negative

    def conclude(self):
        """Whether to stop: the estimate is small enough, and the duality gap confirms it or nothing is left to try.

        If the gap is too large, a vertex is tried if it is near. If that is not enough, the iteration goes on to a tenth of
        the estimate, while steps may gain. A vertex that is near is also tried after each MOST_STEPS / 2 readings: beside an
        extreme quantile, steps may take hundreds.
        """
        if self.seems_done:
            self.left = self.certify(self.undamped)
            if self.left > self.allowed and (not self.may_gain or self.is_near_vertex):
                self.left = min(self.left, self.cross_over())
            self.is_done = self.left <= self.allowed or not self.may_gain
            if not self.is_done:
                self.n_refuted += 1
        elif self.n_read % (MOST_STEPS // 2) == 0 and self.is_near_vertex:
            of_vertex = self.cross_over()
            if of_vertex <= self.allowed:  # the estimate does not count
                self.left, self.is_done = of_vertex, True
        return self.is_done

    @property
    def is_near_vertex(self):
        """Whether so few rows lie within the width of a kink that the program for a vertex holds them all; by a sample."""
        if not self.target.loss.is_piecewise_linear:
            return False
        distance = np.abs(np.abs(self.target.residuals_of_sample(self.best)) - self.target.loss.insensitive)
        return np.mean(distance < self.model.loss.width) * len(self.target.rows) <= NEAR[-1] * len(self.best)

    @property
    def accuracy(self):
        """What the estimate must come to before the duality gap is looked at, as a share of the reach."""
        return self.promise * TIGHTER**self.n_refuted

    @property
    def may_gain(self):
        """Whether a step may still gain: not where full damping was needed, nor if the gain would be a rounding error."""
        least = NEGLIGIBLE * max(self.target.unit, self.best_value)
        return self.damping < 1.0 and self.accuracy * self.target.reach(self.best_value) > least

    @property
    def allowed(self):
        """The suboptimality that the promise allows."""
        return self.promise * self.target.reach(self.best_value)

    def cross_over(self):
        """Move the best point to vertices, or on the way to them, while it falls; returns a bound of its suboptimality."""
        target, least = self.target, -np.inf
        if not target.loss.is_piecewise_linear:
            return np.inf
        for _ in range(MOST_STEPS):
            step, gap = vertex_near(target, self.best, TIGHTER * self.allowed)
            least = max(least, self.best_value - gap)
            ends = self.best + FRACTIONS[:, None] * step
            # The l1 norm counts by its slope at the best point, which holds up to a change of sign.
            changes_sign = (ends * self.best < 0.0) & (target.penalty.l1 > 0.0)
            ends[:, :-1] = np.where(changes_sign, 0.0, ends)[:, :-1].clip(target.penalty.lowest)
            (values,) = target.objectives(ends, target.loss)
            gained = self.best_value - values.min()
            if gained > 0.0:
                self.best, self.best_value = ends[values.argmin()], values.min()
            if self.best_value - least <= self.allowed or gained <= TIGHTER * self.allowed:
                break
        return max(self.best_value - least, 0.0)

    def read(self):
        """Make one reading of all rows and `learn` from it."""
        (sums,) = self.target.rows.add_up(self.request())
        return self.learn(sums)

    def approach(self):
        """Iterate until the duality gap confirms the end; returns the end, and its suboptimality as a share of the reach."""
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
        self.left = min(self.left if is_credible else np.inf, *map(self.certify, (self.damped, self.undamped)))
        if self.left > self.allowed:
            self.left = min(self.left, self.cross_over())

    def settle(self):
        """Iterate until the Newton decrement is small, without a duality gap; returns the last accepted point."""
        for _ in range(MOST_STEPS):
            if self.seems_done:
                break
            self.read()
        return self.model.point

    def end(self):
        """The best point read, or the next one if it is better still."""
        (values,) = self.target.objectives(np.vstack([self.best, self.trial]), self.target.loss)
        return self.trial if values[1] < values[0] else self.best


def of_each_iteration(name):
    """A property of `DampedNewton`: this attribute of the `Newton` of each target, as an array."""
    return property(lambda solver: np.array([getattr(iteration, name) for iteration in solver.iterations]))


class DampedNewton(Solver):
    """The solver by the damped Newton method: each step reads all rows once and moves every target that has not arrived."""

    best, value = of_each_iteration("best"), of_each_iteration("best_value")
    next, left, is_done = of_each_iteration("trial"), of_each_iteration("left"), of_each_iteration("is_done")

    def __init__(self, targets, starts, promise, memory=None):
        self.targets, self.rows, self.iterations = targets, targets[0].rows, []
        size = min(SAMPLE, len(self.rows) // SMALLER)
        for k, (target, start) in enumerate(zip(targets, starts, strict=True)):
            if memory is not None:
                iteration = Newton.resumed(target, promise, **{name: memory[name][k] for name in memory})
            elif size >= n_rows_that_tell(self.rows.n_features) and not start[:-1].any():  # no start is given
                of_sample = Newton.far(target.on_sample(size), start, 10.0 * promise)  # a warm start needs no duality gap
                iteration = Newton(target, of_sample.settle(), promise, of_sample.loss)
            else:
                iteration = Newton.far(target, start, promise)
            self.iterations.append(iteration)

    @classmethod
    def approach(cls, targets, starts, promise):
        """Minimise from starts, or from best constants where these are better; the ends, and their excess.

        Kinks are wide at first. If an end is not accurate enough, the iteration begins anew there. With an l1 norm and fewer
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
            ends[k], excess[k] = Newton.far(target, ends[k], tighter).approach()
            if excess[k] > promise:
                ends[k], excess[k] = Newton.far(target, ends[k], tighter).approach()
        return ends, excess

    @property
    def memory(self):
        """What a later fit goes on from: see `Newton.memory`."""
        memories = [iteration.memory for iteration in self.iterations]
        return {name: np.array([memory[name] for memory in memories]) for name in memories[0]}

    def step(self):
        """Make one reading for all targets that have not arrived; returns the objectives at the points read."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            objective = self.value
            going_on = [k for k, iteration in enumerate(self.iterations) if not iteration.is_done]
            sums = self.rows.add_up(*(self.iterations[k].request() for k in going_on)) if going_on else []
            objective[going_on] = [self.iterations[k].learn(of_target) for k, of_target in zip(going_on, sums, strict=True)]
            for k in going_on:
                self.iterations[k].conclude()
        return objective

    def end(self, parameters):
        """Where the descent has ended."""
        return np.array([iteration.end() for iteration in self.iterations])
