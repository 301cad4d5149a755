"""The problem of a call: the objective, the rows and the metric; and mini-batch steps on it by the engine."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skgd._constant import constants_of
from skgd._geometry import Geometry
from skgd._moments import NormalEquations
from skgd._objective import (
    LARGEST,
    LOSSES,
    Loss,
    Penalty,
    make_penalty,
    penalty_at,
    quotient,
    rounding_of,
    with_intercept_moved,
)
from skgd._reading import slopes_over
from skgd._reference import COEF, GRADIENT, update
from skgd._rows import BLOCK, BUFFER, UPKEEP, AllRows, Rows

try:
    from skgd import _kernel as engine  # type: ignore[attr-defined]
except ImportError:
    from skgd import _reference as engine  # type: ignore[no-redef]

    warnings.warn(
        "skgd runs without its compiled kernel: many times slower, the same algorithm, other random orders. To have it, "
        "reinstall skgd, with pip's --no-cache-dir, where a C compiler is available.",
        RuntimeWarning,
        stacklevel=2,
    )

LONGEST_RUN = BLOCK // 16  # batches in one compiled call: their steps, of six numbers each, then fit into the cache


@dataclass(frozen=True)
class Problem:
    """The objective, the rows, and the metric in which each target descends."""

    rows: AllRows
    batch_size: int
    loss: Loss
    penalty: Penalty
    constant: np.ndarray  # (n_targets,): the best constant prediction
    constant_loss: np.ndarray  # (n_targets,): the loss of the best constant prediction
    unit: np.ndarray  # (n_targets,): of tolerances: the best constant's loss or, if less, that of its typical residual
    curvature: np.ndarray  # (n_targets,): of the loss, as step sizes assume it: see `curvature_at`
    most_reach: np.ndarray  # (n_targets,): an upper limit of the reach: see `most_reach_of`
    deviation: np.ndarray  # (n_targets,): standard deviation of the targets
    dtype: np.dtype  # of the columns as they were given
    geometries: tuple[Geometry, ...] = ()  # one for each target; they differ in what the penalty adds to the columns
    is_stream: bool = False  # of a chunk of partial_fit: one pass, and no plateau
    normal_equations: NormalEquations | None = None  # of the squared error under "auto", where they are accurate

    @classmethod
    def of(cls, model, rows, moments):
        """The problem of a model on these rows; only the targets' moments are used."""
        check_targets(moments, rows.representatives)
        loss = LOSSES[model.loss](model.epsilon, model.quantile)
        penalty = make_penalty(model.penalty, model.alpha, model.l1_ratio, model.positive)
        batch_size = len(rows) if model.batch_size is None else min(model.batch_size, len(rows))
        known = constants_of(loss, rows, moments, model.fit_intercept)
        return cls(rows, batch_size, loss, penalty, deviation=np.sqrt(moments.target_variance), dtype=rows.dtype, **known)

    @property
    def is_full_batch(self):
        return self.batch_size == len(self.rows)

    @cached_property
    def origin(self):
        """The x, in the user's units, at which the intercept is the prediction while descending."""
        return self.rows.offset + self.geometries[0].metric.center

    def at_origin(self, parameters):
        """Parameters in the user's units with the intercept moved to the origin: how the engine and solvers take them."""
        return with_intercept_moved(parameters, self.origin)

    def published(self, parameters):
        """Parameters in the user's units, with the intercept moved from the origin to x = 0: how predict takes them."""
        return with_intercept_moved(parameters, -self.origin)

    @cached_property
    def constant_parameters(self):
        """The parameters of the best constant predictions, of shape (n_targets, n_features + 1)."""
        return np.column_stack([np.zeros((len(self.constant), self.rows.n_features)), self.constant])

    @cached_property
    def minimum_value(self):
        """The objective at the minimum of each target, by the normal equations."""
        return self.constant_loss - self.normal_equations.left(self.constant_parameters)

    def objectives(self, parameters):
        """The objective of each target at its parameters, by the normal equations."""
        return np.maximum(self.minimum_value + self.normal_equations.left(parameters), 0.0)  # below 0 only by rounding

    def minimum_from(self, parameters):
        """The minimum by the normal equations, from the parameters or, where these are better, the best constants.

        Along directions that no row can tell, it keeps their coefficients. Parameters that are worse than constants may be far
        off, and their rounding errors would remain.
        """
        equations, constants = self.normal_equations, self.constant_parameters
        with np.errstate(over="ignore", invalid="ignore"):
            is_better = equations.left(parameters) <= equations.left(constants)
        return equations.minimum(np.where(is_better[:, None], parameters, constants))

    @cached_property
    def size_of_columns(self):
        """The approximate size of the numbers in each column, as far as the metric tells."""
        metric = self.geometries[0].metric
        return np.abs(self.origin) + quotient(1.0, metric.root)

    @cached_property
    def n_batches(self):
        return -(-len(self.rows) // self.batch_size)

    def on_few_rows(self, moments):
        """An equivalent full batch of two rows more than columns, which has the moments of all rows."""
        X, y = moments.as_rows(self.origin)
        rows = replace(Rows.of(X, y, np.ones(len(X))), offset=self.origin)
        geometries = tuple(geometry.about_zero() for geometry in self.geometries)
        return replace(self, rows=rows, batch_size=len(X), geometries=geometries, unit=self.constant_loss)

    @cached_property
    def engine_arguments(self):
        """The pass, its rows and the objective, as the engine takes them."""
        X, descend, data = self.rows.X, engine.descend, (self.rows.X,)
        if self.rows.is_sparse:
            descend = engine.descend_sparse
            data = X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64, copy=False)
        return descend, data, np.array(self.loss[:4]), np.array(self.penalty)

    def take_steps(self, order, steps, which, parameters, objectives):
        """One step for each mini-batch of `order` and each of some targets; steps and objectives have a row for each target."""
        rows = self.rows
        if not len(which):
            return
        if not rows.is_in_memory or (rows.is_unpacked and self.batch_size * rows.n_features > BLOCK):
            self.take_steps_by_blocks(order, steps, which, parameters, objectives)
            return
        if rows.is_unpacked:
            unpacked = self.unpacked(order)
            unpacked.take_steps(unpacked.rows.numbers, steps, which, parameters, objectives)
            return
        descend, data, loss, penalty = self.engine_arguments
        # On sparse rows, computing the penalty at each step would visit all columns: that at the start of a run stands for all.
        apart = penalty_at(self.penalty, parameters[:, COEF, :-1])[which, None] if rows.is_sparse else 0.0
        metrics = [self.metrics[k] for k in which]
        is_shared = all(metric is metrics[0] for metric in metrics)  # then one engine call serves all targets
        for places in [slice(None)] if is_shared else [slice(k, k + 1) for k in range(len(which))]:
            arrays = rows.y, rows.weight, order, self.batch_size, steps[places], metrics[places][0], loss, penalty
            descend(*data, *arrays, which[places], parameters, objectives[places])
        objectives += apart

    @cached_property
    def metrics(self):
        """The metric of each target, as the engine takes it; targets that share a geometry share the array."""
        packed = {id(geometry): geometry.metric.packed() for geometry in self.geometries}
        return [packed[id(geometry)] for geometry in self.geometries]

    def unpacked(self, which):
        """This problem on some of its sparse rows, unpacked."""
        rows, numbers = self.rows, np.arange(len(which), dtype=np.int32)
        arrays = {"X": rows.take(which), "y": rows.y.T[which].T, "weight": rows.weight[which]}
        return replace(self, rows=replace(rows, **arrays, numbers=numbers))

    def take_steps_by_blocks(self, order, steps, which, parameters, objectives):
        """Steps on batches too large to be held or unpacked at once: each gradient is summed over blocks."""
        for number in range(steps.shape[1]):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            rows = self.rows.only(batch) if self.rows.is_in_memory else self.rows
            center = self.geometries[0].metric.center  # that of all targets
            (sums,) = rows.add_up((slopes_over, which, with_intercept_moved(parameters[which, COEF], -center), self.loss))
            losses, gradients = sums[:, 0] / len(batch), sums[:, 1:] / len(batch)
            gradients[:, :-1] -= gradients[:, -1:] * center
            objectives[:, number] = losses + penalty_at(self.penalty, parameters[which, COEF, :-1])
            parameters[which, GRADIENT] = gradients
            for step, loss, k in zip(steps[:, number], losses, which, strict=True):
                update(step, loss, self.metrics[k], self.penalty, parameters[k])

    @property
    def numbers_in_a_batch(self):
        """How many numbers of X a batch holds, about."""
        return self.batch_size * self.rows.numbers_in_a_row

    def longest_run(self, schedule):
        """Batches in one engine call: few enough for Ctrl-C, and on sparse rows enough to pay for a visit to all columns."""
        if not self.rows.is_sparse:
            most = BLOCK if self.rows.is_unpacked else BUFFER
            return max(1, min(LONGEST_RUN, int(most / self.numbers_in_a_batch)))
        visited, n_columns = self.numbers_in_a_batch, self.rows.n_features
        if schedule.moves_all_columns(self.penalty):
            visited += n_columns
        return max(1, min(max(LONGEST_RUN, int(UPKEEP * n_columns / visited)), int(BUFFER / visited)))

    def averaging_interval(self):
        """Steps between two updates of the average: on sparse rows each update visits all columns."""
        return int(np.ceil(UPKEEP * self.rows.n_features / self.numbers_in_a_batch)) if self.rows.is_sparse else 1


def check_targets(moments, rows):
    """Refuse targets whose squares, and those of coefficients and slopes that go with them, float64 cannot hold."""
    mean, deviation = moments.target_mean, np.sqrt(moments.target_variance)
    if np.isnan(mean).any() or np.isinf(mean).any():
        raise ValueError("y contains NaN or infinity, which assume_finite=True has let through.")
    if not np.all(np.maximum(np.abs(mean), deviation) <= LARGEST):
        raise ValueError(f"y is too large: it must be below {LARGEST:.0e}, about. Divide y by a power of ten.")
    lost = deviation < 1.0 / LARGEST
    if lost.any() and np.any(np.ptp(rows.targets[lost], axis=1) > rounding_of(mean[lost])):
        raise ValueError(f"y varies too little: its deviation must be above {1.0 / LARGEST:.0e}. Multiply y by a power of ten.")
