"""learning_rate="auto": the right answer from raw columns, whatever their geometry."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Ridge
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor
from skgd._geometry import Longest, safe_length
from tests.conftest import (
    LOSSES,
    UNKIND,
    Metric,
    Moments,
    diabetes,
    gap,
    geometry_of_batches,
    heavy_tails,
    loss_and_slope,
    rows_of,
    sample_rows,
    scales_side_by_side,
)


@pytest.mark.parametrize("batch_size", [1, 32, 256, None])
def test_default_fit_on_raw_columns_is_within_its_promise(unkind, batch_size):
    X, y = unkind
    promise = 1e-4 if batch_size is None else 1e-3
    assert gap(MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y), X, y) <= max(promise, X.shape[1] / len(X) / 4)


@pytest.mark.parametrize("way", ["fit", "CSR", "fit_chunks"])
@pytest.mark.parametrize(
    "options", [{}, {"alpha": 0.3}, {"fit_intercept": False}, {"average": False}, {"momentum": 0.5}, {"batch_size": 1}], ids=str
)
def test_mini_batches_of_the_squared_error_stop_near_the_minimum_and_end_there(options, way):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((2000, 5)) * [1, 10, 0.1, 1, 3], rng.uniform(0.5, 1.5, 2000)
    Y = X @ rng.standard_normal((5, 3)) + rng.standard_normal((2000, 3))
    model = MiniBatchLinearRegressor(random_state=0).set_params(**options)
    if way == "fit_chunks":
        model.fit_chunks([(X[i::4], Y[i::4], weight[i::4]) for i in range(4)])
    else:
        model.fit(csr_array(X) if way == "CSR" else X, Y, weight)
    oracle = Ridge(1000.0 * options.get("alpha", 0.0), fit_intercept=model.fit_intercept, solver="cholesky")
    oracle.fit(X, Y, weight / weight.mean())
    np.testing.assert_allclose(model.coef_, oracle.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.intercept_, oracle.intercept_, rtol=1e-8, atol=1e-8)
    assert model.n_iter_ < model.n_iter_no_change or model.average is False  # the noise of single steps is too large


@pytest.mark.parametrize("way", ["fit", "CSR", "fit_chunks"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "l1", "alpha": 0.1},
        {"penalty": "l1", "alpha": 0.1, "positive": True},
        {"penalty": "elasticnet", "alpha": 0.1, "l1_ratio": 0.5},
        {"positive": True},
    ],
    ids=str,
)
def test_mini_batches_of_the_squared_error_with_zeros_stop_near_the_minimum_and_end_there(options, fit_intercept, way):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((2000, 8)) * [1, 3, 0.3, 1, 3, 1, 1, 1] + 0.2, rng.uniform(0.5, 1.5, 2000)
    Y = X @ (rng.standard_normal((8, 2)) * (rng.random((8, 2)) < 0.5)) + 1.0 + rng.standard_normal((2000, 2))
    model = MiniBatchLinearRegressor(fit_intercept=fit_intercept, random_state=0, **options)
    if way == "fit_chunks":
        model.fit_chunks([(X[i::4], Y[i::4], weight[i::4]) for i in range(4)])
    else:
        model.fit(csr_array(X) if way == "CSR" else X, Y, weight)
    # Without a penalty the oracle has next to none. Its dual gap is 1e-14 of the squared norm of y.
    same = {"positive": model.positive, "fit_intercept": fit_intercept, "tol": 1e-14, "max_iter": 100_000}
    oracle = ElasticNet(max(0.5 * model.alpha, 1e-300), l1_ratio=options.get("l1_ratio", 1.0), **same)
    for coef, y in zip(model.coef_, Y.T, strict=True):
        oracle.fit(X, y, weight / weight.mean())
        np.testing.assert_allclose(coef, oracle.coef_, atol=1e-6)
        assert np.array_equal(coef == 0.0, oracle.coef_ == 0.0)
    assert model.n_iter_ < 20  # the plateau rule would take some thirty


@pytest.mark.parametrize("chunk", [1, 100])
@pytest.mark.parametrize("make", UNKIND, ids=lambda make: make.__name__)
def test_a_stream_of_raw_rows_never_leaves_the_range_of_the_target(make, chunk):
    X, y = make()
    order = np.random.default_rng(0).permutation(len(X))[: 300 if chunk == 1 else None]
    X, y = X[order], y[order]
    model = MiniBatchLinearRegressor(random_state=0)
    for start in range(0, len(X), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
        assert np.isfinite(model.coef_).all()
        assert np.isfinite(model.intercept_)
    # A row far from all before may be predicted badly once; the model as a whole stays no worse than a few constants.
    assert np.median((y - model.predict(X)) ** 2) <= 2 * np.median((y - y.mean()) ** 2) + 1e-12


@pytest.mark.parametrize(("make", "worst"), [(diabetes, 0.05), (scales_side_by_side, 0.02), (heavy_tails, 0.01)])
def test_one_pass_over_chunks_of_raw_rows_comes_near_the_optimum(make, worst):
    X, y = make()
    order = np.random.default_rng(0).permutation(len(X))
    model = MiniBatchLinearRegressor(random_state=0)
    for rows in np.array_split(order, len(X) // 100):
        model.partial_fit(X[rows], y[rows])
    assert gap(model, X, y) < worst


def test_a_constant_added_to_the_target_is_added_to_the_intercept():
    X, y = diabetes()
    low, high = (MiniBatchLinearRegressor(random_state=0).fit(X, y + shift) for shift in (0, 2.0**20))
    np.testing.assert_allclose(high.coef_, low.coef_, rtol=1e-6)
    assert high.intercept_ - low.intercept_ == pytest.approx(2.0**20, rel=1e-10)


def test_cap_that_prevents_a_blow_up_does_not_bind_on_an_ordinary_fit(monkeypatch, unkind):
    X, y = unkind
    model = MiniBatchLinearRegressor(1, random_state=0, max_iter=2, tol=None)
    capped = model.fit(X, y).coef_.copy()
    monkeypatch.setattr("skgd._step_size.cap_of", lambda problem: np.inf)
    np.testing.assert_allclose(model.fit(X, y).coef_, capped, rtol=1e-9)  # the longest row meets it, to rounding


def test_one_row_is_never_overshot():
    X, _ = scales_side_by_side()
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    rows = rows_of(X, weight=weight)
    geometry = geometry_of_batches(rows, Moments.of(rows, False), 1, 0.05, True)
    curvature = geometry.metric.squared_norms(rows)
    assert geometry.step * curvature.max() <= 1.0


def test_full_batch_step_is_below_the_stability_limit(unkind):
    X, _ = unkind
    rows = rows_of(X)
    metric, step, *_ = geometry_of_batches(rows, Moments.of(rows, False), len(X), 0.0, True)
    z = np.column_stack([X - metric.center, np.ones(len(X))])
    D = np.diag(metric.scales)
    largest = np.abs(np.linalg.eigvals(D @ (z.T @ z / len(X)))).max()
    assert 0.6 <= step * largest <= 1.5  # stable below 2; the sample from which it is estimated may miss a third


def test_expected_smoothness_runs_from_the_longest_row_to_the_mean():
    assert safe_length(10.0, 2.0, 50, 1) == 1.0 / 10.0
    assert safe_length(10.0, 2.0, 50, 50) == 1.0 / 2.0
    sizes = [1.0 / safe_length(10.0, 2.0, 50, b) for b in range(1, 51)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("make", [heavy_tails, diabetes])
def test_sampled_rows_estimate_the_covariance(make):
    X, _ = make()
    rows, metric = rows_of(X), Metric.standard(X.mean(axis=0), X.var(axis=0), 0.0, True)
    z = metric.standardised(rows, *sample_rows(rows, metric.squared_norms(rows)))
    gram = z.T @ z
    exact = np.cov((X - metric.center) * np.sqrt(metric.scale), rowvar=False, bias=True)
    # A thousand rows of bounded weight: deviations of 1 / sqrt(1000) in each entry, four of them.
    np.testing.assert_allclose(gram[:-1, :-1], exact, atol=0.15)


def test_reaching_max_iter_warns_how_far_the_descent_still_moved():
    with pytest.warns(
        ConvergenceWarning, match=r"^max_iter ended the .* max_iter=2, .* R\^2 still changed by .* or raise max_iter"
    ):
        MiniBatchLinearRegressor(max_iter=2, random_state=0).fit(*diabetes())


def test_zero_weight_rows_are_not_held_out():
    X, y = diabetes()
    weight = np.ones(len(X))
    weight[::2] = 0
    poisoned = np.where(weight == 0, 1e9, y)
    clean, dirty = (MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, t, weight) for t in (y, poisoned))
    np.testing.assert_array_equal(clean.validation_scores_, dirty.validation_scores_)


@pytest.mark.parametrize(("n", "batch_size"), [(129, 32), (513, 256), (2210, 32)])
def test_the_few_rows_of_a_short_last_batch_do_not_pull_the_fit_their_way(n, batch_size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 7))
    y = X.sum(axis=1) + 6 * rng.standard_normal(n)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y)
    assert gap(model, X, y) <= max(1e-3, 7 / n / 4)


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("constant", [1.0, 0.1, 12345.678])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_column_takes_no_part(batch_size, constant, dtype, weighted):
    """However many rows its mean is rounded over, and wherever it stands."""
    rng = np.random.default_rng(0)
    for n in (12, 300, 442, 5000):
        X = rng.standard_normal((n, 2))
        y, weight = X[:, 0] + rng.standard_normal(n), rng.uniform(0.1, 1.0, n) if weighted else None
        column = np.full((n, 1), constant)
        for table in (np.hstack([X, column]), np.hstack([column, X])):
            model = MiniBatchLinearRegressor(batch_size, max_iter=2, tol=None, random_state=0).fit(
                table.astype(dtype), y, weight
            )
            assert model.coef_[2 if table[0, 2] == table[1, 2] else 0] == 0.0


def test_rows_of_weight_zero_cost_no_digits():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((500, 4)) + 1e7
    y = (X - 1e7) @ [1.0, 2.0, 3.0, 0.0]
    X[0], weight = 1e200, np.ones(500)
    weight[0] = 0.0
    coef = MiniBatchLinearRegressor(None, tol=1e-12).fit(X, y, weight).coef_
    np.testing.assert_allclose(
        coef, [1.0, 2.0, 3.0, 0.0], atol=1e-6
    )  # of 16 digits, offsets of 1e7 deviations take 7 of y and X


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_a_fit_holds_no_more_than_sixteen_bytes_a_row_beyond_the_data(batch_size, loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1_000_000, 8))
    y = X[:, 0] + rng.standard_normal(len(X))
    tracemalloc.start()
    try:
        with threadpool_limits(1):  # each core has blocks of its own
            MiniBatchLinearRegressor(batch_size, loss=loss, max_iter=2, tol=None).fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(X) + 8 * 2e6  # what a block of two megabytes becomes, and the steps of a run


def test_the_longest_of_some_rows_is_weighted_and_merges():
    X, weight = np.random.default_rng(0).standard_normal((9000, 4)), np.random.default_rng(1).uniform(0.5, 2.0, 9000)
    metric, rows = Metric(np.array([1.0, 0.0, 0.0, -2.0]), np.array([4.0, 1.0, 0.25, 1.0]), 1.0), rows_of(X, weight=weight)
    norms = weight * ((X - metric.center) ** 2 @ metric.scale + 1.0)
    longest = np.argmax(norms)
    for cut in (longest, longest + 1):  # the longest row in the second part, or in the first
        parts = [Longest.of(rows.only(np.arange(*ends)), metric) for ends in ((0, cut), (cut, 9000))]
        assert parts[0] + parts[1] == pytest.approx(norms.max())


@pytest.mark.parametrize("way", ["fit", "fit_chunks"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_columns_that_are_sums_of_others_in_float32_beside_redundant_ones_end_at_least_squares(batch_size, loss, way):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b, c, d = np.round(rng.normal(50.0, 10.0, (4, 500)), 1)
        X = np.column_stack([a, b, np.float32(0.37 * a + 1.7 * b), c, d, c - d])
        y = a + rng.normal(0.0, 5.0, 500)
        model = MiniBatchLinearRegressor(batch_size, loss=loss, epsilon=1e3 if loss == "huber" else 0.1, random_state=0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "epsilon=")
            model = model.fit(X, y) if way == "fit" else model.fit_chunks([(X[:250], y[:250]), (X[250:], y[250:])])
        # What float32 cuts off is a column, too: without it and the redundant one, nothing is lost but what chance explains.
        least = np.column_stack([np.ones(500), a, b, c, d])
        without = np.mean((y - least @ np.linalg.lstsq(least, y, rcond=None)[0]) ** 2)
        assert np.mean((y - model.predict(X)) ** 2) <= without + 1e-3 * y.var()


QUANTILE, INSENSITIVE = {"loss": "quantile", "quantile": 0.9999}, {"loss": "epsilon_insensitive", "epsilon": 10.0}


@pytest.mark.parametrize(
    ("options", "weighs", "batch_size"), [(QUANTILE, False, 32), (QUANTILE, False, None), (INSENSITIVE, True, 32)]
)
def test_no_end_is_above_the_best_constant_where_a_sample_misses_the_rows_that_decide(options, weighs, batch_size):
    """Four of 40,000 rows lie above the quantile; or the few beyond epsilon weigh little."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40_000, 3))
    y, few = X.sum(axis=1) + rng.standard_normal(40_000), rng.choice(40_000, 20, replace=False)
    y[few[:3]] = 1e7
    y[few[3:]] = 30.0
    weight = np.where(np.isin(np.arange(40_000), few), 1e-3, 1.0) if weighs else np.ones(40_000)
    loss = LOSSES[options["loss"]](options.get("epsilon"), options.get("quantile"))

    def loss_at(prediction):
        return loss_and_slope(loss, prediction - y)[0] @ weight / weight.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may say that the mini-batches have not arrived
        model = MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(X, y, weight)
    assert loss_at(model.predict(X)) <= min(loss_at(constant) for constant in np.quantile(y, [0.5, 0.9999, 1.0])) * (1 + 1e-9)


@pytest.mark.parametrize("seed", [6, 8, 14, 25])
@pytest.mark.parametrize(
    ("loss", "epsilon", "batch_size"), [("huber", 1e-3, 5), ("huber", 1e-6, 5), ("epsilon_insensitive", 1e-2, 1)]
)
def test_a_small_epsilon_beside_a_constant_near_many_targets_does_not_shorten_the_steps(loss, epsilon, batch_size, seed):
    """The best constant lies about epsilon beside a count, so that the residuals of many rows are no larger."""
    rng = np.random.default_rng(seed)
    X = np.exp(1.5 * rng.standard_normal((100, 3)))
    y = rng.poisson(np.exp(np.clip(X @ rng.standard_normal(3) / np.sqrt(3.0), -3.0, 3.0))).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        MiniBatchLinearRegressor(batch_size, loss=loss, epsilon=epsilon, random_state=0).fit(X, y)
