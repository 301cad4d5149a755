"""What partial_fit keeps of the rows it has seen, and how little a row unlike all others may change."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from skgd._geometry import (
    SAFETY,
    Geometry,
    Spectrum,
    axes_to_correct,
    cumulated_chances,
    gram_of,
    largest_eigenvalue,
    metric_of,
    n_rows_that_tell,
    safe_length,
    sample_rows,
    squared_norms,
    standard_metric,
    standardised,
    with_axes,
)
from skgd._moments import Moments
from skgd._objective import loss_and_slope, penalty_at, rounding_of, typical_size
from skgd._rows import SAMPLE

HALF_LIFE = SAMPLE  # rows after which the longest row, and how steep a loss is, are half forgotten
MOST_CORRELATED = 500  # columns and targets whose covariance a stream keeps: it is decomposed for every chunk
LEAST_SEEN = 10  # rows before the spread of columns is trusted and coefficients move
UNUSUAL = 10.0  # times what was met so far is believed at most: of the length of rows, of losses and of residuals
CEILING = 1000.0  # times the usual loss: rows with a larger one are outliers, and move the parameters less
ENOUGH_ROWS = 3  # for each column and target, before the minimum of what was seen is taken for that of what will come
A_FEW = 100  # rows of a block, whose mean is known to about a tenth; the usual loss is half forgotten after as many


class Stream(NamedTuple):
    """The rows seen so far: their moments, the longest of them, and how large losses, slopes and residuals usually are."""

    moments: Moments | None = None
    n_met: float = 0.0  # rows that have come; the moments know how many are remembered
    longest: float = 0.0  # squared length of a row, for a weight of 1
    eigenvalue: float = 0.0
    slope: np.ndarray | float = 0.0  # (n_targets,): sum of the sizes of the loss's slopes over the rows, which fade
    size: np.ndarray | float = 0.0  # (n_targets,): sum of the typical sizes of residuals over the rows, which fade
    level: np.ndarray | None = None  # (n_targets,): the usual loss, if known
    holds_for: tuple | None = None  # the objective whose minimum the moments know; None for any, () for none

    @classmethod
    def after_fit(cls, moments, geometry, penalty, ends, losses, gradient, is_read, objective):
        """What goes on from a fit of an objective that has ended at parameters `ends` with these objectives.

        The intercept is taken at zero. If `gradient` is None, products of columns and targets are not known.
        """
        holds_for = None
        if geometry.covariance is None or len(moments.mean) > MOST_CORRELATED:
            second = np.append(moments.variance, moments.target_variance)
            moments = replace(moments, second=np.diagonal(moments.second) if moments.is_full else second)
        elif not moments.is_full:
            is_exact = moments.n_rows <= n_rows_that_tell(moments.n_features)  # the sample is all rows
            holds_for = () if gradient is None else None if is_exact else objective
            moments = moments_at_end(moments, geometry, penalty, ends, losses, gradient, is_read)
        known = {"level": losses, "holds_for": holds_for}
        return cls(moments, moments.n_rows, geometry.longest, geometry.eigenvalue, **known)

    @property
    def n_rows(self):
        return self.moments.n_rows if self.moments else 0

    @property
    def has_enough_rows(self):
        """Whether a minimum over the rows seen may be taken for one of rows that will come."""
        return self.moments.is_full and self.n_rows >= ENOUGH_ROWS * len(self.moments.mean)

    def is_of(self, objective):
        """Whether the moments determine the minimum of an objective with the squared error, once there are enough rows."""
        return self.holds_for in (None, objective)

    def with_rows(self, rows, half_life=np.inf):
        """After further rows; those before count half after so many."""
        n_met = self.n_met + len(rows)
        if self.moments:
            before = self.moments.faded(0.5 ** (len(rows) / half_life))
            return self._replace(moments=before + rows.moments(self.moments.is_full), n_met=n_met)
        is_full = not rows.is_sparse and rows.n_features + len(rows.y) <= MOST_CORRELATED
        return self._replace(moments=rows.moments(is_full), n_met=n_met)

    def with_longest(self, rows, counted):
        """After further rows, whose moments are in the stream's already, and come from the rows as `counted`."""
        moments = self.moments
        metric = metric_of(rows, moments, 0.0, True)
        longest = np.max(squared_norms(counted, metric) / rows.weights)
        return self._replace(longest=max(longest, self.longest * 0.5 ** (len(rows) / HALF_LIFE)))

    def with_steepness(self, rows, parameters, loss, half_life=np.inf):
        """After the residuals of further rows, which say how steep a straight loss is."""
        weight, residual, total = rows.sampled.weights, rows.sampled.residuals(parameters), rows.total_weight
        slope = total * (np.abs(loss_and_slope(loss, residual)[1]) @ weight) / weight.sum()
        size = total * typical_size(residual, weight)
        if self.n_met >= LEAST_SEEN:  # no chunk makes residuals seem many times what they were
            size = np.where(np.greater(self.size, 0.0), np.minimum(size, UNUSUAL * self.size), size)
        fading = 0.5 ** (len(rows) / min(HALF_LIFE, half_life))
        return self._replace(slope=fading * self.slope + slope, size=fading * self.size + size)

    def with_level(self, loss, n_rows):
        """After a chunk of this mean loss, whose rows are in the moments; it is believed no more than a factor at a time."""
        if self.level is None or self.n_met <= A_FEW:
            believed = n_rows / self.n_met
        else:
            believed, loss = 1.0 - 0.5 ** (n_rows / A_FEW), np.minimum(loss, UNUSUAL * self.level)
        before = 0.0 if self.level is None else self.level
        return self._replace(level=before + believed * (loss - before))

    def ceiling(self):
        """The largest mean loss of a batch that counts in full, of each target, if it is known."""
        return None if self.level is None or self.n_met <= A_FEW else CEILING * self.level

    def bounded(self, rows, parameters, loss):
        """The rows of a chunk, with smaller weights for those that are unusually long or far from their prediction.

        So no row can lengthen what the stream takes for usual by more than a factor. Unusual beside all rows before; in a
        first chunk, beside the chunk's medians.
        """
        is_first = self.n_met < LEAST_SEEN
        if rows.is_sparse or (is_first and len(rows) < LEAST_SEEN):
            return rows
        metric = metric_of_medians(rows) if is_first else metric_of(rows, self.moments, 0.0, True)
        with np.errstate(over="ignore"):
            norms = squared_norms(rows, metric) / rows.weights
        if not np.isfinite(norms).all():  # too large for moments: that will be said
            return rows
        some = norms[:: 1 + len(norms) // SAMPLE]
        usual = UNUSUAL * (UNUSUAL * np.quantile(some, 0.9) if is_first else max(self.longest, rows.n_features + 1.0))
        factor = np.minimum(1.0, usual / np.maximum(norms, 1.0))
        if self.ceiling() is not None:
            # Of a sorted file, later rows may all be far from their prediction: they are held against the targets' spread, too.
            deviation = np.sqrt(self.moments.target_variance)
            varies = deviation > rounding_of(self.moments.target_mean)  # if not, what is usual is not known
            of_deviation = CEILING * loss_and_slope(loss, deviation)[0]
            ceiling = np.where(varies & (of_deviation > 0.0), np.maximum(self.ceiling(), of_deviation), np.inf)
            with np.errstate(over="ignore"):
                value = loss_and_slope(loss, rows.residuals(parameters))[0]
            factor = factor * np.min(1.0 / np.maximum(value / ceiling[:, None], 1.0), axis=0)
        if factor.min() == 1.0:
            return rows
        weight = np.array(rows.weight)
        weight[rows.numbers] *= factor
        return rows.with_weight(np.maximum(weight, np.nextafter(0.0, 1.0)))

    def geometry(self, rows, counted, batch_size, ridge, fit_intercept, separable=False):
        """The geometry of a further chunk, whose moments are in the stream's already, and come from the rows as `counted`.

        Without axes if D must be `separable`.
        """
        moments = self.moments
        metric = metric_of(rows, moments, ridge, fit_intercept)
        if self.n_met < LEAST_SEEN:
            metric[1, :-1] = 0.0
        penalised, b = ridge * metric[1, :-1], min(batch_size, len(rows))
        norms = squared_norms(counted, metric)
        longest = max(norms.max(), self.longest * rows.total_weight / len(rows) * 0.5 ** (len(rows) / HALF_LIFE))
        eigenvalue, covariance, whitening = self.eigenvalue, None, None
        if moments.is_full:
            covariance, gram = moments.covariance, gram_of(moments, metric, ridge)
            spectrum = Spectrum.of(gram, metric)
            eigenvalue, whitening = spectrum.values[-1], spectrum.whitening
            if not separable and moments.n_rows > 2 * len(gram):
                axes, bounds, eigenvalue = axes_to_correct(spectrum, longest, moments.n_rows, b)
                metric = with_axes(metric, axes, bounds / np.sum((axes @ gram) * axes, axis=1) - 1.0)
                longest = max(squared_norms(counted, metric).max(), longest)
        elif b > 1:
            weight, some = counted.total_weight, sample_rows(counted, cumulated_chances(norms), offset=0.5)
            z = standardised(counted, metric, *some)
            eigenvalue += weight / moments.weight * (largest_eigenvalue(z) * weight / len(rows) - eigenvalue)
        mean = eigenvalue if moments.is_full else eigenvalue + penalised.max()
        step = safe_length(longest + penalised.max(), SAFETY * max(mean, 1.0), np.inf, b)
        return Geometry(metric, step, longest, eigenvalue, covariance, whitening)


def moments_at_end(moments, geometry, penalty, ends, losses, gradient, is_read):
    """Moments with products of columns x and targets y, which a fit in mini-batches has not summed.

    At an end w where the gradient g of the objective by the coefficients is known, without that of the l1 norm, they follow.
    With C the covariance of the columns (of a sample), mu their means, c their covariance with a target of variance s^2, and m
    by how much the mean prediction is too large::

        g = 2 (C w - c) + l2 w, and without an intercept + 2 m mu        so        c = C w + (l2 w - g) / 2 + (m mu)
        MSE = m^2 + w'C w - 2 w.c + s^2

    Residuals of two targets are taken for uncorrelated. An end whose gradient was not read (`is_read`) is at its minimum: m is
    zero there, if there is an intercept. Where C is not that of all rows, the products hold for the objective of the fit alone.
    """
    coef, covariance, mean = ends[:, :-1], geometry.covariance, moments.mean
    cross, of_targets = np.zeros_like(coef), np.diag(moments.target_variance)
    if gradient is not None:
        predicted, has_intercept = coef @ moments.column_means + ends[:, -1], geometry.metric[1, -1] > 0.0
        amiss = predicted - moments.target_mean if is_read or not has_intercept else np.zeros(len(ends))
        apart = 0.5 * (penalty.l2 * coef - gradient)  # c - C w
        apart += 0.0 if has_intercept else np.outer(amiss, moments.column_means)
        cross, mse = coef @ covariance + apart, losses - penalty_at(penalty, coef)
        of_targets = coef @ cross.T + apart @ coef.T
        np.fill_diagonal(of_targets, np.maximum(mse - amiss**2 + np.diag(of_targets), 0.0))  # up to rounding
        mean = np.append(moments.column_means, predicted - amiss)
    return replace(moments, mean=mean, second=np.block([[covariance, cross.T], [cross, of_targets]]))


def metric_of_medians(rows):
    """Center and scale of a first chunk, in which a few wild rows do not count."""
    metric = standard_metric(np.zeros(rows.n_features), np.ones(rows.n_features), 0.0, True)
    X = rows.take(rows.sampled.numbers)
    metric[0, :-1] = np.median(X, axis=0)
    spread = np.median(np.abs(X - metric[0, :-1]), axis=0) ** 2
    metric[1, :-1] = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > np.finfo(np.float64).tiny)
    return metric
