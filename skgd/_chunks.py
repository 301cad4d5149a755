"""Rows that come in chunks and are never in memory all at once: the counterpart of `Rows`."""

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from os import PathLike
from pickle import PickleBuffer
from zlib import crc32

import numpy as np
from scipy.sparse import issparse, vstack

from skgd._moments import HALF_OF_THE_DIGITS, Moments
from skgd._rows import BUFFER, MOST_COLUMNS, SAMPLE, Rows, added
from skgd._stream import UNUSUAL
from skgd._tables import of_kind
from skgd._validation import check_weighted, warn

UNLIKE = 0.02  # chunks differ if their means have more of a column's variance than this, and UNUSUAL times that of chance


class Chunks:
    """The chunks (X, y) or (X, y, sample_weight) of an iterable, as Rows made by `check`; chunks without rows are left out.

    The source begins anew each time it is iterated over.
    """

    def __init__(self, source, check):
        if hasattr(source, "columns") and hasattr(source, "shape"):
            raise TypeError(f"chunks must be an iterable of (X, y), got a {type(source).__name__}: give a single table to fit.")
        is_readable = isinstance(source, Iterable) or hasattr(source, "__getitem__")
        if not is_readable or isinstance(source, str | bytes | Mapping):
            raise TypeError(
                f"chunks must be an iterable of (X, y) or (X, y, sample_weight), got {type(source).__name__}. Files are read "
                f"by an object whose __iter__ opens them and yields (X, y)."
            )
        if isinstance(source, Iterator):
            raise TypeError(
                f"chunks must begin anew each time they are iterated over, but {type(source).__name__} can be read only once. "
                f"Give a list, or an object whose __iter__ opens the data."
            )
        self.source, self.check, self.kind, self.is_surveyed = source, check, None, False
        self.reads_ahead = not isinstance(source, list | tuple)  # in these there is nothing to wait for
        has_numbers = hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "__iter__")
        self.is_indexed = has_numbers or isinstance(source, Sequence)

    def __iter__(self):
        return self.in_order()

    def in_order(self, rng=None):
        """The Rows of the chunks as they come, or in random order if `rng` is given and the source can be indexed."""
        if self.is_indexed:
            numbers = range(len(self.source)) if rng is None else rng.permutation(len(self.source)).tolist()
        numbered = ((number, self.source[number]) for number in numbers) if self.is_indexed else enumerate(self.source)
        for number, chunk in self.ahead(numbered) if self.reads_ahead else numbered:
            rows = checked(self.rows_of_kind, "Chunk", number, chunk)
            if len(rows):
                yield rows

    def ahead(self, numbered):
        """Pairs of a number and a chunk, each read in a thread while the one before is processed.

        - First pass, first chunk: the second is read only after it, and checksums tell whether that has changed the first.
        - First pass, later chunks: the next is read meanwhile. If the two turn out to share memory, the pass begins anew.
        - Later passes: the next is read meanwhile, unless the first pass has found that the source reuses its arrays.
        """
        pairs = iter(numbered)
        with ThreadPoolExecutor(1, "skgd-reads-ahead") as reader:
            read = partial(reader.submit, next, pairs, None)
            pair = self.first_of(read)
            checksum = checksum_of(pair[1]) if pair and not self.is_surveyed else None
            while pair:
                coming = read() if self.reads_ahead and checksum is None else None
                yield pair
                before, pair = pair, (coming or read()).result()
                if pair and not self.is_surveyed:
                    self.compare(before[1], pair[1], checksum)
                checksum = None

    def first_of(self, read):
        """The first pair of a pass. The first pass finds out whether the source can be read in another thread at all."""
        try:
            return read().result()
        except Exception as error:
            if self.is_surveyed:
                raise
            raise CannotReadAhead from error

    def compare(self, before, chunk, checksum):
        """Read nothing ahead if the source reuses its arrays: if reading a chunk has changed the one before, or may do so.

        It may if both are parts of one array, which may be filled anew. Without the checksum of the one before, the chunk was
        read while that was processed: too early.
        """
        has_changed = checksum is not None and checksum_of(before) != checksum
        if not self.reads_ahead or (are_apart(arrays_of(before), arrays_of(chunk)) and not has_changed):
            return
        if checksum is None:
            raise CannotReadAhead
        self.reads_ahead = False

    def rows_of_kind(self, X, y, sample_weight):
        """The Rows of a chunk, which must be of the kind of the first; columns are compared elsewhere."""
        rows = self.check(X, y, sample_weight)
        self.kind = self.kind or rows.kind
        for name, value in rows.kind.items():
            if value != self.kind[name]:
                raise ValueError(f"{name} is {value}, but {self.kind[name]} in the first chunk. Make all chunks alike.")
        return rows

    def survey(self, batch_size, is_full):
        """A first reading; `is_full` asks for products of columns, too. It finds out whether chunks can be read ahead."""
        survey = None
        try:
            for number, rows in enumerate(self):
                if batch_size is None:
                    check_number_of_columns(rows.n_features)
                of_chunk = Survey.of(rows, number, is_full)
                survey = of_chunk if survey is None else survey + of_chunk
        except CannotReadAhead:
            self.reads_ahead = False
            return self.survey(batch_size, is_full)
        check_weighted(survey)
        self.is_surveyed = True
        return survey


class CannotReadAhead(Exception):
    """The source reuses the arrays of its chunks, cannot be read in another thread, or gives what cannot be compared."""


def arrays_of(chunk):
    """The arrays that a chunk comes in, as far as one can tell."""
    arrays = []
    for part in chunk if isinstance(chunk, tuple | list) else ():
        if issparse(part):
            arrays += [part.data, part.indices, part.indptr] if hasattr(part, "indptr") else [part.data]
        elif hasattr(part, "iloc"):  # of pandas, whose frames may be views of an array; those of others cannot be changed
            columns = [part] if part.ndim == 1 else [part.iloc[:, j] for j in range(part.shape[1])]
            arrays += [column.to_numpy() for column in columns if isinstance(column.dtype, np.dtype)]  # others would be copied
        elif isinstance(part, np.ndarray):
            arrays.append(part)
    return arrays


def are_apart(these, those):
    """Whether no arrays are parts of the same array, file or buffer, nor overlap with those in their place."""
    owners = [[owner_of(array) for array in arrays] for arrays in (these, those)]  # whose ids hold as long as they live
    are_others = set(map(id, owners[0])).isdisjoint(map(id, owners[1]))
    return are_others and not any(map(np.may_share_memory, these, those))


def owner_of(array):
    """What owns the memory of an array: an array, a file, or a buffer."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return getattr(array, "obj", array)  # of a memoryview


def checksum_of(chunk):
    """A checksum of all that a chunk holds, without a copy of its arrays."""
    buffers: list[PickleBuffer] = []
    try:
        head = pickle.dumps(chunk, protocol=5, buffer_callback=buffers.append)
    except Exception as error:
        raise CannotReadAhead from error
    return reduce(lambda before, buffer: crc32(buffer.raw(), before), buffers, crc32(head))


@dataclass(frozen=True)
class Sample:
    """At most SAMPLE rows, drawn at random in proportion to their weights, and one more.

    Each row draws a key from an exponential distribution of rate s_i, and those of the smallest keys are the sample (Efraimidis
    & Spirakis 2006). So samples of chunks make a sample of all rows, in any order. If t is the smallest key of all others, the
    probability of a row to be in the sample is 1 - exp(-t s_i). Weights divided by it estimate sums over all rows without bias
    (Cohen & Kaplan 2007).
    """

    keys: np.ndarray
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, rows, number):
        """The sample of the rows of chunk `number`."""
        with np.errstate(over="ignore"):
            keys = np.random.default_rng([0, number]).standard_exponential(len(rows)) / rows.weights
        chosen = smallest(keys)
        which = rows.numbers[chosen]
        return cls(keys[chosen], rows.X[which], rows.y[:, which], rows.weight[which])

    def __add__(self, other):
        keys = np.append(self.keys, other.keys)
        chosen = smallest(keys)
        X = stacked([self.X, other.X])[chosen]
        return Sample(keys[chosen], X, np.hstack([self.y, other.y])[:, chosen], np.append(self.weight, other.weight)[chosen])

    def as_rows(self, moments):
        """The sample as Rows, with the mean weight of all rows, which have these moments."""
        if len(self.keys) <= SAMPLE:
            return Rows.of(self.X, np.ascontiguousarray(self.y), self.weight)
        weight = self.weight[:SAMPLE] / -np.expm1(-self.keys[SAMPLE] * self.weight[:SAMPLE])
        weight *= moments.weight / moments.n_rows / weight.mean()
        return Rows.of(self.X[:SAMPLE], np.ascontiguousarray(self.y[:, :SAMPLE]), weight)


@dataclass(frozen=True)
class Survey:
    """What a first pass over chunks finds: moments, a sample, and how much chunks differ."""

    moments: Moments
    sample: Sample
    within: np.ndarray  # second moments of the columns and targets about the means of their own chunks
    n_chunks: int
    dtype: np.dtype

    @classmethod
    def of(cls, rows, number, is_full):
        moments = Moments.of(rows, is_full and not rows.is_wide)
        within = np.append(moments.column_variances, moments.target_variance)
        return cls(moments, Sample.of(rows, number), within, 1, rows.dtype)

    def __add__(self, other):
        moments, n_chunks = self.moments + other.moments, self.n_chunks + other.n_chunks
        within = self.within + other.moments.weight / moments.weight * (other.within - self.within)
        return Survey(moments, self.sample + other.sample, within, n_chunks, self.dtype)

    @property
    def are_alike(self):
        """Whether chunks differ no more than those of shuffled rows would."""
        all_in_all = np.append(self.moments.column_variances, self.moments.target_variance)
        between = 1.0 - np.divide(self.within, all_in_all, out=np.ones_like(all_in_all), where=all_in_all > 0.0)
        to_expect = (self.n_chunks - 1) / max(self.moments.n_rows - 1, 1)
        return between.max() <= max(UNLIKE, UNUSUAL * to_expect)


def tally_of(rows):
    """What shows whether rows have changed: their number and, for each target, its sum by weight."""
    return np.append(len(rows), rows.targets @ rows.weights)


def prepared(rows, divisor, far):
    """A chunk's rows as the descent takes them: weights over `divisor`, and, given `far`, sparse columns centred."""
    rows = rows.with_weight_over(divisor)
    return rows.with_far_columns_centred(*far) if far else rows


class RowsInChunks:
    """The rows of Chunks, with weights of mean 1, after a Survey; `centred`: far columns of sparse rows are centred."""

    is_in_memory = False

    def __init__(self, chunks, survey, centred=False):
        moments, n_rows = survey.moments, survey.moments.n_rows
        if moments.weight < n_rows / np.finfo(np.float64).max:
            raise ValueError(f"sample_weight is too small: its sum is {moments.weight:g}. Multiply it by a power of ten.")
        self.chunks, self.survey = chunks, survey
        self.mean_moments = replace(moments, weight=float(n_rows))
        far = (moments.column_means, moments.column_variances) if centred else None
        self.mean_weight = float(moments.weight / n_rows)
        self.prepared = partial(prepared, divisor=self.mean_weight, far=far)
        self.sampled = self.representatives = self.prepared(survey.sample.as_rows(moments))
        self.n_features, self.n_targets, self.dtype = moments.n_features, len(moments.target_mean), survey.dtype
        self.total_weight, self.numbers, self.offset = float(n_rows), range(n_rows), self.sampled.offset
        self.is_wide, are_sparse = self.n_features > MOST_COLUMNS, issparse(survey.sample.X)
        self.is_sparse, self.is_unpacked = are_sparse and self.is_wide, are_sparse and not self.is_wide
        self.numbers_in_a_row = self.sampled.numbers_in_a_row

    @classmethod
    def surveyed(cls, chunks, batch_size, is_auto):
        """Read all rows once, for a descent in batches of this size, with the products of columns that "auto" needs."""
        survey = chunks.survey(batch_size, is_full=is_auto or batch_size is None)
        is_full_batch = batch_size is not None and batch_size >= survey.moments.n_rows
        return cls(chunks, chunks.survey(None, is_full=True) if is_full_batch and not survey.moments.is_full else survey)

    def warn_if_unlike(self):
        """Warn if chunks differ so much that no order of them replaces shuffled rows."""
        if len(self) * self.n_features > BUFFER and not self.survey.are_alike:
            warn(
                f"The rows differ from chunk to chunk, and no order of {self.survey.n_chunks} chunks makes up for shuffled "
                f"rows: the descent may end far from its minimum. Use batch_size=None, for which the order of rows does not "
                f"matter, or shuffle the rows across chunks once."
            )

    def __len__(self):
        return self.survey.moments.n_rows

    def moments(self, _):
        """The moments of the survey, whatever is asked."""
        return self.mean_moments

    def without_columns(self):
        """The rows themselves: to read targets alone, chunks are read whole."""
        return self

    def with_mean_weight_1(self):
        return self

    def with_far_columns_centred(self, *_):
        return type(self)(self.chunks, self.survey, centred=True)

    def parts(self, in_order=None):
        """The `prepared` rows of each chunk; an error if they are not those that were first read."""
        tally = np.zeros(1 + self.n_targets)
        for rows in map(self.prepared, in_order or self.chunks):
            tally += tally_of(rows)
            yield rows
        self.check_tally(tally)

    def check_tally(self, tally):
        """Refuse chunks that have changed, by the sum of `tally_of` over all."""
        (n_rows, *sums), n_before, moments = tally, len(self), self.mean_moments
        if n_rows != n_before:
            raise ValueError(
                f"chunks held {n_before} rows with a weight when they were first read, and {n_rows:.0f} now. Each iteration "
                f"must give the same rows."
            )
        size = np.sqrt(moments.target_mean**2 + moments.target_variance)
        if np.any(np.abs(np.array(sums) / n_rows - moments.target_mean) > HALF_OF_THE_DIGITS * size):
            raise ValueError(
                "The mean of the targets in chunks is another than when they were first read. Each iteration must give the "
                "same rows, in any order."
            )

    def add_up(self, *requests):
        return reduce(added, (rows.add_up(*requests) for rows in self.parts()))

    def shuffled(self, batch_size, rng):
        """All rows in buffers of as many chunks as fit: pairs of rows and the numbers of those to visit, shuffled.

        All but the last visit a multiple of `batch_size` rows. Without a generator, chunks and rows stay in order.
        """
        held, n_held, most = [], 0, BUFFER / self.n_features

        def buffer():
            rows = joined(held)
            return rows, rng.permutation(rows.numbers) if rng else rows.numbers

        for rows in self.parts(rng and self.chunks.in_order(rng)):
            held.append(rows)
            n_held += len(rows)
            if n_held < max(most, batch_size):
                held[-1] = joined([rows])  # a copy, since the next chunk may come in the same array
            else:
                (rows, order), n_used = buffer(), n_held - n_held % batch_size
                yield rows, order[:n_used]
                held, n_held = [rows.only(order[n_used:])], n_held - n_used
        if n_held:
            yield buffer()


def checked(check, noun, number, chunk):
    """The rows that `check` makes of (X, y) or (X, y, sample_weight), empty if there are none; errors name the chunk."""
    try:
        if not isinstance(chunk, tuple | list):
            is_path = isinstance(chunk, str | PathLike)
            cure = (
                "Read the file and give (X, y)." if is_path else "Split y off and give (X, y); or give a single table to fit."
            )
            raise TypeError(f"must be (X, y) or (X, y, sample_weight), got {type(chunk).__name__}. {cure}")
        if not 2 <= len(chunk) <= 3:
            raise ValueError(f"must be (X, y) or (X, y, sample_weight), got {len(chunk)} parts.")
        X, y, sample_weight = (*chunk, None)[:3]
        is_empty = all((each.shape if hasattr(each, "shape") else np.shape(each))[:1] == (0,) for each in (X, y))
        return () if is_empty else check(X, y, sample_weight)
    except (TypeError, ValueError) as error:
        raise of_kind(error, f"{noun} {number}: {error}") from error


def check_number_of_columns(n_features):
    """Refuse more columns than the full batch of chunks can take."""
    if n_features > MOST_COLUMNS:
        raise ValueError(
            f"The full batch of rows in chunks needs all products of two columns and takes at most {MOST_COLUMNS} columns, got "
            f"{n_features}. Use batch_size=32, or another number below that of the rows."
        )


def smallest(keys):
    """The indices of the SAMPLE + 1 smallest keys, in ascending order of keys."""
    chosen = np.argpartition(keys, SAMPLE)[: SAMPLE + 1] if len(keys) > SAMPLE else np.arange(len(keys))
    return chosen[np.argsort(keys[chosen], kind="stable")]


def stacked(parts):
    """Tables stacked row-wise."""
    if len({issparse(part) for part in parts}) > 1:
        raise ValueError("Some partitions of X are sparse and others dense. Make all alike, as by X.map_blocks(csr_array).")
    return vstack(parts, format="csr") if issparse(parts[0]) else np.concatenate(parts)


def joined(several):
    """Several Rows as one, in arrays of its own."""
    X = stacked([rows.packed_columns for rows in several])
    y = np.hstack([rows.targets for rows in several])
    weight = np.concatenate([rows.weights for rows in several])
    return replace(Rows.of(X, np.ascontiguousarray(y), weight), offset=several[0].offset)
