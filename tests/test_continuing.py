"""A fit that goes on from another: pieces are the whole, and other rows begin anew."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from skgd import MiniBatchLinearRegressor, _step_size
from tests.conftest import diabetes, gap

WAYS = {
    "default": {},
    "huber": {"loss": "huber", "epsilon": 20.0},
    "l1": {"penalty": "l1", "alpha": 1.0},
    "momentum": {"momentum": 0.9},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
    "adaptive": {"learning_rate": "adaptive", "eta0": 1e-5, "momentum": 0.5, "alpha": 0.1},
    "adaptive, early stopping": {"learning_rate": "adaptive", "eta0": 1e-5, "early_stopping": True},
}


def parts(model):
    return np.append(model.coef_, model.intercept_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("pieces", [(3, 4, 5), (11, 1), (1, 1, 1, 9)])
@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("way", WAYS)
def test_pieces_of_a_fit_are_the_whole_with_the_default_tol(way, batch_size, pieces):
    X, y = diabetes()
    whole = MiniBatchLinearRegressor(batch_size, random_state=3, max_iter=12, **WAYS[way]).fit(X, y)
    piece = MiniBatchLinearRegressor(batch_size, random_state=3, warm_start=True, **WAYS[way])
    for n_epochs in pieces:
        piece.set_params(max_iter=n_epochs).fit(X, y)
        if piece.n_iter_ < n_epochs or piece.n_steps_ == whole.n_steps_:  # converged: the whole fit ended here, too
            break
    assert piece.n_steps_ == whole.n_steps_
    # Between calls the intercept is kept at the origin: one rounding each way, along directions of condition 500.
    np.testing.assert_allclose(parts(piece), parts(whole), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_target_that_has_arrived_stays_where_it_is_when_the_others_go_on(loss, early_stopping):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 8))
    X = np.column_stack([X, X[:, :4] + 0.01 * rng.standard_normal((3000, 4))])
    y = X @ rng.standard_normal((12, 3)) * np.logspace(0, -3, 3) + rng.standard_normal((3000, 3)) * np.logspace(0, 1, 3)
    options = {"loss": loss, "early_stopping": early_stopping, "random_state": 3}
    whole = MiniBatchLinearRegressor(None, **options).fit(X, y)
    piece, n_epochs = MiniBatchLinearRegressor(None, warm_start=True, max_iter=5, **options), 0
    while n_epochs < whole.n_iter_:
        n_epochs += piece.fit(X, y).n_iter_
    np.testing.assert_allclose(parts(piece), parts(whole), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", [{}, {"loss": "huber", "epsilon": 0.5}], ids=str)
def test_a_fit_of_targets_in_another_order_does_not_go_on_with_what_the_last_one_remembered(loss):
    rng = np.random.default_rng(0)
    X = rng.integers(-4, 5, (4096, 5)).astype(float)  # so that means and variances are exact, and stay to the last bit
    y = X.sum(axis=1) + rng.integers(-4, 5, 4096)
    swapped, unlooked_at = y.copy(), np.arange(1, 4096, 5)  # every fifth row is in the sample that is compared
    swapped[unlooked_at] = y[unlooked_at[::-1]]
    model = MiniBatchLinearRegressor(None, warm_start=True, max_iter=1, **loss).fit(X, y)
    model.set_params(max_iter=1000).fit(X, swapped)
    np.testing.assert_allclose(parts(model), parts(MiniBatchLinearRegressor(None, tol=1e-8, **loss).fit(X, swapped)), atol=5e-3)


KINKED = {
    "median >= 0": {"loss": "quantile", "positive": True, "tol": 1e-2},
    "quantile": {"loss": "quantile", "quantile": 0.9},
    "epsilon": {"loss": "epsilon_insensitive", "epsilon": 10.0},
    "huber": {"loss": "huber", "epsilon": 10.0},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", KINKED)
def test_the_full_batch_goes_on_from_wherever_it_has_paused(loss):
    X, y = diabetes()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    whole = MiniBatchLinearRegressor(None, **KINKED[loss]).fit(X, y)
    for n_steps in range(1, whole.n_iter_):
        piece = MiniBatchLinearRegressor(None, warm_start=True, max_iter=n_steps, **KINKED[loss]).fit(X, y)
        piece.set_params(max_iter=1000).fit(X, y)
        assert n_steps + piece.n_iter_ == whole.n_iter_
        np.testing.assert_allclose(parts(piece), parts(whole), rtol=1e-8)  # a reading at the same place adds up to the same


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plateau_of_other_data_or_parameters_is_not_gone_on_with():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True, max_iter=4).fit(X, y)
    waited = model.fit(X, 100 * y)._state["plateau"]
    assert np.isfinite(waited["best"]).all()
    fresh = MiniBatchLinearRegressor(random_state=0, warm_start=True, max_iter=4).fit(X, y)
    assert fresh._state["plateau"]["best"] < waited["best"]  # not the best of a target a hundredth as large
    assert (model.set_params(alpha=1.0).fit(X, 100 * y)._state["factor"] >= _step_size.DECAY**4).all()


def test_a_warm_fit_of_other_targets_starts_with_the_step_of_a_new_model():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, warm_start=True).fit(X, y)
    shortened = model.step_size_
    model.set_params(max_iter=1, tol=None).fit(X, 3.0 - y)
    fresh = MiniBatchLinearRegressor(random_state=0, max_iter=1, tol=None).fit(X, 3.0 - y)
    assert model.step_size_ == pytest.approx(fresh.step_size_)
    assert shortened < 0.5 * fresh.step_size_


def test_a_warm_fit_after_a_converged_one_waits_for_its_plateau_again():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(loss="huber", epsilon=50.0, random_state=0, warm_start=True).fit(X, y).fit(X, y)
    assert model.n_iter_ >= model.n_iter_no_change


def test_targets_that_have_arrived_stay_there_when_a_paused_fit_goes_on():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 4))
    X[:, 3] = X[:, 0] + 0.1 * X[:, 3]
    # The first target has arrived after two or three epochs, the second depends on a difference that takes many.
    Y = np.column_stack([X[:, 1], 5.0 * (X[:, 3] - X[:, 0])]) + 0.3 * rng.standard_normal((800, 2))
    whole = MiniBatchLinearRegressor(random_state=0).fit(X, Y)
    resumed = MiniBatchLinearRegressor(random_state=0, max_iter=4, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        resumed.fit(X, Y)
    resumed.set_params(max_iter=1000).fit(X, Y)
    alone = [MiniBatchLinearRegressor(random_state=0).fit(X, y).n_iter_ for y in Y.T]
    assert alone[0] < 4 < alone[1] == whole.n_iter_ == 4 + resumed.n_iter_
    assert resumed.loss_curve_ == pytest.approx(whole.loss_curve_[4:], rel=1e-12)
    np.testing.assert_allclose(resumed.coef_, whole.coef_, rtol=1e-10)


def near_twins_of_which_the_difference_counts():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    X[:, 3] = X[:, 0] + 1e-2 * X[:, 3]
    return X, 100 * (X[:, 3] - X[:, 0]) + 2 * rng.standard_normal(300)


@pytest.mark.parametrize("make", [diabetes, near_twins_of_which_the_difference_counts])
def test_a_later_call_goes_on_from_where_a_converged_fit_ended(make):
    model = MiniBatchLinearRegressor(random_state=0, momentum=0.5).fit(*make())
    coef, velocity, average = model._state["parameters"][0]
    np.testing.assert_allclose(coef, parts(model), rtol=1e-14)  # the intercept is the same sum, rounded twice
    np.testing.assert_allclose(average, parts(model), rtol=1e-14)
    assert (velocity[:-1] == 0.0).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", [{"loss": "huber", "epsilon": 20.0}, {"loss": "quantile"}], ids=str)
def test_readings_of_other_columns_are_not_gone_on_with(loss):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(None, warm_start=True, max_iter=3, **loss).fit(X, y)
    other = X[::-1].copy()  # the same columns' means, the same targets
    model.set_params(max_iter=1000).fit(other, y)
    fresh = MiniBatchLinearRegressor(None, **loss).fit(other, y)
    np.testing.assert_allclose(model.predict(other), fresh.predict(other), atol=0.01 * y.std())


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_warm_fit_of_a_constant_target_leaves_where_it_was(batch_size, fit_intercept):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(batch_size, fit_intercept=fit_intercept, warm_start=True, random_state=0).fit(X, y)
    model.fit(X, np.full(len(y), 43.4))
    least = 0.0 if fit_intercept else np.mean((X @ np.linalg.lstsq(X, np.full(len(y), 43.4), rcond=None)[0] - 43.4) ** 2)
    assert np.mean((model.predict(X) - 43.4) ** 2) <= least + 1e-3 * (43.4**2 - least) * (not fit_intercept) + 1e-9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{"max_iter": 1}, {"max_iter": 3, "tol": None}], ids=str)
def test_a_stream_ends_at_the_minimum_over_all_rows_also_after_a_fit_that_has_not(options):
    X, y = diabetes()
    model = MiniBatchLinearRegressor(random_state=0, **options).fit(X[:300], y[:300]).partial_fit(X[300:], y[300:])
    assert gap(model, X, y) < 1e-9  # products are those of a sample for more rows than one has here


def test_a_paused_fit_of_plain_steps_is_not_gone_on_with_on_other_columns():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    y = X.sum(axis=1)
    other = np.column_stack([X[:, :1], rng.standard_normal((400, 2))])  # which will never explain as much as X does
    plain = {"learning_rate": "constant", "eta0": 1e-3, "random_state": 0, "warm_start": True, "tol": 1e-6}
    model = MiniBatchLinearRegressor(**plain, max_iter=40)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model.fit(X, y)
    assert model.set_params(max_iter=2000).fit(other, y).n_iter_ > 10  # the patience is five epochs


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("options", "n_columns", "n_ones"),
    [({"batch_size": 8, "learning_rate": "adaptive", "eta0": 0.1}, 3, 1), ({"batch_size": None, "max_iter": 2}, 1500, 5)],
)
def test_a_paused_fit_is_not_gone_on_with_where_the_ones_of_a_sparse_table_stand_elsewhere(options, n_columns, n_ones):
    rng = np.random.default_rng(0)
    columns = np.array([rng.choice(n_columns, n_ones, replace=False) for _ in range(4000)])
    one = csr_array((np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, n_ones)), (4000, n_columns))
    other = csr_array(one[rng.permutation(4000)])
    y = other @ rng.standard_normal(n_columns)
    warm, fresh = (MiniBatchLinearRegressor(random_state=0, alpha=1e-3, **options, warm_start=each) for each in (True, False))
    warm.fit(one, y).set_params(max_iter=1000).fit(other, y)
    assert warm.score(other, y) >= fresh.set_params(max_iter=1000).fit(other, y).score(other, y) - 1e-3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_a_paused_fit_is_not_gone_on_with_after_partial_fit(loss):
    X, y = diabetes()
    ends = []
    for shift in (0.0, 1000.0):
        model = MiniBatchLinearRegressor(None, loss=loss, max_iter=2, warm_start=True, random_state=0).fit(X[:300], y[:300])
        ends.append(model.partial_fit(X[300:], y[300:] + shift).set_params(max_iter=1).fit(X[:300], y[:300]).coef_)
    assert np.abs(ends[1] - ends[0]).max() > 1e-3  # the second fit begins where partial_fit has ended


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scores_on_other_rows_are_not_compared_with():
    X, y = diabetes()
    model = MiniBatchLinearRegressor(early_stopping=True, warm_start=True, max_iter=3, random_state=0)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    worse = 0.1 * y[300:] + np.random.default_rng(0).standard_normal(142) * y.std()
    resumed = model.fit(X[:300], y[:300], X_val=X[300:], y_val=worse)
    assert max(resumed._state["best"]["score"]) <= max(resumed.validation_scores_)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"positive": True}, {"penalty": "l1", "alpha": 1e-3}, {"fit_intercept": False}, {"max_iter": 2}], ids=str
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_few_rows_more_change_little_of_a_fit_of_many(options, n_targets):
    rng = np.random.default_rng(0)
    n = 30_000  # of which a sample has been looked at
    X = rng.standard_normal((n + 40, 3)) + 3.0 * rng.standard_normal((n + 40, 1))
    Y = X @ rng.uniform(0.5, 3.0, (3, n_targets)) + 0.1 * rng.standard_normal((n + 40, n_targets))
    model = MiniBatchLinearRegressor(random_state=0, **options).fit(X[:n], Y[:n]).partial_fit(X[n:], Y[n:])
    assert np.mean((model.predict(X) - Y) ** 2) <= 1.02 * 0.1**2  # the noise, and what an l1 norm costs


@pytest.mark.parametrize("n", [1000, 12_000])
def test_a_fit_that_begins_at_the_minimum_needs_one_reading(n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 10))
    y = X @ rng.standard_normal(10) + rng.standard_t(3, n)
    model = MiniBatchLinearRegressor(None, loss="huber", epsilon=1.0, warm_start=True).fit(X, y)
    assert model.n_iter_ > 1
    assert model.fit(X, y).n_iter_ == 1
