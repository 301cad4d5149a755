"""An epoch over hashed text, 100,000 rows of 100 non-zeros in 2^20 columns, beside SGDRegressor.

python -m benchmarks.sparse        (from the project's folder)
"""

import time
import warnings

import numpy as np
from sklearn.linear_model import SGDRegressor
from threadpoolctl import threadpool_limits

from benchmarks.peers import hashed_text
from skgd import MiniBatchLinearRegressor

warnings.simplefilter("ignore")


def seconds(model, X, y, n_epochs):
    start = time.perf_counter()
    model.set_params(max_iter=n_epochs).fit(X, y)
    return time.perf_counter() - start


def main():
    X, y = hashed_text(100_000, 2**20)
    plain = {"learning_rate": "constant", "eta0": 1e-4, "tol": None, "random_state": 0}
    auto = {"tol": None, "random_state": 0}
    kinds = {
        "no penalty": {"penalty": None},
        "l2": {"alpha": 1e-4},
        "l1": {"penalty": "l1", "alpha": 1e-4},
        "l2, average": {"alpha": 1e-4, "average": True},
    }
    models = {f"SGDRegressor, {kind}": SGDRegressor(**plain, **given) for kind, given in kinds.items()}
    for b in (1, 32):
        models |= {f"b={b}, {kind}": MiniBatchLinearRegressor(b, **plain, **given) for kind, given in kinds.items()}
        models |= {
            f'b={b}, "auto", {kind}': MiniBatchLinearRegressor(b, **auto, **kinds[kind]) for kind in ("no penalty", "l2", "l1")
        }
    times = {name: [] for name in models}
    for _ in range(3):
        for name, model in models.items():
            one, four = seconds(model, X, y, 1), seconds(model, X, y, 4)
            times[name].append((one, (four - one) / 3))
    print(f"{'':34}{'first epoch':>12}{'epoch':>8}  seconds, medians of 3")
    for name, values in times.items():
        first, epoch = np.median(values, axis=0)
        print(f"{name:34}{first:12.2f}{epoch:8.3f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
