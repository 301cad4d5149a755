"""What a stream keeps of the rows it has seen, and how little one unlike row may change."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge

from skgd import MiniBatchLinearRegressor
from skgd._constant import ENOUGH_FOR_A_MEAN
from skgd._rows import SAMPLE
from skgd._stream import CEILING, UNUSUAL
from tests.conftest import (
    LOSSES,
    SQUARED_ERROR,
    Moments,
    State,
    Stream,
    bounded_by,
    diabetes,
    rows_of,
)


def diagonal(stream):
    """The same stream, had it too many columns to know their covariance."""
    return stream._replace(moments=replace(stream.moments, products=None))


def test_a_streams_longest_row_fades_by_half_over_the_half_life():
    rows = rows_of(np.random.default_rng(0).standard_normal((SAMPLE // 10, 3)))
    stream = Stream(longest=1e6).with_rows(rows)
    assert stream.with_longest(rows, rows).longest == pytest.approx(1e6 * 0.5**0.1)


@pytest.mark.parametrize("options", [{}, {"penalty": "l1", "alpha": 0.01}, {"record_steps": True}, {"average": False}], ids=str)
def test_a_streams_longest_row_fades_once_a_call(options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SAMPLE, 5))
    X[0] *= 30.0
    y = X.sum(axis=1) + rng.standard_normal(SAMPLE)
    model, longest = MiniBatchLinearRegressor(random_state=0, **options), []
    for half in (slice(0, SAMPLE // 2), slice(SAMPLE // 2, SAMPLE)):
        model.partial_fit(X[half], y[half])
        longest.append(State.restored(model._state).stream.longest)
    assert longest[1] == pytest.approx(longest[0] * 0.5**0.5)


def test_steps_of_a_stream_are_as_short_as_its_longest_row_asks_for():
    rows = rows_of(np.random.default_rng(0).standard_normal((SAMPLE // 10, 3)))
    stream = Stream(longest=1e6).with_rows(rows)
    step = stream.geometry(rows, rows, 1, 0.0, True).step
    assert 1.0 / step == pytest.approx(1e6)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_a_streams_step_is_safe_for_the_mean_and_for_the_longest_row(batch_size):
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 1))
    rows = rows_of(0.99 * common + 0.14 * rng.standard_normal((400, 6)))  # one eigenvalue near 6
    geometry = diagonal(Stream().with_rows(rows)).geometry(rows, rows, batch_size, 0.0, True)
    z = np.sqrt(geometry.metric.scale) * (rows.X - geometry.metric.center)
    mean, longest = np.linalg.eigvalsh(z.T @ z / 400)[-1], geometry.metric.squared_norms(rows).max()
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
    fading = 0.5 ** (500 / SAMPLE)
    assert after.slope == pytest.approx(fading * before.slope + slope)
    assert after.size == pytest.approx(fading * before.size + 500 * np.median(np.abs(residual)), rel=0.01)


def test_a_streams_steepness_fades():
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(loss="quantile", random_state=0)
    X = rng.standard_normal((SAMPLE, 2))
    model.partial_fit(X[:1000], 1e3 * rng.standard_normal(1000))
    slope = State.restored(model._state).stream.slope
    model.partial_fit(X, np.zeros(SAMPLE))
    # of the first chunk's sums half is left; the second adds slopes of 1/2 and residuals that the model still has
    assert State.restored(model._state).stream.slope == pytest.approx(0.5 * slope + 0.5 * SAMPLE, rel=0.01)


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
    monkeypatch.setattr("skgd._step_size.cap_of", lambda problem: np.inf)
    assert abs(run() - 3.3) > 0.5


@pytest.mark.parametrize(("n_first", "is_constant"), [(1, False), (50, True), (200, True)])
def test_steps_go_on_after_first_rows_that_have_no_loss(n_first, is_constant):
    chunk, w = regression_stream()
    model, (X, y) = MiniBatchLinearRegressor(average=False, random_state=0), chunk(n_first)
    model.partial_fit(X, 0.0 * y if is_constant else y)
    for _ in range(40):
        model.partial_fit(*chunk(500))
    np.testing.assert_allclose(model.coef_, w, atol=0.3)  # with a ceiling of zero for losses, no step would move


def test_periodic_rows_of_a_first_chunk_count_as_shuffled_ones_do():
    rng = np.random.default_rng(0)
    X, is_long = rng.standard_normal((20_000, 2)), np.arange(20_000) % 3 == 1
    X[is_long] *= 100.0
    y, order = X @ [1.0, 2.0] + rng.standard_normal(20_000) * np.where(is_long, 100.0, 1.0), rng.permutation(20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        periodic, shuffled = (MiniBatchLinearRegressor(random_state=0).partial_fit(X[i], y[i]) for i in (slice(None), order))
    np.testing.assert_allclose(periodic.coef_, shuffled.coef_, rtol=1e-9)


@pytest.mark.parametrize("wrap", [np.asarray, csr_array])
def test_a_column_whose_inverse_variance_is_no_normal_number_is_refused(wrap):
    X = np.zeros((60, 1200))
    X[:, 1:5] = np.random.default_rng(0).standard_normal((60, 4))
    X[:, 0] = 8e153 * np.resize([1.0, -1.0], 60)  # of variance 6.4e307
    for batch_size in (8, None):
        with pytest.raises(ValueError, match="Column 0 of X is too large"):
            MiniBatchLinearRegressor(batch_size).fit(wrap(X), np.arange(60.0))


def test_columns_beyond_float64_in_a_later_chunk_are_refused_without_warnings_of_numpy():
    X, y = regression_stream()[0](50)
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="too large: its variance exceeds the range of float64"):
            model.partial_fit(1e300 * X, y)


def test_first_weights_that_are_lost_in_sums_are_refused():
    X, y = regression_stream()[0](50)
    model = MiniBatchLinearRegressor()
    with pytest.raises(ValueError, match=r"sample_weight is too small: its mean is 1e-302. Multiply it by a power of ten"):
        model.partial_fit(X, y, np.full(50, 1e-302))
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("what", ["X", "y"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_stream_recovers_from_one_bad_row(loss, what, size):
    chunk, _ = regression_stream()
    held_out, truth = chunk(500)
    model = MiniBatchLinearRegressor(loss=loss, random_state=0)
    for start in range(0, 600, size):
        X, y = chunk(size)
        if start == 300:
            if what == "X":
                X[0] *= 1e6
            else:
                y[0] *= 1e6
        model.partial_fit(X, y)
    assert model.score(held_out, truth) > 0.95


def test_a_rows_weight_in_the_moments_is_bounded_by_how_long_it_is():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = X.sum(axis=1)
    stream, at = Stream(longest=12.0).with_rows(rows_of(X, y)), np.array([[1.0, 1.0, 1.0, 0.0]])
    X[5] *= 1e6
    assert bounded_by(stream, rows_of(X, X.sum(axis=1)), at, SQUARED_ERROR).weight[5] == 1.0  # as it is predicted
    weight = bounded_by(stream, rows_of(X, y), at, SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    length = np.sum((X[5] - stream.moments.column_means) ** 2 / stream.moments.column_variances)
    assert weight[5] * length == pytest.approx(12.0 * UNUSUAL, rel=0.01)


def test_a_rows_weight_in_the_moments_is_bounded_by_how_far_it_is_from_its_prediction():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    stream = Stream(longest=12.0, level=np.array([2.0])).with_rows(rows_of(X, y))
    y[5] = 1e6
    weight = bounded_by(stream, rows_of(X, y), np.zeros((1, 4)), SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    assert weight[5] * 1e12 == pytest.approx(2.0 * CEILING)


@pytest.mark.parametrize(("n_features", "average"), [(510, "auto"), (3, True)], ids=["wide", "steps"])
@pytest.mark.parametrize("unlike", ["x", "y"])
def test_a_row_unlike_all_others_moves_a_stream_of_single_rows_little(n_features, average, unlike):
    rng = np.random.default_rng(0)
    X, coef = rng.standard_normal((500, n_features)), rng.standard_normal(n_features) / np.sqrt(n_features)
    y = X @ coef + 0.1 * rng.standard_normal(500)
    model = MiniBatchLinearRegressor(average=average, random_state=0)
    for row in range(400):
        model.partial_fit(X[row : row + 1], y[row : row + 1])
    before = np.sqrt(np.mean((model.predict(X[400:]) - y[400:]) ** 2))
    if unlike == "x":
        X[0] = 1e6 * coef
    else:
        y[0] *= 1e6
    with pytest.warns(UserWarning, match="unlike all before them"):
        model.partial_fit(X[:1], y[:1])
    assert np.sqrt(np.mean((model.predict(X[400:]) - y[400:]) ** 2)) <= 3.0 * before  # steps at full length: 1e5 times


def test_a_stream_of_steps_keeps_no_rows():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4000, 3)), rng.standard_normal(4000)
    model, sizes = MiniBatchLinearRegressor(loss="huber", average=True, half_life=50, random_state=0), []
    for start in range(0, 4000, 20):
        model.partial_fit(X[start : start + 20], y[start : start + 20])
        sizes.append(len(pickle.dumps(model._state)))
    assert sizes[-1] < 1.1 * sizes[len(sizes) // 2]


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


def test_a_streams_level_is_its_mean_loss_and_then_fades_and_rises_by_a_factor_at_most():
    rng, stream = np.random.default_rng(0), Stream()
    for n, loss in ((20, 4.0), (40, 1.0), (20, 7.0)):
        stream = stream.with_rows(rows_of(rng.standard_normal((n, 1)))).with_level(np.array([loss]), n)
    assert stream.level == pytest.approx([(20 * 4 + 40 * 1 + 20 * 7) / 80])
    assert stream.ceiling() is None
    stream = stream.with_rows(rows_of(rng.standard_normal((920, 1))))._replace(level=np.array([2.0]))
    assert stream.ceiling() == pytest.approx([2.0 * CEILING])
    stream = stream.with_level(np.array([6.0]), ENOUGH_FOR_A_MEAN)
    assert stream.level == pytest.approx([4.0])  # half of it forgotten
    stream = stream.with_level(np.array([1e9]), ENOUGH_FOR_A_MEAN)
    assert stream.level == pytest.approx([0.5 * 4.0 + 0.5 * 4.0 * UNUSUAL])


def test_a_stream_with_corrected_axes_still_minds_its_longest_row():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    rows = rows_of(X)
    geometry = Stream(longest=1e4).with_rows(rows).geometry(rows, rows, 8, 0.0, True)
    assert len(geometry.metric) > 2
    assert 1.0 / geometry.step >= 1e4 * 0.5 ** (400 / SAMPLE) / 8
    assert 1.0 / geometry.step >= geometry.metric.squared_norms(rows).max() / 8


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
    assert not stream.has_enough_rows
    assert stream.with_rows(rows_of(rng.standard_normal((60, 30)))).has_enough_rows


def test_a_stream_that_goes_on_from_a_full_batch_has_its_moments():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None).fit(X, y)
    moments, expected = State.restored(model._state).stream.moments, Moments.of(rows_of(X, y), True)
    np.testing.assert_array_equal(moments.products, expected.products)
    np.testing.assert_array_equal(moments.mean, expected.mean)


def test_a_stream_that_goes_on_from_a_fit_takes_it_for_the_minimum_over_its_rows():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    moments = State.restored(model._state).stream.moments
    few, targets = moments.as_rows(np.zeros(10))
    standing = LinearRegression().fit(few, targets[0])
    np.testing.assert_allclose(standing.coef_ * X.std(axis=0), model.coef_ * X.std(axis=0), rtol=1e-5, atol=1e-5)
    assert standing.intercept_ == pytest.approx(model.intercept_, rel=1e-4)
    assert np.mean((targets[0] - standing.predict(few)) ** 2) == pytest.approx(np.mean((y - model.predict(X)) ** 2))
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
def test_a_streams_step_is_no_shorter_than_its_rows_call_for(batch_size):
    rng = np.random.default_rng(0)
    for common in (0.0, 0.99):
        X = common * rng.standard_normal((4000, 1)) + np.sqrt(1.0 - common**2) * rng.standard_normal((4000, 6))
        rows = rows_of(X)
        for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
            geometry = stream.geometry(rows, rows, batch_size, 0.0, True)
            metric, longest = geometry.metric, geometry.metric.squared_norms(rows).max()
            largest = np.linalg.eigvals(np.diag(metric.scale) @ np.cov(X.T, bias=True)).real.max()
            bound = (batch_size - 1) * max(largest, 1.0) + longest
            assert bound <= batch_size / geometry.step <= 1.2 * bound  # a tenth is for safety


def test_a_stream_of_many_columns_keeps_variances_alone():
    rng = np.random.default_rng(0)
    assert Stream().with_rows(rows_of(rng.standard_normal((5, 499)))).moments.is_full
    assert not Stream().with_rows(rows_of(rng.standard_normal((5, 500)))).moments.is_full


def test_a_first_chunks_rows_are_held_against_its_own_longer_ones():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    center = np.median(X, axis=0)
    spread = np.median(np.abs(X - center), axis=0)
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(400)
    X[5] = 1e5
    norms = 1.0 + np.sum(((X - center) / spread) ** 2, axis=1)
    weight = bounded_by(Stream(), rows_of(X, y), np.zeros((1, 4)), SQUARED_ERROR).weight
    assert (np.delete(weight, 5) == 1.0).all()
    assert weight[5] * norms[5] == pytest.approx(UNUSUAL * UNUSUAL * np.quantile(norms, 0.9), rel=0.02)


@pytest.mark.parametrize("sizes", [[3000], [1500, 1500], [5, 2995], [100, 2900]], ids=str)
@pytest.mark.parametrize("loss", [{}, {"loss": "huber", "epsilon": 1.0}], ids=str)
def test_events_in_a_column_that_is_nearly_constant_without_them_count_in_full_from_the_first_call_on(loss, sizes):
    rng = np.random.default_rng(0)
    rain = np.where(rng.random(3000) < 0.05, rng.gamma(2.0, 10.0, 3000), 0.0) + 1e-3 * rng.standard_normal(3000)
    X = np.column_stack([rng.standard_normal((3000, 2)), rain])
    y = X @ [1.0, 2.0, 0.5] + rng.standard_normal(3000)
    model = MiniBatchLinearRegressor(random_state=0, **loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in np.split(np.arange(3000), np.cumsum(sizes)[:-1]):
            model.partial_fit(X[rows], y[rows])
    whole = MiniBatchLinearRegressor(None, **loss).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-9 if not loss else 1e-3)


@pytest.mark.parametrize("loss", [{}, {"loss": "huber", "epsilon": 0.5}, {"loss": "quantile"}], ids=str)
@pytest.mark.parametrize("n_calls", [1, 4, 20])
def test_rows_in_wrong_units_do_no_harm_however_the_rows_before_were_cut_into_calls(n_calls, loss):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((410, 3))
        y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(410)
        model = MiniBatchLinearRegressor(random_state=0, **loss)
        for rows in np.array_split(np.arange(400), n_calls):
            model.partial_fit(X[rows], y[rows])
        before = model.score(X[:400], y[:400])
        with pytest.warns(UserWarning, match="unlike all before"):
            model.partial_fit(1e4 * X[400:], y[400:])
        assert model.score(X[:400], y[:400]) > before - 0.03


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
def test_a_stream_after_a_penalised_fit_ends_at_the_minimum_over_all_rows(penalty, fit_intercept, batch_size):
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


@pytest.mark.parametrize(
    "options",
    [{"early_stopping": True}, {"loss": "huber", "epsilon": 20.0}, {"max_iter": 2}, {"tol": None, "max_iter": 2}],
    ids=str,
)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_stream_goes_on_to_least_squares_wherever_the_fit_before_has_ended(options, fit_intercept):
    X, y = diabetes()
    model, watched = MiniBatchLinearRegressor(random_state=0, fit_intercept=fit_intercept, **options), {}
    if "early_stopping" in options:
        watched = {"X_val": X[:99], "y_val": y[:99]}
    model.fit(X, y, **watched).set_params(loss="squared_error", epsilon=0.1, early_stopping=False)
    model.partial_fit(X[:150], y[:150])
    rows = np.append(np.arange(442), np.arange(150))
    exact = LinearRegression(fit_intercept=fit_intercept).fit(X[rows], y[rows])
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("difference", [1e-7, 6e-7, 2e-6])
def test_a_stream_keeps_what_a_fit_knows_of_columns_whose_moments_have_lost_their_difference(difference, fit_intercept):
    rng = np.random.default_rng(0)
    X, noise = rng.standard_normal((3000, 3)), rng.standard_normal(3000)
    X = np.column_stack([X, X[:, 0] + difference * noise])
    y = noise + 0.1 * rng.standard_normal(3000)
    model = MiniBatchLinearRegressor(random_state=0, fit_intercept=fit_intercept).fit(X[:-500], y[:-500])
    model.partial_fit(X[-500:], y[-500:])
    assert model.score(X, y) == pytest.approx(1.0 - 0.01 / 1.01, abs=2e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize(("value", "fit_intercept"), [(3.0, True), (0.0, True), (0.0, False)])
def test_a_constant_column_has_no_coefficient_in_a_stream_whatever_it_had_before(value, fit_intercept, alpha):
    X, y = diabetes()
    X = np.column_stack([X, np.full(len(X), value)])
    model = MiniBatchLinearRegressor(alpha=alpha, fit_intercept=fit_intercept, random_state=0)
    model.fit(X[:300], y[:300], coef_init=np.full(11, 5.0)).partial_fit(X[300:], y[300:])
    assert model.coef_[-1] == pytest.approx(0.0, abs=1e-12)
    exact = Ridge(alpha=442 * alpha / 2, fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(model.predict(X), exact.predict(X), rtol=1e-6)


def test_a_stream_whose_longest_row_has_faded_still_takes_a_row_of_deviation_1_in_all_columns_for_usual():
    X = np.random.default_rng(0).standard_normal((200, 3))
    y = X.sum(axis=1)
    stream, at = Stream().with_rows(rows_of(X, y)), np.array([[1.0, 1.0, 1.0, 0.0]])
    X[5] *= 1e6
    weight = bounded_by(stream, rows_of(X, y), at, SQUARED_ERROR).weight
    length = np.sum((X[5] - stream.moments.column_means) ** 2 / stream.moments.column_variances)
    assert weight[5] * length == pytest.approx((3.0 + 1.0) * UNUSUAL, rel=0.01)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_a_streams_step_is_safe_for_the_penalty_of_the_column_that_varies_least(batch_size):
    X = np.random.default_rng(0).standard_normal((400, 2)) * [0.1, 10.0]
    rows = rows_of(X)
    for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
        bare, penalised = (stream.geometry(rows, rows, batch_size, ridge, True) for ridge in (0.0, 3.0))
        assert 1.0 / bare.step < 20.0
        scale = penalised.metric.scale
        of_penalty = 3.0 * scale[0]  # nearly 1, of the other column 0.03
        root, longest = np.sqrt(scale), penalised.metric.squared_norms(rows).max()
        steepest = np.linalg.eigvalsh((np.cov(X.T, bias=True) + 3.0 * np.eye(2)) * np.outer(root, root))[-1]
        assert 1.0 / penalised.step >= ((batch_size - 1) * steepest + longest + of_penalty) / batch_size


def test_a_stream_of_single_rows_steps_by_the_longest_of_them():
    rows = rows_of(np.random.default_rng(0).standard_normal((500, 4)))
    for stream in (Stream().with_rows(rows), diagonal(Stream().with_rows(rows))):
        geometry = stream.geometry(rows, rows, 1, 0.0, True)
        assert 1.0 / geometry.step == pytest.approx(geometry.metric.squared_norms(rows).max())
        b = stream.geometry(rows, rows, 50, 0.0, True)
        longest = b.metric.squared_norms(rows).max()
        assert 1.0 / b.step == pytest.approx((49.0 * 1.1 * max(b.eigenvalue, 1.0) + longest) / 50.0)


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
    np.testing.assert_allclose(moments.mean, exact.mean)
    np.testing.assert_allclose(moments.products, exact.products)
    np.testing.assert_allclose(moments.variances, exact.variances)


def regression_table():
    rng = np.random.default_rng(0)
    X = rng.normal([1.0, -1.0, 0.0], 1.0, (1000, 3))
    return X, X @ [3.0, 1.0, -2.0] + 2.0 + 0.5 * rng.standard_normal(1000)


@pytest.mark.parametrize(("deviations", "counts"), [(5.9, True), (6.1, False)])
def test_a_far_row_counts_in_full_up_to_six_deviations_of_its_prediction(deviations, counts):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    y = X.sum(axis=1) + rng.standard_normal(400)
    stream = Stream(level=np.array([1.0]), longest=20.0).with_rows(rows_of(X, y))
    far = np.vstack([X[:30], [[100.0, 100.0, 100.0]]])
    leverage = (1.0 + (far[-1] - X.mean(axis=0)) @ np.linalg.solve(np.cov(X.T, bias=True), far[-1] - X.mean(axis=0))) / 400
    targets = far.sum(axis=1)
    targets[-1] += deviations * np.sqrt(1.0 + leverage)  # of a residual of variance 1, and of the mean of the rows before
    bounded = bounded_by(stream, rows_of(far, targets), np.array([[1.0, 1.0, 1.0, 0.0]]), SQUARED_ERROR)
    assert (bounded.weight[-1] == 1.0) == counts


@pytest.mark.parametrize("unit", [1e-90, 1.0, 1e90])
def test_the_effective_share_of_rows_is_kishs(unit):
    X = np.zeros((6, 1))
    assert rows_of(X).effective_share == rows_of(X, weight=np.full(6, unit)).effective_share == 1.0
    weight = unit * np.array([0.0, 1.0, 1.0, 1.0, 1.0, 4.0])  # the first row does not exist
    assert rows_of(X, weight=weight).effective_share == pytest.approx(8.0**2 / (5 * 20.0))
