"""The full batch, fast: squared error from sufficient statistics, so that a step costs n_features^2 and not n_samples."""

import numpy as np

from skgd._reference import COEF, GRADIENT, update

BLOCK = 2**16  # numbers in a block of rows: half a megabyte, which stays in cache


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
    covariance : ndarray of shape (n_features, n_features)
    cross : ndarray of shape (n_targets, n_features)
    target_variance : ndarray of shape (n_targets,)
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
        for rows in blocks:
            table = np.concatenate([X[rows], y[:, rows].T], axis=1, dtype=np.float64)
            table -= origin
            table[weight[rows] == 0.0] = 0.0
            total += weight[rows] @ table
            table *= np.sqrt(weight[rows])[:, None]
            moment += table.T @ table
        sum_of_weights = weight.sum()
        shift = total / sum_of_weights
        mean, moment = origin + shift, moment / sum_of_weights - np.outer(shift, shift)
        self.mean, self.target_mean = mean[:n_features], mean[n_features:]
        self.covariance = moment[:n_features, :n_features]
        self.cross = moment[n_features:, :n_features]
        self.target_variance = np.diag(moment)[n_features:]


class Quadratic:
    """Full-batch squared error of one target as a function of the parameters p = (w, c):

    objective(p) = p'H p - 2 h'p + constant + penalty(w),    p measured from the constant prediction of the target's mean.
    """

    def __init__(self, statistics, target, metric, penalty):
        shift = statistics.mean - metric[0, :-1]
        self.metric, self.penalty = metric, penalty
        self.origin = np.append(np.zeros(len(shift)), statistics.target_mean[target])
        column = np.append(shift, 1.0)
        self.hessian = np.outer(column, column)
        self.hessian[:-1, :-1] += statistics.covariance
        self.linear = np.append(statistics.cross[target], 0.0)
        self.constant = statistics.target_variance[target]
        self.l2 = np.append(np.full(len(shift), penalty.l2), 0.0)

    def descend(self, order, steps, parameters, objectives):
        """Take len(steps) full-batch steps, in place; what `_reference.descend` does with one batch that holds every row."""
        coef = parameters[COEF]
        for k, step in enumerate(steps):
            p = coef - self.origin
            product = self.hessian @ p
            loss = max(p @ (product - 2.0 * self.linear) + self.constant, 0.0)  # a sum of squares, but for rounding
            parameters[GRADIENT] = 2.0 * (product - self.linear) + self.l2 * coef
            objectives[k] = loss + 0.5 * coef @ (self.l2 * coef) + self.penalty.l1 * np.abs(coef[:-1]).sum()
            update(step, objectives[k], self.metric, self.penalty.l1, parameters)
