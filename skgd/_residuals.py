"""What a stream knows of the residuals at its last minimum, and how widely it therefore smooths the kinks of its loss."""

from typing import NamedTuple

import numpy as np

from skgd._constant import typical_size
from skgd._objective import LARGEST, NOTHING, loss_and_slope
from skgd._stream import UNUSUAL


class Residuals(NamedTuple):
    """How large residuals are, and which share of the rows decides where the minimum lies."""

    spread: np.ndarray | float = 0.0  # (n_targets,): their usual size
    reached: np.ndarray | float = 0.0  # (n_targets,): the mean loss
    deciding: np.ndarray | float = 1.0  # (n_targets,): see `share_that_decides`
    effective_share: float = 1.0  # of the rows by their weights: see `Rows.effective_share`

    @classmethod
    def at(cls, problem, ends, effective_share):
        """The residuals of a problem's rows at the minimum, by a sample."""
        sample, loss = problem.rows.sampled, problem.loss
        residual, weight = sample.residuals(problem.published(ends)), sample.weights
        reached = loss_and_slope(loss, residual)[0] @ weight / weight.sum()
        return cls(spread_of(problem, residual, weight), reached, share_that_decides(loss, residual, weight), effective_share)

    def joined(self, later, share):
        """Moving means, where `later` is of this share of all rows; it can raise the spread by a factor at most."""
        spread = self.spread + share * (np.minimum(later.spread, UNUSUAL * self.spread) - self.spread)
        return later._replace(spread=spread, deciding=self.deciding + share * (later.deciding - self.deciding))

    @property
    def counting(self):
        """The smallest share of the rows that counts as evidence, of all targets."""
        return self.effective_share * np.min(self.deciding)

    def widths(self, n_parameters, n_seen):
        """The width of kinks for each target: wide ones bias the minimum, narrow ones make the Hessian noisy.

        As in convolution-smoothed quantile regression (see _past_rows.py), it is sqrt((d + log n) / n) times the size of
        residuals, and narrower where fewer rows decide. Twice or half of it at most triples the suboptimality.
        """
        n = self.effective_share * n_seen
        return np.maximum(self.spread * np.sqrt(self.deciding * (n_parameters + np.log(n)) / n), 1.0 / LARGEST)


def spread_of(problem, residual, weight):
    """The typical size of residuals, without those that are fitted exactly up to a solver's accuracy, as at an atom of y.

    Their residuals are far below the 0.9 quantile, or below a typical one of the best constant, if that is smaller.
    """
    large = np.minimum(np.quantile(np.abs(residual), 0.9, axis=1), np.sqrt(problem.unit / problem.curvature))
    return typical_size(residual, weight, NOTHING * large)


def share_that_decides(loss, residual, weight):
    """The share of rows that decide where the minimum of each target lies: those beyond epsilon, or all.

    For an extreme quantile it is taken to be twice the share of rows on the rarer side.
    """
    low, high = sorted((loss.cap_above, loss.cap_below))
    beyond = (np.abs(residual) > loss.insensitive) @ weight / weight.sum() if loss.insensitive > 0.0 else np.ones(len(residual))
    return (2.0 * low / (low + high) if loss.grows_linearly else 1.0) * np.maximum(beyond, 1.0 / len(weight))
