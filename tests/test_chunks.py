"""Rows in chunks give the fit of all rows together; bad chunks are named; nothing but a few chunks is ever in memory."""

import threading
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, issparse, random_array
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_pinball_loss

from skgd import MiniBatchLinearRegressor, _chunks, _descent
from skgd._chunks import Chunks, RowsInChunks, Sample, Survey
from skgd._descent import shuffle
from skgd._rows import SAMPLE, AllRows
from tests.conftest import LOSSES, Moments, diabetes, loss_and_slope, make_penalty, penalty_at, problem_of_fit, rows_of

LOSS_OPTIONS = {
    "huber": {"epsilon": 0.5},
    "quantile": {"quantile": 0.3},
    "epsilon_insensitive": {"epsilon": 0.3},
    "squared_epsilon_insensitive": {"epsilon": 0.3},
}
PENALTIES = {"none": {}, "l2": {"alpha": 0.1}, "l1": {"penalty": "l1", "alpha": 0.1}}
PLAIN = {"learning_rate": "constant", "eta0": 1e-3, "shuffle": False, "max_iter": 3, "tol": None, "random_state": 0}


def table(n=1100, d=5, n_targets=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.logspace(0, 2, d) + 10.0 * np.arange(d)
    coef = rng.standard_normal((d, n_targets) if n_targets else d) / X.std(axis=0).reshape(-1, *[1] * bool(n_targets))
    y = X @ coef
    return X, y + rng.standard_normal(y.shape), rng.uniform(0.5, 2.0, n)


def cut(*arrays, size=300):
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, arrays[0].shape[0], size)]


def objective(model, X, y, weight):
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    value = np.average(loss_and_slope(loss, model.predict(X) - y)[0], weights=weight)
    return value + penalty_at(make_penalty(model.penalty, model.alpha, model.l1_ratio), model.coef_)


@pytest.mark.parametrize("size", [1, 7, 300, 5000])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_squared_error_is_fitted_as_by_all_rows_together(penalty, size):
    X, y, weight = table()
    whole = MiniBatchLinearRegressor(None, **PENALTIES[penalty]).fit(X, y, weight)
    chunked = MiniBatchLinearRegressor(None, **PENALTIES[penalty]).fit_chunks(cut(X, y, weight, size=size))
    np.testing.assert_allclose(chunked.coef_, whole.coef_, rtol=1e-9, atol=1e-12)
    assert chunked.intercept_ == pytest.approx(whole.intercept_, rel=1e-9)
    assert chunked.n_iter_ == whole.n_iter_
    np.testing.assert_allclose(chunked.loss_curve_, whole.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", LOSS_OPTIONS)
def test_other_losses_are_fitted_within_tol(loss, penalty):
    X, y, weight = table(30_000)
    model = MiniBatchLinearRegressor(None, loss=loss, **LOSS_OPTIONS[loss], **PENALTIES[penalty])
    constant = problem_of_fit(model, rows_of(X, y, weight).with_mean_weight_1())[0].constant_loss[0]
    whole = objective(model.fit(X, y, weight), X, y, weight)
    chunked = objective(model.fit_chunks(cut(X, y, weight, size=7000)), X, y, weight)
    assert chunked - whole <= 1e-5 * constant  # tol / 10


@pytest.mark.parametrize("kind", ["dense", "narrow sparse", "wide sparse", "float32"])
@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_unshuffled_plain_steps_are_those_of_fit(kind, batch_size):
    X, y, weight = table()
    if kind == "wide sparse":
        X = np.hstack([X, np.zeros((1100, 1100))])
    X = csr_array(X) if "sparse" in kind else X.astype(np.float32) if kind == "float32" else X
    chunks = cut(X, y, weight)
    options = PLAIN | {"eta0": 1e-6, "alpha": 0.1, "momentum": 0.5}
    whole = MiniBatchLinearRegressor(batch_size, **options).fit(X, y, weight)
    chunked = MiniBatchLinearRegressor(batch_size, **options).fit_chunks(chunks)
    assert chunked.n_steps_ == whole.n_steps_
    np.testing.assert_allclose(chunked.coef_, whole.coef_, rtol=1e-4 if kind == "float32" else 1e-9)
    np.testing.assert_allclose(chunked.loss_curve_, whole.loss_curve_, rtol=1e-4 if kind == "float32" else 1e-9)


@pytest.mark.parametrize("batch_size", [None, 5000])
@pytest.mark.parametrize("sparse", [False, True])
def test_plain_steps_on_all_chunks_at_once_are_those_of_fit(sparse, batch_size):
    X, y, weight = table()
    X = csr_array(X) if sparse else X
    options = PLAIN | {"loss": "huber", "epsilon": 0.5, "alpha": 0.1, "record_steps": True, "eta0": 1e-4}
    whole = MiniBatchLinearRegressor(batch_size, **options).fit(X, y, weight)
    chunked = MiniBatchLinearRegressor(batch_size, **options).fit_chunks(cut(X, y, weight))
    np.testing.assert_allclose(chunked.coef_path_, whole.coef_path_, rtol=1e-9)
    np.testing.assert_allclose(chunked.loss_path_, whole.loss_path_, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 32, 256])
@pytest.mark.parametrize("n_targets", [None, 3])
def test_mini_batches_come_as_near_to_least_squares_as_fit_promises(batch_size, n_targets):
    X, y, weight = table(20_000, n_targets=n_targets)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit_chunks(cut(X, y, weight, size=3000))
    exact = MiniBatchLinearRegressor(None).fit(X, y, weight)
    excess = np.average((y - model.predict(X)) ** 2 - (y - exact.predict(X)) ** 2, weights=weight, axis=0)
    assert (excess <= 1e-3 * y.var(axis=0)).all()


def test_the_geometry_of_mini_batches_is_that_of_all_rows():
    X, y, weight = table(9000)
    rows, model = rows_of(X, y, weight).with_mean_weight_1(), MiniBatchLinearRegressor(32)
    chunks = Chunks(cut(X, y, weight, size=1000), lambda X, y, weight: rows_of(X, y, weight))
    whole, _ = problem_of_fit(model, rows)
    chunked, _ = problem_of_fit(model, RowsInChunks.surveyed(chunks, 32, is_auto=True))
    np.testing.assert_allclose(chunked.geometries[0].metric.scale, whole.geometries[0].metric.scale, rtol=1e-9)
    np.testing.assert_allclose(chunked.geometries[0].metric.center, whole.geometries[0].metric.center, rtol=1e-9)
    assert chunked.geometries[0].step == pytest.approx(whole.geometries[0].step)
    np.testing.assert_allclose(chunked.constant_loss, whole.constant_loss)


def test_wide_sparse_chunks_are_centred_as_by_fit():
    rng = np.random.default_rng(0)
    year, levels = rng.integers(2000, 2020, 6000), rng.integers(0, 1500, 6000)
    X = csr_array((np.ones(6000), (np.arange(6000), levels)), shape=(6000, 1501)).tolil()
    X[:, [1500]] = year[:, None]
    X, y = csr_array(X), 0.3 * (year - 2010) + rng.standard_normal(1500)[levels] + 0.1 * rng.standard_normal(6000)
    model = MiniBatchLinearRegressor(random_state=0, alpha=1e-4).fit(X, y)
    chunked = MiniBatchLinearRegressor(random_state=0, alpha=1e-4).fit_chunks(cut(X, y, size=1000))
    assert chunked.score(X, y) == pytest.approx(model.score(X, y), abs=2e-3)
    assert chunked.coef_[-1] == pytest.approx(0.3, abs=0.01)


def test_each_epoch_visits_every_row_once_in_full_batches(monkeypatch):
    monkeypatch.setattr(_chunks, "BUFFER", 450)
    X, y = np.arange(1100.0)[:, None], np.zeros(1100)
    rows = RowsInChunks.surveyed(Chunks(cut(X, y, size=100), lambda X, y, _: rows_of(X, y)), 32, is_auto=True)
    orders = []
    for seed in (0, 1, None):
        buffers = list(rows.shuffled(32, None if seed is None else np.random.default_rng(seed)))
        assert len(buffers) > 2
        assert all(len(order) % 32 == 0 for _, order in buffers[:-1])
        assert all(len(order) <= 600 for _, order in buffers)
        orders.append(np.concatenate([buffer.X[order, 0] for buffer, order in buffers]))
        np.testing.assert_array_equal(np.sort(orders[-1]), X[:, 0])
    np.testing.assert_array_equal(orders[2], X[:, 0])
    assert not np.array_equal(orders[0], orders[1])
    first = orders[0][:320]
    assert len({int(row) // 100 for row in first}) > 3  # rows of several chunks are shuffled together,
    assert abs(np.corrcoef(np.arange(320), first)[0, 1]) < 0.9  # and chunks are not in order


def test_chunks_that_come_one_after_the_other_are_shuffled_within_a_buffer():
    X, y, _ = table()

    class Source:
        def __iter__(self):
            return iter(cut(X, y))

    options = {"random_state": 0, "max_iter": 3, "tol": None}
    model = MiniBatchLinearRegressor(32, **options).fit_chunks(Source())
    np.testing.assert_array_equal(model.coef_, MiniBatchLinearRegressor(32, **options).fit_chunks(Source()).coef_)
    assert not np.array_equal(model.coef_, MiniBatchLinearRegressor(32, **options, shuffle=False).fit_chunks(Source()).coef_)


def test_chunks_that_differ_are_warned_of_where_no_buffer_holds_them(monkeypatch):
    X, y, _ = table(20_000)
    order = np.argsort(y)
    shuffled, by_target = cut(X, y, size=500), cut(X[order], y[order], size=500)
    by_column = cut(X[np.argsort(X[:, 3])], y[np.argsort(X[:, 3])], size=500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MiniBatchLinearRegressor(32, random_state=0).fit_chunks(by_target)  # all of it fits into a buffer
    monkeypatch.setattr(_chunks, "BUFFER", 5000)
    for chunks in by_target, by_column:
        with pytest.warns(UserWarning, match="differ from chunk to chunk.*batch_size=None"):
            MiniBatchLinearRegressor(32, random_state=0, max_iter=1, tol=None).fit_chunks(chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MiniBatchLinearRegressor(32, random_state=0).fit_chunks(shuffled)
        MiniBatchLinearRegressor(None).fit_chunks(by_target)


def test_a_survey_knows_the_variance_within_chunks():
    X, y, weight = table(1000)
    chunks = cut(X, y, weight, size=130)
    survey = Chunks(chunks, lambda X, y, weight: rows_of(X, y, weight)).survey(None, is_full=True)
    within = (
        sum(w.sum() * np.cov(np.column_stack([x, t]).T, aweights=w, bias=True).diagonal() for x, t, w in chunks) / weight.sum()
    )
    np.testing.assert_allclose(survey.within, within)
    assert survey.n_chunks == 8
    assert survey.moments.n_rows == 1000


def test_samples_of_chunks_estimate_sums_over_all_rows():
    n = 60_000
    weight = np.where(np.arange(n) % 4 == 0, 3.0, 1.0)
    X, y = np.arange(float(n))[:, None], np.zeros(n)
    parts = [Sample.of(rows_of(*chunk), number) for number, chunk in enumerate(cut(X, y, weight, size=9000))]
    there, back = parts[0], parts[-1]
    for part in parts[1:]:
        there = there + part
    for part in parts[-2::-1]:
        back = back + part
    np.testing.assert_array_equal(there.X, back.X)  # whatever the order
    rows = there.as_rows(Moments.of(rows_of(X, y, weight), False))
    assert len(rows) == SAMPLE
    assert len(np.unique(rows.X)) == SAMPLE
    assert rows.weights.mean() == pytest.approx(1.5)
    assert np.mean(rows.X % 4 == 0) == pytest.approx(0.5 * 0.94, abs=0.03)  # in proportion, but heavy rows run out a little
    assert np.average(rows.X[:, 0] % 4 == 0, weights=rows.weights) == pytest.approx(0.5, abs=0.02)
    assert np.average(rows.X[:, 0], weights=rows.weights) == pytest.approx(n / 2, rel=0.03)
    few = rows_of(X[:50], y[:50], weight[:50])
    few = Sample.of(few, 0).as_rows(Moments.of(few, False))
    np.testing.assert_array_equal(np.sort(few.weights), np.sort(weight[:50]))
    np.testing.assert_array_equal(few.weights, weight[few.X[:, 0].astype(int)])


@pytest.mark.parametrize("batch_size", [None, 32])
def test_chunks_of_which_few_rows_weigh_most_end_where_a_fit_does(batch_size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * SAMPLE, 3))
    y, weight = X @ [0.2, 0.2, 0.2] + rng.standard_normal(len(X)), np.ones(len(X))
    heavy = rng.choice(len(X), 200, replace=False)
    weight[heavy], y[heavy] = 300.0, y[heavy] + 50.0
    model = MiniBatchLinearRegressor(batch_size, loss="quantile", random_state=0)
    whole, chunked = clone(model).fit(X, y, weight), model.fit_chunks(cut(X, y, weight, size=2000))
    losses = [mean_pinball_loss(y, each.predict(X), sample_weight=weight) for each in (whole, chunked)]
    reach = mean_pinball_loss(y, np.full(len(y), np.median(y[heavy])), sample_weight=weight) - losses[0]
    assert losses[1] - losses[0] <= (1e-4 if batch_size is None else 1e-3) * reach


def test_a_survey_is_the_same_in_any_order_of_additions():
    X, y, weight = table(900)
    a, b, c = (Survey.of(rows_of(*chunk), number, True) for number, chunk in enumerate(cut(X, y, weight)))
    one, other = (a + b) + c, a + (b + c)
    np.testing.assert_allclose(one.moments.products, other.moments.products)
    np.testing.assert_allclose(one.moments.variances, other.moments.variances)
    np.testing.assert_allclose(one.within, other.within)
    assert one.are_alike
    assert one.n_chunks == other.n_chunks == 3


def test_frames_pass_on_their_names():
    X, y, _ = table()
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = MiniBatchLinearRegressor(None).fit_chunks(cut(frame, pd.Series(y)))
    assert list(model.feature_names_in_) == list("abcde")
    assert model.n_features_in_ == 5
    with pytest.raises(ValueError, match=r"Chunk 2: .*feature names"):
        model.fit_chunks([*cut(frame, y)[:2], (frame[:20].rename(columns={"a": "z"}), y[:20])])


X, y, weight = table(900)
BAD = {
    "NaN": ((np.full((3, 5), np.nan), np.zeros(3)), "Chunk 2: Input X contains NaN"),
    "NaN in y": ((X[:3], np.full(3, np.nan)), "Chunk 2: Input y contains NaN"),
    "other columns": ((X[:, :4], y), "Chunk 2: X has 4 features"),
    "other precision": ((X.astype(np.float32), y), "Chunk 2: the type of X is float32, but float64 in the first chunk"),
    "sparse": ((csr_array(X), y), "Chunk 2: sparseness of X is True"),
    "other targets": ((X, np.column_stack([y, y])), "Chunk 2: the number of targets in y is 2, but 1"),
    "rows": ((X, y[:5]), "Chunk 2: .*inconsistent numbers"),
    "one part": ((X,), "Chunk 2: must be .X, y."),
    "four parts": ((X, y, weight, y), "Chunk 2: must be .X, y."),
    "negative weights": ((X, y, -weight), "Chunk 2: sample_weight must be >= 0"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_bad_chunk_is_named_and_loses_nothing(name, batch_size):
    chunk, message = BAD[name]
    model = MiniBatchLinearRegressor(batch_size, warm_start=True, random_state=0).fit_chunks(cut(X, y, weight))
    before = {name: np.copy(value) for name, value in vars(model).items() if name.endswith("_")}
    with pytest.raises(ValueError, match=message):
        model.fit_chunks([*cut(X, y, weight)[:2], chunk])
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(model, name), value)


def test_what_can_be_read_only_once_is_refused():
    with pytest.raises(TypeError, match="generator can be read only once"):
        MiniBatchLinearRegressor(None).fit_chunks((X, y) for _ in range(2))

    class Sized:
        def __len__(self):
            return 2

    for source in (3, Sized()):
        with pytest.raises(TypeError, match="chunks must be an iterable"):
            MiniBatchLinearRegressor(None).fit_chunks(source)


@pytest.mark.parametrize("table", [pd.DataFrame(X), X, [pd.DataFrame(X)]])
def test_a_table_in_the_place_of_chunks_is_refused(table):
    with pytest.raises(TypeError, match="give a single table to fit"):
        MiniBatchLinearRegressor(None).fit_chunks(table)


def test_chunks_that_change_are_refused():
    class Source:
        n = 900

        def __iter__(self):
            self.n -= 10
            return iter(cut(X[: self.n], y[: self.n]))

    with pytest.raises(ValueError, match="held 890 rows with a weight when they were first read, and 880 now"):
        MiniBatchLinearRegressor(None, loss="huber", epsilon=0.5).fit_chunks(Source())


def test_a_source_may_know_the_names_of_its_columns():
    class Source(list):
        columns = "a", "b"

    MiniBatchLinearRegressor(None).fit_chunks(Source(cut(X, y)))


@pytest.mark.parametrize("batch_size", [None, 32])
def test_targets_that_change_are_refused(batch_size):
    class Source:
        def __iter__(self):  # one target of 900 is off by a hundredth of its deviation after the first reading
            chunks, self.targets = cut(X, self.targets), self.targets.copy()
            self.targets[7] += 0.01 * y.std()
            return iter(chunks)

    source = Source()
    source.targets = y
    with pytest.raises(ValueError, match="The mean of the targets in chunks is another"):
        MiniBatchLinearRegressor(batch_size, loss="huber", epsilon=0.5, random_state=0).fit_chunks(source)


def test_chunks_without_rows_are_left_out():
    zero = np.zeros(300)
    chunks = [(X[:0], y[:0]), (X[:300], y[:300], zero), *cut(X, y, weight), (X[:0], y[:0])]
    for batch_size in (None, 32):
        options = {"random_state": 0, "shuffle": False}
        model = MiniBatchLinearRegressor(batch_size, **options).fit_chunks(chunks)
        expected = MiniBatchLinearRegressor(batch_size, **options).fit_chunks(cut(X, y, weight))
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    for nothing in ([], [(X[:300], y[:300], zero)]):
        with pytest.raises(ValueError, match="There are no rows"):
            MiniBatchLinearRegressor(None).fit_chunks(nothing)


def test_what_chunks_do_not_do_is_refused():
    with pytest.raises(ValueError, match="Give X_val and y_val"):
        MiniBatchLinearRegressor(early_stopping=True).fit_chunks(cut(X, y))
    wide = np.zeros((10, 1001))
    with pytest.raises(ValueError, match=r"at most 1000 columns, got 1001\. Use batch_size=32"):
        MiniBatchLinearRegressor(None).fit_chunks([(wide, np.zeros(10))])
    MiniBatchLinearRegressor(2, random_state=0).fit_chunks([(wide + np.eye(10, 1001), np.arange(10.0))] * 2)


def test_a_later_call_goes_on(capsys):
    chunks = cut(X, y, weight)
    options = {"random_state": 0, "warm_start": True, "tol": None}
    twice = MiniBatchLinearRegressor(32, max_iter=3, **options).fit_chunks(chunks).fit_chunks(chunks)
    once = MiniBatchLinearRegressor(32, max_iter=6, **options).fit_chunks(chunks)
    np.testing.assert_allclose(twice.coef_, once.coef_, rtol=1e-9)
    model = MiniBatchLinearRegressor(None, verbose=1).fit_chunks(chunks)
    assert "Epoch 1: objective" in capsys.readouterr().out
    more, target, _ = table(2000)
    model.partial_fit(more, target)
    exact = MiniBatchLinearRegressor(None).fit(np.vstack([X, more]), np.append(y, target), np.append(weight, np.ones(2000)))
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-6)


def test_a_callback_watches():
    callback = pytest.importorskip("sklearn.callback")
    watch = callback.ScoringMonitor(scoring="r2") if hasattr(callback, "ScoringMonitor") else callback.ProgressBar()
    model = MiniBatchLinearRegressor(32, random_state=0).set_callbacks(watch).fit_chunks(cut(X, y, weight))
    np.testing.assert_array_equal(model.coef_, MiniBatchLinearRegressor(32, random_state=0).fit_chunks(cut(X, y, weight)).coef_)


@pytest.mark.parametrize(
    "options", [{"batch_size": None}, {"batch_size": None, "loss": "huber", "epsilon": 0.5}, {"batch_size": 32}]
)
def test_a_few_chunks_are_in_memory_at_a_time(options, monkeypatch):
    monkeypatch.setattr(_chunks, "BUFFER", 400_000)

    class Source:
        def __len__(self):
            return 40

        def __getitem__(self, number):
            if number >= 40:
                raise IndexError
            rng = np.random.default_rng(number)
            X = rng.standard_normal((20_000, 10))
            return X, X.sum(axis=1) + rng.standard_normal(20_000)

    MiniBatchLinearRegressor(**options, random_state=0, max_iter=2, tol=None).fit_chunks(Source())  # what is imported late
    tracemalloc.start()
    MiniBatchLinearRegressor(**options, random_state=0, max_iter=2, tol=None).fit_chunks(Source())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 14 * 8 * 200_000  # of 40: a chunk, its copy, a buffer of two, its copy, and a sample of 10,000 rows


def test_narrow_sparse_chunks_are_unpacked_in_blocks_as_in_memory():
    X = random_array((6000, 300), density=0.02, rng=np.random.default_rng(0), format="csr")
    y = X.sum(axis=1)
    chunks = [(X[i : i + 1000], y[i : i + 1000]) for i in range(0, 6000, 1000)]

    def peak_of(method, *rows):
        model = MiniBatchLinearRegressor(random_state=0, max_iter=2, tol=None)
        tracemalloc.start()
        getattr(model, method)(*rows)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peaks = [[peak_of("fit", X, y), peak_of("fit_chunks", chunks)] for _ in range(2)]  # the first has what is imported late
    assert peaks[1][1] <= peaks[1][0] + 3 * (X.data.nbytes + X.indices.nbytes)  # what is shuffled together, and copies


class HalvesOfABuffer:
    """Chunks are the two halves of an array, which is filled anew for every other chunk."""

    def __init__(self, chunks):
        self.chunks = chunks

    def __iter__(self):
        n = len(self.chunks[0][0])
        X, y = np.empty((2 * n, self.chunks[0][0].shape[1])), np.empty(2 * n)
        for first, second in zip(self.chunks[::2], self.chunks[1::2], strict=True):
            X[:n], X[n:], y[:n], y[n:] = first[0], second[0], first[1], second[1]
            yield X[:n], y[:n]
            yield X[n:], y[n:]


class FramesOfABuffer(HalvesOfABuffer):
    """After the first chunk, the same data frame, a view of an array that is filled anew."""

    def __iter__(self):
        yield self.chunks[0]
        X = np.empty(self.chunks[0][0].shape)
        frame = pd.DataFrame(X, copy=False)
        for part, y in self.chunks[1:]:
            X[:] = part
            yield frame, y.copy()


@pytest.mark.parametrize("source", [HalvesOfABuffer, FramesOfABuffer])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_chunks_that_are_parts_of_one_buffer_are_not_read_ahead(source, batch_size):
    rng = np.random.default_rng(0)
    chunks = [(k * rng.standard_normal((20_000, 3)), k + rng.standard_normal(20_000)) for k in range(1, 9)]
    given, expected = (
        MiniBatchLinearRegressor(batch_size, random_state=0).fit_chunks(each) for each in (source(chunks), chunks)
    )
    np.testing.assert_allclose(given.coef_, expected.coef_, rtol=1e-9)


def on_disk(path, X):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def test_rows_on_disk_are_shuffled_in_blocks_and_then_within_buffers(tmp_path, monkeypatch):
    monkeypatch.setattr(_descent, "BUFFER", 3000)
    monkeypatch.setattr(_descent, "DISK_BLOCK", 160)
    X = table(10_000)[0]
    rows, order = rows_of(on_disk(tmp_path, X)), np.empty(10_000, dtype=np.int32)
    assert rows.is_on_disk
    assert not rows_of(X).is_on_disk
    seen = []
    for seed in (1, 1, 2):
        shuffle(order, rows, seed)
        seen.append(order.copy())
        np.testing.assert_array_equal(np.sort(order), np.arange(10_000))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
    for start in range(0, 9600, 600):  # a buffer of 600 rows reads 20 blocks of 32 that lie anywhere
        buffer = seen[0][start : start + 600]
        assert len(np.unique(buffer // 32)) <= 20
        assert np.mean(np.diff(buffer) == 1) < 0.02
        assert np.ptp(buffer) > 5000


def test_rows_on_disk_that_fit_into_a_buffer_give_the_same_bits(tmp_path):
    X, y, _ = table()
    expected = MiniBatchLinearRegressor(32, random_state=0).fit(X, y)
    np.testing.assert_array_equal(
        MiniBatchLinearRegressor(32, random_state=0).fit(on_disk(tmp_path, X), y).coef_, expected.coef_
    )


def test_a_sorted_file_is_fitted_as_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(_descent, "BUFFER", 10_000)
    monkeypatch.setattr(_descent, "DISK_BLOCK", 160)
    X, y, _ = table(20_000)
    order = np.argsort(y)
    X, y = X[order], y[order]
    exact = MiniBatchLinearRegressor(None).fit(X, y)
    for batch_size in (1, 32, 256):
        model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(on_disk(tmp_path, X), y)
        assert exact.score(X, y) - model.score(X, y) <= 1e-3


def test_a_file_in_c_order_is_not_copied(tmp_path):
    X = on_disk(tmp_path, np.random.default_rng(0).standard_normal((200_000, 10)))
    y = np.asarray(X[:, 0])
    MiniBatchLinearRegressor(32, max_iter=1, tol=None).fit(X[:100], y[:100])
    tracemalloc.start()
    MiniBatchLinearRegressor(32, max_iter=1, tol=None, random_state=0).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 0.5 * X.nbytes


class Indexed:
    """Chunks by their numbers, of which there is one more than it says."""

    def __init__(self, chunks, fault=None):
        self.chunks, self.fault = chunks, fault

    def __len__(self):
        return len(self.chunks) - 1

    def __getitem__(self, number):
        return self.chunks[number] if number != self.fault else [][number]


def test_a_source_with_a_length_is_read_by_its_numbers():
    chunks = cut(X, y, weight)
    for batch_size in (None, 32):
        options = {"random_state": 0, "shuffle": False}
        model = MiniBatchLinearRegressor(batch_size, **options).fit_chunks(Indexed([*chunks, (X, y)]))
        np.testing.assert_array_equal(model.coef_, MiniBatchLinearRegressor(batch_size, **options).fit_chunks(chunks).coef_)
        with pytest.raises(IndexError):  # and does not end the chunks
            MiniBatchLinearRegressor(batch_size).fit_chunks(Indexed(chunks, fault=1))


@pytest.mark.parametrize("batch_size", [None, 1, 32])
def test_a_source_may_give_every_chunk_in_the_same_array(batch_size, monkeypatch):
    monkeypatch.setattr(_chunks, "BUFFER", 2500)

    class Reused:
        def __iter__(self):
            same, target = np.empty((300, 5)), np.empty(300)
            for X_chunk, y_chunk in cut(X, y):
                same[:], target[:] = X_chunk, y_chunk
                yield same, target

    class Fresh:
        def __iter__(self):
            return iter(cut(X, y))

    models = [MiniBatchLinearRegressor(batch_size, random_state=0).fit_chunks(source) for source in (Reused(), Fresh())]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    np.testing.assert_array_equal(models[0].loss_curve_, models[1].loss_curve_)


class Counted:
    """Chunks that count how often they are read."""

    n = 0

    def __iter__(self):
        self.n += 1
        return iter(cut(X, y, weight))


def test_the_squared_error_is_read_once():
    source = Counted()
    MiniBatchLinearRegressor(None, penalty="l1", alpha=0.1).fit_chunks(source)
    assert source.n == 1


def test_an_error_of_any_kind_names_its_chunk():
    class Undecodable:
        shape = (3, 5)

        def __array__(self, *_, **__):
            return b"\xff".decode("utf-8")

    with pytest.raises(ValueError, match=r"Chunk 0: .*utf-8"):
        MiniBatchLinearRegressor(None).fit_chunks([(Undecodable(), y[:3])])


def test_weights_too_small_to_be_added_up_are_refused():
    with pytest.raises(ValueError, match="sample_weight is too small"):
        MiniBatchLinearRegressor(None).fit_chunks(cut(X, y, 1e-310 * weight))


def test_a_batch_of_all_rows_is_the_full_batch_with_its_bound_on_columns():
    with pytest.raises(ValueError, match="at most 1000 columns, got 1200"):
        MiniBatchLinearRegressor(600).fit_chunks([(np.zeros((10, 1200)), np.zeros(10))] * 2)


def test_what_has_arrived_is_not_read_again():
    source = Counted()
    model = MiniBatchLinearRegressor(None, loss="huber", epsilon=0.5, tol=None, max_iter=300).fit_chunks(source)
    assert model.n_iter_ == 300
    assert source.n < 60


def test_rows_of_every_kind_have_what_is_declared_of_them():
    X, y = np.ones((30, 2)), np.arange(30.0)
    rows = rows_of(X, y)
    chunked = RowsInChunks.surveyed(Chunks([(X, y)], lambda X, y, weight: rows_of(X, y)), None, is_auto=True)
    members = [*AllRows.__annotations__, *(name for name in vars(AllRows) if not name.startswith("_")), "__len__"]
    assert {"add_up", "moments", "sampled", "is_wide"} <= {*members}
    for each in rows, chunked:
        assert not [name for name in members if not hasattr(each, name)]


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("skgd-reads-ahead")]


class Source:
    """Chunks of five hundred rows from a function of their number, read anew at each iteration."""

    def __init__(self, read, n_chunks=6):
        self.read, self.n_chunks = read, n_chunks

    def __iter__(self):
        return (self.read(number) for number in range(self.n_chunks))


def drawn(number):
    rng = np.random.default_rng(number)
    X = rng.standard_normal((500, 4))
    return X, X @ [1.0, -2.0, 0.5, 3.0] + rng.standard_normal(500)


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_source_may_use_its_arrays_again_or_belong_to_its_thread(batch_size, loss):
    buffer, of_buffer, home = np.empty((500, 4)), np.empty(500), threading.get_ident()

    def reused(number):
        buffer[:], of_buffer[:] = drawn(number)
        return buffer, of_buffer

    def bound(number):
        if threading.get_ident() != home:
            raise RuntimeError("made in another thread")
        return drawn(number)

    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0)
    expected = clone(model).fit_chunks([drawn(number) for number in range(6)])
    for source in Source(drawn), Source(reused), Source(bound):
        found = clone(model).fit_chunks(source)
        if batch_size is None:  # with an int, a list is visited in a random order
            np.testing.assert_array_equal(found.coef_, expected.coef_)
        np.testing.assert_allclose(found.coef_, [1.0, -2.0, 0.5, 3.0], atol=0.1)  # of 3,000 rows: 5 standard errors
    assert not readers()


@pytest.mark.parametrize(
    "wrap", [lambda X, y: (pd.DataFrame(X, copy=False), y.copy()), lambda X, y: (X.copy(), pd.Series(y, copy=False))]
)
def test_arrays_that_are_used_again_are_noticed_in_frames_and_series(wrap):
    rng, coef = np.random.default_rng(0), np.arange(1.0, 31.0)
    rows = rng.standard_normal((6, 5000, 30))  # drawn before, so that a thread overwrites a chunk at once
    targets = rows @ coef + rng.standard_normal((6, 5000))
    buffer, of_buffer = np.empty((5000, 30)), np.empty(5000)

    def reused(number):
        buffer[:], of_buffer[:] = rows[number], targets[number]
        return wrap(buffer, of_buffer)

    model = MiniBatchLinearRegressor(None).fit_chunks(Source(reused))
    np.testing.assert_allclose(model.coef_, coef, atol=0.05)  # of 30,000 rows: nine standard errors


def test_arrow_tables_and_places_of_sparse_values_that_are_used_again_are_noticed():
    import pyarrow as pa

    buffer, places = np.empty((5, 500)), np.empty(1000, np.int32)

    def of_arrow(number):
        X, y = drawn(number)
        buffer[:4], buffer[4] = X.T, y
        cut = [pa.chunked_array([pa.array(row[:250]), pa.array(row[250:])]) for row in buffer]
        return pa.table({str(k): cut[k] for k in range(4)}), buffer[4].copy()

    def sparse(number):
        rng = np.random.default_rng(number)
        places[:] = np.sort(np.argsort(rng.random((500, 30)), axis=1)[:, :2]).ravel()
        X = csr_array((rng.standard_normal(1000), places, np.arange(0, 1001, 2, dtype=np.int32)), shape=(500, 30))
        return X, X @ np.arange(30.0)

    def check(X, y, weight):
        return rows_of(X.toarray() if issparse(X) else np.asarray(X), y)

    for source, coef in (of_arrow, [1.0, -2.0, 0.5, 3.0]), (sparse, np.arange(30.0)):
        chunks = Chunks(Source(source), check)
        chunks.survey(32, is_full=False)
        assert not chunks.reads_ahead  # what a thread overwrites is a matter of chance
        model = MiniBatchLinearRegressor(None).fit_chunks(Source(source))
        np.testing.assert_allclose(model.coef_, coef, atol=0.1)  # of 3,000 rows: 5 standard errors


def test_the_next_chunk_is_read_while_one_is_worked_on():
    read, worked, both = [], [], threading.Event()

    def noted(number):
        read.append(number)
        if number == 3:
            both.set()
        return drawn(number)

    chunks = Chunks(Source(noted), lambda X, y, weight: rows_of(X, y))
    for _ in chunks:
        if len(worked) == 2:
            assert both.wait(10.0)  # number 3 is read while number 2 is worked on
        worked.append(max(read))
    assert worked[0] == 0  # the second is held against the first
    assert not readers()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_a_source_is_raised_and_leaves_no_thread(error):
    def broken(number):
        if number == 4:
            raise error("cannot be read")
        return drawn(number)

    with pytest.raises(error, match="cannot be read"):
        MiniBatchLinearRegressor(None).fit_chunks(Source(broken))
    assert not readers()
    with pytest.raises(ValueError, match="Chunk 4"):
        MiniBatchLinearRegressor(None).fit_chunks(
            Source(lambda number: (*drawn(number), -1.0) if number == 4 else drawn(number))
        )
    assert not readers()


class Repeated:
    """Chunks by their numbers, of which the first and the last are the same arrays, as in oversampling."""

    def __init__(self, X, y):
        parts = np.array_split(np.arange(len(y)), 6)
        self.chunks = [(X[part], y[part]) for part in parts]
        self.chunks.append(self.chunks[0])

    def __len__(self):
        return len(self.chunks)

    def __getitem__(self, number):
        return self.chunks[number]


def test_chunks_that_are_given_twice_are_read_ahead_in_any_order():
    X, y = diabetes()
    for seed in range(6):
        MiniBatchLinearRegressor(random_state=seed, max_iter=10, tol=None).fit_chunks(Repeated(X, y))


def test_an_error_of_the_source_in_a_later_epoch_is_the_users_own():
    X, y = diabetes()

    class Vanishes:
        n = 0

        def __iter__(self):
            self.n += 1
            if self.n > 3:
                raise OSError("the file has gone")
            yield X, y

    with pytest.raises(OSError, match="the file has gone"):
        MiniBatchLinearRegressor(random_state=0).fit_chunks(Vanishes())


def test_a_chunk_of_empty_lists_is_left_out_and_targets_without_rows_are_refused():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None).fit_chunks([(X[:200], y[:200]), ([], []), (X[200:], y[200:])])
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-9)
    with pytest.raises(ValueError, match="Chunk 1: "):
        MiniBatchLinearRegressor(None).fit_chunks([(X[:200], y[:200]), (X[:0], y[200:])])
