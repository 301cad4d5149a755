"""The descent: epochs of mini-batches, from a start to a plateau."""

import math
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import issparse

from skgd._geometry import Geometry, full_batch_step
from skgd._objective import penalty_at
from skgd._quadratic import few_rows
from skgd._reference import AVERAGE, COEF, GRADIENT, VELOCITY
from skgd._step_size import accelerated_steps

try:
    from skgd import _kernel as engine
except ImportError:
    from skgd import _reference as engine  # type: ignore[no-redef]

    warnings.warn(
        "skgd runs without its compiled kernel: many times slower, the same algorithm, other random orders. To have it, "
        "reinstall skgd where a C compiler is available; in skgd's own folder, install with pip install -e . or go elsewhere.",
        RuntimeWarning,
        stacklevel=2,
    )

LONGEST_RUN = 16384  # batches in one compiled call: their steps stay in cache,
UPKEEP = 4  # sparse steps as costly as what they must make up for in all columns, between two times of doing so
LARGEST_RUN = 2**26  # and numbers of X: after a fraction of a second Ctrl-C is heard
SETTLING_STEPS = 10  # on all rows, after a descent with an l1 norm that has no sufficient statistics
GROWTH = 1e12  # a loss this many times that of the start, or of a constant prediction, is a divergence,
STALLED_GROWTH = 10.0  # and so is this many times, if it has ceased to fall


class Divergence(ValueError):
    """The parameters left every bound; args: the epoch, the step size."""


@dataclass
class Problem:
    """What is minimised, and over which rows. Read only."""

    X: np.ndarray
    y: np.ndarray  # (n_targets, n_samples)
    weight: np.ndarray
    rows: np.ndarray  # int32: those to descend on
    batch_size: int
    loss: tuple
    penalty: tuple
    constant: np.ndarray  # (n_targets,): the best constant prediction,
    constant_loss: np.ndarray  # and its loss,
    curvature: np.ndarray  # and the curvature of a parabola as steep as the loss there
    dtype: np.dtype  # of the coefficients
    geometries: list[Geometry] | None = None  # one for each target; they differ in what the penalty adds to the columns
    center: np.ndarray | None = None  # of the columns, at which the intercept is taken while descending
    few: bool = False  # whether the rows stand for others, with the same squared error

    def measured(self, geometries):
        """The same with the geometry that was found for each target."""
        return replace(self, geometries=geometries, center=geometries[0].metric[0, :-1])

    def passes(self):
        """For each target, the pass over mini-batches: a callable (order, steps, parameters, objectives)."""
        loss, penalty = np.array(self.loss), np.array(self.penalty)
        if issparse(self.X):
            descend_rows = engine.descend_sparse
            data = self.X.data, self.X.indices.astype(np.int32, copy=False), self.X.indptr.astype(np.int64, copy=False)
        else:
            descend_rows, data = engine.descend, (self.X,)

        def pass_for(y, metric):
            return lambda order, steps, parameters, objectives: descend_rows(
                *data, y, self.weight, order, self.batch_size, steps, metric, loss, penalty, parameters, objectives
            )

        return [pass_for(y, geometry.metric) for y, geometry in zip(self.y, self.geometries, strict=True)]

    def with_few_rows(self, statistics):
        """The same full batch of squared error, on a table of about as many rows as columns."""
        X, y = few_rows(statistics, self.center)
        geometries = [geometry._replace(metric=geometry.metric.copy()) for geometry in self.geometries]
        for geometry in geometries:
            geometry.metric[0] = 0.0
        rows = np.arange(len(X), dtype=np.int32)
        return replace(self, X=X, y=y, weight=np.ones(len(X)), rows=rows, batch_size=len(X), geometries=geometries, few=True)

    @property
    def numbers_in_a_batch(self):
        """How many numbers of X a batch holds, about."""
        return self.batch_size * (self.X.nnz / self.X.shape[0] if issparse(self.X) else self.X.shape[1]) + 1.0

    def longest_run(self):
        """Batches in one call of a pass: few enough to be interrupted; of sparse rows enough to pay for all columns' upkeep."""
        most = LONGEST_RUN
        if issparse(self.X):
            most = max(most, int(UPKEEP * self.X.shape[1] / self.numbers_in_a_batch))
        return min(most, max(1, int(LARGEST_RUN / self.numbers_in_a_batch)))

    def averaging_interval(self):
        """Steps between two looks at all columns, for an average that does without the others."""
        return math.ceil(UPKEEP * self.X.shape[1] / self.numbers_in_a_batch) if issparse(self.X) else 1


@dataclass
class History:
    """What was seen on the way: an entry an epoch, or a step for the path, with a number for each target."""

    objective: list = field(default_factory=list)
    score: list = field(default_factory=list)
    step_objective: list = field(default_factory=list)
    path: list = field(default_factory=list)  # the parameters at the start and after each step
    converged: bool = False
    interrupted: bool = False  # by one who watches


def shuffle(order, rows, epoch, seed):
    """Write `rows` as this epoch visits them: a function of its number, so that a pause between two epochs changes nothing."""
    order[:] = rows
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
        What the plateau rule watches in place of the objective; the parameters that score best are restored at the end.
    record_steps : bool

    Returns
    -------
    History
    """
    history = History(path=[parameters[:, COEF].copy()] if record_steps else [])
    shuffled = seed is not None and problem.batch_size < len(problem.rows)
    passes, run = problem.passes(), 1 if record_steps else problem.longest_run()
    n_batches = -(-len(problem.rows) // problem.batch_size)
    order = problem.rows.copy() if shuffled else problem.rows
    best, best_score = parameters.copy(), np.full(len(parameters), -np.inf)
    for epoch in epochs:
        watch.begin_epoch()
        # 1. the rows in this epoch's order
        if shuffled:
            shuffle(order, problem.rows, epoch, seed)
        # 2. a step for each mini-batch, and 3. the pass
        first, watched = one_epoch(
            problem, passes, parameters, schedule, n_steps, order, run, history if record_steps else None
        )
        n_steps += n_batches
        # 4. what was minimised
        history.objective.append(watched)
        if epoch == epochs[0]:
            usual = np.maximum(problem.constant_loss, first)
            highest = GROWTH * usual
        if not ((watched <= highest).all() and np.isfinite(parameters[:, :GRADIENT]).all()):
            raise Divergence(len(history.objective), schedule.eta(n_steps))
        if score is not None:
            history.score.append(score(parameters))
            better = history.score[-1] > best_score
            best[better], best_score[better] = parameters[better], history.score[-1][better]
            watched = -history.score[-1]
        # 5. stop
        if plateau.patience < np.inf:
            plateau.observe(watched)
            history.converged = bool(schedule.finished(plateau))
        history.interrupted = bool(watch.end_epoch(history, parameters))
        if history.converged or history.interrupted:
            break
    if history.converged and np.any(history.objective[-1] > STALLED_GROWTH * usual):
        raise Divergence(len(history.objective), schedule.eta(n_steps))
    if score is not None:
        parameters[:] = best
    return history


def one_epoch(problem, passes, parameters, schedule, n_steps, order, run, history):
    """One step for each mini-batch of `order`, `run` of them in a compiled call; the objectives of the first and of the mean.

    With a history, each run is written down.
    """
    batch_size = problem.batch_size
    n_batches = -(-len(order) // batch_size)
    # To follow the penalty of sparse rows' parameters from step to step would cost all columns: one value a run.
    penalty_apart = issparse(problem.X) and any(problem.penalty)
    total = 0.0
    for start in range(0, n_batches, run):
        stop = min(start + run, n_batches)
        rows = order[start * batch_size : stop * batch_size]
        t = n_steps + 1.0 + np.arange(start, stop)
        objectives = np.empty((len(parameters), stop - start))
        for target, run_pass in enumerate(passes):
            offset = penalty_at(problem.penalty, parameters[target, COEF, :-1]) if penalty_apart else 0.0
            steps = schedule.steps(t, target, n_steps, n_steps + n_batches)
            run_pass(rows, steps, parameters[target], objectives[target])
            if penalty_apart:
                objectives[target] += offset
        if start == 0:
            first = objectives[:, 0]
        total = total + objectives.sum(axis=1)
        if history:
            history.step_objective.append(objectives[:, 0])
            history.path.append(parameters[:, COEF].copy())
    return first, total / n_batches


def settle_zeros(problem, parameters, hastily=False):
    """End a descent with an l1 norm on exact zeros: an average of sparse vectors has none, proximal steps on all rows have.

    From the average that the parameters hold, in its place: accelerated steps, some hundred where few rows make them cheap,
    else SETTLING_STEPS; a single one if hastily.
    """
    ridges = problem.penalty.l2 / problem.curvature
    steps_of_curvature_1 = [full_batch_step(*pair) for pair in zip(problem.geometries, ridges, strict=True)]
    eta = steps_of_curvature_1 / problem.curvature
    n_steps, rounds = (50, 10) if problem.few else (SETTLING_STEPS, 1)
    if hastily:
        n_steps = rounds = 1
    passes = replace(problem, batch_size=len(problem.rows)).passes()
    for settled, take_steps, step, unit in zip(parameters, passes, eta, problem.constant_loss, strict=True):
        work, objectives = settled.copy(), np.empty(n_steps)
        work[COEF], work[VELOCITY] = settled[AVERAGE], 0.0
        steps = accelerated_steps(step, n_steps)
        for _ in range(rounds):
            for k in range(n_steps):
                take_steps(problem.rows, steps[k : k + 1], work, objectives[k : k + 1])
            if objectives[0] - objectives[-1] <= 1e-9 * unit:
                break
        settled[AVERAGE] = work[COEF]
