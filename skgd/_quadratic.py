"""The full batch, fast: rows few enough that a step costs n_features^2 and not n_samples, with the same squared error."""

import numpy as np
from scipy.linalg import helmert

FAR = 8.0  # deviations from zero to a mean: second moments about zero then lose two digits of sixteen


class Statistics:
    """Weighted means and second moments about them, of the columns of X and then of the targets, in one reading of X.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    target_mean : ndarray of shape (n_targets,)
    moment : ndarray of shape (n_features + n_targets, n_features + n_targets)
    covariance : ndarray of shape (n_features, n_features)
    """

    @np.errstate(over="ignore", invalid="ignore")  # check_range says it better
    def __init__(self, rows):
        blocks, y = rows.blocks(), rows.y
        first = blocks[0][1]
        origin = near_center(rows.take(first).T, rows.weight[first])
        y_origin = near_center(y[:, first], rows.weight[first])
        total, inner = np.zeros(len(origin)), np.zeros((len(origin),) * 2)
        target_total, cross, squares = np.zeros(len(y)), np.zeros((len(y), len(origin))), np.zeros((len(y),) * 2)
        for _, which in blocks:
            table = rows.take(which)
            table = table - origin if origin.any() else np.asarray(table, np.float64)
            targets = y[:, which] - y_origin[:, None]
            s = np.ascontiguousarray(rows.weight[which])
            weighted = s * targets
            total += s @ table
            target_total += weighted.sum(axis=1)
            inner += table.T @ (s[:, None] * table)  # two arrays: of few columns with themselves a product is slow in BLAS
            cross += weighted @ table
            squares += weighted @ targets.T
        sum_of_weights = rows.total_weight
        moments = np.block([[inner, cross.T], [cross, squares]])
        shift = np.append(total, target_total) / sum_of_weights
        self.mean, self.target_mean = origin + shift[: len(origin)], y_origin + shift[len(origin) :]
        self.moment = moments / sum_of_weights - np.outer(shift, shift)
        self.covariance = self.moment[: len(origin), : len(origin)]


def near_center(columns, weight):
    """Where to take the moments of each of `columns` about: zero, or if that is far from their spread, about their mean."""
    mean = columns @ weight / weight.sum()
    spread = np.sqrt((columns - mean[:, None]) ** 2 @ weight / weight.sum())
    return np.where(np.abs(mean) > FAR * spread, mean, 0.0)


def few_rows(statistics, center):
    """A table of as many rows as it has columns, and one more, that has these statistics: columns of X - center, then targets.

    With M = R'R the second moments and Q orthonormal columns that sum to zero (Helmert's), the rows of mean + sqrt(m) Q R have
    that mean and these moments. Squared error cannot tell them from the rows that were counted.
    """
    mean = np.append(statistics.mean - center, statistics.target_mean)
    deviation = np.sqrt(np.maximum(np.diag(statistics.moment), 0.0))
    deviation[deviation == 0.0] = 1.0
    eigenvalues, eigenvectors = np.linalg.eigh(statistics.moment / np.outer(deviation, deviation))
    root = np.sqrt(np.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T * deviation
    table = mean + np.sqrt(len(mean) + 1.0) * (helmert(len(mean) + 1).T @ root)
    return np.ascontiguousarray(table[:, : len(center)]), np.ascontiguousarray(table[:, len(center) :].T)
