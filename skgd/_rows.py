"""The rows to learn from: those of nonzero weight, read in blocks that fit into the cache.

Sparse rows of few columns, or with few zeros, are unpacked block by block and then treated as dense ones.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from scipy.sparse import csr_array, issparse

from skgd._moments import Moments
from skgd._sklearn import number_of_threads, one_core

MOST_THREADS = 8  # two are 1.6 times as fast as one; more than 8 would wait for Python's lock, held a quarter of the time
BLOCK = 2**18  # numbers in a block of rows, two megabytes: with 1/8 or 4 times as many, readings take a quarter longer
MOST_COLUMNS = 1000  # up to here an eigendecomposition pays for itself, and sparse rows are unpacked
SAMPLE = 10_000  # rows of the sample that stands for all, for example for the typical residual
BUFFER = 2**23  # numbers of X, 64 megabytes, that are shuffled together where not all are in memory, or read by one engine call
UPKEEP = 4  # a block of sparse rows holds as many numbers for each column, at least, since its sums visit all columns
GROUP = 8 * BLOCK  # numbers in a group of rows, which one core sums: half as many cost 1 % more, twice as many leave cores idle
MOST_FILLED = 0.25  # sparse rows with a larger share of nonzeros are unpacked, to be centred; from 0.4 on it is also as fast


class AllRows(Protocol):
    """The interface of the rows to learn from, wherever they are.

    `Rows` in memory, `RowsInChunks` and `DaskRows` have it. Whatever is summed over all rows is a function of `Rows`: its
    results for parts of the rows are added up.
    """

    offset: np.ndarray  # (n_features,): what has been subtracted from the columns given by the user
    numbers: np.ndarray  # of the rows, in their order
    n_features: int
    n_targets: int
    dtype: np.dtype  # of X
    total_weight: float
    mean_weight: float
    numbers_in_a_row: float
    is_in_memory: bool
    is_wide: bool  # more than MOST_COLUMNS columns: too many for their covariance
    is_sparse: bool
    is_unpacked: bool  # sparse, but taken as dense

    @property
    def sampled(self) -> Rows:
        """At most SAMPLE rows: all of them, or a sample whose weights stand for those of all rows."""

    @property
    def representatives(self) -> Rows:
        """The rows for computations that visit each one: all of them, or a sample if they are not in memory."""

    def __len__(self) -> int: ...

    def without_columns(self) -> AllRows:
        """The targets and weights alone."""

    def with_mean_weight_1(self) -> AllRows:
        """These rows with their weights in units of their mean."""

    def with_far_columns_centred(self, mean: np.ndarray, variance: np.ndarray) -> AllRows:
        """Sparse rows with those columns centred whose mean exceeds their standard deviation."""

    def moments(self, is_full: bool) -> Moments:
        """Their moments; `is_full` asks for products of different columns, too."""

    def add_up(self, *requests: tuple) -> list:
        """For each (function, *arguments), the sum of function(rows, *arguments) over all parts of the rows."""


class TargetAt(NamedTuple):
    """A target at some parameters, as functions that are summed over rows take it."""

    k: int
    center: np.ndarray  # (n_features,)
    parameters: np.ndarray  # (n_features + 1,): the intercept is the prediction at the center
    has_intercept: float  # 0 or 1


@dataclass(frozen=True)
class Rows:
    """Rows of X with their targets and weights. Rows of weight 0 are left out."""

    X: np.ndarray
    y: np.ndarray  # (n_targets, n_samples); the targets of a row lie side by side in memory
    weight: np.ndarray
    numbers: np.ndarray  # int32: the places of these rows in X; if as many as X has, they must be in order: see `is_whole`
    offset: np.ndarray  # what has been subtracted from the columns given by the user
    is_sparse: bool = False  # whether sparse rows stay so; parts of them do as all do

    @classmethod
    def of(cls, X, y, weight):
        """All rows of nonzero weight."""
        everything = weight.strides == (0,) or weight.all()  # a view of one number: see `is_unweighted`
        numbers = np.arange(X.shape[0], dtype=np.int32) if everything else np.flatnonzero(weight).astype(np.int32)
        return cls(X, y, weight, numbers, np.zeros(X.shape[1]), stays_sparse(X))

    def __len__(self):
        return len(self.numbers)

    def only(self, numbers):
        """The rows with these numbers."""
        return replace(self, numbers=numbers)

    def without_columns(self):
        """The targets and weights alone."""
        return replace(self, X=np.empty((self.X.shape[0], 0)), offset=np.empty(0), is_sparse=False)

    def with_weight(self, weight):
        """These rows with other weights."""
        return replace(self, weight=weight)

    def with_weight_over(self, divisor):
        """These rows with their weights divided by a number."""
        return self if divisor == 1.0 else self.with_weight(self.weight / divisor)

    def faded(self, half_life, most):
        """These rows with weights that halve every `half_life` rows before the last, without those before `most` half-lives."""
        if half_life == np.inf:
            return self
        recent = self if half_life > len(self) else self.only(self.numbers[-int(np.ceil(most * half_life)) :])
        weight = np.array(recent.weight)
        weight[recent.numbers] *= 0.5 ** (np.arange(len(recent))[::-1] / half_life)
        return recent.with_weight(weight)

    def with_mean_weight_1(self):
        """These rows with their weights in units of their mean."""
        return self.with_weight_over(self.mean_weight)

    @property
    def is_unweighted(self):
        """Whether all rows weigh 1, since the weights are a view of that one number."""
        return self.weight.strides == (0,)

    @cached_property
    def mean_weight(self):
        """sum_i s_i / n"""
        if self.is_unweighted:
            return 1.0
        largest = self.weights.max()  # by which they are divided first, since a sum may be too large or small
        return float(largest * np.mean(self.weights / largest))

    @cached_property
    def total_weight(self):
        """sum_i s_i"""
        return sum(part.weights.sum() for part in self.blocks(numbers_in_a_row=1))

    @cached_property
    def effective_share(self):
        """(sum_i s_i)^2 / (n sum_i s_i^2), the share of the rows that would give as accurate means if all weighed the same.

        n times it is Kish's effective sample size (Kish 1965).
        """
        if self.is_unweighted:
            return 1.0
        weights = self.weights / self.weights.max()
        return float(weights.sum() ** 2 / (len(weights) * (weights @ weights)))

    def add_up(self, *requests):
        """The sum of each function(rows, *arguments) over the rows; many rows are summed in groups, on all cores."""

        def over(rows):
            return [function(rows, *arguments) for function, *arguments in requests]

        length = max(1, int(GROUP / self.numbers_in_a_row))
        if len(self) < 2 * length:
            return over(self)
        groups = (self.part(slice(start, start + length)) for start in range(0, len(self), length))
        return reduce(added, in_threads(over, groups))

    def part(self, place):
        """The rows at a slice of `numbers`."""
        if not self.is_whole:
            return self.only(self.numbers[place])
        X = rows_between(self.X, place.start, place.stop) if issparse(self.X) else self.X[place]
        y, weight = self.y[:, place], self.weight[place]
        return replace(self, X=X, y=y, weight=weight, numbers=self.numbers[: len(weight)])

    @cached_property
    def is_on_disk(self):
        """Whether X is a memory map of a file."""
        array = self.X
        while not (array is None or isinstance(array, np.memmap)):
            array = getattr(array, "base", None)
        return array is not None

    is_in_memory: ClassVar[bool] = True

    @property
    def representatives(self):
        """The rows themselves, since they are in memory."""
        return self

    def moments(self, is_full):
        """Their Moments; `is_full` asks for products of different columns, too."""
        return self.add_up((Moments.of, is_full))[0]

    @property
    def n_targets(self):
        return len(self.y)

    @property
    def dtype(self):
        """The precision of X."""
        return self.X.dtype

    @property
    def kind(self):
        """What chunks must have in common."""
        return {"the type of X": self.dtype, "sparseness of X": issparse(self.X), "the number of targets in y": len(self.y)}

    @property
    def is_whole(self):
        """Whether these are all rows of X."""
        return len(self.numbers) == self.X.shape[0]

    @property
    def packed_columns(self):
        """The columns of these rows alone; sparse ones stay sparse."""
        return self.X if self.is_whole else self.X[self.numbers]

    @property
    def columns(self):
        """The columns of these rows alone, unpacked where that serves."""
        return self.packed_columns.toarray() if self.is_unpacked else self.packed_columns

    @property
    def targets(self):
        """The targets of these rows alone, of shape (n_targets, len(self))."""
        return self.y if self.is_whole else self.y[:, self.numbers]

    def target(self, k):
        """The numbers of target k of these rows alone."""
        return self.y[k] if self.is_whole else self.y[k, self.numbers]

    @property
    def weights(self):
        """The weights of these rows alone."""
        return self.weight if self.is_whole else self.weight[self.numbers]

    @property
    def n_features(self):
        return len(self.offset)

    @property
    def is_wide(self):
        """Whether there are too many columns to look at all pairs of them."""
        return self.n_features > MOST_COLUMNS

    @cached_property
    def is_unpacked(self):
        """Whether the rows are sparse and to be unpacked before steps are taken."""
        return issparse(self.X) and not self.is_sparse

    @cached_property
    def has_few_numbers(self):
        """Whether sparse products of columns cost less than BLAS's: if no more than a tenth of X differs from zero."""
        return issparse(self.X) and self.X.nnz <= 0.1 * self.X.shape[0] * self.n_features

    @cached_property
    def numbers_in_a_row(self):
        """How many numbers a row holds, about."""
        return (self.X.nnz / self.X.shape[0] if self.is_sparse else self.n_features) + 1.0

    def take(self, which):
        """Rows of X by their numbers, in any order, unpacked where that serves."""
        taken = self.X[which]
        return taken.toarray() if self.is_unpacked else taken

    def blocks(self, numbers_in_a_row=None, at_least=1):
        """These rows in parts of about BLOCK numbers, or of `at_least` rows."""
        size = max(BLOCK, UPKEEP * self.n_features) if self.is_sparse else BLOCK
        length = max(at_least, int(size / (numbers_in_a_row or self.numbers_in_a_row)))
        if len(self) <= length:
            return iter([self])
        return (self.part(slice(start, start + length)) for start in range(0, len(self), length))

    def sparse_blocks(self):
        """These sparse rows in longer parts, for products of their `packed_columns`, which visit all columns."""
        return self.blocks(self.X.nnz / self.X.shape[0] + 1.0, at_least=UPKEEP * self.n_features)

    def residual_blocks(self, at):
        """For each block: centred columns, weights, and residuals of a TargetAt. Columns that stay sparse have center 0."""
        for part in self.blocks():
            X = part.columns if self.is_sparse else part.columns - at.center
            yield X, part.weights, X @ at.parameters[:-1] + at.parameters[-1] - part.target(at.k)

    def residuals(self, parameters):
        """Predictions minus targets, of shape (n_targets, len(self)); the intercept is the prediction at x = 0."""
        coef, intercept = parameters[:, :-1].T, parameters[:, -1] + parameters[:, :-1] @ self.offset
        return np.hstack([(part.columns @ coef + intercept).T - part.targets for part in self.blocks()])

    def hold_out(self, n_rows, seed):
        """Split the rows at random: those that remain, and `n_rows` held out."""
        numbers = np.random.default_rng(seed).permutation(self.numbers)
        numbers[:n_rows].sort()
        numbers[n_rows:].sort()
        return self.only(numbers[n_rows:]), self.only(numbers[:n_rows])

    @cached_property
    def sampled(self):
        """At most SAMPLE of the rows."""
        return self.sample(SAMPLE)

    def sample(self, size):
        """At most `size` rows: all, or a stratified sample drawn in proportion to weight, whose rows have weight 1."""
        if len(self) <= size:
            return self
        at = (np.arange(size) + np.random.default_rng(0).random(size)) / size
        if self.is_unweighted:
            places = (at * len(self)).astype(np.intp)
        else:
            sums = np.cumsum(self.weights)
            places = np.searchsorted(sums, at * sums[-1])
        return self.only(self.numbers[places]).with_weight(np.broadcast_to(1.0, len(self.weight)))

    def with_far_columns_centred(self, mean, variance):
        """Sparse rows with those columns centred whose mean exceeds their standard deviation.

        Such columns have more non-zeros than zeros, so storing all entries less than doubles their memory.
        """
        far = np.flatnonzero(mean**2 > variance)
        if not len(far):
            return self
        others, is_far = self.X.copy(), mean**2 > variance
        others.data[is_far[others.indices]] = 0.0
        columns = self.X[:, far].toarray() - mean[far]
        starts = np.arange(0, columns.size + 1, len(far))
        columns = csr_array((columns.ravel(), np.tile(far, len(columns)), starts), shape=self.X.shape)
        offset = np.zeros_like(mean)
        offset[far] = mean[far]
        X = csr_array(others + columns, dtype=self.X.dtype)
        return replace(self, X=X, offset=offset, is_sparse=stays_sparse(X))


def stays_sparse(X):
    """Whether X is sparse and better not unpacked: it has many columns, and few of its numbers differ from zero."""
    return issparse(X) and X.shape[1] > MOST_COLUMNS and X.nnz <= MOST_FILLED * X.shape[0] * X.shape[1]


def added(these, those):
    """The elementwise sum of two lists."""
    return list(map(add, these, those))


def in_threads(function, parts):
    """function(part) of each part, in their order, on as many cores as scikit-learn's own loops take.

    Meanwhile BLAS takes one core per thread. Outside the main thread, parts follow each other: that thread may be one of a
    pool.
    """
    is_alone = threading.current_thread() is threading.main_thread()
    n_threads = min(number_of_threads(), MOST_THREADS) if is_alone else 1
    if n_threads == 1:
        return [function(part) for part in parts]
    settings = np.geterr()  # which threads do not inherit

    def quiet(part):
        with np.errstate(**settings):
            return function(part)

    with one_core(), ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(quiet, parts))


def compressed(X):
    """CSR with arrays as the engine takes them: without repeated entries, contiguous, and no longer than they need be."""
    if not X.has_canonical_format:
        X = X.copy()  # the caller's stays as it is
        X.sum_duplicates()
    data, indices, starts = (np.require(part, requirements="CA") for part in (X.data, X.indices, X.indptr))
    if not (data is X.data and indices is X.indices and starts is X.indptr and len(data) == starts[-1]):
        X = csr_array((data, indices, starts), shape=X.shape)  # which drops what is too long
    return X


def rows_between(X, start, stop):
    """Rows of a CSR matrix as views of its arrays; slicing, or csr_array of them, would copy."""
    stop = min(stop, X.shape[0])
    first, last = X.indptr[start], X.indptr[stop]
    part = csr_array((stop - start, X.shape[1]), dtype=X.dtype)
    part.data, part.indices, part.indptr = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1] - first
    return part
