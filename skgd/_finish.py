"""The end of a descent: whether it is near enough to the minimum and, under "auto", the rest of the way."""

import numpy as np

from skgd._geometry import full_batch_step
from skgd._newton import FAR
from skgd._objective import proximal
from skgd._plan import solver_of
from skgd._quadratic import FRACTIONS
from skgd._reading import Target, look_at


def proximal_step(target, start):
    """The best of some proximal gradient steps on all rows, which makes zeros exact, and by how much the objective falls.

    It is the start, if the objective would rise.
    """
    penalty, loss, metric = target.penalty, target.smoothed(start, FAR), target.geometry.metric
    step = full_batch_step(target.geometry, penalty.l2 / target.curvature) / loss.largest_curvature
    eta = step * FRACTIONS[:, None] * metric.scales
    ends = start - eta * target.look(start, loss)[1]
    ends[:, :-1] = proximal(ends[:, :-1], eta[:, :-1] * penalty.l1, penalty.lowest)
    (values,) = target.objectives(np.vstack([ends, start]), target.loss)
    best = np.argmin(values)
    return (ends[best] if best < len(ends) else start), values[-1] - values[best]


def with_exact_zeros(problem, parameters):
    """The parameters after one proximal step, if the penalty makes zeros."""
    if not problem.penalty.makes_zeros:
        return parameters.copy()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.array([proximal_step(Target(problem, k), start)[0] for k, start in enumerate(parameters)])


def excess_at_least(problem, parameters):
    """A lower bound of the suboptimality of each target, as a share of the reach: what one step gains on all rows."""
    targets, bounds = [Target(problem, k) for k in range(len(parameters))], []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values, _ = look_at(targets, parameters, problem.loss)
        for target, start, value in zip(targets, parameters, values, strict=True):
            bounds.append(target.share_of_reach(proximal_step(target, start)[1], value))
    return np.array(bounds)


def finish(problem, parameters, is_on_plateau, promise):
    """Finish a descent: targets on a plateau come as near to their minimum as promised, all others stay where they are.

    Zeros become exact. The promise is the largest suboptimality that is accepted, as a share of the reach.
    Returned are the ends, whose objective is no higher than before, up to rounding, and their suboptimality in the same unit: 0
    for targets that stay.
    """
    ends, excess = with_exact_zeros(problem, parameters), np.zeros(len(parameters))
    which = np.flatnonzero(is_on_plateau)
    if len(which):
        solver, targets = solver_of(problem.rows, problem.loss, problem.penalty), [Target(problem, k) for k in which]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ends[which], excess[which] = solver.approach(targets, ends[which], promise)
    return ends, excess
