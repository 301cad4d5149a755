"""A grid search beside the same over SGDRegressor and Ridge: seconds, best score, share of time outside the kernel.

python -m benchmarks.search              (24 candidates, one thread; a quarter of an hour, ten minutes of it SGDRegressor's)
python -m benchmarks.search 200 50000    (so many candidates, and tables of so many rows at most; five minutes)
"""

import os
import sys
import warnings
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy reads them

import numpy as np
from sklearn.linear_model import Ridge, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skgd._problem as problem
from skgd import MiniBatchLinearRegressor


class Timed:
    """The engine, and how long it was at work."""

    def __init__(self, engine):
        self.engine, self.seconds = engine, 0.0

    def __getattr__(self, name):
        function = getattr(self.engine, name)

        def timed(*arguments):
            start = perf_counter()
            result = function(*arguments)
            self.seconds += perf_counter() - start
            return result

        return timed


def table(n, d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.exp(rng.uniform(-2, 2, d)) + rng.standard_normal(d)
    return X, X @ (rng.standard_normal(d) / X.std(axis=0)) + 2 * np.sqrt(d) * rng.standard_normal(n)


def main(n_candidates=24, most_rows=400_000):
    warnings.simplefilter("ignore")
    problem.engine = engine = Timed(problem.engine)
    alphas = np.geomspace(1e-6, 1, n_candidates // 4)
    for n, d in (500, 10), (50_000, 20), (400_000, 50):
        if n > most_rows:
            continue
        X, y = table(n, d)
        searches = {
            "skgd": (MiniBatchLinearRegressor(random_state=0), {"batch_size": [8, 32, 128, 512], "alpha": alphas}),
            "SGDRegressor": (
                make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
                {"sgdregressor__eta0": [0.001, 0.003, 0.01, 0.03], "sgdregressor__alpha": alphas},
            ),
            "Ridge": (make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": np.geomspace(1e-6, 1, 4 * len(alphas)) * n}),
        }
        print(f"{n:,} x {d}, {4 * len(alphas)} candidates, 5 folds", flush=True)
        for name, (model, grid) in searches.items():
            engine.seconds, start = 0.0, perf_counter()
            search = GridSearchCV(model, grid).fit(X, y)
            took = perf_counter() - start
            outside = f", {1 - engine.seconds / took:.0%} outside the kernel" if name == "skgd" else ""
            print(f"    {name:12s} {took:7.2f} s, best score {search.best_score_:.4f}{outside}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
