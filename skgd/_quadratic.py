"""A quadratic model of the objective around a point, and its minimum with an l1 norm or a bound.

A reading of all rows at p (see _reading.py) gives the gradient g and the Hessian H of the loss, and the Hessian M of parabolas
that touch the loss at each row and lie above it. The model of a step d is::

    m(d) = g.d + d'(H + damping (M - H)) d / 2 + penalty(p + d)                 0 <= damping <= 1

With damping 0 its minimum is Newton's step (proximal Newton with a penalty that makes zeros). With damping 1 the model lies
above the objective, so that every step gains (majorisation-minimisation, Hunter & Lange 2000).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skgd._moments import NEGLIGIBLE
from skgd._objective import Loss, penalty_at
from skgd._reading import Target

MOST_STEPS = 40  # of Newton's method, and of an active set for each coefficient; `benchmarks.readings` has no fit with as many


class Step(NamedTuple):
    """The step to the minimum of a damped model."""

    end: np.ndarray  # where it leads
    moved: np.ndarray  # how far, in the coordinates of steps
    gain: float  # by which the model without damping falls
    damped_gain: float  # by which the damped model falls


@dataclass(frozen=True)
class Model:
    """The model of a target's objective at the point of a reading. Derivatives are in the coordinates of steps."""

    target: Target
    point: np.ndarray
    loss: Loss  # rounded, as it was read
    value: float  # the rounded objective at the point
    gradient: np.ndarray
    hessian: np.ndarray
    extra: np.ndarray  # M - H

    def damped(self, damping):
        """The Hessian of the damped model without the penalty, with the little that keeps it invertible."""
        least = NEGLIGIBLE * max(np.trace(self.hessian), self.target.curvature)
        return self.hessian + damping * self.extra + least * np.eye(len(self.gradient))

    def step(self, damping):
        """The Step to the minimum of the damped model."""
        penalty, basis, coef, size = self.target.penalty, self.target.basis, self.point[:-1], len(self.gradient)
        gram = self.damped(damping)
        gram[:-1, :-1] += penalty.l2 * (basis.T @ basis)
        slope = self.gradient + np.append(penalty.l2 * (basis.T @ coef), 0.0)
        v, strength, lowest = np.zeros(size), np.zeros(size), np.full(size, -np.inf)
        if penalty.makes_zeros:  # the coordinates are the scaled coefficients, so that zeros of both are the same
            scale = np.diag(basis)
            v[:-1] = np.divide(coef, scale, out=np.zeros_like(coef), where=scale > 0.0)
            strength[:-1], lowest[:-1] = penalty.l1 * scale, penalty.lowest
        end = minimum_of(gram, gram @ v - slope, strength, lowest, v)
        moved = end - v
        there = basis @ end[:-1] if penalty.makes_zeros else coef + basis @ moved[:-1]
        of_penalty = penalty_at(penalty, coef) - penalty_at(penalty, there)
        gain = of_penalty - self.gradient @ moved - 0.5 * moved @ self.hessian @ moved
        damped_gain = gain - 0.5 * damping * moved @ self.extra @ moved
        return Step(np.append(there, self.point[-1] + moved[-1]), moved, gain, damped_gain)


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
    for _ in range(MOST_STEPS * len(v)):  # about one each is needed, more where rounding leads it in circles
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
