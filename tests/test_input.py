"""Input that is odd, extreme or wrong: the right answer or a clear error, and never a model that lost something."""

import copy
import re
import tracemalloc
import warnings
from datetime import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import coo_array, csc_matrix, csr_array, random_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor
from tests.conftest import diabetes, gap

BATCHES = pytest.mark.parametrize("batch_size", [1, 32, None])


def data(n=60, d=3):
    X = np.random.default_rng(0).standard_normal((n, d))
    return X, X @ np.arange(1.0, d + 1) + 0.1 * np.random.default_rng(1).standard_normal(n)


def with_entry(array, value):
    array = array.astype(type(value) if isinstance(value, complex) else float)
    array[3 if array.ndim == 1 else (3, 1)] = value
    return array


X, y = data()
UNUSABLE = {
    "NaN in X": (with_entry(X, np.nan), y, None, "NaN"),
    "inf in X": (with_entry(X, np.inf), y, None, "infinity"),
    "NaN in y": (X, with_entry(y, np.nan), None, "NaN"),
    "inf in y": (X, with_entry(y, -np.inf), None, "infinity"),
    "X of one dimension": (X[:, 0], y, None, "Expected 2D array"),
    "X of three dimensions": (X[None], y, None, "dim 3"),
    "another number of rows": (X, y[:-1], None, "inconsistent"),
    "strings": (np.full((60, 3), "a"), y, None, "could not convert"),
    "complex X": (with_entry(X, 1j), y, None, "Complex"),
    "complex y": (X, with_entry(y, 1j), None, "Complex"),
    "no rows": (X[:0], y[:0], None, "0 sample"),
    "no columns": (X[:, :0], y, None, "0 feature"),
    "NaN in sample_weight": (X, y, with_entry(np.ones(60), np.nan), "sample_weight contains NaN"),
    "negative sample_weight": (X, y, with_entry(np.ones(60), -1.0), r"sample_weight must be >= 0, got -1 in row 3"),
    "sample_weight all zero": (X, y, np.zeros(60), "sample_weight is zero for every row"),
    "sample_weight beyond all measure": (X, y, np.full(60, 1e200), r"sample_weight must be below 1e\+100"),
    "sample_weight of another length": (X, y, np.ones(59), "sample_weight must be one number for each of 60 rows"),
    "sample_weight of two dimensions": (X, y, np.ones((60, 1)), r"got shape \(60, 1\). Give sample_weight.ravel"),
    "y without a target": (X, np.empty((60, 0)), None, "it holds no target"),
    "a column beyond float64": (X * [1, 1e200, 1], y, None, "Column 1 of X is too large"),
    "a target beyond float64": (X, y * 1e200, None, "y is too large"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("X_bad", "y_bad", "weight", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_input_is_refused_and_leaves_the_model_as_it_was(method, X_bad, y_bad, weight, message):
    model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    before = copy.deepcopy(vars(model))
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X_bad, y_bad, sample_weight=weight)
    assert vars(model).keys() == before.keys()
    np.testing.assert_equal(vars(model), before)
    with pytest.raises(ValueError, match=message):
        getattr(MiniBatchLinearRegressor(), method)(X_bad, y_bad, sample_weight=weight)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_column_whose_spread_is_below_float64_is_refused(method):
    with pytest.raises(ValueError, match="Column 2 of X varies too little"):
        getattr(MiniBatchLinearRegressor(), method)(X * [1, 1, 1e-200], y)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all", np.nan])
def test_batch_size_that_is_no_number_of_rows_is_refused(value):
    with pytest.raises(ValueError, match=r"batch_size.*range \[1, inf\)"):
        MiniBatchLinearRegressor(value).fit(X, y)


def test_partial_fit_with_another_number_of_features_or_targets_leaves_the_model_as_it_was():
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y)
    before = copy.deepcopy(vars(model))
    with pytest.raises(ValueError, match="X has 2 features"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="y has 2 targets, but the model has 1"):
        model.partial_fit(X, np.column_stack([y, y]))
    np.testing.assert_equal(vars(model), before)


def test_warm_start_with_another_number_of_features_is_refused():
    model = MiniBatchLinearRegressor(warm_start=True, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.fit(X[:, :2], y)


@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_a_step_that_diverges_says_so_names_the_safe_step_and_leaves_the_model_as_it_was(rate, batch_size):
    model = MiniBatchLinearRegressor(batch_size, learning_rate=rate, eta0=0.001, random_state=0).fit(X, y)
    before = copy.deepcopy(vars(model))
    X_raw, y_raw = diabetes()
    model.set_params(eta0=0.5)
    with pytest.raises(
        ValueError,
        match=r"eta0=0.5 diverged in epoch \d+ .* A step that is safe .* about [\d.e-]+(; above .* it diverges)?\. Use",
    ):
        model.fit(X_raw, y_raw)
    np.testing.assert_equal(vars(model.set_params(eta0=0.001)), before)


def test_the_safe_step_of_the_error_is_safe():
    X_raw, y_raw = diabetes()
    for batch_size in (1, 16, None):
        model = MiniBatchLinearRegressor(batch_size, learning_rate="constant", eta0=1.0, random_state=0)
        with pytest.raises(ValueError, match="diverged") as caught:
            model.fit(X_raw, y_raw)
        safe = float(str(caught.value).split("is about ")[1].split(";")[0].split(". Use")[0])
        model.set_params(eta0=safe, tol=None, max_iter=50).fit(X_raw, y_raw)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        with pytest.raises(ValueError, match="diverged"):  # and not needlessly small
            model.set_params(eta0=200 * safe, max_iter=2000).fit(X_raw, y_raw)


def test_a_plateau_above_the_constant_prediction_warns():
    X_far = X + 10
    with pytest.warns(UserWarning, match="above the .* of a constant prediction"):
        MiniBatchLinearRegressor(None, learning_rate="constant", eta0=1e-9, tol=1e-3).fit(X_far, y + 100)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_a_plain_descent_on_a_plateau_far_from_its_minimum_says_so_and_a_near_one_does_not(batch_size, loss):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((600, 4))
    target = Z @ [1.0, 2.0, -1.0, 0.5] + 0.5 * rng.standard_normal(600)
    options = {"loss": loss, "epsilon": 1.0} if loss == "huber" else {"loss": loss}
    model = MiniBatchLinearRegressor(batch_size, learning_rate="constant", eta0=0.003, random_state=0, max_iter=5000, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = model.fit(Z, target).score(Z, target)
    with pytest.warns(ConvergenceWarning, match="on a plateau far from its minimum: .* last step of .* is too .*auto"):
        raw = model.fit(Z * [1.0, 0.003, 1.0, 1.0], target)  # a column in other units, which the steps do not reach
    assert raw.score(Z * [1.0, 0.003, 1.0, 1.0], target) < near - 0.1


def test_an_objective_above_the_constants_is_that_of_the_targets_that_it_is_told_of():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((200, 2))
    near, far = Z[:, 1] - Z[:, 1].mean(), 500.0 + Z[:, 0]  # of the first, predicting 0 is the best constant
    model = MiniBatchLinearRegressor(None, learning_rate="constant", eta0=1e-12, tol=1e-3)
    with pytest.warns(ConvergenceWarning, match="above the .* of a constant prediction") as caught:
        model.fit(Z, np.column_stack([near, far]))
    end, constant = map(float, re.search(r"objective of (\S+), above the (\S+) of", str(caught[0].message)).groups())
    assert end == pytest.approx(np.mean((far - model.predict(Z)[:, 1]) ** 2), rel=0.01)
    assert constant == pytest.approx(far.var(), rel=0.01)


def test_grid_search_marks_a_diverging_candidate_as_failed():
    grid = GridSearchCV(MiniBatchLinearRegressor(learning_rate="constant", random_state=0), {"eta0": [1e-2, 1e3]})
    with pytest.warns(FitFailedWarning):
        grid.fit(X, y)
    assert np.isnan(grid.cv_results_["mean_test_score"][1])
    assert grid.best_params_ == {"eta0": 1e-2}


@BATCHES
def test_one_row_is_predicted_exactly(batch_size):
    model = MiniBatchLinearRegressor(batch_size).fit(X[:1], y[:1])
    np.testing.assert_allclose(model.predict(X[:1]), y[:1])


@BATCHES
def test_one_column(batch_size):
    assert gap(MiniBatchLinearRegressor(batch_size, random_state=0).fit(X[:, :1], y), X[:, :1], y) < 5e-3


@BATCHES
def test_more_columns_than_rows(batch_size):
    X, y = data(20, 60)
    assert MiniBatchLinearRegressor(batch_size, random_state=0, tol=1e-6).fit(X, y).score(X, y) > 1 - 1e-3


@BATCHES
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e8, -1e-8])
def test_a_constant_column_gets_coefficient_zero_and_disturbs_nothing(batch_size, constant):
    with_column = np.insert(X, 1, constant, axis=1)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(with_column, y)
    assert model.coef_[1] == 0.0
    np.testing.assert_allclose(model.predict(with_column), LinearRegression().fit(X, y).predict(X), atol=0.1)


@BATCHES
def test_columns_given_twice_share_their_coefficient(batch_size):
    twice = np.column_stack([X, X])
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(twice, y)
    np.testing.assert_allclose(model.coef_[:3], model.coef_[3:], rtol=1e-6)
    assert gap(model, twice, y) < 5e-3


@BATCHES
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_units_of_the_target(batch_size, unit):
    reference = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y * unit)
    np.testing.assert_allclose(model.coef_ / unit, reference.coef_, rtol=1e-6)


@BATCHES
def test_a_constant_target_is_the_intercept(batch_size):
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, np.full(60, 7.0))
    np.testing.assert_allclose(model.predict(X), 7.0, rtol=1e-12)


@BATCHES
def test_from_the_first_row_of_a_stream_on_the_model_is_finite(batch_size):
    model = MiniBatchLinearRegressor(batch_size)
    for row in range(10):
        model.partial_fit(X[row : row + 1], y[row : row + 1])
        assert np.isfinite(model.coef_).all()
    first = MiniBatchLinearRegressor(batch_size).partial_fit(X[:1], y[:1])
    np.testing.assert_allclose(first.predict(X), y[0])


def test_rows_of_one_chunk_may_all_be_alike():
    model = MiniBatchLinearRegressor().partial_fit(np.ones((5, 3)), np.ones(5)).partial_fit(X, y)
    assert np.isfinite(model.coef_).all()


def test_read_only_and_fortran_ordered_input():
    reference = MiniBatchLinearRegressor(random_state=0).fit(X, y).coef_
    frozen, frozen_y, fortran = X.copy(), y.copy(), np.asfortranarray(X)
    frozen.flags.writeable = frozen_y.flags.writeable = False
    np.testing.assert_array_equal(MiniBatchLinearRegressor(random_state=0).fit(frozen, frozen_y).coef_, reference)
    np.testing.assert_array_equal(MiniBatchLinearRegressor(random_state=0).fit(fortran, y).coef_, reference)


INEFFECTIVE = [
    {"eta0": 0.5},
    {"power_t": 0.5},
    {"learning_rate": "optimal", "alpha": 1.0, "eta0": 0.5},
    {"epsilon": 0.2},
    {"quantile": 0.2},
    {"l1_ratio": 0.5},
    {"penalty": None, "alpha": 0.1},
    {"nesterovs_momentum": True},
    {"validation_fraction": 0.2},
]


@pytest.mark.parametrize("parameters", INEFFECTIVE, ids=str)
def test_a_parameter_without_effect_warns_and_names_the_cure(parameters):
    name = list(parameters)[-1]
    with pytest.warns(UserWarning, match=rf"{name} has no effect here: it is used only with "):
        MiniBatchLinearRegressor(None, **parameters).fit(X / 10, y)


def test_early_stopping_has_no_effect_in_partial_fit_and_says_so():
    with pytest.warns(UserWarning, match="early_stopping=True has no effect in partial_fit"):
        MiniBatchLinearRegressor(early_stopping=True).partial_fit(X, y)


def test_defaults_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MiniBatchLinearRegressor(random_state=0).fit(X, y).partial_fit(X, y).predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": "optimal"}, "needs a penalty with alpha > 0"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1.0}, "tol"),
        ({"eta0": 0.0, "learning_rate": "constant"}, "eta0"),
        ({"validation_fraction": 1.0, "early_stopping": True}, "validation_fraction"),
        ({"average": -1}, "average"),
        ({"momentum": 1.0}, "momentum"),
        ({"loss": "huber", "epsilon": 0.0}, "needs epsilon > 0"),
        ({"penalty": "elasticnet", "l1_ratio": None}, "needs an l1_ratio"),
        ({"loss": "quantile", "quantile": 1.0}, "quantile"),
        ({"loss": "quantile", "quantile": 1e-12}, "quantile"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        MiniBatchLinearRegressor(**parameters).fit(X, y)


def test_early_stopping_needs_rows_to_hold_out():
    with pytest.raises(ValueError, match=r"would hold out 2 rows, but only n_samples=2 rows"):
        MiniBatchLinearRegressor(early_stopping=True).fit(X[:2], y[:2])


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"coef_init": [1.0]}, r"coef_init must have shape \(3,\), got \(1,\)"),
        ({"intercept_init": [1.0, 2.0]}, r"intercept_init must have shape \(\), got \(2,\)"),
        ({"coef_init": [1.0, np.nan, 0.0]}, "NaN"),
        ({"coef_init": [1.0, -1e200, 0.0]}, r"coef_init must be below 1e\+100, got 1e\+200"),
    ],
)
def test_a_start_of_the_wrong_shape_or_size_is_refused(init, message):
    with pytest.raises(ValueError, match=message):
        MiniBatchLinearRegressor().fit(X, y, **init)


def test_sparse_weights_are_refused_by_name():
    with pytest.raises(TypeError, match=r"sample_weight is sparse, but must be dense: give sample_weight.toarray\(\)"):
        MiniBatchLinearRegressor().fit(X, y, csr_array(np.ones((60, 1))))


def test_a_start_is_where_the_path_begins():
    model = MiniBatchLinearRegressor(record_steps=True, random_state=0).fit(X, y, coef_init=[1.0, 2.0, 3.0], intercept_init=4.0)
    np.testing.assert_array_equal(model.coef_path_[0], [1.0, 2.0, 3.0])
    assert model.intercept_path_[0] == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize(
    "changed",
    [{"batch_size": 0}, {"batch_size": "32"}, {"loss": "mse"}, {"learning_rate": "Auto"}, {"alpha": -1.0}, {"momentum": 2}],
)
def test_partial_fit_looks_at_changed_parameters_too(changed):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    model = MiniBatchLinearRegressor().partial_fit(X, y)
    before = model.coef_
    (name,) = changed
    with pytest.raises(ValueError, match=f"'{name}' parameter of MiniBatchLinearRegressor"):
        model.set_params(**changed).partial_fit(X, y)
    assert model.coef_ is before


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_warning_points_at_the_line_that_called(call):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    with pytest.warns(UserWarning, match="no effect") as caught:
        getattr(MiniBatchLinearRegressor(eta0=0.5, max_iter=1, early_stopping=True, validation_fraction=0.3), call)(X, y)
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("schedule", [{}, {"learning_rate": "constant"}], ids=str)
def test_arrays_that_lie_apart_or_askew_are_read_at_their_addresses(method, schedule):
    """Fields of a packed record, at strides of 20 bytes and addresses that no double has; strided and shifted views."""
    record = np.zeros(60, np.dtype([("flag", "i4"), ("weight", "f8"), ("y", "f8")], align=False))
    record["weight"], record["y"] = np.random.default_rng(2).uniform(0.5, 2.0, 60), y
    buffer = np.zeros(X.nbytes + 1, np.uint8)
    shifted = buffer[1:].view(np.float64).reshape(X.shape)
    shifted[:] = X
    model = MiniBatchLinearRegressor(random_state=0, **schedule, **({"max_iter": 3, "tol": None} if method == "fit" else {}))
    expected = getattr(clone(model), method)(X, y, record["weight"].copy()).coef_
    for table, target in ((X, record["y"]), (shifted, y), (np.repeat(X, 2, axis=0)[::2], np.repeat(y, 2)[::2])):
        np.testing.assert_array_equal(getattr(clone(model), method)(table, target, record["weight"]).coef_, expected)


@pytest.mark.parametrize("n_columns", [4, 1500])
def test_csr_whose_arrays_lie_apart_or_are_longer_than_needed(n_columns):
    rng = np.random.default_rng(0)
    plain = csr_array(np.where(rng.random((60, n_columns)) < 0.2, rng.standard_normal((60, n_columns)), 0.0))
    model = MiniBatchLinearRegressor(random_state=0, max_iter=3, tol=None)
    expected = clone(model).fit(plain, y).coef_
    strided = csr_array(plain.shape)
    strided.data, strided.indices, strided.indptr = (plain.data + 1j).real, plain.indices, plain.indptr
    longer = plain.copy()
    longer.data, longer.indices = np.append(plain.data, [7.0, 8.0]), np.append(plain.indices, [0, 1]).astype(np.int32)
    for table in (strided, longer):
        np.testing.assert_array_equal(clone(model).fit(table, y).coef_, expected)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_stream_is_sensible_from_its_first_row_on(fit_intercept):
    model = MiniBatchLinearRegressor(fit_intercept=fit_intercept)
    for k in range(1, 30):
        model.partial_fit([[float(k)]], [2.0 * k])
        assert np.isfinite(model.coef_).all()
        assert np.abs(model.predict([[float(k)]])).max() <= 4.0 * k
    assert model.score(np.arange(30.0)[:, None], 2.0 * np.arange(30.0)) > 0.5


@pytest.mark.parametrize("fit_intercept", [False, True])
@BATCHES
def test_a_table_of_zeros_has_no_coefficients(batch_size, fit_intercept):
    for table in (np.zeros((60, 3)), csr_array((60, 3)), csr_array((60, 1500))):
        model = MiniBatchLinearRegressor(batch_size, fit_intercept=fit_intercept).fit(table, y)
        assert (model.coef_ == 0.0).all()
        assert model.intercept_ == (pytest.approx(y.mean(), abs=1e-3 * y.std()) if fit_intercept else 0.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-315, 1e90])
def test_weights_of_any_size_are_weights(scale):
    weight = np.random.default_rng(0).uniform(1.0, 2.0, 60)
    expected = MiniBatchLinearRegressor(random_state=0).fit(X, y, weight).coef_
    # Numbers below 1e-308 have fewer digits: eight at 1e-315.
    np.testing.assert_allclose(MiniBatchLinearRegressor(random_state=0).fit(X, y, scale * weight).coef_, expected, rtol=1e-5)


def test_coefficients_beyond_float32_are_float64():
    model = MiniBatchLinearRegressor(random_state=0).fit((1e-30 * X).astype(np.float32), 1e12 * y)
    assert model.coef_.dtype == np.float64
    assert model.score((1e-30 * X).astype(np.float32), 1e12 * y) > 0.99


@pytest.mark.parametrize("penalty", ["l2", "elasticnet"])
@pytest.mark.parametrize("alpha", [1e10, 1e30])
@BATCHES
def test_a_penalty_beyond_all_measure_leaves_nothing(batch_size, alpha, penalty):
    for table in (csr_array(X), csr_array(np.hstack([X, np.zeros((60, 1500))]))):
        model = MiniBatchLinearRegressor(
            batch_size, penalty=penalty, alpha=alpha, l1_ratio=1 - 1e-12 if penalty == "elasticnet" else None, random_state=0
        ).set_params(fit_intercept=False)
        assert np.abs(model.fit(table, y).coef_).max() < 1e-6


@pytest.mark.parametrize("name", ["batch_size", "max_iter", "n_iter_no_change"])
def test_a_bool_is_no_number(name):
    with pytest.raises(ValueError, match=rf"{name}=True must be an int"):
        MiniBatchLinearRegressor(**{name: True}).fit(X, y)


@pytest.mark.parametrize("loss", ["huber", "quantile", "epsilon_insensitive", "squared_error"])
def test_a_stream_goes_on_learning_after_a_fit(loss):
    model = MiniBatchLinearRegressor(loss=loss, random_state=0).fit(X, y)
    rng = np.random.default_rng(3)
    for _ in range(100):
        more = rng.standard_normal((60, 3))
        model.partial_fit(more, more @ [3.0, -1.0, 0.0])
    assert np.linalg.norm(model.coef_ - [3.0, -1.0, 0.0]) < 0.2 * np.linalg.norm(np.array([1.0, 2.0, 3.0]) - [3.0, -1.0, 0.0])


def test_the_loss_curve_of_sparse_rows_holds_the_penalty():
    wide = csr_array(np.hstack([X, np.zeros((60, 1500))]))
    options = {"alpha": 5.0, "learning_rate": "constant", "eta0": 0.05, "max_iter": 5, "tol": None}
    dense, sparse = (MiniBatchLinearRegressor(None, **options).fit(table, y) for table in (wide.toarray(), wide))
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-10)
    assert 2.5 * np.sum(dense.coef_**2) > 0.1 * dense.loss_curve_[-1]  # else the penalty would not show


@pytest.mark.parametrize("call", ["fit", "early stopping", "partial_fit"])
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
@pytest.mark.parametrize("batch_size", [32, None])
def test_sparse_rows_hold_no_more_than_sixteen_bytes_each_beyond_the_data(batch_size, loss, call):
    n = 300_000
    columns = np.tile(np.array([0, 2, 5], np.int32), n)
    table = csr_array((np.random.default_rng(0).random(3 * n), columns, np.arange(0, 3 * n + 1, 3)), shape=(n, 6))
    target = np.random.default_rng(1).standard_normal(n)
    model = MiniBatchLinearRegressor(batch_size, loss=loss, early_stopping=call == "early stopping", random_state=0)
    tracemalloc.start()
    try:
        with threadpool_limits(1):  # each core has blocks of its own
            if call == "partial_fit":
                model.partial_fit(table, target)
            else:
                model.set_params(max_iter=2, tol=None).fit(table, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * n + 14e6  # blocks of rows that are unpacked, two megabytes each, and what sums of them take


@pytest.mark.parametrize(("epsilon", "is_warned"), [(0.1, True), (0.4, True), (2.0, False), (60.0, False)])
def test_an_epsilon_so_small_that_a_penalty_weighs_more_is_named(epsilon, is_warned):
    X, y = diabetes()  # the median leaves errors of 62 on average
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MiniBatchLinearRegressor(loss="huber", epsilon=epsilon, alpha=1e-4, random_state=0).fit(X, y)
        MiniBatchLinearRegressor(loss="huber", epsilon=epsilon, random_state=0).fit(X, y)
    assert [warning.category for warning in caught] == is_warned * [UserWarning]
    assert not is_warned or f"epsilon={epsilon:g} with alpha=0.0001, but y spreads by about 65" in str(caught[0].message)


def test_a_stream_is_told_once_of_an_epsilon_that_is_too_small_and_counts_its_passes(capsys):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(loss="huber", alpha=0.1, verbose=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for start in range(0, 300, 100):
            model.partial_fit(X[start : start + 100], y[start : start + 100])
    assert len(caught) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["Pass 1", "Pass 2", "Pass 3"]


def test_where_even_the_longest_safe_step_is_too_short_no_longer_one_is_advised():
    X, y = diabetes()
    X = X * np.geomspace(1, 1e4, 10) + 100.0
    with pytest.raises(ValueError, match="safe") as error:
        MiniBatchLinearRegressor(1, learning_rate="constant").fit(X, y)
    safe = float(str(error.value).split("is about ")[1].split(". ")[0])
    with pytest.warns(UserWarning, match="even the longest safe step is too short") as caught:
        MiniBatchLinearRegressor(1, learning_rate="constant", eta0=0.9 * safe, random_state=0).fit(X, y)
    assert "raise eta0" not in str(caught[0].message)


@pytest.mark.parametrize("chunk", [pd.DataFrame({"a": [1.0, 2.0]}), "a path"])
def test_what_is_no_chunk_is_named_by_its_type(chunk):
    with pytest.raises(TypeError, match=rf"Chunk 0: must be \(X, y\).*got {type(chunk).__name__}"):
        MiniBatchLinearRegressor(None).fit_chunks([chunk])


SIX = np.arange(6.0)[:, None], np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])  # the lecture's rows


@pytest.mark.parametrize(
    ("batch_size", "options"),
    [
        (2, {"eta0": 0.12, "max_iter": 50, "tol": None}),
        (1, {"eta0": 0.08}),
        (None, {"eta0": 0.112, "max_iter": 5, "tol": None, "fit_intercept": False}),
        (2, {"eta0": 0.12, "learning_rate": "invscaling", "power_t": 0.01}),
        (2, {"eta0": 0.12, "loss": "squared_epsilon_insensitive", "tol": None, "max_iter": 20}),
        (None, {"eta0": 0.01, "alpha": 1000.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrap", [np.asarray, csr_array])
def test_a_plain_descent_that_ends_above_its_start_and_the_best_constant_has_diverged(batch_size, options, wrap):
    model = MiniBatchLinearRegressor(batch_size, **{"learning_rate": "constant", "random_state": 0, **options})
    with pytest.raises(ValueError, match="diverged in epoch"):
        model.fit(wrap(SIX[0]), SIX[1])
    assert not hasattr(model, "coef_")
    with pytest.raises(ValueError, match="diverged in epoch"):
        model.fit(wrap(SIX[0]), np.column_stack([SIX[1], np.zeros(6)]))


def test_the_border_of_the_full_batch_is_the_one_of_the_lectures_rows():
    model = MiniBatchLinearRegressor(None, learning_rate="constant", eta0=0.2, fit_intercept=False, max_iter=20, tol=None)
    border = 1.0 / np.mean(SIX[0] ** 2)  # 0.109: 2 / curvature, which is 2 mean(x^2)
    with pytest.raises(ValueError, match=rf"is about 0.05; above about {border:.2g} it diverges\."):
        model.fit(*SIX)
    model.set_params(eta0=0.99 * border).fit(*SIX)  # which a safe step does not reach, and which converges
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(eta0=1.01 * border).fit(*SIX)


def test_a_few_plain_steps_that_were_asked_for_are_silent_while_the_loss_falls():
    X_raw, y_raw = diabetes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MiniBatchLinearRegressor(None, learning_rate="constant", eta0=1e-6, max_iter=3, tol=None).fit(X_raw, y_raw)
    assert model.loss_curve_[-1] > y_raw.var()


def test_steps_that_are_safe_do_not_diverge_though_the_columns_explain_nothing():
    rng = np.random.default_rng(0)
    A, noise = rng.standard_normal((200, 5)), rng.standard_normal(200)
    options = {"learning_rate": "constant", "eta0": 0.02, "max_iter": 5, "tol": 1e-2, "n_iter_no_change": 1}
    model = MiniBatchLinearRegressor(1, **options, random_state=0)
    with pytest.warns(ConvergenceWarning, match="above the .* of a constant prediction"):
        model.fit(A, noise - noise.mean())


def test_a_plain_stream_that_diverges_says_so_long_before_numbers_overflow():
    rng, model = np.random.default_rng(0), MiniBatchLinearRegressor(1, learning_rate="constant", eta0=0.3)

    def learn():
        for _ in range(1000):
            model.partial_fit(rng.standard_normal((5, 2)), rng.standard_normal(5))

    with pytest.raises(ValueError, match="diverged"):
        learn()
    assert np.abs(model.coef_).max() < 1e3


@pytest.mark.parametrize(
    ("unit", "batch_size", "size"), [(1e3, None, 1000), (1e3, 32, 20), (1e3, 1000, 500), (1e3, 32, 64), (1e200, 32, 100)]
)
def test_a_plain_stream_whose_first_call_diverges_says_so_in_it(unit, batch_size, size):
    rng = np.random.default_rng(0)
    X, y = unit * rng.standard_normal((size, 3)), rng.standard_normal(size)
    model = MiniBatchLinearRegressor(batch_size, learning_rate="constant", random_state=0)
    with pytest.raises(ValueError, match="diverged" if unit < 1e100 else "too large"):
        model.partial_fit(X, y)
    assert not hasattr(model, "coef_")
    assert model.fit(X / unit, y).partial_fit(X / unit, y).n_iter_ > 1  # in other units it descends


def test_targets_of_any_size_in_any_order_are_no_divergence_of_a_plain_stream():
    rng, model = np.random.default_rng(0), MiniBatchLinearRegressor(1, learning_rate="constant", eta0=0.01)
    for scale in 10.0 ** rng.uniform(-6, 6, 500):
        model.partial_fit(rng.standard_normal((1, 2)), scale * rng.standard_normal(1))


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive", "quantile", "huber"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_chunks_whose_best_constant_has_no_loss_are_no_divergence(loss, sparse, batch_size):
    """Chunks of three rows, most of them within the insensitive zone; or of zeros and ones, without an intercept."""
    rng = np.random.default_rng(0)
    model = MiniBatchLinearRegressor(batch_size, loss=loss, epsilon=0.5, fit_intercept=not sparse, random_state=0)
    for _ in range(20):
        A = (rng.random((3, 4)) < 0.3).astype(float) if sparse else rng.standard_normal((3, 4))
        y = A @ [1.0, 2.0, 0.0, 0.0] if sparse else 0.5 * rng.standard_normal(3)
        model.partial_fit(csr_array(A) if sparse else A, y)


def test_a_frame_of_sparse_bools_is_read_as_its_numbers():
    frame = pd.get_dummies(pd.Series(list("abcabcaa") * 9), sparse=True)
    assert isinstance(frame.dtypes.iloc[0], pd.SparseDtype)
    X, y = frame.to_numpy(float), np.arange(72.0)
    model = MiniBatchLinearRegressor(random_state=0).fit(frame, y)
    np.testing.assert_allclose(model.predict(frame), clone(model).fit(X, y).predict(X), rtol=1e-12)
    for sparse_integers in (frame, frame.astype(pd.SparseDtype(int))):
        stream, dense = clone(model).partial_fit(sparse_integers, y), clone(model).partial_fit(X, y)
        np.testing.assert_allclose(stream.predict(sparse_integers), dense.predict(X), rtol=1e-12)
        chunked = clone(model).fit_chunks([(sparse_integers, y)])
        np.testing.assert_allclose(chunked.predict(X), clone(model).fit_chunks([(X, y)]).predict(X), rtol=1e-12)


def test_sparse_targets_are_refused_with_the_cure():
    X, y = data()
    for method in ("fit", "partial_fit"):
        with pytest.raises(TypeError, match=r"targets must be dense: give y\.toarray\(\)"):
            getattr(MiniBatchLinearRegressor(), method)(X, csr_array(y[:, None]))


@BATCHES
@pytest.mark.parametrize("learning_rate", ["auto", "constant"])
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_assume_finite_lets_in_is_named(batch_size, learning_rate, loss, value):
    X, y = data()
    for method in ("fit", "partial_fit"):
        model = MiniBatchLinearRegressor(batch_size, learning_rate=learning_rate, loss=loss)
        with config_context(assume_finite=True), np.errstate(all="ignore"):
            with pytest.raises(ValueError, match="X contains NaN or infinity"):
                getattr(model, method)(with_entry(X, value), y)
            with pytest.raises(ValueError, match="y contains NaN or infinity"):
                getattr(model, method)(X, with_entry(y, value))


@BATCHES
def test_nan_in_a_row_of_weight_zero_is_refused_as_the_docstring_says(batch_size):
    X, y = data()
    weight = np.where(np.arange(len(y)) == 3, 0.0, 1.0)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MiniBatchLinearRegressor(batch_size).fit(with_entry(X, np.nan), y, weight)


@BATCHES
@pytest.mark.parametrize("scale", [1e-201, 1e-150, 1e-101, 1e101, 1e150])
def test_targets_too_large_or_small_for_squares_are_refused(batch_size, scale):
    X, y = data()
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="y is too large" if scale > 1.0 else "y varies too little"):
            getattr(MiniBatchLinearRegressor(batch_size), method)(X, scale * y)


@BATCHES
@pytest.mark.parametrize("way", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_float32_is_left_where_it_would_cost_the_promise(batch_size, way, loss):
    X, y = data(500)
    X, y = X.astype(np.float32), y + np.random.default_rng(2).standard_normal(500)
    model = MiniBatchLinearRegressor(batch_size, loss=loss, random_state=0)
    # A rounding error adds its square to the squared error, but to a quantile's loss as much as itself.
    assert getattr(model, way)(X, y).predict(X).dtype == (np.float32 if loss == "squared_error" else np.float64)
    for offset in (1e7,) if loss == "squared_error" else (1e7, 300.0):
        single, double = (getattr(clone(model), way)(A, y + offset).predict(A) for A in (X, X.astype(float)))
        np.testing.assert_allclose(single - offset, double - offset, atol=1e-5)  # a float32 near 300 has 5 digits behind


@BATCHES
def test_float32_columns_far_from_zero_keep_the_promise(batch_size):
    X, y = data(500)
    X = (X + 1e4).astype(np.float32)
    model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, y)
    assert gap(model, X.astype(float), y) < 1e-3


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@BATCHES
@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("scale", [0.0, 1e-99, 1e99])
def test_targets_of_any_size_and_of_none_are_learned(scale, loss, batch_size, method):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = scale * (X @ rng.standard_normal(4) + 0.1 * rng.standard_normal(60))
    others = [{}, {"penalty": "l1", "alpha": 1e-9 * scale}, {"positive": True}]
    for options in others:
        model = MiniBatchLinearRegressor(batch_size, loss=loss, epsilon=max(scale, 1e-99), random_state=0, **options)
        for targets in y, np.column_stack([y, rng.standard_normal(60)]):
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                fitted = getattr(clone(model), method)(X, targets)
            assert np.isfinite(fitted.predict(X)).all()
            if scale == 0.0:
                np.testing.assert_array_equal(
                    np.ravel(fitted.predict(X)[..., :1] if targets.ndim == 2 else fitted.predict(X)), 0.0
                )


def test_a_plain_descent_below_its_start_has_not_diverged_though_a_constant_is_better():
    model = MiniBatchLinearRegressor(None, learning_rate="constant", eta0=0.07, max_iter=3)  # longer than safe, and converging
    with pytest.warns(ConvergenceWarning, match="max_iter ended the descent"):
        model.fit(SIX[0], SIX[1] + 100.0)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"batch_size": "auto"}, "Give batch_size=32, the default, or None for all rows"),
        ({"batch_size": 32.0}, "Give the int 32"),
        ({"batch_size": "32"}, "Give the int 32"),
        ({"batch_size": "huber"}, "Give loss='huber'"),
        ({"max_iter": 10.0}, "Give the int 10"),
        ({"quantile": 90}, "Give quantile=0.9"),
        ({"loss": "l1"}, "Give loss='quantile' with quantile=0.5"),
        ({"learning_rate": "adam"}, "Give learning_rate='auto'"),
        ({"batch_size": 0.1}, "int(0.1 * n_samples)"),
        ({"loss": "mse"}, "Give loss='squared_error'"),
        ({"loss": "absolute_error"}, "Give loss='quantile' with quantile=0.5"),
        ({"loss": "hubr"}, "Give loss='huber'"),
        ({"penalty": "none"}, "Give penalty=None"),
        ({"penalty": "L1"}, "Give penalty='l1'"),
        ({"learning_rate": 0.01}, "Give learning_rate='constant' with eta0=0.01"),
        ({"batch_size": 0}, "Give batch_size=None for all rows"),
        ({"batch_size": "all"}, "Give batch_size=None"),
        ({"loss": "quantile", "quantile": [0.1, 0.9]}, "Give one value: each quantile takes a model of its own"),
        ({"alpha": (0.1, 1.0)}, "Give one value: GridSearchCV tries several"),
        ({"learning_rate": "fast"}, "{'auto', 'constant', 'invscaling', 'optimal', 'adaptive'}"),  # as the docstring has them
    ],
)
def test_an_invalid_value_is_answered_by_what_is_meant(options, cure):
    with pytest.raises(ValueError, match=re.escape(cure)):
        MiniBatchLinearRegressor(**options).fit(*diabetes())
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(*diabetes())
    with pytest.raises(ValueError, match=re.escape(cure)):
        model.set_params(**options).partial_fit(*diabetes())


@pytest.mark.parametrize("as_frame", [True, False])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "Input X contains NaN: column {}, row 7"),
        (None, "Input X contains NaN: column {}, row 7"),
        ("Ulm", "could not convert string to float: X, column {}, row 7 holds 'Ulm'"),
        (-np.inf, "Input X contains infinity: column {}, row 7 holds -inf"),
    ],
)
def test_a_bad_cell_is_named_by_its_column_and_row(as_frame, value, words):
    X, y = diabetes()
    table = pd.DataFrame(X, columns=[f"c{j}" for j in range(10)])
    if isinstance(value, str | None):
        table = table.astype(object)
    table.loc[7, "c3"] = value
    name = "'c3'" if as_frame else "3"
    with pytest.raises(ValueError, match=re.escape(words.format(name))):
        MiniBatchLinearRegressor().fit(table if as_frame else table.to_numpy(), y)
    y[7] = np.nan
    with pytest.raises(ValueError, match=re.escape("Input y contains NaN: row 7")):
        MiniBatchLinearRegressor().fit(X, y)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "NaN: column 3, row 7"), (-np.inf, "infinity: column 3, row 7 holds -inf")]
)
@pytest.mark.parametrize("wrap", [csr_array, csc_matrix, coo_array])
def test_a_bad_entry_of_a_sparse_table_is_named_by_its_column_and_row(wrap, value, words):
    X, y = diabetes()
    X[7, 3] = value
    with pytest.raises(ValueError, match=f"Input X contains {words}"):
        MiniBatchLinearRegressor().fit(wrap(X), y)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pd.Timestamp("2020-01-01"), "dates. Make numbers of them"),
        (pd.Timestamp("2020-01-01", tz="Asia/Seoul"), "dates. Make numbers of them"),
        (pd.Timestamp("2020-01-01").date(), "dates. Make numbers of them"),
        (pd.Timedelta(days=1), "durations, or times of the day. Make numbers of them"),
    ],
)
def test_dates_and_durations_are_named(value, words):
    X, y = diabetes()
    table = pd.DataFrame(X).assign(day=value)
    with pytest.raises(TypeError, match=f"X must be numbers: column 'day', {words}"):
        MiniBatchLinearRegressor().fit(table.rename(columns=str), y)


def test_times_of_the_day_are_refused():
    table = pl.DataFrame({"time": [time(hour, 0) for hour in range(20)]})
    with pytest.raises(TypeError, match="X must be numbers: column 'time', durations, or times of the day"):
        MiniBatchLinearRegressor().fit(table, np.arange(20.0))


def test_what_is_no_number_is_named():
    X, y = diabetes()
    table = pd.DataFrame(X).assign(day=pd.Period("2020-01")).rename(columns=str)
    with pytest.raises(TypeError, match=r"X, column 'day', row 0 holds a Period\. Make a number of it"):
        MiniBatchLinearRegressor().fit(table, y)
    with pytest.raises(ValueError, match=r"X, column 'day', row 0 holds '2020-01-01'\. Parse it by pandas"):
        MiniBatchLinearRegressor().fit(table.assign(day="2020-01-01"), y)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "fit_chunks", "predict"])
@pytest.mark.parametrize("type_of_time", ["datetime64[s]", "timedelta64[s]"])
@pytest.mark.parametrize("as_frame", [False, True])
def test_a_table_of_nothing_but_times_is_refused(call, type_of_time, as_frame):
    X, y = np.arange(40).reshape(20, 2), np.arange(20.0)
    times, fitted = X.astype(type_of_time), MiniBatchLinearRegressor().fit(X, y)
    times = pd.DataFrame(times, columns=["from", "to"]) if as_frame else times
    with pytest.raises(TypeError, match="X must be numbers: " + ("column 'from', " if as_frame else "") + "d(ates|urations)"):
        {
            "fit": lambda: MiniBatchLinearRegressor().fit(times, y),
            "partial_fit": lambda: MiniBatchLinearRegressor().partial_fit(times, y),
            "fit_chunks": lambda: MiniBatchLinearRegressor().fit_chunks([(times, y)]),
            "predict": lambda: (fitted.__dict__.pop("feature_names_in_", None), fitted.predict(times)),
        }[call]()
    with pytest.raises(TypeError, match=r"y must be numbers: d(ates|urations)"):
        MiniBatchLinearRegressor().fit(X, y.astype(type_of_time))


@pytest.mark.parametrize("type_of_time", ["datetime64[s]", "timedelta64[s]"])
def test_times_among_objects_and_categories_are_refused(type_of_time):
    X, y = np.arange(40).reshape(20, 2), np.arange(20.0)
    as_objects = np.array([list(row) for row in X.astype(type_of_time)], dtype=object)
    as_categories = pd.DataFrame(X).rename(columns=str).assign(when=pd.Categorical(X[:, 0].astype(type_of_time)))
    for table, column in (as_objects, ""), (as_categories, "column 'when', "):
        with pytest.raises(TypeError, match=f"X must be numbers: {column}d(ates|urations)"):
            MiniBatchLinearRegressor().fit(table, y)
    with pytest.raises(TypeError, match=r"y must be numbers: d(ates|urations)"):
        MiniBatchLinearRegressor().fit(X, as_objects[:, 0])


def test_predict_names_a_bad_cell_as_fit_does():
    X, y = diabetes()
    table = pd.DataFrame(X).rename(columns=lambda number: f"c{number}")
    model = MiniBatchLinearRegressor(random_state=0).fit(table, y)
    with pytest.raises(ValueError, match=r"X contains NaN: column 'c3', row 7\. Fill it"):
        model.predict(table.assign(c3=np.where(table.index == 7, np.nan, table["c3"])))
    with pytest.raises(ValueError, match="X, column 'c2', row 0 holds 'a'"):
        model.predict(table.assign(c2="a"))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, None, 3.0], "Input y contains NaN: row 1. Leave out the row"),
        ([1.0, "JAX", 3.0], "y, row 1 holds 'JAX'. Targets are numbers; words take a classifier"),
        ([1.0, np.nan, 3.0], "Input y contains NaN: row 1. Leave out the row"),
    ],
)
@pytest.mark.parametrize("kind", [list, lambda y: pd.Series(y, dtype=object), lambda y: pl.Series(y, dtype=pl.Object)])
def test_a_bad_target_is_named(y, words, kind):
    with pytest.raises(ValueError, match=words):
        MiniBatchLinearRegressor().fit(np.arange(6.0).reshape(3, 2), kind(y))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sample_weight", "balanced", "sample_weight must be numbers, got 'balanced'"),
        ("sample_weight", np.full(3, np.datetime64("2020-01-01")), "sample_weight must be numbers, got '2020-01-01'"),
        ("sample_weight", np.ma.array(np.ones(3), mask=[1, 0, 0]), "Input sample_weight contains masked numbers"),
        ("coef_init", ["a", "b", "c"], "coef_init must be numbers, got 'a'"),
        ("intercept_init", "a", "intercept_init must be numbers, got 'a'"),
        ("intercept_init", np.nan, "Input intercept_init contains NaN"),
        ("intercept_init", [np.inf], "Input intercept_init contains infinity"),
    ],
)
def test_what_is_no_number_beside_the_data_is_named(name, value, words):
    with pytest.raises(ValueError, match=words):
        MiniBatchLinearRegressor().fit(np.eye(3), np.arange(3.0), **{name: value})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1,234", "Make a number of it"),
        ("$ 12.50", "Make a number of it"),
        ("12 %", "Make a number of it"),
        ("cat 5", "Encode it"),
        ("2020-01-01", "Parse it by pandas"),
    ],
)
def test_amounts_in_words_are_told_from_categories_and_dates(value, words):
    with pytest.raises(ValueError, match=f"row 1 holds .*{words}"):
        MiniBatchLinearRegressor().fit(np.array([["1.5"], [value]], dtype=object), [1.0, 2.0])


def test_masked_numbers_are_refused_and_lazy_frames_are_named():
    X, y = diabetes()
    for table, targets, what in (np.ma.masked_equal(X, X[0, 0]), y, "X"), (X, np.ma.masked_equal(y, y[0]), "y"):
        with pytest.raises(ValueError, match=f"Input {what} contains masked numbers. Give {what}.filled"):
            MiniBatchLinearRegressor().fit(table, targets)
    assert MiniBatchLinearRegressor(random_state=0).fit(np.ma.array(X), y).score(X, y) > 0.5
    named = pd.DataFrame(X[:, :2], columns=["collect", "_mask"])  # whatever pandas makes attributes of
    assert MiniBatchLinearRegressor(None).fit(named, y).n_iter_ == MiniBatchLinearRegressor(None).fit(X[:, :2], y).n_iter_
    with pytest.raises(TypeError, match=r"X is a LazyFrame, which holds no rows yet: give X.collect\(\)"):
        MiniBatchLinearRegressor().fit(pl.DataFrame(X).lazy(), y)


@pytest.mark.parametrize("batch_size", [32, None, 1000])
def test_the_full_batch_is_advised_where_it_is_another_way(batch_size):
    model = MiniBatchLinearRegressor(batch_size, loss="quantile", max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="aise max_iter or tol") as told:
        model.fit(*diabetes())
    assert ("Use batch_size=None" in str(told[0].message)) == (batch_size == 32)


def test_partial_fit_checks_parameters_before_it_warns_of_them():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y).set_params(early_stopping="yes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="'early_stopping' parameter"):
            model.partial_fit(X, y)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [("folder/*.parquet", "Files are read by an object"), ({"a": 1}, "got dict"), (["a.parquet"], "Read the file and give")],
)
def test_files_in_the_place_of_chunks_are_told_of(chunks, words):
    with pytest.raises(TypeError, match=words):
        MiniBatchLinearRegressor().fit_chunks(chunks)


def test_categories_are_named():
    X, y = diabetes()
    table = pd.DataFrame(X).assign(day=pd.Categorical(["a"] * len(y)))
    with pytest.raises(ValueError, match="column 'day', row 0 holds 'a'"):
        MiniBatchLinearRegressor().fit(table.rename(columns=str), y)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float64"])
def test_missing_values_of_pandas_own_types_are_named(dtype):
    X, y = diabetes()
    table = pd.DataFrame(X, columns=[f"c{j}" for j in range(10)])
    table["c3"] = pd.array([1, 0] * (len(y) // 2), dtype=dtype)
    table.loc[7, "c3"] = pd.NA
    with pytest.raises((TypeError, ValueError), match="Input X contains NaN: column 'c3', row 7"):
        MiniBatchLinearRegressor().fit(table, y)


def test_shapes_that_are_turned_are_told_how_to_turn():
    X, y = diabetes()
    with pytest.raises(ValueError, match=re.escape("give X.T")):
        MiniBatchLinearRegressor().fit(X.T, y)
    with pytest.raises(ValueError, match=re.escape("give y of shape (442,)")):
        MiniBatchLinearRegressor().fit(X, y[None])
    with pytest.raises(TypeError, match=re.escape("fit_chunks([(X, y)])")):
        MiniBatchLinearRegressor().fit_chunks(X, y)


def test_short_steps_that_max_iter_ends_are_not_said_to_exceed_tol():
    model = MiniBatchLinearRegressor(None, loss="quantile", quantile=0.05, tol=0.1, max_iter=3, n_iter_no_change=1)
    with pytest.warns(ConvergenceWarning, match="With max_iter=3, steps have become short, but .* Columns may be too nearly"):
        model.fit(*diabetes())


def test_an_end_above_the_constant_is_named_where_max_iter_is_too_low():
    model = MiniBatchLinearRegressor(None, loss="huber", epsilon=50.0, average=30, max_iter=20)
    with pytest.warns(ConvergenceWarning, match="the objective is above that of a constant prediction. Raise max_iter"):
        model.fit(*diabetes(), coef_init=np.full(10, 1e8))
    with pytest.warns(ConvergenceWarning, match="max_iter ended") as told:
        MiniBatchLinearRegressor(max_iter=3, random_state=0).fit(*diabetes())
    assert "above that of a constant" not in str(told[0].message)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_an_alpha_that_ruins_a_loss_in_units_of_y_is_warned_of(penalty):
    X, y = diabetes()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ruined = MiniBatchLinearRegressor(None, loss="quantile", penalty=penalty, alpha=100.0)
    with pytest.warns(UserWarning, match="leaves next to nothing of the fit.*Lower it"):
        ruined.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ruined.set_params(alpha=1e-3).fit(X, y)


def test_an_alpha_that_is_told_to_be_lowered_is_not_told_to_be_raised():
    """The fit also ends a little above its minimum, for which a larger penalty would be the cure."""
    X = random_array((150, 1100), density=0.02, rng=np.random.default_rng(0), format="csr")
    y = np.random.default_rng(100).poisson(1.5, 150).astype(float)
    model = MiniBatchLinearRegressor(loss="quantile", quantile=0.05, penalty="elasticnet", alpha=0.01, random_state=0)
    with pytest.warns(UserWarning, match="leaves next to nothing of the fit") as told:
        model.fit(X, y)
    assert len(told) == 1


def test_validation_targets_of_another_scale_are_named():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Held-out targets lie far from the others: if they are a y_val, and y was"):
        model.fit(X[:300], (y[:300] - y.mean()) / y.std(), X_val=X[300:], y_val=1000.0 + y[300:])


def test_validation_columns_that_a_pipeline_has_not_transformed_are_named():
    X, y = diabetes()
    model = make_pipeline(StandardScaler(), MiniBatchLinearRegressor(early_stopping=True, random_state=0))
    name = "minibatchlinearregressor__"
    with pytest.warns(ConvergenceWarning, match=r"X_val lies far from X, in column \d for one: .*transform_input"):
        model.fit(X[:300], y[:300], **{f"{name}X_val": X[300:], f"{name}y_val": y[300:]})


def test_a_column_that_counts_for_little_is_not_taken_for_one_that_was_not_transformed():
    rng = np.random.default_rng(0)
    X, X_val, y, y_val = rng.standard_normal((200, 3)), rng.standard_normal((50, 3)), *np.split(rng.standard_normal(250), [200])
    X[:, 2], X_val[:, 2] = np.arange(200) < 2, 1.0
    with pytest.warns(ConvergenceWarning, match="the columns say little about y"):
        MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y, X_val=X_val, y_val=y_val)


def test_an_epsilon_is_not_held_against_targets_of_no_spread_or_far_from_zero_or_a_few():
    X = np.random.default_rng(0).standard_normal((200, 3))
    model = MiniBatchLinearRegressor(loss="epsilon_insensitive", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(model).fit(X, np.full(200, 30.0))
        clone(model).set_params(fit_intercept=False).fit(X, 30.0 + 0.01 * X[:, 0])
        clone(model).partial_fit(X[:2], np.array([1.0, 1.05]))


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_an_epsilon_within_which_all_targets_lie_is_warned_of(loss, call):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(loss=loss, random_state=0)
    with pytest.warns(UserWarning, match=r"epsilon=0\.1 is larger than the deviation of y, which is 0\.077"):
        getattr(model, call)(X, y / 1000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(clone(model), call)(X, y)


def told_in(call):
    """The warnings of this package that a call gives, however Python filters what it has shown before."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(each.filename == __file__ for each in caught)  # the line that has called
    return [str(each.message) for each in caught]


def test_a_search_gives_a_warning_once_for_each_setting_and_the_next_search_again():
    X, y = diabetes()
    grid = {"alpha": [0.0, 1.0], "penalty": ["l1", "l2"], "max_iter": [2, 3]}
    search = GridSearchCV(MiniBatchLinearRegressor(random_state=0), grid, refit=False)
    first, second = told_in(lambda: search.fit(X, y)), told_in(lambda: search.fit(X, y))
    assert first == second
    assert sum("penalty has no effect" in text for text in first) == 1  # of twenty fits with alpha=0
    assert sum("max_iter ended" in text for text in first) == 8  # of forty
    assert len(told_in(lambda: cross_val_score(MiniBatchLinearRegressor(random_state=0, eta0=3.0), X, y))) == 1
    assert len(told_in(lambda: [MiniBatchLinearRegressor(random_state=0, eta0=3.0).fit(X, y) for _ in range(3)])) == 3


def test_in_a_search_every_fit_raises_a_warning_that_is_to_be_an_error():
    X, y = diabetes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FitFailedWarning)
        with pytest.raises(ValueError, match="All the 5 fits failed"):
            cross_val_score(MiniBatchLinearRegressor(random_state=0, eta0=3.0), X, y)


@pytest.mark.parametrize("value", [2.0, 1e-3])
def test_weights_that_are_a_view_of_one_number_weigh_as_a_copy_does(value):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(alpha=0.5, random_state=0)
    for n, calls in (len(y), ("fit", "partial_fit")), (1, ("partial_fit",)):
        for call in calls:
            weights = np.broadcast_to(value, n), np.full(n, value)
            streams = [getattr(clone(model), call)(X[:n], y[:n], weight)._state["stream"] for weight in weights]
            assert streams[0]["moments"]["weight"] == streams[1]["moments"]["weight"]
            ends = [getattr(clone(model), call)(X[:n], y[:n], weight).coef_ for weight in weights]
            np.testing.assert_array_equal(*ends)


def test_words_that_are_numbers_are_not_blamed():
    table = pd.DataFrame({"a": ["1.5", "2.5", "3.5"], "b": ["1", "?", "2"]})
    with pytest.raises(ValueError, match=r"X, column 'b', row 1 holds '\?'"):
        MiniBatchLinearRegressor().fit(table, np.arange(3.0))


def test_every_kind_of_warning_is_given_in_a_search():
    X, y = diabetes()
    told = told_in(lambda: cross_val_score(MiniBatchLinearRegressor(random_state=0, eta0=3.0, epsilon=0.5), X, y))
    assert sorted(text.split()[0] for text in told) == ["epsilon", "eta0"]


def test_a_bad_cell_of_many_columns_is_found_at_once():
    X = np.zeros((3, 20_000))
    X[1, -1] = np.nan
    with pytest.raises(ValueError, match="column 'c19999', row 1"):
        MiniBatchLinearRegressor().fit(pd.DataFrame(X, columns=[f"c{j}" for j in range(20_000)]), np.arange(3.0))
    with pytest.raises(ValueError, match="column 19999, row 1"):
        MiniBatchLinearRegressor().fit(X.tolist(), np.arange(3.0))


def test_least_squares_are_exact_also_where_the_columns_explain_next_to_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1000, 2)), 100.0 * rng.standard_normal(1000)
    expected = Ridge(alpha=1000 * 1e5 / 2).fit(X, y)
    np.testing.assert_allclose(MiniBatchLinearRegressor(None, alpha=1e5).fit(X, y).coef_, expected.coef_, rtol=1e-9)
