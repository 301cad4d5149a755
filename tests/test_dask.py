"""Dask collections give the fit of the same rows in memory, however they are cut, and survive what clusters do."""

import os
import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skgd import MiniBatchLinearRegressor

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402

from skgd.dask import DaskMiniBatchLinearRegressor  # noqa: E402

NAMES = list("abcde")


def table(n=2000, n_targets=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5)) * np.logspace(0, 2, 5) + 10.0 * np.arange(5)
    y = X @ rng.standard_normal((5, n_targets) if n_targets else 5)
    return X, y + rng.standard_normal(y.shape), rng.uniform(0.5, 2.0, n)


X, y, WEIGHT = table()
ROWS = da.from_array(X, chunks=(300, 5)), da.from_array(y, chunks=300), da.from_array(WEIGHT, chunks=300)


@pytest.fixture(scope="session")
def client():
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def synchronous(request):
    """Most of what is to be seen does not need a cluster."""
    if "client" in request.fixturenames:
        yield
        return
    with dask.config.set(scheduler="synchronous"):
        yield


def assert_same(model, other, rtol=1e-10):
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=rtol)
    # An intercept is a difference of numbers as large as the columns are far from zero.
    np.testing.assert_allclose(model.intercept_, other.intercept_, rtol=rtol, atol=1e-9)


def frame_of(n_partitions=7):
    frame = dd.from_pandas(pd.DataFrame(X, columns=NAMES).assign(y=y, weight=WEIGHT), npartitions=n_partitions)
    return frame[NAMES], frame["y"], frame["weight"]


CUTS = {
    "as they are": ROWS,
    "columns, too": (ROWS[0].rechunk((300, 2)), *ROWS[1:]),
    "unlike": (ROWS[0].rechunk({0: (1, 700, 299, 1000)}), ROWS[1], ROWS[2].rechunk(900)),
    "empty ones": tuple(da.concatenate([each[:0], each[:0], each, each[:0]]) for each in ROWS),
    "frames": frame_of(),
    "a frame and arrays": (frame_of()[0], *(part.to_dask_array() for part in frame_of()[1:])),
    "y in memory": (ROWS[0], y, WEIGHT),
    "filtered, of unknown length": tuple(part[frame_of()[0]["a"] > -100.0] for part in frame_of()),
    "filtered arrays": tuple(part[ROWS[0][:, 0] > -100.0] for part in ROWS),
}


@pytest.mark.parametrize("name", CUTS)
def test_the_squared_error_is_fitted_as_in_memory_however_rows_are_cut(name):
    model = DaskMiniBatchLinearRegressor(alpha=0.1).fit(*CUTS[name])
    assert_same(model, MiniBatchLinearRegressor(None, alpha=0.1).fit(X, y, WEIGHT))
    assert isinstance(model.coef_, np.ndarray)


@pytest.mark.parametrize("options", [{"loss": "huber", "epsilon": 0.5}, {"loss": "quantile", "penalty": "l1", "alpha": 0.01}])
def test_other_losses_are_fitted_within_tol(options):
    model = DaskMiniBatchLinearRegressor(**options).fit(*ROWS)
    local = MiniBatchLinearRegressor(None, **options).fit(X, y, WEIGHT)
    assert model.loss_curve_[-1] == pytest.approx(local.loss_curve_[-1], rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 32, 1500, 10_000])
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_mini_batches_come_as_near_as_promised_and_give_the_same_bits_again(batch_size, order):
    rank = np.argsort(y) if order == "sorted" else np.arange(len(y))
    collections = da.from_array(X[rank], chunks=(300, 5)), da.from_array(y[rank], chunks=300)
    models = [DaskMiniBatchLinearRegressor(batch_size, random_state=0).fit(*collections) for _ in range(2)]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    exact = MiniBatchLinearRegressor(None).fit(X, y)
    assert exact.score(X, y) - models[0].score(X, y) <= 1e-3
    # The normal equations tell when the promise is kept; means of parallel passes may be there a little later.
    assert models[0].n_iter_ <= MiniBatchLinearRegressor(batch_size, random_state=0).fit(X[rank], y[rank]).n_iter_ + 2


def test_one_pass_side_by_side_is_the_mean_of_its_parts():
    plain = {"learning_rate": "constant", "eta0": 1e-5, "max_iter": 1, "tol": None, "random_state": 0}
    one = DaskMiniBatchLinearRegressor(1, **plain).fit(ROWS[0].rechunk((2000, 5)), ROWS[1].rechunk(2000))
    several = DaskMiniBatchLinearRegressor(1, **plain).fit(*ROWS[:2])
    # Seven passes of a seventh of the steps each: to first order, the mean has gone a seventh of the way.
    assert np.linalg.norm(several.coef_) < np.linalg.norm(one.coef_)
    assert several.n_steps_ == -(-2000 // 7)
    assert one.n_steps_ == 2000


def test_sparse_partitions_of_many_columns_need_an_int():
    rng = np.random.default_rng(0)
    wide = np.where(rng.random((600, 1200)) < 0.01, 1.0, 0.0)
    target = wide @ rng.standard_normal(1200) + 0.1 * rng.standard_normal(600)
    blocks = [da.from_array(csr_array(wide[i : i + 200]), chunks=-1, asarray=False) for i in range(0, 600, 200)]
    rows, targets = da.concatenate(blocks), da.from_array(target, chunks=200)
    with pytest.raises(ValueError, match=r"at most 1000 columns, got 1200. Use batch_size=32"):
        DaskMiniBatchLinearRegressor().fit(rows, targets)
    model = DaskMiniBatchLinearRegressor(8, alpha=1e-3, random_state=0).fit(rows, targets)
    local = MiniBatchLinearRegressor(8, alpha=1e-3, random_state=0).fit(csr_array(wide), target)
    assert model.score(rows, targets) == pytest.approx(local.score(csr_array(wide), target), abs=0.01)
    np.testing.assert_allclose(model.predict(rows).compute(), model.to_local().predict(wide), rtol=1e-12)


def test_partitions_that_are_sparse_and_dense_are_refused():
    parts = da.from_array(csr_array(X[:1000]), chunks=-1, asarray=False), da.from_array(X[1000:], chunks=-1)
    for order in parts, parts[::-1]:
        with pytest.raises(ValueError, match=r"sparse and others dense. Make all alike, as by X.map_blocks\(csr_array\)"):
            DaskMiniBatchLinearRegressor().fit(da.concatenate(order), da.from_array(y, chunks=1000))


def test_several_targets_are_collections_too():
    _, targets, _ = table(n_targets=3)
    frame = dd.from_pandas(pd.DataFrame(np.hstack([X, targets]), columns=[*NAMES, "p", "q", "r"]), npartitions=4)
    expected = MiniBatchLinearRegressor(None).fit(X, targets)
    for rows, of_rows in (ROWS[0], da.from_array(targets, chunks=(300, 1))), (frame[NAMES], frame[["p", "q", "r"]]):
        model = DaskMiniBatchLinearRegressor().fit(rows, of_rows)
        assert_same(model, expected)
        predicted = model.predict(rows)
        assert predicted.ndim == 2
        np.testing.assert_allclose(predicted.compute(), expected.predict(X), rtol=1e-8, atol=1e-9)
        assert model.score(rows, of_rows) == pytest.approx(r2_score(targets, expected.predict(X)))


def test_predictions_are_lazy_and_of_the_kind_of_x():
    model = DaskMiniBatchLinearRegressor().fit(*ROWS[:2])
    computed = []

    def note(block):
        computed.append(len(block))
        return block

    predicted = model.predict(ROWS[0].map_blocks(note, dtype=float, meta=np.empty((0, 0))))
    assert isinstance(predicted, da.Array)
    assert not computed
    np.testing.assert_array_equal(predicted.compute(), model.to_local().predict(X))
    rows, target, _ = frame_of()
    model = DaskMiniBatchLinearRegressor().fit(rows, target)
    predicted = model.predict(rows)
    assert isinstance(predicted, dd.Series)
    assert list(predicted.compute().index) == list(range(2000))
    assert list(model.feature_names_in_) == NAMES
    with pytest.raises(ValueError, match="feature names"):
        model.predict(rows.rename(columns={"a": "z"})).compute()
    np.testing.assert_array_equal(
        model.predict(rows.partitions[0].compute()), model.predict(rows).compute()[: len(rows.partitions[0])]
    )


def test_the_score_is_that_of_scikit_learn():
    for rows in (ROWS, frame_of()):
        model = DaskMiniBatchLinearRegressor(alpha=0.3).fit(*rows)
        expected = r2_score(
            y, model.to_local().predict(pd.DataFrame(X, columns=NAMES) if rows is not ROWS else X), sample_weight=WEIGHT
        )
        assert model.score(*rows) == pytest.approx(expected, rel=1e-9)
    constant = da.ones(2000, chunks=300)
    assert DaskMiniBatchLinearRegressor().fit(ROWS[0], constant).score(ROWS[0], constant) == pytest.approx(1.0)


def test_a_local_model_predicts_the_same_and_goes_on():
    model = DaskMiniBatchLinearRegressor(alpha=0.1, client=None).fit(*ROWS)
    local = pickle.loads(pickle.dumps(model.to_local()))
    assert type(local) is MiniBatchLinearRegressor
    assert local.get_params() == MiniBatchLinearRegressor(None, alpha=0.1).get_params()
    expected = MiniBatchLinearRegressor(None, alpha=0.1).fit(X, y, WEIGHT)
    more, target, _ = table(2500)
    assert_same(local.partial_fit(more, target), expected.partial_fit(more, target), rtol=1e-6)


def test_parameters_are_those_of_the_local_estimator():
    model = DaskMiniBatchLinearRegressor(32, loss="huber", client=None)
    assert set(model.get_params()) == {*MiniBatchLinearRegressor().get_params(), "client"}
    assert clone(model).get_params() == model.get_params()
    assert DaskMiniBatchLinearRegressor().batch_size is None
    with pytest.raises(TypeError):
        DaskMiniBatchLinearRegressor(no_such_parameter=1)


def broken(number):
    """Rows of which partition `number` has a NaN."""

    def with_nan(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == number:
            block = block.copy()
            block[0, 0] = np.nan
        return block

    return ROWS[0].rechunk((100, 5)).map_blocks(with_nan, dtype=float, meta=np.empty((0, 0)))


def test_a_bad_partition_is_named_and_loses_nothing():
    model = DaskMiniBatchLinearRegressor(warm_start=True).fit(*ROWS)
    before = model.coef_.copy()
    for call in (model.fit, model.score):
        with pytest.raises(ValueError, match="Partition 17: Input X contains NaN"):
            call(broken(17), ROWS[1])
    np.testing.assert_array_equal(model.coef_, before)


def test_what_does_not_fit_is_refused():
    model = DaskMiniBatchLinearRegressor()
    with pytest.raises(TypeError, match=r"must be a Dask array.*got ndarray.*MiniBatchLinearRegressor"):
        model.fit(X, y)
    for columns in (ROWS[1], frame_of()[1], dask.delayed(X)):
        with pytest.raises(TypeError, match=r"X must be a Dask array of two dimensions"):
            model.fit(columns, ROWS[1])
    for targets in (None, 2.0, dask.delayed(y)):
        with pytest.raises(TypeError, match="y must be a Dask array, series or data frame"):
            model.fit(ROWS[0], targets)
    with pytest.raises(ValueError, match=r"y is in memory.*to_dask_array"):
        model.fit(frame_of()[0], y)
    with pytest.raises(ValueError, match="have 7, 7, 20 partitions, whose rows cannot be matched"):
        model.fit(*ROWS[:2], ROWS[2].rechunk(100)[ROWS[2].rechunk(100) > 0])
    fitted = DaskMiniBatchLinearRegressor().fit(*ROWS[:2])
    with pytest.raises(ValueError, match="y has 2 targets, but the model has 1"):
        fitted.score(ROWS[0], da.stack([ROWS[1], ROWS[1]], axis=1))
    with pytest.raises(ValueError, match="X has 4 features"):
        fitted.predict(ROWS[0][:, :4])
    with pytest.raises(ValueError, match="X has 2000 rows, but y has 1900"):
        model.fit(ROWS[0], ROWS[1][:1900])
    with pytest.raises(ValueError, match="partitions, whose rows cannot be matched"):
        model.fit(ROWS[0][ROWS[0][:, 0] > 0], ROWS[1].rechunk(1000))
    with pytest.raises(ValueError, match="early_stopping=True"):
        DaskMiniBatchLinearRegressor(early_stopping=True).fit(*ROWS)
    for option in ({"record_steps": True}, {"shuffle": False}):
        with pytest.raises(ValueError, match="need steps in one order"):
            DaskMiniBatchLinearRegressor(32, **option).fit(*ROWS)
        DaskMiniBatchLinearRegressor(10_000, **option).fit(*ROWS)
    with pytest.raises(ValueError, match="There are no rows"):
        model.fit(ROWS[0][:0], ROWS[1][:0])
    assert not hasattr(model, "coef_")


def test_the_local_estimator_says_what_it_does_to_a_dask_array():
    with pytest.warns(UserWarning, match=r"into memory.*skgd\.dask\.DaskMiniBatchLinearRegressor"):
        model = MiniBatchLinearRegressor(None).fit(*ROWS[:2])
    assert_same(model, DaskMiniBatchLinearRegressor().fit(*ROWS[:2]))


def test_a_pipeline_of_what_passes_collections_on_works():
    from sklearn.preprocessing import FunctionTransformer

    pipeline = make_pipeline(FunctionTransformer(lambda rows: 2.0 * rows), DaskMiniBatchLinearRegressor()).fit(*ROWS[:2])
    np.testing.assert_allclose(pipeline[-1].coef_, MiniBatchLinearRegressor(None).fit(2.0 * X, y).coef_, rtol=1e-9)
    assert isinstance(pipeline.predict(ROWS[0]), da.Array)


def test_a_grid_search_takes_arrays():
    search = GridSearchCV(DaskMiniBatchLinearRegressor(), {"alpha": [0.0, 1.0]}, cv=3, error_score="raise").fit(*ROWS[:2])
    local = GridSearchCV(MiniBatchLinearRegressor(None), {"alpha": [0.0, 1.0]}, cv=3).fit(X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], local.cv_results_["mean_test_score"], rtol=1e-9)
    assert_same(search.best_estimator_, local.best_estimator_)


def test_columns_of_one_file_may_be_read_in_other_partitions_than_all_of_them(tmp_path):
    pytest.importorskip("pyarrow")
    dd.from_pandas(pd.DataFrame(X, columns=NAMES).assign(y=y), npartitions=20).to_parquet(tmp_path)
    frame = dd.read_parquet(tmp_path)
    assert_same(DaskMiniBatchLinearRegressor().fit(frame[NAMES], frame["y"]), MiniBatchLinearRegressor(None).fit(X, y))


@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_cluster_gives_the_bits_of_one_thread(client, batch_size):
    options = {"random_state": 0, "alpha": 0.1, "loss": "huber", "epsilon": 1.0}
    model = DaskMiniBatchLinearRegressor(batch_size, client=client, **options).fit(*ROWS)
    with dask.config.set(scheduler="synchronous"):
        here = DaskMiniBatchLinearRegressor(batch_size, **options).fit(*ROWS)
    np.testing.assert_array_equal(model.coef_, here.coef_)
    assert pickle.loads(pickle.dumps(model)).client is None
    np.testing.assert_allclose(model.predict(ROWS[0]).compute(), model.to_local().predict(X))


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(client, tmp_path):
    mark = str(tmp_path / "killed")

    def deadly(block, mark):
        if not os.path.exists(mark):
            with open(mark, "w"):
                pass
            os._exit(1)  # the worker's process
        return block

    rows = ROWS[0].map_blocks(deadly, mark, dtype=float, meta=np.empty((0, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DaskMiniBatchLinearRegressor(client=client).fit(rows, *ROWS[1:])
    assert os.path.exists(mark)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(model.coef_, DaskMiniBatchLinearRegressor().fit(*ROWS).coef_)


def test_a_restart_in_the_middle_is_an_error_that_loses_nothing(client):
    model = DaskMiniBatchLinearRegressor(client=client, warm_start=True).fit(*ROWS)
    before = model.coef_.copy()

    def waiting(block):
        distributed.Event("begun").set()
        distributed.Event("never").wait(timeout=30)
        return block

    rows, errors = ROWS[0].map_blocks(waiting, dtype=float, meta=np.empty((0, 0))), []

    def fit():
        try:
            model.fit(rows, ROWS[1])
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    distributed.Event("begun", client=client).wait(timeout=30)
    client.restart(timeout=30)
    thread.join(timeout=30)
    assert len(errors) == 1
    assert isinstance(errors[0], RuntimeError)
    assert "cancelled" in str(errors[0])
    np.testing.assert_array_equal(model.coef_, before)


def test_rows_are_matched_by_their_place_whatever_the_index_says(tmp_path):
    def part(k):
        frame = pd.DataFrame(np.random.default_rng(k).standard_normal((200, 2)) + k, columns=["a", "b"])
        return frame.assign(y=frame["a"] + 2.0 * frame["b"])  # an index of 0 to 199 in each partition

    frame = dd.from_map(part, range(6))
    frame.to_parquet(tmp_path)
    rows, targets = frame[["a", "b"]], frame["y"]
    again = dd.read_parquet(tmp_path, columns=["a", "b"]), dd.read_parquet(tmp_path, columns=["y"])["y"]
    for collections in (rows, targets), dask.persist(rows, targets), (rows.persist(), targets.persist()), again:
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler):
                model = DaskMiniBatchLinearRegressor().fit(*collections)
                np.testing.assert_allclose(model.coef_, [1.0, 2.0], rtol=1e-4)
                assert model.score(*collections) == pytest.approx(1.0, abs=1e-6)
    known = dd.from_pandas(frame.compute().reset_index(drop=True), npartitions=6)
    model = DaskMiniBatchLinearRegressor().fit(known[["a", "b"]], known["y"].repartition(npartitions=2))
    np.testing.assert_allclose(model.coef_, [1.0, 2.0], rtol=1e-4)


@pytest.mark.parametrize("rows", [300, 2000])
def test_a_plain_step_that_is_too_long_diverges_as_in_memory(rows):
    options = {"learning_rate": "constant", "eta0": 1e-2, "max_iter": 50, "tol": None, "random_state": 0}
    with pytest.raises(ValueError, match=r"diverged in epoch \d+ at step size.*A step that is safe"):
        DaskMiniBatchLinearRegressor(32, **options).fit(ROWS[0].rechunk((rows, 5)), ROWS[1].rechunk(rows))


def test_a_client_that_cannot_be_copied_is_shared_by_clones():
    client = threading.Lock()
    model = clone(DaskMiniBatchLinearRegressor(32, alpha=0.1, client=client))
    assert model.client is client
    assert (model.batch_size, model.alpha) == (32, 0.1)


def test_redistributed_rows_are_kept():
    read = []

    def note(block):
        read.append(len(block))
        return block

    for max_iter in (2, 20):
        rows = ROWS[0].map_blocks(note, dtype=float, meta=np.empty((0, 0)))
        read.clear()
        options = {"max_iter": max_iter, "tol": None, "random_state": 0, "learning_rate": "constant", "eta0": 1e-6}
        DaskMiniBatchLinearRegressor(32, **options).fit(rows, ROWS[1])
        assert len(read) == 3 * 7  # once to survey them, once to redistribute them, once to see where plain steps have ended


@pytest.mark.parametrize("target", [lambda X: np.full(len(X), 5.0), lambda X: 1e8 + X @ [1.0, 2.0, 3.0]])
@pytest.mark.parametrize(("n_rows", "chunk"), [(200, 100), (6, 1)])  # of six rows at random in six parts, some are empty
def test_plain_steps_from_a_start_far_above_the_best_constant_are_no_divergence(target, n_rows, chunk):
    X = np.random.default_rng(0).standard_normal((n_rows, 3))
    options = {"learning_rate": "constant", "eta0": 0.01, "random_state": 0, "max_iter": 3, "tol": None}
    model = DaskMiniBatchLinearRegressor(2, **options).fit(da.from_array(X, (chunk, 3)), da.from_array(target(X), chunk))
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_plain_steps_on_all_partitions_at_once_are_those_of_memory():
    options = {"learning_rate": "constant", "eta0": 1e-6, "max_iter": 5, "tol": None, "loss": "huber", "epsilon": 0.5}
    model = DaskMiniBatchLinearRegressor(**options, momentum=0.5).fit(*ROWS)
    assert_same(model, MiniBatchLinearRegressor(None, **options, momentum=0.5).fit(X, y, WEIGHT))


def test_rows_to_watch_may_be_collections_or_in_memory():
    options = {"early_stopping": True, "loss": "huber", "epsilon": 0.5}
    watched = {"X_val": X[:500], "y_val": y[:500], "sample_weight_val": WEIGHT[:500]}
    local = MiniBatchLinearRegressor(None, **options).fit(X, y, WEIGHT, **watched)
    lazy = {name: da.from_array(value, chunks=200) for name, value in watched.items()}
    for given in watched, lazy:
        model = DaskMiniBatchLinearRegressor(**options).fit(*ROWS, **given)
        np.testing.assert_allclose(model.validation_scores_, local.validation_scores_, rtol=1e-6)
    with pytest.raises(ValueError, match="y_val has 2 targets, but y has 1"):
        model.fit(*ROWS, X_val=lazy["X_val"], y_val=da.stack([lazy["y_val"], lazy["y_val"]], axis=1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int16, np.int64, bool])
def test_predictions_of_an_array_are_of_the_type_that_they_declare(dtype):
    X = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    model = DaskMiniBatchLinearRegressor().fit(da.from_array(X, (20, 2)), da.from_array(X @ [1.0, 2.0], 20))
    predicted = model.predict(da.from_array(X.astype(dtype), (20, 2)))
    assert predicted.dtype == predicted.compute().dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_of_a_frame_are_of_the_type_that_they_declare(dtype):
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((40, 2)), columns=["a", "b"]).astype(dtype)
    frame["y"] = (frame["a"] - frame["b"]).astype(np.float64)
    frames = dd.from_pandas(frame, npartitions=4)
    for loss in ("squared_error", "quantile"):
        predicted = DaskMiniBatchLinearRegressor(loss=loss).fit(frames[["a", "b"]], frames["y"]).predict(frames[["a", "b"]])
        assert predicted.dtype == predicted.compute().dtype


def test_a_frame_of_sparse_bools_is_read_as_its_numbers():
    frame = pd.get_dummies(pd.Series(list("abcabcaa") * 9), sparse=True)
    y = np.arange(72.0)
    frames = dd.from_pandas(frame.assign(y=y), npartitions=3)
    model = DaskMiniBatchLinearRegressor().fit(frames[list(frame.columns)], frames["y"])
    expected = MiniBatchLinearRegressor(None).fit(frame.to_numpy(float), y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


def test_partitions_of_frames_are_matched_by_their_numbers_whatever_their_index_says():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((400, 2)), columns=["a", "b"])
    y = (X["a"] + 2.0 * X["b"]).set_axis(np.arange(1000, 1400))
    model = DaskMiniBatchLinearRegressor().fit(dd.from_pandas(X, npartitions=4), dd.from_pandas(y, npartitions=4))
    np.testing.assert_allclose(model.coef_, [1.0, 2.0], rtol=1e-9)
