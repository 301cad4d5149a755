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

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import svds

from skgd._metric import Metric
from skgd._moments import HALF_OF_THE_DIGITS, NEGLIGIBLE
from skgd._objective import rounding_of
from skgd._rows import BUFFER, MOST_COLUMNS, SAMPLE

INDISTINCT = 1e-4  # share of a standard deviation below which rounding errors, of columns or of predictions, are ignored
ROWS_PER_COLUMN = 10  # enough for reliable eigenvalues and Hessians: in a sample, and at the start of a stream
LEAST_SAMPLE = SAMPLE // 10  # least rows of a sample for eigenvalues: see `n_rows_that_tell`; also rows in a checksum
SAFETY = 1.1  # factor on an eigenvalue estimated from a sample


def check_range(moments, rows):
    """Refuse columns whose variance float64 cannot hold."""
    if not np.isfinite(moments.variance).all():
        column = np.flatnonzero(~np.isfinite(moments.variance))[0]
        if not np.isfinite(moments.mean[column]):
            raise ValueError(f"Column {column} of X contains NaN or infinity, which assume_finite=True has let in.")
        raise ValueError(
            f"Column {column} of X is too large: its variance exceeds the range of float64. Divide it by a power of ten."
        )
    lost = np.flatnonzero(moments.variance < np.finfo(np.float64).tiny)
    if len(lost) and not rows.is_sparse:
        spread = np.max([np.ptp(rows.take(which)[:, lost], axis=0) for _, which in rows.blocks()], axis=0)
        if np.any(spread > 0.0):
            raise ValueError(
                f"Column {lost[spread > 0.0][0]} of X varies too little: its variance is below the range of float64. "
                f"Multiply it by a power of ten."
            )


class Geometry(NamedTuple):
    """A metric, the step that is safe in it for a loss of curvature 1, and what the columns of a fit leave for later.

    Solvers find their own steps. Plain schedules need the metric alone.
    """

    metric: Metric
    step: float = 1.0
    longest: float = 0.0  # (x - mu)' D (x - mu) + 1 of the longest row looked at, for a weight of 1
    covariance: np.ndarray | None = None  # of the columns of a sample, if they are few
    eigenvalue: float = 0.0  # the largest one of the columns' second moments in the metric
    whitening: np.ndarray | None = None  # (n_features, k): centred rows times this have about identity covariance
    is_doubtful: bool = False  # whether the columns are too nearly dependent for their second moments to be accurate

    def about_zero(self):
        """This geometry for rows that are centred already."""
        return self._replace(metric=self.metric._replace(center=np.zeros_like(self.metric.center)))


def expected_smoothness(longest, mean, n_samples, batch_size):
    """The expected smoothness L(b) of batches from n rows (inf for a stream), with L in `mean` and L_max in `longest`."""
    n, b = n_samples, min(batch_size, n_samples)
    if n == 1:
        return longest
    of_mean = (b - 1) / b if n == np.inf else n * (b - 1) / (b * (n - 1))
    return of_mean * mean + (1.0 - of_mean) * longest


def safe_length(longest, mean, n_samples, batch_size):
    """The step 1 / L(b), or 0 where nothing can move."""
    smoothness = expected_smoothness(longest, mean, n_samples, batch_size)
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
    return max(LEAST_SAMPLE, min(ROWS_PER_COLUMN * n_features, SAMPLE, BUFFER // n_features))


def standardised_sample(rows, metric, norms):
    """The `standardised` rows of a sample that prefers those of large squared norm, and their weights."""
    which, weight = sample_rows(rows, norms)
    return metric.standardised(rows, which, weight), weight


def sample_rows(rows, norms):
    """Numbers and weights of a sample of rows, whose weighted sums estimate weighted means over all rows.

    Systematic sampling: the probability of a row is proportional to its norm plus the mean norm, and its weight is divided by
    it.
    """
    size = n_rows_that_tell(rows.n_features)
    if len(rows) <= size:
        which, weight = rows.numbers, rows.weight[rows.numbers]
    elif not norms.any():
        which, weight = rows.numbers[:1], np.zeros(1)
    else:
        cumulated = np.cumsum(norms + norms.mean())
        places = np.searchsorted(cumulated, cumulated[-1] * (np.arange(size) + 0.5) / size)
        chance = (cumulated[places] - np.where(places > 0, cumulated[places - 1], 0.0)) / cumulated[-1]
        which = rows.numbers[places]
        weight = rows.weight[which] / (size * chance)
    return which, weight / rows.total_weight


def spectrum_of(gram, metric, table_of):
    """The eigenvalue, the whitening and the doubt of a Geometry, from second moments in the metric.

    If their eigenvalues span too many digits, a table with these moments gives the whitening.
    """
    values, vectors = np.linalg.eigh(gram)
    is_near = values < HALF_OF_THE_DIGITS * values[-1]
    whitening = whitening_of(values, vectors, metric, table_of() if is_near[0] else None)
    # There is doubt if products see directions with half of their digits, or if the table sees more directions than they do, as
    # where two columns differ by 1e-5 of their deviation. Columns that are redundant to the last digit are no problem, such as
    # dummies that sum to 1: neither sees them vary.
    seen = values > NEGLIGIBLE * values[-1]
    is_doubtful = np.any(is_near & seen) or whitening.shape[1] > np.count_nonzero(~is_near)
    return {"eigenvalue": values[-1], "whitening": whitening, "is_doubtful": bool(is_doubtful)}


def whitening_of(eigenvalues, eigenvectors, metric, z=None):
    """The whitening: a matrix that turns centred rows into uncorrelated variables of variance 1, without redundant ones.

    From the eigendecomposition of z'z or, given z, from its singular values, of which z'z has lost half of the digits.
    """
    largest, root = eigenvalues[-1], metric.root
    if largest <= 0.0:
        return np.zeros((len(root), 0))
    if z is None:
        kept, vectors, deviation = eigenvalues > NEGLIGIBLE * largest, eigenvectors, np.sqrt(np.maximum(eigenvalues, 0.0))
    else:
        _, deviation, directions = np.linalg.svd(z, full_matrices=False)
        vectors = directions.T
        rounding = rounding_of(np.abs(metric.center) * root + 1.0) @ np.abs(vectors)  # of sums along a direction
        kept = rounding < INDISTINCT * deviation
    return root[:, None] * vectors[:, kept] / deviation[kept]


def full_batch_step(geometry, ridge):
    """The step that is safe for all rows at once."""
    return 1.0 / (SAFETY * max(geometry.eigenvalue, 1.0) + np.max(ridge * geometry.metric.scale))


def gram_of(moments, metric, ridge):
    """The second moments of the columns as the metric scales them, the penalty's `ridge` included."""
    shift, root = moments.column_means - metric.center, metric.root
    return (moments.covariance + np.outer(shift, shift) + ridge * np.eye(len(shift))) * np.outer(root, root)


def covariance_of(z, weight, metric):
    """The covariance of the columns in the user's units, of rows `standardised` with these weights."""
    total = weight.sum() or 1.0  # a sample of rows that do not vary has none
    mean, gram = np.sqrt(weight) @ z[:, :-1] / total, z[:, :-1].T @ z[:, :-1] / total
    deviation = np.divide(1.0, metric.root, out=np.zeros(len(gram)), where=metric.scale > 0.0)
    return (gram - np.outer(mean, mean)) * np.outer(deviation, deviation)


def with_root_of(penalised, z):
    """Standardised rows without the intercept, above a root of what the l2 norm adds to their second moments."""
    return np.vstack([z[:, :-1], np.diag(np.sqrt(penalised))])


def geometry_of_solver(rows, moments, ridge, fit_intercept):
    """The geometry for solvers: scales, and a whitening if the moments are full."""
    metric = Metric.of_rows(rows, moments, ridge, fit_intercept)
    some = rows.sampled.sample(n_rows_that_tell(rows.n_features))
    longest = np.max(metric.squared_norms(some) / some.weights)
    if not moments.is_full:
        return Geometry(metric, longest=longest)

    def table():
        some = rows.representatives
        return with_root_of(ridge * metric.scale, standardised_sample(some, metric, metric.squared_norms(some))[0])

    return Geometry(metric, longest=longest, **spectrum_of(gram_of(moments, metric, ridge), metric, table))


def geometry_of_batches(rows, moments, batch_size, ridge, fit_intercept):
    """The geometry for steps on batches of `batch_size` rows; second moments are those of a sample."""
    metric, some = Metric.of_rows(rows, moments, ridge, fit_intercept), rows.representatives
    penalised, norms = ridge * metric.scale, metric.squared_norms(some)
    longest = norms.max() if rows.is_in_memory else rows.add_up((Longest.of, metric))[0]
    z, weight = standardised_sample(some, metric, norms)
    if rows.is_wide:
        geometry = Geometry(metric, eigenvalue=largest_eigenvalue(z) + penalised.max())
    else:
        spectrum = spectrum_of(z[:, :-1].T @ z[:, :-1] + np.diag(penalised), metric, lambda: with_root_of(penalised, z))
        geometry = Geometry(metric, covariance=covariance_of(z, weight, metric), **spectrum)
    mean = SAFETY * max(geometry.eigenvalue, 1.0)
    step = safe_length(longest + penalised.max(), mean, len(rows), batch_size)
    return geometry._replace(step=step, longest=np.max(norms / some.weights))


class Longest(float):
    """The largest of the `squared_norms` of some rows; those of parts add up to that of all rows."""

    @classmethod
    def of(cls, rows, metric):
        return cls(metric.squared_norms(rows).max())

    def __add__(self, other):
        return Longest(max(self, other))


def safe_step(rows, batch_size, metric):
    """The step 1 / L(b) in a given metric: what a constant step should not exceed, for a loss of curvature 1."""
    norms = metric.squared_norms(rows)
    mean = largest_eigenvalue(standardised_sample(rows, metric, norms)[0])
    return safe_length(norms.max(), SAFETY * mean, len(rows), batch_size)
