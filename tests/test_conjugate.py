"""Conjugate gradients, the full batch of the squared error on wide rows, against Ridge and least squares."""

import numpy as np
import pytest
from scipy.sparse import random_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from skgd import MiniBatchLinearRegressor
from skgd._conjugate import ConjugateGradients
from skgd._objective import penalty_at
from skgd._plan import problem_of_fit
from skgd._reading import Target
from skgd._rows import Rows

N, D = 300, 1100


def table(is_sparse, n_targets=1, is_raw=True):
    """Raw columns have units that span four orders of magnitude; dense ones also lie far from zero and have common factors."""
    rng = np.random.default_rng(0)
    units = 10.0 ** rng.uniform(-2, 2, D) if is_raw else np.ones(D)
    if is_sparse:
        X = random_array((N, D), density=0.05, random_state=rng, format="csr") * units
    else:
        factors = is_raw * (3 * rng.standard_normal((N, 2)) @ rng.standard_normal((2, D)) + 5)
        X = (rng.standard_normal((N, D)) + factors) * units
    Y = (X @ (rng.standard_normal((D, n_targets)) / units[:, None])) + np.geomspace(1, 30, n_targets) * rng.standard_normal(
        (N, n_targets)
    )
    return X.tocsr() if is_sparse else X, Y[:, 0] if n_targets == 1 else Y


def excess(model, X, y, weight=None):
    """Of the objective over Ridge's, as a share of that of the mean."""
    weight = np.ones(len(y)) if weight is None else weight
    share, alpha = weight / weight.sum(), model.alpha
    Z = X.toarray() if hasattr(X, "toarray") else X
    root = np.sqrt(len(y) * share)[:, None]
    center = share @ Z
    exact = Ridge(alpha=len(y) * alpha / 2, fit_intercept=False, solver="svd").fit(
        root * (Z - center), root[:, 0] * (y - share @ y)
    )

    def objective(coef, intercept):
        return share @ (Z @ coef + intercept - y) ** 2 + 0.5 * alpha * coef @ coef

    least = objective(exact.coef_, share @ y - center @ exact.coef_)
    return (objective(model.coef_, model.intercept_) - least) / (objective(np.zeros(D), share @ y) - least)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_wide_rows_come_as_near_to_ridge_as_promised(is_sparse, alpha, weighted, batch_size):
    X, y = table(is_sparse)
    weight = np.random.default_rng(1).uniform(0, 2, N) if weighted else None
    model = MiniBatchLinearRegressor(batch_size, alpha=alpha, random_state=0).fit(X, y, weight)
    assert -1e-9 <= excess(model, X, y, weight) <= (1e-4 if batch_size is None else 1e-3)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-12])
def test_tol_is_met_or_a_warning_says_how_far_it_is(is_sparse, tol):
    X, y = table(is_sparse)
    model = MiniBatchLinearRegressor(None, alpha=1e-2, tol=tol, max_iter=1000)
    if tol < 1e-3 and not is_sparse:  # with hardly a penalty, columns in units from 1e-2 to 1e2 take thousands of steps
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            model.fit(X, y)
    else:
        model.fit(X, y)
        assert abs(excess(model, X, y)) <= tol


def test_as_many_steps_suffice_as_there_are_curvatures():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 4)) @ rng.standard_normal((4, D))  # D standardises the columns, their rank stays
    y = X[:, 0] + rng.standard_normal(N)
    model = MiniBatchLinearRegressor(None, max_iter=5, tol=None).fit(X, y)
    residual = model.predict(X) - y
    np.testing.assert_allclose(X.T @ residual, 0, atol=1e-7 * np.abs(X.T @ y).max())


def test_the_loss_curve_is_the_objective_before_each_step_and_falls():
    X, y = table(False)
    model = MiniBatchLinearRegressor(None, alpha=0.1, max_iter=12, tol=None, record_steps=True).fit(X, y)
    found = [
        np.mean((X @ coef + intercept - y) ** 2) + 0.05 * coef @ coef
        for coef, intercept in zip(model.coef_path_, model.intercept_path_, strict=True)
    ]
    np.testing.assert_allclose(model.loss_curve_, found[:-1], rtol=1e-9)
    np.testing.assert_allclose(model.loss_path_, found[:-1], rtol=1e-9)
    assert (np.diff(found) < 0).all()
    np.testing.assert_array_equal(model.coef_, model.coef_path_[-1])


@pytest.mark.parametrize("is_sparse", [False, True])
def test_targets_are_each_ones_own_fit(is_sparse):
    X, Y = table(is_sparse, 4, is_raw=False)
    model = MiniBatchLinearRegressor(None, alpha=1.0)
    together, alone = clone(model).fit(X, Y), [clone(model).fit(X, y) for y in Y.T]
    n_iter = [each.n_iter_ for each in alone]
    assert max(n_iter) == together.n_iter_
    assert is_sparse == (min(n_iter) < max(n_iter))  # the dense ones' curvatures are alike for all
    # Products of matrices and of vectors are rounded differently. Common factors would have the steps grow this a lot.
    np.testing.assert_allclose(together.predict(X).T, [each.predict(X) for each in alone], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("at", [1, 2, 7])
def test_a_pause_changes_nothing(at):
    X, y = table(False, is_raw=False)
    model = MiniBatchLinearRegressor(None, alpha=1.0, warm_start=True)
    through = clone(model).fit(X, y)
    paused = clone(model).set_params(max_iter=at)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        paused.fit(X, y)
    curve = paused.loss_curve_
    paused.set_params(max_iter=1000).fit(X, y)
    assert at + paused.n_iter_ == through.n_iter_
    np.testing.assert_allclose(paused.coef_, through.coef_, rtol=1e-6, atol=1e-9 * np.abs(through.coef_).max())
    np.testing.assert_allclose(np.append(curve, paused.loss_curve_), through.loss_curve_, rtol=1e-9)


def test_directions_of_other_rows_are_forgotten():
    X, y = table(False)
    model = MiniBatchLinearRegressor(None, alpha=0.1, warm_start=True, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    model.set_params(max_iter=1000).fit(X[:, ::-1], y)
    assert excess(model, X[:, ::-1], y) <= 1e-4


def test_steps_that_are_asked_for_are_taken():
    X, y = table(False)
    model = MiniBatchLinearRegressor(None, alpha=0.1, momentum=0.5, max_iter=3, tol=None).fit(X, y)
    plain = MiniBatchLinearRegressor(None, alpha=0.1, max_iter=3, tol=None).fit(X, y)
    assert np.all(model.step_size_ < 1.0)
    assert np.all(plain.step_size_ == 1.0)
    assert plain.loss_curve_[-1] < model.loss_curve_[-1]


def test_early_stopping_restores_the_best_score():
    X, y = table(False)
    model = MiniBatchLinearRegressor(None, alpha=1e-6, early_stopping=True, random_state=0).fit(X, y)
    assert len(model.validation_scores_) == model.n_iter_


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_what_is_left_is_not_estimated_too_small(fit_intercept):
    X, y = table(False)
    model = MiniBatchLinearRegressor(None, alpha=0.1, fit_intercept=fit_intercept)
    problem, _ = problem_of_fit(model, Rows.of(X, y[None], np.broadcast_to(1.0, N)))
    target = Target(problem, 0)
    ends = []
    for accuracy in 1e-2, 1e-3, 1e-4, 1e-14:
        way = ConjugateGradients([target], np.zeros((1, D + 1)), accuracy)
        assert not way.is_done
        for _ in range(1000):
            way.step()
        (value,) = target.objectives(way.point, target.loss)
        np.testing.assert_allclose(way.value, value, rtol=1e-9)
        ends.append((value.item(), way.left.item()))
    least = ends[-1][0]
    for value, left in ends[:-1]:
        assert 0.0 < value - least <= 3.0 * left  # an estimate, no bound
    if not fit_intercept:
        assert way.point[0, -1] == 0.0
    assert penalty_at(target.penalty, way.point[0, :-1]) < least


def test_a_target_of_zeros_has_arrived():
    X, _ = table(False)
    model = MiniBatchLinearRegressor(None).fit(X, np.zeros(N))
    np.testing.assert_array_equal(model.coef_, 0.0)
    assert model.intercept_ == 0.0
