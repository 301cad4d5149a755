"""What a fit does with weights, patience, momentum, held-out rows and targets that hardly vary."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from skgd import MiniBatchLinearRegressor
from skgd._plan import hold_out
from skgd._step_size import plateau_of
from tests.conftest import (
    LOSSES,
    SQUARED_ERROR,
    Schedule,
    State,
    Validation,
    diabetes,
    loss_and_slope,
    problem_of_fit,
    rows_of,
)


def parts(model):
    return np.append(model.coef_, model.intercept_)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"])
@pytest.mark.parametrize("way", [{}, {"learning_rate": "constant", "eta0": 1e-3}, {"average": True}], ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_rows_of_weight_zero_do_not_exist(call, batch_size, way, loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(90)
    weight = (np.arange(90) % 3 > 0) * rng.uniform(0.5, 2.0, 90)
    wild, wild_y = X.copy(), y.copy()
    wild[weight == 0], wild_y[weight == 0] = 1e200, 1e200
    options = {"max_iter": 4, "tol": None} if call == "fit" else {}
    model = MiniBatchLinearRegressor(batch_size, loss=loss, shuffle=False, random_state=0, **way, **options)
    counted = weight > 0
    expected = parts(getattr(clone(model), call)(X[counted], y[counted], weight[counted]))
    for table in (wild, csr_array(wild)):
        fitted = getattr(clone(model), call)(table, wild_y, weight)
        np.testing.assert_allclose(parts(fitted), expected, rtol=1e-9, atol=1e-12)
        assert fitted.n_steps_ == (4 if call == "fit" else 1) * (1 if batch_size is None else -(-60 // batch_size))


def test_the_best_constant_knows_weights_beyond_any_sample():
    y = np.where(np.arange(40_000) % 2 == 0, -1.0, 1.0) + np.linspace(0, 0.1, 40_000)
    weight = np.where(np.arange(40_000) % 2 == 0, 1.0, 1e-6)
    for name in ("huber", "quantile", "epsilon_insensitive"):
        model = MiniBatchLinearRegressor(loss=name, epsilon=0.01)
        constant = problem_of_fit(model, rows_of(np.zeros((40_000, 1)), y, weight))[0].constant
        assert constant == pytest.approx(-0.95, abs=0.01)  # of rows spread evenly over 0.1, in a sample of 10,000


def patience(model):
    X = np.random.default_rng(0).standard_normal((200, 3))
    problem, _ = problem_of_fit(model, rows_of(X, X.sum(axis=1)))
    state = State.start(np.zeros((1, 4)), 0)
    return Schedule.of(model, problem, state).length(1.0), plateau_of(model, problem, state).patience


def test_auto_keeps_its_step_without_tol_and_shortens_it_with():
    X, y = diabetes()
    lengths = [MiniBatchLinearRegressor(random_state=0, max_iter=n, tol=None).fit(X, y).step_size_ for n in (1, 40)]
    assert lengths[0] == lengths[1]
    assert MiniBatchLinearRegressor(random_state=0).fit(X, y).step_size_ < 0.5 * lengths[0]


def test_momentum_shortens_autos_step_and_lengthens_its_patience():
    light, heavy = (MiniBatchLinearRegressor(None, loss="huber", momentum=momentum) for momentum in (0.5, 0.9))
    (fast, short), (slow, long) = (patience(model) for model in (light, heavy))
    assert slow == pytest.approx(0.2 * fast)  # (1 - 0.9) / (1 - 0.5)
    assert long >= short
    constant = [m.set_params(learning_rate="constant") for m in (light, heavy)]
    assert [patience(model)[1] for model in constant] == pytest.approx([10, 50])


def test_adaptive_waits_anew_after_each_division():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(
        None, learning_rate="adaptive", eta0=1e-5, n_iter_no_change=3, tol=1e-2, max_iter=3000, random_state=0
    ).fit(X, y)
    # 1e-5 / 5^k falls below 1e-6 at k = 2: two divisions and the end, each after three epochs without progress
    assert model.n_iter_ >= 9
    assert model.step_size_ == pytest.approx(1e-5 / 25)


def test_a_plateau_far_above_the_start_is_a_divergence_of_a_plain_schedule():
    x = np.random.default_rng(0).standard_normal((200, 1))
    x /= np.sqrt(np.mean(x**2))
    # Each step multiplies the error by 1 - 2 * 1.6, the loss by 4.84: 1e3 after five epochs that a tol of 1e6 takes for none.
    model = MiniBatchLinearRegressor(None, learning_rate="constant", eta0=1.6, tol=1e6, fit_intercept=False)
    with pytest.raises(ValueError, match="diverged in epoch 6"):
        model.fit(x, 3.0 * x[:, 0])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("constant", [0.1, 1e-8, 12345.678])
def test_a_constant_target_is_met_and_no_divergence(constant, momentum):
    X, _ = diabetes()
    for seed in range(10):
        model = MiniBatchLinearRegressor(momentum=momentum, random_state=seed).fit(X, np.full(len(X), constant))
        np.testing.assert_allclose(model.predict(X), constant, rtol=1e-9)


def test_held_out_rows_count_by_their_weight_and_are_not_learned_from():
    X, y = diabetes()
    weight = np.random.default_rng(0).uniform(0.1, 3.0, len(X))
    weight[::5] = 0.0
    rows = rows_of(X, y, weight)
    train, watched = hold_out(MiniBatchLinearRegressor(validation_fraction=0.2), rows, seed=5)
    held_out = np.setdiff1d(rows.numbers, train.numbers)
    np.testing.assert_array_equal(watched.numbers, held_out)
    assert len(held_out) == np.ceil(0.2 * len(rows))
    assert len(held_out) + len(train) == len(rows)
    coef = np.random.default_rng(1).standard_normal(10)
    by_hand = r2_score(y[held_out], X[held_out] @ coef + 3.0, sample_weight=weight[held_out])
    score, _ = Validation(watched, SQUARED_ERROR, 0.0, np.zeros((1, 11))).compare(np.append(coef, 3.0)[None])
    assert score == pytest.approx([by_hand], rel=1e-12)


def test_zeros_after_early_stopping_cost_one_step_and_not_the_restored_parameters():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 40))
    y = 3 * X[:, 0] + 5 * rng.standard_normal(600)
    model = MiniBatchLinearRegressor(early_stopping=True, penalty="l1", alpha=0.5, tol=1e-6, random_state=0)
    model.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    best = model._state["best"]["parameters"][0]
    whole = MiniBatchLinearRegressor(penalty="l1", alpha=0.5, tol=1e-6, random_state=0).fit(X[:60], y[:60])
    assert model.n_iter_ < whole.n_iter_
    assert (model.coef_ == 0.0).any()
    weak = MiniBatchLinearRegressor(early_stopping=True, penalty="l1", alpha=0.005, random_state=0)
    weak.fit(X[:60], y[:60] / 100.0, X_val=X[60:], y_val=y[60:] / 100.0)
    np.testing.assert_array_equal(weak.coef_ == 0.0, model.coef_ == 0.0)
    assert np.abs(model.coef_ - best[:-1]).max() < 0.3 * np.abs(best).max()


def test_a_held_out_score_below_that_of_a_constant_is_warned_of():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 40)), rng.standard_normal(60)
    with pytest.warns(ConvergenceWarning, match="a constant predicts them better"):
        MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y)


def test_given_coefficients_start_with_the_intercept_that_fits_them_wherever_the_columns_lie():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, max_iter=2, tol=None)
    coef = np.linspace(0.0, 1.0, 10)
    near, far = (clone(model).fit(X + shift, y, coef_init=coef).loss_curve_ for shift in (0.0, 1e4))
    # A shift of 1e4 rounds columns at 1e-12, along directions of condition 500.
    np.testing.assert_allclose(far, near, rtol=1e-6)


def test_momentum_has_autos_full_batch_wait_as_long_as_it_carries_on():
    model = MiniBatchLinearRegressor(None, momentum=0.99)
    assert patience(model)[1] == pytest.approx(500)


def test_the_unit_of_a_straight_loss_does_not_care_how_wild_a_target_is():
    X, y = diabetes()
    wild = np.array(y)
    wild[7] = 1e9
    for loss in ("huber", "quantile", "epsilon_insensitive"):
        model = MiniBatchLinearRegressor(loss=loss)
        plain, other = (problem_of_fit(model, rows_of(X, target))[0] for target in (y, wild))
        np.testing.assert_allclose(other.unit, plain.unit, rtol=0.05)  # one row of 442 moves a median by so much
        np.testing.assert_allclose(other.curvature, plain.curvature, rtol=0.05)
        assert plain.unit <= plain.constant_loss


def test_huber_that_no_residual_exceeds_takes_the_steps_of_the_squared_error():
    X, y = diabetes()
    y = (y - y.mean()) ** 3
    squared, huber = (
        MiniBatchLinearRegressor(random_state=0, max_iter=2, tol=None, batch_size=32, **loss).fit(X, y)
        for loss in ({}, {"loss": "huber", "epsilon": 1e12})
    )
    assert huber.step_size_ == pytest.approx(squared.step_size_, rel=1e-9)


@pytest.mark.parametrize("options", [{"learning_rate": "constant"}, {"momentum": 0.5}], ids=str)
def test_a_full_batch_that_takes_steps_is_put_on_fewer_rows(options):
    rng, model = np.random.default_rng(0), MiniBatchLinearRegressor(None, **options)
    for n, few in (8, False), (20, True), (40_000, True):
        problem, _ = problem_of_fit(model, rows_of(rng.standard_normal((n, 8)), rng.standard_normal(n)))
        assert (len(problem.rows) < n) == few


def test_the_best_constant_of_a_kinked_loss_is_a_target_to_the_last_bit():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        y = np.concatenate([rng.standard_normal(5), np.full(20, rng.standard_normal())])
        model = MiniBatchLinearRegressor(loss="quantile")
        assert problem_of_fit(model, rows_of(np.zeros((25, 1)), y))[0].constant[0] == y[-1]


def test_a_full_batch_of_squared_error_is_followed_without_noise():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None, random_state=0).fit(X, y)
    assert model.n_iter_ <= 20
    assert (np.diff(model.loss_curve_) <= 1e-12 * model.loss_curve_[0]).all()
    np.testing.assert_allclose(State.restored(model._state).parameters[0, 2], State.restored(model._state).parameters[0, 0])


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("n", [3, 10, 200])
def test_without_an_intercept_a_constant_target_is_fitted_soon_and_without_a_word(n, batch_size, loss):
    X = np.random.default_rng(0).standard_normal((n, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MiniBatchLinearRegressor(batch_size, loss=loss, fit_intercept=False, random_state=0).fit(X, np.full(n, 30.0))
    assert model.n_iter_ < 200


@pytest.mark.parametrize("batch_size", [32, None])
def test_a_column_of_zeros_is_fitted_without_a_word_from_numpy(batch_size):
    y = np.random.default_rng(0).standard_normal(2500)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = MiniBatchLinearRegressor(batch_size, fit_intercept=False, random_state=0).fit(np.zeros((2500, 1)), y)
    assert model.coef_ == 0.0


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_without_an_intercept_the_promise_is_in_units_of_what_a_constant_loses(loss, batch_size):
    options = {"loss": loss, "fit_intercept": False, "epsilon": 1.0 if loss == "huber" else 0.1}
    numbers = LOSSES[loss](options["epsilon"], 0.5)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(2000.0, 3.0, (1000, 3))
        y = X @ [1.0, 2.0, -1.0] + rng.standard_normal(1000)
        model = MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(X, y)
        best = MiniBatchLinearRegressor(None, tol=1e-9, **options).fit(X, y)
        here, least, constant = (
            np.mean(loss_and_slope(numbers, predicted - y)[0])
            for predicted in (model.predict(X), best.predict(X), np.median(y))
        )
        assert here - least <= 1e-3 * constant


@pytest.mark.parametrize(("batch_size", "alpha"), [(None, 0.0), (None, 0.1), (32, 0.0)])
def test_a_start_leaves_nothing_of_its_rounding_errors_however_far_off_it_is(batch_size, alpha):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(batch_size, alpha=alpha, random_state=0)
    expected = clone(model).fit(X, y).coef_
    rounding = 1e-9 * np.abs(expected).max()
    for far in (1e15, 1e40, 1e100):
        started = clone(model).fit(X, y, coef_init=np.full(10, far))
        np.testing.assert_allclose(started.coef_, expected, atol=rounding)
    again = clone(model).set_params(warm_start=True).fit(X, 1e40 * y).fit(X, y)
    np.testing.assert_allclose(again.coef_, expected, atol=rounding)
