"""A call of fit: plan, descend, end, and the state from which a later call goes on."""

from dataclasses import dataclass, replace
from functools import reduce
from zlib import crc32

import numpy as np
from scipy.sparse import issparse

from skgd._advice import check_end, of_divergence
from skgd._descent import Divergence, Epochs, History, descend
from skgd._finish import excess_at_least, finish, with_exact_zeros
from skgd._geometry import LEAST_SAMPLE
from skgd._objective import SQUARED_ERROR, mean_loss, objective_of, penalty_at
from skgd._plan import problem_of_fit, with_standard_metric
from skgd._problem import Problem
from skgd._reading import objectives_at
from skgd._reference import AVERAGE, COEF, VELOCITY
from skgd._renewable import Renewable
from skgd._shuffle_test import ShuffleTest
from skgd._state import State
from skgd._step_size import plateau_of
from skgd._stopping import Plateau, Validation, promise_of
from skgd._stream import Stream
from skgd._validation import check_sign, check_start

NOT_OF_THE_DESCENT = {"client", "max_iter", "random_state", "record_steps", "verbose", "warm_start"}


@dataclass(frozen=True)
class Outcome:
    """What a call of fit or partial_fit has come to."""

    problem: Problem
    state: State
    parameters: np.ndarray  # (n_targets, n_features + 1): what predict uses; the intercept is the prediction at x = 0
    length: np.ndarray | float  # of the last step
    history: History
    excess: np.ndarray | float = 0.0  # (n_targets,): the suboptimality as a share of the reach, where known; plain: at least
    value: np.ndarray | None = None  # (n_targets,): the objective at the end, where it was looked at
    validation: Validation | None = None  # the rows that early stopping watched


@dataclass(frozen=True)
class Run:
    """A descent that has ended."""

    epochs: Epochs
    plateau: Plateau
    history: History
    parameters: np.ndarray  # (n_targets, 4, n_features + 1)

    @property
    def is_on_plateau(self):
        """Which targets have come to a plateau; others were ended by a score, by max_iter, or by a callback."""
        return (self.epochs.is_done | self.history.converged) & ~self.plateau.ended


def fit_rows(model, rows, state, go_on, watch, held_out=None, start=(None, None)):
    """Descend on rows of mean weight 1 from the state, or anew from the start given; watch rows that are held out."""
    problem, moments = problem_of_fit(model, rows)
    if not go_on:
        state = State.start(start_of(model, problem, *start), state.seed, state.mean_weight)
    state = state.about(subject_of(model, moments, rows, held_out))
    best = state.best or {"parameters": state.parameters[:, AVERAGE]}
    validation = held_out and Validation(held_out, problem.loss, model.tol or 0.0, **best)
    run = run_of(model, problem, state, watch, validation)
    end, excess = end_of(model, problem, run, validation)
    value = value_at(model, problem, run, state, end)
    epochs, history, is_auto = run.epochs, run.history, model.learning_rate == "auto"
    stream = stream_after(problem, rows, moments, end) if is_auto else Stream()
    state = replace(
        state.after(problem, parameters_after(model, run, end), len(history.objective), epochs.n_batches),
        stream=stream,
        renewable=renewable_after(model, problem, stream, end, history),
        shuffle_test=ShuffleTest(),
        told=(),
        factor=epochs.factor,
        largest=problem.constant_loss if is_auto else epochs.largest,
        plateau={} if history.converged else run.plateau.state,
        objective=history.objective[-1],
        memory=None if history.converged else epochs.memory,
        best=validation.state if validation else None,
    )
    length = epochs.length(max(state.n_steps, 1.0))
    return Outcome(problem, state, problem.published(end), length, history, excess, value, validation)


def subject_of(model, moments, rows, held_out):
    """What identifies a fit: its parameters, and checksums of its rows. A fit of the same goes on where one has paused."""
    values = [getattr(model, name) for name in sorted(set(model._parameter_constraints) - NOT_OF_THE_DESCENT)]
    known = [moments.mean, moments.variances, moments.products]
    if held_out:
        watched = held_out.moments(False)
        known += [watched.mean, watched.variances]
    sums = (crc32(part.tobytes()) for part in known if part is not None)
    return (*values, moments.n_rows, *sums, checksum_of_sample(rows), held_out and checksum_of_sample(held_out))


def checksum_of_sample(rows):
    """A checksum of at most LEAST_SAMPLE of the rows, whose columns moments may not have read."""
    sample = rows.sampled
    some = sample.only(sample.numbers[:: 1 + len(sample) // LEAST_SAMPLE])
    X = some.X[some.numbers]
    parts = *((X.data, X.indices, X.indptr) if issparse(X) else (X,)), some.targets, some.weights
    return reduce(lambda checksum, part: crc32(part.tobytes(), checksum), parts, len(rows))


def start_of(model, problem, coef_init=None, intercept_init=None):
    """Zero, or what the user gives; under "auto", the prediction at the origin starts at the best constant."""
    n_targets, n_features, is_single = len(problem.constant), problem.rows.n_features, model._single_target
    start = np.zeros((n_targets, n_features + 1))
    if coef_init is not None:
        start[:, :-1] = check_start("coef_init", coef_init, (n_targets, n_features), is_single)
        check_sign(model, "coef_init", start[:, :-1])
    if intercept_init is not None:
        if not model.fit_intercept:
            raise ValueError("intercept_init is given, but fit_intercept=False fixes the intercept at 0. Leave one out.")
        start[:, -1] = check_start("intercept_init", intercept_init, (n_targets,), is_single)
    elif model.learning_rate == "auto":
        start[:, -1] = problem.constant - start[:, :-1] @ problem.origin
    return start


def run_of(model, problem, state, watch, validation=None):
    """Descend from the state: the epochs of a fit, or one pass over a chunk of a stream."""
    parameters, plateau = state.for_engine(problem), plateau_of(model, problem, state)
    if validation:
        plateau.ended = validation.waited >= plateau.patience
    epochs = model._epochs(problem, state, plateau.stalled)

    def given(parameters):
        """What predict uses, in the user's units."""
        return problem.published(parameters[:, epochs.result])

    def fitted(parameters):
        return model._fitted(given(parameters), problem)

    def score(parameters, is_done):
        found = validation.observe(given(parameters), is_done)
        plateau.ended = validation.waited >= plateau.patience
        return found

    numbers = range(state.n_passes, state.n_passes + (1 if problem.is_stream else model.max_iter))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            history = descend(numbers, parameters, epochs, plateau, watch, fitted, validation and score, model.record_steps)
    except Divergence as divergence:
        raise of_divergence(model, problem, *divergence.args) from None
    parameters[:, AVERAGE] = parameters[:, epochs.result]
    return Run(epochs, plateau, history, parameters)


def end_of(model, problem, run, validation):
    """Where each target ends, as it would alone, and its suboptimality as a share of the reach, or a lower bound of it."""
    is_on_plateau, is_auto = run.is_on_plateau, model.learning_rate == "auto"
    end, excess = run.epochs.end(run.parameters), run.epochs.excess()
    if excess is not None:
        excess = np.where(is_on_plateau, excess, 0.0)
    elif not is_auto:
        excess = np.zeros(len(end))
        if is_on_plateau.any():
            standard = with_standard_metric(model, problem, problem.rows.moments(False))
            excess = np.where(is_on_plateau, excess_at_least(standard, standard.at_origin(problem.published(end))), 0.0)
    else:
        # On wide rows a solver may take far longer than the descent did.
        competes = run.plateau.ended & (not problem.rows.is_wide)
        end, excess = finish(problem, end, is_on_plateau | competes, promise_of(model, problem))
    if validation:
        return better_of(problem, validation, run.plateau.ended, end, excess, is_auto)
    return end, excess


def better_of(problem, validation, has_ended, end, excess, is_auto):
    """The end of a descent or the parameters that score best on the rows held out, for each target.

    Where scores have ended the descent, its noise may be the reason. So the end competes: under "auto", up to MOST_COLUMNS
    columns, it is the minimum.
    """
    best = problem.at_origin(validation.best)
    if is_auto:  # only the zeros of that step are taken over
        best[:, :-1][with_exact_zeros(problem, best)[:, :-1] == 0.0] = 0.0
    score, is_worse = validation.compare(problem.published(end))
    is_worse = np.where(has_ended, score <= validation.score, is_worse)
    return np.where(is_worse[:, None], best, end), np.where(is_worse, 0.0, excess)


def value_at(model, problem, run, state, end):
    """The objective at the end, where tol=None or a plain schedule promises nothing; an error after a divergence."""
    if model.learning_rate != "auto":
        return check_end(model, problem, run.epochs, state.for_engine(problem)[:, COEF], end, run.history)
    return objectives_at(problem, end) if model.tol is None else None


def parameters_after(model, run, end):
    """Where a later call goes on: under "auto" from the end, once all targets are on a plateau; else where the descent is."""
    rests = model.learning_rate == "auto" and run.is_on_plateau.all()
    return rested(end, run.parameters) if rests else run.parameters


def rested(end, parameters):
    """The engine's parameters at rest at an end: coefficients and averages are there, and velocities zero."""
    at_rest = parameters.copy()
    at_rest[:, [COEF, AVERAGE]], at_rest[:, VELOCITY] = end[:, None], 0.0
    return at_rest


def stream_after(problem, rows, moments, end):
    """The Stream that goes on from a fit of these rows, with the loss at its end as the usual one."""
    if problem.normal_equations:
        losses = np.maximum(problem.objectives(end) - penalty_at(problem.penalty, end[:, :-1]), 0.0)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            losses = mean_loss(problem.loss, problem.rows.sampled, problem.published(end))
    return Stream.after_fit(rows, moments, problem.geometries[0].eigenvalue, losses)


def renewable_after(model, problem, stream, end, history):
    """What a stream that goes on from a fit knows of its loss."""
    if model.learning_rate != "auto":
        return Renewable()
    is_at_minimum = history.converged and not model.early_stopping
    if is_at_minimum and problem.loss != SQUARED_ERROR and stream.moments.is_full:
        return Renewable.after_fit(problem, end, objective_of(model))
    return Renewable("lost", objective=objective_of(model))
