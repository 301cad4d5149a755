"""Symmetries: what must change nothing, and what must change everything in a known way."""

import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import random_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor, _rows
from tests.conftest import diabetes, rows_of

BATCHES = pytest.mark.parametrize("batch_size", [1, 7, 32, None])
SCHEDULES = pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"average": True},
        {"average": False},
        {"learning_rate": "constant"},
        {"learning_rate": "constant", "average": 40},
        {"learning_rate": "invscaling", "alpha": 0.1},
        {"learning_rate": "optimal", "alpha": 1.0},
        {"learning_rate": "adaptive"},
    ],
    ids=str,
)


def parameters_of(model):
    return np.column_stack([np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)])


def same_bits(a, b):
    np.testing.assert_array_equal(parameters_of(a), parameters_of(b))


@SCHEDULES
@BATCHES
def test_same_seed_same_bits(small, batch_size, schedule):
    model = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=4, tol=None, **schedule)
    same_bits(clone(model).fit(*small), clone(model).fit(*small))


def test_another_seed_visits_the_rows_in_another_order(small):
    one, other = (MiniBatchLinearRegressor(5, random_state=seed, max_iter=1, tol=None).fit(*small) for seed in (0, 1))
    assert not np.array_equal(one.coef_, other.coef_)


@SCHEDULES
@BATCHES
def test_a_fit_in_pieces_is_the_fit_in_one_go(small, batch_size, schedule):
    whole = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=6, tol=None, **schedule).fit(*small)
    pieces = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=2, tol=None, warm_start=True, **schedule)
    for _ in range(3):
        pieces.fit(*small)
    assert pieces.n_steps_ == whole.n_steps_
    # Between calls the intercept is kept at the origin and not at the columns' means: one rounding each way.
    np.testing.assert_allclose(parameters_of(pieces), parameters_of(whole), rtol=1e-12, atol=1e-14)


@BATCHES
@SCHEDULES
def test_pickled_in_mid_stream_is_never_stopped(small, batch_size, schedule):
    X, y = small
    straight = MiniBatchLinearRegressor(batch_size, random_state=3, **schedule)
    broken = clone(straight)
    for rows in slice(0, 10), slice(10, 20), slice(20, 30):
        straight.partial_fit(X[rows], y[rows])
        broken = pickle.loads(pickle.dumps(broken.partial_fit(X[rows], y[rows])))
    same_bits(straight, broken)
    assert straight.n_iter_ == broken.n_iter_ == 3
    assert straight.n_steps_ == broken.n_steps_


PLAIN = pytest.mark.parametrize("rate", ["constant", "invscaling", "optimal", "adaptive"])


@PLAIN
@pytest.mark.parametrize("average", [False, True])
def test_chunks_of_whole_batches_in_order_are_an_unshuffled_epoch_of_fit_bit_for_bit(small, rate, average):
    X, y = small
    model = MiniBatchLinearRegressor(5, learning_rate=rate, alpha=0.1, shuffle=False, tol=None, max_iter=1, average=average)
    chunked = clone(model)
    for rows in slice(0, 5), slice(5, 20), slice(20, 30):
        chunked.partial_fit(X[rows], y[rows])
    same_bits(chunked, model.fit(X, y))


def test_chunks_of_optimal_steps_recover_from_long_first_ones_as_an_epoch_of_fit_does():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((2000, 3))
        y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(2000)
        model = MiniBatchLinearRegressor(8, learning_rate="optimal", alpha=0.1, shuffle=False, tol=None, max_iter=1)
        chunked = clone(model)
        for start in range(0, 2000, 8):
            chunked.partial_fit(X[start : start + 8], y[start : start + 8])
        same_bits(chunked, model.fit(X, y))


@PLAIN
def test_a_chunk_is_one_step_if_batch_size_is_none(small, rate):
    X, y = small
    chunked = MiniBatchLinearRegressor(None, learning_rate=rate, alpha=0.1, shuffle=False)
    for rows in slice(0, 10), slice(10, 20), slice(20, 30):
        chunked.partial_fit(X[rows], y[rows])
    assert chunked.n_steps_ == 3
    same_bits(chunked, clone(chunked).set_params(batch_size=10, max_iter=1, tol=None).fit(X, y))


@SCHEDULES
@BATCHES
def test_several_targets_are_each_ones_own_fit(small, batch_size, schedule):
    X, y = small
    Y = np.column_stack([y, 5.0 - 100 * y**2, np.cos(y)])
    model = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=4, tol=None, **schedule)
    together = clone(model).fit(X, Y)
    assert together.coef_.shape == (3, 3)
    assert together.intercept_.shape == (3,)
    alone = [clone(model).fit(X, target) for target in Y.T]
    # Sums over targets side by side are taken in another order than alone by the full batch's matrix products.
    np.testing.assert_allclose(together.coef_, [each.coef_ for each in alone], rtol=1e-10)
    np.testing.assert_allclose(together.intercept_, [each.intercept_ for each in alone], rtol=1e-10)
    np.testing.assert_allclose(together.loss_curve_, np.mean([each.loss_curve_ for each in alone], axis=0), rtol=1e-10)
    np.testing.assert_allclose(together.predict(X)[:, 1], alone[1].predict(X), rtol=1e-10, atol=1e-10)


DESCENTS = [
    {},
    {"batch_size": 1},
    {"batch_size": 7, "penalty": "elasticnet", "alpha": 0.05},
    {"loss": "huber", "epsilon": 1.0, "alpha": 0.01},
    {"loss": "quantile", "quantile": 0.2},
    {"learning_rate": "adaptive", "eta0": 0.05, "tol": 1e-2, "max_iter": 300},
    {"learning_rate": "invscaling", "eta0": 0.1, "momentum": 0.5},
    {"early_stopping": True},
]


@pytest.fixture(scope="module")
def many_targets():
    """Targets that reach their plateaus after unlike numbers of epochs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    return X, X @ rng.standard_normal((6, 11)) + np.geomspace(0.01, 10, 11) * rng.standard_normal((300, 11))


@pytest.mark.parametrize("parameters", DESCENTS, ids=str)
def test_a_target_is_done_when_its_own_fit_is(many_targets, parameters):
    X, Y = many_targets
    model = MiniBatchLinearRegressor(random_state=0).set_params(**parameters)
    together, alone = clone(model).fit(X, Y), [clone(model).fit(X, y) for y in Y.T]
    n_iter = [each.n_iter_ for each in alone]
    assert min(n_iter) < max(n_iter) == together.n_iter_ < model.max_iter
    # Of a kinked loss the readings at the end choose among steps that rounding tells apart, each within the promise.
    rtol = 0.1 if model.loss == "quantile" else 1e-9
    np.testing.assert_allclose(together.coef_, [each.coef_ for each in alone], rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(together.intercept_, [each.intercept_ for each in alone], rtol=rtol, atol=1e-12)
    curves = [np.append(each.loss_curve_, np.full(max(n_iter) - each.n_iter_, each.loss_curve_[-1])) for each in alone]
    np.testing.assert_allclose(together.loss_curve_, np.mean(curves, axis=0), rtol=1e-9)
    if model.learning_rate != "invscaling":  # where the size of a step follows its number
        np.testing.assert_allclose(together.step_size_, [each.step_size_ for each in alone], rtol=1e-9)


@pytest.mark.parametrize("parameters", DESCENTS, ids=str)
def test_targets_that_are_done_stay_so_over_a_pause(many_targets, parameters):
    X, Y = many_targets
    model = MiniBatchLinearRegressor(random_state=0).set_params(**parameters)
    through = clone(model).fit(X, Y)
    paused = clone(model).set_params(warm_start=True, max_iter=through.n_iter_ - 1)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        paused.fit(X, Y)
    curve = paused.loss_curve_
    paused.set_params(max_iter=model.max_iter).fit(X, Y)
    assert paused.n_iter_ == 1
    # The intercept is moved to zero and back in between, which rounds it.
    np.testing.assert_allclose(np.append(curve, paused.loss_curve_), through.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(paused.coef_, through.coef_, rtol=1e-9, atol=1e-12)


def test_targets_in_wide_sparse_rows_are_each_ones_own_fit():
    rng = np.random.default_rng(0)
    X = random_array((200, 1100), density=0.01, random_state=rng, format="csr")
    Y = X @ rng.standard_normal((1100, 5)) + np.geomspace(0.01, 1, 5) * rng.standard_normal((200, 5))
    model = MiniBatchLinearRegressor(8, alpha=0.01, random_state=0)
    together, alone = clone(model).fit(X, Y), [clone(model).fit(X, y) for y in Y.T]
    assert together.n_iter_ == max(each.n_iter_ for each in alone)
    np.testing.assert_allclose(together.coef_, [each.coef_ for each in alone], rtol=1e-9, atol=1e-12)


@BATCHES
@SCHEDULES
def test_weights_times_a_constant_change_nothing(small, batch_size, schedule):
    X, y = small
    weight = np.random.default_rng(2).uniform(0, 3, len(X))
    model = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=4, tol=None, **schedule)
    same_bits(clone(model).fit(X, y, weight), clone(model).fit(X, y, 1024 * weight))  # a power of two: no rounding
    np.testing.assert_allclose(clone(model).fit(X, y, 0 * y + 7).coef_, clone(model).fit(X, y).coef_, rtol=1e-12)


@SCHEDULES
def test_weight_two_is_the_row_twice_for_the_full_batch(small, schedule):
    X, y = small
    twice = np.random.default_rng(2).integers(0, 4, len(X))
    model = MiniBatchLinearRegressor(None, max_iter=20, tol=None, **schedule)
    repeated = clone(model).fit(np.repeat(X, twice, axis=0), np.repeat(y, twice))
    weighted = clone(model).fit(X, y, sample_weight=twice)
    np.testing.assert_allclose(parameters_of(weighted), parameters_of(repeated), rtol=1e-10)


def test_weight_two_on_one_row_of_a_stream_pulls_twice(small):
    X, y = small
    model = MiniBatchLinearRegressor(1, learning_rate="constant", eta0=0.01, shuffle=False)
    double_weight = clone(model).partial_fit(X[:1], y[:1], sample_weight=[2.0])
    double_step = clone(model).set_params(eta0=0.02).partial_fit(X[:1], y[:1])
    same_bits(double_weight, double_step)


@SCHEDULES
def test_row_order_is_irrelevant_for_the_full_batch(small, schedule):
    X, y = small
    order = np.random.default_rng(5).permutation(len(X))
    model = MiniBatchLinearRegressor(None, max_iter=20, tol=None, **schedule)
    straight, shuffled = clone(model).fit(X, y), clone(model).fit(X[order], y[order])
    np.testing.assert_allclose(parameters_of(straight), parameters_of(shuffled), rtol=1e-10)


@SCHEDULES
@BATCHES
def test_float32_is_close_to_float64(small, batch_size, schedule):
    X, y = (a.astype(np.float32) for a in small)
    model = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=4, tol=None, **schedule)
    single, double = clone(model).fit(X, y), clone(model).fit(X.astype(float), y.astype(float))
    assert single.coef_.dtype == np.float32
    assert single.predict(X).dtype == np.float32
    # The state is float64 and X is the same to the bit; the result is rounded once.
    np.testing.assert_allclose(parameters_of(single), parameters_of(double), rtol=1e-6, atol=1e-7)


@SCHEDULES
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_recording_and_printing_change_no_bit(small, batch_size, schedule, capsys):
    model = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=4, tol=None, **schedule)
    watched = clone(model).set_params(record_steps=True, verbose=1).fit(*small)
    same_bits(clone(model).fit(*small), watched)
    assert capsys.readouterr().out.count("Epoch") == 4
    assert watched.coef_path_.shape == (watched.n_steps_ + 1, 3)
    assert watched.intercept_path_.shape == (watched.n_steps_ + 1,)
    assert watched.loss_path_.shape == (watched.n_steps_,)
    np.testing.assert_allclose(watched.loss_path_.reshape(4, -1).mean(axis=1), watched.loss_curve_, rtol=1e-12)


exponents = st.integers(-20, 20)


@settings(max_examples=30, deadline=None)
@given(st.lists(exponents, min_size=10, max_size=10), exponents, st.sampled_from([1, 32, None]))
def test_auto_units_of_columns_and_target_do_not_matter(column_exponents, target_exponent, batch_size):
    X, y = diabetes()
    units, unit = 2.0 ** np.array(column_exponents), 2.0**target_exponent
    model = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=3, tol=None)
    before, after = clone(model).fit(X, y), clone(model).fit(X * units, y * unit)
    # Powers of two round nothing but the eigenvectors' signs and the intercept's sum.
    np.testing.assert_allclose(after.coef_ * units / unit, before.coef_, rtol=1e-8)
    np.testing.assert_allclose(after.intercept_ / unit, before.intercept_, rtol=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=10, max_size=10), st.floats(-1e6, 1e6), st.sampled_from([1, 32, None]))
def test_auto_origins_of_columns_and_target_do_not_matter(column_shifts, target_shift, batch_size):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=3, tol=None)
    before, after = clone(model).fit(X, y), clone(model).fit(X + column_shifts, y + target_shift)
    # A shift of 1e6 rounds y at 1e-10, that of a column at 1e-13; conditions of 1e3 lie between them and the coefficients.
    np.testing.assert_allclose(after.coef_, before.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after.predict(X + column_shifts), before.predict(X) + target_shift, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("loss", ["huber", "quantile", "squared_error"])
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_targets_of_other_units_are_each_ones_own_fit_under_a_penalty_too(loss, batch_size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(300)
    Y = np.column_stack([y, 1e6 * rng.standard_normal(300)])
    model = MiniBatchLinearRegressor(batch_size, loss=loss, alpha=0.01, random_state=0, max_iter=5, tol=None)
    np.testing.assert_allclose(clone(model).fit(X, Y).coef_[0], clone(model).fit(X, y).coef_, rtol=1e-10)


@pytest.mark.parametrize("parameters", [{}, {"penalty": "l1", "alpha": 0.05}], ids=str)
@BATCHES
def test_nothing_in_a_row_of_weight_zero_matters(batch_size, parameters):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(300)
    weight = (np.arange(300) % 3 > 0).astype(float)
    wild, wild_y = X.copy(), y.copy()
    wild[weight == 0] *= 1e10
    wild_y[weight == 0] = 1e9
    model = MiniBatchLinearRegressor(batch_size, random_state=0, max_iter=5, tol=None, **parameters)
    np.testing.assert_allclose(
        clone(model).fit(wild, wild_y, weight).coef_, clone(model).fit(X, y, weight).coef_, rtol=1e-9, atol=1e-12
    )


def test_fit_intercept_false_holds_for_a_model_that_goes_on(small):
    X, y = small
    model = MiniBatchLinearRegressor(random_state=0).fit(X, y + 50)
    model.set_params(fit_intercept=False).partial_fit(X, y)
    assert model.intercept_ == 0.0


def test_a_resumed_fit_keeps_no_attribute_of_another_length(small):
    model = MiniBatchLinearRegressor(
        5, early_stopping=True, record_steps=True, warm_start=True, max_iter=7, tol=None, random_state=0
    ).fit(*small)
    model.set_params(early_stopping=False, record_steps=False, max_iter=2).fit(*small)
    assert not hasattr(model, "validation_scores_")
    assert not hasattr(model, "coef_path_")
    model.set_params(record_steps=True).fit(*small)
    assert len(model.coef_path_) == len(model.loss_path_) + 1 == 2 * 6 + 1


def test_momentum_does_not_wait_forever(small):
    model = MiniBatchLinearRegressor(None, loss="huber", epsilon=1.0, momentum=0.9, random_state=0).fit(*small)
    assert model.n_iter_ < 500


@pytest.mark.parametrize(
    "parameters", [{"alpha": 0.1}, {"penalty": "l1", "alpha": 0.05}, {"positive": True}, {"loss": "huber"}], ids=str
)
@pytest.mark.parametrize("is_wide", [False, True])
def test_targets_end_as_their_own_fits_also_where_max_iter_ends_others(many_targets, parameters, is_wide):
    X, Y = many_targets
    if is_wide:
        rng = np.random.default_rng(1)
        X = random_array((300, 1500), density=0.02, random_state=rng, format="csr")
        Y = X @ rng.standard_normal((1500, 4)) + np.geomspace(0.1, 3, 4) * rng.standard_normal((300, 4))
    n_iter = [MiniBatchLinearRegressor(random_state=0, **parameters).fit(X, y).n_iter_ for y in Y.T]
    model = MiniBatchLinearRegressor(random_state=0, max_iter=max(n_iter) - 1, **parameters)
    assert min(n_iter) < max(n_iter)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        together, alone = clone(model).fit(X, Y), [clone(model).fit(X, y) for y in Y.T]
    # L-BFGS-B, at the end of wide huber, grows what products of matrices and of vectors round differently.
    np.testing.assert_allclose(together.coef_, [each.coef_ for each in alone], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"average": True}, {"average": True, "loss": "huber", "epsilon": 0.3}], ids=str)
@pytest.mark.parametrize("n_features", [10, 30])
def test_weight_2_is_the_row_twice_for_the_full_batch_however_few_the_rows(options, n_features):
    """Eleven rows of weight > 0 and as many columns or more: of several minima, both ends are at the same one."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = rng.random((15, n_features)), rng.integers(0, 3, 15).astype(float)
        weight = np.append(rng.integers(1, 4, 11), np.zeros(4, int))
        twice = np.repeat(np.arange(15), weight)
        weighted = MiniBatchLinearRegressor(None, **options).fit(X, y, weight)
        repeated = MiniBatchLinearRegressor(None, **options).fit(X[twice], y[twice])
        np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=2e-4)


@pytest.mark.parametrize("batch_size", [None, 32])
def test_no_bit_depends_on_the_number_of_cores(batch_size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120_000, 40))  # so many that their sums are on all cores
    y = X @ rng.standard_normal(40) + rng.standard_normal(120_000)
    found = []
    for n_threads in 1, 2, 8:
        with threadpool_limits(n_threads):
            found.append(MiniBatchLinearRegressor(batch_size, loss="huber", random_state=0).fit(X, y))
    for model in found[1:]:
        np.testing.assert_array_equal(model.coef_, found[0].coef_)
        np.testing.assert_array_equal(model.loss_curve_, found[0].loss_curve_)


def test_no_bit_of_a_stream_depends_on_the_number_of_cores():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 120))
    y = X @ rng.standard_normal(120) + rng.standard_normal(3000)
    found = []
    for n_threads in 1, 2:
        with threadpool_limits(n_threads):
            model = MiniBatchLinearRegressor(random_state=0)
            for start in range(0, 3000, 500):
                model.partial_fit(X[start : start + 500], y[start : start + 500])
            found.append(model.coef_)
    np.testing.assert_array_equal(*found)


def test_sums_on_all_cores_give_each_row_its_own_weight():
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((120_000, 40)), rng.uniform(0.0, 2.0, 120_000) ** 4
    y = X @ rng.standard_normal(40) + 3.0 * rng.standard_normal(120_000)
    expected = LinearRegression().fit(X, y, weight)
    model = MiniBatchLinearRegressor(None).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9, atol=1e-10)
    near = MiniBatchLinearRegressor(None, loss="huber", epsilon=100.0).fit(X, y, weight)  # beyond all residuals
    np.testing.assert_allclose(near.coef_, expected.coef_, atol=1e-3)


def test_threads_of_others_sum_alone():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120_000, 40))
    y = X @ rng.standard_normal(40)
    started, here = [], MiniBatchLinearRegressor(None).fit(X, y)
    with ThreadPoolExecutor(1) as pool:

        def fitted():
            before = threading.active_count()
            model = MiniBatchLinearRegressor(None).fit(X, y)
            started.append(threading.active_count() - before)
            return model

        # BLAS has threads of its own there, by which sums may be rounded otherwise.
        np.testing.assert_allclose(pool.submit(fitted).result().coef_, here.coef_, rtol=1e-11)
    assert started == [0]


FITS_IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from threadpoolctl import threadpool_info
from skgd import MiniBatchLinearRegressor

def of_blas():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

rng = np.random.default_rng(0)
X, y, before = rng.standard_normal((4000, 20)), rng.standard_normal(4000), of_blas()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: MiniBatchLinearRegressor(None, loss="huber").fit(X, y), range(16)))
assert of_blas() == before, of_blas()
"""


def test_fits_in_threads_leave_blas_as_it_was():
    environment = os.environ | {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }  # which libraries read when they are loaded
    subprocess.run([sys.executable, "-c", FITS_IN_THREADS], check=True, env=environment)


def test_threads_are_as_quiet_as_the_one_they_help():
    rows = rows_of(np.full((120_000, 40), 1e300), np.zeros(120_000))

    def squares(rows):
        return np.array([threading.get_ident() != home, np.sum([np.square(part.columns).max() for part in rows.blocks()])])

    home = threading.get_ident()
    with warnings.catch_warnings(), threadpool_limits(2), np.errstate(over="ignore"):
        warnings.simplefilter("error")
        ((n_elsewhere, total),) = rows.add_up((squares,))
    assert n_elsewhere > 0
    assert total == np.inf


def test_no_bit_of_sparse_sums_depends_on_the_number_of_cores(monkeypatch):
    monkeypatch.setattr(_rows, "GROUP", 2**14)  # so that few rows are on all cores
    X = random_array((4000, 1200), density=0.04, random_state=np.random.default_rng(0), format="csr")
    y = X @ np.random.default_rng(1).standard_normal(1200) + np.random.default_rng(2).standard_normal(4000)
    found = []
    for n_threads in 1, 2, 8:
        with threadpool_limits(n_threads):
            found.append(MiniBatchLinearRegressor(None, alpha=1e-3, max_iter=5, tol=None).fit(X, y))
    for model in found[1:]:
        np.testing.assert_array_equal(model.coef_, found[0].coef_)
        np.testing.assert_array_equal(model.loss_curve_, found[0].loss_curve_)
    few = rows_of(X[:100])
    for start, stop in (0, 100), (3, 41), (90, 200):
        assert (few.part(slice(start, stop)).columns != X[:100][start:stop]).nnz == 0
