"""What a later call goes on from: resumed fits, streams, and what a row, a chunk or a failure may do to them."""

from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.metrics import r2_score

from skgd import MiniBatchLinearRegressor, _step_size
from skgd._geometry import (
    axes_out_of_band,
    full_batch_geometry,
    full_batch_step,
    mini_batch_geometry,
    safe_length,
    squared_norms,
    standard_metric,
    whitening_of,
)
from skgd._moments import Moments
from skgd._objective import LOSSES, SQUARED_ERROR, Penalty
from skgd._plan import hold_out, problem_of_fit
from skgd._state import State
from skgd._step_size import Schedule, plateau_of
from skgd._stopping import Validation
from skgd._stream import CEILING, FIRST, FORGETTING, HALF_LIFE, UNUSUAL, Stream
from tests.conftest import diabetes, near_2000, rows_of, scales_side_by_side

WAYS = {
    "default": {},
    "huber": {"loss": "huber", "epsilon": 20.0},
    "l1": {"penalty": "l1", "alpha": 1.0},
    "momentum": {"momentum": 0.9},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
    "adaptive": {"learning_rate": "adaptive", "eta0": 1e-5, "momentum": 0.5, "alpha": 0.1},
    "adaptive, early stopping": {"learning_rate": "adaptive", "eta0": 1e-5, "early_stopping": True},
}


def parts(model):
    return np.append(model.coef_, model.intercept_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("pieces", [(3, 4, 5), (11, 1), (1, 1, 1, 9)])
@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("way", WAYS)
def test_pieces_of_a_fit_are_the_whole_with_the_default_tol(way, batch_size, pieces):
    X, y = diabetes()
    whole = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=12, **WAYS[way]).fit(X, y)
    piece = MiniBatchLinearRegressor(batch_size, random_state=3, warm_start=True, **WAYS[way])
    for n_epochs in pieces:
        piece.set_params(max_iter=n_epochs).fit(X, y)
        if piece.n_iter_ < n_epochs:  # converged: the whole fit ended here, too
            break
    assert piece.n_steps_ == whole.n_steps_
    # Between calls the intercept is kept at the origin: one rounding each way, along directions of condition 500.
    np.testing.assert_allclose(parts(piece), parts(whole), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plateau_of_other_data_or_parameters_is_not_gone_on_with():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True, max_iter=4).fit(X, y)
    waited = model.fit(X, 100 * y)._state["plateau"]
    assert np.isfinite(waited[0]).all()
    fresh = MiniBatchLinearRegressor(random_state=0, warm_start=True, max_iter=4).fit(X, y)
    assert fresh._state["plateau"][0] < waited[0]  # not the best of a target a hundredth as large
    assert (model.set_params(alpha=1.0).fit(X, 100 * y)._state["factor"] >= _step_size.DECAY**4).all()


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


# Streams


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("make", [diabetes, near_2000, scales_side_by_side])
def test_moments_of_chunks_add_up_to_those_of_the_whole_in_any_order(make, is_full):
    X, y = make()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(X))
    chunks = np.array_split(np.arange(len(X)), [1, 2, len(X) // 3, len(X) - 40])
    parts = [Moments.of(rows_of(X[chunk], y[chunk], weight[chunk]), is_full) for chunk in chunks]
    mean = np.average(np.column_stack([X, y]), axis=0, weights=weight)
    z = np.column_stack([X, y]) - mean
    second = np.cov(z.T, aweights=weight, bias=True)
    size = np.sqrt(np.outer(np.diag(second), np.diag(second)))
    for order in (parts, parts[::-1], [parts[i] for i in (3, 0, 4, 1, 2)]):
        moments = reduce(add, order)
        np.testing.assert_allclose(moments.mean, mean, rtol=1e-12)
        found = moments.second / size if is_full else moments.second / np.diag(size)
        expected = second / size if is_full else np.ones(len(size))
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)  # columns at 700 deviations lose five digits
        assert moments.n_rows == len(X)
        assert moments.weight == pytest.approx(weight.sum())


def test_moments_of_a_sorted_file_lose_no_digits_where_the_columns_lie_far_apart():
    x = np.concatenate([np.zeros(60_000), 1e7 + np.random.default_rng(0).standard_normal(60_000)])
    near = Moments.of(rows_of(x[60_000:, None]), True) + Moments.of(rows_of(x[60_000:, None]), True)
    whole = Moments.of(rows_of(x[:, None]), True)
    assert near.variance[0] == pytest.approx(np.var(x[60_000:]), rel=1e-12)
    assert whole.variance[0] == pytest.approx(np.var(x), rel=1e-12)


def test_moments_of_sparse_chunks_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((300, 4)) < 0.3, rng.standard_normal((300, 4)), 0.0)
    X[:, 2] += 5.0
    weight, parts = rng.uniform(0.1, 2.0, 300), []
    for chunk in np.array_split(np.arange(300), [1, 2, 150]):
        part = rows_of(csr_array(X[chunk]), weight=weight[chunk])
        vars(part)["is_sparse"] = True
        parts.append(Moments.of(part, False))
    moments, mean = reduce(add, parts), np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose(moments.center, mean, rtol=1e-12)
    np.testing.assert_allclose(moments.variance, np.average((X - mean) ** 2, axis=0, weights=weight), rtol=1e-12)


def test_rows_that_stand_for_moments_have_them():
    X, y = diabetes()
    moments = Moments.of(rows_of(X, y), True)
    few, targets = moments.as_rows(moments.center)
    again = Moments.of(rows_of(few, targets), True)
    np.testing.assert_allclose(again.mean, moments.mean - np.append(moments.center, 0.0), atol=1e-10)
    np.testing.assert_allclose(again.second, moments.second, rtol=1e-9)
    assert len(few) == 12


def diagonal(stream):
    """The same stream, had it too many columns to know their covariance."""
    return stream._replace(moments=replace(stream.moments, second=np.diag(stream.moments.second)))


def test_a_streams_longest_row_fades_by_half_over_the_half_life():
    rows = rows_of(np.random.default_rng(0).standard_normal((HALF_LIFE // 10, 3)))
    stream = Stream(longest=1e6).with_rows(rows)
    after = stream.geometry(rows, rows, 32, 0.0, True)
    assert after.longest == pytest.approx(1e6 * 0.5**0.1)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_a_streams_step_is_safe_for_the_mean_and_for_the_longest_row(batch_size):
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 1))
    rows = rows_of(0.99 * common + 0.14 * rng.standard_normal((400, 6)))  # one eigenvalue near 6
    geometry = diagonal(Stream().with_rows(rows)).geometry(rows, rows, batch_size, 0.0, True)
    z = np.sqrt(geometry.metric[1, :-1]) * (rows.X - geometry.metric[0, :-1])
    mean, longest = np.linalg.eigvalsh(z.T @ z / 400)[-1], squared_norms(rows, geometry.metric).max()
    assert 1.0 / geometry.step >= ((batch_size - 1) * mean + longest) / batch_size
    assert 1.0 / geometry.step <= 1.2 * ((batch_size - 1) * mean + longest) / batch_size + 1e-9


def test_a_streams_steepness_is_that_of_its_residuals():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 2))
    model = MiniBatchLinearRegressor(loss="huber", epsilon=1.0, random_state=0).partial_fit(X, 1e3 + 0.1 * X[:, 0])
    before = State.restored(model._state).stream
    residual = model.predict(X) - (1e3 + X[:, 0])
    after = State.restored(model.partial_fit(X, 1e3 + X[:, 0])._state).stream
    slope = np.abs(np.clip(2.0 * residual, -2.0, 2.0)).sum()
    fading = 0.5 ** (500 / HALF_LIFE)
    assert after.slope == pytest.approx(fading * before.slope + slope)
    assert after.size == pytest.approx(fading * before.size + 500 * np.median(np.abs(residual)), rel=0.01)


def test_a_streams_steepness_fades():
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    X = rng.standard_normal((HALF_LIFE, 2))
    model.partial_fit(X[:1000], 1e3 * rng.standard_normal(1000))
    slope = State.restored(model._state).stream.slope
    model.partial_fit(X, np.zeros(HALF_LIFE))
    # of the first chunk's sums half is left; the second adds slopes of 1/2 and residuals that the model still has
    assert State.restored(model._state).stream.slope == pytest.approx(0.5 * slope + 0.5 * HALF_LIFE, rel=0.01)


def test_columns_are_scaled_about_zero_without_an_intercept():
    mean, variance = np.array([3.0, 0.0]), np.array([1.0, 4.0])
    np.testing.assert_allclose(standard_metric(mean, variance, 0.5, False)[1], [1 / 10.5, 1 / 4.5, 0.0])
    np.testing.assert_allclose(standard_metric(mean, variance, 0.5, True)[:, :-1], [[3.0, 0.0], [1 / 1.5, 1 / 4.5]])
    sparse = standard_metric(mean, variance, 0.5, True, is_sparse=True)
    np.testing.assert_allclose(sparse, [[0.0, 0.0, 0.0], [1 / 16, 1 / 8, 1.0]])  # 1 / 10.5 and 1 / 4.5, rounded down


def test_no_axis_is_stretched_so_far_that_a_row_becomes_longer_than_the_longest():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    X[7, 1] += 0.5  # a row far out along the slow axis
    rows = rows_of(X)
    moments = Moments.of(rows, False)
    geometry = mini_batch_geometry(rows, moments, 8, 0.0, True, False)
    assert len(geometry.metric) > 2
    plain = standard_metric(moments.center, moments.variance, 0.0, True)
    assert squared_norms(rows, geometry.metric).max() <= 2.1 * squared_norms(rows, plain).max()


def regression_stream(seed=0):
    rng = np.random.default_rng(seed)
    w = np.array([3.3, -1.0, 2.0, 0.5, 0.0])

    def chunk(n):
        X = rng.standard_normal((n, 5)) + 1.0
        return X, X @ w + 0.3 * rng.standard_normal(n)

    return chunk, w


def test_the_cap_keeps_a_stream_from_a_chunk_unlike_all_before(monkeypatch):
    def run():
        chunk, _ = regression_stream()
        model = MiniBatchLinearRegressor(random_state=0, average=False)  # which keeps what its steps have made
        for k in range(101):
            X, y = chunk(100 if k < 100 else 128)
            X[:, 0] *= 1000.0 if k == 100 else 1.0
            model.partial_fit(X, y)
        return model.coef_[0]

    assert abs(run() - 3.3) < 0.5  # plain least squares of all these rows is near 3e-3
    monkeypatch.setattr("skgd._step_size.SAFE_CAP", np.inf)
    assert abs(run() - 3.3) > 0.5


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("what", ["X", "y"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_stream_recovers_from_one_bad_row(loss, what, size):
    chunk, _ = regression_stream()
    held_out, truth = chunk(500)
    model = MiniBatchLinearRegressor(loss=loss, random_state=0)
    for start in range(0, 1500, size):
        X, y = chunk(size)
        if start == 500:
            if what == "X":
                X[0] *= 1e6
            else:
                y[0] *= 1e6
        model.partial_fit(X, y)
    assert model.score(held_out, truth) > 0.95


def test_a_rows_weight_in_the_moments_is_bounded_by_how_long_it_is():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    stream, at = Stream(longest=12.0).with_rows(rows_of(X)), np.zeros((1, 4))
    X[5] *= 1e6
    weight = stream.bounded(rows_of(X), at, SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    length = np.sum((X[5] - stream.moments.center) ** 2 / stream.moments.variance)
    assert weight[5] * length == pytest.approx(12.0 * UNUSUAL, rel=0.01)


def test_a_rows_weight_in_the_moments_is_bounded_by_how_far_it_is_from_its_prediction():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    stream = Stream(longest=12.0, level=np.array([2.0])).with_rows(rows_of(X, y))
    y[5] = 1e6
    weight = stream.bounded(rows_of(X, y), np.zeros((1, 4)), SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    assert weight[5] * 1e12 == pytest.approx(2.0 * CEILING)


@pytest.mark.parametrize("half_life", [None, 500])
def test_a_level_shift_weighs_as_its_rows_unless_the_model_forgets(half_life):
    chunk, _ = regression_stream()
    options = {"loss": "squared_epsilon_insensitive", "epsilon": 1e-3, "half_life": half_life}
    model = MiniBatchLinearRegressor(random_state=0, **options)
    for k in range(80):
        X, y = chunk(100)
        model.partial_fit(X, y + 1e4 * (k >= 20))
    X, y = chunk(500)
    # 6,000 of 8,000 rows, of which the first few hundred are unlike all before them and count less; or all but 2^-12 of them.
    level = np.mean(model.predict(X) - y) / 1e4
    assert 0.72 < level < 0.76 if half_life is None else level == pytest.approx(1.0, abs=2e-3)


# Schedules


def patience(model):
    X = np.random.default_rng(0).standard_normal((200, 3))
    problem, _ = problem_of_fit(model, rows_of(X, X.sum(axis=1)))
    state = State.start(np.zeros((1, 4)), 0)
    return Schedule.of(model, problem, state, True).length(1.0), plateau_of(model, problem, state, True).patience


def test_auto_keeps_its_step_without_tol_and_shortens_it_with():
    X, y = diabetes()
    lengths = [MiniBatchLinearRegressor(random_state=0, max_iter=n, tol=None).fit(X, y).step_size_ for n in (1, 40)]
    assert lengths[0] == lengths[1]
    assert MiniBatchLinearRegressor(random_state=0).fit(X, y).step_size_ < 0.5 * lengths[0]


def test_momentum_shortens_autos_step_and_lengthens_its_patience():
    plain, heavy = MiniBatchLinearRegressor(None, loss="huber"), MiniBatchLinearRegressor(None, loss="huber", momentum=0.9)
    (fast, short), (slow, long) = (patience(model) for model in (plain, heavy))
    assert slow == pytest.approx(0.1 * fast)
    assert long >= short
    constant = [m.set_params(learning_rate="constant") for m in (plain, heavy)]
    assert [patience(model)[1] for model in constant] == pytest.approx([5, 50])


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


# Early stopping


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
    model = MiniBatchLinearRegressor(early_stopping=True, penalty="l1", alpha=0.5, random_state=0)
    model.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    best = model._state["best"][0][0]
    assert model.n_iter_ < MiniBatchLinearRegressor(penalty="l1", alpha=0.5, random_state=0).fit(X[:60], y[:60]).n_iter_
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


def test_axes_that_an_epoch_crosses_are_left_alone():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8000, 3))
    X[:, 1] = X[:, 0] + 0.5 * X[:, 1]  # the smallest eigenvalue near 0.1
    rows = rows_of(X)
    moments, stream = Moments.of(rows, False), Stream().with_rows(rows)
    assert len(mini_batch_geometry(rows, moments, 8, 0.0, True, False).metric) == 2  # a thousand steps
    assert len(stream.geometry(rows, rows, 8, 0.0, True).metric) == 2
    assert len(diagonal(stream).geometry(rows, rows, 8, 0.0, True).metric) == 2
    few = rows_of(X[:64])
    moments, stream = Moments.of(few, False), Stream().with_rows(few)
    assert len(mini_batch_geometry(few, moments, 32, 0.0, True, False).metric) > 2  # two
    assert len(stream.geometry(few, few, 32, 0.0, True).metric) > 2


def test_a_proximal_step_on_all_rows_is_safe_for_their_curvature_and_the_penaltys():
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((400, 4)) + 0.8 * rng.standard_normal((400, 1)))
    ridge = 0.7
    geometry = mini_batch_geometry(rows, Moments.of(rows, False), 400, ridge, True, True)
    z = np.sqrt(geometry.metric[1, :-1]) * (rows.X - geometry.metric[0, :-1])
    largest = np.linalg.eigvalsh(z.T @ z / 400)[-1]
    step = full_batch_step(geometry, ridge)
    assert step * (largest + ridge * geometry.metric[1, :-1].max()) <= 1.0
    assert step * (largest + ridge * geometry.metric[1, :-1].max()) >= 0.6


def test_a_streams_level_is_its_mean_loss_and_then_fades_and_rises_by_a_factor_at_most():
    rng, stream = np.random.default_rng(0), Stream()
    for n, loss in ((20, 4.0), (40, 1.0), (20, 7.0)):
        stream = stream.with_rows(rows_of(rng.standard_normal((n, 1)))).with_level(np.array([loss]), n)
    assert stream.level == pytest.approx([(20 * 4 + 40 * 1 + 20 * 7) / 80])
    assert stream.ceiling() is None
    stream = stream.with_rows(rows_of(rng.standard_normal((920, 1))))._replace(level=np.array([2.0]))
    assert stream.ceiling() == pytest.approx([2.0 * CEILING])
    stream = stream.with_level(np.array([6.0]), FORGETTING)
    assert stream.level == pytest.approx([4.0])  # half of it forgotten
    stream = stream.with_level(np.array([1e9]), FORGETTING)
    assert stream.level == pytest.approx([0.5 * 4.0 + 0.5 * 4.0 * UNUSUAL])


def test_norms_of_sparse_rows_count_the_intercept():
    X = csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    rows = rows_of(X, weight=np.array([1.0, 2.0]))
    vars(rows)["is_sparse"] = True
    metric = np.array([[0.0, 0.0, 0.0, 0.0], [0.5, 2.0, 1.0, 1.0]])
    np.testing.assert_allclose(squared_norms(rows, metric), [1.0 + 0.5 + 4.0, 2.0 * (1.0 + 18.0)])


@pytest.mark.parametrize("separable", [False, True])
def test_no_step_is_longer_than_the_intercept_allows(separable):
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((4000, 3)))
    moments, ridge = Moments.of(rows, True), 3.0  # with it, no column is as curved as the intercept, whose curvature is 1
    for geometry in (
        full_batch_geometry(moments, rows, ridge, True, separable),
        mini_batch_geometry(rows, moments, 4000, ridge, True, separable),
    ):
        assert geometry.step <= 1.0


@pytest.mark.parametrize("nearness", [1e-3, 1e-9])
def test_whitened_rows_are_uncorrelated_and_of_deviation_1_however_near_two_columns_are(nearness):
    z = np.random.default_rng(0).standard_normal((500, 4)) / np.sqrt(500)
    z[:, 3] = z[:, 0] + nearness * z[:, 3]
    metric = np.ones((2, 5))
    whitening = whitening_of(*np.linalg.eigh(z.T @ z), metric, z)
    assert whitening.shape == (4, 4)
    white = z @ whitening
    np.testing.assert_allclose(white.T @ white, np.eye(4), atol=1e-5)  # 1e-16 of rounding over the nearness
    assert whitening_of(*np.linalg.eigh(z[:, :3].T @ z[:, :3]), metric[:, :4], z[:, :3]).shape == (3, 3)
    z[:, 3] = z[:, 0]
    assert whitening_of(*np.linalg.eigh(z.T @ z), metric, z).shape == (4, 3)  # a column twice is one


def test_a_stream_with_corrected_axes_still_minds_its_longest_row():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    rows = rows_of(X)
    geometry = Stream(longest=1e4).with_rows(rows).geometry(rows, rows, 8, 0.0, True)
    assert len(geometry.metric) > 2
    assert 1.0 / geometry.step >= 1e4 * 0.5 ** (400 / HALF_LIFE) / 8
    assert geometry.longest >= squared_norms(rows, geometry.metric).max()


# What goes on, and what starts afresh


def test_a_warm_fit_of_other_targets_starts_with_the_step_of_a_new_model():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True).fit(X, y)
    shortened = model.step_size_
    model.set_params(max_iter=1, tol=None).fit(X, 3.0 - y)
    fresh = MiniBatchLinearRegressor(random_state=0, max_iter=1, tol=None).fit(X, 3.0 - y)
    assert model.step_size_ == pytest.approx(fresh.step_size_)
    assert shortened < 0.5 * fresh.step_size_


def test_a_warm_fit_after_a_converged_one_waits_for_its_plateau_again():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True).fit(X, y).fit(X, y)
    assert model.n_iter_ >= model.n_iter_no_change


def test_given_coefficients_start_with_the_intercept_that_fits_them_wherever_the_columns_lie():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, max_iter=2, tol=None)
    coef = np.linspace(0.0, 1.0, 10)
    near, far = (clone(model).fit(X + shift, y, coef_init=coef).loss_curve_ for shift in (0.0, 1e4))
    # A shift of 1e4 rounds columns at 1e-12, along directions of condition 500.
    np.testing.assert_allclose(far, near, rtol=1e-6)


def near_twins_of_which_the_difference_counts():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    X[:, 3] = X[:, 0] + 1e-2 * X[:, 3]
    return X, 100 * (X[:, 3] - X[:, 0]) + 2 * rng.standard_normal(300)


@pytest.mark.parametrize("make", [diabetes, near_twins_of_which_the_difference_counts])
def test_a_later_call_goes_on_from_where_a_converged_fit_ended(make):
    model = MiniBatchLinearRegressor(random_state=0, momentum=0.5).fit(*make())
    coef, velocity, average = model._state["parameters"][0]
    np.testing.assert_allclose(coef, parts(model), rtol=1e-14)  # the intercept is the same sum, rounded twice
    np.testing.assert_allclose(average, parts(model), rtol=1e-14)
    assert (velocity[:-1] == 0.0).all()


def test_a_first_chunks_bad_row_is_judged_by_medians_wherever_the_columns_lie():
    rng = np.random.default_rng(0)

    def chunk():
        X = 2000 + 3 * rng.standard_normal((500, 3))
        return X, X @ [1.0, 2.0, -1.0] + rng.standard_normal(500)

    X, y = chunk()
    X[3] = 1e7
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y)
    for _ in range(20):
        model.partial_fit(*chunk())
    assert model.score(*chunk()) > 0.95  # noise of 1 in a deviation of 7: 0.98


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


def test_of_more_axes_than_may_be_corrected_the_farthest_out_of_band_are():
    eigenvalues = np.array([1e-6, 1e-3, 1e-1, 1.0, 50.0])
    axes, bounds = axes_out_of_band(eigenvalues, np.eye(5), 0.9, 2.0, most=2)
    np.testing.assert_array_equal(axes, np.eye(5)[:2])
    np.testing.assert_array_equal(bounds, [0.9, 0.9])
    axes, bounds = axes_out_of_band(eigenvalues, np.eye(5), 1e-7, 2.0, most=2)
    np.testing.assert_array_equal(axes, np.eye(5)[4:])
    np.testing.assert_array_equal(bounds, [2.0])


def test_the_eigenvalue_of_a_stream_of_many_columns_is_the_mean_of_its_chunks():
    rng = np.random.default_rng(0)
    together, apart = np.outer(rng.standard_normal(300), np.ones(6)), rng.standard_normal((300, 6))
    first, both = rows_of(together + 1e-3 * apart), rows_of(apart)
    stream = diagonal(Stream().with_rows(first))
    before = stream.geometry(first, first, 32, 0.0, True).eigenvalue
    stream = stream._replace(eigenvalue=before).with_rows(both)
    after = stream.geometry(both, both, 32, 0.0, True).eigenvalue
    assert before == pytest.approx(6.0, rel=0.1)
    assert 0.5 * before < after < 0.8 * before  # half of it, and half of the 1.3 or so of columns apart


@pytest.mark.parametrize("batch_size", [1, 32, 256])
def test_stretched_axes_make_no_row_much_longer_than_the_longest(batch_size):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1000, 5))
    weak = 1e-3 * rng.standard_normal(1000)
    weak[5] += 0.3  # thirty deviations out along the weak direction
    rows = rows_of(np.column_stack([z, z[:, 0] + weak]))
    moments = Moments.of(rows, False)
    before = squared_norms(rows, standard_metric(moments.center, moments.variance, 0.0, True)).max()
    metric = mini_batch_geometry(rows, moments, batch_size, 0.0, True, False).metric
    assert len(metric) > 2
    assert squared_norms(rows, metric).max() <= 2.0 * before


def test_a_full_batch_of_no_more_rows_than_columns_is_not_put_on_other_rows():
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(None)
    for n, few in ((8, False), (20, True)):
        problem, _ = problem_of_fit(model, rows_of(rng.standard_normal((n, 8)), rng.standard_normal(n)))
        assert (problem.whole is not None) == few


def test_the_best_constant_of_a_kinked_loss_is_a_target_to_the_last_bit():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        y = np.concatenate([rng.standard_normal(5), np.full(20, rng.standard_normal())])
        model = MiniBatchLinearRegressor(loss="quantile")
        assert problem_of_fit(model, rows_of(np.zeros((25, 1)), y))[0].constant[0] == y[-1]


# Where a stream ends


@pytest.mark.parametrize("size", [7, 100, 442])
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("penalty", ["none", "l2"])
def test_a_pass_over_chunks_in_any_order_ends_at_least_squares(penalty, order, size):
    X, y = diabetes()
    rows = np.argsort(y) if order == "sorted" else np.random.default_rng(0).permutation(len(y))
    alpha = 20.0 if penalty == "l2" else 0.0
    model = MiniBatchLinearRegressor(random_state=0, alpha=alpha, tol=1e-6)
    for start in range(0, len(y), size):
        model.partial_fit(X[rows[start : start + size]], y[rows[start : start + size]])
    exact = Ridge(alpha=len(y) * alpha / 2).fit(X, y)
    best, constant = (np.mean((y - p) ** 2) for p in (exact.predict(X), y.mean()))
    best, reached = (np.mean((y - m.predict(X)) ** 2) + alpha / 2 * m.coef_ @ m.coef_ for m in (exact, model))
    assert -1e-12 <= (reached - best) / (constant - best) <= 1e-5  # ten times tol


def test_every_call_of_a_sorted_stream_ends_near_the_minimum_over_the_rows_seen():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 6)) @ rng.standard_normal((6, 6))
    y = np.exp(X @ rng.standard_normal(6) / 4 + 0.3 * rng.standard_normal(6000))  # most are small: the last chunk lies far off
    rows, model = np.argsort(y), MiniBatchLinearRegressor(random_state=0)
    for start in range(0, len(y), 300):
        model.partial_fit(X[rows[start : start + 300]], y[rows[start : start + 300]])
        seen = rows[: start + 300]
        best = LinearRegression().fit(X[seen], y[seen]).score(X[seen], y[seen])
        assert best - model.score(X[seen], y[seen]) <= 1e-3 * best  # ten times tol


def test_without_its_default_average_a_stream_ends_where_its_steps_lead():
    X, y = diabetes()
    ends = [MiniBatchLinearRegressor(average=average, random_state=0).partial_fit(X, y) for average in ("auto", True, False)]
    least = LinearRegression().fit(X, y).score(X, y)
    assert ends[0].score(X, y) == pytest.approx(least, rel=1e-3)
    assert all(model.score(X, y) < least - 1e-3 for model in ends[1:])


def test_few_rows_of_many_columns_are_not_interpolated_by_a_stream():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 30)), rng.standard_normal(40)
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y)
    assert model.score(X, y) < 0.9 * LinearRegression().fit(X, y).score(X, y)
    stream = State.restored(model._state).stream
    assert not stream.knows_the_minimum_of(SQUARED_ERROR)
    assert stream.with_rows(rows_of(rng.standard_normal((60, 30)))).knows_the_minimum_of(SQUARED_ERROR)


def test_a_stream_that_goes_on_from_a_full_batch_has_its_moments():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None).fit(X, y)
    moments, expected = State.restored(model._state).stream.moments, Moments.of(rows_of(X, y), True)
    np.testing.assert_array_equal(moments.second, expected.second)
    np.testing.assert_array_equal(moments.mean, expected.mean)


def test_a_stream_that_goes_on_from_a_fit_takes_it_for_the_minimum_over_its_rows():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    moments = State.restored(model._state).stream.moments
    few, targets = moments.as_rows(np.zeros(10))
    standing = LinearRegression().fit(few, targets[0])
    np.testing.assert_allclose(standing.coef_ * X.std(axis=0), model.coef_ * X.std(axis=0), rtol=1e-5, atol=1e-5)
    assert standing.intercept_ == pytest.approx(model.intercept_, rel=1e-4)
    assert np.mean((targets[0] - standing.predict(few)) ** 2) == pytest.approx(model.loss_curve_[-1], rel=1e-6)
    assert moments.n_rows == moments.weight == len(X)
    before = model.coef_.copy()
    model.partial_fit(X[:50], y[:50])
    assert np.abs((model.coef_ - before) * X.std(axis=0)).max() < 0.2 * np.abs(before * X.std(axis=0)).max()


def test_a_plain_schedule_keeps_no_stream_and_auto_goes_on_with_what_it_kept():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, learning_rate="constant", eta0=1e-6).partial_fit(X, y)
    assert State.restored(model._state).stream.moments is None
    model.set_params(learning_rate="auto", eta0=0.01).partial_fit(X, y)
    n_rows = State.restored(model._state).stream.n_rows
    model.set_params(learning_rate="constant", eta0=1e-6).partial_fit(X, y)
    assert State.restored(model._state).stream.n_rows == n_rows == len(X)


@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_streams_step_is_no_shorter_than_its_axes_call_for(batch_size):
    rng = np.random.default_rng(0)
    for common in (0.0, 0.99):
        X = common * rng.standard_normal((4000, 1)) + np.sqrt(1.0 - common**2) * rng.standard_normal((4000, 6))
        rows = rows_of(X)
        for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
            geometry = stream.geometry(rows, rows, batch_size, 0.0, True)
            metric, longest = geometry.metric, squared_norms(rows, geometry.metric).max()
            D = np.diag(metric[1, :-1]) + metric[2:, :-1].T * metric[2:, -1] @ metric[2:, :-1]
            largest = np.linalg.eigvals(D @ np.cov(X.T, bias=True)).real.max()
            # The estimate of the largest is an upper one: a tenth for safety, half as much again for axes left alone, and the
            # longest row as it was before they were corrected.
            bound = (batch_size - 1) * max(largest, 1.0) + longest
            assert bound <= batch_size / geometry.step <= (1.2 if len(metric) == 2 else 2.2) * bound


def test_a_stream_of_many_columns_keeps_variances_alone():
    rng = np.random.default_rng(0)
    assert Stream().with_rows(rows_of(rng.standard_normal((5, 499)))).moments.is_full
    assert not Stream().with_rows(rows_of(rng.standard_normal((5, 500)))).moments.is_full


def test_a_first_chunks_rows_are_held_against_its_own_longer_ones():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    center = np.median(X, axis=0)
    spread = np.median(np.abs(X - center), axis=0)
    X[5] = 1e5
    norms = 1.0 + np.sum(((X - center) / spread) ** 2, axis=1)
    weight = Stream().bounded(rows_of(X), np.zeros((1, 4)), SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    assert weight[5] * norms[5] == pytest.approx(UNUSUAL * FIRST * np.quantile(norms, 0.9), rel=0.02)


def test_a_full_batch_of_squared_error_is_followed_without_noise():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None, random_state=0).fit(X, y)
    assert model.n_iter_ <= 20
    assert (np.diff(model.loss_curve_) <= 1e-12 * model.loss_curve_[0]).all()
    np.testing.assert_allclose(State.restored(model._state).parameters[0, 2], State.restored(model._state).parameters[0, 0])


def test_whitening_counts_what_the_penalty_adds_to_each_column():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)) * [1.0, 10.0, 0.1] + rng.standard_normal((500, 1))
    rows, ridge = rows_of(X), 0.7
    moments, covariance = Moments.of(rows, True), np.cov(X.T, bias=True)
    for geometry in (
        mini_batch_geometry(rows, moments, 8, ridge, True, False),
        full_batch_geometry(moments, rows, ridge, True, False),
    ):
        white = geometry.whitening
        np.testing.assert_allclose(white.T @ (covariance + ridge * np.eye(3)) @ white, np.eye(3), atol=1e-9)


def test_a_safe_step_is_one_over_the_curvature_and_none_where_there_is_none():
    assert [safe_length(smoothness) for smoothness in (0.0, 0.5, 4.0)] == [0.0, 2.0, 0.25]


def eigenvalues_along_the_descent(geometry, X):
    metric = geometry.metric
    D = np.diag(metric[1, :-1]) + metric[2:, :-1].T * metric[2:, -1] @ metric[2:, :-1]
    return np.sort(np.linalg.eigvals(D @ np.cov(X.T, bias=True)).real)


def test_axes_are_brought_to_what_the_rows_cross_and_to_what_their_lengths_allow():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.7, 1.7, (2000, 6))
    X[:, 1] = X[:, 0] + 1e-2 * X[:, 1]  # one direction of 2, and one near 5e-5
    rows, b = rows_of(X), 64
    stream = Stream().with_rows(rows)
    plain = standard_metric(stream.moments.center, stream.moments.variance, 0.0, True)
    longest = squared_norms(rows, plain).max()
    assert longest < b  # so that the largest eigenvalue that does not shorten a step is 1
    found = eigenvalues_along_the_descent(stream.geometry(rows, rows, b, 0.0, True), X)
    assert found[-1] == pytest.approx(1.0, abs=0.1)
    assert found[0] == pytest.approx(10 * (longest / b + 1.0) * b / 2000, rel=0.02)
    few = rows_of(X[:200])  # a fit of four steps an epoch
    geometry = mini_batch_geometry(few, Moments.of(few, False), b, 0.0, True, False)
    longest = squared_norms(few, standard_metric(X[:200].mean(axis=0), X[:200].var(axis=0), 0.0, True)).max()
    by_rows = 200 * longest / (b * 199) * (1 - b / 200)
    found = eigenvalues_along_the_descent(geometry, X[:200])
    assert found[0] == pytest.approx(min(1.0, (by_rows + 1.0) / 4), rel=0.05)


@pytest.mark.parametrize(("options", "costs_all"), [({"momentum": 0.5}, True), ({"average": True}, True), ({}, False)])
def test_sparse_steps_cost_all_columns_where_these_move_or_are_averaged_with_an_l1_norm(options, costs_all):
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((60, 1100)) < 0.01).astype(float))
    model = MiniBatchLinearRegressor(4, penalty="l1", alpha=0.1, **options)
    problem, _ = problem_of_fit(model, rows_of(X, rng.standard_normal(60)))
    state = State.start(np.zeros((1, 1101)), 0)
    assert Schedule.of(model, problem, state, True).moves_all_columns(problem.penalty) == costs_all
    without = Penalty(0.1, 0.0)
    assert Schedule.of(model, problem, state, True).moves_all_columns(without) == ("momentum" in options)


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
def test_a_stream_after_a_penalised_fit_ends_at_the_minimum_over_all_rows(penalty, fit_intercept, batch_size):
    if penalty != "l2" and batch_size == 32:
        pytest.skip("with an l1 norm, mini-batches do not look at correlations, and the stream follows its steps")
    X, y = diabetes()
    X, y = (X - X.mean(axis=0)) / X.std(axis=0) + 0.5, y / y.std() + (0.0 if fit_intercept else 3.0)
    options = {"penalty": penalty, "alpha": 0.3, "fit_intercept": fit_intercept, "tol": 1e-7}
    model = MiniBatchLinearRegressor(batch_size, random_state=0, **options).fit(X, y).partial_fit(X[:150], y[:150])
    rows, strength = np.concatenate([np.arange(442), np.arange(150)]), {"l2": (0.0, 1.0), "l1": (1.0, 0.0)}
    l1, l2 = strength.get(penalty, (0.15, 0.85))
    exact = ElasticNet(alpha=0.15 * (l1 + l2), l1_ratio=l1, fit_intercept=fit_intercept, tol=1e-10, max_iter=100_000)
    exact.fit(X[rows], y[rows])

    def objective(m):
        mse = np.mean((m.predict(X[rows]) - y[rows]) ** 2)
        return mse + 0.3 * (l1 * np.abs(m.coef_).sum() + 0.5 * l2 * m.coef_ @ m.coef_)

    assert (
        objective(model) - objective(exact) <= 1e-5
    )  # ten times tol of a variance of one; covariances of a fit are of all rows


def test_rows_of_weight_w_in_a_stream_outweigh_the_penalty_w_times():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, alpha=20.0, tol=1e-8)
    for rows in np.array_split(np.random.default_rng(0).permutation(442), 5):
        model.partial_fit(X[rows], y[rows], np.full(len(rows), 100.0))
    exact = Ridge(alpha=442 * 20.0 / 2 / 100.0).fit(X, y)
    np.testing.assert_allclose(model.coef_ * X.std(axis=0), exact.coef_ * X.std(axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [{"max_iter": 1}, {"early_stopping": True}, {"loss": "huber", "epsilon": 20.0}], ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_has_not_ended_at_least_squares_is_not_taken_for_them_by_a_stream(options):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, **options).fit(X, y)
    stream = State.restored(model._state).stream
    assert stream.moments.is_full
    assert not stream.knows_the_minimum_of(SQUARED_ERROR)
    np.testing.assert_allclose(
        stream.moments.target_mean, y.mean() if "early_stopping" not in options else stream.moments.mean[-1:]
    )
    model.set_params(loss="squared_error", epsilon=0.1, early_stopping=False).partial_fit(X, y)
    assert not State.restored(model._state).stream.knows_the_minimum_of(SQUARED_ERROR)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", [{"loss": "huber", "epsilon": 20.0}, {"loss": "quantile"}], ids=str)
def test_readings_of_other_columns_are_not_gone_on_with(loss):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None, warm_start=True, max_iter=3, **loss).fit(X, y)
    other = X[::-1].copy()  # the same columns' means, the same targets
    model.set_params(max_iter=1000).fit(other, y)
    fresh = MiniBatchLinearRegressor(None, **loss).fit(other, y)
    np.testing.assert_allclose(model.predict(other), fresh.predict(other), atol=0.01 * y.std())


def test_a_stream_whose_longest_row_has_faded_still_takes_a_row_of_deviation_1_in_all_columns_for_usual():
    X = np.random.default_rng(0).standard_normal((200, 3))
    stream, at = Stream().with_rows(rows_of(X)), np.zeros((1, 4))
    X[5] *= 1e6
    weight = stream.bounded(rows_of(X), at, SQUARED_ERROR).weight
    length = np.sum((X[5] - stream.moments.center) ** 2 / stream.moments.variance)
    assert weight[5] * length == pytest.approx((3.0 + 1.0) * UNUSUAL, rel=0.01)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_streams_step_is_safe_for_the_penalty_of_the_column_that_varies_least(batch_size):
    X = np.random.default_rng(0).standard_normal((400, 2)) * [0.1, 10.0]
    rows = rows_of(X)
    for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
        bare, penalised = (stream.geometry(rows, rows, batch_size, ridge, True) for ridge in (0.0, 3.0))
        assert 1.0 / bare.step < 20.0
        of_penalty = 3.0 * penalised.metric[1, 0]  # nearly 1, of the other column 0.03
        longest = squared_norms(rows, penalised.metric[:2]).max()
        assert 1.0 / penalised.step >= ((batch_size - 1) + longest) / batch_size + of_penalty


def test_a_full_batch_without_axes_steps_by_the_largest_eigenvalue():
    common = np.random.default_rng(0).standard_normal((2000, 1))
    rows = rows_of(0.9 * common + 0.44 * np.random.default_rng(1).standard_normal((2000, 4)))
    geometry = full_batch_geometry(Moments.of(rows, True), rows, 0.0, True, True)
    assert len(geometry.metric) == 2
    assert 1.0 / geometry.step == pytest.approx(np.linalg.eigvalsh(np.corrcoef(rows.X.T))[-1])
    apart = rows_of(np.eye(4)[np.arange(2000) % 4] - 0.25)  # all eigenvalues but one above 1
    ridge = 1e3
    geometry = full_batch_geometry(Moments.of(apart, True), apart, ridge, True, True)
    assert geometry.step == pytest.approx(1.0, rel=1e-3)  # the intercept's curvature, which no penalty makes less


def test_a_stream_of_single_rows_steps_by_the_longest_of_them():
    rows = rows_of(np.random.default_rng(0).standard_normal((500, 4)))
    for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
        geometry = stream.geometry(rows, rows, 1, 0.0, True)
        assert 1.0 / geometry.step == pytest.approx(squared_norms(rows, geometry.metric).max())
        b = stream.geometry(rows, rows, 50, 0.0, True)
        assert 1.0 / b.step == pytest.approx((49.0 * 1.1 * max(b.eigenvalue, 1.0) + b.longest) / 50.0)


def test_a_streams_steepness_begins_with_that_of_its_first_chunk():
    X, y = np.zeros((100, 1)), np.full(100, 3.0)
    stream = Stream().with_steepness(rows_of(X, y), np.zeros((1, 2)), LOSSES["quantile"](None, 0.3))
    assert stream.slope == pytest.approx(100 * 0.3)  # every prediction lies below its target
    assert stream.size == pytest.approx(100 * 3.0)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_moments_that_a_fit_leaves_to_a_stream_are_those_of_its_rows(fit_intercept):
    X, y = regression_table()
    model = MiniBatchLinearRegressor(32, random_state=0, fit_intercept=fit_intercept).fit(X, y)
    moments, exact = State.restored(model._state).stream.moments, Moments.of(rows_of(X, y), True)
    # The descent is within a thousandth of least squares, and the covariance is that of a sample of the rows.
    np.testing.assert_allclose(moments.mean, exact.mean, rtol=0.02, atol=0.1)
    assert moments.target_variance + moments.target_mean**2 == pytest.approx(
        exact.target_variance + exact.target_mean**2, rel=0.05
    )
    np.testing.assert_allclose(moments.second[:-1, -1], exact.second[:-1, -1], rtol=0.1, atol=0.1)


def regression_table():
    rng = np.random.default_rng(0)
    X = rng.normal([1.0, -1.0, 0.0], 1.0, (1000, 3))
    return X, X @ [3.0, 1.0, -2.0] + 2.0 + 0.5 * rng.standard_normal(1000)
