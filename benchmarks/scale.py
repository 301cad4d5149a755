"""Time and peak memory against the number of rows: fit, fit_chunks, Dask, and SGDRegressor's partial_fit behind a scaler.

Rows of 20 raw columns are generated in chunks of 100,000. "rows" is the time to generate them as often as they are read; it is
not part of "seconds", except for Dask. Memory is the peak of the process, or of the largest worker, above that after a small
fit. Each case runs in a process of its own; `fit` only where X takes less than 2 GB, which count as memory. dask-ml
(LinearRegression with L-BFGS behind its StandardScaler) only if it is installed.

python -m benchmarks.scale 1 5 20        (millions of rows; from the project's folder; one thread: OMP_NUM_THREADS=1)
"""

import resource
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np

CHUNK, N_FEATURES = 100_000, 20
COEF = np.random.default_rng(0).standard_normal(N_FEATURES)
SCALE = 10.0 ** np.random.default_rng(1).uniform(-2, 3, N_FEATURES)
CASES = ["fit None", "fit 32", "chunks None", "chunks 32", "chunks median", "SGDRegressor", "Dask 1", "Dask 2", "dask-ml 2"]


def chunk(number):
    rng = np.random.default_rng(number)
    z = rng.standard_normal((CHUNK, N_FEATURES))
    return (z + 1.0) * SCALE, z @ COEF + rng.standard_normal(CHUNK)


class Source:
    """Chunks made anew each time, and the time it took to make them."""

    def __init__(self, n_chunks):
        self.n_chunks, self.seconds = n_chunks, 0.0

    def __len__(self):
        return self.n_chunks

    def __getitem__(self, number):
        if number >= self.n_chunks:
            raise IndexError
        start = time.perf_counter()
        made = chunk(number)
        self.seconds += time.perf_counter() - start
        return made


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def on_dask(n_chunks, n_workers, peer=False):
    import dask.array as da
    from dask import delayed
    from dask.distributed import Client, LocalCluster

    from skgd.dask import DaskMiniBatchLinearRegressor

    with (
        LocalCluster(n_workers, threads_per_worker=1, dashboard_address=None, memory_limit=None) as cluster,
        Client(cluster) as client,
    ):
        pairs = [delayed(chunk)(number) for number in range(n_chunks)]
        X = da.concatenate([da.from_delayed(pair[0], (CHUNK, N_FEATURES), float) for pair in pairs])
        y = da.concatenate([da.from_delayed(pair[1], (CHUNK,), float) for pair in pairs])
        DaskMiniBatchLinearRegressor(client=client).fit(X[:CHUNK], y[:CHUNK])  # workers import what they need
        before = max(client.run(peak).values())
        start = time.perf_counter()
        if peer:
            from dask_ml.linear_model import LinearRegression
            from dask_ml.preprocessing import StandardScaler

            scaler = StandardScaler().fit(X)
            model = LinearRegression(solver="lbfgs").fit(scaler.transform(X), y)
            seconds, coef = time.perf_counter() - start, model.coef_ / np.asarray(scaler.scale_)
            intercept = model.intercept_ - np.asarray(scaler.mean_) @ coef
            return lambda X: X @ coef + intercept, seconds, np.nan
        model = DaskMiniBatchLinearRegressor(client=client).fit(X, y).to_local().predict
        return model, time.perf_counter() - start, max(client.run(peak).values()) - before


def one(case, n_chunks):
    from sklearn.linear_model import SGDRegressor
    from sklearn.preprocessing import StandardScaler

    from skgd import MiniBatchLinearRegressor

    warnings.simplefilter("ignore")
    source, (kind, size) = Source(n_chunks), [*case.split(), ""][:2]
    MiniBatchLinearRegressor(None).fit(*chunk(0))
    if kind in ("Dask", "dask-ml"):
        predict, seconds, memory = on_dask(n_chunks, int(size), kind == "dask-ml")
        source.seconds = float("nan")
    else:
        start, before = time.perf_counter(), peak()
        if kind == "fit":
            X, y = np.empty((n_chunks * CHUNK, N_FEATURES)), np.empty(n_chunks * CHUNK)
            for k, rows in enumerate(source):
                X[k * CHUNK : (k + 1) * CHUNK], y[k * CHUNK : (k + 1) * CHUNK] = rows
            start, source.seconds = time.perf_counter(), 0.0
            model = MiniBatchLinearRegressor(None if size == "None" else int(size), random_state=0).fit(X, y)
        elif kind == "chunks":
            options = {"None": {"batch_size": None}, "32": {}, "median": {"batch_size": None, "loss": "quantile"}}[size]
            model = MiniBatchLinearRegressor(**options, random_state=0).fit_chunks(source)
        else:
            scaler, model = StandardScaler(), SGDRegressor(random_state=0)
            for X, _ in source:
                scaler.partial_fit(X)
            for X, y in source:
                model.partial_fit(scaler.transform(X), y)
        predict = model.predict if kind != "SGDRegressor" else lambda X: model.predict(scaler.transform(X))
        seconds, memory = time.perf_counter() - start - source.seconds, peak() - before
    X, y = chunk(10**6)
    excess = np.mean((y - predict(X)) ** 2) / np.mean((y - ((X / SCALE) - 1.0) @ COEF) ** 2) - 1.0
    print(
        f"{n_chunks * CHUNK / 1e6:12.0f}  {case:16}{seconds:9.2f}{source.seconds:9.2f}{memory:9.0f}{excess:12.1e}", flush=True
    )


def main(millions):
    print(f"{'million rows':>12}  {'case':16}{'seconds':>9}{'rows':>9}{'MB':>9}{'excess':>12}", flush=True)
    for million in millions:
        for case in CASES:
            is_missing = case.startswith("dask-ml") and find_spec("dask_ml") is None
            if is_missing or (case.startswith("fit") and million * 1e6 * N_FEATURES * 8 > 2e9):
                continue
            subprocess.run([sys.executable, "-m", "benchmarks.scale", case, str(int(million * 1e6 / CHUNK))], check=True)


if __name__ == "__main__":
    if sys.argv[1] in CASES:
        one(sys.argv[1], int(sys.argv[2]))
    else:
        main(list(map(float, sys.argv[1:])))
