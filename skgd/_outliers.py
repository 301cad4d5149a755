"""Which rows of a stream count less: those that contradict all rows before, so that one wrong row cannot ruin a model."""

import numpy as np

from skgd._geometry import ROWS_PER_ESTIMATE
from skgd._metric import Metric
from skgd._moments import NEGLIGIBLE
from skgd._objective import loss_and_slope, mean_loss, rounding_of, with_intercept_moved
from skgd._stream import CEILING, UNLIKELY, UNUSUAL, Stream


def bounded_by(stream, rows, parameters, loss):
    """The rows of a chunk that a stream has not learned, with smaller weights for those that contradict the rows before.

    Suspect are rows that are unusually long or badly predicted, by what is usual in the rows before, or in a first chunk by its
    medians. A suspect row counts in full if its residual is within what the rows before make likely. Any other counts so little
    that it raises what the stream takes for usual by a factor at most. In a first chunk, rows that are not suspect are taken to
    come before.
    """
    if rows.is_sparse or max(stream.n_met, len(rows)) < ROWS_PER_ESTIMATE:
        return rows
    with np.errstate(over="ignore"):
        factor = factor_by_length(stream, rows) * factor_by_loss(stream, rows, parameters, loss)
    is_unusual = factor < 1.0
    if not is_unusual.any():
        return rows
    if stream.n_met < ROWS_PER_ESTIMATE:
        stream, parameters = least_squares_of(rows.only(rows.numbers[~is_unusual]), loss)
    if stream.n_met >= ROWS_PER_ESTIMATE and stream.moments.is_full:
        which = np.flatnonzero(is_unusual)
        factor[which[are_explained(stream, rows.only(rows.numbers[which]), parameters, loss)]] = 1.0
    if np.min(factor) == 1.0:
        return rows
    weight = np.array(rows.weight)
    weight[rows.numbers] *= factor
    return rows.with_weight(np.maximum(weight, np.nextafter(0.0, 1.0)))  # rows of weight 0 would not exist


def least_squares_of(rows, loss):
    """The stream of some rows of a first chunk, and their least squares; an empty stream if they are too few."""
    stream = Stream().with_rows(rows)
    if not stream.has_enough_rows:
        return Stream(), None
    metric = Metric.of_rows(rows, stream.moments, 0.0, True)
    end = stream.moments.minimum(metric, 0.0, np.zeros((rows.n_targets, rows.n_features + 1)))
    parameters = with_intercept_moved(end, -metric.center)
    return stream._replace(level=mean_loss(loss, rows, parameters)), parameters


def factor_by_length(stream, rows):
    """The factor on each weight with which a squared length counts as at most UNUSUAL times that of the longest so far.

    The longest row of a first chunk may be an outlier, as may a tenth of its rows: UNUSUAL times the 0.9 quantile of squared
    lengths stands in for it.
    """
    is_first = stream.n_met < ROWS_PER_ESTIMATE
    metric = metric_of_medians(rows) if is_first else Metric.of_rows(rows, stream.moments, 0.0, True)
    norms = metric.squared_norms(rows) / rows.weights
    if not np.isfinite(norms).all():  # too large for moments: `check_range` reports it
        return np.ones(len(rows))
    longest = UNUSUAL * np.quantile(norms, 0.9) if is_first else max(stream.longest, rows.n_features + 1.0)
    return np.minimum(1.0, UNUSUAL * longest / np.maximum(norms, 1.0))


def factor_by_loss(stream, rows, parameters, loss):
    """The factor on each weight with which a loss counts as at most CEILING times the usual one."""
    if stream.ceiling() is None:
        return 1.0
    value = loss_and_slope(loss, rows.residuals(parameters))[0]
    return np.min(1.0 / np.maximum(value / (CEILING * usual_loss(stream, loss))[:, None], 1.0), axis=0)


def are_explained(stream, rows, parameters, loss):
    """Which rows have a residual of at most UNLIKELY of the standard deviations that the rows before imply.

    If n rows, whose columns have the mean mu and the covariance C, leave residuals of variance v, then that of a further
    row x has the variance v (1 + h) with h = (1 + (x - mu)' C^-1 (x - mu)) / n. So a row in which a column varies for the
    first time may be far from its prediction. A wrong row that passes moves no parameter by more standard errors than that.
    """
    moments = stream.moments
    metric = Metric.of_rows(rows, moments, 0.0, True)
    values, vectors, _ = moments.spectrum(metric, 0.0)
    along = ((rows.columns - metric.center) * metric.root) @ vectors
    smallest = max(NEGLIGIBLE * values[-1], np.finfo(np.float64).tiny)  # columns may not have varied yet
    h = (1.0 + along**2 @ (1.0 / np.maximum(values, smallest))) / moments.n_rows
    residual = rows.residuals(parameters) / np.sqrt(1.0 + h)
    value = np.minimum(loss_and_slope(loss, residual)[0], loss_and_slope(loss, -residual)[0])
    usual = usual_loss(stream, loss)
    if stream.level is not None:
        usual = np.where(stream.level > 0.0, stream.level, usual)
    return np.all(value <= UNLIKELY ** (1 if loss.grows_linearly else 2) * usual[:, None], axis=0)


def usual_loss(stream, loss):
    """The usual loss, or that of the targets' deviation, if it is larger; inf where the targets have not varied.

    In a sorted file, all later rows may be badly predicted, by as much as targets are spread.
    """
    deviation = np.sqrt(stream.moments.target_variance)
    of_deviation = np.maximum(loss_and_slope(loss, deviation)[0], loss_and_slope(loss, -deviation)[0])
    varies = (deviation > rounding_of(stream.moments.target_mean)) & (of_deviation > 0.0)
    return np.where(varies, np.maximum(0.0 if stream.level is None else stream.level, of_deviation), np.inf)


def metric_of_medians(rows):
    """The metric of a first chunk by medians and median absolute deviations, which a few outliers do not change."""
    X = rows.sampled.columns
    center = np.median(X, axis=0)
    spread = np.median(np.abs(X - center), axis=0) ** 2
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > np.finfo(np.float64).tiny)
    return Metric(center, scale, 1.0)
