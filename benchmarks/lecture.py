"""The lecture's claim at its size: 5,000,000 rows, batches of 1000 against batch descent, the same step: loss against time.

python -m benchmarks.lecture                 (from the project's folder; writes docs/benchmarks/lecture.png; 1 GB of memory)
"""

import time
from functools import partial

import matplotlib
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers import TARGET, random_table
from skgd import MiniBatchLinearRegressor

matplotlib.use("agg")
import matplotlib.pyplot as plt

ETA = 0.02  # for columns of deviation 1 in 20 dimensions: a fifth of what batches of 1000 bear


def excess(model, X, y):
    return np.mean((y - model.predict(X)) ** 2) - NOISE


NOISE = 1.0  # the variance in y that no model explains


def numpy_descent(X, y, n_steps):
    """Batch descent as one writes it: every step reads all rows, once for the residuals and once for the gradient."""
    w, curve, spent = np.zeros(X.shape[1]), [], 0.0
    for _ in range(n_steps):
        start = time.perf_counter()
        residual = X @ w - y
        w = w - ETA * 2.0 / len(X) * (residual @ X)
        spent += time.perf_counter() - start
        curve.append((spent, np.mean((X[::100] @ w - y[::100]) ** 2) - NOISE))
    return curve


def estimator_descent(batch_size, X, y, numbers):
    """Wall time and excess loss of fits of 1, 2, ... epochs."""
    plain = {"learning_rate": "constant", "eta0": ETA, "tol": None, "random_state": 0}
    curve = []
    for n in numbers:
        model = MiniBatchLinearRegressor(batch_size, max_iter=n, **plain)
        start = time.perf_counter()
        model.fit(X, y)
        curve.append((time.perf_counter() - start, excess(model, X[::100], y[::100])))
    return curve


def within_an_epoch(X, y):
    """Batches of 1000 before their first epoch ends, by partial_fit on the first rows."""
    model, curve, spent = MiniBatchLinearRegressor(1000, learning_rate="constant", eta0=ETA, random_state=0), [], 0.0
    for start_row in range(0, 200_000, 20_000):
        rows = slice(start_row, start_row + 20_000)
        start = time.perf_counter()
        model.partial_fit(X[rows], y[rows])
        spent += time.perf_counter() - start
        curve.append((spent, excess(model, X[::100], y[::100])))
    return curve


def main():
    X, _ = random_table(5_000_000, 20)
    rng = np.random.default_rng(1)
    y = X @ rng.standard_normal(20) + np.sqrt(NOISE) * rng.standard_normal(len(X))
    curves = {
        "batch descent, NumPy": (partial(numpy_descent, n_steps=100), "C1.-"),
        "batch descent, batch_size=None": (partial(estimator_descent, None, numbers=(20, 50, 100, 200, 500)), "C7D"),
        "mini-batches of 1000": (within_an_epoch, "C0o-"),
    }
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, (descent, style) in curves.items():
        points = descent(X=X, y=y)
        print(name, [(round(t, 3), float(f"{loss:.2e}")) for t, loss in points], flush=True)
        ax.plot(*zip(*points, strict=True), style, markersize=4, label=name)
    ax.set(xscale="log", yscale="log", ylim=(1e-3, 100), xlabel="seconds", ylabel="mean squared error above the noise")
    ax.set_title("5,000,000 rows, 20 columns, the same step everywhere")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="upper left")
    figure.savefig(TARGET / "lecture.png", dpi=130)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
