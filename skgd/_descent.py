"""The descent: epochs, from a start to a plateau."""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from skgd._problem import engine
from skgd._reference import AVERAGE, COEF, GRADIENT
from skgd._rows import BUFFER

GROWTH = 1e12  # the descent has diverged if the loss is this many times that of the start or of a constant prediction,
STALLED_GROWTH = 10.0  # or only this many times, if the loss has stopped falling
DISK_BLOCK = 2**13  # numbers of X that are read from disk at a time: 64 kilobytes


class Divergence(ValueError):
    """The parameters left every bound; args: the epoch, the step size."""


@dataclass
class History:
    """What was seen on the way: an entry an epoch, or a step for the path, with a number for each target."""

    objective: list = field(default_factory=list)
    score: list = field(default_factory=list)
    step_objective: list = field(default_factory=list)
    path: list = field(default_factory=list)  # the parameters at the start and after each step, if they are recorded
    converged: bool = False
    interrupted: bool = False  # by one who watches

    def note_step(self, objective, parameters):
        """Record the objective before a step and the parameters after it, if the start was recorded."""
        if self.path:
            self.step_objective.append(objective)
            self.path.append(parameters[:, COEF].copy())


def descend(epochs, parameters, passes, plateau, watch, fitted, score=None, record_steps=False):
    """Descend, changing `parameters` in place, until the plateau rule or the last epoch.

    Parameters
    ----------
    epochs : range
        The numbers of the epochs to make.
    parameters : ndarray of shape (n_targets, 5, n_features + 1)
        See `_reference`.
    passes : Passes or Readings
        What an epoch is.
    plateau : Plateau
    watch : Watch
        Is told of each epoch, and may stop the descent.
    fitted : callable(parameters) -> dict
        The attributes that predict needs, for those who watch.
    score : callable(parameters) -> ndarray of shape (n_targets,), optional
        What the plateau rule watches in place of the objective.
    record_steps : bool

    Returns
    -------
    History
    """
    history = History(path=[parameters[:, COEF].copy()] if record_steps else [])
    for epoch in epochs:
        watch.begin_epoch()
        # 1. to 3. the rows in this epoch's order, and a step for each mini-batch
        monitored = passes.make(epoch, parameters, history)
        # 4. what was minimised
        history.objective.append(monitored)
        if score is not None:
            history.score.append(score(parameters))
            monitored = -history.score[-1]
        # 5. stop
        if plateau.patience < np.inf:
            plateau.observe(monitored)
            history.converged = bool(passes.finished(plateau, history))
        history.interrupted = bool(watch.end_epoch(history, partial(fitted, parameters)))
        if history.converged or history.interrupted:
            break
    return history


class Passes:
    """Epochs of mini-batches: all rows once, in a random order, a step for each batch.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    n_steps : int
        Steps made before.
    seed : int or None
        Of the shuffling; None visits the rows as they stand.
    """

    def __init__(self, problem, schedule, n_steps, seed):
        self.n_batches = problem.n_batches
        self.problem, self.schedule, self.n_steps, self.seed = problem, schedule, n_steps, seed
        self.is_shuffled = seed is not None and not problem.is_full_batch and problem.rows.is_in_memory
        self.order = problem.rows.numbers.copy() if self.is_shuffled else problem.rows.numbers
        self.run = problem.longest_run(schedule)
        self.scale = np.maximum(problem.constant_loss, problem.unit)

    memory = None  # they need none

    @property
    def result(self):
        """The row of the parameters that predict uses."""
        return AVERAGE if self.schedule.average else COEF

    @property
    def factor(self):
        """What plateaus have made of the step."""
        return self.schedule.factor

    def length(self, t):
        """The size of step t, of each target."""
        return self.schedule.length(t)

    def end(self, parameters):
        """Where the descent has ended."""
        return parameters[:, self.result].copy()

    def runs(self, epoch, length):
        """What an epoch visits: pairs of a problem and some of its rows in order, enough for `length` batches or fewer.

        The order is a function of the epoch, so that a pause changes nothing.
        """
        problem, rows = self.problem, self.problem.rows
        n_rows = length * problem.batch_size
        if not rows.is_in_memory and not problem.is_full_batch:
            rng = None if self.seed is None else np.random.default_rng([self.seed, epoch])
            parts = (replace(problem, rows=part) for part in rows.shuffled(problem.batch_size, rng))
            return ((p, p.rows.numbers[i : i + n_rows]) for p in parts for i in range(0, len(p.rows), n_rows))
        if self.is_shuffled:
            shuffle(self.order, rows, (self.seed << 32) + epoch)
        return ((problem, self.order[i : i + n_rows]) for i in range(0, len(rows), n_rows))

    def make(self, epoch, parameters, history):
        """Make an epoch; the mean of the objectives before its steps."""
        objective = self.pass_over_rows(epoch, parameters, history)
        self.check(objective, parameters, history)
        return objective

    def pass_over_rows(self, epoch, parameters, history):
        """The same, wherever it leads."""
        n_batches, made, total = self.n_batches, 0, 0.0
        for problem, order in self.runs(epoch, 1 if history.path else self.run):
            n_steps = -(-len(order) // problem.batch_size)
            t = self.n_steps + made + 1.0 + np.arange(n_steps)
            steps = [self.schedule.steps(t, k, self.n_steps, self.n_steps + n_batches) for k in range(len(parameters))]
            objectives = np.empty((len(parameters), n_steps))
            problem.take_steps(order, steps, parameters, objectives)
            if made == 0 and not history.objective:
                self.scale = np.maximum(self.scale, objectives[:, 0])
            total, made = total + objectives.sum(axis=1), made + n_steps
            history.note_step(objectives[:, 0], parameters)
        self.n_steps += n_batches
        return total / n_batches

    def check(self, objective, parameters, history):
        """Raise an error if an epoch has diverged."""
        if not ((objective <= GROWTH * self.scale).all() and np.isfinite(parameters[:, :GRADIENT]).all()):
            raise Divergence(len(history.objective) + 1, self.schedule.eta(self.n_steps))

    def finished(self, plateau, history):
        """Whether the descent is on its plateau and has no shorter step to try."""
        if not self.schedule.finished(plateau):
            return False
        if self.schedule.is_plain and np.any(history.objective[-1] > STALLED_GROWTH * self.scale):
            raise Divergence(len(history.objective), self.schedule.eta(self.n_steps))
        return True


def shuffle(order, rows, seed):
    """Write the numbers of all rows into `order`, shuffled.

    A file is not read row by row: blocks of its rows are shuffled, and then the rows of as many blocks as fit into a buffer.
    """
    n_rows = len(rows)
    if not rows.is_on_disk or n_rows * rows.n_features <= BUFFER:
        order[:] = rows.numbers
        engine.shuffle(order, seed)
        return
    n_buffer, n_block = max(1, BUFFER // rows.n_features), max(1, DISK_BLOCK // rows.n_features)
    starts = np.arange(0, n_rows, n_block, dtype=np.int32)
    engine.shuffle(starts, seed)
    n_placed = 0
    for start in starts.tolist():
        block = rows.numbers[start : start + n_block]
        order[n_placed : n_placed + len(block)] = block
        n_placed += len(block)
    for start in range(0, n_rows, n_buffer):
        engine.shuffle(order[start : start + n_buffer], seed + start)
