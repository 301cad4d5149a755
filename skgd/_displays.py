"""Pictures of a descent, in the shape of scikit-learn's Display classes. matplotlib is imported when one is drawn."""

import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data

from skgd._estimator import MiniBatchLinearRegressor
from skgd._objective import LOSSES, loss_and_slope, make_penalty, penalty_at
from skgd._rows import SAMPLE
from skgd._validation import check_weight

# Colours that colour-blind readers tell apart (Okabe & Ito 2008), each with a line of its own for print in grey.
STYLES: list[dict[str, Any]] = [
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#E69F00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#000000", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#56B4E9", "linestyle": (0, (8, 2)), "marker": "P"},
]
OF_THE_OBJECTIVE = "loss", "epsilon", "quantile", "penalty", "alpha", "l1_ratio", "positive"


def new_axes(ax):
    """The axes given, or new ones; matplotlib, or what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install matplotlib.") from error
    return ax if ax is not None else plt.subplots(layout="constrained")[1]


def best_of(estimator):
    """The estimator that a fitted search has found, or the estimator itself."""
    if hasattr(estimator, "refit") and hasattr(estimator, "estimator") and not hasattr(estimator, "best_estimator_"):
        raise NotFittedError(f"This {type(estimator).__name__} has no best_estimator_. Fit it, with refit=True.")
    return getattr(estimator, "best_estimator_", estimator)


def by_name(estimator):
    """A dict of fitted estimators, from one or a dict of several; for a search or a pipeline, the estimator that ends it."""
    several = estimator if isinstance(estimator, dict) else {"": estimator}
    several = {name: best_of(model) for name, model in several.items()}
    final = {name: best_of(model[-1]) if hasattr(model, "steps") else model for name, model in several.items()}
    wrong = [type(model).__name__ for model in final.values() if not isinstance(model, MiniBatchLinearRegressor)]
    if wrong or not final:
        raise TypeError(
            f"estimator must be a fitted MiniBatchLinearRegressor, a pipeline or search that ends in one, or a dict of name to "
            f"such, got "
            f"{wrong[0] if wrong else 'an empty dict'}."
        )
    for model in final.values():
        check_is_fitted(model)
    return final


def line_style(k, n_points, own):
    """The style of line number k, in which each of up to 40 points is marked, and what the user wants instead.

    There are as many styles as pairs of a colour and a line.
    """
    from matplotlib import cbook, lines

    n = len(STYLES)
    style = STYLES[(k + k // n) % n] | {"color": STYLES[k % n]["color"]}
    return {**style, "marker": style["marker"] if n_points <= 40 else "", **cbook.normalize_kwargs(own, lines.Line2D)}


def recorded(model, name):
    """An attribute that only record_steps=True keeps."""
    if not hasattr(model, name):
        raise ValueError(f"There is no {name}: steps were not recorded. Fit with record_steps=True.")
    return getattr(model, name)


class LossCurveDisplay:
    """A plot of the objective, by epoch or by step.

    Use `from_estimator` to make one.

    Parameters
    ----------
    objective : dict of str to ndarray
        The objective of each estimator, by the estimator's name; the names appear in the legend.
    validation_score : dict of str to ndarray
        D^2 on the held-out rows (R^2 for the squared error), for the estimators that have it.
    per : {"epoch", "chunk", "step"}
        What a point is: an epoch of `fit`, a call of `partial_fit`, a step.
    loss : str
        The loss, for the label of the axis; "" if there are several.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
    score_ax_ : matplotlib Axes or None
        At the right, of the validation score.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import LossCurveDisplay, MiniBatchLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> models = {f"batch_size={b}": MiniBatchLinearRegressor(b, random_state=0).fit(X, y) for b in (1, 32)}
    >>> display = LossCurveDisplay.from_estimator(models)
    >>> display.ax_.get_ylabel()
    'objective (squared_error)'
    """

    def __init__(self, objective, validation_score, per="epoch", loss=""):
        self.objective = objective
        self.validation_score = validation_score
        self.per = per
        self.loss = loss

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        per: Literal["epoch", "step"] = "epoch",
        ax: Any = None,
        log_scale: bool = False,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the loss curve of a fitted estimator, or of several.

        Parameters
        ----------
        estimator : MiniBatchLinearRegressor, Pipeline or search that ends in one, or dict of str to such
        per : {"epoch", "step"}, default="epoch"
            "epoch" draws `loss_curve_`, whose points are chunks if there were only calls of `partial_fit`. "step" draws
            `loss_path_`, the objective on each step's batch before the step; it needs record_steps=True.
        ax : matplotlib Axes, optional
        log_scale : bool, default=False
            Whether the objective is drawn on a logarithmic scale.
        line_kw : dict, optional
            Keyword arguments for matplotlib's plot, for all lines.

        Returns
        -------
        LossCurveDisplay
        """
        if per not in ("epoch", "step"):
            raise ValueError(f"per must be 'epoch' or 'step', got {per!r}.")
        models = by_name(estimator)
        if per == "step":
            objective, score = {name: recorded(model, "loss_path_") for name, model in models.items()}, {}
        else:
            objective = {name: model.loss_curve_ for name, model in models.items()}
            score = {k: m.validation_scores_ for k, m in models.items() if hasattr(m, "validation_scores_")}
        is_stream = per == "epoch" and all(model._state["objective"] is None for model in models.values())
        losses = {model.loss for model in models.values()}
        display = cls(objective, score, "chunk" if is_stream else per, losses.pop() if len(losses) == 1 else "")
        return display.plot(ax=ax, log_scale=log_scale, line_kw=line_kw)

    def plot(self, ax: Any = None, *, log_scale: bool = False, line_kw: dict[str, Any] | None = None) -> Self:
        """Draw; see `from_estimator`."""
        self.ax_ = ax = new_axes(ax)
        self.figure_, self.lines_ = ax.figure, []
        self.score_ax_ = score_ax = score_axes(ax, is_needed=bool(self.validation_score))
        is_alone = list(self.objective) == [""]
        curves = [(ax, "objective" if is_alone else str(name), curve) for name, curve in self.objective.items()]
        curves += [
            (score_ax, "score" if is_alone else f"{name}: score", curve) for name, curve in self.validation_score.items()
        ]
        taken = len(ax.lines) + (len(score_ax.lines) if score_ax else 0)  # of the styles, where curves are added to others
        for k, (axes, label, curve) in enumerate(curves):
            number = np.arange(1, len(curve) + 1)
            style = {"markersize": 4} | line_style(taken + k, len(number), line_kw)
            self.lines_ += axes.plot(number, curve, **({"label": label} if len(curves) > 1 or not is_alone else {}) | style)
        what = "loss before learning" if self.per == "chunk" else "objective"
        ax.set(xlabel=self.per, ylabel=f"{what} ({self.loss})" if self.loss else what)
        if log_scale:
            ax.set_yscale("log")
        if ax.get_xscale() == "linear":  # there is no half of an epoch
            from matplotlib.ticker import MaxNLocator

            ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        on_top, below = (score_ax, ax) if score_ax else (ax, None)
        lines = [line for axes in (ax, score_ax) if axes for line in axes.lines if not line.get_label().startswith("_")]
        if below and below.get_legend():
            below.get_legend().remove()
        if lines:  # beside two axes no corner is known to be free
            above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2, "frameon": False}
            on_top.legend(handles=lines, **(above if score_ax else {"framealpha": 0.9}))
        return self


def score_axes(ax, is_needed):
    """The axes of scores at the right of others: those that are there, new ones if they are needed, or None."""
    label = "D² on held-out rows (of the squared error: R²)"
    for other in ax.get_shared_x_axes().get_siblings(ax):
        is_on_top = other.get_subplotspec() == ax.get_subplotspec() and other.get_position().bounds == ax.get_position().bounds
        if other is not ax and is_on_top and other.get_ylabel() == label:
            return other
    if not is_needed:
        return None
    twin = ax.twinx()
    twin.set_ylabel(label)
    return twin


class DescentPathDisplay:
    """A plot of the path of two parameters over the contours of the objective, or of one on the objective's curve.

    A circle marks the start, a cross the minimum. A star marks what predict uses: the last point, the average, or under "auto"
    the minimum to which the fit went on. The frame holds them all, and is so chosen that both columns count alike, whatever
    their units. Use `from_estimator` to make a display.

    Parameters
    ----------
    paths : dict of str to ndarray of shape (n_steps + 1, 2) or (n_steps + 1, 1)
        The parameters at the start and after each step, by the name of the estimator.
    ends : dict of str to ndarray of shape (2,) or (1,)
        What predict uses: the last point, the average, or the minimum.
    objective : callable
        The objective at arrays of the parameters, which it takes as so many arguments.
    minimum : ndarray of shape (2,) or (1,)
        Where the objective is least.
    sizes : ndarray of shape (2,) or (1,)
        Root mean squares of the columns; 1 for the intercept.
    labels : tuple of str

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
    contours_ : matplotlib QuadContourSet or None
        None for one parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd import DescentPathDisplay, MiniBatchLinearRegressor
    >>> X = np.arange(6.0)[:, None]
    >>> y = np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])
    >>> plain = dict(learning_rate="constant", eta0=0.02, max_iter=20, tol=None, record_steps=True)
    >>> models = {f"batch_size={b}": MiniBatchLinearRegressor(b, random_state=0, **plain).fit(X, y) for b in (1, 2, None)}
    >>> display = DescentPathDisplay.from_estimator(models, X, y)
    >>> display.ax_.get_xlabel(), display.ax_.get_ylabel()
    ('coefficient of column 0', 'intercept')
    """

    def __init__(self, paths, ends, objective, minimum, sizes, labels):
        self.paths = paths
        self.ends = ends
        self.objective = objective
        self.minimum = minimum
        self.sizes = sizes
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        parameters: str | tuple[int | str, ...] | None = None,
        ax: Any = None,
        line_kw: dict[str, Any] | None = None,
        contour_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the path of a fitted estimator, or of several with the same objective.

        Parameters
        ----------
        estimator : MiniBatchLinearRegressor, Pipeline or search that ends in one, or dict of str to such
            Fitted with record_steps=True on one target. The objective is that of the first; the parameters that are not drawn
            are those of the one that has come nearest to its minimum.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As it was given to the (first) estimator; a pipeline's earlier steps are applied to it.
        y : array-like of shape (n_samples,)
            At most 10,000 rows at even distances make the contours.
        sample_weight : array-like of shape (n_samples,), optional
            As it was given to fit.
        parameters : str or tuple of one or two int or str, optional
            Columns by number or name, or "intercept". Default: the first two, or the only column and the intercept, if there
            is one.
        ax : matplotlib Axes, optional
        line_kw, contour_kw : dict, optional
            Keyword arguments for matplotlib's plot (for all paths) and contour.

        Returns
        -------
        DescentPathDisplay
        """
        models = by_name(estimator)
        first = next(iter(models.values()))
        whole = best_of(next(iter(estimator.values())) if isinstance(estimator, dict) else estimator)
        if hasattr(whole, "steps"):
            X = whole[:-1].transform(X)
        validate_data(first, X, reset=False, skip_check_array=True)  # names of columns
        if np.size(first.intercept_) > 1:
            raise ValueError(f"A path is drawn for one target, but the model has {len(first.coef_)}. Fit y[:, k] alone.")
        n_features, names = first.n_features_in_, list(getattr(first, "feature_names_in_", []))
        if len({model.n_features_in_ for model in models.values()}) > 1:
            raise ValueError(
                "Paths in one picture are those of the same columns, but the models have different numbers of them."
            )
        if parameters is None:
            parameters = (0, 1) if n_features > 1 else (0, "intercept") if first.fit_intercept else (0,)
        parameters = (parameters,) if isinstance(parameters, str) else parameters
        columns = [find_column(parameter, n_features, names) for parameter in parameters]
        if len(columns) not in (1, 2) or len({*columns}) < len(columns):
            raise ValueError(f"parameters must be one or two different ones, got {parameters!r}.")
        if n_features in columns and not first.fit_intercept:
            raise ValueError("There is no path of the intercept: fit_intercept=False keeps it at 0. Give columns only.")

        y = np.asarray(y, dtype=np.float64).ravel()
        if np.shape(X) != (len(y), n_features):
            raise ValueError(f"X must have shape ({len(y)}, {n_features}) to go with y and the model, got {np.shape(X)}.")
        every = slice(None, None, -(-len(y) // SAMPLE))
        rows = X.tocsr()[every].toarray() if issparse(X) else np.asarray(X, dtype=np.float64)[every]
        table, y, weight = np.column_stack([rows, np.ones(len(rows))]), y[every], check_weight(sample_weight, len(y))[every]
        fitted = [np.append(model.coef_, model.intercept_) for model in models.values()]
        loss = LOSSES[first.loss](first.epsilon, first.quantile)
        penalty = make_penalty(first.penalty, first.alpha, first.l1_ratio, first.positive)

        def objective_at(parameters):
            return weight @ loss_and_slope(loss, table @ parameters - y)[0] / weight.sum() + penalty_at(
                penalty, parameters[:-1]
            )

        rest = min(fitted, key=objective_at)

        def objective(*drawn):
            flat = np.tile(rest, (np.size(drawn[0]), 1))
            flat[:, columns] = np.column_stack([np.ravel(each) for each in drawn])
            return np.reshape([objective_at(parameters) for parameters in flat], np.shape(drawn[0]))

        def of_columns(coef, intercept):
            intercept = np.reshape(intercept, (-1, 1))
            return np.column_stack([np.reshape(coef, (len(intercept), -1)), intercept])[:, columns]

        paths = {name: of_columns(recorded(model, "coef_path_"), model.intercept_path_) for name, model in models.items()}
        ends = {name: of_columns(model.coef_, model.intercept_)[0] for name, model in models.items()}
        titles = [*(f"coefficient of {name}" for name in names or (f"column {j}" for j in range(n_features))), "intercept"]
        labels = tuple(titles[column] for column in columns)
        sizes = np.sqrt(weight @ table[:, columns] ** 2 / weight.sum())
        sizes[sizes == 0.0] = 1.0
        minimum = minimum_over(first, table, y, weight, rest, columns)
        return cls(paths, ends, objective, minimum, sizes, labels).plot(ax=ax, line_kw=line_kw, contour_kw=contour_kw)

    def plot(self, ax: Any = None, *, line_kw: dict[str, Any] | None = None, contour_kw: dict[str, Any] | None = None) -> Self:
        """Draw; see `from_estimator`."""
        self.ax_ = ax = new_axes(ax)
        self.figure_, self.lines_, self.contours_ = ax.figure, [], None
        met = np.concatenate([*self.paths.values(), *([end] for end in self.ends.values()), [self.minimum]])
        low, high = met.min(axis=0), met.max(axis=0)
        reach = np.max((high - low) * self.sizes) or 1.0
        half = 0.65 * np.maximum(high - low, 0.5 * reach / self.sizes)
        frame = [(m - h, m + h) for m, h in zip((low + high) / 2, half, strict=True)]
        draw_objective = self._draw_contours if len(self.labels) == 2 else self._draw_curve
        draw_objective(frame, contour_kw or {})
        for k, (name, path) in enumerate(self.paths.items()):
            style = line_style(k, len(path), line_kw)
            label = {"label": str(name)} if name != "" else {}
            faint = {"alpha": 1.0 if len(path) <= 200 else 0.5}  # what fluctuates for long covers itself
            self.lines_ += ax.plot(*self._places(path), **{"markersize": 3.5, "linewidth": 1.2} | faint | label | style)
            end = self._places(self.ends[name][None])
            ax.plot(*end, color=style["color"], marker="*", markersize=13, markeredgecolor="white", zorder=5)
        named = ax.get_legend_handles_labels()[1]  # by a picture drawn here before
        marks = {name: {"label": name} if name not in named else {} for name in ("minimum", "coef_ at the end")}
        cross = {"color": "black", "markersize": 11, "markeredgewidth": 1.5, "zorder": 4, "linestyle": ""}
        ax.plot(*self._places(self.minimum[None]), "+", **cross, **marks["minimum"])
        start = self._places(next(iter(self.paths.values()))[:1])
        ax.plot(*start, "o", color="black", markersize=7, markerfacecolor="white", zorder=3)
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1] if len(self.labels) == 2 else "objective")
        ax.plot([], [], "*", color="0.4", markersize=11, **marks["coef_ at the end"])
        ax.legend(frameon=True, framealpha=0.9)
        return self

    def _places(self, parameters):
        """Where parameters lie in the picture: over the plane of two, or one on the curve of its objective."""
        return parameters.T if len(self.labels) == 2 else (parameters[:, 0], self.objective(parameters[:, 0]))

    def _draw_curve(self, frame, kw):
        """The objective against one parameter."""
        at = np.linspace(*frame[0], 200)
        self.ax_.plot(at, self.objective(at), **{"color": "0.75", "linewidth": 1.5, "zorder": 0} | kw)

    def _draw_contours(self, frame, kw):
        """The contours of the objective over two parameters, at even ratios of what is above the lowest."""
        grid = np.meshgrid(*(np.linspace(*ends, 120) for ends in frame))
        value = self.objective(*grid)
        least = min(value.min(), float(self.objective(*self.minimum)))
        floor = least - 1e-3 * (value.max() - least)
        lowest, highest = np.maximum(np.percentile(value - floor, [0.5, 100.0]), np.finfo(float).tiny)
        levels = floor + np.geomspace(lowest, highest, 14)
        thin: dict[str, Any] = {"levels": levels, "linewidths": 0.8, "zorder": 0, **kw}
        if "cmap" not in thin:
            thin.setdefault("colors", "0.75")
        self.contours_ = self.ax_.contour(*grid, value, **thin)


def minimum_over(model, table, y, weight, rest, columns):
    """The minimum over the parameters `columns`, the last of which may be the intercept, with all others fixed at `rest`."""
    n_features, others = table.shape[1] - 1, np.setdiff1d(np.arange(table.shape[1]), columns)
    drawn = [column for column in columns if column < n_features]
    given = {name: getattr(model, name) for name in OF_THE_OBJECTIVE}
    exact = MiniBatchLinearRegressor(None, tol=1e-8, fit_intercept=n_features in columns, random_state=0, **given)
    free = table[:, drawn] if drawn else np.zeros((len(table), 1))  # a column of zeros stands for none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the picture shows what they would say
        exact.fit(free, y - table[:, others] @ rest[others], weight)
    found = dict(zip(drawn, exact.coef_, strict=False)) | {n_features: exact.intercept_}
    return np.array([found[column] for column in columns])


def find_column(parameter, n_features, names):
    """The place of a parameter among coefficients and, last, the intercept."""
    if isinstance(parameter, str):
        if parameter == "intercept":
            return n_features
        if parameter in names:
            return names.index(parameter)
        raise ValueError(f"There is no column {parameter!r}; columns are {names or 'without names: give a number'}.")
    if not isinstance(parameter, int | np.integer) or not 0 <= parameter < n_features:
        raise ValueError(f"parameters must be columns from 0 to {n_features - 1} or 'intercept', got {parameter}.")
    return int(parameter)
