"""The pictures show the numbers they claim to."""

import builtins

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import DescentPathDisplay, LossCurveDisplay, MiniBatchLinearRegressor

matplotlib.use("agg")
X, y = load_diabetes(return_X_y=True)
PLAIN = {"learning_rate": "constant", "eta0": 0.1, "max_iter": 3, "tol": None, "record_steps": True, "random_state": 0}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


def test_a_loss_curve_is_loss_curve_by_epoch_and_loss_path_by_step():
    model = MiniBatchLinearRegressor(100, **PLAIN).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.lines_[0].get_xydata(), np.column_stack([[1, 2, 3], model.loss_curve_]))
    assert display.ax_.get_legend() is None
    steps = LossCurveDisplay.from_estimator(model, per="step", ax=display.ax_, log_scale=True, line_kw={"linewidth": 7})
    np.testing.assert_array_equal(steps.lines_[0].get_ydata(), model.loss_path_)
    assert steps.lines_[0].get_linewidth() == 7
    assert steps.figure_ is display.figure_
    assert steps.ax_.get_yscale() == "log"
    assert steps.lines_[0].get_color() != display.lines_[0].get_color()


def test_several_curves_have_a_legend_and_a_validation_score_its_own_axis():
    models = {
        "stopped": MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y),
        "piped": make_pipeline(StandardScaler(), MiniBatchLinearRegressor(random_state=0)).fit(X, y),
    }
    display = LossCurveDisplay.from_estimator(models)
    assert [text.get_text() for text in display.score_ax_.get_legend().get_texts()] == ["stopped", "piped", "stopped: score"]
    np.testing.assert_array_equal(display.score_ax_.lines[0].get_ydata(), models["stopped"].validation_scores_)
    assert len(display.score_ax_.lines) == 1
    assert len({line.get_color() for line in display.lines_}) == 3


def test_thirty_curves_look_different():
    model = MiniBatchLinearRegressor(None).fit(X, y)
    display = LossCurveDisplay.from_estimator(dict.fromkeys(range(30), model))
    assert len({(line.get_color(), line.get_marker()) for line in display.lines_}) == 30


def test_a_legend_beside_two_axes_covers_no_curve():
    options = PLAIN | {"max_iter": 30, "early_stopping": True}
    models = {b: MiniBatchLinearRegressor(b, **options).fit(X, y) for b in (1, 32, 128)}
    display = LossCurveDisplay.from_estimator(models)
    display.figure_.canvas.draw()
    legend = display.score_ax_.get_legend().get_window_extent()
    assert legend.y0 >= display.ax_.get_window_extent().y1


def test_a_curve_without_scores_is_added_to_the_legend_of_one_with_scores():
    first = LossCurveDisplay.from_estimator(
        {"watched": MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y)}
    )
    models = {b: MiniBatchLinearRegressor(b, max_iter=3, tol=None, random_state=0).fit(X, y) for b in (100, None)}
    second = LossCurveDisplay.from_estimator(models, ax=first.ax_)
    assert len({line.get_color() for line in (*first.lines_, *second.lines_)}) == 4
    assert first.ax_.get_legend() is None
    legend = [text.get_text() for text in second.score_ax_.get_legend().get_texts()]
    assert legend == ["watched", "100", "None", "watched: score"]  # a batch size is a name, too


def test_curves_added_to_others_share_the_axis_of_scores_and_no_colour():
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y)
    first = LossCurveDisplay.from_estimator(model)
    second = LossCurveDisplay.from_estimator(model, ax=first.ax_)
    assert second.score_ax_ is first.score_ax_
    assert len(first.figure_.axes) == 2
    assert len({line.get_color() for line in (*first.lines_, *second.lines_)}) == 4
    assert [text.get_text() for text in first.score_ax_.get_legend().get_texts()] == [
        "objective",
        "objective",
        "score",
        "score",
    ]


@pytest.mark.parametrize("log", [False, True])
def test_epochs_are_marked_by_whole_numbers_also_on_given_axes(log):
    ax = matplotlib.pyplot.subplots()[1]
    if log:
        ax.set_xscale("log")
    LossCurveDisplay.from_estimator(MiniBatchLinearRegressor(max_iter=4, tol=None).fit(X, y), ax=ax)
    ticks = ax.get_xticks()
    assert isinstance(ax.xaxis.get_major_locator(), matplotlib.ticker.LogLocator) == log
    assert log or np.all(ticks == ticks.round())


def test_a_stream_is_drawn_by_chunks():
    stream = MiniBatchLinearRegressor(random_state=0).partial_fit(X, y).partial_fit(X, y)
    assert LossCurveDisplay.from_estimator(stream).ax_.get_xlabel() == "chunk"
    assert LossCurveDisplay.from_estimator(stream.fit(X, y)).ax_.get_xlabel() == "epoch"


def test_a_search_stands_for_its_best_estimator():
    steps = make_pipeline(StandardScaler(), MiniBatchLinearRegressor(**{**PLAIN, "eta0": 0.01}))
    search = GridSearchCV(steps, {"minibatchlinearregressor__batch_size": [4, 32]}).fit(X, y)
    best = search.best_estimator_
    curve = LossCurveDisplay.from_estimator(search).lines_[0]
    np.testing.assert_array_equal(curve.get_ydata(), best[-1].loss_curve_)
    paths = [DescentPathDisplay.from_estimator(model, X, y) for model in (search, best)]
    np.testing.assert_array_equal(*(display.lines_[0].get_xydata() for display in paths))
    assert paths[0].objective(1.0, 2.0) == paths[1].objective(1.0, 2.0)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_minimum_is_in_the_frame_and_the_picture_does_not_depend_on_the_columns_units(unit):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 2)) * [1.0, unit]
    target = table @ [1.0, 2.0 / unit] + 0.1 * rng.standard_normal(50)
    plain = {**PLAIN, "eta0": 1e-3 / max(1.0, unit**2), "fit_intercept": False}
    slow = MiniBatchLinearRegressor(**plain).fit(table, target, coef_init=[0.0, 0.0])
    display = DescentPathDisplay.from_estimator(slow, table, target)
    best = LinearRegression(fit_intercept=False).fit(table, target).coef_
    np.testing.assert_allclose(display.minimum, best, rtol=1e-4)
    (left, right), (low, high) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert left < best[0] < right
    assert low < best[1] < high
    widths = np.array([right - left, high - low]) * display.sizes
    assert widths.max() <= 2.001 * widths.min()  # of round contours half an axis is seen at least


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_a_path_is_what_was_recorded_and_contours_are_the_objective(loss):
    model = MiniBatchLinearRegressor(None, loss=loss, epsilon=30.0, alpha=0.1, **PLAIN).fit(X, y)
    display = DescentPathDisplay.from_estimator(model, X, y, parameters=(2, "intercept"))
    path = np.column_stack([model.coef_path_[:, 2], model.intercept_path_])
    np.testing.assert_array_equal(display.lines_[0].get_xydata(), path)
    # At its own end, the objective is what a further full-batch step would see before it moves.
    again = MiniBatchLinearRegressor(None, loss=loss, epsilon=30.0, alpha=0.1, **{**PLAIN, "max_iter": 1})
    seen = again.fit(X, y, coef_init=model.coef_, intercept_init=model.intercept_).loss_curve_[0]
    np.testing.assert_allclose(display.objective(*path[-1:].T), [seen], rtol=1e-12)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("coefficient of column 2", "intercept")


def test_columns_go_by_name_too():
    table = pd.DataFrame(X[:, :3], columns=["age", "sex", "bmi"])
    model = MiniBatchLinearRegressor(100, **PLAIN).fit(table, y)
    display = DescentPathDisplay.from_estimator({"a": model, "b": model}, table, y, parameters=("bmi", "age"))
    np.testing.assert_array_equal(display.paths["b"], model.coef_path_[:, [2, 0]])
    assert display.ax_.get_xlabel() == "coefficient of bmi"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pipeline_weights_and_a_single_column_of_targets_are_drawn_as_they_were_fitted():
    weight = np.arange(len(y)) % 3.0
    pipeline = make_pipeline(StandardScaler(), MiniBatchLinearRegressor(100, **PLAIN))
    pipeline.fit(1000.0 * X, y[:, None], minibatchlinearregressor__sample_weight=weight)
    display = DescentPathDisplay.from_estimator(pipeline, 1000.0 * X, y[:, None], weight)
    loss = np.average((y - pipeline.predict(1000.0 * X)[:, 0]) ** 2, weights=weight)
    np.testing.assert_allclose(display.objective(*display.ends[""][:, None]), [loss], rtol=1e-12)
    np.testing.assert_array_equal(display.paths[""], pipeline[-1].coef_path_[:, 0, :2])


def test_styles_of_ones_own_replace_ours_under_any_of_their_names():
    model = MiniBatchLinearRegressor(100, **PLAIN).fit(X, y)
    display = LossCurveDisplay.from_estimator(model, line_kw={"ls": "--", "c": "red", "ms": 9, "label": "mine"})
    (line,) = display.lines_
    assert (line.get_linestyle(), line.get_color(), line.get_markersize(), line.get_label()) == ("--", "red", 9, "mine")
    path = DescentPathDisplay.from_estimator({0: model, 1: model}, X, y, line_kw={"lw": 3}, contour_kw={"cmap": "viridis"})
    assert [text.get_text() for text in path.ax_.get_legend().get_texts()] == ["0", "1", "minimum", "coef_ at the end"]


@pytest.mark.parametrize("given", [{}, [1], "model", StandardScaler()])
def test_something_else_than_a_model_is_refused(given):
    with pytest.raises(TypeError, match=r"must be a fitted MiniBatchLinearRegressor, a pipeline .* or a dict"):
        LossCurveDisplay.from_estimator(given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": (0, 0)}, "two different"),
        ({"parameters": (0, 10)}, "columns from 0 to 9 or 'intercept', got 10"),
        ({"parameters": ("weight", 0)}, "no column 'weight'"),
        ({"X": X[:, :3]}, "X has 3 features, but MiniBatchLinearRegressor is expecting 10"),
        ({"X": X[:9]}, r"X must have shape \(442, 10\)"),
        ({"parameters": (0.5, 1)}, "columns from 0 to 9 or 'intercept', got 0.5"),
        ({"parameters": "bmi"}, "no column 'bmi'"),
    ],
)
def test_a_bad_request_says_what_is_wrong(arguments, message):
    model = MiniBatchLinearRegressor(100, **PLAIN).fit(X, y)
    with pytest.raises(ValueError, match=message):
        DescentPathDisplay.from_estimator(**{"estimator": model, "X": X, "y": y, **arguments})


def test_paths_of_other_columns_or_of_columns_in_another_order_are_refused():
    frame = pd.DataFrame(X, columns=list("abcdefghij"))
    model, of_three = (MiniBatchLinearRegressor(100, **PLAIN).fit(table, y) for table in (frame, frame[["a", "b", "c"]]))
    with pytest.raises(ValueError, match="must be in the same order"):
        DescentPathDisplay.from_estimator(model, frame[list("jihgfedcba")], y)
    with pytest.raises(ValueError, match="those of the same columns"):
        DescentPathDisplay.from_estimator({"all": model, "three": of_three}, frame, y)


def test_what_was_not_recorded_or_fitted_cannot_be_drawn():
    model = MiniBatchLinearRegressor()
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(model)
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"no loss_path_.*record_steps=True"):
        LossCurveDisplay.from_estimator(model, per="step")
    with pytest.raises(ValueError, match=r"no coef_path_.*record_steps=True"):
        DescentPathDisplay.from_estimator(model, X, y)
    with pytest.raises(ValueError, match="per must be 'epoch' or 'step', got 'steps'"):
        LossCurveDisplay.from_estimator(model, per="steps")
    two = MiniBatchLinearRegressor(100, **PLAIN).fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="one target, but the model has 2"):
        DescentPathDisplay.from_estimator(two, X, y)


def test_without_matplotlib_a_picture_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    model = MiniBatchLinearRegressor().fit(X, y)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        LossCurveDisplay.from_estimator(model)


def test_panels_that_share_an_axis_have_scores_of_their_own():
    model = MiniBatchLinearRegressor(early_stopping=True, random_state=0).fit(X, y)
    panels = matplotlib.pyplot.subplots(1, 2, sharex=True)[1]
    displays = [LossCurveDisplay.from_estimator(model, ax=ax) for ax in panels]
    assert displays[0].score_ax_ is not displays[1].score_ax_


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
@pytest.mark.parametrize("positive", [False, True])
def test_the_cross_is_at_the_minimum_over_the_two_parameters_of_what_the_best_model_says_of_the_others(loss, positive):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((60, 3)) @ [[1.0, 0.98, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]] + [0.0, 0.0, 50.0]
    target = table @ [-1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(60)
    plain = {"loss": loss, "positive": positive, "random_state": 0, "record_steps": True}
    far = MiniBatchLinearRegressor(learning_rate="constant", eta0=1e-9, max_iter=1, tol=None, **plain).fit(table, target)
    near = MiniBatchLinearRegressor(None, average=True, **plain).fit(table, target)
    display = DescentPathDisplay.from_estimator({"far": far, "near": near}, table, target)
    around = display.minimum + 1e-3 * rng.standard_normal((500, 2))
    allowed = around[np.all(around >= 0.0, axis=1)] if positive else around
    assert np.all(display.objective(*allowed.T) >= display.objective(*display.minimum) - 1e-9)
    assert not positive or np.all(display.minimum >= 0.0)
    np.testing.assert_allclose(display.minimum, near.coef_[:2], atol=0.1)  # and not what is best beside the far one's


def test_the_intercept_alone_is_drawn_beside_the_coefficients_of_the_model():
    model = MiniBatchLinearRegressor(100, **PLAIN).fit(X, y)
    display = DescentPathDisplay.from_estimator(model, X, y, parameters="intercept")
    np.testing.assert_allclose(display.minimum, np.mean(y - X @ model.coef_), rtol=1e-9)  # of the squared error: the mean
    assert display.ax_.get_xlabel() == "intercept"


def test_a_search_without_a_best_estimator_says_so():
    search = GridSearchCV(MiniBatchLinearRegressor(), {"alpha": [0.0]}, refit=False)
    with pytest.raises(NotFittedError, match="refit=True"):
        LossCurveDisplay.from_estimator(search.fit(X, y))


def test_one_parameter_is_drawn_on_the_curve_of_its_objective():
    X, y = np.arange(1.0, 7.0)[:, None], np.array([1.2, 1.9, 3.2, 3.8, 5.1, 6.0])
    plain = {"learning_rate": "constant", "eta0": 0.01, "max_iter": 6, "tol": None, "record_steps": True}
    model = MiniBatchLinearRegressor(None, fit_intercept=False, **plain).fit(X, y)
    display = DescentPathDisplay.from_estimator(model, X, y)
    (line,) = display.lines_
    w, F = line.get_data()
    np.testing.assert_allclose(w, model.coef_path_[:, 0])
    np.testing.assert_allclose(F, [np.mean((X[:, 0] * each - y) ** 2) for each in w])  # the steps lie on the parabola
    np.testing.assert_allclose(display.minimum, X[:, 0] @ y / (X[:, 0] @ X[:, 0]), rtol=1e-6)  # through zero
    assert display.contours_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("coefficient of column 0", "objective")
    with pytest.raises(ValueError, match="fit_intercept=False keeps it at 0"):
        DescentPathDisplay.from_estimator(model, X, y, parameters=(0, "intercept"))


def test_a_curve_names_its_loss():
    X, y = np.arange(6.0)[:, None], np.arange(6.0)
    models = [MiniBatchLinearRegressor(None, loss=loss).fit(X, y) for loss in ("quantile", "huber")]
    assert LossCurveDisplay.from_estimator(models[0]).ax_.get_ylabel() == "objective (quantile)"
    assert LossCurveDisplay.from_estimator(dict(zip("ab", models, strict=True))).ax_.get_ylabel() == "objective"
    stream = MiniBatchLinearRegressor().partial_fit(X, y)
    assert LossCurveDisplay.from_estimator(stream).ax_.get_ylabel() == "loss before learning (squared_error)"
