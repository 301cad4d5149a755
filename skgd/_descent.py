"""The descent: epochs, from a start to a plateau."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np

from skgd._problem import engine
from skgd._reading import targets_of
from skgd._reference import AVERAGE, COEF, GRADIENT
from skgd._rows import BUFFER
from skgd._step_size import Schedule
from skgd._stopping import Plateau, promise_of

DIVERGED = 1e12  # times the loss of the start and of a constant prediction: a plain descent ends before numbers overflow
DISK_BLOCK = 2**13  # numbers of X that are read from disk at a time: 64 kilobytes


class Divergence(ValueError):
    """The parameters left every bound; args: the epoch, the step size."""


@dataclass
class History:
    """The record of a descent: an entry for each epoch, or each step for the paths, with a number for each target."""

    objective: list = field(default_factory=list)
    score: list = field(default_factory=list)
    step_objective: list = field(default_factory=list)
    path: list = field(default_factory=list)  # the parameters at the start and after each step, if they are recorded
    converged: bool = False
    interrupted: bool = False  # by a callback

    def note_step(self, objective, parameters):
        """Record the objective before a step and the parameters after it, if the start was recorded."""
        if self.path:
            self.step_objective.append(objective.copy())
            self.path.append(parameters[:, COEF].copy())


def descend(numbers, parameters, epochs, plateau, watch, fitted, score=None, record_steps=False):
    """Descend, changing `parameters` in place, until the plateau rule or the last epoch; the History.

    `numbers` are those of the `epochs`. `watch` is told of each epoch and may stop the descent; `fitted(parameters)` makes
    the attributes that predict needs, for those who watch. `score(parameters, is_done)` is D^2 on validation rows. It tells the
    plateau rule of targets that are to end.
    """
    history = History(path=[parameters[:, COEF].copy()] if record_steps else [])
    for number in numbers:
        watch.begin_epoch()
        was_done = epochs.is_done | plateau.ended
        # 1. to 3. the rows in this epoch's order, a step size and a step for each mini-batch
        monitored = epochs.make(number, parameters, history)
        # 4. what is minimised
        history.objective.append(monitored)
        if score is not None:
            history.score.append(score(parameters, was_done))
        # 5. stop on a plateau
        if plateau.patience < np.inf:
            plateau.observe(monitored)
            history.converged = bool(epochs.finished(plateau))
        history.interrupted = bool(watch.end_epoch(history, partial(fitted, parameters)))
        if history.converged or history.interrupted:
            break
    return history


class Epochs(Protocol):
    """What makes the epochs of a descent: `Passes` of mini-batches, or a `Solver` of the full batch."""

    n_batches: int  # steps in an epoch
    result: int  # the row of the parameters that predict uses
    factor: np.ndarray | float  # by which plateaus have cut the step
    is_done: np.ndarray  # (n_targets,): which targets no longer move
    memory: dict | None  # what a later fit of the same rows goes on from

    def make(self, epoch: int, parameters: np.ndarray, history: History) -> np.ndarray:
        """Make an epoch, changing the parameters in place; the objectives that it saw."""

    def finished(self, plateau: Plateau) -> bool:
        """Whether all targets are done."""

    def length(self, t: float) -> np.ndarray:
        """The size of step t of each target."""

    def end(self, parameters: np.ndarray) -> np.ndarray:
        """Where the descent has ended, of shape (n_targets, n_features + 1)."""

    def excess(self) -> np.ndarray | None:
        """The suboptimality of each target as a share of the reach, if it is known."""


class Solver:
    """The base of the solvers of the full batch under "auto": each epoch moves the targets not yet done.

    ClosedForm is at the minimum after a step. ConjugateGradients, DampedNewton, CoordinateDescent and QuasiNewton estimate
    their suboptimality. By `approach` they also finish what another descent has ended too early. Besides what `Epochs`
    declares, these have

    - `targets`, and `step()`, which moves them and gives the objectives before;
    - `best` and `next`, of shape (n_targets, n_features + 1): the parameters to predict with, and those that it tries next;
    - `value` and `left`, of shape (n_targets,): the objective of `best`, and how far it may lie above the minimum;
    - `remembered`, the names of arrays with an entry for each target, from which a later fit of the same rows goes on.

    They are made of targets of the same rows, starts of shape (n_targets, n_features + 1), the promise, a suboptimality as a
    share of the reach at which a target has arrived, and the `memory` of a descent that has paused at these starts.
    """

    n_batches, result, factor = 1, AVERAGE, 1.0
    remembered: tuple[str, ...] = ()
    most_steps: int  # of `approach`

    @classmethod
    def of(cls, model, problem, state, is_done):
        """The solver of a call of fit."""
        return cls(targets_of(problem), state.for_engine(problem)[:, COEF], model.tol or 0.0, state.memory)

    @classmethod
    def approach(cls, targets, starts, promise):
        """Minimise from starts, or from best constants if these are better, until the promise holds; the ends, their excess."""
        way = cls(targets, starts, promise)
        is_worse = [not value <= target.constant_loss for value, target in zip(way.value, targets, strict=True)]
        if any(is_worse):
            constants = [target.constant_parameters for target in targets]
            way = cls(targets, np.where(np.array(is_worse)[:, None], constants, starts), promise)
        for _ in range(cls.most_steps):
            if way.is_done.all():
                break
            way.step()
        return way.end(None), way.excess()

    @property
    def memory(self):
        """What a later fit goes on with: arrays by their names."""
        return {name: getattr(self, name) for name in self.remembered}

    def go_on(self, memory):
        """Restore the `memory` of a descent that has paused."""
        for name, part in (memory or {}).items():
            setattr(self, name, np.array(part))

    def excess(self):
        of_targets = zip(self.targets, self.left, self.value, strict=True)
        return np.array([target.share_of_reach(left, value) for target, left, value in of_targets])

    def make(self, epoch, parameters, history):
        """Make a step; the objectives before it."""
        objective = self.step()
        if not np.isfinite(objective).all():
            raise Divergence(len(history.objective) + 1, 1.0)
        parameters[:, COEF], parameters[:, AVERAGE] = self.next, self.best
        history.note_step(objective, parameters)
        return objective

    def finished(self, plateau):
        """Whether all targets are as near to their minimum as asked for, or are to end for another reason."""
        return (self.is_done | plateau.ended).all()

    def length(self, t):
        """Step sizes of 1, since a solver finds the length of its own steps."""
        return np.ones(len(self.best))

    def end(self, parameters):
        return self.best.copy()


class Passes:
    """Epochs of mini-batches: all rows once, in a random order, a step for each batch.

    `n_steps` were made before. Without a `seed`, the rows are visited as they stand. Targets that are done no longer move, and
    keep their last `objective`. `largest` has the largest loss of a start or of a constant prediction before. Where the problem
    has normal equations, targets have arrived once these tell that they are within the `promise`, a share of the reach.
    """

    def __init__(self, problem, schedule, n_steps, seed, is_done, objective=None, largest=0.0, promise=0.0):
        self.n_batches = problem.n_batches
        self.problem, self.schedule, self.n_steps, self.seed = problem, schedule, n_steps, seed
        self.is_shuffled = seed is not None and not problem.is_full_batch and problem.rows.is_in_memory
        self.order = problem.rows.numbers.copy() if self.is_shuffled else problem.rows.numbers
        self.most_batches = problem.longest_run(schedule)
        self.largest = np.maximum(problem.constant_loss, largest)
        self.objective = np.zeros(len(is_done)) if objective is None else np.array(objective)
        self.equations, self.has_arrived = problem.normal_equations, np.zeros(len(is_done), dtype=bool)
        if self.equations:
            pairs = zip(targets_of(problem), problem.minimum_value, strict=True)
            self.allowed = promise * np.array([target.reach(value) for target, value in pairs])
        self.leave(is_done)

    def leave(self, is_done):
        """Stop moving the targets that are done."""
        self.is_done, self.moving = is_done, np.flatnonzero(~is_done).astype(np.int32)

    @classmethod
    def of(cls, model, problem, state, is_done):
        """For a call of fit or partial_fit."""
        schedule, seed = Schedule.of(model, problem, state), state.seed if model.shuffle else None
        promise = promise_of(model, problem)
        return cls(problem, schedule, state.n_steps, seed, is_done, state.objective, state.largest, promise)

    memory = None

    @property
    def result(self):
        return AVERAGE if self.schedule.average else COEF

    @property
    def factor(self):
        return self.schedule.factor

    def length(self, t):
        return self.schedule.length(t)

    def end(self, parameters):
        return parameters[:, self.result].copy()

    def excess(self):
        return None

    def runs(self, epoch, length):
        """What an epoch visits: pairs of a problem and some of its rows in order, enough for `length` batches or fewer.

        The order is a function of the epoch, so that a pause changes nothing.
        """
        problem, rows = self.problem, self.problem.rows
        n_rows = length * problem.batch_size
        if not rows.is_in_memory and not problem.is_full_batch:
            rng = None if self.seed is None else np.random.default_rng([self.seed, epoch])
            parts = ((replace(problem, rows=part), order) for part, order in rows.shuffled(problem.batch_size, rng))
            return ((part, order[i : i + n_rows]) for part, order in parts for i in range(0, len(order), n_rows))
        if self.is_shuffled:
            shuffle(self.order, rows, (self.seed << 32) + epoch)
        return ((problem, self.order[i : i + n_rows]) for i in range(0, len(rows), n_rows))

    def make(self, epoch, parameters, history):
        """Make an epoch; the mean of the objectives before its steps."""
        objective = self.pass_over_rows(epoch, parameters, history)
        self.check(objective, parameters, history)
        if self.equations:
            self.has_arrived = self.equations.left(parameters[:, self.result]) <= self.allowed
        return objective

    def pass_over_rows(self, epoch, parameters, history):
        """Make an epoch without a check for divergence; returns the mean of the objectives before its steps."""
        n_batches, moving, made, total = self.n_batches, self.moving, 0, 0.0
        for problem, order in self.runs(epoch, 1 if history.path else self.most_batches):
            n_steps = -(-len(order) // problem.batch_size)
            first = self.n_steps + made + 1.0
            t = np.arange(first, first + n_steps)
            steps = self.schedule.steps(t, moving, self.n_steps, self.n_steps + n_batches)
            objectives = np.empty((len(moving), n_steps))
            problem.take_steps(order, steps, moving, parameters, objectives)
            if first == 1.0:  # the start
                self.largest[moving] = np.maximum(self.largest[moving], objectives[:, 0])
            total, made = total + objectives.sum(axis=1), made + n_steps
            if history.path:
                self.objective[moving] = objectives[:, 0]
                history.note_step(self.objective, parameters)
        self.n_steps += n_batches
        self.objective[moving] = total / n_batches
        return self.objective.copy()

    def check(self, objective, parameters, history):
        """Raise an error if an epoch has diverged; under "auto", where steps are bounded, only if numbers overflow."""
        most = DIVERGED * self.largest if self.schedule.is_plain else np.finfo(np.float64).max
        if not ((objective <= most).all() and np.isfinite(parameters[:, :GRADIENT]).all()):
            raise Divergence(len(history.objective) + 1, float(np.max(self.schedule.length(self.n_steps))))

    def finished(self, plateau):
        """Whether all targets are done: each is, once it has arrived, or is on its plateau and has no shorter step to try."""
        self.schedule.shorten(plateau, self.is_done)
        plateau.arrive(self.has_arrived)
        stalled = plateau.stalled
        if stalled.any():
            self.leave(stalled)
        return self.is_done.all()


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
