"""Sparse rows: the dense result, whatever is asked, from whatever format."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from skgd import MiniBatchLinearRegressor
from tests.conftest import (
    LOSSES,
    Metric,
    Rows,
    loss_and_slope,
    make_penalty,
    penalty_at,
    sample_rows,
)


@pytest.fixture(params=["unpacked", "as they are"], autouse=True)
def way(request, monkeypatch):
    """Sparse rows of few columns are unpacked; here they are also taken as those of many columns are."""
    if request.param == "as they are":
        monkeypatch.setattr("skgd._rows.MOST_COLUMNS", 0)
    return request.param


def table(n=80, d=25, density=0.2, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = sparse.csr_array(np.where(rng.random((n, d)) < density, rng.standard_normal((n, d)), 0.0))
    y = X @ rng.standard_normal(d) + 1 + 0.3 * rng.standard_normal(n)
    return X.astype(dtype), y


PENALTIES = [{"penalty": None}, {"alpha": 0.1}, {"penalty": "l1", "alpha": 0.05}, {"penalty": "elasticnet", "alpha": 0.1}]
# alpha=20 makes eta * alpha = 1: a decay to exactly zero
GRID = list(itertools.product([1, 7, None], [*PENALTIES, {"alpha": 20.0}], [False, True, 100], [0.0, 0.5]))


@pytest.mark.parametrize(("batch_size", "penalty", "average", "momentum"), GRID, ids=str)
@pytest.mark.parametrize("rate", ["constant", "invscaling"])
def test_plain_steps_on_sparse_rows_are_those_on_dense_ones(batch_size, penalty, average, momentum, rate):
    X, y = table()
    y += 10.0  # which the start does not predict: no step makes it worse
    weight = np.random.default_rng(2).uniform(0, 2, len(y))
    model = MiniBatchLinearRegressor(
        batch_size,
        learning_rate=rate,
        eta0=0.05,
        max_iter=3,
        tol=None,
        random_state=0,
        average=average,
        momentum=momentum,
        **penalty,
    )
    on_dense = model.fit(X.toarray(), y, weight)
    expected = on_dense.coef_.copy(), on_dense.intercept_
    on_sparse = model.fit(X, y, weight)
    # Sums of factors over some hundred steps in place of the steps: some thousand roundings.
    np.testing.assert_allclose(on_sparse.coef_, expected[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(on_sparse.intercept_, expected[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_every_loss(loss, batch_size):
    X, y = table()
    model = MiniBatchLinearRegressor(
        batch_size, loss=loss, learning_rate="constant", max_iter=2, tol=None, random_state=0, alpha=0.1, average=True
    )
    expected = model.fit(X.toarray(), y).coef_.copy()
    np.testing.assert_allclose(model.fit(X, y).coef_, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("make", [sparse.csc_matrix, sparse.coo_array, sparse.lil_matrix, sparse.bsr_array, sparse.dok_array])
def test_every_format_gives_the_same_bits(batch_size, make):
    X, y = table()
    model = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=2, tol=None)
    expected = model.fit(X, y).coef_.copy()
    np.testing.assert_array_equal(model.fit(make(X), y).coef_, expected)


def test_wide_indices_and_repeated_entries():
    X, y = table()
    model = MiniBatchLinearRegressor(random_state=0)
    expected = model.fit(X, y).coef_.copy()
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    np.testing.assert_array_equal(model.fit(wide, y).coef_, expected)
    halves = sparse.csr_array(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape
    )  # each entry in two halves
    before = halves.nnz
    np.testing.assert_allclose(model.fit(halves, y).coef_, expected, rtol=1e-12)
    assert halves.nnz == before


@pytest.mark.parametrize("penalty", [*PENALTIES], ids=str)
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_auto_ends_where_it_does_on_dense_rows(penalty, batch_size):
    X, y = table(600, 30)
    on_sparse, on_dense = (
        MiniBatchLinearRegressor(batch_size, random_state=0, **penalty).fit(A, y).predict(X) for A in (X, X.toarray())
    )
    # Scaled and not centred, the metric differs and so does the way; both end within some ten-thousandths of the variance.
    assert np.mean((on_sparse - on_dense) ** 2) < 3e-3 * np.var(y)


def categories(kind):
    """Few numbers in a row, as of two encoded categories; beside them a column whose mean is far from zero, or twins."""
    rng = np.random.default_rng(0)
    n, level = 1500, np.arange(40)
    codes = rng.integers(40, size=(n, 2)) ** 2 // 40  # frequent and rare ones
    X = np.hstack([(codes[:, [k]] == level).astype(float) for k in (0, 1)])
    y = X @ rng.standard_normal(80) + rng.standard_t(3, n)
    if kind == "far":
        X = np.hstack([X, 1e6 + rng.standard_normal((n, 1))])
        y += X[:, -1]
    if kind == "twins":
        X = np.hstack([X, X[:, :1] + 1e-6 * X[:, 1:2]])
    return X, y, rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("kind", ["plain", "far", "twins"])
@pytest.mark.parametrize("penalty", [{}, {"alpha": 0.01}, {"penalty": "l1", "alpha": 1e-3}], ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_sums_over_few_numbers_lead_where_those_over_dense_rows_do(loss, penalty, kind, way):
    if way != "unpacked":
        pytest.skip("rows that stay sparse are not summed so")
    X, y, weight = categories(kind)
    model = MiniBatchLinearRegressor(None, loss=loss, tol=1e-8, **({"epsilon": 1.0} if loss == "huber" else {}), **penalty)
    dense = clone(model).fit(X, y, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = clone(model).fit(sparse.csr_array(X), y, weight)
        chunked = clone(model).fit_chunks([(sparse.csr_array(X[i::3]), y[i::3], weight[i::3]) for i in range(3)])
    assert few.n_iter_ <= dense.n_iter_ + 2

    def objective(model):
        value = loss_and_slope(LOSSES[loss](1.0, 0.5), model.predict(X) - y)[0]
        return np.average(value, weights=weight) + penalty_at(make_penalty(model.penalty, model.alpha, 0.15), model.coef_)

    # Each ends within LEAST_PROMISE of the minimum; redundant columns may have other coefficients.
    assert objective(few) == pytest.approx(objective(dense), rel=1e-6)
    assert objective(chunked) == pytest.approx(objective(dense), rel=1e-6)


def test_partial_fit_weights_targets_and_prediction():
    X, y = table()
    Y = np.column_stack([y, -2 * y**2])
    weight = np.random.default_rng(2).uniform(0, 2, len(y))
    model = MiniBatchLinearRegressor(5, learning_rate="constant", eta0=0.02, shuffle=False)
    dense = MiniBatchLinearRegressor(5, learning_rate="constant", eta0=0.02, shuffle=False)
    for rows in slice(0, 40), slice(40, 80):
        model.partial_fit(X[rows], Y[rows], weight[rows])
        dense.partial_fit(X[rows].toarray(), Y[rows], weight[rows])
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.predict(X), dense.predict(X.toarray()), rtol=1e-10, atol=1e-10)


def test_a_stream_of_sparse_rows_under_auto_is_finite_and_learns():
    X, y = table(2000, 30)
    model = MiniBatchLinearRegressor(random_state=0)
    for start in range(0, 2000, 50):
        model.partial_fit(X[start : start + 50], y[start : start + 50])
    assert model.score(X, y) > 0.9 * MiniBatchLinearRegressor(random_state=0).fit(X, y).score(X, y)


def test_float32_and_early_stopping():
    X, y = table(400, 30, dtype=np.float32)
    model = MiniBatchLinearRegressor(random_state=0, early_stopping=True).fit(X, y)
    assert model.coef_.dtype == np.float32
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("batch_size", [1, 7])
def test_noting_few_steps_of_the_average_is_the_average_of_what_was_noted(batch_size, way):
    if way == "unpacked":
        pytest.skip("dense rows are averaged at every step")
    X, y = table()
    model = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=3, tol=None, record_steps=True).fit(X, y)
    n_steps, every = model.n_steps_ // 3, int(np.ceil(4 * 25 / (batch_size * X.nnz / 80 + 1)))
    average, t_before = 0.0, 0
    for t, w in enumerate(model.coef_path_[1:], start=1):
        if t % every == 0 or t % n_steps == 0:
            left = np.prod([(s - 1) / (s + 3) for s in range(t_before + 1, t + 1)])
            average, t_before = left * average + (1 - left) * w, t
    np.testing.assert_allclose(model.coef_, average, rtol=1e-10, atol=1e-12)
    unwatched = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=3, tol=None).fit(X, y)
    np.testing.assert_allclose(unwatched.coef_, model.coef_, rtol=1e-12, atol=1e-14)


def test_residuals_of_centred_rows_are_those_of_the_rows_as_given():
    rng = np.random.default_rng(0)
    X = np.zeros((50, 1200))
    X[:, 0], X[:, 1] = 2000.0 + rng.standard_normal(50), rng.random(50) < 0.1
    y, parameters = rng.standard_normal((2, 50)), rng.standard_normal((2, 1201))
    rows = Rows.of(sparse.csr_array(X), y, np.ones(50)).with_far_columns_centred(X.mean(axis=0), X.var(axis=0))
    assert rows.offset[0] == pytest.approx(2000.0, abs=1.0)
    np.testing.assert_allclose(rows.residuals(parameters), parameters[:, :-1] @ X.T + parameters[:, -1:] - y, rtol=1e-9)


def test_sampled_sparse_rows_estimate_their_second_moments():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((6000, 1100)) < 0.01, rng.standard_normal((6000, 1100)), 0.0)
    weight = rng.uniform(0.5, 2.0, 6000)
    rows = Rows.of(sparse.csr_array(X), np.zeros((1, 6000)), weight).with_mean_weight_1()
    metric = Metric.standard(X.mean(axis=0), X.var(axis=0), 0.0, True, is_sparse=True)
    z = metric.standardised(rows, *sample_rows(rows, metric.squared_norms(rows)))
    exact = np.average(X**2, weights=weight, axis=0) * metric.scale
    estimate = np.asarray(z.power(2).sum(axis=0)).ravel()
    assert estimate[-1] == pytest.approx(1.0, rel=0.05)  # the intercept's
    assert estimate[:-1].sum() == pytest.approx(exact.sum(), rel=0.05)


@pytest.mark.parametrize("loss", ["huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("options", [{}, {"penalty": "l1", "alpha": 0.01}, {"fit_intercept": False}], ids=str)
def test_a_long_stream_of_very_sparse_rows_is_that_of_dense_ones(loss, options, way):
    if way == "as they are":
        pytest.skip("streams keep no model of many columns")
    X, y = table(12_000, 20, density=0.05)  # long enough for rows to be left behind
    model = MiniBatchLinearRegressor(loss=loss, random_state=0, **options)
    sparse_one, dense_one = model, clone(model)
    for start in range(0, len(y), 3000):
        some = slice(start, start + 3000)
        sparse_one.partial_fit(X[some], y[some])
        dense_one.partial_fit(X[some].toarray(), y[some])
    np.testing.assert_allclose(sparse_one.coef_, dense_one.coef_, rtol=1e-5, atol=1e-5)  # minima are found to 1e-6 of the reach
