"""The preconditioner and the safe step size of learning_rate="auto", found from the columns before the first step.

The descent is as if the columns had mean 0 and standard deviation 1. A metric (see _reference.py) turns the gradient g into
D g, where D is diagonal::

    D_jj = 1 / sigma_j^2        sigma_j^2 = var(x_j) + ridge

The step is the largest safe one, 1 / L(b), for batches of b out of n rows (expected smoothness, Gower et al. 2019,
arXiv:1901.09401)::

    L(b) = n(b-1) / (b(n-1)) * L + (n-b) / (b(n-1)) * L_max
    L = lambda_max(D^(1/2) C D^(1/2))        L_max = max_i s_i ((x_i - mu)' D (x_i - mu) + 1)

with C the covariance. `ridge` is what the l2 penalty adds to its diagonal: its strength divided by the curvature of the loss.
All this is for a loss of curvature 1; for another, the step is divided by the curvature. None of it moves the minimum.
"""

from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import svds

from skgd._metric import Metric
from skgd._moments import HALF_OF_THE_DIGITS
from skgd._objective import NOTHING, rounding_of
from skgd._rows import BUFFER, MOST_COLUMNS, SAMPLE

ROWS_PER_ESTIMATE = 10  # rows for each number that is estimated from them, such as a deviation or an eigenvalue, to trust it
LEAST_SAMPLE = SAMPLE // 10  # least rows of a sample for eigenvalues: see `n_rows_that_tell`; also rows in a checksum
SAFETY = 1.1  # factor on an eigenvalue estimated from a sample


def check_range(moments, rows):
    """Refuse columns whose variance float64 cannot hold."""
    too_large = ~(moments.column_variances < 1.0 / np.finfo(np.float64).tiny)  # whose inverse is normal, too
    if too_large.any():
        column = np.flatnonzero(too_large)[0]
        if not np.isfinite(moments.mean[column]):
            raise ValueError(f"Column {column} of X contains NaN or infinity, which assume_finite=True has let through.")
        raise ValueError(
            f"Column {column} of X is too large: its variance exceeds the range of float64. Divide it by a power of ten."
        )
    lost = np.flatnonzero(moments.column_variances < np.finfo(np.float64).tiny)
    if len(lost) and not rows.is_sparse:
        spread = np.max([np.ptp(part.columns[:, lost], axis=0) for part in rows.blocks()], axis=0)
        if np.any(spread > 0.0):
            raise ValueError(
                f"Column {lost[spread > 0.0][0]} of X varies too little: its variance is below the range of float64. "
                f"Multiply it by a power of ten."
            )


class Geometry(NamedTuple):
    """A metric, the step that is safe in it for a loss of curvature 1, and what else is known of the columns.

    Solvers find their own steps. Plain schedules need the metric alone.
    """

    metric: Metric
    step: float = 1.0
    eigenvalue: float = 0.0  # the largest one of the columns' second moments in the metric
    whitening: np.ndarray | None = None  # (n_features, k): second moments, ridge included, become about identity
    is_doubtful: bool = False  # whether the columns are too nearly dependent for their second moments to be accurate

    def about_zero(self):
        """This geometry for rows that are centred already."""
        return self._replace(metric=self.metric._replace(center=np.zeros_like(self.metric.center)))


def safe_length(longest, mean, n, batch_size):
    """The step 1 / L(b) for batches from n rows (inf for a stream), or 0 where nothing can move.

    L(b) is a mean of L, in `mean`, and L_max, in `longest`: a batch of one row has L_max, and one of all rows L.
    """
    b = min(batch_size, n)
    share = 0.0 if n == 1 else (b - 1) / b if n == np.inf else n * (b - 1) / (b * (n - 1))
    smoothness = share * mean + (1.0 - share) * longest
    return 1.0 / smoothness if smoothness > 0.0 else 0.0


def largest_eigenvalue(z):
    """The largest eigenvalue of z'z."""
    if min(z.shape) <= (MOST_COLUMNS // 5 if issparse(z) else MOST_COLUMNS):  # from there on Lanczos's method is faster
        gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
        return np.linalg.eigvalsh(gram.toarray() if issparse(gram) else gram)[-1]
    start = np.random.default_rng(0).standard_normal(min(z.shape))
    return svds(z, k=1, v0=start, tol=SAFETY - 1.0, return_singular_vectors=False)[0] ** 2


def n_rows_that_tell(n_features):
    """The size of a sample that is enough for the eigenvalues of so many columns."""
    return max(LEAST_SAMPLE, min(ROWS_PER_ESTIMATE * n_features, SAMPLE, BUFFER // n_features))


def eigenvalue_of_sample(rows, metric, norms):
    """The largest eigenvalue of the second moments of rows with these squared norms, the intercept included, by a sample."""
    return largest_eigenvalue(metric.standardised(rows, *sample_rows(rows, norms)))


def sample_rows(rows, norms):
    """Numbers and weights of a sample of rows, whose weighted sums estimate weighted means over all rows.

    Systematic sampling: the probability of a row is proportional to its norm plus the mean norm, and its weight is divided by
    it.
    """
    size = n_rows_that_tell(rows.n_features)
    if len(rows) <= size:
        which, weight = rows.numbers, rows.weights
    elif not norms.any():
        which, weight = rows.numbers[:1], np.zeros(1)
    else:
        cumulated = np.cumsum(norms + norms.mean())
        places = np.searchsorted(cumulated, cumulated[-1] * (np.arange(size) + 0.5) / size)
        chance = (cumulated[places] - np.where(places > 0, cumulated[places - 1], 0.0)) / cumulated[-1]
        which = rows.numbers[places]
        weight = rows.weight[which] / (size * chance)
    return which, weight / rows.total_weight


def spectrum_of(rows, moments, metric, ridge):
    """The eigenvalue, the whitening and the doubt of a Geometry, by the full moments of these rows.

    Second moments have lost half of the digits of directions whose eigenvalue is below HALF_OF_THE_DIGITS of the largest. If
    there are such directions, the rows are projected on all that are weak, and read again: the singular values of these
    projections are accurate. Two kinds of rounding errors can look like a weak direction:

    - those of the sums along it, as where dummies sum to 1;
    - those of its eigenvector, which leans by eps largest / other towards that of another eigenvalue. Its deviation sqrt(other)
      then looks like eps largest / sqrt(other): most for the smallest eigenvalue that is not weak.

    A direction is kept if its deviation is far above both.
    """
    (values, vectors, is_kept), root, is_doubtful = moments.spectrum(metric, ridge), metric.root, False
    deviation = np.sqrt(np.maximum(values, 0.0))
    if np.any(values < HALF_OF_THE_DIGITS * values[-1]):
        is_weak = values < np.sqrt(HALF_OF_THE_DIGITS) * values[-1]
        weak = vectors[:, is_weak]
        (triangle,) = rows.add_up((Triangle.over, metric.center, root[:, None] * weak))
        table = np.vstack([triangle.R / np.sqrt(rows.total_weight), np.sqrt(ridge * metric.scale)[:, None] * weak])
        _, deviation[is_weak], turned = np.linalg.svd(table, full_matrices=False)
        vectors[:, is_weak] = weak @ turned.T
        rounding = rounding_of(np.abs(metric.center) * root + 1.0) @ np.abs(vectors)
        turn = np.finfo(np.float64).eps * values[-1] / np.sqrt(values[~is_weak][0])
        is_kept = rounding + turn < NOTHING * deviation
        is_doubtful = np.any(is_kept & (deviation**2 < HALF_OF_THE_DIGITS * values[-1]))
    whitening = root[:, None] * vectors[:, is_kept] / deviation[is_kept]
    return {"eigenvalue": values[-1], "whitening": whitening, "is_doubtful": bool(is_doubtful)}


class Triangle(NamedTuple):
    """R of the QR decomposition of some rows along axes; those of parts add up (Demmel, Grigori, Hoemmen & Langou 2012)."""

    R: np.ndarray

    @classmethod
    def over(cls, rows, center, axes):
        """R of sqrt(s_i) z_i, with z_i the centred row i along the columns of `axes`."""
        parts = rows.blocks(at_least=axes.shape[1])
        tables = (np.sqrt(part.weights)[:, None] * ((part.columns - center) @ axes) for part in parts)
        return reduce(add, (cls(np.linalg.qr(table, "r")) for table in tables))

    def __add__(self, other):
        return Triangle(np.linalg.qr(np.vstack([self.R, other.R]), "r"))


def full_batch_step(geometry, ridge):
    """The step that is safe for all rows at once."""
    return 1.0 / (SAFETY * max(geometry.eigenvalue, 1.0) + np.max(ridge * geometry.metric.scale))


def geometry_of_solver(rows, moments, ridge, fit_intercept):
    """The geometry for solvers: scales, and a whitening if the moments are full."""
    metric = Metric.of_rows(rows, moments, ridge, fit_intercept)
    return Geometry(metric, **(spectrum_of(rows, moments, metric, ridge) if moments.is_full else {}))


def geometry_of_batches(rows, moments, batch_size, ridge, fit_intercept):
    """The geometry for steps on batches of `batch_size` rows."""
    geometry, some = geometry_of_solver(rows, moments, ridge, fit_intercept), rows.representatives
    metric, eigenvalue, penalised = geometry.metric, geometry.eigenvalue, np.max(ridge * geometry.metric.scale)
    norms = metric.squared_norms(some)
    longest = norms.max() if rows.is_in_memory else rows.add_up((Longest.of, metric))[0]
    if not moments.is_full:
        eigenvalue = eigenvalue_of_sample(some, metric, norms) + penalised
    step = safe_length(longest + penalised, SAFETY * max(eigenvalue, 1.0), len(rows), batch_size)
    return geometry._replace(step=step, eigenvalue=eigenvalue)


class Longest(float):
    """The largest of the `squared_norms` of some rows; those of parts add up to that of all rows."""

    @classmethod
    def of(cls, rows, metric):
        return cls(metric.squared_norms(rows).max())

    def __add__(self, other):
        return Longest(max(self, other))
