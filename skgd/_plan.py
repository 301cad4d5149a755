"""What a call sets out to do, as the parameters say: the problem, its geometry, the steps and when to stop."""

from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.metrics import r2_score

from skgd._geometry import (
    HALF_LIFE,
    LEAST_SEEN,
    MOST_CORRELATED,
    UNUSUAL,
    Geometry,
    Stream,
    bounded,
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
    is_straight,
    loss_and_slope,
    make_penalty,
    secant_curvature,
    typical_size,
)
from skgd._problem import Problem
from skgd._quadratic import Statistics
from skgd._reference import AVERAGE
from skgd._step_size import DECAY, FEW_STEPS, SAFE_CAP, SCHEDULES, Schedule, optimal_offset
from skgd._stopping import Plateau

ROUNDING = 1e-12  # a residual of this share of the best constant prediction is none
CEILING = 1000.0  # times the usual loss: rows of a stream with a larger one are outliers, and move the parameters less
FORGETTING = 100  # rows after which a stream's usual loss is half that of rows met since


def make_problem(model, rows):
    """All that the descent needs to know and does not change, but for its geometry."""
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio)
    batch_size = len(rows) if model.batch_size is None else min(model.batch_size, len(rows))
    constant = best_constant(loss, rows) if model.fit_intercept else np.zeros(len(rows.y))
    with np.errstate(over="ignore", invalid="ignore"):
        loss_of_constant = constant_loss(loss, rows, constant)
    if not np.isfinite(loss_of_constant).all():
        raise ValueError("y is too large: its squared error exceeds the range of float64. Divide y by a power of ten.")
    curvature, typical_loss = curvature_at(loss, rows, constant)
    floor = loss_and_slope(loss, ROUNDING * constant)[0]
    unit = np.maximum(np.minimum(loss_of_constant, typical_loss), floor)
    return Problem(rows, batch_size, loss, penalty, constant, loss_of_constant, unit, curvature)


def measured(model, problem):
    """The problem with the geometry of all its rows, and what a stream that goes on from here knows of them.

    Squared error on the full batch is put on few rows that serve as well.
    """
    rows, n_features = problem.rows, problem.rows.n_features
    separable = problem.penalty.l1 > 0.0
    # Statistics cost n_features passes over the rows and save one in each epoch; "auto" also learns the curvature.
    worthwhile = model.learning_rate == "auto" or n_features <= model.max_iter
    is_countable = (
        problem.batch_size == len(rows)
        and problem.loss == SQUARED_ERROR
        and worthwhile
        and not rows.is_wide
        and n_features + len(rows.y) < len(rows)
    )
    statistics = Statistics(rows) if is_countable else None
    if model.learning_rate != "auto":
        geometries = (Geometry(plain_metric(n_features, model.fit_intercept), 1.0, None),) * len(rows.y)
    elif is_countable:
        geometries = for_each_ridge(
            lambda ridge: full_batch_geometry(statistics, rows, ridge, model.fit_intercept, separable), problem
        )
    else:
        stream = Stream.empty(n_features).with_moments_of(rows)
        if rows.is_sparse and model.fit_intercept:
            rows = rows.with_far_columns_centred(stream.mean, stream.variance)
            problem = replace(problem, rows=rows)
        geometries = for_each_ridge(
            lambda ridge: mini_batch_geometry(rows, stream, problem.batch_size, ridge, model.fit_intercept, separable), problem
        )
    problem = replace(problem, geometries=geometries)
    return (problem.with_few_rows(statistics) if is_countable else problem), geometries[0].stream


def measured_stream(model, problem, state):
    """The problem with the geometry of the rows seen so far, these included, which the state takes note of."""
    rows, n_features = problem.rows, problem.rows.n_features
    if model.learning_rate != "auto":
        geometry = Geometry(plain_metric(n_features, model.fit_intercept), 1.0, None)
        return replace(problem, geometries=(geometry,) * len(rows.y))
    stream = (
        Stream(*state.stream) if state.stream else Stream.empty(n_features, n_features <= MOST_CORRELATED and not rows.is_wide)
    )
    if is_straight(problem.loss):  # far from the minimum the loss is as steep as the residuals met so far say
        state.steepness = steepness(problem, state, stream.n_samples)
        problem = replace(problem, curvature=secant_curvature(problem.loss, *state.steepness))
    counted = bounded(rows, stream)
    stream = stream.with_moments_of(counted)
    if rows.is_sparse and model.fit_intercept:
        rows = rows.with_far_columns_centred(stream.mean, stream.variance)
        counted, problem = rows, replace(problem, rows=rows)
    geometries = for_each_ridge(
        lambda ridge: stream_geometry(stream, rows, counted, problem.batch_size, ridge, model.fit_intercept), problem
    )
    state.stream = tuple(geometries[0].stream)
    return replace(problem, geometries=geometries)


def steepness(problem, state, n_seen):
    """Fading sums over a stream's rows, of the slopes of the loss and of the typical residuals."""
    which, weight = problem.rows.sample()
    parameters = state.parameters[:, AVERAGE]
    residual = (problem.rows.take(which) @ parameters[:, :-1].T).T + parameters[:, -1:] - problem.rows.y[:, which]
    total = problem.rows.total_weight
    slope = total * (np.abs(loss_and_slope(problem.loss, residual)[1]) @ weight) / weight.sum()
    size = total * typical_size(residual, weight)
    if n_seen >= LEAST_SEEN:  # no chunk makes residuals seem many times what they were
        size = np.where(np.greater(state.steepness[1], 0.0), np.minimum(size, UNUSUAL * state.steepness[1]), size)
    fading = 0.5 ** (len(problem.rows) / HALF_LIFE)
    return tuple(fading * old + new for old, new in zip(state.steepness, (slope, size), strict=True))


def note_level(state, loss, n_rows):
    """Take note of the mean loss of a chunk; once a stream has a usual loss, believe no more than a factor at a time."""
    n_seen = state.stream[0]
    if state.level is None or n_seen <= FORGETTING:
        believed = n_rows / n_seen
    else:
        believed, loss = 1.0 - 0.5 ** (n_rows / FORGETTING), np.minimum(loss, UNUSUAL * state.level)
    state.level = believed * loss + ((1.0 - believed) * state.level if state.level is not None else 0.0)


def for_each_ridge(find, problem):
    """The geometry of each target: what the l2 penalty adds to a column depends on how curved the target's loss is."""
    ridges = problem.penalty.l2 / problem.curvature
    found = {ridge: find(ridge) for ridge in np.unique(ridges)}
    return tuple(found[ridge] for ridge in ridges)


def make_schedule(model, problem, state, in_fit):
    """The steps to make and their average, and when the plateau rule has waited long enough."""
    n_targets, n_rows = len(problem.unit), len(problem.rows)
    tolerance = problem.unit * (model.tol or 0.0) if not model.early_stopping else np.full(n_targets, model.tol or 0.0)
    patience = model.n_iter_no_change if in_fit and model.tol is not None else np.inf
    momentum = {"momentum": model.momentum, "nesterov": model.nesterovs_momentum}
    share = problem.batch_size / n_rows  # of an epoch that is a step
    carried = max(1.0, share / (1.0 - model.momentum))  # epochs over which momentum carries on, uphill too
    if model.learning_rate == "auto":
        # A quadratic on the full batch is followed without noise; other steps leave some, which shorter steps make less.
        noisy = not in_fit or problem.batch_size < n_rows or model.loss != "squared_error"
        epoch = max(1.0, FEW_STEPS * share) if noisy else 1.0
        schedule = Schedule(
            partial(SCHEDULES["constant"], eta0=1.0 - model.momentum),
            model.average if noisy or model.average != "auto" else 0,
            np.array([geometry.step for geometry in problem.geometries]) / problem.curvature,
            state.factor if in_fit else np.ones(n_targets),
            # A single row is never overshot by 1 / L(1); batches may be, since their L(b) is an expectation.
            cap=np.inf if in_fit and problem.batch_size == 1 and problem.loss == SQUARED_ERROR else SAFE_CAP,
            ceiling=None if in_fit or state.level is None or state.stream[0] - n_rows <= FORGETTING else CEILING * state.level,
            decay=DECAY ** (1.0 / epoch) if noisy else 1.0,
            last_share=1.0 - (-n_rows % problem.batch_size) / problem.batch_size,
            every=problem.averaging_interval() if model.average == "auto" else 1,
            **momentum,
        )
        return schedule, Plateau(tolerance, patience * max(epoch, carried), *state.plateau)
    # "optimal" begins where SGDRegressor's does, whose alpha is half of ours for a loss that it halves.
    offset = optimal_offset(model.alpha / (2.0 if model.loss in HALVED else 1.0)) if model.learning_rate == "optimal" else 0.0
    eta = partial(SCHEDULES[model.learning_rate], eta0=model.eta0, power_t=model.power_t, alpha=model.alpha, offset=offset)
    average = 0 if model.average == "auto" else model.average
    schedule = Schedule(eta, average, np.ones(n_targets), state.factor, adaptive=model.learning_rate == "adaptive", **momentum)
    return schedule, Plateau(tolerance, patience * carried, *state.plateau)


def hold_out(model, rows, seed):
    """The rows to descend on, and R^2 on the others as a function of parameters whose intercept is taken at a center."""
    n_held_out = max(2, int(np.ceil(model.validation_fraction * len(rows))))
    if len(rows) <= n_held_out:
        raise ValueError(
            f"early_stopping=True with validation_fraction={model.validation_fraction} would hold out {n_held_out} rows, "
            f"but n_samples={len(rows)} have a weight. Give more rows, lower validation_fraction, or set "
            f"early_stopping=False."
        )
    numbers = np.random.default_rng(seed).permutation(rows.numbers)
    numbers[:n_held_out].sort()
    numbers[n_held_out:].sort()
    held_out = rows.only(numbers[:n_held_out])
    y, weight = held_out.y[:, held_out.numbers], held_out.weight[held_out.numbers]

    def score(parameters, center):
        prediction = np.empty_like(y)
        for place, which in held_out.blocks():
            at_zero = parameters[:, -1] - parameters[:, :-1] @ center
            prediction[:, place] = (held_out.take(which) @ parameters[:, :-1].T + at_zero).T
        return r2_score(y.T, prediction.T, sample_weight=weight, multioutput="raw_values")

    return rows.only(numbers[n_held_out:]), score


def plain_safe_step(model, problem):
    """The largest step that is safe for a plain schedule, about."""
    rows = (problem.whole or problem).rows
    metric = plain_metric(rows.n_features, model.fit_intercept)
    return safe_step(rows, min(problem.batch_size, len(rows)) if problem.whole is None else len(rows), metric) / np.max(
        problem.curvature
    )
