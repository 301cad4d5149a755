"""Damped Newton steps: the full batch of any loss, and the rest of the way where another descent has ended too early.

From a reading of all rows at p (see _reading.py) the step d minimises a model of the objective::

    m(d) = g.d + d'(H + damping (M - H)) d / 2 + penalty(p + d)                 0 <= damping <= 1

H is the curvature of the loss, and M that of parabolas which touch it at each row and lie above it. With damping 1 every step
gains (majorisation-minimisation, Hunter & Lange 2000); with 0 it is Newton's (proximal Newton with a penalty that makes zeros).
After a step that gained G, where the model foresaw m and the one without damping m_0, the damping becomes what would have
foreseen G (as in Levenberg 1944, Marquardt 1963)::

    damping (m_0 - G) / (m_0 - m)

A step that loses is taken anew from the same reading, damped more. What Newton's step would gain (Newton's decrement) and what
rounding costs are about what is left. Kinks are rounded (see _objective.py), and become half as wide once rounding costs more
than is left. When so little is left that the way may end, the duality gap decides (see _duality.py).
"""

from operator import attrgetter
from typing import NamedTuple

import numpy as np

from skgd._descent import Solver
from skgd._duality import DualSums, duality_gap
from skgd._geometry import n_rows_that_tell
from skgd._moments import NEGLIGIBLE
from skgd._objective import is_straight, penalty_at
from skgd._reading import ROUNDING, derivatives_over, look_at
from skgd._rows import SAMPLE

HALVING = 2.0  # what a reading divides damping and kinks by at most, and a lost step multiplies damping by; 4: 5 to 18 % more
FAR = 0.05  # share of the objective that rounding may add far from the minimum, where as much is left; half, double: 3 %
MOST_READINGS = 40  # of the fits in `benchmarks.readings` none of 30 columns takes as many
LEAST_PROMISE = 1e-6  # of the reach, or of the loss of a stream: the smallest excess asked for, since no prediction shows less
OF_ZEROS = 1e-5  # of the reach: the largest excess where zeros are exact, or of first rows; double: 9 % fewer readings
UNDAMPED = 1e-6  # a damping that is next to none: steps are Newton's; with 1e-3 the same fits of 4,000 are warned of
SMALLER = 8  # times: a fit of a sample so much smaller, to start from, costs less than it saves; 4 or 12: a tenth more or less
TIGHTER = 0.1  # of what is asked for, or what rounding costs: so much is little, and is asked for where a gap is too large


class Model(NamedTuple):
    """A quadratic model of the objective without the penalty, in the coordinates of steps."""

    gradient: np.ndarray
    hessian: np.ndarray
    extra: np.ndarray  # what parabolas above the loss are curved beyond it


class Step(NamedTuple):
    """A step of a damped model."""

    end: np.ndarray  # where it leads
    moved: np.ndarray  # the same in the coordinates of steps, from the start
    gain: float  # of the model without damping
    damped_gain: float


def solved(gram, linear):
    """The solution of gram v = linear, of smallest norm if there are several."""
    try:
        return np.linalg.solve(gram, linear)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(gram, linear, rcond=NEGLIGIBLE)[0]


def minimum_of(gram, linear, strength, lowest, v):
    """The minimum of v'Gv / 2 - b'v + sum_j strength_j |v_j| over v_j >= lowest_j (0 or -inf), from a `v` near it.

    An active set of signs (Lawson & Hanson 1974; with an l1 norm, Lee, Battle, Raina & Ng 2006): each step goes to the minimum
    for the signs given, or to the first zero on the way there. At that minimum the zero that promises most is freed, and at the
    first all that promise anything.
    """
    has_sign = (strength > 0.0) | (lowest == 0.0)
    signs, is_barred, is_first = np.sign(v) * has_sign, np.zeros(len(v), dtype=bool), True
    for _ in range(MOST_READINGS * len(v)):  # about one for each is needed, and more where rounding leads it in circles
        free, end = np.flatnonzero((signs != 0.0) | ~has_sign), np.zeros_like(v)
        end[free] = solved(gram[np.ix_(free, free)], (linear - strength * signs)[free])
        crossing = np.flatnonzero(end * signs < 0.0)
        if len(crossing):
            fractions = v[crossing] / (v[crossing] - end[crossing])
            first, fraction = crossing[np.argmin(fractions)], fractions.min()
            is_barred[first] = fraction == 0.0  # rounding: what was freed goes nowhere, until something else moves
            v = v + fraction * (end - v)
            v[first] = signs[first] = 0.0
            continue
        is_barred &= np.array_equal(v, end)
        v, gradient = end, gram @ end - linear
        asks = np.maximum(-gradient, np.where(lowest == 0.0, 0.0, gradient)) - strength
        size = np.abs(gram) @ np.abs(v) + np.abs(linear) + strength  # of what the gradient is a difference of
        may_go = has_sign & (signs == 0.0) & ~is_barred & (asks > NEGLIGIBLE * size)
        if not may_go.any():
            break
        chosen = may_go if is_first else np.argmax(np.where(may_go, asks**2 / np.diag(gram), 0.0))
        signs[chosen], is_first = -np.sign(gradient[chosen]), False
    return v


class Newton:
    """One target on its way to the minimum: a reading, a step of its model, a reading again.

    Parameters
    ----------
    target : Target
    start : ndarray of shape (n_features + 1,)
        What to read first.
    accuracy : float
        The excess over the minimum that ends the way, as a share of the excess of the best constant prediction.
    loss : Loss
        The rounded loss to begin with.
    """

    def __init__(self, target, start, accuracy, loss):
        self.target, self.promise, self.accuracy, self.damping = target, accuracy, accuracy, 1.0 / HALVING
        self.trial = self.point = self.best = start
        self.loss = self.loss_of_model = loss
        self.model, self.value, self.best_value, self.left, self.arrived = None, np.inf, np.inf, np.inf, False
        self.is_widened = False

    @classmethod
    def far(cls, target, start, accuracy):
        """From a start that may be far from the minimum."""
        return cls(target, start, accuracy, target.rounded(start, FAR))

    @classmethod
    def resumed(
        cls, target, promise, *, point, best, best_value, damping, width, width_of_model, accuracy, is_widened, has_model
    ):
        """From where another, whose `memory` this is, was left."""
        start, width_of_start = (point, width_of_model) if has_model else (best, width)
        way = cls(target, start, promise, target.loss.rounded(width_of_start))
        if has_model:
            way.read()  # what was known there
        way.best, way.best_value, way.damping, way.loss = best, best_value, damping, target.loss.rounded(width)
        way.accuracy, way.is_widened, way.arrived = accuracy, is_widened, False
        if has_model:
            way.next = way.step(damping)
            way.trial = way.next.end
        return way

    @property
    def memory(self):
        """What another goes on from."""
        names = "point", "best", "best_value", "damping", "accuracy", "is_widened"
        widths = {"width": self.loss.width, "width_of_model": self.loss_of_model.width}
        return {name: getattr(self, name) for name in names} | widths | {"has_model": self.model is not None}

    def request(self):
        """What to add up over all rows."""
        losses = self.loss, self.target.loss, self.loss_of_model
        return derivatives_over, *self.target.at(self.trial), self.target.basis, losses

    def learn(self, sums):
        """Choose what to read next by what has been added up; the objective at what was read."""
        target = self.target
        values, *model = target.completed(sums, self.trial) / target.total_weight
        value, exact, value_in_model = values + penalty_at(target.penalty, self.trial[:-1])
        if exact < self.best_value:
            self.best, self.best_value = self.trial, exact
        noise, gained = ROUNDING * target.unit, self.value - value_in_model
        lost = self.model is not None and not gained >= -noise
        if self.model is not None:
            foreseen = self.damping * (self.next.gain - gained) / max(self.next.gain - self.next.damped_gain, noise)
            self.arrived = lost and self.damping == 1.0  # rounding errors
            least = min(1.0, self.damping * HALVING if lost else self.damping / HALVING)
            self.damping = float(np.clip(np.nan_to_num(foreseen, nan=1.0), least, 1.0))
        if not lost:
            self.point, self.value, self.model, self.loss_of_model = self.trial, value, Model(*model), self.loss
            self.newton = self.step(0.0)
            rounding = value - exact
            self.left = min(rounding + self.newton.gain, self.best_value)  # no objective is negative
            self.arrived = self.left <= max(self.accuracy * target.reach(self.best_value), noise)
            if self.newton.gain <= rounding:
                self.loss = target.loss.rounded(max(self.loss.width / HALVING, target.narrowest))
        # Of a quadratic, parabolas above it are itself, and damping changes nothing.
        self.next = self.step(self.damping) if self.model.extra.any() else self.newton
        self.trial = self.next.end
        return exact

    def hessian(self, damping):
        """The curvature of the model, with what damping and rounding errors ask for."""
        gradient, hessian, extra = self.model
        least = NEGLIGIBLE * max(np.trace(hessian), self.target.curvature)
        return hessian + damping * extra + least * np.eye(len(gradient))

    def step(self, damping):
        """The minimum of the model of the last reading that gained."""
        penalty, basis, (gradient, hessian, extra) = self.target.penalty, self.target.basis, self.model
        size, coef, damped = len(gradient), self.point[:-1], self.hessian(damping)
        damped[:-1, :-1] += penalty.l2 * (basis.T @ basis)
        slope = gradient + np.append(penalty.l2 * (basis.T @ coef), 0.0)
        v, strength, lowest = np.zeros(size), np.zeros(size), np.full(size, -np.inf)
        if penalty.makes_zeros:
            scale = np.diag(basis)
            v[:-1] = np.divide(coef, scale, out=np.zeros_like(coef), where=scale > 0.0)
            strength[:-1], lowest[:-1] = penalty.l1 * scale, penalty.lowest
        end = minimum_of(damped, damped @ v - slope, strength, lowest, v)
        moved = end - v
        there = basis @ end[:-1] if penalty.makes_zeros else coef + basis @ moved[:-1]
        gain = penalty_at(penalty, coef) - penalty_at(penalty, there) - gradient @ moved - 0.5 * moved @ hessian @ moved
        return Step(np.append(there, self.point[-1] + moved[-1]), moved, gain, gain - 0.5 * damping * moved @ extra @ moved)

    def certify(self):
        """Bound what is left at the best point by the duality gap: all rows are read once."""
        target, moved = self.target, self.newton.moved
        step = np.append(target.basis @ moved[:-1], moved[-1])
        (sums,) = target.rows.add_up((DualSums.over, *target.at(self.point), self.loss_of_model, target.loss, step))
        gap = duality_gap(sums, target.total_weight, target.penalty, self.point, target.deviation)
        value = sums.loss / target.total_weight + penalty_at(target.penalty, self.point[:-1])
        return min(self.best_value, max(gap - (value - self.best_value), 0.0))  # no objective is negative

    def conclude(self):
        """End the way if it has arrived, and the duality gap bears it out or nothing more is to gain; whether it has ended."""
        if self.arrived:
            gap, limit = self.certify(), self.promise * self.target.reach(self.best_value)
            if gap <= limit:
                self.left = gap
            else:
                self.reconsider(gap, limit)
        return self.arrived

    def reconsider(self, gap, limit):
        """Go on from where the way has arrived, or end there although the gap is too large."""
        is_apart, is_kinked = self.left <= TIGHTER * limit, is_straight(self.target.loss)
        if is_kinked and self.keep_kinks():
            self.arrived = False
        elif is_kinked and is_apart:
            if not self.is_widened:  # if the way arrives again, the gap is loose
                self.widen(gap)
        elif is_apart or self.damping == 1.0:  # with all of the damping, no step gains more
            self.left = gap
        else:
            self.accuracy, self.arrived = TIGHTER * self.accuracy, False

    def keep_kinks(self):
        """Keep kinks as wide as they are if the next step gains much beside what their rounding costs; whether it does."""
        if self.damping == 1.0 or self.newton.gain <= TIGHTER * (self.left - self.newton.gain):
            return False
        self.loss = self.loss_of_model
        return True

    def widen(self, gap):
        """Make kinks as wide again as the gap allows: they may have become narrow too early."""
        self.loss, self.is_widened, self.arrived = self.target.rounded(self.best, gap / self.best_value), True, False
        self.trial, self.model, self.damping = self.best, None, 1.0 / HALVING

    def read(self):
        """Read all rows and choose what to read next; the objective at what was read."""
        (sums,) = self.target.rows.add_up(self.request())
        return self.learn(sums)

    def approach(self):
        """Readings until the end; where that is, and what is left as a share of the reach."""
        for _ in range(MOST_READINGS):
            if self.conclude():
                break
            self.read()
        else:  # undamped steps are enough, but where rounding has made them short: their gain does not say what is left then
            self.left = self.certify() if self.damping <= UNDAMPED or not self.model.extra.any() else self.left
        return self.end(), self.target.share_of_reach(self.left, self.best_value)

    def settle(self):
        """Readings until Newton's decrement is small: where the last that gained was made."""
        for _ in range(MOST_READINGS):
            if self.arrived:
                break
            self.read()
        return self.point

    def end(self):
        """The best point read, or the next one if it is better still."""
        (values,) = self.target.objectives(np.vstack([self.best, self.trial]), self.target.loss)
        return self.trial if values[1] < values[0] else self.best


def of_each_way(name):
    """A property: an attribute of each target's way, as an array."""
    return property(lambda solver: np.array([getattr(way, name) for way in solver.ways]))


class Readings(Solver):
    """Each step reads all rows and makes a step of Newton's method for each target."""

    best, value = of_each_way("best"), of_each_way("best_value")
    next, left, is_done = of_each_way("trial"), of_each_way("left"), of_each_way("arrived")

    def __init__(self, targets, starts, accuracy, memory=None):
        self.targets, self.rows, self.ways = targets, targets[0].rows, []
        size = min(SAMPLE, len(self.rows) // SMALLER)
        for k, (target, start) in enumerate(zip(targets, starts, strict=True)):
            if memory is not None:
                way = Newton.resumed(target, accuracy, **{name: memory[name][k] for name in memory})
            elif size >= n_rows_that_tell(self.rows.n_features) and not start[:-1].any():  # none that may be a good start
                of_sample = Newton.far(target.on_sample(size), start, 10.0 * accuracy)  # only a start: no gap is asked for
                way = Newton(target, of_sample.settle(), accuracy, of_sample.loss)
            else:
                way = Newton.far(target, start, accuracy)
            self.ways.append(way)

    @classmethod
    def approach(cls, target, start, value, accuracy):
        """Readings from a start that is near the minimum, or else, and where these end too early, from farther away."""
        promise, accuracy = accuracy, min(OF_ZEROS, accuracy) if target.penalty.makes_zeros else accuracy
        cost = 0.5 * accuracy * target.reach(value) / value
        way = Newton(target, start, accuracy, target.rounded(start, cost))
        way.read()
        if not way.conclude() and way.left > FAR * target.reach(value):
            way = Newton.far(target, start, accuracy)
        end, left = way.approach()
        return (end, left) if left <= promise else Newton.far(target, end, accuracy).approach()

    @property
    def memory(self):
        """What a later fit goes on from: see `Newton.memory`."""
        memories = [way.memory for way in self.ways]
        return {name: np.array([memory[name] for memory in memories]) for name in memories[0]}

    def step(self):
        """Read all rows once, for all targets that have not arrived; the objectives where they were read."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            objective = self.value
            going_on = [k for k, way in enumerate(self.ways) if not way.arrived]
            sums = self.rows.add_up(*(self.ways[k].request() for k in going_on)) if going_on else []
            objective[going_on] = [self.ways[k].learn(of_target) for k, of_target in zip(going_on, sums, strict=True)]
            for k in going_on:
                self.ways[k].conclude()
        return objective

    def end(self, parameters=None):
        """Where the descent has ended."""
        return np.array([way.end() for way in self.ways])


class LeastSquares(Solver):
    """The squared error without zeros, whose curvature is the same everywhere: Newton's step leads to the minimum, to rounding.

    What Newton's step would gain is then the duality gap itself. All targets share their curvature.
    """

    most_steps = 3
    next = property(attrgetter("best"))

    def __init__(self, targets, starts, accuracy, memory=None):
        self.targets, self.accuracy, self.best = targets, accuracy, starts.copy()
        self.is_done = self.has_stalled = np.zeros(len(targets), dtype=bool)
        self.basis, self.has_moved = targets[0].basis, False  # one step is exact where it gains too little to be seen, too
        target = targets[0]
        (sums,) = target.rows.add_up((derivatives_over, *target.at(starts[0]), self.basis, (target.loss,)))
        hessian = sums.hessian / target.total_weight
        hessian[:-1, :-1] += target.penalty.l2 * (self.basis.T @ self.basis)
        self.hessian = hessian + NEGLIGIBLE * max(np.trace(hessian), target.curvature) * np.eye(len(hessian))
        self.look()

    def look(self):
        """Read the rows: objectives, Newton's steps, and what these would gain."""
        self.value, gradient = map(np.array, zip(*look_at(self.targets, self.best, self.targets[0].loss), strict=True))
        slope = np.column_stack([gradient[:, :-1] @ self.basis, gradient[:, -1]])
        moved = -solved(self.hessian, slope.T).T
        self.moved = np.column_stack([moved[:, :-1] @ self.basis.T, moved[:, -1]])
        self.left = -0.5 * np.sum(slope * moved, axis=1)

    def step(self):
        """A step of each target that is not at its minimum; the objectives before."""
        objective = self.value
        self.is_done = self.has_moved & ((self.excess() <= self.accuracy) | self.has_stalled)
        if not self.is_done.all():
            self.best, self.has_moved = np.where(self.is_done[:, None], self.best, self.best + self.moved), True
            self.look()
            self.has_stalled = self.value >= objective  # rounding errors
        return objective
