"""Weighted means and second moments of rows; the moments of two chunks add up to those of both together."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from scipy.linalg import helmert
from scipy.sparse import issparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skgd._metric import Metric
from skgd._objective import quotient

NEGLIGIBLE = 1e-13  # an eigenvalue below this share of the largest is a rounding error: a redundant column
HALF_OF_THE_DIGITS = 1e-8  # share of a sum, or of the largest eigenvalue, below which a result has lost half of its digits


@dataclass(frozen=True)
class Moments:
    """Weighted means and variances of the columns of X and then of the targets, and the covariances of columns with all.

    The moments of chunks add up exactly, in any order (Chan, Golub & LeVeque 1983): with f = S_b / (S_a + S_b) and
    delta = mean_b - mean_a, ::

        mean = mean_a + f delta        M = (1 - f) M_a + f M_b + f (1 - f) delta delta'

    for the second moments M, of which nobody needs those of two different targets.
    """

    n_rows: float  # in a stream that forgets, faded like the weights
    weight: float  # the sum of the rows' weights
    mean: np.ndarray  # (n_features + n_targets,)
    variances: np.ndarray  # (n_features + n_targets,)
    products: np.ndarray | None  # (n_features, n_features + n_targets): covariances, if they are known
    n_features: int

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # check_range reports it
    def of(cls, rows, is_full):
        """The moments of some rows; `is_full` asks for products of different columns, too."""
        if is_full and rows.is_unpacked and rows.has_few_numbers:
            return reduce(add, map(cls.of_sparse_rows, rows.sparse_blocks()))
        # A block of as many rows as columns, so that adding up second moments does not cost more than computing them.
        blocks = rows.blocks(at_least=rows.n_features + len(rows.y) if is_full else 1)
        return reduce(add, (cls.of_block(part, is_full) for part in blocks))

    @classmethod
    def of_block(cls, part, is_full):
        X, y, weight = part.columns, part.targets.T, np.ascontiguousarray(part.weights)
        total, n_features = weight.sum(), X.shape[1]
        counted = weight / total
        if issparse(X):
            mean, variances = mean_variance_axis(X.astype(np.float64, copy=False), axis=0, weights=counted)
            target_mean, of_targets, _ = moments_of_dense(y, counted, None)
            mean, variances = np.append(mean, target_mean), np.append(variances, of_targets)
            return cls(len(weight), total, mean, variances, None, n_features)
        found = moments_of_dense(np.hstack([X, y]), counted, n_features if is_full else None)
        return cls(len(weight), total, *found, n_features)

    @classmethod
    def of_sparse_rows(cls, part):
        """The moments of sparse rows, by products of columns as they are; `of_block`, if a mean would cost digits."""
        X, y, weight = part.packed_columns, part.targets.T, np.ascontiguousarray(part.weights)
        counted = weight / weight.sum()
        mean = counted @ X
        covariance = sparse_products(X, counted) - np.outer(mean, mean)
        if np.any(mean**2 > 100.0 * np.diagonal(covariance)):  # two digits of a variance
            return cls.of_block(part, True)
        target_mean, of_targets, _ = moments_of_dense(y, counted, None)
        covariances = np.hstack([covariance, X.T @ (counted[:, None] * (y - target_mean))])
        variances = np.append(np.diagonal(covariance), of_targets)
        return cls(len(weight), weight.sum(), np.append(mean, target_mean), variances, covariances, len(mean))

    @np.errstate(over="ignore", invalid="ignore")  # check_range reports it
    def __add__(self, other):
        total = self.weight + other.weight
        fraction, delta = other.weight / total, other.mean - self.mean
        part, has_own = fraction * (1.0 - fraction) * delta, other.n_rows != 1.0  # a single row has none about its mean
        variances, products = (1.0 - fraction) * self.variances + part * delta, None
        if has_own:
            variances += fraction * other.variances
        if self.is_full:
            products = (1.0 - fraction) * self.products
            products += np.outer(part[: self.n_features], delta)
            if has_own:
                products += fraction * other.products
        n_rows, mean = self.n_rows + other.n_rows, self.mean + fraction * delta
        return Moments(n_rows, total, mean, variances, products, self.n_features)

    def faded(self, factor):
        """The moments with the number and the weight of their rows multiplied by `factor`."""
        return replace(self, n_rows=factor * self.n_rows, weight=factor * self.weight) if factor < 1.0 else self

    @property
    def is_full(self):
        """Whether the covariances are known."""
        return self.products is not None

    @property
    def column_means(self):
        """The means of the columns."""
        return self.mean[: self.n_features]

    @property
    def target_mean(self):
        return self.mean[self.n_features :]

    @property
    def column_variances(self):
        """The variances of the columns."""
        return self.variances[: self.n_features]

    @property
    def target_variance(self):
        return self.variances[self.n_features :]

    def about(self, center, ridge):
        """The second moments of the columns about a center, with `ridge` added to the diagonal, and those with each target."""
        n, shift = self.n_features, self.column_means - center
        second = self.products[:, :n] + np.outer(shift, shift) + ridge * np.eye(n)
        return second, self.products[:, n:] + np.outer(shift, self.target_mean)

    def scaled(self, metric, ridge):
        """The second moments of the columns about the center of a metric and in its scales, `ridge` included."""
        second, _ = self.about(metric.center, ridge)
        return second * np.outer(metric.root, metric.root)

    def spectrum(self, metric, ridge):
        """Eigenvalues and eigenvectors of the `scaled` second moments, and which of them are no rounding errors."""
        values, vectors = np.linalg.eigh(self.scaled(metric, ridge))
        return values, vectors, values > NEGLIGIBLE * max(values[-1], 0.0)

    def minimum(self, metric, ridge, start):
        """Ridge regression on these moments, with `ridge` added to the diagonal; of shape (n_targets, n_features + 1).

        Intercepts are the predictions at the metric's center. Coefficients stay at a start of that shape along directions lost
        to rounding errors, of which it may know from the rows themselves. Those of constant columns are zero.
        """
        values, vectors, is_kept = self.spectrum(metric, ridge)
        whitening = metric.root[:, None] * vectors[:, is_kept] / np.sqrt(values[is_kept])
        return NormalEquations.of(self, metric, whitening, ridge).minimum(start * (metric.scales > 0.0))

    def minimum_through_zero(self, ridge, start):
        """Ridge regression on these moments without an intercept: intercepts are zero.

        Solved as least squares on the mean, as one row, above a root of the second moments: squared, means of a million
        deviations would leave nothing of these. Directions lost to rounding errors get a tiny variance for the way from the
        start: otherwise coefficients would grow along them to act as an intercept.
        """
        n, penalty = self.n_features, np.pad(np.sqrt(ridge) * np.eye(self.n_features), [(0, 0), (0, len(self.target_mean))])
        exact, hidden = (np.vstack([self.mean, self.table(share), penalty]) for share in (0.0, NEGLIGIBLE))
        X, residual = hidden[:, :n], exact[:, n:] - exact[:, :n] @ start.T
        size = np.linalg.norm(X, axis=0)
        scale = quotient(1.0, size)
        moved = scale[:, None] * np.linalg.lstsq(X * scale, residual, rcond=NEGLIGIBLE)[0]
        return np.column_stack([(start + moved.T) * (size > 0.0), np.zeros(len(start))])

    def table(self, hidden=0.0):
        """A table T with one row more than columns, for which T'T has these variances and covariances.

        With V L V' the eigendecomposition of the covariance of the columns, scaled to deviation 1, and c theirs with a target
        of variance v, the columns are L^(1/2) V' above a row of zeros, and the target is L^(-1/2) V'c above the root of what is
        left of v. Eigenvalues lost to rounding become the share `hidden` of the largest.
        """
        n, metric = self.n_features, Metric.standard(self.column_means, self.column_variances, 0.0, True)
        values, vectors, is_kept = self.spectrum(metric, 0.0)
        root = np.sqrt(np.where(is_kept, values, hidden * max(values[-1], 0.0)))
        y = np.zeros((n, len(self.target_mean)))
        y[is_kept] = vectors[:, is_kept].T @ (self.products[:, n:] * metric.root[:, None]) / root[is_kept, None]
        left = np.sqrt(np.maximum(self.target_variance - np.sum(y**2, axis=0), 0.0))
        return np.block([[root[:, None] * vectors.T * np.sqrt(self.column_variances), y], [np.zeros(n), left]])

    def as_rows(self, origin):
        """X - origin and y of an equivalent small table: it has exactly these moments, and two rows more than columns.

        With T the `table` and Q orthonormal columns that sum to zero (Helmert's), the m rows of mean + sqrt(m) Q T have that
        mean and these moments. The squared error cannot tell them from the rows that were read.
        """
        n, n_rows = self.n_features, self.n_features + 2
        mean = self.mean - np.append(origin, np.zeros(len(self.target_mean)))
        rows = mean + np.sqrt(n_rows) * (helmert(n_rows).T @ self.table())
        return np.ascontiguousarray(rows[:, :n]), np.ascontiguousarray(rows[:, n:].T)


@dataclass(frozen=True)
class NormalEquations:
    """The normal equations of the squared error with an l2 penalty: how far any parameters are from its minimum.

    With C the second moments of the columns about a center, the penalty's `ridge` included, c those with a target, and W a
    whitening, for which W W' inverts C::

        F(w, b) - min F = |W'(c - C w)|^2 + (mean of y - b)^2        minimum: w + W W'(c - C w)
    """

    whitening: np.ndarray  # W: (n_features, k)
    second: np.ndarray  # W'C: (k, n_features)
    cross: np.ndarray  # W'c of each target: (k, n_targets)
    mean: np.ndarray  # (n_targets,): of the targets, the best intercept; 0 without one

    @classmethod
    def of(cls, moments, metric, whitening, ridge):
        """The normal equations of full moments; the intercept is the prediction at the center of the metric."""
        second, cross = moments.about(metric.center, ridge)
        return cls(whitening, whitening.T @ second, whitening.T @ cross, metric.intercept * moments.target_mean)

    def along(self, parameters):
        """W'(c - C w) for the parameters of all targets."""
        return self.cross - self.second @ parameters[:, :-1].T

    def left(self, parameters):
        """The suboptimality of the parameters of all targets."""
        return np.square(self.along(parameters)).sum(axis=0) + (self.mean - parameters[:, -1]) ** 2

    def minimum(self, parameters):
        """The minimum, the same as the parameters along directions that no row can tell."""
        return np.column_stack([parameters[:, :-1] + (self.whitening @ self.along(parameters)).T, self.mean])


def sparse_products(X, weight):
    """X' diag(weight) X of a CSR matrix, as an array."""
    weighted = X.copy()
    weighted.data = X.data * np.repeat(weight, np.diff(X.indptr))
    return (X.T @ weighted).toarray()


def weighted_products(z, weight):
    """sum_i weight_i z_i z_i', of the rows that have a weight: a product of one matrix with itself costs BLAS half as much."""
    counted = weight > 0.0
    if 2 * np.count_nonzero(counted) < len(weight):  # picking out more rows costs about what it saves
        z, weight = z[counted], weight[counted]
    root = np.sqrt(np.maximum(weight, 0.0))[:, None] * z  # differences of curvatures may be below zero by rounding
    return root.T @ root


def moments_of_dense(table, weight, n_features):
    """Means and variances of columns, for weights that sum to 1, and the covariances of the first `n_features` with all."""
    size, is_full = table.shape[1], n_features is not None
    if len(table) == 1:  # views of one zero, since a stream may bring its rows one by one
        none = np.broadcast_to(0.0, (n_features, size)) if is_full else None
        return table[0].astype(np.float64), np.broadcast_to(0.0, size), none
    mean = weight @ table.astype(np.float64, copy=False)
    z = table - mean
    rounding = weight @ z  # error of the mean; uncorrected, a constant column would seem to vary
    if is_full:
        z *= np.sqrt(weight)[:, None]
        X, covariances = z[:, :n_features], np.empty((n_features, size))
        covariances[:, :n_features], covariances[:, n_features:] = X.T @ X, X.T @ z[:, n_features:]  # X'X costs BLAS half
        covariances -= np.outer(rounding[:n_features], rounding)
        variances = np.maximum(np.sum(np.square(z, out=z), axis=0) - rounding**2, 0.0)
        np.fill_diagonal(covariances, variances[:n_features])
        return mean + rounding, variances, covariances
    return mean + rounding, np.maximum(weight @ np.square(z, out=z) - rounding**2, 0.0), None
