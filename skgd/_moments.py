"""Weighted means and second moments of rows; the moments of two chunks add up to those of both together."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from scipy.linalg import helmert
from scipy.sparse import issparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skgd._objective import rounding_of

NEGLIGIBLE = 1e-13  # an eigenvalue below this share of the largest is a rounding error: a redundant column
HALF_OF_THE_DIGITS = 1e-8  # share of a sum, or of the largest eigenvalue, below which a result has lost half of its digits


@dataclass(frozen=True)
class Moments:
    """Weighted means of the columns of X and then of the targets, and second moments about these means.

    The moments of chunks add up exactly, in any order (Chan, Golub & LeVeque 1983): with f = S_b / (S_a + S_b) and
    delta = mean_b - mean_a, ::

        mean = mean_a + f delta        M = (1 - f) M_a + f M_b + f (1 - f) delta delta'
    """

    n_rows: float  # in a stream that forgets, faded like the weights
    weight: float  # the sum of the rows' weights
    mean: np.ndarray  # (n_features + n_targets,)
    second: np.ndarray  # (n_features + n_targets,) * 2, or only its diagonal
    n_features: int

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # check_range reports it
    def of(cls, rows, is_full):
        """The moments of some rows; `is_full` asks for products of different columns, too."""
        if is_full and rows.is_unpacked and rows.has_few_numbers:
            return reduce(add, (cls.of_sparse_block(X, rows, which) for X, which in rows.sparse_blocks()))
        # A block of as many rows as columns, so that adding up second moments does not cost more than computing them.
        blocks = rows.blocks(at_least=rows.n_features + len(rows.y) if is_full else 1)
        return reduce(add, (cls.of_block(rows, which, is_full) for _, which in blocks))

    @classmethod
    def of_block(cls, rows, which, is_full):
        X, y, weight = rows.take(which), rows.y[:, which].T, np.ascontiguousarray(rows.weight[which])
        total, n_features = weight.sum(), X.shape[1]
        counted = weight / total
        if issparse(X):
            mean, second = mean_variance_axis(X.astype(np.float64, copy=False), axis=0, weights=counted)
            target_mean, target_second = moments_of_dense(y, counted, False)
            return cls(len(weight), total, np.append(mean, target_mean), np.append(second, target_second), n_features)
        return cls(len(weight), total, *moments_of_dense(np.hstack([X, y]), counted, is_full), n_features)

    @classmethod
    def of_sparse_block(cls, X, rows, which):
        """The moments of some sparse rows X, by products of columns as they are; `of_block`, if a mean would cost digits."""
        y, weight = rows.y[:, which].T, np.ascontiguousarray(rows.weight[which])
        counted = weight / weight.sum()
        mean = counted @ X
        second = products(X, counted) - np.outer(mean, mean)
        if np.any(mean**2 > 100.0 * np.diagonal(second)):
            return cls.of_block(rows, which, True)
        target_mean, of_targets = moments_of_dense(y, counted, True)
        cross = X.T @ (counted[:, None] * (y - target_mean))
        second = np.block([[second, cross], [cross.T, of_targets]])
        return cls(len(weight), weight.sum(), np.append(mean, target_mean), second, len(mean))

    def __add__(self, other):
        total = self.weight + other.weight
        fraction, delta = other.weight / total, other.mean - self.mean
        part = fraction * (1.0 - fraction) * delta
        second = (1.0 - fraction) * self.second
        second += np.outer(part, delta) if self.is_full else part * delta
        if other.n_rows != 1.0:  # a single row has none about its mean
            second += fraction * other.second
        return Moments(self.n_rows + other.n_rows, total, self.mean + fraction * delta, second, self.n_features)

    def faded(self, factor):
        """The moments with the number and the weight of their rows multiplied by `factor`."""
        return replace(self, n_rows=factor * self.n_rows, weight=factor * self.weight) if factor < 1.0 else self

    @property
    def is_full(self):
        return self.second.ndim == 2

    @property
    def column_means(self):
        """The means of the columns."""
        return self.mean[: self.n_features]

    @property
    def target_mean(self):
        return self.mean[self.n_features :]

    @property
    def variance(self):
        """The variances of the columns."""
        return (np.diagonal(self.second) if self.is_full else self.second)[: self.n_features]

    @property
    def target_variance(self):
        return (np.diagonal(self.second) if self.is_full else self.second)[self.n_features :]

    @property
    def covariance(self):
        """The covariance of the columns."""
        return self.second[: self.n_features, : self.n_features]

    def minimum(self, ridge):
        """Ridge regression on these moments, with `ridge` added to the covariance; of shape (n_targets, n_features + 1).

        Intercepts are the predictions at the columns' means. Coefficients along directions lost to rounding errors are zero.
        """
        n, gram = self.n_features, self.covariance
        has_digits = np.diag(gram) > rounding_of(self.column_means) ** 2
        gram = gram + ridge * np.eye(n)  # the scales include it, so that that of a tiny column hides no others
        scale = np.divide(1.0, np.sqrt(np.diag(gram)), out=np.zeros(n), where=has_digits)
        eigenvalues, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
        kept = eigenvalues > NEGLIGIBLE * max(eigenvalues[-1], 0.0)
        vectors = scale[:, None] * vectors[:, kept]
        coef = vectors @ ((vectors.T @ self.second[:n, n:]) / eigenvalues[kept, None])
        return np.column_stack([coef.T, self.target_mean])

    def minimum_through_zero(self, ridge):
        """Ridge regression on these moments without an intercept: intercepts are zero.

        Solved as least squares on the mean, as one row, above a root of the second moments, so that large means are not
        squared. Directions lost to rounding errors get a tiny variance: otherwise coefficients would grow along them to act as
        an intercept.
        """
        n, table = self.n_features, np.vstack([self.mean, self.root(NEGLIGIBLE)])
        X = np.vstack([table[:, :n], np.sqrt(ridge) * np.eye(n)])
        size = np.linalg.norm(X, axis=0)
        scale = np.divide(1.0, size, out=np.zeros(n), where=size > 0.0)
        y = np.vstack([table[:, n:], np.zeros((n, table.shape[1] - n))])
        coef = scale[:, None] * np.linalg.lstsq(X * scale, y, rcond=NEGLIGIBLE)[0]
        return np.column_stack([coef.T, np.zeros(coef.shape[1])])

    def root(self, hidden=0.0):
        """A root R of the second moments M = R'R. Eigenvalues lost to rounding become the share `hidden` of the largest."""
        deviation = np.sqrt(np.maximum(np.diag(self.second), 0.0))
        unit = np.where(deviation > 0.0, deviation, 1.0)
        eigenvalues, vectors = np.linalg.eigh(self.second / np.outer(unit, unit))
        largest = max(eigenvalues[-1], 0.0)
        values = np.where(eigenvalues > NEGLIGIBLE * largest, eigenvalues, hidden * largest)
        return np.sqrt(values)[:, None] * vectors.T * deviation

    def as_rows(self, origin):
        """X - origin and y of an equivalent small table: it has exactly these moments, and one row more than columns.

        With R a root of the second moments and Q orthonormal columns that sum to zero (Helmert's), the rows of
        mean + sqrt(m) Q R have that mean and these moments. The squared error cannot tell them from the rows that were read.
        """
        mean = self.mean - np.append(origin, np.zeros(len(self.target_mean)))
        table = mean + np.sqrt(len(mean) + 1.0) * (helmert(len(mean) + 1).T @ self.root())
        return np.ascontiguousarray(table[:, : self.n_features]), np.ascontiguousarray(table[:, self.n_features :].T)


def products(X, weight):
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


def moments_of_dense(table, weight, is_full):
    """Means and second moments of columns, for weights that sum to 1."""
    if len(table) == 1:  # a view of one zero, since a stream may bring its rows one by one
        return table[0].astype(np.float64), np.broadcast_to(0.0, (table.shape[1],) * (1 + is_full))
    mean = weight @ table.astype(np.float64, copy=False)
    z = table - mean
    rounding = weight @ z  # error of the mean; uncorrected, a constant column would seem to vary
    if is_full:
        z *= np.sqrt(weight)[:, None]
        second = z.T @ z - np.outer(rounding, rounding)  # a product of one matrix with itself costs BLAS half as much
        np.fill_diagonal(second, np.maximum(np.diagonal(second), 0.0))
        return mean + rounding, second
    return mean + rounding, np.maximum(weight @ np.square(z, out=z) - rounding**2, 0.0)
