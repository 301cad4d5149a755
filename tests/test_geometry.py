"""The metric and the step of "auto": safe for each row and for their mean, and no shorter than need be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from skgd import MiniBatchLinearRegressor
from skgd._geometry import (
    SAFETY,
    axes_out_of_band,
    full_batch_step,
    geometry_of_solver,
    safe_length,
    whitening_of,
)
from skgd._objective import Penalty
from tests.conftest import (
    Metric,
    Moments,
    Schedule,
    State,
    Stream,
    geometry_of_batches,
    problem_of_fit,
    rows_of,
)


def diagonal(stream):
    """The same stream, had it too many columns to know their covariance."""
    return stream._replace(moments=replace(stream.moments, second=np.diag(stream.moments.second)))


def test_columns_are_scaled_about_zero_without_an_intercept():
    mean, variance = np.array([3.0, 0.0]), np.array([1.0, 4.0])
    np.testing.assert_allclose(Metric.standard(mean, variance, 0.5, False).scales, [1 / 10.5, 1 / 4.5, 0.0])
    np.testing.assert_allclose(Metric.standard(mean, variance, 0.5, True)[:2], [[3.0, 0.0], [1 / 1.5, 1 / 4.5]])
    sparse = Metric.standard(mean, variance, 0.5, True, is_sparse=True)
    np.testing.assert_allclose(sparse.packed(), [[0.0, 0.0, 0.0], [1 / 16, 1 / 8, 1.0]])  # 1 / 10.5 and 1 / 4.5, rounded down


def test_no_axis_is_stretched_so_far_that_a_row_becomes_longer_than_the_longest():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    X[7, 1] += 0.5  # a row far out along the slow axis
    rows = rows_of(X)
    moments = Moments.of(rows, False)
    geometry = geometry_of_batches(rows, moments, 8, 0.0, True, False)
    assert len(geometry.metric.axes) > 0
    plain = Metric.standard(moments.column_means, moments.variance, 0.0, True)
    assert geometry.metric.squared_norms(rows).max() <= 2.1 * plain.squared_norms(rows).max()


def test_axes_that_an_epoch_crosses_are_left_alone():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8000, 3))
    X[:, 1] = X[:, 0] + 0.5 * X[:, 1]  # the smallest eigenvalue near 0.1
    rows = rows_of(X)
    moments, stream = Moments.of(rows, False), Stream().with_rows(rows)
    assert len(geometry_of_batches(rows, moments, 8, 0.0, True, False).metric.axes) == 0  # a thousand steps
    assert len(stream.geometry(rows, rows, 8, 0.0, True).metric.axes) == 0
    assert len(diagonal(stream).geometry(rows, rows, 8, 0.0, True).metric.axes) == 0
    few = rows_of(X[:64])
    moments, stream = Moments.of(few, False), Stream().with_rows(few)
    assert len(geometry_of_batches(few, moments, 32, 0.0, True, False).metric.axes) > 0  # two
    assert len(stream.geometry(few, few, 32, 0.0, True).metric.axes) > 0


def test_a_proximal_step_on_all_rows_is_safe_for_their_curvature_and_the_penaltys():
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((400, 4)) + 0.8 * rng.standard_normal((400, 1)))
    ridge = 0.7
    geometry = geometry_of_batches(rows, Moments.of(rows, False), 400, ridge, True, True)
    z = np.sqrt(geometry.metric.scale) * (rows.X - geometry.metric.center)
    largest = np.linalg.eigvalsh(z.T @ z / 400)[-1]
    step = full_batch_step(geometry, ridge)
    assert step * (largest + ridge * geometry.metric.scale.max()) <= 1.0
    assert step * (largest + ridge * geometry.metric.scale.max()) >= 0.6


def test_norms_of_sparse_rows_count_the_intercept():
    X = csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    rows = rows_of(X, weight=np.array([1.0, 2.0]))
    vars(rows)["is_sparse"] = True
    metric = Metric.of(np.zeros(3), np.array([0.5, 2.0, 1.0]), True)
    np.testing.assert_allclose(metric.squared_norms(rows), [1.0 + 0.5 + 4.0, 2.0 * (1.0 + 18.0)])


@pytest.mark.parametrize("separable", [False, True])
def test_no_step_is_longer_than_the_intercept_allows(separable):
    rng = np.random.default_rng(0)
    rows = rows_of(rng.standard_normal((4000, 3)))
    moments, ridge = Moments.of(rows, True), 3.0  # with it, no column is as curved as the intercept, whose curvature is 1
    assert geometry_of_batches(rows, moments, 4000, ridge, True, separable).step <= 1.0


@pytest.mark.parametrize("nearness", [1e-3, 1e-9])
def test_whitened_rows_are_uncorrelated_and_of_deviation_1_however_near_two_columns_are(nearness):
    z = np.random.default_rng(0).standard_normal((500, 4)) / np.sqrt(500)
    z[:, 3] = z[:, 0] + nearness * z[:, 3]
    metric = Metric.of(np.ones(4), np.ones(4), True)
    whitening = whitening_of(*np.linalg.eigh(z.T @ z), metric, z)
    assert whitening.shape == (4, 4)
    white = z @ whitening
    np.testing.assert_allclose(white.T @ white, np.eye(4), atol=1e-5)  # 1e-16 of rounding over the nearness
    assert whitening_of(*np.linalg.eigh(z[:, :3].T @ z[:, :3]), Metric.of(np.ones(3), np.ones(3), True), z[:, :3]).shape == (
        3,
        3,
    )
    z[:, 3] = z[:, 0]
    assert whitening_of(*np.linalg.eigh(z.T @ z), metric, z).shape == (4, 3)  # a column twice is one


def test_of_more_axes_than_may_be_corrected_the_farthest_out_of_band_are():
    eigenvalues = np.array([1e-6, 1e-3, 1e-1, 1.0, 50.0])
    chosen, after = axes_out_of_band(eigenvalues, 0.9, 2.0, most=2)
    assert list(chosen) == [0, 1]
    np.testing.assert_array_equal(after, [0.9, 0.9, 1e-1, 1.0, 50.0])
    chosen, after = axes_out_of_band(eigenvalues, 1e-7, 2.0, most=2)
    assert list(chosen) == [4]
    np.testing.assert_array_equal(after, [1e-6, 1e-3, 1e-1, 1.0, 2.0])


@pytest.mark.parametrize("batch_size", [1, 32, 256])
def test_stretched_axes_make_no_row_much_longer_than_the_longest(batch_size):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1000, 5))
    weak = 1e-3 * rng.standard_normal(1000)
    weak[5] += 0.3  # thirty deviations out along the weak direction
    rows = rows_of(np.column_stack([z, z[:, 0] + weak]))
    moments = Moments.of(rows, False)
    before = Metric.standard(moments.column_means, moments.variance, 0.0, True).squared_norms(rows).max()
    metric = geometry_of_batches(rows, moments, batch_size, 0.0, True, False).metric
    assert len(metric.axes) > 0
    assert metric.squared_norms(rows).max() <= 2.0 * before


def test_whitening_counts_what_the_penalty_adds_to_each_column():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)) * [1.0, 10.0, 0.1] + rng.standard_normal((500, 1))
    rows, ridge = rows_of(X), 0.7
    moments, covariance = Moments.of(rows, True), np.cov(X.T, bias=True)
    for geometry in (
        geometry_of_batches(rows, moments, 8, ridge, True, False),
        geometry_of_solver(rows, moments, ridge, True),
    ):
        white = geometry.whitening
        np.testing.assert_allclose(white.T @ (covariance + ridge * np.eye(3)) @ white, np.eye(3), atol=1e-9)


def test_a_safe_step_is_one_over_the_curvature_and_none_where_there_is_none():
    assert [safe_length(longest, 0.0, 8, 1) for longest in (0.0, 0.5, 4.0)] == [0.0, 2.0, 0.25]


def eigenvalues_along_the_descent(geometry, X):
    metric = geometry.metric
    D = np.diag(metric.scale) + metric.axes.T * metric.gains @ metric.axes
    return np.sort(np.linalg.eigvals(D @ np.cov(X.T, bias=True)).real)


def test_axes_are_brought_to_what_the_rows_cross_and_to_what_their_lengths_allow():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.7, 1.7, (2000, 6))
    X[:, 1] = X[:, 0] + 1e-2 * X[:, 1]  # one direction of 2, and one near 5e-5
    rows, b = rows_of(X), 64
    stream = Stream().with_rows(rows)
    plain = Metric.standard(stream.moments.column_means, stream.moments.variance, 0.0, True)
    longest = plain.squared_norms(rows).max()
    assert longest < b  # so that the largest eigenvalue that does not shorten a step is 1
    by_rows = 2000 * longest / (b * 1999) * (1 - b / 2000)
    found = eigenvalues_along_the_descent(stream.geometry(rows, rows, b, 0.0, True), X)
    assert found[-1] == pytest.approx(1.0, abs=0.1)
    assert found[0] == pytest.approx((by_rows + 1.0) / np.ceil(2000 / b), rel=0.02)
    few = rows_of(X[:200])  # a fit of four steps an epoch
    geometry = geometry_of_batches(few, Moments.of(few, False), b, 0.0, True, False)
    longest = Metric.standard(X[:200].mean(axis=0), X[:200].var(axis=0), 0.0, True).squared_norms(few).max()
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


def test_a_full_batch_without_axes_steps_by_the_largest_eigenvalue():
    common = np.random.default_rng(0).standard_normal((2000, 1))
    rows = rows_of(0.9 * common + 0.44 * np.random.default_rng(1).standard_normal((2000, 4)))
    geometry = geometry_of_batches(rows, Moments.of(rows, False), 2000, 0.0, True, True)
    assert len(geometry.metric.axes) == 0
    assert 1.0 / geometry.step == pytest.approx(
        SAFETY * np.linalg.eigvalsh(np.corrcoef(rows.X.T))[-1], rel=0.02
    )  # half of the rows
