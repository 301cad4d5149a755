"""How the data lie: what learning_rate="auto" finds out about the columns before it takes a step.

The descent is done as if the columns had mean 0, deviation 1 and no slow direction. A metric (see _reference.py) turns the
gradient g into D g, with

    D = S (I + sum_k gain_k q_k q_k') S        S = diag(1 / sigma)        sigma_j^2 = var(x_j) + ridge

where the axes q_k are those eigenvectors of the standardised covariance along which plain steps would be too slow to arrive
within an epoch, or too steep for a long step, and 1 + gain_k brings their eigenvalue to the nearest bound. The step is the
largest safe one, 1 / L(b), for batches of b out of n rows (expected smoothness, Gower et al. 2019, arXiv:1901.09401):

    L(b) = n(b-1) / (b(n-1)) * L + (n-b) / (b(n-1)) * L_max
    L = lambda_max(D^(1/2) C D^(1/2))        L_max = max_i s_i ((x_i - mu)' D (x_i - mu) + 1)

with C the covariance, and `ridge` its like in the l2 penalty: alpha over the curvature of the loss. All this is for a loss of
curvature 1; for another, the step is divided by it. None of it moves the minimum.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, hstack, issparse
from scipy.sparse.linalg import svds

from skgd._quadratic import row_blocks

MOST_COLUMNS = 1000  # an eigendecomposition of more columns costs more than the epochs it saves
FEW_COLUMNS = 100  # up to here a full eigendecomposition is faster than an iteration for one eigenvalue
NEGLIGIBLE = 1e-12  # an eigenvalue below this is a redundant column and rounding
WORTHWHILE = 1.5  # the factor by which an eigenvalue must miss its bound to be corrected
LEAST_AXES = 32  # corrected at any batch size; more only as far as they cost no more than the rows of a batch
LEAST_SAMPLE = 1000  # rows from which eigenvalues are estimated; ten for each column if that is more,
MOST_SAMPLE = 10_000  # but not more than these
SAFETY = 1.1  # of an eigenvalue estimated from a sample
LEAST_SEEN = 10  # rows of a stream before the spread of its columns is trusted and coefficients move
HALF_LIFE = 10_000  # rows after which a stream has half forgotten its longest row


class Stream(NamedTuple):
    """What the rows seen so far have shown: weighted moments of the columns, the longest row, the largest eigenvalue."""

    n_samples: int
    weight: float
    mean: np.ndarray
    variance: np.ndarray
    longest: float = 0.0
    eigenvalue: float = 0.0

    @classmethod
    def empty(cls, n_features):
        return cls(0, 0.0, np.zeros(n_features), np.zeros(n_features))

    @np.errstate(over="ignore", invalid="ignore")  # check_range says it better
    def with_moments_of(self, X, weight):
        """After further rows (Chan, Golub & LeVeque 1983): the same for one chunk or a thousand."""
        seen, mean, variance = self.weight, self.mean, self.variance
        if issparse(X):  # left where they are: the variance is that about zero
            added = weight.sum()
            squares = squared(X).T @ weight
            variance = variance + (squares - added * variance) / (seen + added)
            return self._replace(n_samples=self.n_samples + X.shape[0], weight=seen + added, variance=check_range(variance))
        for rows in row_blocks(*X.shape):
            added = weight[rows].sum()
            if added == 0.0:
                continue
            share = weight[rows] / added
            block_mean = share @ X[rows].astype(np.float64, copy=False)
            block = X[rows] - block_mean
            rounding = share @ block  # of the mean, without which a constant column would seem to vary
            block_mean += rounding
            block_variance = np.maximum(share @ np.square(block, out=block) - rounding**2, 0.0)
            delta = block_mean - mean
            fraction = added / (seen + added)
            variance = variance + fraction * (block_variance - variance + (1.0 - fraction) * delta**2)
            mean = mean + fraction * delta
            seen += added
        check_range(variance)
        lost = np.flatnonzero(variance < np.finfo(np.float64).tiny)
        lost = lost[np.ptp(X[:, lost], axis=0) > 0.0]
        if len(lost) and weight.all():
            raise ValueError(
                f"Column {lost[0]} of X varies too little: its variance is below the range of float64. Multiply it by a power "
                f"of ten."
            )
        return self._replace(n_samples=self.n_samples + len(X), weight=seen, mean=mean, variance=variance)


def squared(X):
    """A CSR matrix of the squares, on the same indices."""
    return csr_array((np.square(X.data, dtype=np.float64), X.indices, X.indptr), shape=X.shape)


def check_range(variance):
    """`variance`, if float64 can hold it."""
    if not np.isfinite(variance).all():
        column = np.flatnonzero(~np.isfinite(variance))[0]
        raise ValueError(
            f"Column {column} of X is too large: its variance exceeds the range of float64. Divide it by a power of ten."
        )
    return variance


class Geometry(NamedTuple):
    """A metric, the step that is safe in it for a loss of curvature 1, and what both rest on."""

    metric: np.ndarray
    step: float
    stream: Stream | None


def plain_metric(n_features, fit_intercept):
    """The metric in which D g = g: parameters as they are."""
    metric = np.ones((2, n_features + 1))
    metric[0] = 0.0
    metric[1, -1] = fit_intercept
    return metric


def standard_metric(mean, variance, ridge, fit_intercept):
    """Columns centred and scaled to variance 1, the penalty's `ridge` included; a constant column is not moved."""
    metric = plain_metric(len(mean), fit_intercept)
    rounding = (8 * np.finfo(np.float64).eps * mean) ** 2
    if fit_intercept:
        metric[0, :-1] = mean
    else:
        variance = variance + mean**2
    spread = np.where(variance > rounding, variance, 0.0) + ridge
    metric[1, :-1] = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0.0)
    return metric


def with_power_of_two_scales(metric):
    """The metric with each scale rounded down to a power of two, as sparse rows want it: right within a factor of two."""
    metric[1] = np.where(metric[1] > 0.0, np.ldexp(0.5, np.frexp(metric[1])[1]), 0.0)
    return metric


def with_axes(metric, axes, gains):
    """The metric S (I + sum_k gain_k q_k q_k') S for S^2 = diag(scale) and unit vectors q_k, the rows of `axes`."""
    return np.vstack([metric, np.column_stack([axes * np.sqrt(metric[1, :-1]), gains])])


def squared_norms(X, weight, metric):
    """s (x - center)' D (x - center) of each row of weight s, the intercept included."""
    center, scale = metric[0, :-1], metric[1, :-1]
    axes, gains = metric[2:, :-1], metric[2:, -1]
    if issparse(X):
        return weight * (squared(X) @ scale + metric[1, -1])
    norms = np.full(len(X), metric[1, -1])
    for rows in row_blocks(*X.shape):
        z = X[rows] - center
        if len(axes):
            norms[rows] += (z @ axes.T) ** 2 @ gains
        norms[rows] += np.square(z, out=z) @ scale
        norms[rows] *= weight[rows]
    return norms


def expected_smoothness(longest, mean, n_samples, batch_size):
    """L(b): the curvature to expect of b out of n rows, from that of the mean of all rows and of the longest one."""
    n, b = n_samples, min(batch_size, n_samples)
    if n == 1:
        return longest
    return n * (b - 1) / (b * (n - 1)) * mean + (n - b) / (b * (n - 1)) * longest


def largest_eigenvalue(z):
    """The largest eigenvalue of z'z."""
    if min(z.shape) <= FEW_COLUMNS:
        gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
        return np.linalg.eigvalsh(gram.toarray() if issparse(gram) else gram)[-1]
    start = np.random.default_rng(0).standard_normal(min(z.shape))
    return svds(z, k=1, v0=start, return_singular_vectors=False)[0] ** 2


def cumulated(norms):
    """The running sum, in their place, of norms raised by their mean: how rows share in a sample that prefers long ones."""
    norms += norms.mean()
    return np.cumsum(norms, out=norms)


def sample_rows(X, weight, metric, shares, offset):
    """Rows z_i of the standardised table, so weighted that the sum of z_i z_i' estimates the mean of s_i z_i z_i'.

    Taken at even distances along the cumulated `shares`: long rows more often, each with the inverse of its chance.
    """
    size = max(LEAST_SAMPLE, min(10 * X.shape[1], MOST_SAMPLE))
    n_samples = X.shape[0]
    if n_samples <= size:
        rows, share = slice(None), weight / weight.sum()
    else:
        rows = np.searchsorted(shares, shares[-1] * (np.arange(size) + offset) / size)
        chance = (shares[rows] - np.where(rows > 0, shares[rows - 1], 0.0)) / shares[-1]
        share = weight[rows] / (weight.sum() * size * chance)
    if issparse(X):
        z = hstack([X[rows], np.ones((len(share), 1))]) @ diags_array(np.sqrt(metric[1]))
        return diags_array(np.sqrt(share)) @ z
    z = np.empty((len(share), metric.shape[1]))
    np.subtract(X[rows], metric[0, :-1], out=z[:, :-1])
    z[:, -1] = 1.0
    z *= np.sqrt(metric[1])
    z *= np.sqrt(share)[:, None]
    return z


def axes_out_of_band(eigenvalues, eigenvectors, low, high, most):
    """The eigenvectors whose eigenvalue lies farthest outside [low, high], at most `most` of them, and the bounds they miss."""
    bounds = np.clip(eigenvalues, low, high)
    distance = np.zeros(len(eigenvalues))
    np.log(bounds / np.maximum(eigenvalues, NEGLIGIBLE), out=distance, where=eigenvalues > NEGLIGIBLE)
    chosen = np.argsort(-np.abs(distance), kind="stable")[:most]
    chosen = chosen[np.abs(distance[chosen]) > np.log(WORTHWHILE)]
    return eigenvectors[:, chosen].T, bounds[chosen]


def full_batch_step(geometry, ridge):
    """The step that is safe for all rows at once in the metric of a Stream, without axes."""
    return 1.0 / (SAFETY * max(geometry.stream.eigenvalue, 1.0) + np.max(ridge * geometry.metric[1, :-1]))


def full_batch_geometry(statistics, n_samples, ridge, fit_intercept, separable):
    """For the full batch of a known covariance: every axis corrected, so that a step is nearly Newton's."""
    metric = standard_metric(statistics.mean, check_range(np.diag(statistics.covariance)), ridge, fit_intercept)
    shift = statistics.mean - metric[0, :-1]
    root = np.sqrt(metric[1, :-1])
    gram = (statistics.covariance + np.outer(shift, shift) + ridge * np.eye(len(shift))) * np.outer(root, root)
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    largest = max(eigenvalues[-1], 1.0)
    if not separable:
        axes, bounds = axes_out_of_band(eigenvalues, eigenvectors, 1.0, 1.0, most=len(gram))
        metric = with_axes(metric, axes, bounds / np.sum((axes @ gram) * axes, axis=1) - 1.0)
        largest = min(largest, WORTHWHILE)
    stream = Stream(
        n_samples, float(n_samples), statistics.mean, np.diag(statistics.covariance), 1.0 + len(gram), eigenvalues[-1]
    )
    return Geometry(metric, 1.0 / largest, stream)


def mini_batch_geometry(X, weight, batch_size, ridge, fit_intercept, separable):
    """For batches of `batch_size` rows, drawn from those that have a weight; without axes if D must be `separable`."""
    n_samples, n_features = np.count_nonzero(weight), X.shape[1]
    batch_size = min(batch_size, n_samples)
    stream = Stream.empty(n_features).with_moments_of(X, weight)
    metric = standard_metric(stream.mean, stream.variance, ridge, fit_intercept)
    if issparse(X):
        metric = with_power_of_two_scales(metric)
    penalised = ridge * metric[1, :-1]  # what the l2 norm adds to the curvature of each column
    norms = squared_norms(X, weight, metric)
    longest = norms.max()
    stream, shares = stream._replace(longest=longest), cumulated(norms)
    z = sample_rows(X, weight, metric, shares, offset=0.25)
    if separable or n_features > MOST_COLUMNS or issparse(X):
        mean = largest_eigenvalue(z) + penalised.max()
        stream = stream._replace(eigenvalue=mean)
    else:
        gram = z[:, :-1].T @ z[:, :-1] + np.diag(penalised)
        eigenvalues, eigenvectors = np.linalg.eigh(gram)
        mean = eigenvalues[-1]
        stream = stream._replace(eigenvalue=mean)
        by_rows = expected_smoothness(longest, 0.0, n_samples, batch_size)
        high = max(1.0, by_rows)  # a smaller bound would not lengthen the step: the rows' own lengths rule
        low = min(1.0, (by_rows + min(mean, high)) / np.ceil(n_samples / batch_size))  # an epoch crosses what lies above
        axes, bounds = axes_out_of_band(eigenvalues, eigenvectors, low, high, most=max(batch_size, LEAST_AXES))
        if len(axes):
            variance, longest_along = measure_axes(X, weight, metric, penalised, axes)
            gains = bounds / variance - 1.0
            if batch_size < n_samples:  # no gain that made a row longer than all are now, since that would shorten the step
                gains = np.minimum(gains, longest / np.maximum(longest_along, np.finfo(np.float64).tiny))
            z = sample_rows(X, weight, metric, shares, offset=0.75)[:, :-1]  # other rows, to judge the axes found in the first
            stretch = np.eye(n_features) + (axes.T * (np.sqrt(1.0 + gains) - 1.0)) @ axes
            mean = np.linalg.eigvalsh(stretch @ (z.T @ z + np.diag(penalised)) @ stretch)[-1]
            metric = with_axes(metric, axes, gains)
            del shares, norms  # one array, whose room is needed again
            longest = squared_norms(X, weight, metric).max()
    smoothness = expected_smoothness(longest + penalised.max(), SAFETY * max(mean, 1.0), n_samples, batch_size)
    return Geometry(metric, 1.0 / smoothness, stream)


def stream_geometry(stream, X, weight, batch_size, ridge, fit_intercept):
    """For a further chunk of a stream, which counts before it is descended on: all columns seen so far standardised."""
    stream = stream.with_moments_of(X, weight)
    metric = standard_metric(stream.mean, stream.variance, ridge, fit_intercept)
    if issparse(X):
        metric = with_power_of_two_scales(metric)
    if stream.n_samples < LEAST_SEEN:
        metric[1, :-1] = 0.0
    norms = squared_norms(X, weight, metric)
    longest = max(norms.max(), stream.longest * 0.5 ** (X.shape[0] / HALF_LIFE))
    eigenvalue, b = stream.eigenvalue, min(batch_size, X.shape[0])
    if b > 1:
        largest = largest_eigenvalue(sample_rows(X, weight, metric, cumulated(norms), offset=0.5)) * weight.mean()
        eigenvalue += weight.sum() / stream.weight * (largest - eigenvalue)
    smoothness = ((b - 1) * SAFETY * max(eigenvalue, 1.0) + longest) / b + ridge * metric[1, :-1].max()
    return Geometry(metric, 1.0 / smoothness, stream._replace(longest=longest, eigenvalue=eigenvalue))


def measure_axes(X, weight, metric, penalised, axes):
    """Over all rows, the variance along each axis, and the largest square of a single row."""
    root = np.sqrt(metric[1, :-1])
    total, longest = np.zeros(len(axes)), np.zeros(len(axes))
    for rows in row_blocks(*X.shape):
        squares = ((X[rows] - metric[0, :-1]) @ (axes * root).T) ** 2 * weight[rows, None]
        total += squares.sum(axis=0)
        longest = np.maximum(longest, squares.max(axis=0))
    return total / weight.sum() + axes**2 @ penalised, longest


def safe_step(X, weight, batch_size, metric):
    """The step 1 / L(b) in a given metric: what a constant step should not exceed, for a loss of curvature 1."""
    norms = squared_norms(X, weight, metric)
    longest = norms.max()
    mean = largest_eigenvalue(sample_rows(X, weight, metric, cumulated(norms), offset=0.5))
    n_samples = np.count_nonzero(weight)
    return 1.0 / expected_smoothness(longest, SAFETY * mean, n_samples, min(batch_size, n_samples))
