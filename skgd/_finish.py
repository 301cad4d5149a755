"""The end of a descent: whether it is near enough to the minimum and, under "auto", the rest of the way."""

import numpy as np

from skgd._geometry import full_batch_step
from skgd._objective import proximal
from skgd._plan import solver_of
from skgd._quadratic import FRACTIONS
from skgd._reading import Target, targets_of


def proximal_step(target, start):
    """The best of some proximal gradient steps on all rows, which makes zeros exact, or the start, if none of them falls.

    Also returned are the objective at the start, and by how much it falls. Where the largest eigenvalue of the columns is not
    known, as for plain schedules, the longest of these steps may be too long.
    """
    penalty, loss, metric = target.penalty, target.smoothed_at(start), target.geometry.metric
    step = full_batch_step(target.geometry, penalty.l2 / target.curvature) / loss.largest_curvature
    eta = step * FRACTIONS[:, None] * metric.scales
    ends = start - eta * target.look(start, loss)[1]
    ends[:, :-1] = proximal(ends[:, :-1], eta[:, :-1] * penalty.l1, penalty.lowest)
    (values,) = target.objectives(np.vstack([ends, start]), target.loss)
    best = np.argmin(values)
    return (ends[best] if best < len(ends) else start), values[-1], values[-1] - values[best]


def with_exact_zeros(problem, parameters):
    """The parameters after one proximal step, if the penalty makes zeros."""
    if not problem.penalty.makes_zeros:
        return parameters.copy()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.array([proximal_step(*pair)[0] for pair in zip(targets_of(problem), parameters, strict=True)])


def excess_at_least(problem, parameters):
    """A lower bound of the suboptimality of each target, as a share of the reach: what one step gains on all rows."""
    bounds = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for target, start in zip(targets_of(problem), parameters, strict=True):
            _, value, gained = proximal_step(target, start)
            bounds.append(target.share_of_reach(gained, value))
    return np.array(bounds)


def finish(problem, parameters, has_ended, promise):
    """Finish a descent: targets that have ended come as near to their minimum as promised, all others stay where they are.

    Zeros become exact. The promise is the largest suboptimality that is accepted, as a share of the reach. Returned are the
    ends, whose objective is no higher than before, up to rounding, and their suboptimality in the same unit: 0 for targets that
    stay.
    """
    which, excess = np.flatnonzero(has_ended), np.zeros(len(parameters))
    if problem.normal_equations and len(which) == len(parameters):
        return problem.minimum_from(parameters), excess
    ends = with_exact_zeros(problem, parameters)
    if problem.normal_equations:
        ends[which] = problem.minimum_from(parameters)[which]
    elif len(which):
        solver, targets = solver_of(problem.rows, problem.loss, problem.penalty), [Target(problem, k) for k in which]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ends[which], excess[which] = solver.approach(targets, ends[which], promise)
    return ends, excess
