"""A call of partial_fit: plain steps on a chunk, or under "auto" the minimum over all rows that a stream has seen."""

from dataclasses import replace

import numpy as np

from skgd._advice import check_chunk
from skgd._constant import constant_loss
from skgd._descent import History
from skgd._fit import Outcome, rested, run_of, start_of
from skgd._metric import Metric
from skgd._objective import SQUARED_ERROR, mean_loss, objective_of
from skgd._plan import measured_for_steps, problem_of_chunk, problem_of_latest
from skgd._quadratic import least_squares_with_zeros
from skgd._reference import AVERAGE
from skgd._renewable import no_worse_than_constants
from skgd._shuffle_test import slopes_of
from skgd._state import State
from skgd._stream_advice import of_few, of_half_life, of_lost, of_order, of_schedule, of_unusual, of_wide, once


def fit_chunk(model, rows, state, go_on, watch):
    """Learn the rows of a chunk; returns the Outcome, and the loss of these rows before they were learned."""
    problem, stream, bounded = problem_of_chunk(model, rows, state)
    if not go_on:
        state = State.start(start_of(model, problem), state.seed)
    told = once(state.told, schedule=of_schedule(model, state))
    # Progressive validation: the loss of the current model on rows that it has not learned; at first, of the best constant.
    with np.errstate(over="ignore", invalid="ignore"):
        loss_before = mean_loss(problem.loss, problem.rows, state.parameters[:, AVERAGE]) if go_on else problem.constant_loss
    if model.learning_rate == "auto":
        told = once(
            told,
            unusual=of_unusual(problem.rows, bounded),
            half_life=of_half_life(model, stream),
            wide=of_wide(model, stream),
        )
        state = with_chunk(model, problem, stream, bounded, replace(state, told=told), loss_before)
        outcome = learn(model, problem, bounded, state, watch, loss_before)
        if not go_on:  # the loss before is that of the best constant, which is no measure of later losses
            outcome = with_level_of_end(outcome, bounded)
    else:
        outcome = take_plain_steps(model, problem, replace(state, told=told), watch)
    return outcome, loss_before


def with_level_of_end(outcome, rows):
    """The Outcome of a first chunk, whose usual loss is that of the model at its end, if that is less than the constant's."""
    stream = outcome.state.stream
    with np.errstate(over="ignore", invalid="ignore"):
        level = np.fmin(stream.level, mean_loss(outcome.problem.loss, rows, outcome.parameters))
    return replace(outcome, state=replace(outcome.state, stream=stream._replace(level=level)))


def outcome_of_pass(problem, state, parameters, length, history):
    """The Outcome of a pass over a chunk."""
    # A fit that max_iter has paused can no longer be resumed.
    state = state.about(()).after(problem, parameters, 1, problem.n_batches)
    return Outcome(problem, state, state.parameters[:, AVERAGE], length, history)


def take_plain_steps(model, problem, state, watch):
    """One pass by a plain schedule. Divergence is judged by the loss of predicting zero, as a new model does."""
    start = constant_loss(problem.loss, problem.rows, np.zeros(len(problem.constant)))
    run = run_of(model, problem, replace(state, largest=np.maximum(state.largest, start)), watch)
    check_chunk(model, problem, run.epochs, run.parameters[:, AVERAGE], run.history)
    state, length = replace(state, largest=run.epochs.largest), run.epochs.length(state.n_steps + run.epochs.n_batches)
    return outcome_of_pass(problem, state, run.parameters, length, run.history)


def learn(model, problem, bounded, state, watch, loss_before):
    """Go to the minimum over all rows seen, if what is kept determines it; otherwise take steps on the chunk.

    With record_steps, steps come before the minimum. With an average other than "auto", steps are what was asked for.
    """
    is_sought = model.average == "auto"
    is_known = is_sought and state.stream.has_enough_rows and is_complete(problem.loss, state.renewable)
    if is_known and not model.record_steps:
        watch.end_epoch(History(objective=[loss_before]), None)
        return outcome_of_pass(problem, *renewed(model, problem, bounded, state, state.for_engine(problem)), 1.0, History())
    measured, stream = measured_for_steps(model, problem, state.stream, bounded)
    state = replace(state, stream=stream)
    run = run_of(model, measured, state, watch)
    state, parameters = replace(state, largest=run.epochs.largest), run.parameters
    length = run.epochs.length(state.n_steps + run.epochs.n_batches)
    if is_known:
        state, parameters = renewed(model, measured, bounded, state, parameters)
    elif is_sought and state.renewable.latest:
        latest = state.renewable.latest.joined()
        of_latest = problem_of_latest(model, latest.rows, state.stream.moments, is_all=False)
        parameters[:, AVERAGE] = no_worse_than_constants(of_latest, parameters[:, AVERAGE])
        state = replace(state, renewable=replace(state.renewable, latest=latest))
    return outcome_of_pass(measured, state, parameters, length, run.history)


def with_chunk(model, problem, stream, bounded, state, loss_before):
    """The state of a stream with the rows of a chunk, before anything is learned from them."""
    renewable = state.renewable.for_objective(objective_of(model))
    n_new = max(len(bounded), stream.n_rows * bounded.total_weight / stream.moments.weight)  # in rows of the mean weight
    if problem.loss == SQUARED_ERROR and stream.has_enough_rows:  # the moments are all it needs
        renewable = replace(renewable, latest=renewable.latest.without_rows())
        renewable = renewable.with_waiting(n_new, loss_before, loss_before if stream.level is None else stream.level)
    elif model.average != "auto":  # steps are what was asked for: no minimum will need the rows
        renewable = replace(renewable, phase="lost", latest=renewable.latest.without_rows())
    elif stream.moments.is_full and renewable.phase != "lost":
        if model.half_life is None:
            state = held_against_order(problem, stream, state)
        renewable = renewable.with_rows(bounded, n_new, loss_before, model.half_life or np.inf)
    stream = stream.with_longest(problem.rows, bounded).with_level(loss_before, len(problem.rows))
    told = once(state.told, lost=of_lost(model, stream, is_complete(problem.loss, renewable)))
    return replace(state, stream=stream, renewable=renewable, told=told)


def held_against_order(problem, stream, state):
    """Compare a chunk with all rows before it, and warn if rows do not come shuffled; returns the new state."""
    is_first = stream.n_rows <= len(problem.rows)
    if is_first or not stream.has_enough_rows:
        return state
    parameters, renewable, earlier = state.parameters[:, AVERAGE], state.renewable, state.stream.moments
    widths = renewable.residuals.widths(parameters.shape[1], stream.n_rows)
    slopes = slopes_of(problem, parameters, stream.moments, np.broadcast_to(widths, len(parameters)))
    metric = problem.geometries[0].metric
    spread = earlier.column_variances + (1.0 - metric.intercept) * earlier.column_means**2
    squares = earlier.weight * np.append(spread * metric.scale, 1.0)
    deciding, has_minimum = np.min(renewable.residuals.deciding), renewable.past is not None
    test, has_failed = state.shuffle_test.after(problem.rows.weights, slopes, squares if has_minimum else None, deciding)
    return replace(state, shuffle_test=test, told=once(state.told, order=of_order(has_failed)))


def is_complete(loss, renewable):
    """Whether what a stream keeps determines the minimum over all rows seen, once there are enough."""
    return loss == SQUARED_ERROR or renewable.phase != "lost"  # of the squared error, the moments are all that is needed


def renewed(model, problem, bounded, state, parameters):
    """The state and the parameters at the minimum over all rows seen, or the same if too few rows are waiting for it."""
    stream, renewable = state.stream, state.renewable
    if not renewable.is_due(len(bounded), stream.n_rows, len(stream.moments.mean)):
        return state, parameters
    if problem.loss == SQUARED_ERROR:
        end = minimum_of_squares(model, problem, stream.moments, parameters[:, AVERAGE])
        renewable = replace(renewable, waiting=0)
    else:
        half_life, renewable = model.half_life or np.inf, replace(renewable, latest=renewable.latest.joined())
        latest = problem_of_latest(model, renewable.latest.rows, stream.moments, is_all=renewable.past is None)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            renewable, end = renewable.renewed(latest, parameters[:, AVERAGE], half_life)
        state = replace(state, told=once(state.told, few=of_few(model, renewable, parameters.shape[-1])))
    return replace(state, renewable=renewable), rested(end, parameters)


def minimum_of_squares(model, problem, moments, start):
    """The minimum of the squared error over all rows seen, from their moments; intercepts are at the problem's origin."""
    penalty = problem.penalty.per_weight(moments.n_rows, moments.weight)
    ridge = penalty.l2 / SQUARED_ERROR.curvature
    metric = Metric.of_rows(problem.rows, moments, ridge, model.fit_intercept)
    if penalty.makes_zeros:
        return least_squares_with_zeros(moments, metric, ridge, penalty, start)
    if not model.fit_intercept:
        return moments.minimum_through_zero(ridge, start[:, :-1])
    return moments.minimum(metric, ridge, start)
