"""A quadratic model of the objective around a point, and its minimum with an l1 norm or a bound.

A reading of all rows at p (see _reading.py) gives the gradient g and the Hessian H of the loss. It also gives the Hessian M of
a majoriser: for each row, a parabola that touches its loss and lies above it. The model of a step d is::

    m(d) = g.d + d'(H + damping (M - H)) d / 2 + penalty(p + d)                 0 <= damping <= 1

With damping 0 its minimum is the Newton step (proximal Newton with a penalty that makes zeros). With damping 1 the model lies
above the objective, so no step can raise it (majorisation-minimisation, Hunter & Lange 2000).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skgd._moments import NEGLIGIBLE, NormalEquations
from skgd._objective import Loss, Penalty, gradient_at_minimum, penalty_at, proximal, quotient, rounding_of
from skgd._reading import Target

FRACTIONS = 0.5 ** np.arange(8)  # of a step that are tried
MOST_STEPS = 40  # limit of Newton steps where no max_iter is, and of active-set steps per coefficient; more are rare


class Step(NamedTuple):
    """The step to the minimum of a damped model."""

    damping: float
    end: np.ndarray  # the parameters after the step
    moved: np.ndarray  # the displacement, in the coordinates of `Target.basis`
    gain: float  # the decrease that the undamped model predicts
    damped_gain: float  # the decrease that the damped model predicts


@dataclass(frozen=True)
class Model:
    """The model of a target's objective at the point of a reading. Derivatives are in the coordinates of `Target.basis`."""

    target: Target
    point: np.ndarray
    loss: Loss  # smoothed, as in the reading
    value: float  # the smoothed objective at the point
    gradient: np.ndarray
    hessian: np.ndarray
    extra: np.ndarray  # M - H

    @cached_property
    def ridge(self):
        """What is added to the diagonal of the Hessian to keep it invertible."""
        return rounding_of(max(np.trace(self.hessian), self.target.curvature))

    def step(self, damping):
        """The Step to the minimum of the damped model."""
        penalty, basis, coef, size = self.target.penalty, self.target.basis, self.point[:-1], len(self.gradient)
        gram = self.hessian + damping * self.extra + self.ridge * np.eye(size)
        gram[:-1, :-1] += self.target.l2_in_basis
        slope = self.gradient + np.append(penalty.l2 * (basis.T @ coef), 0.0)
        v, strength, lowest = np.zeros(size), np.zeros(size), np.full(size, -np.inf)
        if penalty.makes_zeros:  # the coordinates are the scaled coefficients, so that zeros of both are the same
            root = self.target.scaling
            v[:-1] = quotient(coef, root)
            strength[:-1], lowest[:-1] = penalty.l1 * root, penalty.lowest
        end = minimum_of(gram, gram @ v - slope, strength, lowest, v)
        moved = end - v
        there = basis @ end[:-1] if penalty.makes_zeros else coef + basis @ moved[:-1]
        of_penalty = penalty_at(penalty, coef) - penalty_at(penalty, there)
        gain = of_penalty - self.gradient @ moved - 0.5 * moved @ self.hessian @ moved
        damped_gain = gain - 0.5 * damping * moved @ self.extra @ moved
        return Step(damping, np.append(there, self.point[-1] + moved[-1]), moved, gain, damped_gain)

    def hidden(self, step):
        """What an undamped step would gain beyond this one without the tiny ridge, with the same zeros.

        Along directions in which columns nearly depend on each other, the ridge may be all that keeps a step short.
        """
        is_free = np.append(step.end[:-1] != 0.0, True) if self.target.penalty.makes_zeros else np.full(len(step.moved), True)
        hessian, pull = self.hessian.copy(), self.ridge * step.moved[is_free]
        hessian[:-1, :-1] += self.target.l2_in_basis
        values, vectors = np.linalg.eigh(hessian[np.ix_(is_free, is_free)])
        return 0.5 * np.sum((vectors.T @ pull) ** 2 / np.maximum(values, np.finfo(np.float64).eps * values[-1]))


@dataclass(frozen=True)
class NormalEquationsWithZeros(NormalEquations):
    """The normal equations of the squared error, with an l1 norm or a bound: its quadratic model is the objective itself."""

    penalty: Penalty  # the l1 norm and the bound; `second` includes an l2 norm
    ends: np.ndarray  # (n_targets, n_features + 1): the minima
    error: np.ndarray  # (n_targets,): an upper bound of their suboptimality

    @classmethod
    def of(cls, moments, metric, whitening, ridge, penalty):
        """The equations of full moments, whose minima are found for one target after the other.

        The start is soft-thresholded least squares, the minimum if columns were uncorrelated: it takes half the steps that it
        takes from zero, or fewer. With more columns than rows, most coefficients are zero, and it would take twice as many.

        With e the smallest subgradient at an end w, F(w) - F(w + d) <= -e.d - d'C d for any d, since 2 C is the Hessian. The
        right side is at most e'C^-1 e / 4 = |W'e|^2 / 4: the error.
        """
        equations, penalty = NormalEquations.of(moments, metric, whitening, ridge), penalty._replace(l2=0.0)
        start = np.zeros((len(moments.target_mean), moments.n_features + 1))
        if moments.n_rows > moments.n_features:
            least_squares = equations.minimum(start)[:, :-1]
            start[:, :-1] = proximal(least_squares, 0.5 * penalty.l1 * metric.scale, penalty.lowest)
        ends = least_squares_with_zeros(moments, metric, ridge, penalty, start)
        second, cross = moments.about(metric.center, ridge)
        gradients = np.pad(2.0 * (ends[:, :-1] @ second - cross.T), [(0, 0), (0, 1)])
        balanced = [gradient_at_minimum(penalty, *pair) for pair in zip(ends, gradients, strict=True)]
        error = 0.25 * np.square((gradients - balanced)[:, :-1] @ whitening).sum(axis=1)
        return cls(**vars(equations), penalty=penalty, ends=ends, error=error)

    @cached_property
    def at_ends(self):
        """|W'(c - C w)|^2 plus the penalty at the minima, from where `left` counts; of shape (n_targets,)."""
        return super().left(self.ends) + penalty_at(self.penalty, self.ends[:, :-1])

    def left(self, parameters):
        """The suboptimality of the parameters of all targets."""
        return super().left(parameters) + penalty_at(self.penalty, parameters[:, :-1]) - self.at_ends

    def minimum(self, parameters):
        """The minimum, wherever the parameters are."""
        return self.ends


def least_squares_with_zeros(moments, metric, ridge, penalty, start):
    """The minimum of the squared error with an l1 norm or a bound, of shape (n_targets, n_features + 1), by full moments.

    An l2 norm has added `ridge` to the second moments. Intercepts are the predictions at the center of the metric. The start,
    of the same shape, may be near the minimum.
    """
    (second, cross), root = moments.about(metric.center, ridge), metric.root
    gram = 2.0 * second * np.outer(root, root)
    gram += NEGLIGIBLE * np.trace(gram) * np.eye(len(root))  # keeps it invertible
    strength, lowest = penalty.l1 * root, np.full(len(root), penalty.lowest)
    near = quotient(start[:, :-1], root)
    least = np.finfo(np.float64).eps  # what is below the rounding error of the objective; other losses' gaps need more
    pairs = zip(2.0 * root * cross.T, near, strict=True)
    coef = [root * minimum_of(gram, linear, strength, lowest, v, least) for linear, v in pairs]
    return np.column_stack([np.array(coef), metric.intercept * moments.target_mean])


def solve(gram, linear):
    """The solution of gram v = linear, of smallest norm if there are several."""
    try:
        return np.linalg.solve(gram, linear)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(gram, linear, rcond=NEGLIGIBLE)[0]


@dataclass(frozen=True)
class Signed:
    """v'Gv / 2 - b'v + sum_j strength_j |v_j| over v_j >= lowest_j (0 or -inf): quadratic while no v_j changes its sign."""

    gram: np.ndarray  # G
    linear: np.ndarray  # b
    strength: np.ndarray
    lowest: np.ndarray
    least_gain: float = 0.0

    @cached_property
    def has_sign(self):
        """Which coefficients have a sign in the penalty: they are fixed at zero where `signs` is zero."""
        return (self.strength > 0.0) | (self.lowest == 0.0)

    @cached_property
    def sizes(self):
        """|G|, for the sizes of terms that cancel in a gradient."""
        return np.abs(self.gram)

    def value(self, v):
        """The values at vectors of shape (..., n)."""
        return np.sum(v * (0.5 * v @ self.gram - self.linear) + self.strength * np.abs(v), axis=-1)

    def minimum_for(self, signs):
        """The minimum of the quadratic function for these signs."""
        free, end = np.flatnonzero((signs != 0.0) | ~self.has_sign), np.zeros(len(signs))
        end[free] = solve(self.gram[np.ix_(free, free)], (self.linear - self.strength * signs)[free])
        return end

    def way_that_falls(self, v, end, signs):
        """A part of the way from v to an end, with zeros for coefficients that would change their sign; None if none falls."""
        way = v + FRACTIONS[:, None] * (end - v)
        way = np.where(way * signs < 0.0, 0.0, way)
        falls = np.flatnonzero(self.value(way) < self.value(v))
        return way[falls[0]] if len(falls) else None

    def gains(self, v, is_fixed):
        """What the release of each fixed coefficient of a minimum for some signs gains, and the sign that it would take.

        What may be a rounding error of the gradient counts as no gain, and neither does a share `least_gain` of the value.
        """
        gradient = self.gram @ v - self.linear
        pull = np.maximum(-gradient, np.where(self.lowest == 0.0, 0.0, gradient)) - self.strength
        size = self.sizes @ np.abs(v) + np.abs(self.linear) + self.strength
        gains = np.divide(pull**2, np.diag(self.gram), out=np.zeros_like(pull), where=is_fixed & (pull > NEGLIGIBLE * size))
        return np.where(gains > self.least_gain * np.abs(self.value(v)), gains, 0.0), -np.sign(gradient)


def minimum_of(gram, linear, strength, lowest, v, least_gain=0.0):
    """The minimum of v'Gv / 2 - b'v + sum_j strength_j |v_j| over v_j >= lowest_j (0 or -inf), from a `v` near it.

    An active-set method on signs (Lawson & Hanson 1974; with an l1 norm, Lee, Battle, Raina & Ng 2006). For fixed signs, a
    linear system gives the minimum. On the way there, coefficients that would change their sign become zero, all at once if the
    objective falls (projected Newton, Bertsekas 1982); otherwise the way ends at the first. Once the minimum for the signs is
    reached, zeros whose release lowers the objective are freed, the most promising first: one, twice as many after each
    release, and half as many once a coefficient would change its sign. Below a share `least_gain` of the objective, a release
    does not count.
    """
    signed = Signed(gram, linear, strength, lowest, least_gain)
    signs, n_to_free = np.sign(v) * signed.has_sign, 1
    is_barred = np.zeros(len(v), dtype=bool)  # from being freed, lest rounding errors make it cycle
    for _ in range(MOST_STEPS * len(v)):  # a few as a rule
        end = signed.minimum_for(signs)
        crossing = np.flatnonzero(end * signs < 0.0)
        if len(crossing):
            n_to_free, ahead = max(1, n_to_free // 2), signed.way_that_falls(v, end, signs)
            if ahead is not None:
                v, is_barred[:] = ahead, False
                signs[signed.has_sign & (v == 0.0)] = 0.0
            else:
                fractions = v[crossing] / (v[crossing] - end[crossing])
                first, fraction = crossing[np.argmin(fractions)], fractions.min()
                is_barred[first] = fraction == 0.0  # by rounding errors it cannot move: barred until another coefficient does
                v = v + fraction * (end - v)
                v[first], signs[first] = 0.0, 0.0
            continue
        if not np.array_equal(v, end):
            is_barred[:] = False
        v, (gains, sides) = end, signed.gains(end, signed.has_sign & (signs == 0.0) & ~is_barred)
        if not gains.any():
            break
        chosen = np.argsort(-gains, kind="stable")[: min(n_to_free, np.count_nonzero(gains))]
        signs[chosen], n_to_free = sides[chosen], 2 * n_to_free
    return v
