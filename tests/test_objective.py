"""Losses and penalties: each against its definition, and fits against whoever minimises the same."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from sklearn.linear_model import ElasticNet, Lasso, QuantileRegressor
from sklearn.metrics import mean_pinball_loss

from skgd import MiniBatchLinearRegressor
from tests.conftest import (
    LOSSES,
    best_constant,
    constant_loss,
    cubic,
    diabetes,
    heavy_tails,
    loss_and_slope,
    rounding_loss,
    rows_of,
)

EPSILON, QUANTILE = 0.4, 0.8

# Written as in the textbook, in the residual r = prediction - target.
TEXTBOOK = {
    "squared_error": lambda r: r**2,
    "huber": lambda r: np.where(np.abs(r) <= EPSILON, r**2, 2 * EPSILON * np.abs(r) - EPSILON**2),
    "epsilon_insensitive": lambda r: np.maximum(np.abs(r) - EPSILON, 0),
    "squared_epsilon_insensitive": lambda r: np.maximum(np.abs(r) - EPSILON, 0) ** 2,
    "quantile": lambda r: np.where(r < 0, -QUANTILE * r, (1 - QUANTILE) * r),
}
KINKS = [-EPSILON, 0.0, EPSILON]
POINTS = np.concatenate([np.linspace(-3, 3, 61) + 0.003, [k + s for k in KINKS for s in (-1e-4, 1e-4)]])
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


def test_every_loss_has_a_textbook():
    assert TEXTBOOK.keys() == LOSSES.keys()


@EVERY_LOSS
def test_value_is_the_textbooks(name):
    residuals = np.concatenate([POINTS, KINKS])
    value, _ = loss_and_slope(LOSSES[name](EPSILON, QUANTILE), residuals)
    np.testing.assert_allclose(value, TEXTBOOK[name](residuals), rtol=1e-12, atol=1e-15)
    assert (value >= 0).all()


@EVERY_LOSS
def test_slope_is_the_derivative_of_the_value(name):
    loss, h = LOSSES[name](EPSILON, QUANTILE), 1e-6
    numerical = (loss_and_slope(loss, POINTS + h)[0] - loss_and_slope(loss, POINTS - h)[0]) / (2 * h)
    np.testing.assert_allclose(
        loss_and_slope(loss, POINTS)[1], numerical, atol=1e-8
    )  # rounding 1e-16 over h, curvature times h


@EVERY_LOSS
def test_loss_is_convex(name):
    residuals = np.sort(np.concatenate([POINTS, KINKS]))
    assert (np.diff(loss_and_slope(LOSSES[name](EPSILON, QUANTILE), residuals)[1]) >= 0).all()


@EVERY_LOSS
def test_no_constant_is_better_than_the_best(name):
    loss = LOSSES[name](EPSILON, QUANTILE)
    y = np.random.default_rng(0).lognormal(0, 1, (2, 301))
    weight = np.random.default_rng(1).uniform(0, 2, 301)
    rows = rows_of(np.zeros((301, 1)), y, weight)
    best = best_constant(loss, rows)
    lowest = constant_loss(loss, rows, best)
    for shift in (-0.1, -1e-3, 1e-3, 0.1):
        assert (constant_loss(loss, rows, best + shift) >= lowest - 1e-12).all()
    for scale in 10.0 ** np.arange(-2.0, 3.0):  # of epsilon, and so of the distance of knots
        loss = LOSSES[name](scale * EPSILON, QUANTILE)
        best = best_constant(loss, rows)
        for k, target in enumerate(y):
            found = minimize_scalar(
                lambda constant, y=target, loss=loss: loss_and_slope(loss, constant - y)[0] @ weight, bounds=(0.0, 20.0)
            )
            assert constant_loss(loss, rows, best)[k] * weight.sum() <= found.fun * (1.0 + 1e-12)


def optimal_loss(loss, X, y):
    """By a general-purpose optimiser, on whitened columns, from several starts around least squares."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    eigenvalues, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    Z = np.column_stack([Z @ vectors[:, eigenvalues > 1e-10] / np.sqrt(eigenvalues[eigenvalues > 1e-10]), np.ones(len(Z))])

    def objective(p):
        value, slope = loss_and_slope(loss, Z @ p - y)
        return value.mean(), Z.T @ slope / len(y)

    p = np.linalg.lstsq(Z, y, rcond=None)[0]
    for _ in range(5):
        p = minimize(objective, p, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-12}).x
    return objective(p)[0]


@pytest.mark.parametrize("make", [diabetes, cubic, heavy_tails])
@pytest.mark.parametrize("batch_size", [1, 32, None])
@EVERY_LOSS
def test_auto_reaches_the_optimum_of_every_loss_with_the_defaults(make, batch_size, name):
    X, y = (a[:2000] for a in make())
    given = {"quantile": 0.7} if name == "quantile" else {}
    loss = LOSSES[name](0.1, 0.7)
    fitted = MiniBatchLinearRegressor(batch_size, loss=name, random_state=0, **given).fit(X, y)
    best, rows = optimal_loss(loss, X, y), rows_of(X, y)
    of_constant = constant_loss(loss, rows, best_constant(loss, rows))[0]
    excess = (loss_and_slope(loss, fitted.predict(X) - y)[0].mean() - best) / (of_constant - best)
    # Losses that go on straight pull as hard near the optimum as far from it: their noise fades with the step alone.
    assert excess < (1e-3 if batch_size is None else 6e-3)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in {"squared_error"}])
def test_auto_does_not_care_in_which_unit_y_is_measured_if_epsilon_is_in_the_same(name):
    X, y = diabetes()
    unit = 2.0**20
    one, other = (
        MiniBatchLinearRegressor(
            loss=name, random_state=0, max_iter=5, tol=None, **({} if name == "quantile" else {"epsilon": 8.0 * u})
        ).fit(X, y * u)
        for u in (1.0, unit)
    )
    np.testing.assert_allclose(other.coef_ / unit, one.coef_, rtol=1e-6)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantile_loss_is_quantile_regressors(quantile):
    X, y = diabetes()
    exact = QuantileRegressor(quantile=quantile, alpha=0.0).fit(X, y)
    ours = MiniBatchLinearRegressor(loss="quantile", quantile=quantile, random_state=0).fit(X, y)
    best, reached = (mean_pinball_loss(y, model.predict(X), alpha=quantile) for model in (exact, ours))
    assert best - 1e-9 <= reached <= 1.01 * best
    assert np.mean(y < ours.predict(X)) == pytest.approx(quantile, abs=0.03)  # some rows lie on the plane and count either way


def sparse_truth(n, d, together):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((n, d)) + together * rng.standard_normal((n, 1))) * 10.0 ** rng.integers(-3, 3, d)
    X /= X.std(axis=0)
    return X, X[:, :5] @ rng.uniform(0.5, 2, 5) + rng.standard_normal(n)


@pytest.mark.parametrize("batch_size", [1, 32, 256, None])
@pytest.mark.parametrize("together", [0.0, 1.0])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("strength", [0.3, 0.05])
def test_l1_and_elastic_net_end_at_lasso_and_elastic_net(batch_size, together, l1_ratio, strength):
    X, y = sparse_truth(1000, 60, together)
    alpha = strength * 2 * np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max() / len(y)
    given = {"penalty": "l1"} if l1_ratio == 1 else {"penalty": "elasticnet", "l1_ratio": l1_ratio}
    ours = MiniBatchLinearRegressor(batch_size, alpha=alpha, random_state=0, **given).fit(X, y)
    theirs = ElasticNet(alpha=alpha / 2, l1_ratio=l1_ratio, tol=1e-10, max_iter=100_000).fit(X, y)

    def objective(model):
        penalty = l1_ratio * np.abs(model.coef_).sum() + (1 - l1_ratio) / 2 * np.sum(model.coef_**2)
        return np.mean((y - model.predict(X)) ** 2) + alpha * penalty

    assert objective(ours) <= (1 + 1e-6) * objective(theirs)
    assert np.mean((ours.coef_ == 0) == (theirs.coef_ == 0)) >= 0.95


@pytest.mark.parametrize("n_copies", [1, 3])
def test_strength_of_l1_does_not_depend_on_n(n_copies):
    X, y = sparse_truth(300, 20, 0.0)
    ours = MiniBatchLinearRegressor(16, penalty="l1", alpha=0.3, random_state=0)
    ours.fit(np.tile(X, (n_copies, 1)), np.tile(y, n_copies))
    np.testing.assert_allclose(ours.coef_, Lasso(alpha=0.15, tol=1e-10).fit(X, y).coef_, rtol=1e-4, atol=1e-6)


def test_plain_l1_steps_are_proximal_steps():
    X, y = sparse_truth(40, 5, 0.0)
    ours = MiniBatchLinearRegressor(
        None, penalty="l1", alpha=0.4, learning_rate="constant", eta0=0.05, max_iter=7, tol=None, fit_intercept=False
    ).fit(X, y)
    w = np.zeros(5)
    for _ in range(7):
        w = w - 0.05 * 2 * X.T @ (X @ w - y) / len(y)
        w = np.sign(w) * np.maximum(np.abs(w) - 0.05 * 0.4, 0)
    np.testing.assert_allclose(ours.coef_, w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("constant", [0.0, -2e6])
@pytest.mark.parametrize("name", LOSSES)
def test_what_rounding_errors_cost_is_that_of_the_last_digits_at_the_end_of_the_insensitive_zone(name, constant):
    loss = LOSSES[name](1e6, 0.5)
    error = 8.0 * np.finfo(float).eps * (abs(constant) + loss.insensitive)
    assert rounding_loss(loss, constant) == pytest.approx(
        loss_and_slope(loss, loss.insensitive + error)[0], rel=0.1
    )  # an eighth is the last digit
    assert (rounding_loss(loss, constant) > 0.0) == (error > 0.0)
