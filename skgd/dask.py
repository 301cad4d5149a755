"""The same regressor on Dask collections: sums over partitions are computed where these are."""

import inspect
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    from dask import delayed
except ImportError as error:
    raise ImportError('skgd.dask needs Dask: pip install "skgd[dask]"') from error

from skgd._callbacks import Watch, with_callbacks
from skgd._chunks import RowsInChunks, Survey, check_number_of_columns, checked, joined, tally_of
from skgd._descent import History, Passes
from skgd._estimator import MiniBatchLinearRegressor
from skgd._moments import Moments
from skgd._objective import rounding_of
from skgd._rows import Rows, added
from skgd._sklearn import fit_context
from skgd._stopping import explained
from skgd._validation import (
    check_has_validation,
    check_parameters,
    check_weighted,
    unchanged_on_error,
    with_plain_numbers,
)

PARALLEL = 8  # passes that run in parallel and are averaged; also the number of sums that one task adds up
COLUMNS = "n_features_in_", "feature_names_in_", "_single_target"
FITTED = "coef_", "intercept_"


class DaskMiniBatchLinearRegressor(MiniBatchLinearRegressor):
    """MiniBatchLinearRegressor for Dask arrays and data frames.

    With batch_size=None and learning_rate="auto", every partition is read a few times; for the squared error once, unless
    columns are nearly dependent. Only sums travel. The result is that of MiniBatchLinearRegressor on the same rows: for the
    squared error up to rounding, for other losses within `tol`. The same partitions give the same bits on any number of
    workers, even if some are lost.

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
    Partitions of X, y and weights are matched by their numbers, whatever the index of a data frame says. Every epoch computes
    the collections again. If they fit into the cluster's memory, call ``persist`` of one frame and then take X and y from it.

    References
    ----------
    M. Zinkevich, M. Weimer, A. Smola and L. Li (2010). Parallelized stochastic gradient descent. NIPS 23.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
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
    @fit_context
    def fit(  # type: ignore[override]  # Dask collections, and no start
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Self:
        """Fit the model to Dask collections, eagerly.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Chunks may be unknown, unequal or empty, and arrays may be cut along their columns, too.
        y : dask Array, Series or DataFrame of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : dask Array or Series of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : Dask collections or arrays, optional
            Rows for early_stopping to watch.

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
            check_has_validation(self, X_val)
            go_on = self.warm_start and hasattr(self, "_state")
            partitions, is_auto = Partitions.of(self, X, y, sample_weight, reset=not go_on), self.learning_rate == "auto"
            batch_size = with_plain_numbers(self).batch_size
            rows = DaskRows.surveyed(partitions, batch_size, is_auto)
            if batch_size is not None and batch_size < len(rows) and (self.record_steps or not self.shuffle):
                raise ValueError(
                    "record_steps=True and shuffle=False need steps in one order, but with an int batch_size, passes are made "
                    "side by side over rows redistributed at random. Leave both at their defaults, or use batch_size=None."
                )
            held_out = self._check_validation(rows, X_val, y_val, sample_weight_val)
            self._fit(rows, self._state_before(rows, go_on), go_on, watch, held_out)
        return self

    def _rows_to_watch(self, X_val, y_val, sample_weight_val):
        if not dask.is_dask_collection(X_val):
            return super()._rows_to_watch(X_val, y_val, sample_weight_val)
        return DaskRows.surveyed(Partitions.of(self, X_val, y_val, sample_weight_val, reset=False), 1, is_auto=False)

    def predict(self, X: Any) -> Any:
        """Predict X w + b, lazily for Dask collections: a frame gives a Series, an Array an Array.

        Several targets give an Array. What is no Dask collection is predicted at once, as by MiniBatchLinearRegressor.
        """
        check_is_fitted(self)
        if not dask.is_dask_collection(X):
            return super().predict(X)
        validate_data(self, example_of(X), reset=False)
        local, shape = with_only(self, *COLUMNS, *FITTED), np.shape(self.intercept_)
        if is_frame(X):
            dtype = np.result_type(self.coef_, self.intercept_, *map(in_floats_of, X.dtypes))
            if not shape:
                return X.map_partitions(predict_frame, local, meta=("prediction", dtype))
            blocks = [delayed(predict_rows, pure=False)(part, local) for part in parts_of(X)]
            return da.concatenate([da.from_delayed(block, (np.nan, *shape), dtype) for block in blocks])
        X, dtype = in_full_rows(X), np.result_type(self.coef_, self.intercept_, in_floats_of(X.dtype))
        kept = {"chunks": (X.chunks[0], shape)} if shape else {"drop_axis": 1}
        return X.map_blocks(predict_rows, with_only(local, "n_features_in_", *FITTED), dtype=dtype, **kept)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the predictions, in one reduction."""
        check_is_fitted(self)
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        parameters = np.column_stack([np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)]).astype(np.float64)
        partitions = Partitions.of(self, X, y, sample_weight, reset=False, expected=len(parameters))
        moments = partitions.add_up(moments_of_residuals, parameters)
        check_weighted(moments)
        rounding = rounding_of(moments.target_mean) ** 2
        return float(np.mean(explained(moments.column_variances + moments.column_means**2, moments.target_variance, rounding)))

    def to_local(self) -> MiniBatchLinearRegressor:
        """A MiniBatchLinearRegressor that predicts the same and can go on with partial_fit."""
        parameters = {name: value for name, value in self.get_params().items() if name != "client"}
        return with_only(self, *vars(self).keys() - {"client", *parameters}).set_params(**parameters)

    def __getstate__(self):
        return super().__getstate__() | {"client": None}

    def __sklearn_clone__(self):
        """A client cannot be copied, so it is shared."""
        alone = type(self)(**self.get_params() | {"client": None})
        return super(DaskMiniBatchLinearRegressor, alone).__sklearn_clone__().set_params(client=self.client)

    def _epochs(self, problem, state, is_done):
        if isinstance(problem.rows, DaskRows) and not problem.is_full_batch:
            return PassesInParallel.of(self, problem, state, is_done)
        return super()._epochs(problem, state, is_done)


class Partitions:
    """Partitions, each a tuple of delayed X, y and perhaps sample_weight.

    The checker is a model that knows the columns, which it compares with those of each partition.
    """

    def __init__(self, parts, checker, client):
        self.parts, self.checker, self.client = parts, checker, client

    @classmethod
    def of(cls, model, X, y, sample_weight, reset, expected=None):
        """The partitions of collections; with `reset`, the model takes note of columns. `expected` is the number of targets."""
        example, y, weight = example_of(X), array_like("y", y), sample_weight
        others = [cut_as(X, "y", y)]
        others += [] if weight is None else [cut_as(X, "sample_weight", array_like("sample_weight", weight))]
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        model._check(example, np.zeros(1 if y.ndim == 1 else (1, n_targets)), None, reset)
        if expected is not None and n_targets != expected:
            raise ValueError(f"y has {n_targets} targets, but the model has {expected}.")
        columns = [parts_of(each) for each in (X, *others)]
        numbers = [len(column) for column in columns]
        if len(set(numbers)) > 1:
            raise ValueError(
                f"X, y and sample_weight have {', '.join(map(str, numbers))} partitions, whose rows cannot be matched. Take "
                f"them from one data frame, or give arrays of known chunk sizes."
            )
        return cls([*zip(*columns, strict=True)], with_only(model, *COLUMNS), model.client)

    def add_up(self, function, *arguments):
        """The sum of function(rows, number, *arguments) over the partitions, as a tree of tasks; None if there are no rows."""
        arguments = [delayed(argument, pure=False) for argument in arguments]
        tasks = [
            delayed(over_partition, pure=False)(function, self.checker, part, number, *arguments)
            for number, part in enumerate(self.parts)
        ]
        while len(tasks) > 1:
            tasks = [delayed(added_up, pure=False)(tasks[i : i + PARALLEL]) for i in range(0, len(tasks), PARALLEL)]
        return computed(tasks[0], self.client)

    def survey(self, batch_size, is_full):
        """A first reading; `is_full` asks for products of columns, too."""
        if batch_size is None:
            check_number_of_columns(self.checker.n_features_in_)
        survey = self.add_up(Survey.of, is_full)
        check_weighted(survey)
        return survey


class DaskRows(RowsInChunks):
    """Rows in partitions."""

    def add_up(self, *requests):
        *sums, tally = self.chunks.add_up(sums_over, self.prepared, requests)
        self.check_tally(tally)
        return sums


class PassesInParallel(Passes):
    """Epochs of parallel passes, each over some parts of the rows, from common parameters; their ends are averaged."""

    def __init__(self, problem, *others):
        super().__init__(problem, *others)
        partitions = problem.rows.chunks
        self.parts, self.client = redistributed(partitions, problem.rows.prepared, self.seed), partitions.client
        self.n_batches = -(-self.n_batches // min(len(self.parts), PARALLEL))

    def pass_over_rows(self, epoch, parameters, history):
        problem, n_chains = replace(self.problem, rows=None, normal_equations=None), min(len(self.parts), PARALLEL)
        about = problem, self.schedule, self.is_done
        start, ends = delayed(Progress(parameters, self.n_steps, self.largest), pure=False), []
        for chain in range(n_chains):
            end = start
            for number in range(chain, len(self.parts), n_chains):
                end = delayed(pass_over, pure=False)(self.parts[number], *about, end, epoch, self.seed + number)
            ends.append(end)
        mean, objective, self.largest = computed(delayed(means_of, pure=False)(ends), self.client)
        parameters[self.moving], self.objective[self.moving] = mean[self.moving], objective[self.moving]
        self.n_steps += self.n_batches
        return self.objective.copy()


class Progress(NamedTuple):
    """The progress of one of the parallel passes over its parts of the rows."""

    parameters: np.ndarray
    n_steps: int
    largest: np.ndarray  # (n_targets,): see `Passes`
    total: np.ndarray | float = 0.0  # the objectives before its steps, times the rows
    n_rows: int = 0


def pass_over(rows, problem, schedule, is_done, progress, epoch, seed):
    """Continue a parallel pass over one more part of the rows."""
    if rows is None:
        return progress
    problem, parameters = replace(problem, rows=rows, batch_size=min(problem.batch_size, len(rows))), progress.parameters.copy()
    if not schedule.is_plain:
        schedule = replace(schedule, last_share=1.0 - (-len(rows) % problem.batch_size) / problem.batch_size)
    passes = Passes(problem, schedule, progress.n_steps, seed, is_done, largest=progress.largest)
    total = progress.total + len(rows) * passes.pass_over_rows(epoch, parameters, History())
    return Progress(parameters, passes.n_steps, passes.largest, total, progress.n_rows + len(rows))


def means_of(ends):
    """Means, by the number of their rows, of where passes have ended and of their objectives; the largest loss at a start."""
    n_rows = sum(end.n_rows for end in ends)
    parameters = sum(end.n_rows / n_rows * end.parameters for end in ends)
    return parameters, sum(end.total for end in ends) / n_rows, np.max([end.largest for end in ends], axis=0)


def is_frame(collection):
    """Whether a Dask collection is a data frame or a series."""
    return isinstance(collection, (dd.DataFrame, dd.Series))


def example_of(X):
    """A row of zeros with the columns of X."""
    if isinstance(X, dd.DataFrame):
        return pd.DataFrame(np.zeros((1, len(X.columns))), columns=X.columns)
    if isinstance(X, da.Array) and X.ndim == 2:
        return np.zeros((1, X.shape[1]), X.dtype)
    what = f"a Dask array of {X.ndim} dimension(s)" if isinstance(X, da.Array) else type(X).__name__
    raise TypeError(
        f"X must be a Dask array of two dimensions or a Dask data frame, got {what}. For data in memory there is "
        f"MiniBatchLinearRegressor."
    )


def array_like(name, values):
    """Targets or weights: as they are if they are a Dask array or frame, else as an array."""
    if isinstance(values, da.Array) or is_frame(values):
        return values
    if values is None or dask.is_dask_collection(values) or np.ndim(values) == 0:
        raise TypeError(f"{name} must be a Dask array, series or data frame, or an array in memory, got {values!r:.100}.")
    return np.asarray(values)


def cut_as(X, name, other):
    """Targets or weights with the partitions of X, as far as these are known."""
    if is_frame(X) and is_frame(other):
        return with_divisions_of(X, other)
    if isinstance(other, np.ndarray):
        other = from_memory(X, name, other)
    if is_frame(X) or is_frame(other) or np.isnan([*X.chunks[0], *other.chunks[0]]).any():
        return other
    if other.shape[0] != X.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows, but {name} has {other.shape[0]}.")
    return other.rechunk({0: X.chunks[0]})


def with_divisions_of(X, other):
    """A frame repartitioned by the divisions of another, if both are known and span the same index."""
    is_known = X.known_divisions and other.known_divisions
    is_alike = is_known and (X.divisions[0], X.divisions[-1]) == (other.divisions[0], other.divisions[-1])
    return other.repartition(divisions=X.divisions) if is_alike and other.divisions != X.divisions else other


def from_memory(X, name, values):
    """An array in memory as one of Dask's, if it is known where the partitions of X end."""
    if is_frame(X) or np.isnan(X.chunks[0]).any():
        raise ValueError(
            f"{name} is in memory, and how many rows the partitions of X have is not known. Give {name} as a column of the "
            f"same data frame, or X as an array of known chunk sizes: X.to_dask_array(lengths=True) or X.compute_chunk_sizes()."
        )
    return da.from_array(values, chunks=-1)


def in_full_rows(array):
    """An array that is not cut along its columns."""
    return array if array.ndim == 1 else array.rechunk({1: -1})


def parts_of(collection):
    """The partitions, delayed. A frame's graph is not optimised: that may partition some columns of a file otherwise."""
    if is_frame(collection):
        return collection.simplify().to_delayed(optimize_graph=False)
    return in_full_rows(collection).to_delayed().ravel().tolist()


def computed(task, client):
    """What a task computes, on this client or where Dask would."""
    try:
        return client.compute(task).result() if client is not None else task.compute()
    except CancelledError as error:
        raise RuntimeError("The computation was cancelled, perhaps because the cluster was restarted. Fit again.") from error


def over_partition(function, checker, part, number, *arguments):
    """function(rows, number, *arguments) of the rows of a partition; None if it has none."""
    rows = checked(lambda *arrays: checker._check(*arrays, reset=False), "Partition", number, part)
    return function(rows, number, *arguments) if len(rows) else None


def added_up(sums):
    """The sum of several that may be None, or lists of sums."""
    found = [each for each in sums if each is not None]
    return reduce(added if found and isinstance(found[0], list) else add, found) if found else None


def sums_over(rows, number, prepared, requests):
    """What the requests add up to, and what shows whether the rows have changed."""
    return prepared(rows).add_up(*requests, (tally_of,))


def moments_of_residuals(rows, number, parameters):
    """Moments of the predictions minus the targets, and of the targets."""
    residuals = np.ascontiguousarray(rows.residuals(parameters).T)
    return Moments.of(Rows.of(residuals, np.ascontiguousarray(rows.targets), rows.weights), False)


def redistributed(partitions, prepared, seed):
    """Assign each row to one of several parts at random; returns the tasks of the parts, which are kept in memory."""
    n_parts = min(len(partitions.parts), PARALLEL**2)  # each of the PARALLEL passes visits PARALLEL parts
    pieces = [
        delayed(over_partition, pure=False, nout=n_parts)(scattered, partitions.checker, part, number, prepared, n_parts, seed)
        for number, part in enumerate(partitions.parts)
    ]
    parts = [delayed(gathered, pure=False)(pieces, k) for k in range(n_parts)]
    return dask.persist(*parts) if partitions.client is None else partitions.client.persist(parts)


def scattered(rows, number, prepared, n_parts, seed):
    """The rows in `n_parts` pieces at random."""
    rows = prepared(rows)
    chosen = np.random.default_rng([seed, number]).integers(n_parts, size=len(rows))
    return [joined([rows.only(rows.numbers[chosen == k])]) for k in range(n_parts)]


def gathered(pieces, k):
    """The rows of piece k of all partitions."""
    found = [piece[k] for piece in pieces if piece is not None and len(piece[k])]
    return joined(found) if found else None


def with_only(model, *names):
    """A model with some of its attributes, which costs little to send."""
    slim = MiniBatchLinearRegressor()
    slim.__dict__.update({name: value for name, value in vars(model).items() if name in names})
    return slim


def in_floats_of(dtype):
    """The type of float in which columns of this type are computed."""
    return np.float32 if dtype == np.float32 else np.float64


def predict_rows(X, model):
    """Predictions for a block of an array."""
    return model.predict(X) if X.shape[0] else np.zeros((0, *np.shape(model.intercept_)))


def predict_frame(frame, model):
    """Predictions for a partition of a data frame."""
    return pd.Series(predict_rows(frame, model), index=frame.index, name="prediction")
