"""The full batch, fast: rows few enough that a step costs n_features^2 and not n_samples, with the same squared error."""

import numpy as np
from scipy.linalg import helmert

BLOCK = 2**15  # numbers in a block of rows: a quarter of a megabyte, which stays in cache


def row_blocks(n_samples, n_features):
    """Slices that cut the rows into blocks of about BLOCK numbers."""
    length = max(1, BLOCK // n_features)
    return [slice(start, min(start + length, n_samples)) for start in range(0, n_samples, length)]


class Statistics:
    """Weighted means and central second moments of the columns of X and of the targets, in one reading of X.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    target_mean : ndarray of shape (n_targets,)
    moment : ndarray of shape (n_features + n_targets, n_features + n_targets)
    covariance : ndarray of shape (n_features, n_features)
    """

    def __init__(self, X, y, weight):
        n_samples, n_features = X.shape
        n_targets = len(y)
        blocks = row_blocks(n_samples, n_features + n_targets)
        # Sums are taken about the means of the first rows that count, near enough to the final means to lose no digits.
        first = np.flatnonzero(weight)[: blocks[0].stop]
        share = weight[first] / weight[first].sum()
        origin = np.concatenate([share @ X[first].astype(np.float64), y[:, first] @ share])
        total, moment = np.zeros(n_features + n_targets), np.zeros((n_features + n_targets,) * 2)
        room = np.empty((2, blocks[0].stop, n_features + n_targets))
        for rows in blocks:
            table, weighted = room[:, : rows.stop - rows.start]
            np.subtract(X[rows], origin[:n_features], out=table[:, :n_features])
            np.subtract(y[:, rows].T, origin[n_features:], out=table[:, n_features:])
            np.multiply(table, weight[rows, None], out=weighted)
            total += weighted.sum(axis=0)
            moment += table.T @ weighted
        sum_of_weights = weight.sum()
        shift = total / sum_of_weights
        mean, moment = origin + shift, moment / sum_of_weights - np.outer(shift, shift)
        self.mean, self.target_mean = mean[:n_features], mean[n_features:]
        self.moment, self.covariance = moment, moment[:n_features, :n_features]


def few_rows(statistics, center):
    """A table of as many rows as it has columns, and one more, that has these statistics: columns of X - center, then targets.

    With M = R'R the second moments and Q orthonormal columns that sum to zero (Helmert's), the rows of mean + sqrt(m) Q R have
    that mean and these moments. Squared error cannot tell them from the rows that were counted.
    """
    mean = np.append(statistics.mean - center, statistics.target_mean)
    deviation = np.sqrt(np.diag(statistics.moment))
    deviation[deviation == 0.0] = 1.0
    eigenvalues, eigenvectors = np.linalg.eigh(statistics.moment / np.outer(deviation, deviation))
    root = np.sqrt(np.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T * deviation
    table = mean + np.sqrt(len(mean) + 1.0) * (helmert(len(mean) + 1).T @ root)
    return np.ascontiguousarray(table[:, : len(center)]), np.ascontiguousarray(table[:, len(center) :].T)
