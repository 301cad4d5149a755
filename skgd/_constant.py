"""The best constant prediction, and what its residuals say: units of the objective, and the curvature that steps assume."""

import numpy as np

from skgd._objective import SQUARED_ERROR, loss_and_slope, mean_loss, quotient, rounding_of

LEAST_REACH = 1e-3  # lower limit of the reach, as a share of the unit: columns are taken to explain at least this
ENOUGH_FOR_A_MEAN = 100  # rows whose mean has a standard error of 1/10 of the deviation; also half-life of the usual loss


def constants_of(loss, rows, moments, has_intercept):
    """What a Problem knows of the best constant predictions, by the names of its fields; an entry for each target."""
    constant, some = np.zeros(rows.n_targets), rows.sampled
    with np.errstate(over="ignore", invalid="ignore"):
        if loss == SQUARED_ERROR:
            constant, loss_of_constant = constant_of_squares(moments, has_intercept)
            loss_of_best = moments.target_variance
        else:
            some, best = rows_for_constants(loss, rows)
            constant = best if has_intercept else constant
            loss_of_constant = constant_loss(loss, rows, constant)
            loss_of_best = loss_of_constant if has_intercept else constant_loss(loss, rows, best)
    curvature, typical_loss = curvature_at(loss, some, constant)
    return {
        "constant": constant,
        "constant_loss": loss_of_constant,
        "unit": np.maximum(np.minimum(loss_of_constant, typical_loss), rounding_loss(loss, constant)),
        "curvature": curvature,
        "most_reach": most_reach_of(loss, loss_of_best, loss_of_constant, has_intercept),
    }


def best_constant(loss, rows):
    """The constant prediction of smallest loss for each target."""
    weight = rows.weights
    return np.array([best_constant_of(loss, y, weight) for y in rows.targets])


def best_constant_of(loss, y, weight):
    """The best constant for one target. The slope of its mean loss rises with the constant, along straight lines between knots.

    Knots are the constants at which a row is at the edge of its insensitive zone, or its slope reaches a cap. Bisection finds
    the two between which the minimum lies.
    """

    def slope(constant):
        return loss_and_slope(loss, constant - y)[1] @ weight

    zone = loss.insensitive
    edges = {-zone, zone}
    if loss.grows_linearly and not loss.is_piecewise_linear:
        edges |= {zone + loss.cap_above / loss.curvature, -zone - loss.cap_below / loss.curvature}
    knots = np.unique([y + edge for edge in edges])
    first, last = 0, len(knots) - 1
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if slope(knots[middle]) > 0.0 else (middle, last)
    low, high = knots[first], knots[last]
    inside = low + np.array([0.25, 0.75]) * (high - low)  # at a knot itself the slope may jump
    before, after = map(slope, inside)
    share = before / (before - after) if after > before else 0.5
    between = np.clip(inside[0] + share * (inside[1] - inside[0]), low, high)
    candidates = np.array([between, low, high])  # the first of equal ones: the middle, where the loss is flat
    return candidates[np.argmin([loss_and_slope(loss, constant - y)[0] @ weight for constant in candidates])]


def constant_of_squares(moments, has_intercept):
    """The constant of the smallest squared error for each target, zero without an intercept, and its mean loss."""
    mean = moments.target_mean
    return (mean, moments.target_variance) if has_intercept else (np.zeros_like(mean), moments.target_variance + mean**2)


def rows_for_constants(loss, rows):
    """A sample of the rows and its best constants; or all rows, where so few of a sample decide as for an extreme quantile."""
    sample, constant = rows.sampled, best_constant(loss, rows.sampled)
    if len(sample) == len(rows) or not rows.is_in_memory:
        return sample, constant
    slope = loss_and_slope(loss, constant[:, None] - sample.targets)[1]
    n_rare = np.minimum(np.count_nonzero(slope > 0.0, axis=1), np.count_nonzero(slope < 0.0, axis=1))
    return (rows, best_constant(loss, rows)) if n_rare.min() < ENOUGH_FOR_A_MEAN else (sample, constant)


def constant_loss(loss, rows, constant):
    """Weighted mean loss of a constant prediction for each target."""
    return mean_loss(loss, rows, constant[:, None])


def most_reach_of(loss, loss_of_best, loss_of_zero, has_intercept):
    """An upper limit of the reach, which matters without an intercept: a constant prediction is then zero.

    Where targets lie far from zero, its loss is huge and no useful unit. The limit is the loss of the best constant, but at
    least that of residuals a thousandth of the targets' size.
    """
    if has_intercept:
        return np.full(len(loss_of_best), np.inf)
    return np.maximum(loss_of_best, LEAST_REACH ** (1 if loss.grows_linearly else 2) * loss_of_zero)


def rounding_loss(loss, constant):
    """The loss of residuals as large as the rounding errors of constant predictions, as if there were no insensitive zone."""
    exact = loss._replace(width=0.0, insensitive=0.0)
    return loss_and_slope(exact, rounding_of(np.abs(constant) + loss.insensitive))[0]


def typical_size(residual, weight, rounding=0.0):
    """A robust mean of |residual| for each target, from residuals of shape (n_targets, n); outliers do not change it.

    It is the weighted median of those above `rounding`, of shape (n_targets,), times their share of the weight.
    """
    sizes = np.zeros(len(residual))
    for k, (size, none) in enumerate(zip(np.abs(residual), np.broadcast_to(rounding, len(residual)), strict=True)):
        counted = size > none
        if counted.any():
            order = np.argsort(size[counted])
            sums = np.cumsum(weight[counted][order])
            median = size[counted][order][np.searchsorted(sums, 0.5 * sums[-1])]
            sizes[k] = median * sums[-1] / weight.sum()
    return sizes


def curvature_at(loss, rows, constant):
    """The curvature that step sizes assume, and the loss of a typical residual of a constant, a unit of the objective.

    Steps take the loss for a parabola. If the loss grows quadratically, the parabola has its curvature. If it grows linearly,
    the parabola is as steep at the typical residual as the loss is in the mean: far from the minimum, a step depends on the
    distance to it and not on how sharp the bend is.
    """
    if not loss.grows_linearly:
        return np.full(len(constant), loss.curvature), np.full(len(constant), np.inf)
    weight, residual = rows.weights, constant[:, None] - rows.targets
    slope = np.abs(loss_and_slope(loss, residual)[1]) @ weight / weight.sum()
    distance, rounding = np.abs(residual), rounding_of(constant)
    # Two kinds of distances do not count. Rounding errors are one. The smallest distance is the other, unless all are alike:
    # where many targets share a value, the best constant lies about epsilon beside it.
    nearest = distance.min(axis=1)
    ignored = np.where(nearest + rounding < distance.max(axis=1), nearest, 0.0) + rounding
    size, share = typical_size(residual, weight, ignored), (distance > ignored[:, None]) @ weight / weight.sum()
    # The typical size is the median of those that count times their share: slope * size / share is the slope times the median.
    return secant_curvature(loss, slope, size), quotient(slope * size, share)


def secant_curvature(loss, slope, size):
    """Mean slope over typical residual, but no more than the curvature of the loss; 1 where the slope is zero."""
    return np.minimum(np.divide(slope, size, out=np.ones_like(slope), where=slope > 0.0), loss.curvature)
