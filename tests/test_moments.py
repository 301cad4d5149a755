"""Moments of chunks add up to those of the whole; few rows stand for them."""

from functools import reduce
from operator import add

import numpy as np
import pytest
from scipy.sparse import csr_array

from skgd import MiniBatchLinearRegressor
from tests.conftest import (
    Moments,
    NormalEquations,
    diabetes,
    geometry_of_solver,
    near_2000,
    penalty_at,
    problem_of_fit,
    rows_of,
    scales_side_by_side,
)


def parts(model):
    return np.append(model.coef_, model.intercept_)


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
    deviation = np.sqrt(np.diag(second))
    size = np.outer(deviation, deviation)[:-1]
    for order in (parts, parts[::-1], [parts[i] for i in (3, 0, 4, 1, 2)]):
        moments = reduce(add, order)
        np.testing.assert_allclose(moments.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(moments.variances, deviation**2, rtol=1e-10)  # columns at 700 deviations lose five digits
        assert moments.is_full == is_full
        if is_full:
            np.testing.assert_allclose(moments.products / size, second[:-1] / size, atol=1e-10)
        assert moments.n_rows == len(X)
        assert moments.weight == pytest.approx(weight.sum())


def test_moments_of_a_sorted_file_lose_no_digits_where_the_columns_lie_far_apart():
    x = np.concatenate([np.zeros(60_000), 1e7 + np.random.default_rng(0).standard_normal(60_000)])
    near = Moments.of(rows_of(x[60_000:, None]), True) + Moments.of(rows_of(x[60_000:, None]), True)
    whole = Moments.of(rows_of(x[:, None]), True)
    assert near.column_variances[0] == pytest.approx(np.var(x[60_000:]), rel=1e-12)
    assert whole.column_variances[0] == pytest.approx(np.var(x), rel=1e-12)


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
    np.testing.assert_allclose(moments.column_means, mean, rtol=1e-12)
    np.testing.assert_allclose(moments.column_variances, np.average((X - mean) ** 2, axis=0, weights=weight), rtol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_normal_equations_tell_how_far_the_minimum_is_and_where(ridge, fit_intercept):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((300, 5)) * [1, 10, 0.1, 1, 3] + 2.0, rng.uniform(0.1, 2.0, 300)
    Y = X @ rng.standard_normal((5, 3)) + rng.standard_normal((300, 3)) + 7.0
    rows = rows_of(X, Y.T, weight)
    moments = Moments.of(rows, True)
    geometry = geometry_of_solver(rows, moments, ridge, fit_intercept)
    equations = NormalEquations.of(moments, geometry.metric, geometry.whitening, ridge)
    center = geometry.metric.center

    def objective(parameters):
        squares = (parameters[:, :-1] @ (X - center).T + parameters[:, -1:] - Y.T) ** 2
        return np.average(squares, axis=1, weights=weight) + ridge * np.sum(parameters[:, :-1] ** 2, axis=1)

    # The oracle is least squares on the rows and, for the penalty, on one more row for each column.
    table = (
        np.column_stack([X - center, np.ones(300)])[:, : 6 if fit_intercept else 5] * np.sqrt(weight / weight.sum())[:, None]
    )
    penalty = np.sqrt(ridge) * np.eye(5, table.shape[1])
    targets = np.vstack([Y * np.sqrt(weight / weight.sum())[:, None], np.zeros((5, 3))])
    best = np.zeros((3, 6))
    best[:, : table.shape[1]] = np.linalg.lstsq(np.vstack([table, penalty]), targets)[0].T
    parameters = rng.standard_normal((3, 6)) * np.append(np.ones(5), fit_intercept)
    assert equations.left(parameters) == pytest.approx(objective(parameters) - objective(best), rel=1e-9)
    np.testing.assert_allclose(equations.minimum(parameters), best, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    "options", [{"penalty": "l1"}, {"penalty": "elasticnet", "l1_ratio": 0.4}, {"positive": True}], ids=str
)
def test_normal_equations_with_zeros_tell_how_far_the_minimum_is(options, fit_intercept):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((300, 5)) * [1, 10, 0.1, 1, 3] + 2.0, rng.uniform(0.1, 2.0, 300)
    Y = X @ [[1.0, 0.0], [0.0, 0.1], [3.0, -9.0], [0.0, 0.0], [-1.0, 0.0]] + rng.standard_normal((300, 2))
    model = MiniBatchLinearRegressor(alpha=0.5, fit_intercept=fit_intercept, **options)
    rows = rows_of(X, Y.T, weight).with_mean_weight_1()
    problem, _ = problem_of_fit(model, rows)
    equations = problem.normal_equations

    def objective(parameters):
        squares = (parameters[:, :-1] @ (X - problem.origin).T + parameters[:, -1:] - Y.T) ** 2
        return np.average(squares, axis=1, weights=weight) + penalty_at(problem.penalty, parameters[:, :-1])

    parameters = np.abs(rng.standard_normal((2, 6))) * np.append(np.ones(5), fit_intercept)
    best = equations.minimum(parameters)
    assert equations.left(parameters) == pytest.approx(objective(parameters) - objective(best), rel=1e-9)
    assert problem.minimum_value == pytest.approx(objective(best), rel=1e-9)
    for step in 1e-3 * rng.standard_normal((50, 2, 6)) * np.append(np.ones(5), fit_intercept):
        near = best + step
        near[:, :-1] = np.maximum(near[:, :-1], problem.penalty.lowest)
        assert (objective(near) >= objective(best)).all()


@pytest.mark.parametrize("options", [{"penalty": "l1", "alpha": 5.0}, {"positive": True}], ids=str)
def test_an_end_with_zeros_that_is_not_the_minimum_is_not_taken_for_it(monkeypatch, options):
    X, y = diabetes()
    rows, model = rows_of(X, y), MiniBatchLinearRegressor(**options)
    problem, moments = problem_of_fit(model, rows)
    exact = problem.normal_equations
    assert exact.error <= 1e-14 * y.var()
    monkeypatch.setattr("skgd._quadratic.minimum_of", lambda *args: np.zeros(10))  # no end
    rough = type(exact).of(moments, problem.geometries[0].metric, problem.geometries[0].whitening, 0.0, problem.penalty)
    assert 0.1 * y.var() < exact.left(rough.ends) <= rough.error
    assert problem_of_fit(model, rows)[0].normal_equations is None


@pytest.mark.parametrize("n_targets", [1, 40])
def test_rows_that_stand_for_moments_have_them(n_targets):
    X, y = diabetes()
    y = np.vstack([y, y + 50.0 * np.random.default_rng(0).standard_normal((n_targets - 1, len(y)))])
    moments = Moments.of(rows_of(X, y), True)
    few, targets = moments.as_rows(moments.column_means)
    again = Moments.of(rows_of(few, targets), True)
    np.testing.assert_allclose(again.mean, moments.mean - np.append(moments.column_means, np.zeros(n_targets)), atol=1e-10)
    np.testing.assert_allclose(again.products, moments.products, rtol=1e-9)
    np.testing.assert_allclose(again.variances, moments.variances, rtol=1e-9)
    assert len(few) == 12
