"""What a later call goes on from: resumed fits, streams, and what a row, a chunk or a failure may do to them."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from skgd import MiniBatchLinearRegressor, _geometry, _step_size
from skgd._geometry import (
    HALF_LIFE,
    Stream,
    axes_out_of_band,
    bounded,
    full_batch_step,
    mini_batch_geometry,
    squared_norms,
    standard_metric,
    stream_geometry,
    whitening_of,
)
from skgd._plan import CEILING, FORGETTING, hold_out, make_problem, make_schedule, measured, note_level
from skgd._regressor import State
from tests.conftest import diabetes, rows_of

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
        constant = make_problem(model, rows_of(np.zeros((40_000, 1)), y, weight)).constant
        assert constant == pytest.approx(-0.95, abs=0.01)  # of rows spread evenly over 0.1, in a sample of 10,000


# Streams


def test_moments_of_sparse_chunks_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((300, 4)) < 0.3, rng.standard_normal((300, 4)), 0.0)
    X[:, 2] += 5.0
    weight = rng.uniform(0.1, 2.0, 300)
    stream = Stream.empty(4)
    for chunk in np.array_split(np.arange(300), [1, 2, 150]):
        part = rows_of(csr_array(X[chunk]), weight=weight[chunk])
        vars(part)["is_sparse"] = True
        stream = stream.with_moments_of(part)
    mean = np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose(stream.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(stream.variance, np.average((X - mean) ** 2, axis=0, weights=weight), rtol=1e-12)


def test_covariance_of_chunks_is_that_of_the_whole():
    X, _ = diabetes()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(X))
    stream = Stream.empty(10, has_covariance=True)
    for chunk in np.array_split(np.arange(len(X)), [1, 2, 300]):
        stream = stream.with_moments_of(rows_of(X[chunk], weight=weight[chunk]))
    np.testing.assert_allclose(stream.covariance, np.cov(X.T, aweights=weight, bias=True), rtol=1e-9)
    np.testing.assert_allclose(np.diag(stream.covariance), stream.variance, rtol=1e-9)


def test_a_streams_longest_row_fades_by_half_over_the_half_life():
    rows = rows_of(np.random.default_rng(0).standard_normal((HALF_LIFE // 10, 3)))
    stream = Stream.empty(3).with_moments_of(rows)._replace(longest=1e6)
    after = stream_geometry(stream, rows, rows, 32, 0.0, True).stream
    assert after.longest == pytest.approx(1e6 * 0.5**0.1)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_a_streams_step_is_safe_for_the_mean_and_for_the_longest_row(batch_size):
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 1))
    rows = rows_of(0.99 * common + 0.14 * rng.standard_normal((400, 6)))  # one eigenvalue near 6
    stream = Stream.empty(6).with_moments_of(rows)
    geometry = stream_geometry(stream, rows, rows, batch_size, 0.0, True)
    z = np.sqrt(geometry.metric[1, :-1]) * (rows.X - geometry.metric[0, :-1])
    mean, longest = np.linalg.eigvalsh(z.T @ z / 400)[-1], squared_norms(rows, geometry.metric).max()
    assert 1.0 / geometry.step >= ((batch_size - 1) * mean + longest) / batch_size
    assert 1.0 / geometry.step <= 1.2 * ((batch_size - 1) * mean + longest) / batch_size + 1e-9


def test_a_streams_steepness_fades():
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    X = rng.standard_normal((HALF_LIFE, 2))
    model.partial_fit(X[:1000], 1e3 * rng.standard_normal(1000))
    slope, _ = model._state["steepness"]
    model.partial_fit(X, np.zeros(HALF_LIFE))
    # of the first chunk's sums half is left; the second adds slopes of 1/2 and residuals that the model still has
    assert model._state["steepness"][0] == pytest.approx(0.5 * slope + 0.5 * HALF_LIFE, rel=0.01)


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
    stream = Stream.empty(4).with_moments_of(rows)
    geometry = mini_batch_geometry(rows, stream, 8, 0.0, True, False)
    assert len(geometry.metric) > 2
    plain = standard_metric(stream.mean, stream.variance, 0.0, True)
    assert squared_norms(rows, geometry.metric).max() <= 2.1 * squared_norms(rows, plain).max()


def regression_stream(seed=0):
    rng = np.random.default_rng(seed)
    w = np.array([3.3, -1.0, 2.0, 0.5, 0.0])

    def chunk(n):
        X = rng.standard_normal((n, 5)) + 1.0
        return X, X @ w + 0.3 * rng.standard_normal(n)

    return chunk, w


def test_the_cap_keeps_a_stream_from_chunks_unlike_all_before(monkeypatch):
    def run():
        chunk, _ = regression_stream()
        model = MiniBatchLinearRegressor(random_state=0)
        for k in range(105):
            X, y = chunk(100 if k < 100 else 128)
            X[:, 0] *= 1000.0 if k >= 100 else 1.0
            model.partial_fit(X, y)
        return model.coef_[0]

    assert abs(run() - 3.3) < 0.1
    monkeypatch.setattr("skgd._plan.SAFE_CAP", np.inf)
    with pytest.raises(ValueError, match="too large"):
        run()


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
    stream = Stream.empty(3).with_moments_of(rows_of(X))._replace(longest=12.0)
    X[5] *= 1e6
    weight = bounded(rows_of(X), stream).weight
    assert (np.delete(weight, 5) == 1.0).all()
    assert weight[5] * np.sum((X[5] - stream.mean) ** 2 / stream.variance) == pytest.approx(12.0 * _geometry.UNUSUAL, rel=0.01)


def test_a_level_shift_is_believed_at_a_stated_rate():
    chunk, _ = regression_stream()
    model = MiniBatchLinearRegressor(random_state=0)
    for _ in range(20):
        model.partial_fit(*chunk(100))
    for _ in range(20):  # a factor of at most 5.5 a hundred rows: ten chunks for 1e8
        X, y = chunk(100)
        model.partial_fit(X, y + 1e4)
    for _ in range(40):
        X, y = chunk(100)
        model.partial_fit(X, y + 1e4)
    X, y = chunk(500)
    assert abs(np.mean(model.predict(X) - y - 1e4)) < 1e4 * CEILING**-0.5


# Schedules


def problem_of(model, n=200):
    X = np.random.default_rng(0).standard_normal((n, 3))
    problem, _ = measured(model, make_problem(model, rows_of(X, X.sum(axis=1))))
    return problem, State(np.zeros((1, 3, 4)), np.ones(1), 0)


def test_auto_keeps_its_step_without_tol_and_shortens_it_with():
    X, y = diabetes()
    lengths = [MiniBatchLinearRegressor(random_state=0, max_iter=n, tol=None).fit(X, y).step_size_ for n in (1, 40)]
    assert lengths[0] == lengths[1]
    assert MiniBatchLinearRegressor(random_state=0).fit(X, y).step_size_ < 0.5 * lengths[0]


def test_momentum_shortens_autos_step_and_lengthens_its_patience():
    plain, heavy = MiniBatchLinearRegressor(None, loss="huber"), MiniBatchLinearRegressor(None, loss="huber", momentum=0.9)
    schedules = [make_schedule(model, *problem_of(model), True) for model in (plain, heavy)]
    (slow, patience), (fast, short) = ((s.length(1.0), p.patience) for s, p in schedules[::-1])
    assert slow == pytest.approx(0.1 * fast)
    constant = [m.set_params(learning_rate="constant") for m in (plain, heavy)]
    patiences = [make_schedule(model, *problem_of(model), True)[1].patience for model in constant]
    assert patiences == pytest.approx([5, 50])
    assert patience >= short


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
    train, score = hold_out(MiniBatchLinearRegressor(validation_fraction=0.2), rows, seed=5)
    held_out = np.setdiff1d(rows.numbers, train.numbers)
    assert len(held_out) == np.ceil(0.2 * len(rows))
    assert len(held_out) + len(train) == len(rows)
    coef = np.random.default_rng(1).standard_normal(10)
    by_hand = r2_score(y[held_out], (X[held_out] - 2.0) @ coef + 3.0, sample_weight=weight[held_out])
    assert score(np.append(coef, 3.0)[None], np.full(10, 2.0)) == pytest.approx([by_hand], rel=1e-12)


def test_zeros_after_early_stopping_cost_one_step_and_not_the_restored_parameters():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(early_stopping=True, penalty="l1", alpha=20.0, random_state=0).fit(X, y)
    best = model._state["best"][0][0]
    assert (model.coef_ == 0.0).any()
    scale = X.std(axis=0)
    assert np.abs((model.coef_ - best[:-1]) * scale).max() < 0.3 * np.abs(best[:-1] * scale).max()


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
    stream = Stream.empty(3).with_moments_of(rows)
    assert len(mini_batch_geometry(rows, stream, 8, 0.0, True, False).metric) == 2  # a thousand steps
    assert len(stream_geometry(stream, rows, rows, 8, 0.0, True).metric) == 2
    assert len(stream_geometry(stream._replace(covariance=np.cov(X.T, bias=True)), rows, rows, 8, 0.0, True).metric) == 2
    few = rows_of(X[:64])
    stream = Stream.empty(3).with_moments_of(few)
    assert len(mini_batch_geometry(few, stream, 32, 0.0, True, False).metric) > 2  # two
    assert len(stream_geometry(stream._replace(covariance=np.cov(X[:64].T, bias=True)), few, few, 32, 0.0, True).metric) > 2


def test_a_proximal_step_on_all_rows_is_safe_for_their_curvature_and_the_penaltys():
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((400, 4)) + 0.8 * rng.standard_normal((400, 1)))
    ridge = 0.7
    geometry = mini_batch_geometry(rows, Stream.empty(4).with_moments_of(rows), 400, ridge, True, True)
    z = np.sqrt(geometry.metric[1, :-1]) * (rows.X - geometry.metric[0, :-1])
    largest = np.linalg.eigvalsh(z.T @ z / 400)[-1]
    step = full_batch_step(geometry, ridge)
    assert step * (largest + ridge * geometry.metric[1, :-1].max()) <= 1.0
    assert step * (largest + ridge * geometry.metric[1, :-1].max()) >= 0.6


def test_a_streams_level_is_its_mean_loss_and_then_fades_and_rises_by_a_factor_at_most():
    state = State(np.zeros((1, 3, 2)), np.ones(1), 0)
    for n_seen, loss in ((20, 4.0), (60, 1.0), (80, 7.0)):
        state.stream = (n_seen,)
        note_level(state, np.array([loss]), {20: 20, 60: 40, 80: 20}[n_seen])
    assert state.level == pytest.approx([(20 * 4 + 40 * 1 + 20 * 7) / 80])
    state.level, state.stream = np.array([2.0]), (1000,)
    note_level(state, np.array([6.0]), FORGETTING)
    assert state.level == pytest.approx([4.0])  # half of it forgotten
    note_level(state, np.array([1e9]), FORGETTING)
    assert state.level == pytest.approx([0.5 * 4.0 + 0.5 * 4.0 * _geometry.UNUSUAL])


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
    stream = Stream.empty(3, has_covariance=True).with_moments_of(rows)._replace(longest=1e4)
    geometry = stream_geometry(stream, rows, rows, 8, 0.0, True)
    assert len(geometry.metric) > 2
    assert 1.0 / geometry.step >= 1e4 * 0.5 ** (400 / HALF_LIFE) / 8
    assert geometry.stream.longest >= squared_norms(rows, geometry.metric).max()


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
    assert make_schedule(model, *problem_of(model), True)[1].patience == pytest.approx(500)


def test_the_unit_of_a_straight_loss_does_not_care_how_wild_a_target_is():
    X, y = diabetes()
    wild = np.array(y)
    wild[7] = 1e9
    for loss in ("huber", "quantile", "epsilon_insensitive"):
        model = MiniBatchLinearRegressor(loss=loss)
        plain, other = (make_problem(model, rows_of(X, target)) for target in (y, wild))
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
    stream = Stream.empty(6).with_moments_of(first)
    stream = stream_geometry(stream, first, first, 32, 0.0, True).stream
    before = stream.eigenvalue
    after = stream_geometry(stream.with_moments_of(both), both, both, 32, 0.0, True).stream.eigenvalue
    assert before == pytest.approx(6.0, rel=0.1)
    assert 0.5 * before < after < 0.8 * before  # half of it, and half of the 1.3 or so of columns apart


@pytest.mark.parametrize("batch_size", [1, 32, 256])
def test_stretched_axes_make_no_row_much_longer_than_the_longest(batch_size):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1000, 5))
    weak = 1e-3 * rng.standard_normal(1000)
    weak[5] += 0.3  # thirty deviations out along the weak direction
    rows = rows_of(np.column_stack([z, z[:, 0] + weak]))
    stream = Stream.empty(6).with_moments_of(rows)
    before = squared_norms(rows, standard_metric(stream.mean, stream.variance, 0.0, True)).max()
    metric = mini_batch_geometry(rows, stream, batch_size, 0.0, True, False).metric
    assert len(metric) > 2
    assert squared_norms(rows, metric).max() <= 2.0 * before


def test_a_full_batch_of_no_more_rows_than_columns_is_not_put_on_other_rows():
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(None)
    for n, few in ((8, False), (20, True)):
        problem, _ = measured(model, make_problem(model, rows_of(rng.standard_normal((n, 8)), rng.standard_normal(n))))
        assert (problem.whole is not None) == few


def test_the_best_constant_of_a_kinked_loss_is_a_target_to_the_last_bit():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        y = np.concatenate([rng.standard_normal(5), np.full(20, rng.standard_normal())])
        model = MiniBatchLinearRegressor(loss="quantile")
        assert make_problem(model, rows_of(np.zeros((25, 1)), y)).constant[0] == y[-1]
