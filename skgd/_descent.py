"""The descent: epochs of mini-batches, from a start to a plateau."""

from dataclasses import dataclass, field

import numpy as np

from skgd._problem import engine
from skgd._reference import COEF, GRADIENT

GROWTH = 1e12  # a loss this many times that of the start, or of a constant prediction, is a divergence,
STALLED_GROWTH = 10.0  # and so is this many times, if it has ceased to fall


class Divergence(ValueError):
    """The parameters left every bound; args: the epoch, the step size."""


@dataclass
class History:
    """What was seen on the way: an entry an epoch, or a step for the path, with a number for each target."""

    objective: list = field(default_factory=list)
    score: list = field(default_factory=list)
    step_objective: list = field(default_factory=list)
    path: list = field(default_factory=list)  # the parameters at the start and after each step
    converged: bool = False
    interrupted: bool = False  # by one who watches


def shuffle(order, numbers, epoch, seed):
    """Write the rows' numbers as this epoch visits them: a function of the epoch, so that a pause changes nothing."""
    order[:] = numbers
    engine.shuffle(order, (seed << 32) + epoch)


def descend(problem, parameters, schedule, n_steps, epochs, seed, plateau, watch, score=None, record_steps=False):
    """Descend, changing `parameters` in place, until the plateau rule or the last epoch.

    Parameters
    ----------
    problem : Problem
    parameters : ndarray of shape (n_targets, 5, n_features + 1)
        See `_reference`.
    schedule : Schedule
    n_steps : int
        Steps made before the first epoch.
    epochs : range
        The numbers of the epochs to make.
    seed : int or None
        Of the shuffling; None visits the rows as they stand.
    plateau : Plateau
    watch : Watch
        Is told of each epoch, and may stop the descent.
    score : callable(parameters) -> ndarray of shape (n_targets,), optional
        What the plateau rule watches in place of the objective.
    record_steps : bool

    Returns
    -------
    History
    """
    history = History(path=[parameters[:, COEF].copy()] if record_steps else [])
    shuffled = seed is not None and problem.batch_size < len(problem.rows)
    order, run = problem.rows.numbers.copy() if shuffled else problem.rows.numbers, problem.longest_run(schedule)
    for epoch in epochs:
        watch.begin_epoch()
        # 1. the rows in this epoch's order
        if shuffled:
            shuffle(order, problem.rows.numbers, epoch, seed)
        # 2. a step for each mini-batch, and 3. the pass
        first, watched = one_epoch(problem, parameters, schedule, n_steps, order, run, history if record_steps else None)
        n_steps += problem.n_batches
        # 4. what was minimised
        history.objective.append(watched)
        if epoch == epochs[0]:
            usual = np.maximum(problem.constant_loss, np.maximum(problem.unit, first))
        if not ((watched <= GROWTH * usual).all() and np.isfinite(parameters[:, :GRADIENT]).all()):
            raise Divergence(len(history.objective), schedule.eta(n_steps))
        if score is not None:
            history.score.append(score(parameters))
            watched = -history.score[-1]
        # 5. stop
        if plateau.patience < np.inf:
            plateau.observe(watched)
            history.converged = bool(schedule.finished(plateau))
        history.interrupted = bool(watch.end_epoch(history, parameters))
        if history.converged or history.interrupted:
            break
    is_plain = problem.geometries[0].stream is None
    if is_plain and history.converged and np.any(history.objective[-1] > STALLED_GROWTH * usual):
        raise Divergence(len(history.objective), schedule.eta(n_steps))
    return history


def one_epoch(problem, parameters, schedule, n_steps, order, run, history):
    """One step for each mini-batch of `order`, `run` of them in a compiled call; the objectives of the first and of the mean.

    With a history, each step is a call and is written down.
    """
    batch_size, n_batches = problem.batch_size, problem.n_batches
    run = run if history is None else 1
    total = 0.0
    for start in range(0, n_batches, run):
        stop = min(start + run, n_batches)
        t = n_steps + 1.0 + np.arange(start, stop)
        steps = [schedule.steps(t, target, n_steps, n_steps + n_batches) for target in range(len(parameters))]
        objectives = np.empty((len(parameters), stop - start))
        problem.take_steps(order[start * batch_size : stop * batch_size], steps, parameters, objectives)
        if start == 0:
            first = objectives[:, 0]
        total = total + objectives.sum(axis=1)
        if history is not None:
            history.step_objective.append(objectives[:, 0])
            history.path.append(parameters[:, COEF].copy())
    return first, total / n_batches
