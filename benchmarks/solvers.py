"""Every kind of fit beside the best solver that scikit-learn has for it: seconds, excess, ratio.

python -m benchmarks.solvers             (five minutes; one thread; a picture goes to docs/_static/solvers.svg)
python -m benchmarks.solvers 1e-2        (a hundredth of the rows, as a smoke test; no picture)

Of each side, the fastest of those that reach an excess of 1e-3, as a share of the excess of the best constant prediction. Times
are medians of five. Plain epochs end where they end: their steps are the same on both sides.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy reads them

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import HuberRegressor, Lasso, LinearRegression, QuantileRegressor, Ridge, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from benchmarks import wide
from skgd import MiniBatchLinearRegressor

ENOUGH = 1e-3
REPEATS = 5


@dataclass
class Row:
    """A kind of fit: the data, what is minimised, and models of both sides by their names."""

    name: str
    X: object
    y: np.ndarray
    ours: dict
    theirs: dict
    loss: object = np.square
    l2: float = 0.0
    l1: float = 0.0

    def objective(self, model):
        """The objective as skgd defines it; of a pipeline in the coordinates of its last step, as its penalty is."""
        coef = model[-1].coef_ if hasattr(model, "steps") else model.coef_
        return (
            np.mean(self.loss(model.predict(self.X) - self.y)) + 0.5 * self.l2 * np.sum(coef**2) + self.l1 * np.abs(coef).sum()
        )


def dense(n, d, seed=0, is_raw=False, n_targets=None):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    w = rng.standard_normal((d, n_targets) if n_targets else d) * (np.arange(d) % 3 > 0 if not n_targets else 1.0)
    y = X @ w + rng.standard_normal((n, n_targets) if n_targets else n)
    return (X * 10.0 ** rng.uniform(-2, 2, d) + 10.0 ** rng.uniform(0, 2, d) if is_raw else X), y


def ours(*sizes, **options):
    names = {size: "default" if size == 32 else "None" if size is None else f"b={size}" for size in sizes}
    return {names[size]: MiniBatchLinearRegressor(size, random_state=0, **options) for size in sizes}


def text(n, d, length, seed):
    X, y = wide.text(n, d, length, seed)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)  # as Lasso takes them
    return X, y


def huber(residual):
    size = np.abs(residual)
    return np.where(size <= 1.35, size**2, 2.7 * size - 1.35**2)


def rows(share):
    """The table; with a share of the rows of what is large."""

    def n(number):
        return max(200, int(share * number))

    X, y = load_diabetes(return_X_y=True, scaled=False)
    least = {"LinearRegression": LinearRegression()}
    yield Row("least squares 442 x 10, default", X, y, ours(32), least)
    yield Row("least squares 442 x 10", X, y, ours(None), least)
    for epochs in 1, 20:
        steps = {"learning_rate": "constant", "max_iter": epochs, "tol": None}
        peers = {"SGDRegressor": SGDRegressor(alpha=0, eta0=2e-6, random_state=0, **steps)}  # it halves the loss
        yield Row(f"{epochs} plain epoch(s) 442 x 10", X, y, ours(1, eta0=1e-6, **steps), peers)
    X, y = dense(1000, 50)
    yield Row("ridge 1,000 x 50", X, y, ours(None, 32, alpha=0.01), {"Ridge": Ridge(5.0)}, l2=0.01)
    yield Row("lasso 1,000 x 50", X, y, ours(None, 32, alpha=0.1, penalty="l1"), {"Lasso": Lasso(0.05)}, l1=0.1)
    X, y = dense(n(20_000), 50, n_targets=50)
    yield Row("50 targets 20,000 x 50, default", X, y, ours(32), least)
    yield Row("50 targets 20,000 x 50", X, y, ours(None), least)
    X, y = dense(n(500_000), 50, is_raw=True)
    scaled = {"LinearRegression": make_pipeline(StandardScaler(), LinearRegression()), "Ridge": Ridge(0.0, solver="cholesky")}
    yield Row("least squares 500,000 x 50, raw", X, y, ours(None, 32), least | scaled)
    X, y = dense(n(300_000), 50)
    yield Row("lasso 300,000 x 50", X, y, ours(None, 32, alpha=0.1, penalty="l1"), {"Lasso": Lasso(0.05)}, l1=0.1)
    positive = {"LinearRegression(positive)": LinearRegression(positive=True)}
    yield Row("least squares >= 0, 300,000 x 50", X, y, ours(None, 32, positive=True), positive)
    X, y = dense(n(100_000), 30)
    peers = {"HuberRegressor": HuberRegressor(alpha=0.0, max_iter=1000)}
    yield Row("huber 100,000 x 30", X, y, ours(None, 32, loss="huber", epsilon=1.35), peers, huber)
    peers = {"LinearSVR": LinearSVR(epsilon=0.5, C=1e3, max_iter=10_000, tol=1e-4, random_state=0)}
    X, y = dense(5000, 50)
    insensitive = ours(None, 32, loss="epsilon_insensitive", epsilon=0.5)
    yield Row("epsilon-insensitive 5,000 x 50", X, y, insensitive, peers, lambda r: np.maximum(np.abs(r) - 0.5, 0.0))
    peers = {"QuantileRegressor": QuantileRegressor(quantile=0.9, alpha=0.0)}
    quantile = ours(None, 32, loss="quantile", quantile=0.9)
    yield Row("0.9-quantile 5,000 x 50", X, y, quantile, peers, lambda r: np.where(r > 0.0, 0.1 * r, -0.9 * r))
    X, y = text(n(20_000), 10_000, 12, 1)
    yield Row(
        "tf-idf 20,000 x 10,000, l2", X, y, ours(None, 32, alpha=1e-4), {"Ridge": Ridge(len(y) * 5e-5, solver="lsqr")}, l2=1e-4
    )
    X, y = text(n(50_000), 2**18, 40, 0)
    peers = {f"Ridge({solver})": Ridge(len(y) * 5e-5, solver=solver) for solver in ("lsqr", "sparse_cg")}
    yield Row("hashed text 50,000 x 262,144, l2", X, y, ours(None, 32, alpha=1e-4), peers, l2=1e-4)
    X, y = text(n(10_000), 2**16, 40, 0)
    yield Row(
        "hashed text 10,000 x 65,536, l1", X, y, ours(None, 32, alpha=2e-3, penalty="l1"), {"Lasso": Lasso(1e-3)}, l1=2e-3
    )
    X, _ = dense(2000, max(300, int(share * 5000)))
    y = X[:, :20] @ np.linspace(-3, 3, 20) + np.random.default_rng(1).standard_normal(len(X))
    yield Row("lasso 2,000 x 5,000", X, y, ours(None, 32, alpha=0.2, penalty="l1"), {"Lasso": Lasso(0.1)}, l1=0.2)


def timed(model, row):
    """Median seconds, and the objective."""
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        model.fit(row.X, row.y)
        seconds.append(perf_counter() - start)
        if sum(seconds) > 20.0:
            break
    return np.median(seconds), row.objective(model)


def main():
    warnings.simplefilter("ignore")
    share, ratios = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0, []
    print(f"{'':36}{'ours':>22}{'seconds':>10}{'excess':>10}   {'theirs':26}{'seconds':>8}{'excess':>10}{'ratio':>8}")
    for row in rows(share):
        found = [{name: timed(model, row) for name, model in side.items()} for side in (row.ours, row.theirs)]
        least = min(value for side in found for _, value in side.values())
        constant = np.mean(row.loss(np.median(row.y, axis=0) - row.y))
        best = []
        for side in found:
            excess = {name: (value - least) / (constant - least) for name, (_, value) in side.items()}
            name = min(side, key=lambda name, side=side, excess=excess: (excess[name] > ENOUGH, side[name][0]))
            best.append((name, side[name][0], excess[name]))
        (our, seconds, excess), (their, their_seconds, their_excess) = best
        ratios.append((row.name, seconds / their_seconds, their))
        print(
            f"{row.name:36}{our:>22}{seconds:10.2g}{excess:10.0e}   {their:26}{their_seconds:8.2g}{their_excess:10.0e}"
            f"{seconds / their_seconds:8.2g}",
            flush=True,
        )
    if share == 1.0:
        draw(ratios)


def draw(ratios):
    """Dots on a logarithmic axis: scikit-learn's best solver at 1."""
    import matplotlib.pyplot as plt

    ratios = sorted(ratios, key=lambda each: each[1], reverse=True)
    figure, ax = plt.subplots(figsize=(8, 6))
    for place, (_, ratio, _) in enumerate(ratios):
        ax.plot([1.0, ratio], [place, place], color="0.75", lw=1, zorder=1)
        ax.plot(ratio, place, "o", color="tab:blue" if ratio <= 1.0 else "tab:orange", zorder=2)
        ax.annotate(f"{ratio:.2g}", (ratio, place), (6 if ratio > 1 else -6, 0), textcoords="offset points", va="center",
                    ha="left" if ratio > 1 else "right", fontsize=8)  # fmt: skip
    ax.axvline(1.0, color="0.4", lw=1)
    ax.set(xscale="log", xlim=(min(r for _, r, _ in ratios) / 3, max(r for _, r, _ in ratios) * 3))
    ax.set_yticks(range(len(ratios)), [f"{name}  (beside {their})" for name, _, their in ratios], fontsize=8)
    ax.set_xlabel("time beside scikit-learn's best solver: left is faster")
    ax.set_title("Seconds to an excess of 1e-3, scikit-learn's best solver = 1")
    for side in "top", "right":
        ax.spines[side].set_visible(False)
    figure.savefig("docs/_static/solvers.svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
