"""Where another's numbers or a closed form say what must come out."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.neural_network import MLPRegressor

from skgd import MiniBatchLinearRegressor

PLAIN = {"learning_rate": "constant", "eta0": 0.05, "shuffle": False, "tol": None}
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # some hundred roundings


def test_full_batch_squared_error_is_the_matrix_power(small):
    X, y = small
    columns = np.column_stack([X, np.ones(len(X))])
    hessian = 2 * columns.T @ columns / len(X)
    best = np.linalg.solve(hessian, 2 * columns.T @ y / len(X))
    model = MiniBatchLinearRegressor(None, max_iter=200, record_steps=True, **PLAIN).fit(X, y)
    for k in 0, 1, 7, 200:
        expected = best + np.linalg.matrix_power(np.eye(4) - 0.05 * hessian, k) @ (0 - best)
        np.testing.assert_allclose(np.append(model.coef_path_[k], model.intercept_path_[k]), expected, **EXACT)


def test_full_batch_by_statistics_is_the_full_batch_by_rows(small):
    X, y = small
    weight = np.random.default_rng(2).uniform(0, 2, len(X))
    parameters = {"max_iter": 200, "alpha": 0.1, **PLAIN}
    by_statistics = MiniBatchLinearRegressor(None, **parameters).fit(X, y, weight)
    by_rows = MiniBatchLinearRegressor(None, **parameters)
    for _ in range(200):
        by_rows.partial_fit(X, y, weight / weight.mean())
    np.testing.assert_allclose(by_statistics.coef_, by_rows.coef_, **EXACT)
    np.testing.assert_allclose(by_statistics.intercept_, by_rows.intercept_, **EXACT)


@pytest.mark.parametrize("batch_size", [1, 10, None])
def test_limit_without_penalty_is_linear_regression(batch_size, small):
    X, y = small
    model = MiniBatchLinearRegressor(batch_size, tol=1e-12, max_iter=5000, random_state=0).fit(X, y)
    exact = LinearRegression().fit(X, y)
    # Stochastic steps: noise of 0.1 in y, averaged over some hundred steps, five deviations. Full batch: the root of tol.
    tolerance = 1e-6 if batch_size is None else 0.02
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=tolerance)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, atol=tolerance)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_limit_with_l2_is_ridge_of_n_alpha_half(alpha, fit_intercept):
    X, y = np.random.default_rng(0).standard_normal((200, 5)) * [1, 10, 100, 1, 1] + 3, np.arange(200.0)
    model = MiniBatchLinearRegressor(None, alpha=alpha, fit_intercept=fit_intercept, tol=1e-14, max_iter=1000).fit(X, y)
    exact = Ridge(alpha=len(X) * alpha / 2, fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-6)  # root of tol, times the condition left over
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 20])
def test_strength_of_the_penalty_does_not_depend_on_batch_size_or_n(batch_size):
    X = np.random.default_rng(0).standard_normal((400, 4))
    y = X @ [1.0, 2.0, 3.0, 4.0]
    half, whole = (
        MiniBatchLinearRegressor(batch_size, alpha=1.0, tol=1e-9, random_state=0).fit(np.tile(X, (k, 1)), np.tile(y, k))
        for k in (1, 2)
    )
    exact = Ridge(alpha=200.0).fit(X, y).coef_
    # Shrunk to two thirds, residuals are large and the averaged descent is noisy: some per cent after some thousand steps.
    np.testing.assert_allclose(half.coef_, exact, rtol=0.05)
    np.testing.assert_allclose(whole.coef_, exact, rtol=0.05)


SCHEDULES = {
    "constant": {"learning_rate": "constant"},
    "invscaling": {"learning_rate": "invscaling", "power_t": 0.4},
    "optimal": {"learning_rate": "optimal"},
}


HALVED_THERE = {"squared_error": True, "huber": True, "epsilon_insensitive": False, "squared_epsilon_insensitive": False}


@pytest.mark.parametrize("loss", HALVED_THERE)
@pytest.mark.parametrize("penalty", ["l2", None])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("average", [False, True, 20])
@pytest.mark.parametrize("rows", ["dense", "sparse"])
@pytest.mark.parametrize("max_iter", [1, 3])
def test_one_row_a_step_is_sgd_regressor_step_for_step(small, loss, penalty, schedule, average, rows, max_iter):
    if schedule == "optimal" and penalty is None:
        pytest.skip("1 / alpha needs alpha")
    X, y = small
    X = X / 6  # the first steps of "optimal" are longer than one
    if rows == "sparse":  # theirs moves the intercept of sparse rows a hundred times slower: left out
        X = sparse.csr_matrix(np.where(np.abs(X) < 0.05, 0.0, X))
    common = {"shuffle": False, "tol": None, "max_iter": max_iter, "average": average, "loss": loss, **SCHEDULES[schedule]}
    common |= {"fit_intercept": rows == "dense", "penalty": penalty}
    half = 2 if HALVED_THERE[loss] else 1
    alpha = 0.5 if schedule == "optimal" else 0.02
    strength = {"alpha": alpha * half} if penalty else {}
    eta0 = {} if schedule == "optimal" else {"eta0": 0.1 / half}
    theirs = SGDRegressor(alpha=alpha, eta0=0.1, **common).fit(X, y)
    ours = MiniBatchLinearRegressor(1, **strength, **eta0, **common).fit(X, y)
    # Theirs rescales one vector, with its own rounding, and knows epsilon as float64 on both sides.
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_[0], rtol=1e-9, atol=1e-12)


def test_l1_is_not_sgd_regressors_but_its_limit_is(small):
    X, y = small
    common = {"penalty": "l1", "shuffle": False, "tol": None, "learning_rate": "constant"}
    theirs = SGDRegressor(alpha=0.1, eta0=0.1, max_iter=1, **common).fit(X, y)
    ours = MiniBatchLinearRegressor(1, alpha=0.2, eta0=0.05, max_iter=1, **common).fit(X, y)
    assert not np.allclose(
        ours.coef_, theirs.coef_, rtol=1e-9
    )  # theirs truncates what has accumulated; ours is a proximal step
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=0.2)


def test_adaptive_is_sgd_regressor_with_its_step_halved(small):
    X, y = small
    common = {"learning_rate": "adaptive", "shuffle": False, "penalty": None, "max_iter": 500}
    theirs = SGDRegressor(eta0=0.1, tol=1e-9, **common).fit(X, y)
    ours = MiniBatchLinearRegressor(1, eta0=0.05, tol=1e-9 / y.var() * 2, **common).fit(X, y)
    # Their tol is in units of half the squared error. Steps divided by 5 at about the same epochs end at the same point.
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)
    assert ours.step_size_ < 1e-6


def stepped_mlp(X, y, batch_size, alpha, epochs, momentum, nesterov):
    """MLPRegressor without a hidden layer, its weights zeroed, stepped through partial_fit; its loss halves ours."""
    mlp = MLPRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=momentum,
        nesterovs_momentum=nesterov,
        learning_rate_init=0.02,
        batch_size=batch_size,
        alpha=alpha,
        shuffle=False,
    )
    mlp.partial_fit(X[:1], y[:1])
    for parameter in (*mlp.coefs_, *mlp.intercepts_, *mlp._optimizer.velocities):
        parameter[:] = 0.0
    for _ in range(epochs):
        mlp.partial_fit(X, y)
    return mlp.coefs_[0][:, 0], mlp.intercepts_[0][0]


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1")
@pytest.mark.parametrize("batch_size", [1, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_mini_batches_and_momentum_are_those_of_mlp_regressor(small, batch_size, alpha, momentum, nesterov):
    X, y = small
    coef, intercept = stepped_mlp(X, y, batch_size, alpha, 3, momentum, nesterov)
    parameters = {**PLAIN, "eta0": 0.01, "max_iter": 3, "momentum": momentum, "nesterovs_momentum": nesterov}
    penalty = {"penalty": None} if alpha == 0 else {"alpha": 2 * alpha / batch_size}  # it divides alpha by the batch's rows
    ours = MiniBatchLinearRegressor(batch_size, **parameters, **penalty).fit(X, y)
    np.testing.assert_allclose(ours.coef_, coef, **EXACT)
    np.testing.assert_allclose(ours.intercept_, intercept, **EXACT)


def test_the_last_batch_of_an_epoch_is_divided_by_its_own_rows(small):
    X, y = small
    model = MiniBatchLinearRegressor(20, max_iter=1, **PLAIN).fit(X, y)
    p = np.zeros(4)
    for rows in slice(0, 20), slice(20, 30):
        columns = np.column_stack([X[rows], np.ones(len(X[rows]))])
        p -= 0.05 * 2 * columns.T @ (columns @ p - y[rows]) / len(columns)
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), p, **EXACT)


def test_weights_are_scaled_to_mean_one_and_multiply_each_rows_gradient(small):
    X, y = small
    weight = np.random.default_rng(2).uniform(0, 3, len(X))
    model = MiniBatchLinearRegressor(10, max_iter=1, **PLAIN).fit(X, y, sample_weight=weight)
    p, s = np.zeros(4), weight / weight.mean()
    for rows in slice(0, 10), slice(10, 20), slice(20, 30):
        columns = np.column_stack([X[rows], np.ones(10)])
        p -= 0.05 * 2 * columns.T @ (s[rows] * (columns @ p - y[rows])) / 10
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), p, **EXACT)


def test_auto_average_is_the_polynomial_decay_of_its_recursion(small):
    X, y = small
    model = MiniBatchLinearRegressor(5, max_iter=2, tol=None, record_steps=True, random_state=0).fit(X, y)
    average = 0.0
    for t, w in enumerate(model.coef_path_[1:], start=1):
        average = average + 4 / (t + 3) * (w - average)
    np.testing.assert_allclose(model.coef_, average, rtol=1e-10)


def test_a_full_batch_through_zero_ends_with_a_tol_of_zero():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(200)
    model = MiniBatchLinearRegressor(None, fit_intercept=False, tol=0.0).fit(X, y)
    assert model.n_iter_ < 20
    np.testing.assert_allclose(model.coef_, LinearRegression(fit_intercept=False).fit(X, y).coef_, rtol=1e-12)
