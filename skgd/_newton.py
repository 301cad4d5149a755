"""Damped Newton steps: the full batch of any loss, and the rest of the way where another descent has ended too early.

Each reading of all rows makes a model of the objective (see _quadratic.py). After a step that gained G, where the model foresaw
m and the one without damping m_0, the damping becomes what would have foreseen G (as in Levenberg 1944, Marquardt 1963)::

    damping (m_0 - G) / (m_0 - m)

A step that loses is taken anew from the same model, damped more. What Newton's step would gain (Newton's decrement) and what
rounding costs are about what is left. Kinks are rounded (see _objective.py), and become half as wide once rounding costs more
than is left. When so little is left that the way may end, the duality gap decides (see _duality.py).
"""

import numpy as np

from skgd._descent import Solver
from skgd._duality import DualSums, duality_gap
from skgd._geometry import n_rows_that_tell
from skgd._objective import is_straight, penalty_at
from skgd._quadratic import MOST_STEPS, Model
from skgd._reading import ROUNDING, derivatives_over
from skgd._rows import SAMPLE

HALVING = 2.0  # what a reading divides damping and kinks by at most, and a lost step multiplies damping by; 4: 5 to 18 % more
FAR = 0.05  # share of the objective that rounding may add far from the minimum, where as much is left; half, double: 3 %
LEAST_PROMISE = 1e-6  # of the reach, or of the loss of a stream: the smallest excess asked for, since no prediction shows less
OF_ZEROS = 1e-5  # of the reach: the largest excess where zeros are exact, or of first rows; double: 9 % fewer readings
SMALLER = 8  # times: a fit of a sample so much smaller, to start from, costs less than it saves; 4 or 12: a tenth more or less
TIGHTER = 0.1  # of what is asked for, or what rounding costs: so much is little, and is asked for where a gap is too large


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
        self.target, self.promise, self.accuracy = target, accuracy, accuracy
        self.trial, self.loss = start, loss  # what to read next, and how rounded
        self.model = self.newton = self.next = None  # of the last reading that gained; its steps without and with damping
        self.damping, self.is_widened = 1.0 / HALVING, False
        self.best, self.best_value = start, np.inf  # the lowest exact objective
        self.left, self.arrived = np.inf, False

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
            way.next = way.model.step(damping)
            way.trial = way.next.end
        return way

    @property
    def memory(self):
        """What another goes on from."""
        names, model = ("best", "best_value", "damping", "accuracy", "is_widened"), self.model
        point, width = (model.point, model.loss.width) if model else (self.best, self.loss.width)
        known = {"point": point, "width_of_model": width, "width": self.loss.width, "has_model": model is not None}
        return known | {name: getattr(self, name) for name in names}

    def request(self):
        """What to add up over all rows."""
        losses = self.loss, self.target.loss, self.model.loss if self.model else self.loss
        return derivatives_over, *self.target.at(self.trial), self.target.basis, losses

    def learn(self, sums):
        """Choose what to read next by what has been added up; the objective at what was read."""
        target, noise = self.target, ROUNDING * self.target.unit
        values, *derivatives = target.completed(sums, self.trial) / target.total_weight
        value, exact, value_in_model = values + penalty_at(target.penalty, self.trial[:-1])
        # 1. the best point: by the exact objective, which may fall where the rounded one rises
        if exact < self.best_value:
            self.best, self.best_value = self.trial, exact
        # 2. the damping, by what the last step has gained
        has_lost = self.model is not None and self.redamp(self.model.value - value_in_model, noise)
        # 3. a new model and narrower kinks, unless the step has lost
        if not has_lost:
            self.model = Model(target, self.trial, self.loss, value, *derivatives)
            self.newton = self.model.step(0.0)
            rounding = value - exact
            self.left = min(rounding + self.newton.gain, self.best_value)  # no objective is negative
            self.arrived = self.left <= max(self.accuracy * target.reach(self.best_value), noise)
            if self.newton.gain <= rounding:
                self.loss = target.loss.rounded(max(self.loss.width / HALVING, target.narrowest))
        # 4. the next step: of a quadratic loss, damping changes nothing
        self.next = self.model.step(self.damping) if self.model.extra.any() else self.newton
        self.trial = self.next.end
        return exact

    def redamp(self, gained, noise):
        """Change the damping to what would have foreseen the gain of the last step; whether that step has lost."""
        has_lost = not gained >= -noise  # as NaN has
        foreseen = self.damping * (self.next.gain - gained) / max(self.next.gain - self.next.damped_gain, noise)
        self.arrived = has_lost and self.damping == 1.0  # such a step loses by rounding errors only
        least = min(1.0, self.damping * HALVING if has_lost else self.damping / HALVING)
        self.damping = float(np.clip(np.nan_to_num(foreseen, nan=1.0), least, 1.0))
        return has_lost

    def certify(self):
        """Bound what is left at the best point by the duality gap: all rows are read once."""
        target, model, moved = self.target, self.model, self.newton.moved
        step = np.append(target.basis @ moved[:-1], moved[-1])
        (sums,) = target.rows.add_up((DualSums.over, *target.at(model.point), model.loss, target.loss, step))
        gap = duality_gap(sums, target.total_weight, target.penalty, model.point, target.deviation)
        value = sums.loss / target.total_weight + penalty_at(target.penalty, model.point[:-1])
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
        self.loss = self.model.loss
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
        for _ in range(MOST_STEPS):
            if self.conclude():
                break
            self.read()
        else:
            # So many steps of next to no damping are enough unless rounding errors make them short. What is left then is not
            # what they would gain, and the gap has to say it.
            self.left = self.certify() if self.damping <= TIGHTER**3 or not self.model.extra.any() else self.left
        return self.end(), self.target.share_of_reach(self.left, self.best_value)

    def settle(self):
        """Readings until Newton's decrement is small: where the last that gained was made."""
        for _ in range(MOST_STEPS):
            if self.arrived:
                break
            self.read()
        return self.model.point

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
