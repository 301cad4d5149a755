"""Data whose geometry is unkind in one known way each, and the oracle for how far a fit is from the optimum."""

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures

from skgd._constant import best_constant, constant_loss, rounding_loss
from skgd._damped_newton import CertifiedNewton
from skgd._finish import finish
from skgd._geometry import geometry_of_batches, geometry_of_solver, sample_rows
from skgd._metric import Metric
from skgd._moments import Moments, NormalEquations
from skgd._objective import KINK, LOSSES, SQUARED_ERROR, bend, loss_and_slope, make_penalty, objective_of, penalty_at, secant
from skgd._outliers import bounded_by
from skgd._plan import problem_of_fit, solver_of
from skgd._reading import Target
from skgd._rows import Rows
from skgd._state import State
from skgd._step_size import Schedule
from skgd._stopping import Validation
from skgd._stream import Stream

# The names of the inside in which laws are stated. Where one moves, it is mended here and nowhere else.
__all__ = [
    "KINK",
    "LOSSES",
    "SQUARED_ERROR",
    "CertifiedNewton",
    "Metric",
    "Moments",
    "NormalEquations",
    "Rows",
    "Schedule",
    "State",
    "Stream",
    "Target",
    "Validation",
    "bend",
    "best_constant",
    "bounded_by",
    "constant_loss",
    "geometry_of_batches",
    "geometry_of_solver",
    "loss_and_slope",
    "make_penalty",
    "objective_of",
    "penalty_at",
    "problem_of_fit",
    "rounding_loss",
    "sample_rows",
    "secant",
]


def rng(seed=0):
    return np.random.default_rng(seed)


def optimum(X, y):
    """Smallest mean squared error and variance of y; columns standardised first, so that lstsq can be trusted."""
    deviation = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    centred = y - y.mean()
    coef = np.linalg.lstsq(Z, centred, rcond=1e-12)[0]
    return np.mean((centred - Z @ coef) ** 2), np.mean(centred**2)


def gap(model, X, y):
    """(MSE - MSE of least squares) / (Var(y) - MSE of least squares), on the training data."""
    best, variance = optimum(X.toarray() if issparse(X) else X, y)
    return (np.mean((y - model.predict(X)) ** 2) - best) / (variance - best)


def rows_of(X, y=None, weight=None):
    """Rows as the estimator makes them, of one target."""
    weight = np.broadcast_to(1.0, X.shape[0]) if weight is None else weight
    return Rows.of(X, np.zeros((1, X.shape[0])) if y is None else np.atleast_2d(y), weight)


def approach(target, start, accuracy):
    """Where the target's solver leads from a start, and the excess there."""
    ends, excess = solver_of(target.rows, target.loss, target.penalty).approach([target], start[None], accuracy)
    return ends[0], excess[0]


def finished(problem, start, promise):
    """Where a fit ends whose descent has come to a plateau at a start."""
    ends, _ = finish(problem, start[None], np.array([True]), promise)
    return ends[0]


def diabetes():
    return load_diabetes(return_X_y=True, scaled=False)


def near_2000():
    X = 2000 + 3 * rng().standard_normal((5000, 3))
    return X, X @ [1.0, 2.0, -1.0] + rng(1).standard_normal(5000)


def cubic():
    base = rng().uniform(0, 10, (5000, 4))
    signal = 3 * np.sin(base[:, 0]) + base[:, 1] * base[:, 2] / 5 + 0.02 * base[:, 3] ** 3
    return PolynomialFeatures(3, include_bias=False).fit_transform(base), signal + 3 * rng(1).standard_normal(5000)


def year_and_its_square():
    year = rng().integers(1950, 2020, 5000).astype(float)
    X = np.column_stack([year, year**2, rng(1).standard_normal((5000, 2))])
    return X, (year - 1985) ** 2 / 100 + X[:, 2] + 2 * rng(2).standard_normal(5000)


def near_twins():
    z = rng().standard_normal((3000, 5))
    X = np.column_stack([z, z[:, 0] + 0.03 * rng(1).standard_normal(3000)])
    return X, 30 * (X[:, 0] - X[:, 5]) + X[:, 2] + 0.5 * rng(2).standard_normal(3000)


def power_law():
    directions = np.linalg.qr(rng().standard_normal((50, 50)))[0]
    X = rng(1).standard_normal((10000, 50)) / np.arange(1, 51) @ directions.T
    return X, X @ rng(2).standard_normal(50) + rng(3).standard_normal(10000)


def scales_side_by_side():
    z = rng().standard_normal((2000, 6))
    return z * 10.0 ** np.array([-8, 8, -3, 3, 0, 6]), z @ np.arange(1.0, 7.0) + rng(1).standard_normal(2000)


def heavy_tails():
    X = rng().standard_t(3, (10000, 10))
    return X, X.sum(axis=1) + 5 * rng(1).standard_normal(10000)


def few_long_rows():
    X = rng().standard_normal((2000, 8))
    X[:3] *= 1e3
    return X, X.sum(axis=1) + rng(1).standard_normal(2000)


def dummies():
    group = rng().choice(40, 5000, p=rng(1).dirichlet(np.full(40, 0.3)))
    X = np.column_stack([np.eye(40)[group], rng(2).lognormal(3, 2, 5000)])
    return X, rng(3).standard_normal(40)[group] + np.log1p(X[:, -1]) + rng(4).standard_normal(5000)


def few_rows():
    mixture = rng().dirichlet([5, 2, 1, 4, 0.3, 8, 8], 1030) * 2300
    X = np.column_stack([mixture, rng(1).choice([3, 7, 14, 28, 56, 90, 180, 365], 1030)])
    return X, mixture @ [0.1, 0.08, 0, -0.15, 0, 0, 0] + 8 * np.log(X[:, 7]) + 5 * rng(2).standard_normal(1030)


def sorted_rows():
    t = np.arange(3000.0)
    X = np.column_stack([t, np.sin(t / 50), np.cos(t / 50)])
    return X, 0.01 * t + 3 * X[:, 1] + rng(1).standard_normal(3000)


def wide():
    X = rng().standard_normal((120, 400))
    return X, X[:, :10].sum(axis=1) + rng(1).standard_normal(120)


UNKIND = [
    diabetes,
    near_2000,
    cubic,
    year_and_its_square,
    near_twins,
    power_law,
    scales_side_by_side,
    heavy_tails,
    few_long_rows,
    dummies,
    few_rows,
    sorted_rows,
    wide,
]


@pytest.fixture(params=UNKIND, ids=lambda make: make.__name__)
def unkind(request):
    return request.param()


@pytest.fixture
def small():
    """Thirty rows of three columns near mean 0 and deviation 1, on which plain steps of 0.05 are stable."""
    X = rng().standard_normal((30, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.3 + 0.1 * rng(1).standard_normal(30)
