"""Streams whose parameters change on the way, and streams that go on from a fit."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_pinball_loss

from skgd import MiniBatchLinearRegressor
from tests.test_streams import EVERY_LOSS, OTHERS, excess, streamed, table

LOST = "does not say where their minimum is"


@pytest.fixture(autouse=True)
def nothing_is_said_that_is_not_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def shifting(n=1000, d=3, seed=0):
    """Rows of which the last tenth follow another line."""
    rng = np.random.default_rng(seed)
    X, last = rng.standard_normal((n, d)), n - n // 10
    y = np.append(X[:last] @ np.arange(1.0, d + 1), X[last:] @ np.arange(d, 0.0, -1)) + rng.standard_normal(n)
    return X, y, last


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("way", ["fit", "fit_chunks"])
@pytest.mark.parametrize("unit", [1e3, 1e-3])
def test_a_row_counts_the_same_in_a_fit_and_in_a_stream_that_goes_on_from_it(unit, way, batch_size):
    X, y, last = shifting()
    weight = unit * np.random.default_rng(1).uniform(0.5, 1.5, len(y))
    model, first = MiniBatchLinearRegressor(batch_size, random_state=0), (X[:last], y[:last], weight[:last])
    model = model.fit(*first) if way == "fit" else model.fit_chunks([first])
    model.partial_fit(X[last:], y[last:], weight[last:])
    # A default fit ends within a thousandth of the explained variance, of which products of columns and targets are made.
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y, weight).coef_, rtol=1e-2)


@pytest.mark.parametrize("change", [{"alpha": 10.0}, {"penalty": "l1", "alpha": 100.0}, {"fit_intercept": False}], ids=str)
def test_a_change_of_what_is_minimised_shows_at_the_next_row(change):
    X, y = table(2000, 3)
    model = streamed(MiniBatchLinearRegressor(random_state=0), X, y, 500).set_params(**change)
    model.partial_fit(X[:1], y[:1])
    again = MiniBatchLinearRegressor(None, tol=1e-8, **change).fit(np.vstack([X, X[:1]]), np.append(y, y[0]))
    # The penalty's minimum is found to 1e-6 of the loss.
    np.testing.assert_allclose(model.predict(X), again.predict(X), atol=1e-2 * y.std())


def test_a_change_of_alpha_is_the_ridge_of_all_rows():
    X, y = table(2000, 3)
    model = streamed(MiniBatchLinearRegressor(random_state=0), X, y, 500).set_params(alpha=2.0)
    model.partial_fit(X[:1], y[:1])
    ridge = Ridge(alpha=2001.0).fit(np.vstack([X, X[:1]]), np.append(y, y[0]))
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=1e-8)


def test_a_change_of_the_quantile_shows_at_the_next_row_while_all_rows_are_kept():
    X, y = table(1500, 3)
    model = streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X, y, 500).set_params(quantile=0.9)
    model.partial_fit(X[:1], y[:1])
    assert excess(model, np.vstack([X, X[:1]]), np.append(y, y[0])) <= 1e-3


FITS = {
    "another loss": ({}, {"loss": "quantile", "quantile": 0.9}),
    "another loss of many rows": ({"loss": "huber", "epsilon": 0.5}, {"loss": "epsilon_insensitive"}),
    "early stopping": ({"loss": "huber", "early_stopping": True}, {"early_stopping": False}),
    "a weaker penalty of a quantile": ({"loss": "quantile", "alpha": 0.002}, {"alpha": 0.0}),
    "no intercept of huber": ({"loss": "huber", "fit_intercept": False}, {"fit_intercept": True}),
    "epochs": ({"loss": "huber", "tol": None, "max_iter": 5}, {}),
}


@pytest.mark.parametrize("case", FITS)
def test_a_stream_says_if_a_fit_does_not_tell_it_the_minimum(case):
    before, change = FITS[case]
    X, y = table(10_300, 3)  # of more than ten thousand rows none is kept
    model = MiniBatchLinearRegressor(random_state=0, **before).fit(X[:10_100], y[:10_100]).set_params(**change)
    with pytest.warns(ConvergenceWarning, match=LOST):
        model.partial_fit(X[10_100:10_200], y[10_100:10_200])
    model.partial_fit(X[10_200:], y[10_200:])  # once is enough


@pytest.mark.parametrize("change", [{"fit_intercept": False}, {"alpha": 1.0}, {"penalty": None, "alpha": 0.0}], ids=str)
def test_least_squares_are_exact_after_any_change_that_follows_a_fit(change):
    X, y = table(10_300, 3)
    model = MiniBatchLinearRegressor(random_state=0, alpha=0.1).fit(X[:10_100], y[:10_100]).set_params(**change)
    model.partial_fit(X[10_100:], y[10_100:])
    exact = Ridge(alpha=len(X) * model.alpha / 2, fit_intercept=model.fit_intercept).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-8)


@pytest.mark.parametrize("loss", OTHERS)
def test_shuffled_rows_are_not_told_to_change_however_many_come_after_few(loss):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((10_400, 3))
        y = X.sum(axis=1) + 3.0 + rng.standard_normal(len(X))
        model = MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]).fit(X[:400], y[:400])
        model.partial_fit(X[400:], y[400:])


def test_sorted_rows_are_told_to_change_after_a_fit_of_few():
    X, y = table(20_400, 3)  # more than are kept
    order = np.argsort(y[400:]) + 400
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0).fit(X[:400], y[:400])
    with pytest.warns(ConvergenceWarning, match="change as they come"):
        streamed(model, X[order], y[order], 500)


@pytest.mark.parametrize("batch_size", [32, None])
def test_a_heavy_row_of_a_fit_does_not_make_long_rows_usual(batch_size):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((500, 4)), np.where(np.arange(500) == 7, 200.0, 1.0)
    y = X @ [1.0, -1.0, 2.0, 0.0] + rng.standard_normal(500)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y, weight)
    mean, deviation = np.average(X, axis=0, weights=weight), np.sqrt(np.cov(X.T, aweights=weight, ddof=0).diagonal())
    longest = np.max(np.sum(((X - mean) / deviation) ** 2, axis=1))
    X[300] = mean + deviation * np.sqrt(5.0 * longest)  # of 20 times this length squared; ten times would still be usual
    with pytest.warns(UserWarning, match="unlike all before"):
        model.partial_fit(X[250:350], y[250:350])


@pytest.mark.parametrize("way", ["fit", "fit_chunks"])
def test_long_rows_are_usual_after_a_full_batch_that_has_met_such(way):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.lognormal(size=(6000, 1))
        y = np.sqrt(X[:, 0]) + 0.1 * rng.standard_normal(6000)
        model, first = MiniBatchLinearRegressor(None), (X[:3000], y[:3000])
        model = model.fit(*first) if way == "fit" else model.fit_chunks([first])
        streamed(model, X[3000:], y[3000:], 500)
        np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-9)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_stream_that_was_averaged_says_that_it_does_not_know_the_minimum(loss):
    X, y = table(2100, 3)
    model = streamed(MiniBatchLinearRegressor(average=True, random_state=0, **EVERY_LOSS[loss]), X[:2000], y[:2000], 500)
    model.set_params(average="auto")
    if loss != "squared_error":  # of which moments are kept
        with pytest.warns(ConvergenceWarning, match=LOST):
            model.partial_fit(X[2000:], y[2000:])
        return
    model.partial_fit(X[2000:], y[2000:])
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-8)


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_rows_that_a_plain_schedule_has_learned_are_not_passed_over_in_silence(loss, first):
    X, y, last = shifting()
    model = MiniBatchLinearRegressor(learning_rate="constant", random_state=0, **EVERY_LOSS[loss])
    getattr(model, first)(X[:last], y[:last])
    model.set_params(learning_rate="auto")
    with pytest.warns(ConvergenceWarning, match="learning_rate has changed in the middle of a stream"):
        model.partial_fit(X[last:], y[last:])
    model.partial_fit(X[last:], y[last:])
    auto = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss]).partial_fit(X[:last], y[:last])
    auto.set_params(learning_rate="constant")
    with pytest.warns(
        ConvergenceWarning, match="learning_rate has changed in the middle of a stream, from 'auto' to 'constant'"
    ):
        auto.partial_fit(X[last:], y[last:])


@pytest.mark.parametrize("n_fitted", [2, 5, 10])
@pytest.mark.parametrize("loss", OTHERS)
def test_a_fit_of_few_rows_does_not_ruin_a_stream_that_goes_on_from_it(loss, n_fitted):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((205, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(205) + 5.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a plateau of two rows
        model = MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]).fit(X[:n_fitted], y[:n_fitted])
    model.partial_fit(X[n_fitted:45], y[n_fitted:45])
    assert excess(model, X[:45], y[:45]) <= 1e-3
    model.partial_fit(X[45:], y[45:])
    assert excess(model, X, y) <= 1e-3


@pytest.mark.parametrize(("quantile", "n"), [(0.99, 30), (0.001, 30), (0.999, 60), (0.999, 300)])
def test_a_first_chunk_of_an_extreme_quantile_ends_where_a_fit_does(quantile, n):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, 3))
        y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(n)
        model = MiniBatchLinearRegressor(loss="quantile", quantile=quantile, random_state=0).partial_fit(X, y)
        assert excess(model, X, y) <= 1e-3


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_a_stream_of_which_few_rows_lie_beyond_epsilon_keeps_more_rows(loss):
    rng = np.random.default_rng(0)
    X, noise = rng.standard_normal((4000, 40)), rng.standard_normal(4000)
    y = X @ rng.standard_normal(40) / 40**0.5 + noise
    model = MiniBatchLinearRegressor(loss=loss, epsilon=float(np.quantile(np.abs(noise), 0.99)), random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "epsilon=.* is larger than the deviation")
        streamed(model, X, y, 100)
    assert excess(model, X, y) <= 1e-3


@pytest.mark.parametrize("n_fitted", [60, 150, 1000])
@pytest.mark.parametrize("loss", ["median", "huber of small epsilon", "counts"])
def test_a_stream_after_a_fit_ends_where_the_same_rows_end_without_one(loss, n_fitted):
    rng = np.random.default_rng(0)
    X, options = rng.standard_normal((3000, 3)), {"loss": "quantile"}
    y = X @ [1.0, 2.0, 3.0] + rng.standard_t(3, 3000)
    if loss == "huber of small epsilon":
        options = {"loss": "huber", "epsilon": 1e-3}
    elif loss == "counts":  # y has atoms, on which the minimum of few rows lies as well
        X = rng.integers(0, 2, (3000, 3)).astype(float)
        y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.8])).astype(float)
    model = MiniBatchLinearRegressor(random_state=0, **options).fit(X[:n_fitted], y[:n_fitted])
    streamed(model, X[n_fitted:], y[n_fitted:], 500)
    assert excess(model, X, y) <= 1e-4


def atoms(name, n=14_000):
    """Rows of which many have the same target, and lie on the kink of the loss at the minimum."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5))
    if name == "two values":
        return {"loss": "quantile"}, X, (rng.random(n) < 0.3).astype(float)
    if name == "counts beside epsilon":
        return {"loss": "epsilon_insensitive", "epsilon": 0.3}, X, rng.poisson(np.exp(0.5 * X[:, 0] - 1.0)).astype(float)
    X = rng.integers(0, 3, (n, 2)).astype(float)
    return {"loss": "quantile", "quantile": 0.9}, X, X @ [1.0, 2.0] + rng.integers(0, 2, n)


@pytest.mark.parametrize("n_fitted", [0, 11_000])
@pytest.mark.parametrize("name", ["two values", "counts beside epsilon", "a coin beside a quantile"])
def test_shuffled_rows_on_a_kink_are_not_told_to_change_and_end_near_the_minimum(name, n_fitted):
    options, X, y = atoms(name)
    model = MiniBatchLinearRegressor(random_state=0, **options)
    model = model.fit(X[:n_fitted], y[:n_fitted]) if n_fitted else model
    streamed(model, X[n_fitted:], y[n_fitted:], 200)
    close = MiniBatchLinearRegressor(None, tol=1e-6, **options).fit(X, y)
    # Smoothed kinks shift a minimum on an atom by about their width, here a hundredth of the residuals' size.
    assert np.mean(np.abs(model.predict(X) - close.predict(X))) <= 0.02 * y.std()


@pytest.mark.parametrize("weight", [0.01, 1.0, 10.0, "lognormal"])
def test_rows_are_told_to_change_whatever_they_weigh_and_only_if_they_do(weight, monkeypatch):
    monkeypatch.setattr("skgd._renewable.BLOCK", 2**14)  # uneven weights have more of the first rows kept
    X, y = table(20_000, 5)
    weights = np.random.default_rng(1).lognormal(0.0, 1.5, len(y)) if weight == "lognormal" else np.full(len(y), weight)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    streamed(model, X, y, 500, weights)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    with pytest.warns(ConvergenceWarning, match="change as they come"):
        streamed(model, X, y + 20.0 * y.std() * (np.arange(len(y)) > len(y) // 2), 500, weights)


def test_a_change_is_told_of_although_a_few_rows_before_weighed_a_thousand_times_as_much(monkeypatch):
    monkeypatch.setattr("skgd._renewable.BLOCK", 2**14)  # uneven weights have more of the first rows kept
    X, y = table(40_000, 3)
    y += 8.0 * y.std() * (np.arange(len(y)) >= 18_000)
    weight = np.where((np.arange(len(y)) < 18_000) & (np.arange(len(y)) % 1000 == 0), 1000.0, 1.0)
    uneven = pytest.warns(ConvergenceWarning, match="With weights as uneven as these")
    with uneven, pytest.warns(ConvergenceWarning, match="change as they come"):
        streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X, y, 2000, weight)


def test_a_change_is_told_of_in_the_chunk_that_brings_it():
    X, y = table(40_400, 3)
    model = streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X[:40_000], y[:40_000], 400)
    with pytest.warns(ConvergenceWarning, match="change as they come"):
        model.partial_fit(X[40_000:], y[40_000:] + y.std())


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_half_life_beyond_all_rows_is_none_and_one_below_a_row_keeps_the_last(loss):
    X, y = table(300, 2)
    y = y / y.std() * 3.0  # so that epsilon is small beside its spread
    never = streamed(MiniBatchLinearRegressor(alpha=1.0, random_state=0, **EVERY_LOSS[loss]), X, y, 100)
    for half_life in (1e12, 1e16, 1e300, np.finfo(float).max):
        model = MiniBatchLinearRegressor(alpha=1.0, half_life=half_life, random_state=0, **EVERY_LOSS[loss])
        # The minimum of other losses than the squared error is found to 1e-5 of the loss or less.
        np.testing.assert_allclose(streamed(model, X, y, 100).coef_, never.coef_, rtol=1e-2, atol=1e-9)
    warnings.filterwarnings("ignore", "epsilon=")  # is larger than the spread of what is remembered
    for half_life in (0.1, 1e-3, 1e-300):
        with pytest.warns(ConvergenceWarning, match="forgets rows before there are"):
            model = MiniBatchLinearRegressor(half_life=half_life, random_state=0, **EVERY_LOSS[loss]).partial_fit(X, y)
        assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("quantile", [0.999, 0.99, 0.01])
def test_shuffled_rows_of_an_extreme_quantile_are_not_told_to_change_after_a_fit_of_many(quantile):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((12_100, 3))
        y = X.sum(axis=1) + rng.standard_normal(12_100)
        model = MiniBatchLinearRegressor(loss="quantile", quantile=quantile, random_state=0).fit(X[:10_100], y[:10_100])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "With quantile=0.999, about 20 of the rows that a stream has kept decide")
            streamed(model, X[10_100:], y[10_100:], 100)


def test_many_rows_that_come_at_once_after_few_are_not_told_to_change():
    for seed in range(2):  # the minimum over the first rows has an error that is nine times that of the mean over the others
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((41_100, 100))
        y = X.sum(axis=1) + rng.standard_normal(len(X))
        model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
        model.partial_fit(X[:1100], y[:1100]).partial_fit(X[1100:], y[1100:])


def test_a_quantile_that_many_targets_lie_on_is_hardly_above_the_best_constant():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((9000, 30))
    y = (rng.random(9000) < 0.3) * rng.poisson(3.0, 9000).astype(float)  # X says nothing, and the 0.1 quantile is 0
    model = streamed(MiniBatchLinearRegressor(loss="quantile", quantile=0.1, random_state=0), X, y, 200)
    residual = model.predict(X) - y
    # The first rows are left behind at their exact minimum; smoothed, it would be 3 % above.
    assert np.mean(np.where(residual < 0.0, -0.1, 0.9) * residual) <= 1.003 * 0.1 * y.mean()


@pytest.mark.parametrize("size", [10, 300])
def test_a_penalty_beside_a_half_life_is_that_of_the_rows_as_they_are_remembered(size):
    X, y = table(900, 3)
    model = streamed(MiniBatchLinearRegressor(half_life=100, alpha=2.0, random_state=0), X, y, size)
    remembered = 0.5 ** (np.arange(900)[::-1] / 100)
    ridge = Ridge(alpha=remembered.sum()).fit(X, y, remembered)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=1e-9)


@pytest.mark.parametrize("seed", [2, 4])
def test_a_few_rows_after_a_fit_of_many_hardly_move_an_extreme_quantile(seed):
    """So few rows lie near the 0.999 quantile that the Hessian is reliable only if kinks are smoothed widely."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12_100, 8))
    y = X @ rng.standard_normal(8) + rng.standard_t(4, len(X))
    model = MiniBatchLinearRegressor(loss="quantile", quantile=0.999, random_state=0).fit(X[:12_000], y[:12_000])
    before = mean_pinball_loss(y, model.predict(X), alpha=0.999)
    with pytest.warns(ConvergenceWarning, match="choose a quantile nearer to 0.5"):
        model.partial_fit(X[12_000:], y[12_000:])
    assert mean_pinball_loss(y, model.predict(X), alpha=0.999) <= 1.01 * before


@pytest.mark.parametrize("seed", [1, 2])
def test_a_high_quantile_is_learned_as_the_low_one_of_the_negative_targets(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((10_000, 3))
    y = X @ [0.3, 0.2, 0.1] + rng.standard_t(3, len(X))
    high, low = (MiniBatchLinearRegressor(loss="quantile", quantile=q, random_state=0) for q in (0.9999, 0.0001))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streamed(high, X, y, 500)
        streamed(low, X, -y, 500)
    np.testing.assert_allclose(high.predict(X), -low.predict(X), rtol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_an_outlier_among_few_first_rows_a_column_does_not_flatten_what_is_kept_of_them(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((1800, 90))
    y = X @ rng.standard_normal(90) + rng.standard_normal(1800)
    y[5] = 1e6
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the outlier
        streamed(model, X, y, 91)
    best = MiniBatchLinearRegressor(None, loss="quantile", tol=1e-7).fit(X, y)
    others = np.arange(1800) != 5
    at = [np.mean(np.abs(each.predict(X) - y)[others]) for each in (model, best)]
    assert at[0] <= 1.01 * at[1]


def test_skewed_residuals_that_come_shuffled_are_not_told_to_change():
    """A block without one of the rare large rows has a one-sided sum, and little scatter of its own."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((55_000, 1))
        y = X[:, 0] + np.exp(3.0 * rng.standard_normal(55_000))
        model = MiniBatchLinearRegressor(loss="squared_epsilon_insensitive", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X[:40_000], y[:40_000])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unlike all before")
            streamed(model, X[40_000:], y[40_000:], 100)


def test_far_outliers_of_a_seventh_of_the_rows_do_not_lengthen_the_steps_of_a_stream():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 510))  # more columns than a minimum is sought for
    signal = X[:, :10].sum(axis=1) / 3.0
    y = signal + rng.standard_normal(3000) * np.where(rng.random(3000) < 0.15, 1000.0, 1.0)
    with pytest.warns(ConvergenceWarning, match="more than 500 columns"):
        model = streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X, y, 500)
    assert np.mean(np.abs(model.predict(X) - signal)) < 0.7  # 0.5 by chance; with steps for the outliers' size it is 8


@pytest.mark.parametrize("share", [0.15, 0.25])
def test_far_outliers_among_the_residuals_do_not_widen_the_kinks_of_a_stream(share):
    """A median takes no note of how far outliers lie; ordinary residuals are no atom beside them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 8))
    signal = X @ rng.standard_normal(8)
    y = signal + rng.standard_normal(20_000) * np.where(rng.random(20_000) < share, 1e4, 0.3)
    model = streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X, y, 500)
    close = MiniBatchLinearRegressor(None, loss="quantile", tol=1e-7).fit(X, y)
    # The minimum lies within 0.005 of the signal, by chance; kinks as wide as outliers lie far move it by 0.1 and more.
    assert np.mean(np.abs(model.predict(X) - close.predict(X))) <= 0.02


@pytest.mark.parametrize("first", ["partial_fit", "fit"])
def test_a_stream_says_if_fewer_of_its_kept_rows_decide_than_twenty_for_each_parameter(first):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 30))
    y = X @ rng.standard_normal(30) + rng.standard_normal(9000)
    for quantile, says in (0.95, nullcontext()), (0.999, pytest.warns(ConvergenceWarning, match="decide where the minimum")):
        model = MiniBatchLinearRegressor(loss="quantile", quantile=quantile, random_state=0)
        with says:
            getattr(model, first)(X[:8900], y[:8900])  # more than it keeps
            streamed(model, X[8900:], y[8900:], 50)


def test_a_quantile_so_extreme_that_few_rows_decide_is_told_of_after_a_fit_too():
    rng = np.random.default_rng(0)  # the objective may end 1 % above its minimum
    X = rng.standard_normal((15_100, 60))
    y = X[:, :5].sum(axis=1) + 3.0 * rng.standard_t(3, len(X))
    model = MiniBatchLinearRegressor(None, loss="quantile", quantile=0.99).fit(X[:15_000], y[:15_000])
    with pytest.warns(ConvergenceWarning, match="choose a quantile nearer to 0.5"):
        model.partial_fit(X[15_000:], y[15_000:])


def test_an_epsilon_so_wide_that_few_rows_lie_beyond_it_is_told_of():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 30))
    y = X @ rng.standard_normal(30) + rng.standard_normal(9000)
    model = MiniBatchLinearRegressor(loss="epsilon_insensitive", epsilon=3.3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="lower epsilon"):
        model.fit(X, y).partial_fit(X[:50], y[:50])


def test_rows_that_are_kept_themselves_are_enough_after_a_half_life_has_left_little_of_a_fit():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40_000, 5))
    y = X.sum(axis=1) + rng.standard_normal(40_000)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0).fit(X[:20_000], y[:20_000])
    streamed(model.set_params(half_life=1000.0), X[20_000:], y[20_000:], 500)


@pytest.mark.parametrize("seed", [2, 3])
def test_rare_columns_beside_an_extreme_quantile_are_not_told_to_change_after_a_fit(seed):
    """Of such a column, all rows of a block may lie on the common side by chance, where slopes hardly scatter."""
    rng = np.random.default_rng(seed)
    X = (rng.random((40_000, 20)) < 0.05).astype(float)
    y = X @ rng.standard_normal(20) + rng.standard_normal(40_000)
    model = MiniBatchLinearRegressor(loss="quantile", quantile=0.98, random_state=0).fit(X[:20_000], y[:20_000])
    streamed(model, X[20_000:], y[20_000:], 500)


def test_rows_on_a_kink_are_on_no_side_of_a_column_below_zero():
    """Where a column is negative, the largest slope of the loss gives the lowest slope of the coefficient."""
    rng = np.random.default_rng(0)
    X = -1.0 - rng.random((50_000, 1))  # more rows than are kept
    y = X[:, 0] + rng.standard_normal(50_000) * (rng.random(50_000) < 0.4)
    streamed(MiniBatchLinearRegressor(loss="quantile", fit_intercept=False, random_state=0), X, y, 1000)


def test_a_half_life_too_long_for_rows_to_be_kept_is_told_of_once_it_matters():
    X, y = table(3000, 4)
    model = MiniBatchLinearRegressor(loss="quantile", half_life=2.0**18 / (7 * 5) + 1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X, y)  # nothing has faded by half yet
        clone(model).set_params(half_life=2500.0).partial_fit(X, y)
        model.partial_fit(X, y)
        with pytest.raises(UserWarning, match=r"too long for loss='quantile' and 4 columns.*Use at most 7490"):
            model.partial_fit(X, y)


@pytest.mark.parametrize("loss", ["median", "epsilon"])
def test_weights_so_uneven_that_few_rows_decide_are_told_of(loss):
    X, y = table(60_000, 5)
    weight = np.tile(np.random.default_rng(0).pareto(0.8, 20_000) + 0.01, 3)
    model = MiniBatchLinearRegressor(random_state=0, **OTHERS[loss])
    with pytest.warns(ConvergenceWarning, match=r"With weights as uneven as these, about .* limit the largest weights"):
        streamed(model, X, y, 10_000, weight)


@pytest.mark.parametrize("options", [{"alpha": 0.01}, {"alpha": 0.05}, {"penalty": "l1", "alpha": 0.0005}, {}], ids=str)
@pytest.mark.parametrize(
    "loss", [{"loss": "quantile"}, {"loss": "huber", "epsilon": 1.0}, {"loss": "squared_epsilon_insensitive"}], ids=str
)
def test_blocks_without_a_row_of_a_rare_category_are_not_told_to_change_after_a_penalised_fit(loss, options):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.standard_normal((12_500, 3)), rng.random(12_500) < 0.002])
        y = X @ [1.0, 2.0, 3.0, 4.0] + rng.standard_normal(12_500)
        model = MiniBatchLinearRegressor(None, **loss, **options).fit(X[:12_000], y[:12_000])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for start in range(12_000, 12_500, 100):
                model.partial_fit(X[start : start + 100], y[start : start + 100])


def test_parameters_without_effect_are_told_of_when_they_are_new_to_a_stream():
    X, y = table(300, 3)
    model = MiniBatchLinearRegressor(epsilon=1.0, early_stopping=True, random_state=0)
    with pytest.warns(UserWarning, match=r"epsilon has no effect|early_stopping=True has no effect") as caught:
        model.partial_fit(X[:100], y[:100])
    assert len(caught) == 2
    streamed(model, X[100:], y[100:], 50)  # any warning would be an error
    with pytest.warns(UserWarning, match="quantile has no effect"):
        model.set_params(early_stopping=False, epsilon=0.1, quantile=0.9).partial_fit(X[:50], y[:50])
    streamed(model, X, y, 100)
