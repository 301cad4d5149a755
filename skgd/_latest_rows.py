"""The latest rows of a stream, which are kept themselves until its model of past rows takes them in."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skgd._rows import BLOCK, Rows

REMEMBERED = 7  # half-lives after which rows are dropped: their weight is then below a hundredth


def longest_half_life(n_parameters):
    """The longest half-life for which a stream keeps the rows themselves, in up to two megabytes."""
    return BLOCK / (REMEMBERED * n_parameters)


class Table(NamedTuple):
    """Rows that a stream keeps, in arrays of its own."""

    X: np.ndarray
    y: np.ndarray  # (n_targets, n)
    weight: np.ndarray
    age: np.ndarray  # of the stream when each row came, in half-lives


@dataclass(frozen=True)
class LatestRows:
    """The rows that came last. With a half-life they fade."""

    tables: tuple[Table, ...] = ()
    newest: Rows | None = None  # of the present call, neither copied nor unpacked yet: often they are dropped in the same call
    age: float = 0.0  # of the stream, in half-lives

    def __len__(self):
        return sum(len(table.weight) for table in self.tables) + (len(self.newest) if self.newest else 0)

    def with_rows(self, rows, half_life):
        """These rows and those of a chunk."""
        return LatestRows(self.copied().tables, rows.faded(half_life, REMEMBERED), self.age + len(rows) / half_life)

    def without_rows(self):
        """No rows, at the same age of the stream."""
        return LatestRows(age=self.age)

    def copied(self):
        """These rows with the newest ones copied, since the caller may reuse their arrays."""
        if self.newest is None:
            return self
        rows, X = self.newest, np.array(self.newest.columns, dtype=np.float64, order="C")
        table = Table(X, rows.targets.copy(), rows.weights.copy(), np.full(len(rows), self.age))
        return LatestRows((*self.tables, table), age=self.age)

    def joined(self):
        """These rows in one table, without those that are too old; if only the newest are kept, as they are."""
        if not self.tables:
            return self
        X, y, weight, age = zip(*self.copied().tables, strict=True)
        ages = np.concatenate(age)
        first = np.searchsorted(ages, self.age - REMEMBERED)
        targets = np.ascontiguousarray(np.hstack(y)[:, first:])
        return LatestRows(
            (Table(np.concatenate(X)[first:], targets, np.concatenate(weight)[first:], ages[first:]),), age=self.age
        )

    @property
    def rows(self):
        """These rows, after `joined`, with weights that have faded."""
        if not self.tables:
            return self.newest
        ((X, y, weight, age),) = self.tables
        return Rows.of(X, y, weight * 0.5 ** (self.age - age))
