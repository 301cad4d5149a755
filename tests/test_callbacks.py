"""scikit-learn's callbacks watch, may stop, and change nothing."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import MiniBatchLinearRegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
with_api = pytest.mark.skipif("sklearn.callback" not in sys.modules, reason="needs sklearn.callback (1.9)")


class Stopper:
    """Follows the protocol; stops after `n_epochs` and keeps what it saw."""

    def __init__(self, n_epochs):
        self.n_epochs, self.begun, self.seen = n_epochs, 0, []

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context):
        self.torn_down = True

    def on_fit_task_begin(self, estimator, context):
        self.begun += context.task_name == "epoch"

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.seen.append(fitted_estimator.score(X, y))
            return len(self.seen) == self.n_epochs


def monitor():
    from sklearn.callback import ScoringMonitor

    return ScoringMonitor(scoring="r2")


def epoch_scores(watch):
    return [row["r2"] for row in watch.get_logs().data if row["task_name"] == "epoch"]


@with_api
@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_a_monitor_logs_each_epoch_and_changes_no_bit(batch_size):
    model, watch = MiniBatchLinearRegressor(batch_size, max_iter=5, tol=None, random_state=0), monitor()
    alone = model.fit(X, y).coef_.copy()
    np.testing.assert_array_equal(model.set_callbacks(watch).fit(X, y).coef_, alone)
    scores = epoch_scores(watch)
    assert len(scores) == model.n_iter_
    assert scores[-1] == model.score(X, y)  # the parameters that predict uses, in the user's units


@with_api
@pytest.mark.parametrize("options", [{"early_stopping": True}, {"penalty": "l1", "alpha": 10.0}])
def test_the_end_of_the_fit_shows_the_final_model_also_where_it_is_not_that_of_the_last_epoch(options):
    watch, noise = monitor(), np.random.default_rng(0).standard_normal((60, 100))
    learned, target = (noise[:, :50], noise[:, 50]) if "early_stopping" in options else (X, y)
    given = {"X_val": noise[:, 50:], "y_val": noise[:, 0]} if "early_stopping" in options else {}
    model = MiniBatchLinearRegressor(random_state=0, **options).set_callbacks(watch).fit(learned, target, **given)
    (final,) = (row["r2"] for row in watch.get_logs().data if row["task_name"] == "fit")
    assert final == model.score(learned, target) != epoch_scores(watch)[-1]


@with_api
def test_an_error_in_a_callback_leaves_the_model_as_it_was():
    class Failing(Stopper):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == self.n_epochs:
                raise RuntimeError("no")

    model = MiniBatchLinearRegressor(random_state=0, max_iter=2, tol=None).fit(X, y)
    before = model.coef_
    for task in ("epoch", "fit"):
        with pytest.raises(RuntimeError, match="no"):
            model.set_callbacks(Failing(task)).fit(X[:100], y[:100])
        assert model.coef_ is before


@with_api
def test_a_callback_stops_the_descent_without_a_warning(recwarn):
    stopper = Stopper(3)
    model = MiniBatchLinearRegressor(random_state=0).set_callbacks(stopper).fit(X, y)
    assert model.n_iter_ == stopper.begun == len(stopper.seen) == len(model.loss_curve_) == 3
    assert stopper.torn_down
    assert not recwarn.list
    reference = MiniBatchLinearRegressor(random_state=0, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(model.coef_, reference.coef_)


@with_api
@pytest.mark.parametrize("bad", [{"X": X[:, :0]}, {"y": np.full(len(y), np.nan)}])
def test_callbacks_are_torn_down_when_fit_fails(bad):
    stopper = Stopper(3)
    model = MiniBatchLinearRegressor().set_callbacks(stopper)
    with pytest.raises(ValueError, match=r"0 feature|NaN"):
        model.fit(**{"X": X, "y": y, **bad})
    assert stopper.torn_down
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "_callback_fit_ctx")


def five_epochs():
    return MiniBatchLinearRegressor(random_state=0, max_iter=5, tol=None)


@with_api
def test_callbacks_work_in_a_pipeline():
    watch = monitor()
    plain = make_pipeline(StandardScaler(), five_epochs()).fit(X, y)
    watched = make_pipeline(StandardScaler(), five_epochs().set_callbacks(watch)).fit(X, y)
    np.testing.assert_array_equal(watched[-1].coef_, plain[-1].coef_)
    assert len(epoch_scores(watch)) == 5


@with_api
def test_callbacks_work_in_a_grid_search_of_two_processes():
    grid = {"batch_size": [1, 32]}
    plain = GridSearchCV(five_epochs(), grid, cv=2).fit(X, y)
    watched = GridSearchCV(five_epochs().set_callbacks(monitor()), grid, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(watched.best_estimator_.coef_, plain.best_estimator_.coef_)
    np.testing.assert_array_equal(watched.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])


@with_api
def test_a_progress_bar_of_a_grid_search_shows_epochs(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    search = GridSearchCV(five_epochs(), {"batch_size": [1, 32]}, cv=2, n_jobs=2)
    search.set_callbacks(ProgressBar()).fit(X, y)
    assert "MiniBatchLinearRegressor" in capsys.readouterr().out


def test_without_the_api_asking_for_callbacks_says_what_to_install(monkeypatch):
    import importlib

    import skgd._callbacks

    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    module = importlib.reload(skgd._callbacks)
    try:
        with pytest.raises(ImportError, match=r"scikit-learn >= 1\.9.*verbose=1"):
            module.CallbackSupportMixin().set_callbacks()
    finally:
        monkeypatch.undo()
        importlib.reload(skgd._callbacks)


def test_verbose_prints_a_line_per_epoch(capsys):
    MiniBatchLinearRegressor(max_iter=3, tol=None, verbose=1, early_stopping=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert all("objective" in line and "R^2 on held-out rows" in line for line in lines)
