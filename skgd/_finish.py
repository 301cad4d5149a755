"""The end of a descent under "auto": check whether it is as near to the minimum as promised, and if not, continue.

A reading estimates how much the objective can still fall. If that is too much, more of them follow; if there are too many
columns for a Hessian, conjugate gradients or L-BFGS-B continue instead. With an l1 norm, or coefficients
that must be >= 0, the end always has exact zeros.
"""

import numpy as np

from skgd._geometry import full_batch_step
from skgd._newton import FAR, Newton
from skgd._objective import SQUARED_ERROR, proximal
from skgd._reading import Target, look_at
from skgd._wide import approach_wide

ACCURACY = 1e-5  # the finest that an end is asked for: what is gained beyond costs readings and no prediction shows it
LEAST = 1e-9  # of the objective: the least that rounding may add at first


def proximal_step(target, start):
    """A step on all rows, short enough for each of them, that ends on exact zeros; where it leads if the objective falls."""
    penalty, loss = target.penalty, target.rounded(start, FAR)
    eta = full_batch_step(target.geometry, penalty.l2 / target.curvature) * target.geometry.metric[1] / loss.steepest
    end = start - eta * target.look(start, loss)[1]
    end[:-1] = proximal(end[:-1], eta[:-1] * penalty.l1, penalty.lowest)
    (values,) = target.objectives(np.vstack([start, end]), target.loss)
    return end if values[1] <= values[0] else start


def finish(problem, parameters, promise, hastily=False):
    """Look whether a descent has come as near to its minimum as promised, and go there if not; zeros are exact.

    Parameters
    ----------
    problem : Problem
    parameters : ndarray of shape (n_targets, n_features + 1)
        Where the descent has ended; the intercept is taken at the center.
    promise : float or ndarray of shape (n_targets,)
        The excess over the minimum that is accepted, as a share of the excess of the best constant prediction; inf for targets
        whose descent has not converged, which are left as they are unless the penalty makes zeros.
    hastily : bool
        Only make one proximal step, for exact zeros. Wide rows are treated the same if their promise is inf.

    Returns
    -------
    parameters : ndarray
        Their objective is no higher than before, up to rounding.
    excess : ndarray of shape (n_targets,)
        What is still to be gained, in the unit of the promise.
    """
    ends, excess, promise = parameters.copy(), np.zeros(len(parameters)), np.broadcast_to(promise, len(parameters))
    is_doubtful = problem.whole is not None and any(geometry.is_doubtful for geometry in problem.geometries)
    problem = problem.whole if is_doubtful else problem
    targets = [Target(problem, k) for k in range(len(parameters))]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        is_hasty = (promise == np.inf) & (hastily or problem.rows.is_wide or not problem.penalty.makes_zeros)
        if problem.penalty.makes_zeros:
            for k in np.flatnonzero(is_hasty):
                ends[k] = proximal_step(targets[k], parameters[k])
        others = np.flatnonzero(~is_hasty)
        if len(others):
            looks = look_at([targets[k] for k in others], parameters[others], problem.loss)
            for k, look in zip(others, looks, strict=True):
                ends[k], excess[k] = finish_target(targets[k], parameters[k], *look, promise[k])
    return ends, excess


def finish_target(target, start, value, gradient, promise):
    """The same for one target, whose objective and gradient at the start are given."""
    makes_zeros, constant = target.penalty.makes_zeros, np.append(np.zeros(len(start) - 1), target.constant)
    if target.unit == 0.0:  # all targets are zero
        return constant, 0.0
    if not value <= target.constant_loss:
        start = constant
        value, gradient = target.look(start, target.loss)
    if target.rows.is_wide:
        return approach_wide(target, start, promise)
    if target.loss == SQUARED_ERROR and not makes_zeros:  # whose curvature is that of the whitened rows
        slope = np.append(gradient[:-1] @ target.basis, gradient[-1])
        if target.share_of_reach(0.5 * slope @ slope / target.loss.curvature, value) <= promise:
            return start, 0.0
    accuracy = min(ACCURACY, promise) if makes_zeros or promise == np.inf else promise
    cost = 0.5 * accuracy * target.reach(value) / value
    way = Newton(target, start, accuracy, target.rounded(start, max(cost, LEAST)))
    way.read()
    if not way.ended() and way.left > 0.1 * target.reach(value):
        way = Newton.far(target, start, accuracy)
    return way.approach()
