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

from skgd._rows import squared

FEW_COLUMNS = 100  # up to here a full eigendecomposition is faster than an iteration for one eigenvalue
NEGLIGIBLE = 1e-13  # an eigenvalue below this share of the largest is a redundant column and rounding
INDISTINCT = 1e-20  # below this share, predictions have no digits left for it
DOUBTFUL = 1e-8  # below this share, products of columns have lost half their digits
WORTHWHILE = 1.5  # the factor by which an eigenvalue must miss its bound to be corrected
LEAST_AXES = 32  # corrected at any batch size; more only as far as they cost no more than the rows of a batch
LEAST_SAMPLE = 1000  # rows from which eigenvalues are estimated; ten for each column if that is more,
MOST_SAMPLE = 10_000  # but not more than these
SAFETY = 1.1  # of an eigenvalue estimated from a sample
MOST_CORRELATED = 200  # columns whose covariance a stream keeps: it is decomposed for every chunk
LEAST_SEEN = 10  # rows of a stream before the spread of its columns is trusted and coefficients move
CROSSINGS = 10  # times that the rows seen so far would suffice to cross the slowest direction of a stream
HALF_LIFE = 10_000  # rows after which a stream has half forgotten its longest row
FIRST = 10.0  # the same of a first chunk, beside its own longer rows
UNUSUAL = 10.0  # times as long as the longest row so far: a longer row of a stream counts for less


class Stream(NamedTuple):
    """What the rows seen so far have shown: weighted moments of the columns, the longest row, the largest eigenvalue."""

    n_samples: int
    weight: float
    mean: np.ndarray
    variance: np.ndarray
    longest: float = 0.0
    eigenvalue: float = 0.0
    covariance: np.ndarray | None = None  # of few enough columns

    @classmethod
    def empty(cls, n_features, has_covariance=False):
        return cls(
            0,
            0.0,
            np.zeros(n_features),
            np.zeros(n_features),
            covariance=np.zeros((n_features, n_features)) if has_covariance else None,
        )

    @np.errstate(over="ignore", invalid="ignore")  # check_range says it better
    def with_moments_of(self, rows):
        """After further rows (Chan, Golub & LeVeque 1983): the same for one chunk or a thousand."""
        seen, mean, variance, covariance = self.weight, self.mean, self.variance, self.covariance
        for _, which in rows.blocks():
            X, added = rows.take(which), rows.weight[which].sum()
            block_mean, block_variance = moments(X, rows.weight[which] / added)
            delta = block_mean - mean
            fraction = added / (seen + added)
            if covariance is not None:
                z = X - block_mean
                block = z.T @ ((rows.weight[which] / added)[:, None] * z)
                covariance = covariance + fraction * (block - covariance + (1.0 - fraction) * np.outer(delta, delta))
            variance = variance + fraction * (block_variance - variance + (1.0 - fraction) * delta**2)
            mean = mean + fraction * delta
            seen += added
        check_range(variance)
        lost = np.flatnonzero(variance < np.finfo(np.float64).tiny)
        if len(lost) and not rows.is_sparse:
            spread = np.max([np.ptp(rows.take(which)[:, lost], axis=0) for _, which in rows.blocks()], axis=0)
            if np.any(spread > 0.0):
                raise ValueError(
                    f"Column {lost[spread > 0.0][0]} of X varies too little: its variance is below the range of float64. "
                    f"Multiply it by a power of ten."
                )
        n_samples = self.n_samples + len(rows)
        return self._replace(n_samples=n_samples, weight=seen, mean=mean, variance=variance, covariance=covariance)


def moments(X, share):
    """Means and variances of the columns, for weights that sum to 1."""
    if issparse(X):
        mean = share @ X
        apart = csr_array((np.square(X.data - mean[X.indices]), X.indices, X.indptr), shape=X.shape)
        filled = csr_array((np.ones(X.nnz), X.indices, X.indptr), shape=X.shape)
        return mean, share @ apart + np.maximum(1.0 - share @ filled, 0.0) * mean**2
    mean = share @ X.astype(np.float64, copy=False)
    z = X - mean
    rounding = share @ z  # of the mean, without which a constant column would seem to vary
    return mean + rounding, np.maximum(share @ np.square(z, out=z) - rounding**2, 0.0)


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
    whitening: np.ndarray | None = None  # (n_features, k): makes of centred rows uncorrelated ones of deviation 1, about
    is_doubtful: bool = False  # whether the columns are too nearly dependent for their second moments to say all


def plain_metric(n_features, fit_intercept):
    """The metric in which D g = g: parameters as they are."""
    metric = np.ones((2, n_features + 1))
    metric[0] = 0.0
    metric[1, -1] = fit_intercept
    return metric


def standard_metric(mean, variance, ridge, fit_intercept, is_sparse=False):
    """Columns centred and scaled to variance 1, the penalty's `ridge` included; a constant column is not moved.

    Of sparse rows columns are left where they are, and scales are rounded down to powers of two: see _reference.py.
    """
    metric = plain_metric(len(mean), fit_intercept)
    rounding = (8 * np.finfo(np.float64).eps * mean) ** 2
    if fit_intercept and not is_sparse:
        metric[0, :-1] = mean
    else:
        variance = variance + mean**2
    spread = np.where(variance > rounding, variance, 0.0) + ridge
    metric[1, :-1] = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0.0)
    if is_sparse:
        metric[1] = np.where(metric[1] > 0.0, np.ldexp(0.5, np.frexp(metric[1])[1]), 0.0)
    return metric


def with_axes(metric, axes, gains):
    """The metric S (I + sum_k gain_k q_k q_k') S for S^2 = diag(scale) and unit vectors q_k, the rows of `axes`."""
    return np.vstack([metric, np.column_stack([axes * np.sqrt(metric[1, :-1]), gains])])


def squared_norms(rows, metric):
    """s (x - center)' D (x - center) of each row of weight s, the intercept included."""
    center, scale = metric[0, :-1], metric[1, :-1]
    axes, gains = metric[2:, :-1], metric[2:, -1]
    norms = np.full(len(rows), metric[1, -1])
    for place, which in rows.blocks():
        X = rows.take(which)
        if rows.is_sparse:
            norms[place] += squared(X) @ scale
        else:
            z = X - center
            if len(axes):
                norms[place] += (z @ axes.T) ** 2 @ gains
            norms[place] += np.square(z, out=z) @ scale
        norms[place] *= rows.weight[which]
    return norms


def expected_smoothness(longest, mean, n_samples, batch_size):
    """L(b): the curvature to expect of b out of n rows, from that of the mean of all rows and of the longest one."""
    n, b = n_samples, min(batch_size, n_samples)
    if n == 1:
        return longest
    return n * (b - 1) / (b * (n - 1)) * mean + (n - b) / (b * (n - 1)) * longest


def safe_length(smoothness):
    """The step for that curvature; none where nothing can move."""
    return 1.0 / smoothness if smoothness > 0.0 else 0.0


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


def sample_rows(rows, metric, shares, offset):
    """Rows z_i of the standardised table, so weighted that the sum of z_i z_i' estimates the mean of s_i z_i z_i'.

    Taken at even distances along the cumulated `shares`: long rows more often, each with the inverse of its chance.
    """
    size = max(LEAST_SAMPLE, min(10 * rows.n_features, MOST_SAMPLE))
    if len(rows) <= size:
        which, share = rows.numbers, rows.weight[rows.numbers]
    elif shares[-1] == 0.0:
        which, share = rows.numbers[:1], np.zeros(1)
    else:
        places = np.searchsorted(shares, shares[-1] * (np.arange(size) + offset) / size)
        chance = (shares[places] - np.where(places > 0, shares[places - 1], 0.0)) / shares[-1]
        which = rows.numbers[places]
        share = rows.weight[which] / (size * chance)
    share = share / rows.total_weight
    X = rows.take(which)
    if rows.is_sparse:
        z = hstack([X, np.ones((len(share), 1))]) @ diags_array(np.sqrt(metric[1]))
        return diags_array(np.sqrt(share)) @ z
    z = np.empty((len(share), metric.shape[1]))
    np.subtract(X, metric[0, :-1], out=z[:, :-1])
    z[:, -1] = 1.0
    z *= np.sqrt(metric[1])
    z *= np.sqrt(share)[:, None]
    return z


def axes_out_of_band(eigenvalues, eigenvectors, low, high, most):
    """The eigenvectors whose eigenvalue lies farthest outside [low, high], at most `most` of them, and the bounds they miss."""
    bounds = np.clip(eigenvalues, low, high)
    distance = np.zeros(len(eigenvalues))
    is_real = eigenvalues > NEGLIGIBLE * eigenvalues[-1]
    np.log(bounds / np.where(is_real, eigenvalues, 1.0), out=distance, where=is_real)
    chosen = np.argsort(-np.abs(distance), kind="stable")[:most]
    chosen = chosen[np.abs(distance[chosen]) > np.log(WORTHWHILE)]
    return eigenvectors[:, chosen].T, bounds[chosen]


def whitening_of(eigenvalues, eigenvectors, metric, z=None):
    """A matrix whose columns v_k make uncorrelated variables of deviation 1 of centred rows, redundant ones left out.

    From the eigenvalues of z'z; where these span more than its products have digits, z is looked at a second time, in the
    coordinates that the first look has found (as in Cholesky QR: Yamamoto et al. 2015).
    """
    largest, n_features = eigenvalues[-1], len(eigenvalues)
    if largest <= 0.0:
        return np.zeros((n_features, 0))
    vectors = eigenvectors / np.sqrt(np.maximum(eigenvalues, n_features * np.finfo(np.float64).eps * largest))
    kept = eigenvalues > NEGLIGIBLE * largest
    if z is not None and eigenvalues[0] < DOUBTFUL * largest:
        table = z @ vectors
        again, rotation = np.linalg.eigh(table.T @ table)
        again = np.maximum(again, NEGLIGIBLE * again[-1])
        vectors = vectors @ rotation / np.sqrt(again)
        kept = np.sum(vectors**2, axis=0) * largest * INDISTINCT < 1.0
    return np.sqrt(metric[1, :-1])[:, None] * vectors[:, kept]


def full_batch_step(geometry, ridge):
    """The step that is safe for all rows at once in the metric of a Stream, without axes."""
    return 1.0 / (SAFETY * max(geometry.stream.eigenvalue, 1.0) + np.max(ridge * geometry.metric[1, :-1]))


def full_batch_geometry(statistics, rows, ridge, fit_intercept, separable):
    """For the full batch of a known covariance: every axis corrected, so that a step is nearly Newton's."""
    metric = standard_metric(statistics.mean, check_range(np.diag(statistics.covariance)), ridge, fit_intercept)
    shift = statistics.mean - metric[0, :-1]
    root = np.sqrt(metric[1, :-1])
    gram = (statistics.covariance + np.outer(shift, shift) + ridge * np.eye(len(shift))) * np.outer(root, root)
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    largest = max(eigenvalues[-1], 1.0)
    z, is_doubtful = None, eigenvalues[0] < DOUBTFUL * eigenvalues[-1]
    if is_doubtful:
        z = sample_rows(rows, metric, cumulated(squared_norms(rows, metric)), offset=0.25)[:, :-1]
        z = np.vstack([z, np.diag(np.sqrt(ridge) * root)])
    whitening = whitening_of(eigenvalues, eigenvectors, metric, z)
    if not separable:
        axes, bounds = axes_out_of_band(eigenvalues, eigenvectors, 1.0, 1.0, most=len(gram))
        metric = with_axes(metric, axes, bounds / np.sum((axes @ gram) * axes, axis=1) - 1.0)
        largest = min(largest, WORTHWHILE)
    stream = Stream(
        len(rows), float(len(rows)), statistics.mean, np.diag(statistics.covariance), 1.0 + len(gram), eigenvalues[-1]
    )
    return Geometry(metric, safe_length(largest), stream, whitening, is_doubtful)


def mini_batch_geometry(rows, stream, batch_size, ridge, fit_intercept, separable):
    """For batches of `batch_size` of these rows, whose moments `stream` knows; without axes if D must be `separable`."""
    n_samples, n_features = len(rows), rows.n_features
    batch_size = min(batch_size, n_samples)
    metric = standard_metric(stream.mean - rows.center, stream.variance, ridge, fit_intercept, rows.is_sparse)
    penalised = ridge * metric[1, :-1]  # what the l2 norm adds to the curvature of each column
    norms = squared_norms(rows, metric)
    longest, whitening = norms.max(), None
    stream, shares = stream._replace(longest=longest), cumulated(norms)
    z = sample_rows(rows, metric, shares, offset=0.25)
    if separable or rows.is_wide:
        mean = largest_eigenvalue(z) + penalised.max()
        stream = stream._replace(eigenvalue=mean)
    else:
        z = z[:, :-1]
        gram = z.T @ z + np.diag(penalised)
        eigenvalues, eigenvectors = np.linalg.eigh(gram)
        whitening = whitening_of(eigenvalues, eigenvectors, metric, np.vstack([z, np.diag(np.sqrt(penalised))]))
        mean = eigenvalues[-1]
        stream = stream._replace(eigenvalue=mean)
        if n_features <= MOST_CORRELATED:
            deviation = np.divide(1.0, np.sqrt(metric[1, :-1]), out=np.zeros(n_features), where=metric[1, :-1] > 0.0)
            stream = stream._replace(covariance=(z.T @ z) * np.outer(deviation, deviation))
        by_rows = expected_smoothness(longest, 0.0, n_samples, batch_size)
        high = max(1.0, by_rows)  # a smaller bound would not lengthen the step: the rows' own lengths rule
        low = min(1.0, (by_rows + min(mean, high)) / np.ceil(n_samples / batch_size))  # an epoch crosses what lies above
        axes, bounds = axes_out_of_band(eigenvalues, eigenvectors, low, high, most=max(batch_size, LEAST_AXES))
        if len(axes):
            variance, longest_along = measure_axes(rows, metric, penalised, axes)
            gains = bounds / variance - 1.0
            if batch_size < n_samples:  # no gain that made a row longer than all are now, since that would shorten the step
                gains = np.minimum(gains, longest / np.maximum(longest_along, np.finfo(np.float64).tiny))
            z = sample_rows(rows, metric, shares, offset=0.75)[:, :-1]  # other rows, to judge the axes found in the first
            stretch = np.eye(n_features) + (axes.T * (np.sqrt(1.0 + gains) - 1.0)) @ axes
            mean = np.linalg.eigvalsh(stretch @ (z.T @ z + np.diag(penalised)) @ stretch)[-1]
            metric = with_axes(metric, axes, gains)
            del shares, norms  # one array, whose room is needed again
            longest = squared_norms(rows, metric).max()
    smoothness = expected_smoothness(longest + penalised.max(), SAFETY * max(mean, 1.0), n_samples, batch_size)
    return Geometry(metric, safe_length(smoothness), stream, whitening)


def bounded(rows, stream):
    """The rows of a chunk, those that are unusually long with a weight that makes them as long as usual, for the moments.

    So no row can lengthen what the stream takes for usual by more than a factor. Unusual beside all rows before; in a first
    chunk, beside the chunk's medians.
    """
    is_first = stream.n_samples < LEAST_SEEN
    if rows.is_sparse or (is_first and len(rows) < LEAST_SEEN):
        return rows
    metric = standard_metric(stream.mean, stream.variance, 0.0, True)
    if is_first:
        X = rows.take(rows.sample()[0])
        metric[0, :-1] = np.median(X, axis=0)
        spread = np.median(np.abs(X - metric[0, :-1]), axis=0) ** 2
        metric[1, :-1] = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        norms = squared_norms(rows, metric)
    if not np.isfinite(norms).all():  # too large for moments: that will be said
        return rows
    some = norms[:: 1 + len(norms) // MOST_SAMPLE]
    usual = FIRST * np.quantile(some, 0.9) if is_first else max(stream.longest, rows.n_features + 1.0)
    if norms.max() <= UNUSUAL * usual:
        return rows
    weight = np.array(rows.weight)
    weight[rows.numbers] *= np.minimum(1.0, UNUSUAL * usual / np.maximum(norms, 1.0))
    return rows.with_weight(np.maximum(weight, np.nextafter(0.0, 1.0)))


def stream_geometry(stream, rows, counted, batch_size, ridge, fit_intercept):
    """For a further chunk of a stream; its moments are in `stream` already, and come from the rows as `counted`."""
    metric = standard_metric(stream.mean - rows.center, stream.variance, ridge, fit_intercept, rows.is_sparse)
    if stream.n_samples < LEAST_SEEN:
        metric[1, :-1] = 0.0
    penalised, b = ridge * metric[1, :-1], min(batch_size, len(rows))
    norms = squared_norms(counted, metric)
    longest = max(norms.max(), stream.longest * 0.5 ** (len(rows) / HALF_LIFE))
    eigenvalue = stream.eigenvalue
    if stream.covariance is not None:
        root, shift = np.sqrt(metric[1, :-1]), stream.mean - metric[0, :-1]
        gram = (stream.covariance + np.outer(shift, shift)) * np.outer(root, root) + np.diag(penalised)
        eigenvalues, eigenvectors = np.linalg.eigh(gram)
        high = max(1.0, longest / b)
        low = min(1.0, CROSSINGS * (longest / b + min(eigenvalues[-1], high)) * b / stream.n_samples)
        most = max(b, LEAST_AXES) if stream.n_samples > 2 * len(gram) else 0
        axes, bounds = axes_out_of_band(eigenvalues, eigenvectors, low, high, most)
        eigenvalue = min(eigenvalues[-1], WORTHWHILE * high)
        if len(axes):
            metric = with_axes(metric, axes, bounds / np.sum((axes @ gram) * axes, axis=1) - 1.0)
            longest = max(squared_norms(counted, metric).max(), longest)
    elif b > 1:
        weight = counted.total_weight
        largest = largest_eigenvalue(sample_rows(counted, metric, cumulated(norms), offset=0.5)) * weight / len(rows)
        eigenvalue += weight / stream.weight * (largest - eigenvalue)
    smoothness = ((b - 1) * SAFETY * max(eigenvalue, 1.0) + longest) / b + penalised.max()
    return Geometry(metric, safe_length(smoothness), stream._replace(longest=longest, eigenvalue=eigenvalue))


def measure_axes(rows, metric, penalised, axes):
    """Over all rows, the variance along each axis, and the largest square of a single row."""
    root = np.sqrt(metric[1, :-1])
    total, longest = np.zeros(len(axes)), np.zeros(len(axes))
    for _, which in rows.blocks():
        squares = ((rows.take(which) - metric[0, :-1]) @ (axes * root).T) ** 2 * rows.weight[which][:, None]
        total += squares.sum(axis=0)
        longest = np.maximum(longest, squares.max(axis=0))
    return total / rows.total_weight + axes**2 @ penalised, longest


def safe_step(rows, batch_size, metric):
    """The step 1 / L(b) in a given metric: what a constant step should not exceed, for a loss of curvature 1."""
    norms = squared_norms(rows, metric)
    longest = norms.max()
    mean = largest_eigenvalue(sample_rows(rows, metric, cumulated(norms), offset=0.5))
    return safe_length(expected_smoothness(longest, SAFETY * mean, len(rows), min(batch_size, len(rows))))
