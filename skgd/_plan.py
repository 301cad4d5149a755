"""What a call sets out to do, as the parameters say: the problem, its geometry, the steps and when to stop."""

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.sparse import issparse

from skgd._descent import Problem
from skgd._geometry import (
    HALF_LIFE,
    MOST_COLUMNS,
    Geometry,
    Stream,
    full_batch_geometry,
    mini_batch_geometry,
    plain_metric,
    safe_step,
    stream_geometry,
)
from skgd._objective import (
    HALVED,
    LOSSES,
    SQUARED_ERROR,
    best_constant,
    constant_loss,
    curvature_at,
    loss_and_slope,
    make_penalty,
    secant_curvature,
)
from skgd._quadratic import Statistics
from skgd._reference import AVERAGE
from skgd._step_size import DECAY, FEW_STEPS, SAFE_CAP, SCHEDULES, Schedule, optimal_offset
from skgd._stopping import Plateau


def make_problem(model, X, y, weight, rows):
    """All that the descent needs to know and does not change, but for its geometry."""
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio)
    batch_size = len(rows) if model.batch_size is None else min(model.batch_size, len(rows))
    constant = best_constant(loss, y, weight) if model.fit_intercept else np.zeros(len(y))
    with np.errstate(over="ignore"):
        loss_of_constant = constant_loss(loss, y, weight, constant)
    if not np.isfinite(loss_of_constant).all():
        raise ValueError("y is too large: its squared error exceeds the range of float64. Divide y by a power of ten.")
    curvature = curvature_at(loss, y, weight, constant)
    return Problem(X, y, weight, rows, batch_size, loss, penalty, constant, loss_of_constant, curvature, X.dtype)


def measured(model, problem, state):
    """The problem with the geometry of all its rows; squared error on the full batch, on few rows that serve as well."""
    n_samples, n_features = len(problem.rows), problem.X.shape[1]
    statistics = None
    # Statistics cost n_features passes over the rows and save one in each epoch; "auto" also learns the curvature.
    worthwhile = MOST_COLUMNS if model.learning_rate == "auto" else model.max_iter
    if problem.batch_size == n_samples and is_countable(problem, worthwhile):
        statistics = Statistics(problem.X, problem.y, problem.weight)
    separable = problem.penalty.l1 > 0.0

    def find(ridge):
        if model.learning_rate != "auto":
            return Geometry(plain_metric(n_features, model.fit_intercept), 1.0, None)
        if statistics is not None:
            return full_batch_geometry(statistics, n_samples, ridge, model.fit_intercept, separable)
        return mini_batch_geometry(problem.X, problem.weight, problem.batch_size, ridge, model.fit_intercept, separable)

    geometries = for_each_ridge(find, problem)
    state.stream = geometries[0].stream and tuple(geometries[0].stream)
    problem = problem.measured(geometries)
    return problem.with_few_rows(statistics) if statistics is not None else problem


def is_countable(problem, most_columns):
    """Whether sufficient statistics say all about the objective, and are smaller than the data."""
    n_features = problem.X.shape[1]
    few = n_features <= most_columns and n_features + len(problem.y) < len(problem.rows)
    return few and problem.loss == SQUARED_ERROR and not issparse(problem.X)


def measured_stream(model, problem, state):
    """The problem with the geometry of the rows seen so far, these included."""
    n_features = problem.X.shape[1]
    if model.learning_rate != "auto":
        return problem.measured([Geometry(plain_metric(n_features, model.fit_intercept), 1.0, None)] * len(problem.y))
    if np.isfinite(problem.loss.cap_above):  # far from the minimum the loss is as steep as the residuals met so far say
        residual = (problem.X @ state.parameters[:, AVERAGE, :-1].T).T + state.parameters[:, AVERAGE, -1:] - problem.y
        met = np.abs(loss_and_slope(problem.loss, residual)[1]) @ problem.weight, np.abs(residual) @ problem.weight
        fading = 0.5 ** (problem.X.shape[0] / HALF_LIFE)
        state.steepness = tuple(fading * old + new for old, new in zip(state.steepness, met, strict=True))
        problem = replace(problem, curvature=secant_curvature(problem.loss, *state.steepness))
    stream = Stream(*state.stream) if state.stream else Stream.empty(n_features)
    geometries = for_each_ridge(
        lambda ridge: stream_geometry(stream, problem.X, problem.weight, problem.batch_size, ridge, model.fit_intercept),
        problem,
    )
    state.stream = tuple(geometries[0].stream)
    return problem.measured(geometries)


def for_each_ridge(find, problem):
    """The geometry of each target: what the l2 penalty adds to a column depends on how curved the target's loss is."""
    ridges = problem.penalty.l2 / problem.curvature
    found = {ridge: find(ridge) for ridge in np.unique(ridges)}
    return [found[ridge] for ridge in ridges]


def make_schedule(model, problem, state, in_fit):
    """The steps to make and their average, and when the plateau rule has waited long enough."""
    tolerance = (
        problem.constant_loss * (model.tol or 0.0) if not model.early_stopping else np.full(len(problem.y), model.tol or 0.0)
    )
    patience = model.n_iter_no_change if in_fit and model.tol is not None else np.inf
    momentum = {"momentum": model.momentum, "nesterov": model.nesterovs_momentum}
    share = problem.batch_size / len(problem.rows)  # of an epoch that is a step
    carried = max(1.0, share / (1.0 - model.momentum))  # epochs over which momentum carries on, uphill too
    if model.learning_rate == "auto":
        # A quadratic on the full batch is followed without noise; other steps leave some, which shorter steps make less.
        noisy = not in_fit or problem.batch_size < len(problem.rows) or model.loss != "squared_error"
        epoch = max(1.0, FEW_STEPS * share) if noisy else 1.0
        schedule = Schedule(
            partial(SCHEDULES["constant"], eta0=1.0 - model.momentum),
            model.average if noisy or model.average != "auto" else 0,
            np.array([geometry.step for geometry in problem.geometries]) / problem.curvature,
            # A single row is never overshot by 1 / L(1); batches may be, since their L(b) is an expectation.
            cap=np.inf if in_fit and problem.batch_size == 1 and problem.loss == SQUARED_ERROR else SAFE_CAP,
            decay=DECAY ** (1.0 / epoch) if noisy and patience < np.inf else 1.0,
            last_share=1.0 - (-len(problem.rows) % problem.batch_size) / problem.batch_size,
            every=problem.averaging_interval() if model.average == "auto" else 1,
            **momentum,
        )
        return schedule, Plateau(tolerance, patience * max(epoch, carried))
    # "optimal" begins where SGDRegressor's does, whose alpha is half of ours for a loss that it halves.
    offset = optimal_offset(model.alpha / (2.0 if model.loss in HALVED else 1.0)) if model.learning_rate == "optimal" else 0.0
    eta = partial(SCHEDULES[model.learning_rate], eta0=model.eta0, power_t=model.power_t, alpha=model.alpha, offset=offset)
    average = 0 if model.average == "auto" else model.average
    schedule = Schedule(eta, average, state.factor, adaptive=model.learning_rate == "adaptive", **momentum)
    return schedule, Plateau(tolerance, patience * carried)


def plain_safe_step(model, problem):
    """The largest step that is safe for a plain schedule, about."""
    metric = plain_metric(problem.X.shape[1], model.fit_intercept)
    return safe_step(problem.X, problem.weight, problem.batch_size, metric) / problem.curvature.max()
