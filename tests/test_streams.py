"""Streams under "auto": of every loss as good as a fit, honest about order, rows unlike all others and what is forgotten."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge

from skgd import MiniBatchLinearRegressor
from tests.conftest import LOSSES, loss_and_slope
from tests.test_crossing import Case

EVERY_LOSS = {
    "squared_error": {},
    "huber": {"loss": "huber", "epsilon": 0.5},
    "squared_epsilon": {"loss": "squared_epsilon_insensitive", "epsilon": 0.5},
    "epsilon": {"loss": "epsilon_insensitive", "epsilon": 0.5},
    "median": {"loss": "quantile"},
    "quantile .1": {"loss": "quantile", "quantile": 0.1},
    "quantile .9": {"loss": "quantile", "quantile": 0.9},
    "quantile .975": {"loss": "quantile", "quantile": 0.975},
}
OTHERS = {name: options for name, options in EVERY_LOSS.items() if name != "squared_error"}


def table(n, d=8, seed=0):
    """Skewed noise whose spread depends on a column, and columns in unlike units."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    y = Z @ rng.standard_normal(d) + rng.gamma(1.0, 2.0, n) * (1.0 + 0.5 * np.abs(Z[:, 0]))
    return Z * 10.0 ** rng.uniform(-2, 2, d) + 10.0, y


def streamed(model, X, y, size, weight=None, wrap=np.asarray):
    """The model after one pass over chunks; nothing but what is expected may warn."""
    for start in range(0, len(y), size):
        some = slice(start, start + size)
        model.partial_fit(wrap(X[some]), y[some], None if weight is None else weight[some])
    return model


def excess(model, X, y, weight=None):
    """Of each target, as a share of the excess of the best constant prediction."""
    case = Case("", X, y.reshape(len(y), -1), weight, model.get_params(), "dense", "stream", 0)
    return np.array([case.excess(model, k) for k in range(case.y.shape[1])])


@pytest.mark.parametrize(("size", "batch_size"), [(100, 1), (500, None)])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_one_pass_of_shuffled_chunks_ends_near_the_minimum_of_all_rows(loss, batch_size, size):
    X, y = table(2600, 40)  # 1,600 rows are kept, and later ones left behind
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = streamed(MiniBatchLinearRegressor(batch_size, random_state=0, **EVERY_LOSS[loss]), X, y, size)
    assert excess(model, X, y) <= 40 / len(y)
    if "quantile" in loss or loss == "median":
        assert np.mean(y <= model.predict(X)) == pytest.approx(model.quantile, abs=0.01)


@pytest.mark.parametrize(
    "penalty",
    [{"alpha": 0.1}, {"penalty": "l1", "alpha": 0.05}, {"positive": True}, {"fit_intercept": False}],
    ids=str,
)
@pytest.mark.parametrize(("weighted", "wrap"), [(False, np.asarray), (True, csr_array)])
@pytest.mark.parametrize("loss", ["epsilon", "quantile .975"])
def test_penalties_weights_targets_and_sparse_rows_end_near_their_minimum_too(loss, wrap, weighted, penalty, monkeypatch):
    monkeypatch.setattr("skgd._renewable.FIRST_NUMBERS", 2**13)  # so that the first 1,400 are kept, and later ones left behind
    X, y = table(3000, 5)
    y = np.column_stack([y, 0.1 * X[:, 0] - y])
    weight = np.random.default_rng(1).integers(1, 4, len(y)).astype(float) if weighted else None
    model = MiniBatchLinearRegressor(random_state=0, **OTHERS[loss], **penalty)
    streamed(model, X, y, 150, weight, wrap)
    # With the bound, the columns explain a hundredth of one target's loss, so that what is missing is a larger share of that.
    assert (excess(model, X, y, weight) <= (1e-2 if penalty == {"positive": True} else 3e-3)).all()


@pytest.mark.parametrize("loss", ["median", "huber"])
def test_further_passes_are_never_worse(loss):
    X, y = table(2000, 30)
    model = streamed(MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]), X, y, 100)
    first = excess(model, X, y)
    for _ in range(2):
        streamed(model, X, y, 100)
        assert excess(model, X, y) <= first + 1e-3


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("penalty", [{}, {"penalty": "l1", "alpha": 0.05}], ids=str)
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_stream_goes_on_from_a_fit_as_if_it_had_seen_its_rows(loss, penalty, batch_size):
    X, y = table(3000)
    model = MiniBatchLinearRegressor(batch_size, random_state=0, **EVERY_LOSS[loss], **penalty).fit(X[:2200], y[:2200])
    streamed(model, X[2200:], y[2200:], 100)
    assert excess(model, X, y) <= (2e-2 if loss == "quantile .975" else 4e-3)  # where few rows are near


@pytest.mark.parametrize("n", [300, 1500])
@pytest.mark.parametrize("loss", ["median", "huber", "squared_error"])
def test_a_stream_that_was_pickled_goes_on_to_the_bit(loss, n):
    X, y = table(n)
    never = streamed(MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss]), X, y, 30)
    pickled = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss])
    for start in range(0, n, 30):
        pickled = pickle.loads(pickle.dumps(pickled)).partial_fit(X[start : start + 30], y[start : start + 30])
    np.testing.assert_array_equal(pickled.coef_, never.coef_)
    np.testing.assert_array_equal(pickled.loss_curve_, never.loss_curve_)


def test_arrays_may_be_used_again_after_each_call():
    X, y = table(2000, 3)
    model, same = (MiniBatchLinearRegressor(loss="quantile", random_state=0) for _ in range(2))
    buffer, of_buffer = np.empty((50, 3)), np.empty(50)
    for start in range(0, 2000, 50):
        buffer[:], of_buffer[:] = X[start : start + 50], y[start : start + 50]
        model.partial_fit(buffer, of_buffer)
        same.partial_fit(X[start : start + 50], y[start : start + 50])
    np.testing.assert_array_equal(model.coef_, same.coef_)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", ["median", "quantile .9", "huber", "epsilon"])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_rows_that_are_sorted_are_told_of_once(loss, fit_intercept, is_sorted):
    X, y = table(40_000)  # of extreme quantiles the first 29,000 are kept
    order = np.argsort(y) if is_sorted else np.arange(len(y))
    model = MiniBatchLinearRegressor(fit_intercept=fit_intercept, random_state=0, **OTHERS[loss])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamed(model, X[order], y[order], 2000)
    assert sum("The rows of a stream change as they come" in str(w.message) for w in caught) == is_sorted


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_what_a_penalty_or_a_bound_pulls_is_not_taken_for_an_order(penalty, fit_intercept, positive):
    rng = np.random.default_rng(0)
    X = 1.0 + 0.1 * rng.standard_normal((40_000, 3))
    y = X @ [1.0, 0.1, -1.0] + 0.1 * rng.standard_normal(40_000)
    options = {"loss": "huber", "epsilon": 0.3, "penalty": penalty, "alpha": 0.001, "positive": positive}
    model = MiniBatchLinearRegressor(fit_intercept=fit_intercept, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streamed(model, X, y, 1000)


@pytest.mark.parametrize(
    "options", [{}, {"penalty": "l1", "alpha": 0.01}, {"fit_intercept": False}, {"positive": True}], ids=str
)
@pytest.mark.parametrize("loss", ["median", "huber", "epsilon"])
def test_a_slope_that_changes_is_told_of_although_the_intercept_does_not(loss, options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40_000, 3))
    y = np.repeat([2.0, 0.5], 20_000) * X[:, 0] + rng.standard_normal(40_000)
    with pytest.warns(ConvergenceWarning, match="change as they come"):
        streamed(MiniBatchLinearRegressor(random_state=0, **OTHERS[loss], **options), X, y, 2000)


def test_a_level_that_changes_is_told_of_where_a_column_of_ones_is_the_intercept():
    """Without an intercept, a column need not vary for its coefficient to be known."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(20_000), rng.standard_normal((20_000, 3))])
    y = X.sum(axis=1) + np.repeat([0.0, 2.0], 10_000) + rng.standard_normal(20_000)
    with pytest.warns(ConvergenceWarning, match="change as they come"):
        streamed(MiniBatchLinearRegressor(loss="quantile", fit_intercept=False, random_state=0), X, y, 2000)


def test_targets_that_are_fitted_exactly_lie_on_no_side():
    rng = np.random.default_rng(0)
    X = rng.poisson(3.0, (7000, 40)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        streamed(MiniBatchLinearRegressor(loss="quantile", quantile=0.9, random_state=0), X, X[:, 0] - X[:, 1], 20)


def test_a_stream_goes_on_from_the_exact_zeros_of_a_fit():
    """Where the descent itself has ended, a coefficient that is to be zero is not, and the rows seem to change."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(12_000, 20))
    y = X @ rng.standard_normal(20) / 5.0 + rng.standard_normal(12_000)
    model = MiniBatchLinearRegressor(1, loss="quantile", positive=True, random_state=0).fit(X[:6000], y[:6000])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        streamed(model, X[6000:], y[6000:], 6000)


@pytest.mark.parametrize("loss", OTHERS)
def test_the_rows_that_are_kept_at_first_may_be_sorted(loss):
    X, y = table(900)
    order = np.argsort(y)
    model = streamed(MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]), X[order], y[order], 30)
    assert excess(model, X[order], y[order]) <= 3e-3


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"loss": "quantile"}, 0.025),
        ({"loss": "quantile", "quantile": 0.8}, 0.006),
        ({"loss": "huber", "epsilon": 0.5}, 0.03),
        ({"loss": "epsilon_insensitive", "epsilon": 0.3}, 0.03),
    ],
    ids=str,
)
def test_rare_rows_that_are_far_noisier_than_others_do_not_tie_their_coefficient_to_the_first_of_them(options, most):
    """Three of a thousand rows are such. With kinks as narrow as those of all others, twice to ten times as much is left."""
    excess = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rare = rng.random((20_000, 3)) < 1e-3
        X, some = np.hstack([rare, rng.standard_normal((20_000, 5))]), rare.any(axis=1)
        y = X @ [10.0, 10.0, 10.0, 1.0, -1.0, 0.5, 0.0, 2.0] + rng.standard_normal(20_000) * (1.0 + 30.0 * some)
        stream, fit = MiniBatchLinearRegressor(**options), MiniBatchLinearRegressor(None, **options).fit(X, y)
        for start in range(0, len(y), 400):
            stream.partial_fit(X[start : start + 400], y[start : start + 400])
        loss = LOSSES[options["loss"]](options.get("epsilon"), options.get("quantile", 0.5))
        of_stream, of_fit = (loss_and_slope(loss, model.predict(X[some]) - y[some])[0].mean() for model in (stream, fit))
        excess.append(of_stream / of_fit - 1.0)
    assert np.mean(excess) <= most


def test_the_squared_error_does_not_care_about_the_order():
    X, y = table(5000)
    order = np.argsort(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = streamed(MiniBatchLinearRegressor(random_state=0), X[order], y[order], 100)
    assert excess(model, X, y) <= 1e-3


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_a_stream_of_few_rows_is_no_worse_than_their_best_constant(loss, n):
    rng = np.random.default_rng(0)
    X, y = 5.0 * rng.standard_normal((n, 30)) + 3.0, rng.standard_normal(n)
    model = streamed(MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss]), X, y, 7)
    assert excess(model, X, y) <= 1.0 + 1e-9 or y.var() == 0.0


@pytest.mark.parametrize("noise", [0.1, 10.0])
@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("loss", ["squared_error", "median", "huber"])
def test_rows_unlike_all_others_change_little_and_are_told_of_once_if_they_count_less(loss, where, noise):
    X, y = table(3000, 4)
    y += (noise - 1.0) * (y - LinearRegression().fit(X, y).predict(X))
    clean = streamed(MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss]), X, y, 100)
    X, y = X.copy(), y.copy()
    for row in (1500, 2200):
        (X if where == "X" else y)[row] *= 1e7
    model = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamed(model, X, y, 100)
    told = sum("unlike all before them" in str(w.message) for w in caught)
    assert told == 1 if where == "y" or noise == 0.1 else told <= 1
    rows = np.setdiff1d(np.arange(3000), [1500, 2200])
    # A row that is not told of moves each parameter by some of its standard errors: some parts of 3000 of the noise's loss.
    assert excess(model, X[rows], y[rows]) <= excess(clean, X[rows], y[rows]) + 0.02 * max(1.0, noise)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_half_life_follows_a_drift_and_none_does_not(loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12_000, 4))
    before, after = rng.standard_normal((2, 4))
    y = np.where(np.arange(12_000) < 6000, X @ before, X @ after) + 0.5 * rng.standard_normal(12_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends = [
            streamed(MiniBatchLinearRegressor(random_state=0, half_life=half_life, **EVERY_LOSS[loss]), X, y, 600).coef_ - after
            for half_life in (1000, None)
        ]
    # Six half-lives leave 1/64 of the difference, and 1,443 rows' worth of noise: 0.5 sqrt(4 / 1443) of a few deviations.
    assert np.linalg.norm(ends[0]) < 0.2
    assert np.linalg.norm(ends[1]) > 0.4


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("options", [{}, {"learning_rate": "constant", "eta0": 1e-6}, {"average": False}], ids=str)
def test_the_loss_curve_is_what_predict_loses_on_each_chunk_before_it_is_learned(loss, options):
    X, y = table(400, 3)
    model = MiniBatchLinearRegressor(8, random_state=0, alpha=0.1, **EVERY_LOSS[loss], **options)
    of_rows, expected = LOSSES[model.loss](model.epsilon, model.quantile), []
    for start in range(0, 400, 25):
        some = slice(start, start + 25)
        if start:
            expected.append(loss_and_slope(of_rows, model.predict(X[some]) - y[some])[0].mean())
        model.partial_fit(X[some], y[some])
    np.testing.assert_allclose(model.loss_curve_[1:], expected, rtol=1e-9)
    constants = [loss_and_slope(of_rows, c - y[:25])[0].mean() for c in np.linspace(y[:25].min(), y[:25].max(), 5001)]
    assert model.loss_curve_[0] == pytest.approx(min(constants), rel=1e-2)


def test_a_model_of_another_version_says_that_it_cannot_go_on():
    X, y = table(300, 3)
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y)
    predicted = model.predict(X)
    state = {name: value for name, value in model._state.items() if name != "skgd"}
    without_part = {name: value for name, value in state.items() if name != "renewable"}
    for model._state in (without_part, state | {"stream": {}}):
        np.testing.assert_array_equal(model.predict(X), predicted)
        with pytest.raises(ValueError, match=r"was saved by skgd an older version.*can predict with it but not go on"):
            model.partial_fit(X, y)


def test_a_half_life_beside_a_plain_schedule_has_no_effect_and_says_so():
    X, y = table(100, 3)
    with pytest.warns(UserWarning, match="half_life has no effect"):
        MiniBatchLinearRegressor(learning_rate="constant", eta0=1e-6, half_life=100).partial_fit(X, y)


def test_what_is_asked_of_steps_is_kept_without_an_average():
    X, y = table(2000, 3)
    kept = streamed(MiniBatchLinearRegressor(32, loss="quantile", average=False, random_state=0), X, y, 100)
    ended = streamed(clone(kept).set_params(average="auto"), X, y, 100)
    assert excess(ended, X, y) < excess(kept, X, y)


@pytest.mark.parametrize("loss", ["squared_error", "median"])
def test_a_stream_of_too_many_columns_says_once_that_it_takes_steps(loss):
    X = np.random.default_rng(0).standard_normal((600, 500))
    model = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss])
    with pytest.warns(ConvergenceWarning, match="X and y have more than 500 columns together: partial_fit takes steps"):
        model.partial_fit(X[:300], X[:300, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X[300:], X[300:, 0])
        clone(model).partial_fit(X[:, 1:], X[:, 0])
        clone(model).set_params(average=False).partial_fit(X, X[:, 0])


@pytest.mark.parametrize("before", ["squared_error", "median"])
def test_a_loss_that_changes_after_rows_were_left_behind_is_told_of(before):
    X, y = table(2400, 40)
    model = streamed(MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[before]), X[:2000], y[:2000], 200)
    model.set_params(loss="quantile", quantile=0.9)
    with pytest.warns(ConvergenceWarning, match="does not say where their minimum is"):
        streamed(model, X[2000:], y[2000:], 200)


@pytest.mark.parametrize("far", [1e6, 1e8])
@pytest.mark.parametrize("chunk", [10, 100])
def test_squared_errors_of_columns_far_from_zero_without_an_intercept(chunk, far):
    rng = np.random.default_rng(0)
    X = far + rng.standard_normal((600, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(600)
    model = streamed(MiniBatchLinearRegressor(fit_intercept=False, random_state=0), X, y, chunk)
    exact = np.linalg.lstsq(X, y, rcond=None)[0]
    reach = np.mean(y**2) - np.mean((X @ exact - y) ** 2)
    assert np.mean((model.predict(X) - y) ** 2) - np.mean((X @ exact - y) ** 2) <= 1e-6 * reach
    assert np.mean((model.predict(X) - y) ** 2) <= 1.01 * np.mean((X @ exact - y) ** 2)  # and of what is left beside `far`


def test_the_penalty_of_a_tiny_column_hides_no_other():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 3)) * [1e-9, 1.0, 10.0]
    y = X @ [0.0, 2.0, 1.0] + rng.standard_normal(1000)
    model = streamed(MiniBatchLinearRegressor(alpha=0.1, random_state=0), X, y, 100)
    exact = Ridge(alpha=50.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "median"])
def test_an_average_of_steps_forgets_by_half_lives_too(loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12_000, 510))  # more columns than have products: steps are averaged
    w = np.zeros(510)
    w[:5] = 1.0
    y = X @ w + 0.1 * rng.standard_normal(12_000)
    y[6000:] -= 2.0 * (X @ w)[6000:]  # the world turns round
    kept, forgetting = (
        streamed(MiniBatchLinearRegressor(half_life=h, random_state=0, **EVERY_LOSS[loss]), X, y, 500) for h in (None, 1000)
    )
    error = [np.linalg.norm(model.coef_ + w) / np.linalg.norm(w) for model in (kept, forgetting)]
    assert error[1] < 0.3  # six half-lives after the turn leave a 64th of it, and slower steps somewhat more
    assert error[1] < 0.5 * error[0]


@pytest.mark.parametrize("descending", [False, True])
def test_the_last_rows_of_a_sorted_stream_do_not_wait_if_they_are_far_off(descending):
    X, y = table(2510, 20)
    y = y + (-1.0 if descending else 1.0) * np.exp(2.0 * np.random.default_rng(2).standard_normal(2510))  # the last are far off
    order = np.argsort(-y if descending else y)
    options = {"loss": "quantile", "quantile": 0.01 if descending else 0.99}
    model = streamed(MiniBatchLinearRegressor(random_state=0, **options), X[order], y[order], 30)
    assert excess(model, X[order], y[order]) <= 20 / 2510


@pytest.mark.parametrize(("loss", "d"), [("median", 30), ("quantile .9", 8), ("huber", 30)])
def test_a_stream_that_forgets_is_at_the_minimum_over_rows_that_have_faded_also_after_a_jump(loss, d):
    X, y = table(6000, d)  # with 30 columns more are remembered than a stream keeps that never forgets
    y[4000:] += 20.0 * y.std()
    model, ages = MiniBatchLinearRegressor(half_life=500, random_state=0, **OTHERS[loss]), np.empty(0)
    for start in range(0, 6000, 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
        ages = np.append(ages + 100, np.zeros(100))
        if start in (3900, 4100, 4400, 4700, 5900):  # before, when most of the weight is of one side, and long after
            weight, X_seen, y_seen = 0.5 ** (ages / 500), X[: len(ages)], y[: len(ages)]
            best = MiniBatchLinearRegressor(None, tol=1e-8, **OTHERS[loss]).fit(X_seen, y_seen, weight)
            at = [loss_of(each, X_seen, y_seen, weight) for each in (model, best)]
            # A hundredth is left of what is forgotten after seven half-lives, and a fit of the rows kept ends within 1e-5.
            assert at[0] <= 1.01 * at[1], start


def loss_of(model, X, y, weight):
    """The weighted mean of a model's own loss."""
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    return np.average(loss_and_slope(loss, model.predict(X) - y)[0], weights=weight)


@pytest.mark.parametrize("loss", ["median", "huber"])
def test_a_stream_that_is_told_to_forget_forgets_what_it_had_left_behind(loss):
    X, y = table(42_700)
    y[40_000:] += 20.0 * y.std()
    model = streamed(MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]), X[:40_000], y[:40_000], 500)
    model.set_params(half_life=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        streamed(model, X[40_000:], y[40_000:], 100)  # of 40,000 rows 78 are left, and a quadratic would pull on
    recent = MiniBatchLinearRegressor(None, **OTHERS[loss]).fit(X[40_000:], y[40_000:])
    # The jump is of twenty deviations; some 430 rows have a say in one model, and 5,000 in the other.
    np.testing.assert_allclose(model.predict(X), recent.predict(X), atol=y[:40_000].std())


@pytest.mark.parametrize("loss", ["squared_error", "median"])
def test_a_stream_of_single_rows_learns_however_short_its_half_life(loss):
    X, y = table(250, 2)
    with pytest.warns(ConvergenceWarning, match=r"half_life=4 forgets rows before there are 3 .*Raise half_life to 7") as told:
        model = streamed(MiniBatchLinearRegressor(half_life=4, random_state=0, **EVERY_LOSS[loss]), X, y, 1)
    assert len(told) == 1
    assert np.all(model.coef_ != 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        streamed(clone(model).set_params(half_life=7), X, y, 1)
        streamed(clone(model).set_params(average=True), X, y, 1)  # steps are asked for


def test_a_heavy_row_is_not_taken_for_an_unusual_one():
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((400, 2)), np.where(np.arange(400) % 40 == 39, 500.0, 1.0)
    y = X @ [1.0, -1.0] + rng.standard_normal(400)
    model = MiniBatchLinearRegressor(random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in range(0, 400, 20):
            some = slice(start, start + 20)
            model.partial_fit(X[some], y[some], weight[some])
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y, weight).coef_, rtol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "median", "huber"])
def test_what_has_faded_stays_faded_when_a_stream_no_longer_forgets(loss):
    X, y = table(5000, 3)
    y[2500:] += 20.0 * y.std()
    model = streamed(MiniBatchLinearRegressor(half_life=300, random_state=0, **EVERY_LOSS[loss]), X[:4500], y[:4500], 100)
    followed = model.predict(X).mean()
    streamed(model.set_params(half_life=None), X[4500:], y[4500:], 100)
    assert abs(model.predict(X).mean() - followed) < y[:2500].std()


@pytest.mark.parametrize("loss", ["median", "huber", "epsilon"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_rows_that_are_kept_at_first_are_fitted_whatever_their_columns_condition(loss, fit_intercept):
    rng = np.random.default_rng(0)
    X = np.array([1000.0, 60.0, 0.0]) + np.array([1e-4, 1e-5, 1.0]) * rng.standard_normal((300, 3))  # 1e7 deviations from zero
    y = 20.0 * (1e4 * (X[:, 0] - 1000.0) - 1e5 * (X[:, 1] - 60.0)) + X[:, 2] + rng.standard_normal(300)
    model = streamed(MiniBatchLinearRegressor(fit_intercept=fit_intercept, random_state=0, **EVERY_LOSS[loss]), X, y, 100)
    fitted = MiniBatchLinearRegressor(None, fit_intercept=fit_intercept, tol=1e-8, **EVERY_LOSS[loss]).fit(X, y)
    at = [loss_of(each, X, y, np.ones(300)) for each in (model, fitted)]
    assert at[0] <= 1.001 * at[1]


@pytest.mark.parametrize("loss", ["epsilon", "squared_epsilon"])
@pytest.mark.parametrize("n", [985, 995])
def test_rows_beyond_epsilon_are_learned_at_once_after_many_within(n, loss):
    X, _ = table(n)
    y = np.linspace(0.0, 0.8, n) + np.where(np.arange(n) < n - 5, 0.0, 3.0)  # all but the last five lie within 0.5
    model = streamed(MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss]), X, y, 5)
    assert model.loss_curve_[-2] == 0.0 < model.loss_curve_[-1]
    assert excess(model, X, y) <= 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_was_constant_for_long_and_then_is_not_counts_in_full(seed):
    rng = np.random.default_rng(seed)
    X, y, weight = rng.standard_normal((600, 3)), np.full(600, 1000.0), rng.uniform(0.5, 1.0, 600)
    y[402:] = 1001.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "The rows of a stream change")
        model = streamed(MiniBatchLinearRegressor(loss="huber", epsilon=0.35, random_state=0), X, y, 10, weight)
    assert excess(model, X, y, weight) <= 1e-3


@pytest.mark.parametrize(("d", "n", "n_new"), [(300, 1000, 50), (400, 1300, 85), (150, 500, 15), (60, 300, 4), (300, 2000, 10)])
@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_rows_that_wait_for_a_minimum_change_little_of_the_squared_error(d, n, n_new, shift):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n + n_new, d))
    y = X @ rng.standard_normal(d) / np.sqrt(d) + rng.standard_normal(len(X))
    y[n:] += shift  # as at the end of a sorted file
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X[:n], y[:n]).partial_fit(X[n:], y[n:])
    assert excess(model, X, y) <= 2e-3  # a minimum is due before this is 1e-3 of the noise, which is as large as the reach


@pytest.mark.parametrize(("loss", "half_life"), [("median", 1000), ("huber", 3000)])
def test_rows_before_a_jump_pull_as_hard_as_their_weights_say_however_long_it_was_ago(loss, half_life):
    """Set at the jump: rows before are a model, whose pull grows with the distance where that of the rows does not."""
    rng, at = np.random.default_rng(0), 9000
    X = rng.standard_normal((at + 3 * half_life, 8))
    y = X @ np.arange(1.0, 9.0) + 3.0 * rng.standard_normal(len(X))
    y[at:] += 20.0
    model = streamed(MiniBatchLinearRegressor(random_state=0, **OTHERS[loss]), X[:at], y[:at], 100)
    model.set_params(half_life=half_life)
    for start in range(at, len(X), half_life // 2):
        seen = slice(start + half_life // 2)
        streamed(model, X[start : seen.stop], y[start : seen.stop], 100)
        weight = 0.5 ** ((seen.stop - np.maximum(np.arange(1, seen.stop + 1), at)) / half_life)
        exact = MiniBatchLinearRegressor(None, **OTHERS[loss]).fit(X[seen], y[seen], weight)
        assert loss_of(model, X[seen], y[seen], weight) <= 1.01 * loss_of(exact, X[seen], y[seen], weight)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_half_life_forgets_the_same_whatever_the_size_of_the_calls(loss):
    X, y = table(1200, 3)
    y[600:] += 2.0 * y.std()  # six half-lives before the end
    for size in (30, 300, 1200):
        model = streamed(MiniBatchLinearRegressor(half_life=100, random_state=0, **EVERY_LOSS[loss]), X, y, size)
        # The squared error is exact. Of others, chunks are dropped whole, once their last row is seven half-lives old.
        assert excess(model, X, y) <= (1e-9 if loss == "squared_error" else 3e-3)


@pytest.mark.parametrize("n_columns", [2, 20])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_few_rows_that_weigh_much_are_learned_at_once(loss, n_columns):
    """A minimum is due by the share of the weight that waits for it, not of the rows."""
    X, y = table(20_015, n_columns)
    weight = np.where(np.arange(20_015) < 20_000, 1.0, 1e4)
    model = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamed(model, X[:20_000], y[:20_000], 20_000, weight[:20_000])
        streamed(model, X[20_000:], y[20_000:], 1, weight[20_000:])
    # 15 rows do not determine 21 parameters: what is kept of the others does not hold then, and a warning says so.
    is_told = any("weights as uneven as these" in str(each.message) for each in caught)
    assert is_told == (n_columns == 20 and loss != "squared_error")
    assert is_told or excess(model, X, y, weight) <= (1e-9 if loss == "squared_error" else 1e-4)


@pytest.mark.parametrize("size", [200, 1000])
@pytest.mark.parametrize("kind", ["a flag", "a number", "a larger unit"])
@pytest.mark.parametrize("loss", ["median", "huber", "squared_epsilon"])
def test_a_column_that_begins_to_vary_is_no_change_of_the_rows(loss, kind, size):
    rng = np.random.default_rng(2)
    X, is_late = rng.standard_normal((20_000, 6)), np.arange(20_000) >= 10_000  # 9,362 rows are kept at first
    columns = {
        "a flag": is_late & (X[:, 0] > 1.3),
        "a number": is_late * X[:, 0],
        "a larger unit": X[:, 0] * (1 + 99 * is_late),
    }
    X[:, 0] = columns[kind]
    y = X @ [1.0 if kind == "a larger unit" else 3.0, 1.0, 1.0, 1.0, 1.0, 1.0] + rng.standard_normal(20_000)
    model = MiniBatchLinearRegressor(random_state=0, **OTHERS[loss])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamed(model, X, y, size)
    assert not any("change as they come" in str(each.message) for each in caught)
    assert excess(model, X, y) <= 3e-3


def rare(n):
    """A column that has hardly varied when a row comes in which it does, as the outermost column of a spline."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(n), np.zeros(n)])
    X[[50, 500, 700], 1] = 1e-3, 1.0, 0.8
    return X, X[:, 0] + rng.standard_normal(n)


@pytest.mark.parametrize("size", [10, 300])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_row_in_which_a_column_varies_for_the_first_time_counts_in_full(loss, size):
    X, y = rare(1000)
    model = MiniBatchLinearRegressor(random_state=0, **EVERY_LOSS[loss])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streamed(model, X, y, size)
    assert excess(model, X, y) <= 3e-3


def test_a_row_far_off_before_any_column_has_varied_is_told_of():
    X, y = np.ones((200, 2)), np.random.default_rng(0).standard_normal(200)
    model = streamed(MiniBatchLinearRegressor(random_state=0), X, y, 50)
    with pytest.warns(UserWarning, match="unlike all before them"):
        model.partial_fit(np.ones((1, 2)), [1e6])


@pytest.mark.parametrize("most_kept", [2**18, 2**13])
def test_a_stream_of_which_few_rows_weigh_most_ends_near_the_minimum_of_all(most_kept, monkeypatch):
    monkeypatch.setattr("skgd._renewable.BLOCK", most_kept)  # numbers that are kept: of all rows, or of the first 1,400
    X, y = table(15_000, 5)
    weight = np.where(np.random.default_rng(1).random(15_000) < 0.01, 300.0, 1.0)
    model = streamed(MiniBatchLinearRegressor(loss="quantile", random_state=0), X, y, 1000, weight)
    # Their effective number (Kish) is 265: where they are not kept, six parameters are known to 6 / 265, about.
    assert excess(model, X, y, weight) <= (1e-4 if most_kept == 2**18 else 1e-2)
