"""Early stopping: rows to watch, and what it must not cost."""

import re
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_absolute_error_score, d2_pinball_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import MiniBatchLinearRegressor
from tests.conftest import (
    LOSSES,
    SQUARED_ERROR,
    Rows,
    Validation,
    loss_and_slope,
    rows_of,
)

PLAIN = {"learning_rate": "constant", "eta0": 0.05, "tol": None, "max_iter": 12}


def table(n, d, noise=1.0, n_targets=1):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    Y = X[:, :3] @ rng.standard_normal((3, n_targets)) + noise * rng.standard_normal((n, n_targets))
    return X, Y[:, 0] if n_targets == 1 else Y


X, Y = table(400, 5, n_targets=2)
LEARNED, WATCHED = slice(0, 300), slice(300, 400)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("wrap", [np.asarray, csr_array])
def test_scores_are_r2_of_each_epochs_parameters_on_the_given_rows(n_targets, weighted, wrap):
    y, weight = Y[:, 0] if n_targets == 1 else Y, np.random.default_rng(1).uniform(0, 2, 100) if weighted else None
    model = MiniBatchLinearRegressor(None, early_stopping=True, record_steps=True, **PLAIN)
    model.fit(X[LEARNED], y[LEARNED], X_val=wrap(X[WATCHED]), y_val=y[WATCHED], sample_weight_val=weight)
    path = zip(model.coef_path_[1:], model.intercept_path_[1:], strict=True)
    expected = [r2_score(y[WATCHED], X[WATCHED] @ coef.T + intercept, sample_weight=weight) for coef, intercept in path]
    np.testing.assert_allclose(model.validation_scores_, expected, rtol=1e-12)


def test_targets_that_do_not_vary_score_one_if_they_are_met_and_else_zero():
    model = MiniBatchLinearRegressor(None, early_stopping=True, max_iter=1, tol=None)
    for y_val, score in (np.full(5, 3.0), 1.0), (np.full(5, 4.0), 0.0):
        model.fit(np.zeros((9, 1)), np.full(9, 3.0), X_val=np.zeros((5, 1)), y_val=y_val)
        assert model.validation_scores_.tolist() == [score] == [r2_score(y_val, np.full(5, 3.0))]


def test_rows_of_ones_own_are_watched_and_all_others_are_learned_from():
    y, whole = Y[:, 0], {"random_state": 0, "max_iter": 4, "tol": None}
    watching = MiniBatchLinearRegressor(early_stopping=True, **whole)
    watching.fit(X[LEARNED], y[LEARNED], X_val=X[WATCHED], y_val=y[WATCHED])
    np.testing.assert_array_equal(watching.coef_, MiniBatchLinearRegressor(**whole).fit(X[LEARNED], y[LEARNED]).coef_)


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("options", [{}, {"loss": "huber", "epsilon": 1.0}], ids=str)
def test_where_nothing_is_learned_by_heart_the_fit_is_that_without(batch_size, options):
    y = Y[:, 0]
    model = MiniBatchLinearRegressor(batch_size, random_state=0, **options)
    watching = clone(model).set_params(early_stopping=True).fit(X[LEARNED], y[LEARNED], X_val=X[WATCHED], y_val=y[WATCHED])
    without = model.fit(X[LEARNED], y[LEARNED])
    assert watching.n_iter_ == without.n_iter_
    np.testing.assert_array_equal(watching.coef_, without.coef_)


@pytest.mark.parametrize("options", [{}, {"penalty": "l1", "alpha": 1e-6}, {"loss": "huber", "epsilon": 10.0}], ids=str)
def test_what_is_learned_by_heart_is_given_up_for_the_best_score(options):
    A, y = table(700, 80, noise=10.0)
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0, **options)
    model.fit(A[:90], y[:90], X_val=A[90:], y_val=y[90:])
    without = MiniBatchLinearRegressor(random_state=0, **options).fit(A[:90], y[:90])
    if "penalty" not in options:  # the l1 norm takes one more step, to exact zeros
        loss = LOSSES[model.loss](model.epsilon, model.quantile)
        losses = [loss_and_slope(loss, r)[0].mean() for r in (model.predict(A[90:]) - y[90:], y[90:].mean() - y[90:])]
        best = 1.0 - losses[0] / losses[1]  # with huber the mean is not the best constant, but near it
        np.testing.assert_allclose(best, model.validation_scores_.max(), rtol=1e-6 if model.loss == "squared_error" else 1e-2)
    assert model.n_iter_ < without.n_iter_
    assert model.score(A[90:], y[90:]) > without.score(A[90:], y[90:]) + 0.1


def test_each_target_is_given_up_by_itself():
    A, y = table(700, 80, noise=10.0)
    two = np.column_stack([y, A[:, 0]])
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0)
    model.fit(A[:90], two[:90], X_val=A[90:], y_val=two[90:])
    alone = [
        MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(A[:90], t[:90], X_val=A[90:], y_val=t[90:])
        for t in two.T
    ]
    np.testing.assert_allclose(model.coef_, [each.coef_ for each in alone], rtol=1e-7, atol=1e-9)


def test_a_few_outlying_rows_do_not_stop_a_descent():
    A, y = table(2000, 5)
    watched = y[1000:].copy()
    watched[:3] -= 1e4 * np.sign(y[1000:1003])  # the nearer to the truth, the worse these rows, and so R^2
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(A[:1000], y[:1000], X_val=A[1000:], y_val=watched)
    np.testing.assert_array_equal(model.coef_, MiniBatchLinearRegressor(random_state=0).fit(A[:1000], y[:1000]).coef_)


@pytest.mark.parametrize("weighted", [False, True])
def test_worse_is_by_more_than_tol_on_most_rows_and_by_more_than_chance(weighted):
    rng = np.random.default_rng(0)
    y, weight = rng.standard_normal(50), rng.integers(1, 4, 50).astype(float) if weighted else np.ones(50)
    rows = Rows.of(np.ones((50, 1)), y[None], weight)
    best, other = np.array([[0.0, 0.1]]), np.array([[0.0, 0.8]])
    validation = Validation(rows, SQUARED_ERROR, 1e-4, best)
    score, _ = validation.compare(best)
    np.testing.assert_allclose(score, r2_score(y, np.full(50, 0.1), sample_weight=weight))
    validation.observe(best, np.zeros(1, bool))
    difference = (0.8 - y) ** 2 - (0.1 - y) ** 2
    mean = np.average(difference, weights=weight)
    error = np.sqrt(np.sum(weight**2 * (difference - mean) ** 2)) / weight.sum()
    majority = np.sum(weight * np.sign(difference))
    gap = validation.score - validation.compare(other)[0]
    for factor, majority_is_needed in (0.99, True), (1.01, False):
        validation.tol = factor * gap
        expected = majority > 0 and mean > 1.5 * error and majority_is_needed
        assert validation.compare(other)[1] == expected
    assert majority > 0
    assert mean > 1.5 * error


def test_a_pipeline_transforms_the_rows_to_watch():
    with config_context(enable_metadata_routing=True):
        regressor = MiniBatchLinearRegressor(None, early_stopping=True, **PLAIN).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), regressor, transform_input=["X_val"])
        pipeline.fit(10 * X[LEARNED], Y[LEARNED, 0], X_val=10 * X[WATCHED], y_val=Y[WATCHED, 0])
    found = pipeline[-1].validation_scores_[-1]
    np.testing.assert_allclose(found, pipeline.score(10 * X[WATCHED], Y[WATCHED, 0]), rtol=1e-6)


def test_chunks_and_memory_see_the_same():
    y = Y[:, 0]
    model = MiniBatchLinearRegressor(None, early_stopping=True, loss="huber", epsilon=1.0)
    chunks = [(X[:100], y[:100]), (X[100:300], y[100:300])]
    of_chunks = clone(model).fit_chunks(chunks, X_val=X[WATCHED], y_val=y[WATCHED])
    of_memory = clone(model).fit(X[LEARNED], y[LEARNED], X_val=X[WATCHED], y_val=y[WATCHED])
    np.testing.assert_allclose(of_chunks.validation_scores_, of_memory.validation_scores_, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, "y_val is missing"),
        ({"y_val": Y[:, 0]}, "X_val is missing"),
        ({"sample_weight_val": np.ones(3)}, "X_val is missing"),
        ({"X_val": X[:, :2], "y_val": Y[:, 0]}, "X_val, y_val or sample_weight_val: X has 2 features"),
        ({"X_val": X, "y_val": Y}, "X_val, y_val or sample_weight_val: y_val has 2 targets, but y has 1"),
        ({"X_val": X[:1], "y_val": Y[:1, 0]}, "at least 2 rows with a weight, got 1"),
        ({"X_val": X, "y_val": Y[:, 0], "sample_weight_val": -np.ones(400)}, "sample_weight must be >= 0"),
    ],
)
def test_what_cannot_be_watched_is_refused_and_nothing_is_lost(given, message):
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, Y[:, 0])
    before = model.coef_.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(X, 2 * Y[:, 0], **given)
    np.testing.assert_array_equal(model.coef_, before)


def test_rows_that_nothing_watches_are_refused():
    with pytest.raises(ValueError, match="early_stopping=False"):
        MiniBatchLinearRegressor().fit(X, Y[:, 0], X_val=X, y_val=Y[:, 0])
    with pytest.warns(UserWarning, match="validation_fraction=0.2 has no effect"):
        MiniBatchLinearRegressor(early_stopping=True, validation_fraction=0.2).fit(X, Y[:, 0], X_val=X, y_val=Y[:, 0])
    with pytest.raises(ValueError, match="Give X_val and y_val"):
        MiniBatchLinearRegressor(early_stopping=True).fit_chunks([(X, Y[:, 0])])


@pytest.mark.parametrize("scale", [(1e300, 1.0), (1.0, 1e300)])
def test_rows_too_large_for_a_score_are_refused(scale):
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, Y[:, 0])
    before = model.coef_
    with pytest.raises(ValueError, match="X_val or y_val is too large"):
        model.fit(X, Y[:, 0], X_val=scale[0] * X, y_val=scale[1] * Y[:, 0])
    assert model.coef_ is before


@pytest.mark.parametrize("share_of_worse", [0.4, 0.6])
def test_worse_on_the_mean_counts_only_if_most_rows_say_so(share_of_worse):
    n = 1000
    far, near = np.full(int(share_of_worse * n), -1.0), np.full(n - int(share_of_worse * n), 0.35)
    y = np.concatenate([far, near])  # predicted 0.1 at best, and 0.5: far worse for the first, a little better for the others
    validation = Validation(Rows.of(np.ones((n, 1)), y[None], np.ones(n)), SQUARED_ERROR, 1e-4, np.array([[0.0, 0.1]]))
    validation.observe(np.array([[0.0, 0.1]]), np.zeros(1, bool))
    score, worse = validation.compare(np.array([[0.0, 0.5]]))
    assert score < validation.score - 0.1
    assert worse == (share_of_worse > 0.5)


JUDGED = {  # by scikit-learn, from targets and predictions
    ("squared_error", 0.5): r2_score,
    ("quantile", 0.05): partial(d2_pinball_score, alpha=0.05),
    ("quantile", 0.5): d2_absolute_error_score,
    ("quantile", 0.9): partial(d2_pinball_score, alpha=0.9),
}


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize(("loss", "quantile"), JUDGED)
def test_scores_are_those_of_the_models_own_loss(loss, quantile, batch_size):
    one = {**PLAIN, "max_iter": 1, "random_state": 0}  # epoch, after which nothing is better
    model = MiniBatchLinearRegressor(batch_size, early_stopping=True, loss=loss, quantile=quantile, **one)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 100)
    model.fit(X[LEARNED], Y[LEARNED, 0], X_val=X[WATCHED], y_val=Y[WATCHED, 0], sample_weight_val=weight)
    score = JUDGED[loss, quantile](Y[WATCHED, 0], model.predict(X[WATCHED]), sample_weight=weight)
    # scikit-learn takes a target for the best constant, which may be a rounding of the weights away from ours.
    np.testing.assert_allclose(model.validation_scores_[-1], score, rtol=1e-9)


@pytest.mark.parametrize("quantile", [0.05, 0.9])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("seed", [32, 104, 107])  # of the last two, noise makes five epochs in a row worse than the first
def test_a_watched_quantile_covers_what_it_should(quantile, batch_size, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((1500, 4))
    y = A @ rng.standard_normal(4) + rng.gamma(1.0, 2.0, 1500)
    options = {"loss": "quantile", "quantile": quantile, "early_stopping": True, "random_state": seed % 100}
    watching = MiniBatchLinearRegressor(batch_size, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watching.fit(A, y)
    # 1,350 rows: four standard errors of a share of rows are 0.024 and 0.033.
    assert np.mean(y <= watching.predict(A)) == pytest.approx(quantile, abs=0.035)


def noise_to_overfit(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((300, 100))
    y = A @ (rng.standard_normal(100) * (rng.random(100) < 0.2)) + 50.0 * rng.standard_normal(300)
    return A[:225], y[:225], A[225:], y[225:]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(4))
def test_zeros_become_exact_without_a_step_towards_overfitting(seed):
    A, y, watched, target = noise_to_overfit(seed)
    model = MiniBatchLinearRegressor(penalty="l1", alpha=0.05, early_stopping=True, random_state=0)
    model.fit(A, y, X_val=watched, y_val=target)
    assert model.score(watched, target) == pytest.approx(max(model.validation_scores_), abs=1e-3)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_poor_score_that_is_told_is_that_of_the_model(seed):
    A, y, watched, target = noise_to_overfit(seed)
    model = MiniBatchLinearRegressor(positive=True, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="a constant predicts them better") as caught:
        model.fit(A, y, X_val=watched, y_val=target)
    told = float(re.search(r"held-out rows is (\S+):", str(caught[0].message)).group(1))
    assert told == pytest.approx(model.score(watched, target), rel=0.05)  # two digits
    assert model.score(watched, target) < max(model.validation_scores_) - 0.01


def test_columns_that_say_nothing_are_not_told_of_for_chance():
    """Of the R^2 on the held-out rows of 20 such tables, 15 are below 0, but few by more than chance."""
    scores, n_told = [], 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        A, y = rng.standard_normal((2000, 5)), rng.standard_normal(2000)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = MiniBatchLinearRegressor(early_stopping=True, random_state=seed).fit(A, y)
        scores.append(max(model.validation_scores_))
        n_told += any("a constant predicts them better" in str(each.message) for each in caught)
    assert n_told <= 3  # 1.5 standard errors have a chance of 7 %
    assert np.count_nonzero(np.array(scores) < 0.0) >= 5


def test_a_held_out_row_in_wrong_units_is_told_of():
    """The differences of one row are no more than chance, however large they are, but its score says that it is wrong."""
    watched = X[WATCHED].copy()
    watched[0] *= 1e3
    with pytest.warns(ConvergenceWarning, match="a constant predicts them better"):
        MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(
            X[LEARNED], Y[LEARNED, 0], X_val=watched, y_val=Y[WATCHED, 0]
        )


@pytest.mark.parametrize("value", [1.0, 1.1, 1e6 + 0.1])
def test_targets_that_are_alike_up_to_rounding_do_not_vary(value):
    """The mean of seven times the same number may differ from it in its last digit."""
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X[LEARNED], Y[LEARNED, 0], X_val=X[WATCHED][:7], y_val=np.full(7, value))
        constant = clone(model).fit(X[LEARNED], np.full(len(X[LEARNED]), value), X_val=X[WATCHED][:7], y_val=np.full(7, value))
    assert (model.validation_scores_ == 0.0).all()
    assert (constant.validation_scores_ == 1.0).all()


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
@pytest.mark.parametrize("batch_size", [8, 32])
def test_a_target_that_is_done_is_not_judged_again(loss, batch_size):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((200, 12))
    targets = np.column_stack([A @ rng.standard_normal(12) + noise * rng.standard_normal(200) for noise in (0.01, 1.0, 10.0)])
    given = {"X_val": A[150:], "y_val": targets[150:]}
    model = MiniBatchLinearRegressor(batch_size, loss=loss, epsilon=1.0 if loss == "huber" else 0.1, early_stopping=True)
    model.set_params(random_state=0).fit(A[:150], targets[:150], **given)
    for k, target in enumerate(targets.T):
        alone = clone(model).fit(A[:150], target[:150], X_val=A[150:], y_val=target[150:])
        np.testing.assert_allclose(model.coef_[k], alone.coef_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("quantile", "other", "is_worse"), [(0.1, 0.35, True), (0.9, 0.65, True), (0.1, 0.02, True)])
def test_votes_of_rows_are_in_the_balance_of_a_quantiles_slopes(quantile, other, is_worse):
    """Of evenly spread targets a higher prediction than the quantile 0.1 is worse for the few rows below it, by nine each."""
    y = np.linspace(0.0, 1.0, 1000)
    validation = Validation(
        Rows.of(np.ones((1000, 1)), y[None], np.ones(1000)), LOSSES["quantile"](None, quantile), 1e-4, [[0, quantile]]
    )
    validation.observe(np.array([[0.0, quantile]]), np.zeros(1, bool))
    assert validation.compare(np.array([[0.0, other]]))[1] == is_worse


def test_the_order_of_held_out_rows_decides_nothing_where_as_many_are_predicted_worse_as_better():
    rng = np.random.default_rng(112)
    X, y = rng.standard_normal((40, 20)), rng.standard_normal(40)
    X_val, y_val = rng.standard_normal((10, 20)), rng.standard_normal(10)
    ends = []
    for order in (np.arange(10), np.arange(10)[::-1]):
        model = MiniBatchLinearRegressor(None, loss="huber", epsilon=0.3, early_stopping=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of noise
            ends.append(model.fit(X, y, X_val=X_val[order], y_val=y_val[order]).coef_)
    np.testing.assert_allclose(*ends, rtol=1e-6, atol=1e-9)


def test_a_fit_of_chunks_that_early_stopping_has_ended_may_be_resumed():
    rng = np.random.default_rng(0)
    X, X_val = rng.standard_normal((40, 30)), rng.standard_normal((100, 30))
    y, y_val = X[:, 0] + 3.0 * rng.standard_normal(40), -X_val[:, 0] + 3.0 * rng.standard_normal(100)
    options = {"learning_rate": "constant", "eta0": 0.3, "early_stopping": True, "warm_start": True, "max_iter": 200}
    model = MiniBatchLinearRegressor(None, loss="quantile", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of noise
        for _ in range(2):
            model.fit_chunks([(X[:20], y[:20]), (X[20:], y[20:])], X_val=X_val, y_val=y_val)
    assert model.n_iter_ < 200


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_rows_whose_weights_are_a_tie_up_to_rounding_are_no_majority(order):
    """0.1 + 0.2 is not 0.3: two rows are predicted worse, and a third that weighs as much as both a little better."""
    X, y, weight = np.eye(3)[order], np.array([1.0, -1.0, 0.5])[order], np.array([0.1, 0.2, 0.3])[order]
    best, other = (np.append(np.array([1.0, -1.0, 0.5]) + residual, 0.0) for residual in ([0.0, 0.0, 0.1], [1.0, 1.0, 0.0]))
    validation = Validation(rows_of(X, y, weight), SQUARED_ERROR, 1e-4, best[None])
    validation.observe(best[None], np.array([False]))
    assert not validation.compare(other[None])[1].any()


def test_rows_that_all_are_worse_by_the_same_amount_are_worse_by_no_chance():
    X, y, best, other = np.zeros((4, 1)), np.arange(4.0), np.array([[0.0, -1.0]]), np.array([[0.0, -1.5]])
    validation = Validation(rows_of(X, y), LOSSES["quantile"](None, 0.5), 1e-4, best)
    validation.observe(best, np.zeros(1, bool))
    assert validation.compare(other)[1].all()


def test_a_warm_start_beside_other_rows_to_watch_does_not_keep_what_scored_best_on_the_former():
    """A checksum of a sample would not tell: only every fourth of the rows that are watched stays."""
    rng = np.random.default_rng(0)
    X, X_val = rng.standard_normal((500, 3)), rng.standard_normal((3000, 3))
    y, y_val = X @ [1.0, 2.0, 3.0], X_val @ [1.0, 2.0, 3.0]
    plain = {"learning_rate": "constant", "eta0": 1e-3, "max_iter": 2, "early_stopping": True, "warm_start": True}
    model = MiniBatchLinearRegressor(random_state=0, tol=None, **plain).fit(X, y, X_val=X_val, y_val=y_val)
    before = model.coef_
    with warnings.catch_warnings(action="ignore"):
        model.fit(X, y, X_val=X_val, y_val=np.where(np.arange(3000) % 4 == 0, y_val, -y_val))
    assert model.validation_scores_.max() < 0.0
    assert not np.array_equal(model.coef_, before)
