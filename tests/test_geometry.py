"""The metric and the step of "auto": safe for each row and for their mean, and no shorter than need be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from skgd import MiniBatchLinearRegressor
from skgd._geometry import (
    SAFETY,
    full_batch_step,
    geometry_of_solver,
    safe_length,
)
from skgd._objective import Penalty
from tests.conftest import (
    Metric,
    Moments,
    Schedule,
    State,
    geometry_of_batches,
    problem_of_fit,
    rows_of,
)


def diagonal(stream):
    """The same stream, had it too many columns to know their covariance."""
    return stream._replace(moments=replace(stream.moments, products=None))


def test_columns_are_scaled_about_zero_without_an_intercept():
    mean, variance = np.array([3.0, 0.0]), np.array([1.0, 4.0])
    np.testing.assert_allclose(Metric.standard(mean, variance, 0.5, False).scales, [1 / 10.5, 1 / 4.5, 0.0])
    np.testing.assert_allclose(Metric.standard(mean, variance, 0.5, True)[:2], [[3.0, 0.0], [1 / 1.5, 1 / 4.5]])
    sparse = Metric.standard(mean, variance, 0.5, True, is_sparse=True)
    np.testing.assert_allclose(sparse.packed(), [[0.0, 0.0, 0.0], [1 / 16, 1 / 8, 1.0]])  # 1 / 10.5 and 1 / 4.5, rounded down


def test_a_proximal_step_on_all_rows_is_safe_for_their_curvature_and_the_penaltys():
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((400, 4)) + 0.8 * rng.standard_normal((400, 1)))
    ridge = 0.7
    geometry = geometry_of_batches(rows, Moments.of(rows, False), 400, ridge, True)
    z = np.sqrt(geometry.metric.scale) * (rows.X - geometry.metric.center)
    largest = np.linalg.eigvalsh(z.T @ z / 400)[-1]
    step = full_batch_step(geometry, ridge)
    assert step * (largest + ridge * geometry.metric.scale.max()) <= 1.0
    assert step * (largest + ridge * geometry.metric.scale.max()) >= 0.6


def test_norms_of_sparse_rows_count_the_intercept():
    X = csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    rows = rows_of(X, weight=np.array([1.0, 2.0]))
    vars(rows)["is_sparse"] = True
    metric = Metric(np.zeros(3), np.array([0.5, 2.0, 1.0]), 1.0)
    np.testing.assert_allclose(metric.squared_norms(rows), [1.0 + 0.5 + 4.0, 2.0 * (1.0 + 18.0)])


def test_no_step_is_longer_than_the_intercept_allows():
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((4000, 3)))
    moments, ridge = Moments.of(rows, True), 3.0  # with it, no column is as curved as the intercept, whose curvature is 1
    assert geometry_of_batches(rows, moments, 4000, ridge, True).step <= 1.0


@pytest.mark.parametrize("n", [500, 30_000])
@pytest.mark.parametrize("nearness", [1e-3, 1e-9])
def test_whitened_rows_are_uncorrelated_and_of_deviation_1_however_near_two_columns_are(nearness, n):
    X = np.random.default_rng(0).standard_normal((n, 4)) + 1.0
    X[:, 3] = X[:, 0] + nearness * (X[:, 3] - 1.0)
    geometry = geometry_of_solver(rows_of(X), Moments.of(rows_of(X), True), 0.0, True)
    white = (X - X.mean(axis=0)) @ geometry.whitening
    np.testing.assert_allclose(white.T @ white / n, np.eye(4), atol=1e-5)  # 1e-16 of rounding over the nearness
    assert geometry.is_doubtful == (nearness == 1e-9)
    weight = np.random.default_rng(1).uniform(0.01, 2.0, n)
    weighted = rows_of(X, weight=weight)
    white = (X - np.average(X, axis=0, weights=weight)) @ geometry_of_solver(
        weighted, Moments.of(weighted, True), 0.0, True
    ).whitening
    np.testing.assert_allclose((weight[:, None] * white).T @ white / weight.sum(), np.eye(4), atol=1e-5)
    X[:, 3] = X[:, 0]
    geometry = geometry_of_solver(rows_of(X), Moments.of(rows_of(X), True), 0.0, True)
    assert geometry.whitening.shape == (4, 3)  # a column twice is one
    assert not geometry.is_doubtful


def test_a_column_twice_beside_a_strong_factor_is_one():
    """Its eigenvector leans towards weak ones that are not read once more, the more the larger the factor's eigenvalue is."""
    for nearness in (0.43, 0.48, 0.54):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((1200, 1)) + 0.2 * rng.standard_normal((1200, 900))
        X = np.column_stack([X[:, 0], X[:, 0] + nearness * rng.standard_normal(1200), X])
        assert geometry_of_solver(rows_of(X), Moments.of(rows_of(X), True), 0.0, True).whitening.shape == (902, 901)


def test_whitening_counts_the_penalty_also_along_directions_that_are_read_once_more():
    X = np.random.default_rng(0).standard_normal((500, 4))
    X[:, 3] = X[:, 0] + 1e-6 * X[:, 3]  # a second moment of 5e-13 along the difference, far below that of the penalty
    rows, ridge = rows_of(X), 1e-10
    white = geometry_of_solver(rows, Moments.of(rows, True), ridge, True).whitening
    z = (X - X.mean(axis=0)) @ white
    np.testing.assert_allclose(z.T @ z / 500 + ridge * white.T @ white, np.eye(4), atol=1e-5)


def test_whitening_counts_what_the_penalty_adds_to_each_column():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)) * [1.0, 10.0, 0.1] + rng.standard_normal((500, 1))
    rows, ridge = rows_of(X), 0.7
    moments, covariance = Moments.of(rows, True), np.cov(X.T, bias=True)
    for geometry in (
        geometry_of_batches(rows, moments, 8, ridge, True),
        geometry_of_solver(rows, moments, ridge, True),
    ):
        white = geometry.whitening
        np.testing.assert_allclose(white.T @ (covariance + ridge * np.eye(3)) @ white, np.eye(3), atol=1e-9)


def test_a_safe_step_is_one_over_the_curvature_and_none_where_there_is_none():
    assert [safe_length(longest, 0.0, 8, 1) for longest in (0.0, 0.5, 4.0)] == [0.0, 2.0, 0.25]


@pytest.mark.parametrize(("options", "costs_all"), [({"momentum": 0.5}, True), ({"average": True}, True), ({}, False)])
def test_sparse_steps_cost_all_columns_where_these_move_or_are_averaged_with_an_l1_norm(options, costs_all):
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((60, 1100)) < 0.01).astype(float))
    model = MiniBatchLinearRegressor(4, penalty="l1", alpha=0.1, **options)
    problem, _ = problem_of_fit(model, rows_of(X, rng.standard_normal(60)))
    state = State.start(np.zeros((1, 1101)), 0)
    assert Schedule.of(model, problem, state).moves_all_columns(problem.penalty) == costs_all
    without = Penalty(0.1, 0.0)
    assert Schedule.of(model, problem, state).moves_all_columns(without) == ("momentum" in options)


def test_a_full_batch_steps_by_the_largest_eigenvalue():
    common = np.random.default_rng(0).standard_normal((2000, 1))
    rows = rows_of(0.9 * common + 0.44 * np.random.default_rng(1).standard_normal((2000, 4)))
    geometry = geometry_of_batches(rows, Moments.of(rows, False), 2000, 0.0, True)
    assert 1.0 / geometry.step == pytest.approx(
        SAFETY * np.linalg.eigvalsh(np.corrcoef(rows.X.T))[-1], rel=0.02
    )  # half of the rows
