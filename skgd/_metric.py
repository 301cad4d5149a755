"""The metric in which parameters descend: how columns are centred and scaled."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import diags_array, hstack

from skgd._objective import quotient, rounding_of


class Metric(NamedTuple):
    """The center of the columns, and the diagonal preconditioner D: see _reference.py."""

    center: np.ndarray  # (n_features,): what is subtracted from the columns
    scale: np.ndarray  # (n_features,)
    intercept: float  # the intercept's scale: 1, or 0 if it is fixed

    @classmethod
    def plain(cls, n_features, fit_intercept):
        """The metric in which D g = g: parameters as they are."""
        return cls(np.zeros(n_features), np.ones(n_features), float(fit_intercept))

    @classmethod
    def standard(cls, mean, variance, ridge, fit_intercept, is_sparse=False):
        """The metric that centres columns and scales them to variance 1, `ridge` included.

        The scale of a constant column without a ridge is 0. Columns of sparse rows are not centred, and their scales are
        rounded down to powers of two: see _reference.py.
        """
        center = mean if fit_intercept and not is_sparse else np.zeros_like(mean)
        square = variance + (mean - center) ** 2  # about the center
        square = np.where(square > rounding_of(mean) ** 2, square, 0.0) + ridge
        scale = quotient(1.0, square)
        if is_sparse:
            scale = np.where(scale > 0.0, np.ldexp(0.5, np.frexp(scale)[1]), 0.0)
        return cls(center, scale, float(fit_intercept))

    @classmethod
    def of_rows(cls, rows, moments, ridge, fit_intercept):
        """The standard metric of rows, from the moments of these rows or of more."""
        return cls.standard(moments.column_means - rows.offset, moments.column_variances, ridge, fit_intercept, rows.is_sparse)

    @property
    def root(self):
        """What brings columns to deviation 1."""
        return np.sqrt(self.scale)

    @property
    def scales(self):
        """The scales of all parameters, (n_features + 1,)."""
        return np.append(self.scale, self.intercept)

    def packed(self):
        """One array of shape (2, n_features + 1), as the engine takes it."""
        return np.vstack([np.append(self.center, 0.0), self.scales])

    def squared_norms(self, rows):
        """s (x - center)' D (x - center) of each row of weight s, the intercept included."""
        norms = []
        for part in rows.blocks():
            if rows.is_sparse:
                squares = part.columns.power(2, dtype=np.float64)
            else:
                z = part.columns - self.center
                squares = np.square(z, out=z)
            norms.append(part.weights * (squares @ self.scale + self.intercept))
        return np.concatenate(norms)

    def standardised(self, rows, which, weight):
        """Rows sqrt(s_i) z_i, where z_i is row i centred and scaled, with the intercept as its last column."""
        X, root = rows.take(which), np.sqrt(self.scales)
        if rows.is_sparse:
            z = hstack([X, np.ones((len(weight), 1))]) @ diags_array(root)
            return diags_array(np.sqrt(weight)) @ z
        z = np.empty((len(weight), len(root)))
        np.subtract(X, self.center, out=z[:, :-1])
        z[:, -1] = 1.0
        z *= root
        z *= np.sqrt(weight)[:, None]
        return z
