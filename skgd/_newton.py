"""Damped Newton steps: the full batch of any loss, and the rest of the way where another descent has ended too early.

From a reading of all rows at p (see _reading.py) the step d minimises a model of the objective::

    m(d) = g.d + d'(H + damping (M - H)) d / 2 + penalty(p + d)                 0 <= damping <= 1

H is the curvature of the loss, and M that of parabolas which touch it at each row and lie above it. With damping 1 every step
gains (Hunter & Lange 2000); with 0 it is Newton's. After a step that gained G, where the model foresaw m and the one without
damping m_0, the damping becomes what would have foreseen G (as in Levenberg 1944, Marquardt 1963)::

    damping (m_0 - G) / (m_0 - m)

A step that loses is taken anew from the same reading, damped more. What Newton's step would gain is about what is left
(Newton's decrement). Kinks are rounded (see _objective.py), and become half as wide once rounding costs more than is left.
"""

import numpy as np

from skgd._descent import Divergence, FullBatch
from skgd._geometry import NEGLIGIBLE
from skgd._objective import penalty_at
from skgd._reading import derivatives_over
from skgd._reference import AVERAGE, COEF
from skgd._rows import SAMPLE

FIRST = 0.3  # damping
DAMP = 2.0  # the damping is at most divided by this after a step that gained, and at least multiplied after one that lost
FAR, NEAR = 0.05, 1e-4  # share of the objective that rounding may add at first; the second from the fit of a sample
NARROWER = 0.5  # a kink becomes, where rounding costs more than the next step may gain
ACCURACY, LEAST = 1e-5, 1e-10  # of the best constant's loss: the finest that an approach is asked for, and rounding errors
MOST_READINGS = 40
SMALL = 4  # with more than this many times the rows of a sample, the readings start from a fit of the sample


def minimum_of(gram, linear, strength, lowest, v):
    """The minimum of v'Gv / 2 - b'v + sum_j strength_j |v_j| over v_j >= lowest_j (0 or -inf), from a `v` near it.

    An active set of signs: each step goes to the minimum for the signs given, or to the first zero on the way there; at that
    minimum the zero that asks most is freed (Lawson & Hanson 1974; with an l1 norm, Lee, Battle, Raina & Ng 2006).
    """
    has_sign = (strength > 0.0) | (lowest == 0.0)
    signs, tolerance = np.sign(v) * has_sign, 1e-9 * np.max(np.abs(linear) + strength)
    for _ in range(10 * len(v)):
        free, end = np.flatnonzero((signs != 0.0) | ~has_sign), np.zeros_like(v)
        end[free] = np.linalg.solve(gram[np.ix_(free, free)], (linear - strength * signs)[free])
        crossing = np.flatnonzero(end * signs < 0.0)
        if len(crossing):
            shares = v[crossing] / (v[crossing] - end[crossing])
            first = crossing[np.argmin(shares)]
            v = v + shares.min() * (end - v)
            v[first] = signs[first] = 0.0
            if shares.min() == 0.0:  # rounding: what was freed goes nowhere
                break
            continue
        v, gradient = end, gram @ end - linear
        asks = np.where(signs == 0.0, np.maximum(-gradient, np.where(lowest == 0.0, 0.0, gradient)) - strength, 0.0) * has_sign
        chosen = np.argmax(asks)
        if asks[chosen] <= tolerance:
            break
        signs[chosen] = -np.sign(gradient[chosen])
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
    cost : float
        What the first rounding may add to the objective, as a share of it.
    """

    def __init__(self, target, start, accuracy, cost=FAR):
        self.target, self.accuracy, self.damping = target, accuracy, FIRST
        self.trial = self.point = self.best = start
        self.loss = self.loss_of_model = target.rounded(start, cost)
        self.model, self.value, self.best_value, self.left, self.arrived = None, np.inf, np.inf, np.inf, False

    def request(self):
        """What to add up over all rows."""
        target, losses = self.target, (self.loss, self.target.loss, self.loss_of_model)
        return derivatives_over, target.k, target.center, self.trial, target.basis, target.has_intercept, losses

    def learn(self, sums):
        """Choose what to read next by what has been added up; the objective at what was read."""
        target, (values, *model) = self.target, sums / self.target.rows.total_weight
        value, exact, value_before = values + penalty_at(target.penalty, self.trial[:-1])
        if exact < self.best_value:
            self.best, self.best_value = self.trial, exact
        noise, gained = LEAST * target.unit, self.value - value_before
        lost = not gained >= -noise
        if self.model is not None:
            foreseen = self.damping * (self.expected - gained) / max(self.expected - self.promised, noise)
            self.arrived = lost and self.damping == 1.0  # rounding errors
            least = min(1.0, self.damping * DAMP if lost else self.damping / DAMP)
            self.damping = float(np.clip(np.nan_to_num(foreseen, nan=1.0), least, 1.0))
        if not lost:
            self.point, self.value, self.model, self.loss_of_model = self.trial, value, model, self.loss
            _, decrement, _ = self.step(0.0)
            rounding = value - exact
            self.left = min(rounding + decrement, self.best_value)  # no objective is negative
            self.arrived = self.left <= max(self.accuracy * target.reach(self.best_value), noise)
            if decrement <= rounding:
                self.loss = target.loss.rounded(max(NARROWER * self.loss.width, target.narrowest))
        self.trial, self.expected, self.promised = self.step(self.damping)
        return exact

    def step(self, damping):
        """Where the model leads from the last reading that gained, and what it gains: without damping, and with it."""
        penalty, basis, (gradient, hessian, extra) = self.target.penalty, self.target.basis, self.model
        size, coef = len(gradient), self.point[:-1]
        damped = hessian + damping * extra + NEGLIGIBLE * max(np.trace(hessian), self.target.curvature) * np.eye(size)
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
        gained = penalty_at(penalty, coef) - penalty_at(penalty, there) - gradient @ moved - 0.5 * moved @ hessian @ moved
        return np.append(there, self.point[-1] + moved[-1]), gained, gained - 0.5 * damping * moved @ extra @ moved

    def read(self):
        """Read all rows and choose what to read next; the objective at what was read."""
        (sums,) = self.target.rows.add_up(self.request())
        return self.learn(sums)

    def approach(self):
        """Readings until the end; where that is, and what is left."""
        for _ in range(MOST_READINGS):
            if self.arrived:
                break
            self.read()
        return self.end(), self.left

    def end(self):
        """The best point read, or the next one if it is better still."""
        (values,) = self.target.objectives(np.vstack([self.best, self.trial]), self.target.loss)
        return self.trial if values[1] < values[0] else self.best


class Readings(FullBatch):
    """Each epoch is a step of Newton's method for each target."""

    def __init__(self, targets, starts, accuracy, memory=None):
        self.targets, self.rows, self.ways = targets, targets[0].rows, []
        for k, (target, start) in enumerate(zip(targets, starts, strict=True)):
            way = None if memory is None else self.resumed(target, accuracy, *(part[k] for part in memory.values()))
            if way is None and len(self.rows) > SMALL * SAMPLE:
                start, _ = Newton(target.sampled, start, 10.0 * accuracy).approach()
                way = Newton(target, start, accuracy, NEAR)
            self.ways.append(way or Newton(target, start, accuracy))

    @staticmethod
    def resumed(target, accuracy, point, best, best_value, damping, width, width_of_model):
        """A way that goes on from where another was left, if that was about the same rows."""
        way = Newton(target, point, accuracy)
        way.loss = way.loss_of_model = target.loss.rounded(width_of_model)
        ((value,),) = target.objectives(best, target.loss)
        if not np.isclose(value, best_value, rtol=1e-8, atol=0.0):
            return None
        way.read()  # what was known there
        way.best, way.best_value, way.damping, way.loss = best, best_value, damping, target.loss.rounded(width)
        way.trial, way.expected, way.promised = way.step(damping)
        way.arrived = False
        return way

    @property
    def memory(self):
        """What a later fit goes on from, an entry for each target."""
        return {
            "point": np.array([way.point for way in self.ways]),
            "best": np.array([way.best for way in self.ways]),
            "best_value": np.array([way.best_value for way in self.ways]),
            "damping": np.array([way.damping for way in self.ways]),
            "width": np.array([way.loss.width for way in self.ways]),
            "width_of_model": np.array([way.loss_of_model.width for way in self.ways]),
        }

    def make(self, epoch, parameters, history):
        """Make a reading; the objectives where it was made."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            objective = np.array([way.best_value for way in self.ways])
            going_on = [k for k, way in enumerate(self.ways) if not way.arrived]
            sums = self.rows.add_up(*(self.ways[k].request() for k in going_on)) if going_on else []
            objective[going_on] = [self.ways[k].learn(of_target) for k, of_target in zip(going_on, sums, strict=True)]
        if not np.isfinite(objective).all():
            raise Divergence(len(history.objective) + 1, 1.0)
        for way, row in zip(self.ways, parameters, strict=True):
            row[COEF], row[AVERAGE] = way.trial, way.best
        history.note_step(objective, parameters)
        return objective

    @property
    def is_done(self):
        """Which targets have arrived."""
        return np.array([way.arrived for way in self.ways])

    def end(self, parameters):
        """Where the descent has ended."""
        return np.array([way.end() for way in self.ways])

    def excess(self):
        """The excess over the minimum of each target, as a share of the excess of the best constant prediction."""
        return np.array([way.target.share_of_reach(way.left, way.best_value) for way in self.ways])
