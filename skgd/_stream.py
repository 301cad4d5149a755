"""Running statistics that partial_fit keeps of the rows seen: their moments, and how long and far off they usually are."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from skgd._constant import ENOUGH_FOR_A_MEAN, typical_size
from skgd._geometry import ROWS_PER_ESTIMATE, SAFETY, Geometry, eigenvalue_of_sample, safe_length
from skgd._metric import Metric
from skgd._moments import Moments
from skgd._objective import loss_and_slope
from skgd._rows import SAMPLE

MOST_CORRELATED = 500  # columns plus targets up to which a stream keeps their covariance, which is decomposed for every chunk
UNUSUAL = 10.0  # row lengths, losses and residuals count as at most this many times what is usual so far
UNLIKELY = 6.0  # standard errors beyond chance (2 in 1e9 normal numbers); at 10, wrong rows pass; at 4, good ones are refused
CEILING = 1000.0  # rows with more than this many times the usual loss are outliers, and move the parameters less
ENOUGH_ROWS = 3  # rows per column and target from which partial_fit goes to the minimum over all rows seen: fewer overfit


class Stream(NamedTuple):
    """The rows seen so far: their moments, the longest of them, and how large losses, slopes and residuals usually are."""

    moments: Moments | None = None
    n_met: float = 0.0  # rows that have come; the moments know how many are remembered
    longest: float = 0.0  # squared length of a row, for a weight of 1; it fades with a half-life of SAMPLE rows
    eigenvalue: float = 0.0  # the largest of the columns' second moments, in the metric
    slope: np.ndarray | float = 0.0  # (n_targets,): weighted sum of the loss's |slope| over the rows; it fades
    size: np.ndarray | float = 0.0  # (n_targets,): sum of the typical sizes of residuals over the rows; it fades as `slope`
    level: np.ndarray | None = None  # (n_targets,): the usual loss, if known

    @classmethod
    def after_fit(cls, rows, moments, eigenvalue, losses):
        """The stream that goes on from a fit of rows with these moments, which has ended with these losses."""
        if moments.is_full and len(moments.mean) > MOST_CORRELATED:
            moments = replace(moments, products=None)
        return cls(moments, moments.n_rows, eigenvalue=eigenvalue, level=losses).with_longest(rows.sampled, rows.sampled)

    @property
    def n_rows(self):
        return self.moments.n_rows if self.moments else 0

    @property
    def has_enough_rows(self):
        """Whether the rows seen are enough for their minimum to hold for rows to come."""
        return self.moments.is_full and self.n_rows >= ENOUGH_ROWS * len(self.moments.mean)

    def with_rows(self, rows, n_new=None, half_life=np.inf):
        """The stream after further rows. With a half-life, `rows` are those that are left of `n_new`, with `faded` weights."""
        n_new = len(rows) if n_new is None else n_new
        is_narrow = not rows.is_sparse and rows.n_features + len(rows.y) <= MOST_CORRELATED
        moments = rows.moments(self.moments.is_full if self.moments else is_narrow)
        if half_life < np.inf:
            moments = replace(moments, n_rows=n_remembered(n_new, half_life))
        if self.moments:
            moments = self.moments.faded(0.5 ** (n_new / half_life)) + moments
        return self._replace(moments=moments, n_met=self.n_met + n_new)

    def with_longest(self, rows, bounded):
        """The stream with `longest` updated by rows whose moments it holds already; `bounded` has their bounded weights."""
        metric = Metric.of_rows(rows, self.moments, 0.0, True)
        longest = np.max(metric.squared_norms(bounded) / rows.weights)
        return self._replace(longest=max(longest, self.longest * 0.5 ** (len(rows) / SAMPLE)))

    def with_steepness(self, rows, parameters, loss, half_life=np.inf):
        """The stream after the residuals of further rows: slope / size is the curvature of a loss that grows linearly."""
        weight, residual, total = rows.sampled.weights, rows.sampled.residuals(parameters), rows.total_weight
        slope = total * (np.abs(loss_and_slope(loss, residual)[1]) @ weight) / weight.sum()
        size = total * typical_size(residual, weight)
        if self.n_met >= ROWS_PER_ESTIMATE:  # a limit on how far one chunk can raise the typical residual
            size = np.where(np.greater(self.size, 0.0), np.minimum(size, UNUSUAL * self.size), size)
        fading = 0.5 ** (len(rows) / min(SAMPLE, half_life))
        return self._replace(slope=fading * self.slope + slope, size=fading * self.size + size)

    def with_level(self, loss, n_rows):
        """The stream with the usual loss updated by a chunk of this mean loss; one chunk can raise it by a factor at most."""
        if self.level is None or self.n_met <= ENOUGH_FOR_A_MEAN:
            believed = n_rows / self.n_met
        else:
            believed, loss = 1.0 - 0.5 ** (n_rows / ENOUGH_FOR_A_MEAN), np.minimum(loss, UNUSUAL * self.known_level)
        level = 0.0 if self.level is None else self.level
        return self._replace(level=level + believed * (loss - level))

    @property
    def known_level(self):
        """The usual loss, or inf where there has been none: all rows so far may have had the same target."""
        return np.where(np.greater(self.level, 0.0), self.level, np.inf)

    def ceiling(self):
        """The largest mean loss of a batch that counts in full, of each target, if it is known."""
        return None if self.level is None or self.n_met <= ENOUGH_FOR_A_MEAN else CEILING * self.known_level

    def geometry(self, rows, bounded, batch_size, ridge, fit_intercept):
        """The geometry for steps on a chunk that is in the moments already; `bounded` has its rows with bounded weights."""
        moments = self.moments
        metric = Metric.of_rows(rows, moments, ridge, fit_intercept)
        if self.n_met < ROWS_PER_ESTIMATE:  # deviations are not known: only the intercept moves
            metric = metric._replace(scale=np.zeros_like(metric.scale))
        penalised, b = np.max(ridge * metric.scale), min(batch_size, len(rows))
        norms = metric.squared_norms(bounded)
        longest = max(norms.max(), self.longest * rows.total_weight / len(rows))
        if moments.is_full:
            eigenvalue = mean = np.linalg.eigvalsh(moments.scaled(metric, ridge))[-1]
        else:
            eigenvalue = self.eigenvalue if b == 1 else self.eigenvalue_with(bounded, metric, norms)
            mean = eigenvalue + penalised
        step = safe_length(longest + penalised, SAFETY * max(mean, 1.0), np.inf, b)
        return Geometry(metric, step, eigenvalue=eigenvalue)

    def eigenvalue_with(self, rows, metric, norms):
        """The largest eigenvalue of second moments, as the mean over chunks by their weight."""
        share, of_chunk = rows.total_weight / self.moments.weight, eigenvalue_of_sample(rows, metric, norms)
        of_chunk *= rows.total_weight / len(rows)
        return self.eigenvalue + share * (of_chunk - self.eigenvalue)


def n_remembered(n_rows, half_life):
    """What a half-life leaves of the last `n_rows` rows: sum_i 2^(-i / half_life) over i < n_rows."""
    return float(np.expm1(-np.log(2.0) * n_rows / half_life) / np.expm1(-np.log(2.0) / half_life))
