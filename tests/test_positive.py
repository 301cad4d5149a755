"""Coefficients that must be >= 0, against scipy's nnls and scikit-learn's estimators with positive=True."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, nnls
from scipy.sparse import csr_array, random_array
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression

from skgd import MiniBatchLinearRegressor
from tests.conftest import LOSSES, diabetes, loss_and_slope

BATCHES = pytest.mark.parametrize("batch_size", [1, 32, None])


def objective(model, X, y, weight=None):
    """What the model minimises, at its parameters."""
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    value = np.average(loss_and_slope(loss, model.predict(X) - y)[0], weights=weight)
    w, share = model.coef_, {"l1": 1.0, "elasticnet": model.l1_ratio}.get(model.penalty, 0.0)
    return value + model.alpha * (share * np.abs(w).sum() + (1 - share) * 0.5 * w @ w)


def excess(model, oracle, X, y):
    """Over the oracle's objective, as a share of that of the mean."""
    best = clone(model).fit(X, y)
    best.coef_, best.intercept_ = oracle.coef_, oracle.intercept_
    least = objective(best, X, y)
    return (objective(model, X, y) - least) / (np.var(y) - least)


def near_the_minimum(batch_size):
    """Where sums suffice the minimum is exact; elsewhere it is promised to ten times tol."""
    return 1e-9 if batch_size is None else 1e-3


@BATCHES
def test_least_squares(batch_size):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(batch_size, positive=True, random_state=0).fit(X, y)
    oracle = LinearRegression(positive=True).fit(X, y)
    center = X.mean(axis=0)
    np.testing.assert_allclose(oracle.coef_, nnls(X - center, y - y.mean())[0], atol=1e-9)
    assert -1e-9 <= excess(model, oracle, X, y) <= near_the_minimum(batch_size)
    np.testing.assert_array_equal(model.coef_ == 0.0, oracle.coef_ == 0.0)
    assert (model.coef_ >= 0.0).all()
    assert not np.signbit(model.coef_).any()


@BATCHES
@pytest.mark.parametrize("alpha", [1.0, 100.0])
def test_penalties(batch_size, alpha):
    X, y = diabetes()
    for penalty, oracle in (
        ("l1", Lasso(alpha / 2, positive=True, tol=1e-10, max_iter=100_000)),
        ("elasticnet", ElasticNet(alpha / 2, l1_ratio=0.15, positive=True, tol=1e-10, max_iter=100_000)),
    ):
        model = MiniBatchLinearRegressor(batch_size, penalty=penalty, alpha=alpha, positive=True, random_state=0).fit(X, y)
        assert -1e-9 <= excess(model, oracle.fit(X, y), X, y) <= near_the_minimum(batch_size)
        np.testing.assert_array_equal(model.coef_ == 0.0, oracle.coef_ == 0.0)


@BATCHES
@pytest.mark.parametrize("loss", ["huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"])
@pytest.mark.parametrize("penalty", [{}, {"penalty": "l1", "alpha": 0.01}], ids=["none", "l1"])
def test_other_losses(batch_size, loss, penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6)) * [1, 10, 0.1, 1, 5, 2] + 3
    y = X @ [1.0, -0.2, 3.0, 0.0, -1.0, 0.5] + rng.standard_normal(400)
    options = {"loss": loss, "epsilon": 0.5, "quantile": 0.3, "positive": True, **penalty}
    model = MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(X, y)
    assert (model.coef_ >= 0.0).all()
    assert (model.coef_ == 0.0).any()

    def value(parameters):
        model_ = clone(model)
        model_.n_features_in_, model_.coef_, model_.intercept_ = 6, parameters[:6], parameters[6]
        return objective(model_, X, y)

    start = np.append(np.maximum(model.coef_, 1e-3), model.intercept_)
    bounds = [(0, None)] * 6 + [(None, None)]
    starts = start, np.append(model.coef_, model.intercept_)
    found = [minimize(value, at, method="L-BFGS-B", bounds=bounds).fun for at in starts]
    constant = value(np.append(np.zeros(6), np.quantile(y, 0.3 if loss == "quantile" else 0.5)))
    assert value(np.append(model.coef_, model.intercept_)) - min(found) <= 1e-3 * (constant - min(found))


@BATCHES
def test_sparse_rows(batch_size):
    rng = np.random.default_rng(0)
    for d in 40, 1100:  # unpacked, and not
        X = random_array((600, d), density=0.05, random_state=rng, format="csr")
        y = X @ np.where(np.arange(d) % 3, 1.0, -1.0) + 0.1 * rng.standard_normal(600)
        model = MiniBatchLinearRegressor(batch_size, penalty="l2", alpha=1e-3, positive=True, random_state=0).fit(X, y)
        center, ridge = X.mean(axis=0), np.sqrt(600 * 1e-3 / 2) * np.eye(d)
        oracle = clone(model)
        oracle.coef_, _ = nnls(np.vstack([X.toarray() - center, ridge]), np.append(y - y.mean(), np.zeros(d)))
        oracle.intercept_ = y.mean() - center @ oracle.coef_
        assert -1e-9 <= excess(model, oracle, X, y) <= 1e-3
        assert (model.coef_ >= 0.0).all()
        assert (model.coef_ == 0.0).sum() > d / 5


@pytest.mark.parametrize("batch_size", [7, None])
@pytest.mark.parametrize("learning_rate", ["auto", "constant"])
def test_targets_chunks_and_sparse_rows_take_the_same_steps(batch_size, learning_rate):
    X, y = diabetes()
    X = X / X.std(axis=0)
    Y = np.column_stack([y, -y])
    model = MiniBatchLinearRegressor(batch_size, positive=True, learning_rate=learning_rate, random_state=0)
    if learning_rate == "constant":
        model.set_params(eta0=1e-3, max_iter=20, tol=None)
    together = clone(model).fit(X, Y)
    alone = np.array([clone(model).fit(X, target).coef_ for target in Y.T])
    np.testing.assert_allclose(together.coef_, alone, rtol=1e-6, atol=1e-9)
    assert (alone >= 0.0).all()
    assert (alone == 0.0).any()
    np.testing.assert_allclose(clone(model).fit(csr_array(X), y).coef_, alone[0], rtol=1e-6, atol=1e-9)
    if batch_size is None:
        chunks = [(X[:200], y[:200]), (X[200:], y[200:])]
        np.testing.assert_allclose(clone(model).fit_chunks(chunks).coef_, alone[0], rtol=1e-6, atol=1e-9)


def test_a_stream_ends_at_the_minimum_over_all_rows_seen():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(positive=True, random_state=0)
    for start in range(0, len(y), 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
        assert (model.coef_ >= 0.0).all()
    assert excess(model, LinearRegression(positive=True).fit(X, y), X, y) <= 1e-3


@pytest.mark.parametrize("loss", ["huber", "quantile"])
@pytest.mark.parametrize("options", [{"positive": True}, {"penalty": "l1", "alpha": 0.05}], ids=str)
def test_a_stream_of_another_loss_goes_to_its_minimum_and_not_to_one_in_another_metric(loss, options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 4))
    X[:, 1] = X[:, 0] + 0.01 * X[:, 1]  # correlated: "auto" corrects that elsewhere
    y = X @ [1.0, -0.8, 1.0, 0.0] + rng.standard_normal(20_000)
    model = MiniBatchLinearRegressor(loss=loss, epsilon=1.0, random_state=0, **options)
    for _ in range(3):
        for rows in np.split(np.arange(20_000), 20):
            model.partial_fit(X[rows], y[rows])
    exact = clone(model).set_params(batch_size=None).fit(X, y)
    constant = clone(exact).fit(np.zeros_like(X), y)
    least = objective(exact, X, y)
    assert objective(model, X, y) - least <= 0.02 * (objective(constant, X, y) - least)


def test_what_is_negative_is_refused_and_not_clipped():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True).fit(X, y)
    before = model.coef_
    for call in (
        lambda: model.set_params(positive=True).fit(X, y),
        lambda: model.set_params(positive=True).partial_fit(X, y),
        lambda: MiniBatchLinearRegressor(positive=True).fit(X, y, coef_init=-np.ones(10)),
    ):
        with pytest.raises(ValueError, match=r"positive=True, but .* is -"):
            call()
    assert model.coef_ is before
    with pytest.raises(ValueError, match="does not go with nesterovs_momentum=True"):
        MiniBatchLinearRegressor(positive=True, momentum=0.5, nesterovs_momentum=True).fit(X, y)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_step_stays_within_the_bound(momentum):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(10, positive=True, momentum=momentum, record_steps=True, max_iter=3, tol=None)
    assert (model.fit(X, -y).coef_path_ >= 0.0).all()
    assert model.coef_path_.max() > 0.0


@pytest.mark.parametrize(
    "options", [{"positive": True}, {"penalty": "l1", "alpha": 0.2}, {"positive": True, "alpha": 0.5}], ids=str
)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_a_stream_after_a_fit_with_zeros_ends_at_the_minimum_over_all_rows(options, fit_intercept, batch_size):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((200, 6))
    y = X @ np.array([1, -1, 2, -2, 0.5, 0]) + 0.3 * rng.standard_normal(200) + 5
    model = MiniBatchLinearRegressor(batch_size, fit_intercept=fit_intercept, random_state=0, **options).fit(X, y)
    for k in range(1, 4):
        model.partial_fit(X, 10 - y)
        both, targets = np.vstack([X] * (k + 1)), np.concatenate([y] + [10 - y] * k)
        exact = clone(model).set_params(batch_size=None).fit(both, targets)
        assert objective(model, both, targets) - objective(exact, both, targets) <= 1e-3 * np.var(targets)
    model.set_params(positive=False, penalty=None, alpha=0.0).partial_fit(X, 10 - y)  # the bound is gone, the rows are known
    both, targets = np.vstack([both, X]), np.append(targets, 10 - y)
    exact = LinearRegression(fit_intercept=fit_intercept).fit(both, targets)
    assert objective(model, both, targets) - np.mean((exact.predict(both) - targets) ** 2) <= 1e-3 * np.var(targets)


@pytest.mark.parametrize("constant", [1.0, 3.3, 0.1])
@pytest.mark.parametrize("batch_size", [32, None])
def test_a_constant_column_keeps_no_fit_from_telling_that_it_is_at_the_minimum(batch_size, constant):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.standard_normal((100, 5)), np.full(100, constant)])
        y = X[:, :5] @ rng.standard_normal(5) + 1e-3 * rng.standard_normal(100)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            MiniBatchLinearRegressor(batch_size, positive=True, random_state=0).fit(X, y)


@pytest.mark.parametrize("quantile", [0.25, 0.5])
def test_a_rare_event_that_nothing_predicts_is_no_reason_to_warn(quantile):
    """The best constant is the minimum, and most rows lie on its kink."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        categories = rng.zipf(1.8, 3000).clip(max=10)[:, None] == np.arange(1, 11)
        X = np.column_stack([np.arange(3000), categories, rng.lognormal(3, 1, 3000)]).astype(float)
        y = (rng.random(3000) < 0.004) * (X[:, 2] > 0) * 1.0
        y[:2] = 1.0
        model = MiniBatchLinearRegressor(loss="quantile", quantile=quantile, positive=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(X, y)
        assert objective(model, X, y) <= quantile * y.mean() * (1.0 + 1e-9)


@pytest.mark.parametrize("options", [{"positive": True}, {"penalty": "l1", "alpha": 0.1}], ids=str)
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_constant_columns_alone_leave_the_mean(batch_size, options):
    y = np.random.default_rng(0).standard_normal(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(np.full((50, 2), 3.0), y)
    np.testing.assert_allclose(model.predict(np.full((1, 2), 3.0)), y.mean(), atol=1e-9)
