"""Citizenship: scikit-learn's own checks, metadata routing, frames, repr."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from packaging.version import Version
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, check_estimator, check_param_validation

from skgd import MiniBatchLinearRegressor
from tests.conftest import diabetes

WEIGHTS = "weights are exact in expectation only where a step sees a few shuffled rows"
STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}
# These fit columns of mean 100 and deviation 1, where a plain step is safe below 1e-4; "auto" has no such limit.
UNSTABLE = "a constant step of 0.01 is unstable on columns of mean 100, and says so"
UNSCALED = {"check_fit_idempotent": UNSTABLE, "check_fit_check_is_fitted": UNSTABLE, "check_n_features_in": UNSTABLE}

INSTANCES = [
    (MiniBatchLinearRegressor(), STOCHASTIC),
    (MiniBatchLinearRegressor(batch_size=None), {}),
    (MiniBatchLinearRegressor(batch_size=1), STOCHASTIC),
    (MiniBatchLinearRegressor(batch_size=7), STOCHASTIC),
    (MiniBatchLinearRegressor(early_stopping=True), STOCHASTIC),
    (MiniBatchLinearRegressor(average=True), STOCHASTIC),
    (MiniBatchLinearRegressor(alpha=0.1), STOCHASTIC),
    (MiniBatchLinearRegressor(learning_rate="constant"), {**STOCHASTIC, **UNSCALED}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "expected_failures"), INSTANCES, ids=str)
def test_every_estimator_check_passes_but_those_that_cannot(model, expected_failures):
    results = check_estimator(model, expected_failed_checks=expected_failures, on_fail=None, on_skip=None)
    assert {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"} == {}


@pytest.mark.filterwarnings("ignore")
def test_a_constant_step_fails_exactly_the_checks_on_unscaled_columns():
    results = check_estimator(MiniBatchLinearRegressor(learning_rate="constant"), on_fail=None, on_skip=None)
    failed = {r["check_name"] for r in results if r["status"] == "failed"}
    assert UNSCALED.keys() <= failed <= UNSCALED.keys() | STOCHASTIC.keys()


@pytest.mark.filterwarnings("ignore")
def test_checks_of_parameters_and_of_column_names():
    check_dataframe_column_names_consistency("MiniBatchLinearRegressor", MiniBatchLinearRegressor())
    check_param_validation("MiniBatchLinearRegressor", MiniBatchLinearRegressor())


def test_sample_weight_is_routed_through_a_pipeline_and_a_search():
    X, y = diabetes()
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            MiniBatchLinearRegressor(random_state=0).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        model.set_partial_fit_request(sample_weight=True)
        piped = make_pipeline(PolynomialFeatures(1), model).fit(X, y, sample_weight=weight)
        search = GridSearchCV(model, {"batch_size": [8, None]}).fit(X, y, sample_weight=weight)
        weighted = cross_validate(model, X, y, params={"sample_weight": weight})["test_score"]
        plain = cross_validate(MiniBatchLinearRegressor(random_state=0), X, y, params={})["test_score"]
    direct = make_pipeline(PolynomialFeatures(1), MiniBatchLinearRegressor(random_state=0))
    direct.fit(X, y, minibatchlinearregressor__sample_weight=weight)
    np.testing.assert_array_equal(piped[-1].coef_, direct[-1].coef_)
    best = MiniBatchLinearRegressor(**search.best_params_, random_state=0).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(search.best_estimator_.coef_, best.coef_)
    assert not np.allclose(weighted, plain)


KNOWS_POLARS = pytest.mark.skipif(
    Version(sklearn.__version__) < Version("1.7"), reason="scikit-learn 1.6 reads no column names from today's polars"
)


@pytest.mark.parametrize("frame", [pd.DataFrame, pytest.param(pl.DataFrame, marks=KNOWS_POLARS)])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_frames_in(frame, method):
    X, y = diabetes()
    names = [f"column {j}" for j in range(X.shape[1])]
    table = frame({name: X[:, j] for j, name in enumerate(names)})
    model = getattr(MiniBatchLinearRegressor(random_state=0), method)(table, frame({"y": y})["y"])
    assert list(model.feature_names_in_) == names
    reference = getattr(MiniBatchLinearRegressor(random_state=0), method)(X, y)
    np.testing.assert_allclose(model.predict(table), reference.predict(X), rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.rename(columns={names[0]: "other"}) if frame is pd.DataFrame else table.rename({names[0]: "other"}))


@pytest.mark.skipif(sklearn.__version__ < "1.7", reason="older representations name no parameters")
def test_html_repr_names_every_parameter():
    html = MiniBatchLinearRegressor(batch_size=8)._repr_html_()
    for name in MiniBatchLinearRegressor().get_params():
        assert name in html


@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.8"), reason="older representations document no parameters")
def test_html_repr_documents_every_parameter_if_there_is_a_page_to_link_to(monkeypatch):
    assert 'href="#' not in MiniBatchLinearRegressor()._repr_html_()
    monkeypatch.setattr(MiniBatchLinearRegressor, "_doc_link_template", "https://example.org/{estimator_name}.html")
    html = MiniBatchLinearRegressor()._repr_html_()
    assert html.count("param-doc-description") >= len(MiniBatchLinearRegressor().get_params())
    assert "Rows in a step" in html
    assert "https://example.org/MiniBatchLinearRegressor.html" in html


@pytest.mark.parametrize(
    ("way", "parameters"),
    [
        ("fit", {"batch_size": np.int16(7), "loss": "quantile", "quantile": np.float32(0.75), "max_iter": np.int8(20)}),
        ("fit", {"batch_size": np.uint64(32), "tol": None, "max_iter": np.uint8(3)}),
        ("fit", {"batch_size": np.int16(1000), "learning_rate": "constant", "eta0": np.float32(0.01), "average": np.int8(5)}),
        ("fit", {"learning_rate": "constant", "eta0": np.float64(1e-9)}),
        ("fit", {"batch_size": None, "loss": "huber", "epsilon": np.float16(0.5), "alpha": np.float32(1e-3)}),
        ("fit", {"early_stopping": True, "validation_fraction": np.float16(0.3)}),
        ("chunks", {"batch_size": np.int16(100), "tol": np.float32(1e-3)}),
        ("stream", {"half_life": np.int16(5000)}),
        ("stream", {"half_life": np.uint8(200), "loss": "quantile"}),
    ],
)
def test_parameters_of_numpys_types_count_as_the_numbers_that_they_are(way, parameters):
    """Their own arithmetic overflows: 16 bits hold no product of 20,000 rows and 7. Warnings are the same, too."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(20_000)
    chunks = [(X[i : i + 2000], y[i : i + 2000]) for i in range(0, 20_000, 2000)]

    def learned(parameters):
        model = MiniBatchLinearRegressor(random_state=0, **parameters)
        with warnings.catch_warnings(record=True, action="always") as told:
            if way == "fit":
                model.fit(X, y)
            elif way == "chunks":
                model.fit_chunks(chunks)
            else:
                for chunk in chunks:
                    model.partial_fit(*chunk)
        return model, [str(each.message) for each in told]

    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}
    (given, warned), (expected, expected_warnings) = learned(parameters), learned(plain)
    assert warned == expected_warnings
    np.testing.assert_array_equal(given.coef_, expected.coef_)
    assert given.step_size_ == expected.step_size_
    assert all(getattr(given, name) is value for name, value in parameters.items())  # they stay as they were given
