"""The end of a descent under "auto": check that it is as near to the minimum as promised, and call a solver if not."""

import numpy as np

from skgd._geometry import full_batch_step
from skgd._newton import FAR
from skgd._objective import SQUARED_ERROR, proximal
from skgd._plan import solver_of
from skgd._reading import Target, look_at


def proximal_step(target, start):
    """One proximal gradient step on all rows, which makes zeros exact; the start, if the objective would rise."""
    penalty, loss = target.penalty, target.smoothed(start, FAR)
    eta = (
        full_batch_step(target.geometry, penalty.l2 / target.curvature) * target.geometry.metric.scales / loss.largest_curvature
    )
    end = start - eta * target.look(start, loss)[1]
    end[:-1] = proximal(end[:-1], eta[:-1] * penalty.l1, penalty.lowest)
    (values,) = target.objectives(np.vstack([start, end]), target.loss)
    return end if values[1] <= values[0] else start


def with_exact_zeros(problem, parameters):
    """The parameters after one proximal step, if the penalty makes zeros."""
    if not problem.penalty.makes_zeros:
        return parameters.copy()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.array([proximal_step(Target(problem, k), start) for k, start in enumerate(parameters)])


def finish(problem, parameters, is_on_plateau, promise):
    """Finish a descent: targets on a plateau come as near to their minimum as promised, all others stay where they are.

    Zeros become exact. The promise is the largest suboptimality that is accepted, as a share of the reach.
    Returned are the ends, whose objective is no higher than before, up to rounding, and their suboptimality in the same unit: 0
    where no solver was needed or asked for.
    """
    ends, excess = with_exact_zeros(problem, parameters), np.zeros(len(parameters))
    which = np.flatnonzero(is_on_plateau)
    targets = [Target(problem, k) for k in which]
    if targets:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for k, target, value, gradient in zip(which, targets, *look_at(targets, ends[which], problem.loss), strict=True):
                ends[k], excess[k] = finish_target(target, ends[k], value, gradient, promise)
    return ends, excess


def finish_target(target, start, value, gradient, promise):
    """The end of one target and its excess there, from a start with this objective and gradient."""
    constant = np.append(np.zeros(len(start) - 1), target.constant)
    if target.unit == 0.0:  # all targets are zero
        return constant, 0.0
    if not value <= target.constant_loss:
        start = constant
        value, gradient = target.look(start, target.loss)
    if target.share_of_reach(gain_of_whitened_step(target, gradient), value) <= promise:
        return start, 0.0
    return solver_of(target.rows, target.loss, target.penalty).approach(target, start, promise)


def gain_of_whitened_step(target, gradient):
    """The suboptimality of a squared error, by its gradient in whitened coordinates, where the Hessian is known; else inf."""
    if target.loss != SQUARED_ERROR or target.penalty.makes_zeros or target.rows.is_wide:
        return np.inf
    slope = np.append(gradient[:-1] @ target.basis, gradient[-1])
    return 0.5 * slope @ slope / target.loss.curvature
