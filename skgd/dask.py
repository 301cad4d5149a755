"""The same regressor on Dask collections: sums over partitions, made where these are."""

from __future__ import annotations

import inspect
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

try:
    import dask
    import dask.array as da
    import pandas as pd
    from dask import delayed
except ImportError as error:
    raise ImportError('skgd.dask needs Dask: pip install "skgd[dask]"') from error

from skgd._callbacks import Watch, with_callbacks
from skgd._chunks import RowsInChunks, Survey, added, check_number_of_columns, checked, joined
from skgd._descent import History, Passes
from skgd._moments import Moments
from skgd._regressor import MiniBatchLinearRegressor
from skgd._rows import Rows
from skgd._sklearn import _fit_context
from skgd._step_size import Schedule
from skgd._validation import check_parameters, check_weighted, unchanged_on_error

FAN_IN = 8  # sums that a task adds up
PARALLEL = 8  # passes that mini-batches make side by side, of which the mean is taken
MOST_PARTS = 64  # into which rows are redistributed for them
COLUMNS = "n_features_in_", "feature_names_in_", "_single_target"
FITTED = "coef_", "intercept_"


class DaskMiniBatchLinearRegressor(MiniBatchLinearRegressor):
    """MiniBatchLinearRegressor for Dask arrays and data frames.

    With batch_size=None and learning_rate="auto", every partition is read a few times, for the squared error once, and only
    sums travel. The result is that of MiniBatchLinearRegressor on the same rows: for the squared error up to rounding, for
    other losses within `tol`. The same partitions give the same bits on any number of workers, even if some are lost.

    With an int, the rows are first redistributed at random and kept in the memory of the cluster. In each epoch, up to 8 passes
    over parts of the rows start from common parameters, in a common metric, and their results are averaged by weight (parallel
    SGD, Zinkevich et al. 2010). The stopping rule is applied to the averages.

    Parameters
    ----------
    batch_size : int or None, default=None
        See MiniBatchLinearRegressor. None takes at most 1000 columns. Sparse partitions of more columns need an int.
    client : dask.distributed.Client, optional
        Where to compute; default the current client or, without one, Dask's current scheduler. It is not pickled.
    **parameters
        Those of MiniBatchLinearRegressor.

    Attributes
    ----------
    coef_, intercept_, n_iter_, loss_curve_, ...
        NumPy arrays, as for MiniBatchLinearRegressor.

    See Also
    --------
    MiniBatchLinearRegressor.fit_chunks : For rows that one machine can read in chunks.

    Notes
    -----
    Every epoch computes the given collections again. Call their ``persist`` first if they fit into the cluster's memory.

    References
    ----------
    M. Zinkevich, M. Weimer, A. Smola and L. Li (2010). Parallelized stochastic gradient descent. NIPS 23.

    Examples
    --------
    >>> import dask.array as da
    >>> from skgd.dask import DaskMiniBatchLinearRegressor
    >>> X = da.random.default_rng(0).standard_normal((10_000, 3), chunks=(1000, 3))
    >>> y = X @ np.array([1.0, 2.0, 3.0])
    >>> model = DaskMiniBatchLinearRegressor().fit(X, y)
    >>> model.coef_.round(6)
    array([1., 2., 3.])
    >>> model.predict(X)  # lazy
    dask.array<predict_rows, shape=(10000,), dtype=float64, chunksize=(1000,), chunktype=numpy.ndarray>
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MiniBatchLinearRegressor._parameter_constraints,
        "client": "no_validation",
    }

    def __init__(self, batch_size: int | None = None, *, client: Any = None, **parameters: Any) -> None:
        super().__init__(batch_size, **parameters)
        self.client = client

    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(
                parameter.replace(default=None) if name == "batch_size" else parameter
                for name, parameter in inspect.signature(MiniBatchLinearRegressor.__init__).parameters.items()
            ),
            inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None),
        ]
    )

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to Dask collections, eagerly.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Chunks may be unknown, unequal or empty, and arrays may be cut along their columns, too.
        y : dask Array, Series or DataFrame of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : dask Array or Series of shape (n_samples,), optional

        Returns
        -------
        DaskMiniBatchLinearRegressor
            The estimator itself.

        Raises
        ------
        TypeError
            If X is no Dask collection.
        ValueError
            If a partition is invalid, which is named by its number from 0. The estimator is then left as it was.
        """
        watch = Watch(self, X=X, y=y, metadata=None if sample_weight is None else {"sample_weight": sample_weight})
        with unchanged_on_error(self):
            check_parameters(self)
            if self.early_stopping:
                raise ValueError("early_stopping=True holds out rows, which is not supported here. Set early_stopping=False.")
            if self.record_steps and self.batch_size is not None:
                raise ValueError("record_steps=True has no order of steps to record where passes are made side by side.")
            go_on = self.warm_start and hasattr(self, "_state")
            partitions = Partitions.of(self, X, y, sample_weight, reset=not go_on)
            rows = DaskRows.surveyed(partitions, self.batch_size)
            self._fit(rows, self._state_before(rows, go_on), go_on, watch)
        return self

    def predict(self, X: Any) -> Any:
        """Predict X w + b, lazily for Dask collections: a frame gives a Series, an Array an Array.

        Several targets give an Array. What is no Dask collection is predicted at once, as by MiniBatchLinearRegressor.
        """
        check_is_fitted(self)
        if not dask.is_dask_collection(X):
            return super().predict(X)
        dtype, n_targets = np.result_type(self.coef_, np.float64), len(np.atleast_2d(self.coef_))
        if hasattr(X, "columns") and self._single_target:
            return X.map_partitions(predict_frame, with_only(self, *COLUMNS, *FITTED), meta=("prediction", dtype))
        X = in_full_rows(X.to_dask_array() if hasattr(X, "columns") else X)
        shape = {"drop_axis": 1} if self._single_target else {"chunks": (X.chunks[0], (n_targets,))}
        meta = np.empty((0,) * (1 if self._single_target else 2), dtype)
        return X.map_blocks(predict_rows, with_only(self, "n_features_in_", *FITTED), dtype=dtype, meta=meta, **shape)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the predictions, in one reduction."""
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        partitions = Partitions.of(self, X, y, sample_weight, reset=False)
        parameters = np.column_stack([np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)]).astype(np.float64)
        moments = partitions.add_up(moments_of_residuals, parameters)
        check_weighted(moments)
        n, variance = moments.n_features, moments.target_variance
        squares = moments.variance + moments.mean[:n] ** 2
        of_constant = np.where(squares > 0.0, 0.0, 1.0)  # of a target that does not vary, as in r2_score
        return float(np.mean(np.where(variance > 0.0, 1.0 - squares / np.where(variance > 0.0, variance, 1.0), of_constant)))

    def to_local(self) -> MiniBatchLinearRegressor:
        """A MiniBatchLinearRegressor that predicts the same and can go on with partial_fit."""
        parameters = {name: value for name, value in self.get_params().items() if name != "client"}
        return with_only(self, *vars(self).keys() - {"client", *parameters}).set_params(**parameters)

    def __getstate__(self):
        return super().__getstate__() | {"client": None}

    def _passes(self, problem, state, in_fit):
        if not isinstance(problem.rows, DaskRows) or problem.is_full_batch:
            return super()._passes(problem, state, in_fit)
        return PassesInParallel(problem, Schedule.of(self, problem, state, in_fit), state.n_steps, state.seed)


class Partitions:
    """Delayed partitions of X, y and weights.

    Parameters
    ----------
    parts : list of Delayed
        Each computes (X, y, sample_weight).
    checker : MiniBatchLinearRegressor
        Knows the columns, which it compares with those of each partition.
    client : dask.distributed.Client or None
    """

    def __init__(self, parts, checker, client):
        self.parts, self.checker, self.client = parts, checker, client

    @classmethod
    def of(cls, model, X, y, sample_weight, reset):
        """Those of collections; with `reset`, the model takes note of their columns."""
        if not dask.is_dask_collection(X):
            raise TypeError(
                f"X must be a Dask array or data frame, got {type(X).__name__}. For data in memory there is "
                f"MiniBatchLinearRegressor."
            )
        parts, example_of_X, example_of_y = aligned(X, y, sample_weight)
        model._check(example_of_X, example_of_y, None, reset)
        return cls(parts, with_only(model, *COLUMNS), model.client)

    def tree(self, function, *arguments):
        """A task that sums function(rows, number, *arguments) over the partitions, in an order that depends on nothing else."""
        arguments = [delayed(argument, pure=False) for argument in arguments]
        tasks = [
            delayed(over_partition, pure=False)(function, self.checker, part, number, *arguments)
            for number, part in enumerate(self.parts)
        ]
        while len(tasks) > 1:
            tasks = [delayed(added_up, pure=False)(tasks[i : i + FAN_IN]) for i in range(0, len(tasks), FAN_IN)]
        return tasks[0]

    def add_up(self, function, *arguments):
        """The sum of function(rows, number, *arguments) over the partitions; None if there are no rows."""
        return computed(self.tree(function, *arguments), self.client)


class DaskRows(RowsInChunks):
    """Rows in partitions."""

    @classmethod
    def surveyed(cls, partitions, batch_size):
        check_number_of_columns(partitions.checker.n_features_in_, batch_size)
        survey = partitions.add_up(Survey.of, batch_size is None)
        check_weighted(survey)
        if batch_size is not None and batch_size >= survey.moments.n_rows:  # the full batch
            survey = partitions.add_up(Survey.of, True)
        return cls(partitions, survey)

    def add_up(self, *requests):
        """See Rows."""
        *sums, n_rows = self.chunks.add_up(sums_over, self.prepared, requests)
        self.check_number(n_rows)
        return sums


class PassesInParallel(Passes):
    """Epochs of several passes side by side, from common parameters; the mean of their ends is taken."""

    def __init__(self, problem, schedule, n_steps, seed):
        super().__init__(problem, schedule, n_steps, seed)
        partitions = problem.rows.chunks
        self.parts, self.client = redistributed(partitions, problem.rows.prepared, seed), partitions.client
        self.n_batches = -(-self.n_batches // min(len(self.parts), PARALLEL))

    def make(self, epoch, parameters, history):
        """Make an epoch; the mean of the objectives before its steps."""
        problem, n_chains = replace(self.problem, rows=None), min(len(self.parts), PARALLEL)
        start = delayed((parameters, self.n_steps, 0.0, 0), pure=False)
        ends = []
        for chain in range(n_chains):
            end = start
            for number in range(chain, len(self.parts), n_chains):
                end = delayed(pass_over, pure=False)(self.parts[number], problem, self.schedule, end, epoch, self.seed + number)
            ends.append(end)
        mean, objective = computed(delayed(mean_of, pure=False)(ends), self.client)
        parameters[:] = mean
        self.n_steps += self.n_batches
        return objective


def pass_over(rows, problem, schedule, so_far, epoch, seed):
    """A pass over a part of the rows that goes on from another: parameters, steps, sum of the objectives and rows so far."""
    if rows is None:
        return so_far
    parameters, n_steps, total, n_rows = so_far
    problem = replace(problem, rows=rows, batch_size=min(problem.batch_size, len(rows)))
    if not schedule.is_plain:
        schedule = replace(schedule, last_share=1.0 - (-len(rows) % problem.batch_size) / problem.batch_size)
    passes, parameters = Passes(problem, schedule, n_steps, seed), parameters.copy()
    objective = passes.make(epoch, parameters, History())
    return parameters, passes.n_steps, total + len(rows) * objective, n_rows + len(rows)


def mean_of(ends):
    """Of what passes have come to, by the number of their rows."""
    n_rows = sum(end[3] for end in ends)
    return sum(end[3] / n_rows * end[0] for end in ends), sum(end[2] for end in ends) / n_rows


def aligned(X, y, sample_weight):
    """Delayed (X, y, sample_weight) of each partition, and a row of X and y as examples."""
    others = [each for each in (y, sample_weight) if each is not None]
    n_targets = None if y.ndim == 1 else len(y.columns) if hasattr(y, "columns") else y.shape[1]
    example_of_y = np.zeros(1 if n_targets is None else (1, n_targets))
    if hasattr(X, "columns") and all(hasattr(each, "npartitions") and hasattr(each, "divisions") for each in others):
        # Dask may read some columns of a file in other partitions than all of it, so the frame is put together and then cut.
        targets = {
            f"__target {k}": part for k, part in enumerate([y] if n_targets is None else [y[name] for name in y.columns])
        }
        frame = X.assign(**targets, **({} if sample_weight is None else {"__weight": sample_weight}))
        parts = [
            delayed(cut_frame, pure=False)(part, list(X.columns), n_targets, sample_weight is not None)
            for part in frame.to_delayed()
        ]
        return parts, pd.DataFrame(np.zeros((1, len(X.columns))), columns=X.columns), example_of_y
    X, *others = (each.to_dask_array() if hasattr(each, "to_dask_array") else each for each in (X, *others))
    X = in_full_rows(X)
    blocks = [X.to_delayed().ravel(), *(in_rows_of(X, each).to_delayed().ravel() for each in others)]
    parts = [delayed(tuple, pure=False)([*part, None][:3]) for part in zip(*blocks, strict=True)]
    return parts, np.zeros((1, X.shape[1]), X.dtype), example_of_y


def in_full_rows(X):
    """An array that is not cut along its columns."""
    return X if X.ndim == 1 or X.numblocks[1] == 1 else X.rechunk({1: -1})


def in_rows_of(X, other):
    """Targets or weights, cut as X is."""
    if not dask.is_dask_collection(other):
        other = da.from_array(np.asarray(other), chunks=-1)
    other = in_full_rows(other)
    if other.chunks[0] == X.chunks[0]:
        return other
    if not (np.isnan(X.chunks[0]).any() or np.isnan(other.chunks[0]).any()):
        if other.shape[0] != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows, but y or sample_weight has {other.shape[0]}.")
        return other.rechunk({0: X.chunks[0]})
    if other.numblocks[0] != X.numblocks[0]:
        raise ValueError(
            f"X has {X.numblocks[0]} partitions of unknown length, and y or sample_weight has {other.numblocks[0]}. Call their "
            f"compute_chunk_sizes first, or take all of them from one data frame."
        )
    return other


def cut_frame(frame, columns, n_targets, is_weighted):
    """X, y and weights out of a partition that holds all of them."""
    y = frame["__target 0"] if n_targets is None else frame[[f"__target {k}" for k in range(n_targets)]]
    return frame[columns], y, frame["__weight"] if is_weighted else None


def computed(task, client):
    """What a task computes, on this client or where Dask would."""
    try:
        return client.compute(task).result() if client is not None else task.compute()
    except CancelledError as error:
        raise RuntimeError("The computation was cancelled, perhaps because the cluster was restarted. Fit again.") from error


def over_partition(function, checker, part, number, *arguments):
    """function(rows, number, *arguments) of the rows of a partition; None if it has none."""
    rows = checked(lambda *arrays: checker._check(*arrays, reset=False), "Partition", number, part)
    return function(rows, number, *arguments) if rows else None


def added_up(sums):
    """The sum of several that may be None, or lists of sums."""
    found = [each for each in sums if each is not None]
    return reduce(added if found and isinstance(found[0], list) else add, found) if found else None


def sums_over(rows, number, prepared, requests):
    """What the requests add up to, and the number of rows."""
    return prepared(rows).add_up(*requests, (len,))


def moments_of_residuals(rows, number, parameters):
    """Moments of the predictions minus the targets, and of the targets."""
    residuals = np.ascontiguousarray(rows.residuals(parameters).T)
    return Moments.of(Rows.of(residuals, np.ascontiguousarray(rows.targets), rows.weights), False)


def redistributed(partitions, prepared, seed):
    """Tasks for parts of the rows, into which each row is put at random; they stay in memory."""
    n_parts = min(len(partitions.parts), MOST_PARTS)
    pieces = [
        delayed(over_partition, pure=False, nout=n_parts)(scattered, partitions.checker, part, number, prepared, n_parts, seed)
        for number, part in enumerate(partitions.parts)
    ]
    parts = [delayed(gathered, pure=False)(pieces, k) for k in range(n_parts)]
    return parts if partitions.client is None else partitions.client.persist(parts)


def scattered(rows, number, prepared, n_parts, seed):
    """The rows in `n_parts` pieces at random."""
    rows = prepared(rows)
    chosen = np.random.default_rng([seed, number]).integers(n_parts, size=len(rows))
    return [joined([rows.only(rows.numbers[chosen == k])], None) for k in range(n_parts)]


def gathered(pieces, k):
    """The rows of piece k of all partitions."""
    found = [piece[k] for piece in pieces if piece is not None and len(piece[k])]
    return joined(found, None) if found else None


def with_only(model, *names):
    """A model with some of its attributes, which costs little to send."""
    slim = MiniBatchLinearRegressor()
    slim.__dict__.update({name: value for name, value in vars(model).items() if name in names})
    return slim


def predict_rows(X, model):
    """Predictions for a block of an array."""
    return model.predict(X) if len(X) else np.zeros((0, *np.shape(model.intercept_)))


def predict_frame(frame, model):
    """Predictions for a partition of a data frame."""
    return pd.Series(predict_rows(frame, model), index=frame.index, name="prediction")
