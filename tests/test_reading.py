"""How a descent under auto ends: at its promise or with a warning, never above where it was, on exact zeros with an l1 norm."""

import warnings

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_array, hstack
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LinearRegression, QuantileRegressor, Ridge
from sklearn.metrics import mean_pinball_loss
from sklearn.preprocessing import PolynomialFeatures

from skgd import MiniBatchLinearRegressor, _least_squares, _quadratic, _reading
from skgd._quadratic import minimum_of
from skgd._reading import derivatives_over
from tests.conftest import (
    LOSSES,
    UNKIND,
    CertifiedNewton,
    Target,
    bend,
    diabetes,
    dummies,
    finished,
    gap,
    loss_and_slope,
    make_penalty,
    near_twins,
    optimum,
    penalty_at,
    problem_of_fit,
    rows_of,
    secant,
    year_and_its_square,
)

SIZES = pytest.mark.parametrize("batch_size", [1, 32, 256, None])
STRAIGHT = {"huber": {"epsilon": 0.3}, "epsilon_insensitive": {"epsilon": 0.3}, "quantile": {"quantile": 0.3}}
EVERY_LOSS = {"squared_error": {}, "squared_epsilon_insensitive": {"epsilon": 0.3}} | STRAIGHT


def plain(n=500, d=8, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, :3] @ [1.0, -2.0, 3.0] + noise * rng.standard_normal(n)


def objective_of(model, X, y):
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio)
    return loss_and_slope(loss, model.predict(X) - y)[0].mean() + penalty_at(penalty, model.coef_)


def lowest_objective(model, X, y):
    """The objective of `optimal`."""
    return optimal(model, X, y)[0]


def optimal(model, X, y):
    """The lowest objective and its coefficients.

    By linear programming for losses of straight pieces (without l2), else by L-BFGS-B with the coefficients split by sign.
    """
    n, d = X.shape
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio)
    if loss.curvature > 1e100:  # min cap_above'u + cap_below'v, with u >= r - e, v >= -r - e
        costs = np.concatenate(
            [np.full(2 * d, penalty.l1), [0.0], np.full(n, loss.cap_above / n), np.full(n, loss.cap_below / n)]
        )
        table = np.hstack([X, -X, np.ones((n, 1))])
        upper = np.vstack([np.hstack([table, -np.eye(n), np.zeros((n, n))]), np.hstack([-table, np.zeros((n, n)), -np.eye(n)])])
        bounds = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * (2 * n)
        found = linprog(costs, upper, np.concatenate([y + loss.insensitive, loss.insensitive - y]), bounds=bounds)
        return found.fun, found.x[:d] - found.x[d : 2 * d]

    def objective(p):
        w = p[:d] - p[d : 2 * d]
        value, slope = loss_and_slope(loss, X @ w + p[-1] - y)
        gradient = X.T @ slope / n + penalty.l2 * w
        total = value.mean() + 0.5 * penalty.l2 * w @ w + penalty.l1 * p[:-1].sum()
        return total, np.concatenate([gradient + penalty.l1, -gradient + penalty.l1, [slope.mean()]])

    options = {"maxiter": 50_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-11}
    start = np.append(np.zeros(2 * d), np.median(y))
    bounds = [(0, None)] * (2 * d) + [(None, None)]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.fun, found.x[:d] - found.x[d : 2 * d]


@pytest.mark.parametrize("sparse", [False, True])
@SIZES
@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("alpha", [0.02, 0.2])
def test_l1_ends_on_exact_zeros_at_the_optimum_of_every_loss(loss, alpha, batch_size, sparse):
    X, y = plain(500, 20)
    table = csr_array(np.where(np.abs(X) > 1.0, X, 0.0)) if sparse else X
    model = MiniBatchLinearRegressor(batch_size, loss=loss, penalty="l1", alpha=alpha, random_state=0, **EVERY_LOSS[loss])
    dense = table.toarray() if sparse else X
    best, coef = optimal(model, dense, y)
    assert objective_of(model.fit(table, y), dense, y) <= (1 + 1e-3) * best
    assert np.mean((model.coef_ == 0.0) == (np.abs(coef) < 1e-6)) >= 0.95


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("batch_size", [1, 32])
def test_the_descent_before_it_settles_on_zeros_is_near_the_optimum_by_itself(loss, batch_size):
    X, y = plain()
    model = MiniBatchLinearRegressor(batch_size, loss=loss, penalty="l1", alpha=0.02, random_state=0, **EVERY_LOSS[loss])
    model.fit(X, y)
    best, constant = lowest_objective(model, X, y), problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    average = model._state["parameters"][0, 2]
    model.coef_, model.intercept_ = average[:-1], average[-1]
    assert (objective_of(model, X, y) - best) / (constant - best) < 5e-3


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [(loss, penalty) for loss in EVERY_LOSS for penalty in (None, "l1")] + [("huber", "l2"), ("squared_error", "l2")],
)
def test_a_finish_never_raises_the_objective_and_knows_how_far_it_is(loss, penalty):
    X, y = plain(200, 4)
    model = MiniBatchLinearRegressor(None, loss=loss, penalty=penalty, alpha=0.05 if penalty else 0.0, **EVERY_LOSS[loss])
    problem, _ = problem_of_fit(model, rows_of(X, y))
    target = Target(problem, 0)
    best = lowest_objective(model, X, y)
    for seed in range(10):
        start = np.random.default_rng(seed).standard_normal(5) * 10.0 ** np.random.default_rng(seed).uniform(-3, 3)
        before = target.objectives(start, target.loss)[0, 0]
        end, excess = CertifiedNewton.far(target, start, 1e-5).approach()
        after = target.objectives(end, target.loss)[0, 0]
        assert after <= before + 1e-9 * target.unit
        assert after - best <= min(1e-4 * target.constant_loss, excess * target.reach(best) + 1e-9 * target.unit)


def test_a_descent_that_has_not_arrived_and_cannot_be_mended_is_warned_of(monkeypatch):
    X, y = diabetes()
    X = np.column_stack([X, X[:, 0] + 1e-5 * np.random.default_rng(0).standard_normal(len(X))])
    y = y + 3e6 * (X[:, -1] - X[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert gap(MiniBatchLinearRegressor(random_state=0).fit(X, y), X, y) < 1e-3
    monkeypatch.setattr(_least_squares.ConjugateGradients, "most_steps", 0)
    with pytest.warns(ConvergenceWarning, match="may still fall by up to"):
        MiniBatchLinearRegressor(random_state=0).fit(X, y)


def flags(rng, n):
    """Pairs of flags that disagree in three rows of ten thousand."""
    first = (rng.random((n, 20)) < 0.3) * 1.0
    second = np.where(rng.random((n, 20)) < 3e-4, 1.0 - first, first)
    return np.column_stack([first, second]), (second - first) @ rng.standard_normal(20) + 0.1 * rng.standard_normal(n)


def twins_but_for_four_rows(rng, n):
    X = rng.standard_normal((n, 5))
    X[:, 4] = X[:, 3]
    X[rng.choice(n, 4, replace=False), 4] += [0.01, -0.01, 0.01, -0.01]
    return X, 1000.0 * (X[:, 4] - X[:, 3]) + 1e-4 * rng.standard_normal(n)


def a_pair_of_flags_beside_a_column_twice(rng, n):
    X = rng.standard_normal((n, 3))
    flag = (rng.random(n) < 0.5) * 1.0
    other = flag.copy()
    other[rng.choice(n, 10, replace=False)] = 2.0
    return np.column_stack([X, flag, other, X[:, 0]]), 20.0 * (flag - other) + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("way", ["fit", "fit of CSR", "fit_chunks"])
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
@pytest.mark.parametrize("make", [flags, twins_but_for_four_rows, a_pair_of_flags_beside_a_column_twice])
@pytest.mark.parametrize("batch_size", [32, 1000, None])
def test_columns_that_differ_in_a_few_rows_alone_are_fitted_as_all_others(batch_size, make, loss, way):
    X, y = make(np.random.default_rng(2), 12_000)
    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0)
    if way == "fit_chunks":
        model.fit_chunks([(X[start : start + 3000], y[start : start + 3000]) for start in range(0, len(y), 3000)])
    else:
        model.fit(csr_array(X) if way == "fit of CSR" else X, y)
    least = LinearRegression().fit(X, y)  # nearly the medians, too: noise is symmetric
    if loss == "squared_error":
        assert gap(model, X, y) <= (1e-9 if batch_size is None else 1e-3)
    else:
        of_model, of_least = (np.mean(np.abs(y - each.predict(X))) for each in (model, least))
        assert of_model <= of_least + 1e-3 * (np.mean(np.abs(y - np.median(y))) - of_least)


@pytest.mark.parametrize("nearness", [3e-4, 1e-3])
@pytest.mark.parametrize("loss", ["squared_error", "quantile", "epsilon_insensitive", "huber"])
@pytest.mark.parametrize("batch_size", [32, None])
def test_a_column_given_twice_beside_a_near_twin_changes_nothing(batch_size, loss, nearness):
    """The eigenvector of the column given twice is inexact: the rows differ along it by some of the near twin's difference."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(100)
        X = np.column_stack([x, x, x + nearness * rng.standard_normal(100), rng.standard_normal((100, 2))])
        y = X @ [1.0, 0.0, 0.0, 1.0, 1.0] + rng.standard_normal(100)
        model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            twice, once = (clone(model).fit(Z, y) for Z in (X, X[:, 1:]))
        assert np.abs(twice.coef_).max() < 100.0 / nearness  # some standard errors
        loss_of = LOSSES[loss](once.epsilon, once.quantile)
        values = [np.mean(loss_and_slope(loss_of, each - y)[0]) for each in (twice.predict(X), once.predict(X[:, 1:]))]
        reach = np.mean(loss_and_slope(loss_of, np.median(y) - y)[0]) - values[1]
        assert abs(values[0] - values[1]) <= 2.0 * (1e-3 if batch_size else 1e-4) * reach  # each keeps the promise


def sums_beside_their_rounded_twin(rng):
    price, degrees = rng.lognormal(5, 1, 300).round(2), rng.normal(15, 8, 300).round(1)
    categories = (rng.integers(8, size=300)[:, None] == np.arange(8)) * 1.0
    X = np.column_stack([price, degrees, (price + degrees).round(1), price + degrees, categories])
    return X, price / price.std() + categories[:, -1] + rng.standard_normal(300), 10


def polynomials_of_a_trend_and_dummies(rng):
    day = np.arange(1.0, 131.0)
    season = (day - 1) // 13
    X = PolynomialFeatures(3, include_bias=False).fit_transform(np.column_stack([day, season[:, None] == np.arange(4)]))
    return X, (season == 9) + 0.1 * rng.standard_normal(130), 15


def a_difference_of_1e_10_beside_one_of_3e_4(rng):
    a, b, c, d = rng.standard_normal((4, 300))
    X = np.column_stack([a, b, a + 3e-4 * c, b + 1e-10 * d])
    return X, (X[:, 3] - X[:, 1]) / 1e-10 + 0.1 * rng.standard_normal(300), 4


@pytest.mark.parametrize("way", ["fit", "fit_chunks"])
@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize(
    "make", [sums_beside_their_rounded_twin, polynomials_of_a_trend_and_dummies, a_difference_of_1e_10_beside_one_of_3e_4]
)
def test_what_differs_by_little_is_told_from_what_does_not_differ(make, batch_size, way):
    for seed in range(8):
        X, y, rank = make(np.random.default_rng(seed))
        deviation = np.where(X.std(axis=0) > 0.0, X.std(axis=0), 1.0)
        z = (X - X.mean(axis=0)) / deviation
        U, s, _ = np.linalg.svd(z, full_matrices=False)
        assert s[rank - 1] > 1e-11 * s[0] > 1e3 * s[rank:].max(initial=0.0)  # nothing lies between
        U = U[:, :rank] - U[:, :rank].mean(axis=0)
        least = np.mean((y - y.mean() - U @ np.linalg.lstsq(U, y - y.mean())[0]) ** 2)
        model = MiniBatchLinearRegressor(batch_size, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit(X, y) if way == "fit" else model.fit_chunks([(X[:90], y[:90]), (X[90:], y[90:])])
        assert (np.mean((y - model.predict(X)) ** 2) - least) / (y.var() - least) <= (1e-4 if batch_size is None else 1e-3)
        assert np.abs(model.coef_ * deviation).max() <= 10.0 * y.std() / s[rank - 1] * s[0]  # none is made of rounding errors


@pytest.mark.parametrize("way", ["fit", "fit_chunks"])
@pytest.mark.parametrize("batch_size", [32, None])
def test_powers_of_raw_years_are_fitted_as_far_as_float64_tells_them_apart(batch_size, way):
    rng = np.random.default_rng(0)
    year = rng.integers(2000, 2021, 2000).astype(float)
    decades = (year - 2010) / 10
    X, y = np.vander(year, 5)[:, :-1], decades**4 + 0.1 * rng.standard_normal(2000)
    best, variance = optimum(np.vander(decades, 5)[:, :-1], y)
    model = MiniBatchLinearRegressor(batch_size, random_state=0)
    model.fit(X, y) if way == "fit" else model.fit_chunks([(X[:900], y[:900]), (X[900:], y[900:])])
    assert (np.mean((y - model.predict(X)) ** 2) - best) / (variance - best) <= (1e-4 if batch_size is None else 1e-3)


def test_a_fit_that_rounding_errors_mislead_says_so(monkeypatch):
    X, y = dummies()
    monkeypatch.setattr("skgd._geometry.NOTHING", 1.0)  # keeps a direction in which the rows differ by rounding errors alone
    with pytest.warns(ConvergenceWarning, match="may still fall by"):
        assert gap(MiniBatchLinearRegressor(None).fit(X, y), X, y) > 1.0


@SIZES
def test_nothing_is_warned_of_where_the_promise_is_kept(unkind, batch_size):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        MiniBatchLinearRegressor(batch_size, random_state=0).fit(*unkind)


def one_long_row():
    X, y = plain()
    X[0] *= 1e8
    return X, y


def small_difference():
    X, _ = plain()
    X[:, 1] = X[:, 0] + 1e-6 * X[:, 1]
    return X, 1e6 * (X[:, 1] - X[:, 0]) + 0.3 * X[:, 2]


def random_walks():
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.standard_normal((2000, 60)), axis=0)
    return X, np.diff(X[:, :5], axis=0, prepend=0.0).sum(axis=1) + 0.1 * rng.standard_normal(2000)


@SIZES
@pytest.mark.parametrize("make", [one_long_row, small_difference, random_walks])
def test_directions_that_steps_cannot_see_are_found_or_warned_of(make, batch_size):
    X, y = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y)
    if make is one_long_row:  # for the oracle: QR with the long row first
        Q, _ = np.linalg.qr(np.column_stack([X, np.ones(len(X))]))
        best, variance = np.mean((y - Q @ (Q.T @ y)) ** 2), np.var(y)
        missed = (np.mean((y - model.predict(X)) ** 2) - best) / (variance - best)
    else:
        missed = gap(model, X, y)
    assert missed <= max(1e-3, X.shape[1] / len(X) / 4) or any(w.category is ConvergenceWarning for w in caught)


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("outlier", [1e4, 1e7, 1e10])
@pytest.mark.parametrize("loss", STRAIGHT)
def test_one_wild_target_does_not_matter_to_a_robust_loss(loss, outlier, batch_size):
    X, y = plain(2000, 5, noise=0.1)
    y[7] = outlier
    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0).fit(X, y)
    rest = np.arange(2000) != 7
    # The noise leaves 1 - 0.01 / 14, and huber's outlier shifts the fit by some hundredths of the noise.
    assert model.score(X[rest], y[rest]) > 0.999


@pytest.mark.parametrize("batch_size", [32, 256, None])
def test_a_median_that_meets_most_rows_exactly(batch_size):
    X, y = plain(400, 5, noise=0.0)
    y[::10] += 5.0 * np.random.default_rng(1).standard_normal(40)
    model = MiniBatchLinearRegressor(batch_size, loss="quantile", random_state=0).fit(X, y)
    best = lowest_objective(model, X, y)
    assert objective_of(model, X, y) - best < 1e-3 * (np.abs(y - np.median(y)).mean() / 2 - best)


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("quantile", [0.01, 0.99])
def test_extreme_quantiles(quantile, batch_size):
    X, y = plain(400, 3)
    model = MiniBatchLinearRegressor(batch_size, loss="quantile", quantile=quantile, random_state=0).fit(X, y)
    best, constant = lowest_objective(model, X, y), problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (objective_of(model, X, y) - best) / (constant - best) <= max(1e-3, 3 / 400 / 4)


@pytest.mark.parametrize("loss", ["squared_error", "quantile", "huber"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("n", [100, 500])
def test_heavy_momentum_on_few_rows_ends_at_the_optimum(loss, nesterov, n):
    X, y = plain(n, 5)
    model = MiniBatchLinearRegressor(loss=loss, momentum=0.99, nesterovs_momentum=nesterov, random_state=0).fit(X, y)
    best, constant = lowest_objective(model, X, y), problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (objective_of(model, X, y) - best) / (constant - best) <= max(1e-3, 5 / n / 4)


def wide_table(seed=0):
    """Five columns of 1000 levels each, as dummies, and three numbers far from zero."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 1000, (6000, 5)) + 1000 * np.arange(5)
    dummies = csr_array((np.ones(30_000), levels.ravel(), np.arange(0, 30_001, 5)), shape=(6000, 5000))
    numbers = np.array([2010.0, 5e4, -300.0]) + rng.standard_normal((6000, 3)) * [6.0, 1e3, 20.0]
    effect = rng.standard_normal(5000)
    y = effect[levels].sum(axis=1) + (numbers - numbers.mean(axis=0)) @ [0.3, 2e-3, -0.1] + rng.standard_normal(6000)
    return csr_array(hstack([dummies, csr_array(numbers)])), y


@SIZES
def test_far_columns_among_many_dummies_are_found(batch_size):
    X, y = wide_table()
    model = MiniBatchLinearRegressor(batch_size, random_state=0, alpha=1e-3).fit(X, y)
    assert (model.coef_[-3:] * [6.0, 1e3, 20.0]).round(1) == pytest.approx([1.8, 2.0, -2.0], abs=0.15)
    problem, _ = problem_of_fit(model, rows_of(X, y))
    ends = finished(problem, np.append(model.coef_, model.intercept_ + problem.origin @ model.coef_), 1e-6)[None]
    target = Target(problem, 0)
    fitted = np.append(model.coef_, model.intercept_ + problem.origin @ model.coef_)
    (values,) = target.objectives(np.vstack([fitted, ends[0]]), target.loss)
    assert (values[0] - values[1]) / (target.constant_loss - values[1]) < 1e-3


def test_city_and_year_say_the_same_as_csr():
    rng = np.random.default_rng(0)
    city, year = rng.integers(0, 20, 4000), rng.integers(2000, 2020, 4000)
    X = np.column_stack([np.eye(20)[city], year.astype(float)])
    y = rng.standard_normal(20)[city] + 0.5 * (year - 2010) + rng.standard_normal(4000)
    for batch_size in (1, 32, None):
        dense, sparse = (MiniBatchLinearRegressor(batch_size, random_state=0).fit(A, y) for A in (X, csr_array(X)))
        np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-9, atol=1e-12)


@SIZES
@pytest.mark.parametrize("make", UNKIND, ids=lambda make: make.__name__)
def test_sparse_rows_keep_the_promise_of_dense_ones(make, batch_size):
    X, y = make()
    promise = 1e-4 if batch_size is None else 1e-3
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(csr_array(X), y)
    assert gap(model, X, y) <= max(promise, X.shape[1] / len(X) / 4)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("make", [m for m in UNKIND if m.__name__ not in {"wide", "dummies"}], ids=lambda make: make.__name__)
def test_one_pass_over_chunks_of_a_hundred_raw_rows(make, sparse):
    X, y = make()
    order = np.random.default_rng(0).permutation(len(X))
    model = MiniBatchLinearRegressor(random_state=0)
    for chunk in np.array_split(order, len(X) // 100):
        model.partial_fit(csr_array(X[chunk]) if sparse else X[chunk], y[chunk])
    best, variance = optimum(X, y)
    # Beyond what a pass over n rows must leave: d parameters, each known to about 2 / n of the noise.
    assert gap(model, X, y) <= 1e-2 + 2 * X.shape[1] / len(X) * best / (variance - best)


def text(n=1500, d=1200, seed=0):
    """Counts of words, of which few hold most, as in language."""
    rng = np.random.default_rng(seed)
    columns = np.sort((d * rng.random((n, 15)) ** 3).astype(np.int32), axis=1)
    starts = np.arange(0, 15 * n + 1, 15, dtype=np.int32)
    X = csr_array((np.abs(rng.standard_normal(15 * n)), columns.ravel(), starts), shape=(n, d))
    X.sum_duplicates()
    return X, X[:, :100] @ rng.standard_normal(100) + rng.standard_normal(n)


@SIZES
@pytest.mark.parametrize("alpha", [1e-3, 1e-1])
def test_wide_sparse_rows_end_at_ridge(alpha, batch_size):
    X, y = text()
    exact = Ridge(alpha=len(y) * alpha / 2, solver="sparse_cg", tol=1e-10).fit(X, y)
    model = MiniBatchLinearRegressor(batch_size, alpha=alpha, random_state=0).fit(X, y)
    best, reached = (np.mean((y - m.predict(X)) ** 2) + alpha / 2 * m.coef_ @ m.coef_ for m in (exact, model))
    assert (reached - best) / (np.var(y) - best) <= (1e-4 if batch_size is None else 1e-3)


@SIZES
@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_wide_sparse_rows_with_an_l1_norm_are_near_the_optimum_of_straight_losses(loss, batch_size):
    X, y = text(300, 1100)
    model = MiniBatchLinearRegressor(batch_size, loss=loss, penalty="l1", alpha=0.02, random_state=0, **STRAIGHT[loss]).fit(
        X, y
    )
    best = lowest_objective(model, X.toarray(), y)
    constant = problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (objective_of(model, X, y) - best) / (constant - best) <= 1e-3
    assert np.mean(model.coef_ == 0.0) > 0.5


@SIZES
def test_wide_sparse_rows_with_an_l1_norm_end_at_lasso(batch_size):
    X, y = text()
    exact = Lasso(alpha=0.01, tol=1e-8, max_iter=100_000).fit(X, y)
    model = MiniBatchLinearRegressor(batch_size, penalty="l1", alpha=0.02, random_state=0).fit(X, y)
    best, reached = (np.mean((y - m.predict(X)) ** 2) + 0.02 * np.abs(m.coef_).sum() for m in (exact, model))
    assert (reached - best) / (np.var(y) - best) <= 1e-3
    assert np.mean((model.coef_ == 0.0) == (exact.coef_ == 0.0)) >= 0.95


@SIZES
@pytest.mark.parametrize("loss", ["quantile", "epsilon_insensitive", "squared_epsilon_insensitive"])
def test_the_promise_is_a_share_of_what_the_columns_explain_and_not_of_the_loss(loss, batch_size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 3))
    y = 0.15 * X.sum(axis=1) + rng.standard_normal(1000)  # 6 % of the variance
    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0, **EVERY_LOSS[loss]).fit(X, y)
    best, constant = lowest_objective(model, X, y), problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (objective_of(model, X, y) - best) / (constant - best) <= 1e-3


def test_a_sum_over_the_rows_has_all_blocks():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((9000, 10)), rng.standard_normal(9000)  # three blocks
    for loss in ("huber", "quantile"):
        problem, _ = problem_of_fit(MiniBatchLinearRegressor(loss=loss), rows_of(X + 5.0, y))
        target, at = Target(problem, 0), np.append(rng.standard_normal(10), 0.3)
        value, slope = loss_and_slope(target.loss, (X + 5.0 - target.center) @ at[:-1] + 0.3 - y)
        found, gradient = target.look(at, target.loss)
        assert found == pytest.approx(value.mean(), rel=1e-12)
        np.testing.assert_allclose(gradient[:-1], slope @ (X + 5.0 - target.center) / 9000, rtol=1e-9, atol=1e-12)
        assert gradient[-1] == pytest.approx(slope.mean())


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_reading_sums_the_derivatives_of_the_objective(fit_intercept):
    X, y = plain(60, 3)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 60)
    model = MiniBatchLinearRegressor(32, loss="squared_epsilon_insensitive", alpha=0.7, fit_intercept=fit_intercept)
    problem, _ = problem_of_fit(model, rows_of(X + 3.0, y, weight).with_mean_weight_1())
    target, at, h = Target(problem, 0), np.array([0.3, -0.5, 1.0, 0.2 * fit_intercept]), 1e-4

    def numerical(function):
        return np.array([(function(at + h * unit) - function(at - h * unit)) / (2 * h) for unit in np.eye(4)])

    value, gradient = target.look(at, target.loss)
    assert value == pytest.approx(target.objectives(at, target.loss)[0, 0], rel=1e-12)
    expected = numerical(lambda p: target.objectives(p, target.loss)[0, 0])
    expected[-1] *= fit_intercept
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)  # a bend may lie within h
    basis = np.diag([2.0, 1.0, 0.5])
    request = derivatives_over, target.at(at), basis, (target.loss, target.loss)
    (sums,) = target.rows.add_up(request)
    values, slope, hessian, _ = sums / target.rows.total_weight
    np.testing.assert_allclose(values + penalty_at(target.penalty, at[:-1]), 2 * [value], rtol=1e-12)
    ridge = 0.7 * np.append(at[:-1], 0.0)
    np.testing.assert_allclose(slope, np.append(basis @ (gradient - ridge)[:-1], gradient[-1]), rtol=1e-9, atol=1e-12)
    change = numerical(lambda p: target.look(p, target.loss)[1])[:-1, :-1] - 0.7 * np.eye(3)
    np.testing.assert_allclose(hessian[:-1, :-1], basis @ change @ basis, rtol=0.1, atol=0.1)
    assert (hessian[-1, -1] > 0.1) == fit_intercept


@pytest.mark.parametrize("batch_size", [32, None])
def test_a_difference_of_columns_that_moments_cannot_see_is_found_in_the_rows(batch_size):
    X, y = year_and_its_square()
    X = np.column_stack([X, X[:, 0] + 1e-6 * np.random.default_rng(5).standard_normal(len(X))])
    y = y + 2e6 * (X[:, -1] - X[:, 0])
    assert gap(MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y), X, y) < 1e-3


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("make", [plain, text])
def test_a_finish_from_anywhere_ends_no_higher_than_the_best_constant(make, penalty):
    X, y = make()
    model = MiniBatchLinearRegressor(penalty=penalty, alpha=1e-2)
    problem, _ = problem_of_fit(model, rows_of(X, y))
    far = 1e6 * np.random.default_rng(0).standard_normal(X.shape[1] + 1)
    for start in (far, np.full(X.shape[1] + 1, np.nan)):
        ends = finished(problem, start, 1e-3)[None]
        assert Target(problem, 0).objectives(ends[0], problem.loss)[0, 0] <= problem.constant_loss[0]


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_full_batch_of_sparse_rows_too_large_to_unpack_takes_the_steps_of_dense_rows(loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 100)) * (rng.random((6000, 100)) < 0.3)
    options = {"learning_rate": "constant", "eta0": 0.1, "max_iter": 3, "tol": None, "alpha": 0.1, "average": True}
    model = MiniBatchLinearRegressor(None, loss=loss, **options)
    dense, sparse = (clone(model).fit(table, X[:, 0] + 1.0) for table in (X, csr_array(X)))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-12)


# The full batch by readings


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
@pytest.mark.parametrize("loss", [loss for loss in EVERY_LOSS if loss != "squared_error"])
@pytest.mark.parametrize("make", [plain, diabetes])
def test_a_full_batch_of_any_loss_ends_at_its_minimum_after_few_readings(make, loss, penalty):
    X, y = make()
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), y / y.std()
    options = EVERY_LOSS[loss] | {"penalty": penalty, "alpha": 0.02 if penalty else 0.0}
    model = MiniBatchLinearRegressor(None, loss=loss, **options).fit(X, y)
    if penalty == "l2" and loss in {"quantile", "epsilon_insensitive"}:
        finer = MiniBatchLinearRegressor(None, loss=loss, tol=1e-8, **options).fit(X, y)
        best = objective_of(finer, X, y)
    else:
        best = lowest_objective(model, X, y)
    constant = problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (objective_of(model, X, y) - best) / (constant - best) <= 1e-4  # the default tol
    assert model.n_iter_ == model.n_steps_ == len(model.loss_curve_) <= 30
    assert model.loss_curve_[0] <= constant * (1 + 1e-12)
    assert model.loss_curve_.min() >= best - 1e-9 * constant


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_a_full_batch_of_many_sorted_rows_starts_from_the_fit_of_a_sample(loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 4)) * [1.0, 100.0, 1e-3, 1.0] + [0.0, 0.0, 5.0, 0.0]
    y = X @ [1.0, 0.01, 300.0, 0.0] + rng.standard_t(3, 60_000)
    order = np.argsort(y)
    model = MiniBatchLinearRegressor(None, loss=loss, **EVERY_LOSS[loss])
    early, late = (clone(model).set_params(tol=tol).fit(X[order], y[order]) for tol in (1e-4, 1e-9))
    best, constant = objective_of(late, X, y), problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    assert (early.loss_curve_[0] - best) / (constant - best) < 5e-3  # 10,000 rows of five parameters: some 5e-4
    assert (objective_of(early, X, y) - best) / (constant - best) < 1e-5
    assert early.n_iter_ <= 10
    assert early.loss_curve_.max() <= early.loss_curve_[0] + 5e-3 * (
        constant - best
    )  # a wide rounding may look better than it is


def test_a_reading_that_has_made_it_worse_is_followed_by_the_step_that_always_gains():
    X, y = plain(2000, 4)
    problem, _ = problem_of_fit(MiniBatchLinearRegressor(None, loss="quantile"), rows_of(X, y))
    way = CertifiedNewton.far(Target(problem, 0), np.append(np.zeros(4), np.median(y)), 1e-5)
    first = way.read()
    for _ in range(10):  # twice the damping, at least
        way.trial = way.trial + 100.0
        assert way.read() > first
        np.testing.assert_array_equal(way.model.point[:-1], 0.0)
    assert way.damping == 1.0
    assert way.read() < first


def test_parabolas_touch_a_rounded_loss_and_lie_above_it_and_it_above_the_loss():
    for name, options in EVERY_LOSS.items():
        loss = LOSSES[name](options.get("epsilon"), options.get("quantile"))
        residual, other = np.linspace(-3.0, 3.0, 61)[:, None] + 0.013, np.linspace(-4.0, 4.0, 133)
        for width in (1e-9, 0.02, 0.2, 0.5):
            smoothed = loss.smoothed(width)
            value, slope = loss_and_slope(smoothed, residual)
            parabola = value + slope * (other - residual) + 0.5 * secant(smoothed, residual) * (other - residual) ** 2
            there = loss_and_slope(smoothed, other)[0]
            assert (there <= parabola + 1e-9).all()
            assert (loss_and_slope(loss, other)[0] <= there + 1e-12).all()
            assert (bend(smoothed, residual) <= secant(smoothed, residual) * (1 + 1e-12)).all()
            assert secant(smoothed, residual).max() <= smoothed.largest_curvature * (1 + 1e-12)
            h = 1e-6 * max(width, 1e-2)
            if width > 1e-3 and smoothed != loss:
                left, right = (np.array(loss_and_slope(smoothed, other + sign * h)) for sign in (-1, 1))
                expected = loss_and_slope(smoothed, other)[1], bend(smoothed, other)
                np.testing.assert_allclose((right - left) / (2 * h), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [300, 30_000])
@pytest.mark.parametrize("size", [1500, 10_000])
def test_a_target_on_a_sample_stands_for_all_rows(n, size):
    X, y = plain(n, 3)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, n)
    problem, _ = problem_of_fit(MiniBatchLinearRegressor(None, loss="huber"), rows_of(X, y, weight).with_mean_weight_1())
    target = Target(problem, 0)
    at = np.array([0.5, -1.0, 2.0, 0.1])
    sample = target.on_sample(size)
    whole, part = (t.objectives(at, t.loss)[0, 0] for t in (target, sample))
    assert whole == pytest.approx(part, rel=1e-12 if n <= size else 3.0 / np.sqrt(size))  # standard errors
    assert len(sample.rows) == min(n, size)


def test_directions_that_a_sample_does_not_have_are_not_jumped_along():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 3))
    X[:, 2] = 0.0
    X[[7, 20_001, 55_000], 2] = 1.0  # three rows, which a sample of 10,000 may well miss
    y = X[:, 0] + 5.0 * X[:, 2] + rng.standard_normal(60_000)
    for loss in ("quantile", "epsilon_insensitive"):
        model = MiniBatchLinearRegressor(None, loss=loss, **EVERY_LOSS[loss]).fit(X, y)
        assert model.loss_curve_.max() <= 1.01 * model.loss_curve_[0]
        assert model.n_iter_ <= 20


def test_a_parabola_touches_a_straight_loss_on_both_sides():
    np.testing.assert_allclose(secant(LOSSES["quantile"](None, 0.5), np.array([-2.0, 0.5])), [0.25, 1.0])
    np.testing.assert_allclose(secant(LOSSES["epsilon_insensitive"](1.0, None), np.array([3.0, 0.0])), [0.5 / 2 + 0.5 / 4, 1.0])
    np.testing.assert_allclose(secant(LOSSES["huber"](1.0, None), np.array([4.0, 0.5])), [0.5, 2.0])


@pytest.mark.parametrize("cost", [0.05, 1e-3])
def test_the_first_rounding_costs_what_it_may(cost, monkeypatch):
    monkeypatch.setattr(_reading, "START_SMOOTHING", cost)
    X, y = plain(4000, 3)
    at = np.array([0.5, -1.0, 2.0, 0.1])
    for loss, options in STRAIGHT.items():
        problem, _ = problem_of_fit(MiniBatchLinearRegressor(None, loss=loss, **options), rows_of(X, y))
        target = Target(problem, 0)
        (exact,), (smoothed,) = target.objectives(at, target.loss, target.smoothed_at(at))
        # The width is found by doubling, which makes four times the cost, about. Widths below huber's epsilon cost nothing.
        assert 0.2 * cost <= smoothed / exact - 1.0 <= cost or (loss == "huber" and cost < 0.01 and smoothed == exact)


@pytest.mark.parametrize("seed", range(8))
def test_a_search_over_signs_ends_at_lasso_however_correlated_the_columns_are(seed):
    rng = np.random.default_rng(seed)
    n_features = int(rng.integers(1, 12))
    X = rng.standard_normal((60, n_features)) + 10.0 ** rng.uniform(0, 3) * rng.standard_normal((60, 1))
    y = X @ rng.standard_normal(n_features) + rng.standard_normal(60)
    strength = 10.0 ** rng.uniform(-3, 1, n_features)
    gram, linear = X.T @ X / 60, X.T @ y / 60
    for start in (np.zeros(n_features), rng.standard_normal(n_features)):
        v = minimum_of(gram, linear, strength, np.full(n_features, -np.inf), start)
        gradient = gram @ v - linear  # Fermat's rule, which no other point meets
        rounding = 1e-7 * np.abs(linear).max()
        np.testing.assert_allclose(gradient[v != 0], -(strength * np.sign(v))[v != 0], rtol=1e-5, atol=rounding)
        assert (np.abs(gradient)[v == 0] <= strength[v == 0] + rounding).all()


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("make", [year_and_its_square, near_twins])
def test_an_l1_norm_is_met_on_columns_that_are_nearly_dependent(make, loss, batch_size):
    X, y = (part[:600] for part in make())
    y = y / y.std()
    model = MiniBatchLinearRegressor(batch_size, loss=loss, penalty="l1", alpha=1e-3, random_state=0, **EVERY_LOSS[loss])
    coarse = model.fit(X, y)
    precise = clone(model).set_params(batch_size=None, tol=1e-9).fit(X, y)
    constant = problem_of_fit(model, rows_of(X, y))[0].constant_loss[0]
    best = objective_of(precise, X, y)
    assert (objective_of(coarse, X, y) - best) / (constant - best) <= (1e-4 if batch_size is None else 1e-3)
    # And no direction leads down from the precise one.
    rng, coef, intercept = np.random.default_rng(0), precise.coef_, precise.intercept_
    for length in 10.0 ** rng.uniform(-4, 0, 200):
        direction = length * rng.standard_normal(X.shape[1]) / X.std(axis=0)
        precise.coef_, precise.intercept_ = coef + direction, intercept - direction @ X.mean(axis=0)
        assert objective_of(precise, X, y) >= best - 1e-7 * constant


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.3}, {"penalty": "l1", "alpha": 0.2}, {"penalty": "elasticnet", "alpha": 0.3}, {"positive": True}],
    ids=str,
)
def test_each_step_minimises_its_damped_model_and_knows_what_it_gains(options):
    X, y = plain(200, 4)
    problem, _ = problem_of_fit(MiniBatchLinearRegressor(32, loss="huber", epsilon=0.5, **options), rows_of(X + 2.0, y))
    rng, start, bound = np.random.default_rng(0), np.array([0.3, 0.0, 1.0, 0.1, 0.4]), problem.penalty.lowest
    for damping in (1e-3, 0.3, 1.0):
        way = CertifiedNewton.far(Target(problem, 0), start, 1e-5)
        way.read()
        step = way.model.step(damping)
        inverse = np.linalg.pinv(way.target.basis)

        def change(end, damped, way=way, model=way.model, inverse=inverse):
            moved = np.append(inverse @ (end - start)[:-1], (end - start)[-1])
            saved = penalty_at(problem.penalty, end[:-1]) - penalty_at(problem.penalty, start[:-1])
            return saved + model.gradient @ moved + 0.5 * moved @ (model.hessian + damped * model.extra) @ moved

        assert step.gain == pytest.approx(-change(step.end, 0.0), rel=1e-9)
        assert step.damped_gain == pytest.approx(-change(step.end, damping), rel=1e-9)
        assert (step.end[:-1] >= bound).all()
        for length in (1e-3, 0.1, 1.0):
            for direction in rng.standard_normal((20, 5)):
                other = step.end + length * direction
                other[:-1] = np.maximum(other[:-1], bound)
                assert change(other, damping) >= change(step.end, damping) - 1e-12


def test_a_fit_whose_minimum_lies_on_a_kink_of_most_rows_is_not_ended_early():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 4))
    y = np.where(rng.random(30_000) < 0.9, X @ [1.0, 2.0, 0.0, -1.0], rng.standard_cauchy(30_000))
    for loss, options in (("quantile", {}), ("quantile", {"quantile": 0.3}), ("epsilon_insensitive", {"epsilon": 0.0})):
        model = MiniBatchLinearRegressor(None, loss=loss, **options).fit(X, y)
        np.testing.assert_allclose(model.coef_, [1.0, 2.0, 0.0, -1.0], atol=1e-3)
        assert model.n_iter_ < 40


@pytest.mark.parametrize("nearness", [0.0, 1e-3, 1e-5, 1e-7])
def test_columns_that_are_nearly_dependent_are_in_doubt_and_redundant_ones_are_not(nearness):
    rng = np.random.default_rng(0)
    levels = np.eye(4)[rng.integers(0, 4, 3000)]  # with the intercept, one of them is redundant
    z = rng.standard_normal((3000, 2))
    X = np.hstack([levels, z, z[:, :1] + nearness * rng.standard_normal((3000, 1))])
    problem, _ = problem_of_fit(MiniBatchLinearRegressor(None), rows_of(X, z[:, 1]))
    assert problem.geometries[0].is_doubtful == (0.0 < nearness < 1e-4)


@pytest.mark.parametrize("way", ["fit", "chunks"])
@pytest.mark.parametrize("seed", range(6))
def test_a_row_that_outweighs_all_others_does_not_hide_them(seed, way):
    rng = np.random.default_rng(seed)
    X, weight = rng.standard_normal((1000, 5)), np.ones(1000)
    y, weight[3] = X @ rng.standard_normal(5) + rng.standard_normal(1000), 1e6
    options = {"loss": "squared_epsilon_insensitive", "epsilon": 0.5, "random_state": 0}
    best, constant = (
        weighted_objective(
            MiniBatchLinearRegressor(None, **options | {"tol": 1e-10}).fit(columns, y, weight), columns, y, weight
        )
        for columns in (X, 0.0 * X)
    )
    for batch_size in (32, None):
        model = MiniBatchLinearRegressor(batch_size, **options)
        if way == "fit":
            model.fit(X, y, weight)
        else:
            model.fit_chunks([(X[i : i + 200], y[i : i + 200], weight[i : i + 200]) for i in range(0, 1000, 200)])
        assert weighted_objective(model, X, y, weight) - best <= 1e-3 * (constant - best)


def weighted_objective(model, X, y, weight):
    return np.average(loss_and_slope(LOSSES[model.loss](model.epsilon, None), model.predict(X) - y)[0], weights=weight)


def test_few_rows_of_many_columns_are_fitted_within_tol():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((6, 15)), 2.0 * rng.standard_normal(6)
        model = MiniBatchLinearRegressor(None, loss="squared_epsilon_insensitive", epsilon=0.5, alpha=0.05).fit(X, y)
        best = lowest_objective(model, X, y)
        constant = objective_of(clone(model).fit(0.0 * X, y), 0.0 * X, y)
        # The promise is never finer than a quarter of the columns over the rows, which is noise; here it is kept far below.
        assert objective_of(model, X, y) - best <= 5e-4 * (constant - best)


def test_columns_that_are_redundant_to_the_last_bit_are_as_good_as_one():
    X = np.random.default_rng(0).integers(0, 2, (400, 1)).astype(float)
    y = X[:, 0] + np.random.default_rng(1).standard_normal(400)
    for loss in EVERY_LOSS:
        model = MiniBatchLinearRegressor(None, loss=loss, penalty="l1", alpha=1e-3, tol=1e-9, **EVERY_LOSS[loss])
        twice = model.fit(np.hstack([X, X, 1.0 - X]), y)
        once = clone(model).fit(X, y)
        assert objective_of(twice, np.hstack([X, X, 1.0 - X]), y) <= objective_of(once, X, y) * (1.0 + 1e-6)


@pytest.mark.parametrize("penalty", [{}, {"penalty": "l1", "alpha": 1e-3}])
@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize(
    ("loss", "options"),
    [("quantile", {"quantile": 0.5}), ("quantile", {"quantile": 0.3}), ("epsilon_insensitive", {"epsilon": 0.3})],
)
def test_targets_of_two_values_are_not_taken_for_fitted_where_the_constant_meets_most(loss, options, batch_size, penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1200, 4)) * [1.0, 10.0, 1.0, 1e6]
    y = (X[:, 0] + 0.1 * X[:, 1] + 0.3 * rng.standard_normal(1200) > 0.3).astype(float)
    y = 3.0 + y / y.std()  # the best constant is the target of most rows, but perhaps for rounding
    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0, **options, **penalty).fit(X, y)
    precise = clone(model).set_params(batch_size=None, tol=1e-9).fit(X, y)
    constant = objective_of(clone(model).fit(0.0 * X, y), 0.0 * X, y)
    best = min(objective_of(precise, X, y), objective_of(model, X, y))
    assert constant - best > 0.1 * constant
    assert objective_of(model, X, y) - best <= (1e-3 if batch_size else 1e-4) * (constant - best)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_a_narrowed_rounding_is_tried_before_readings_end(fit_intercept, positive):
    rng = np.random.default_rng(0)
    at = np.linspace(0, 1, 400)
    X = np.exp(-0.5 * ((at[:, None] - np.linspace(0.1, 0.9, 12)) / 0.09) ** 2)
    y = X[:, 2] + 0.4 * X[:, 5] + 0.7 * X[:, 9] + 0.05 * rng.standard_normal(400)
    y[rng.integers(0, 400, 12)] += 1.5
    model = MiniBatchLinearRegressor(
        None, loss="huber", epsilon=0.1, fit_intercept=fit_intercept, positive=positive, tol=1e-6
    ).fit(X, y)  # without a warning

    def objective(w):
        residual = np.abs(X @ w[:12] + fit_intercept * w[12] - y)
        return np.mean(np.where(residual <= 0.1, residual**2, 0.2 * residual - 0.01))

    bounds = [(0 if positive else None, None)] * 12 + [(None, None)]
    start = np.append(model.coef_, model.intercept_)
    exact = minimize(
        objective, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10, "maxfun": 10**6}
    )
    assert objective(start) - exact.fun <= 1e-5 * (objective(np.zeros(13)) - exact.fun)


class Counted:
    """Chunks that count how often they are read."""

    def __init__(self, chunks):
        self.chunks, self.n_readings = chunks, 0

    def __iter__(self):
        self.n_readings += 1
        return iter(self.chunks)


# How often all rows are read: by the full batch, then by mini-batches, without penalty, with l2, l1, and coefficients >= 0.
READINGS = {
    "squared_error": ([1, 1, 1, 1], [12, 12, 19, 18]),
    "huber": ([14, 14, 14, 16], [43, 44, 44, 53]),
    "epsilon_insensitive": ([14, 14, 14, 15], [41, 44, 47, 52]),
    "squared_epsilon_insensitive": ([6, 6, 6, 6], [16, 16, 19, 20]),
    "quantile": ([22, 19, 24, 17], [55, 55, 57, 52]),
}


@pytest.mark.parametrize("loss", READINGS)
def test_a_fit_reads_the_rows_as_often_as_it_did(loss):
    """So that a change of what a fit costs is seen. A third more is what machines round differently, and small changes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 8)) + 2.0 * rng.standard_normal((2000, 1))
    X[:, 0] = np.exp(X[:, 0])
    y = X[:, :3] @ [1.0, -2.0, 3.0] + rng.standard_t(3, 2000)
    penalties = {}, {"alpha": 0.01}, {"penalty": "l1", "alpha": 0.01}, {"positive": True}
    for batch_size, before in zip((None, 32), READINGS[loss], strict=True):
        for options, n_before in zip(penalties, before, strict=True):
            chunks = Counted([(X[start : start + 500], y[start : start + 500]) for start in range(0, 2000, 500)])
            model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0, **EVERY_LOSS[loss], **options)
            model.fit_chunks(chunks)
            assert chunks.n_readings <= 1.34 * n_before, (batch_size, options)


@pytest.mark.parametrize("factor", [3.0, -1.0, 0.0])
def test_a_step_of_least_squares_is_as_long_as_it_should_be_whatever_its_direction(factor):
    X, y = plain(200, 3)
    problem, _ = problem_of_fit(MiniBatchLinearRegressor(None), rows_of(X, y))
    start, target = np.append(np.zeros(3), y.mean()), Target(problem, 0)
    solver = _least_squares.ConjugateGradients([target], start[None], 1e-4)
    solver.direction = factor * solver.direction  # 3: beyond twice the way to the minimum
    (before,) = solver.step()
    ((found,),) = target.objectives(solver.best[0], target.loss)
    np.testing.assert_allclose(solver.value, found, rtol=1e-12)
    if factor == 0.0:
        assert found == pytest.approx(before, rel=1e-12)
        assert solver.excess() > 0.1
    else:
        assert solver.excess() <= 1e-12


def test_beside_an_extreme_quantile_a_vertex_is_tried_before_steps_take_long():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 40))
    y = X @ rng.standard_normal(40) / 10 + rng.standard_normal(4000)
    model = MiniBatchLinearRegressor(None, loss="quantile", quantile=0.99).fit(X, y)
    assert model.n_iter_ <= 20  # 50 if steps go on until they gain little
    exact = QuantileRegressor(quantile=0.99, alpha=0.0, solver="highs").fit(X, y)
    value, least = (mean_pinball_loss(y, m.predict(X), alpha=0.99) for m in (model, exact))
    assert value <= least * (1.0 + 1e-9)
    # A fit that pauses before the vertex is tried goes on as one that does not.
    paused = MiniBatchLinearRegressor(None, loss="quantile", quantile=0.99, max_iter=12, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        paused.fit(X, y)
    paused.set_params(max_iter=1000).fit(X, y)
    np.testing.assert_allclose(paused.coef_, model.coef_, rtol=1e-6, atol=1e-9)
    assert paused.n_iter_ == model.n_iter_ - 12


@pytest.mark.parametrize("options", [{"penalty": "l1", "alpha": 0.3}, {"penalty": "l1", "alpha": 0.02}, {"positive": True}])
@pytest.mark.parametrize(("n_rows", "batch_size"), [(1000, None), (1000, 32), (60, None)])
def test_zeros_among_many_columns_take_few_systems_of_equations(n_rows, options, batch_size, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 300))
    y = X[:, :20] @ rng.standard_normal(20) + rng.standard_normal(n_rows)
    sizes, solve = [], _quadratic.solve
    monkeypatch.setattr(_quadratic, "solve", lambda gram, linear: sizes.append(len(gram)) or solve(gram, linear))
    MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(X, y)
    # With many rows, one system for each coefficient that becomes zero or is freed would be 70 to 300. With few, the others are
    # nearly singular if they are larger than the rows are many.
    assert len(sizes) <= 20 if n_rows == 1000 else max(sizes) <= 3 * n_rows


def test_an_l1_norm_over_uncorrelated_columns_takes_one_system_of_equations(monkeypatch):
    """Their minimum is soft-thresholded least squares, where the active set begins."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 20))
    X = np.linalg.qr(X - X.mean(axis=0))[0] * np.geomspace(1e-3, 1e3, 20)
    y = X @ (rng.standard_normal(20) / X.std(axis=0)) + rng.standard_normal(500)
    sizes, solve = [], _quadratic.solve
    monkeypatch.setattr(_quadratic, "solve", lambda gram, linear: sizes.append(len(gram)) or solve(gram, linear))
    model = MiniBatchLinearRegressor(None, penalty="l1", alpha=1e-3).fit(X, y)
    assert sizes == [np.count_nonzero(model.coef_)]  # from zero, as many as doubling takes to free them
    assert 0 < np.count_nonzero(model.coef_) < 20


def test_newton_with_an_l1_norm_solves_for_few_coefficients_wherever_mini_batches_have_ended(monkeypatch):
    sizes, solve = [], _quadratic.solve

    def noted(gram, linear):
        sizes.append(len(linear))
        return solve(gram, linear)

    monkeypatch.setattr(_quadratic, "solve", noted)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 150))
    y = X[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(30)
    MiniBatchLinearRegressor(8, loss="quantile", penalty="l1", alpha=0.02, random_state=0).fit(X, y)
    assert max(sizes) <= 60  # a minimum has no more coefficients than rows; all 150 have one after the descent
