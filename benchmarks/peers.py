"""Ours beside every peer that is installed: one process, one thread, interleaved runs.

An epoch is the difference between a long fit and one of a single epoch, each the least of its runs. Other times are medians.

python -m benchmarks.peers                   (from the project's folder; a quarter of an hour)
python -m benchmarks.peers --short           (a minute: small tables, to see that it runs; writes nothing)

Writes docs/benchmarks/results.md and docs/benchmarks/growth.png. Peers: pip install torch river vowpalwabbit.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import tempfile
import time
import tracemalloc
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor
from tests.conftest import gap

warnings.simplefilter("ignore")
TARGET = Path(__file__).parent.parent / "docs" / "benchmarks"
PLAIN = {"learning_rate": "constant", "eta0": 1e-4, "tol": None, "random_state": 0}
ORDERS = {False: "in order", True: "shuffled"}
MOST_STEPS = 1000  # of the peers that take a millisecond a step: their epoch is this many, times its share of the epoch


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(measures, rounds):
    """The median of each measure, a callable that returns seconds, taken in turn."""
    taken = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(values) for name, values in taken.items()}


def table(columns, rows):
    """A Markdown table."""
    lines = [columns, [":--"] + ["--:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def epochs_of(models, X, y, rounds, more=None):
    """Seconds of an epoch of each model: those that a long fit takes longer than a short one, each the least of several."""
    more = more or int(np.clip(20_000_000 / X.shape[0] / X.shape[1], 3, 100))
    taken = {}
    for _ in range(rounds):
        for name, model in models.items():
            for n in (1, 1 + more):
                took = seconds(lambda model=model, n=n: model.set_params(max_iter=n).fit(X, y))
                taken[name, n] = min(took, taken.get((name, n), took))
    return {name: (taken[name, 1 + more] - taken[name, 1]) / more for name in models}


# An epoch of each peer: functions of the data and the batch size that return seconds.


def mlp_epoch(X, y, b):
    n = min(len(X), MOST_STEPS * b, 200_000)
    model = MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", batch_size=b, learning_rate_init=1e-4, tol=0.0, n_iter_no_change=10**6
    )
    return epochs_of({"": model}, X[:n], y[:n], 1, more=1)[""] * len(X) / n


def torch_epoch(X, y, b):
    import torch

    torch.set_num_threads(1)
    n = min(len(X), MOST_STEPS * b)
    rows, targets = torch.as_tensor(X[:n], dtype=torch.float32), torch.as_tensor(y[:n], dtype=torch.float32)[:, None]
    model, loss = torch.nn.Linear(X.shape[1], 1), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def epoch():
        for batch in torch.randperm(n).split(b):
            optimizer.zero_grad()
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()

    return seconds(epoch) * len(X) / n


def river_epoch(X, y, b):
    from river import linear_model, optim

    rows = [dict(enumerate(row)) for row in X[:MOST_STEPS].tolist()]
    model = linear_model.LinearRegression(optim.SGD(1e-4))

    def epoch():
        for row, target in zip(rows, y.tolist(), strict=False):
            model.learn_one(row, target)

    return seconds(epoch) * len(X) / len(rows)


def vowpal_epoch(X, y, b):
    from vowpalwabbit import pyvw

    n = min(len(X), 2_000_000 // X.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        names = " ".join(f"{j}:%.6g" for j in range(X.shape[1]))
        np.savetxt(f"{folder}/rows", np.column_stack([y[:n], X[:n]]), fmt=f"%.6g | {names}")
        options = f"-d {folder}/rows --cache_file {folder}/cache --holdout_off --quiet --passes "
        one, several = (seconds(lambda k=k: pyvw.Workspace(options + str(k)).finish()) for k in (1, 11))
    return (several - one) / 10 * len(X) / n


def numpy_epoch(X, y, b):
    n = min(len(X), MOST_STEPS * b)
    w, c = np.zeros(X.shape[1]), 0.0

    def epoch():
        nonlocal w, c
        order = np.random.default_rng(0).permutation(n)
        for start in range(0, n, b):
            rows = order[start : start + b]
            residual = X[rows] @ w + c - y[rows]
            w -= 1e-4 * 2.0 / len(rows) * (residual @ X[rows])
            c -= 1e-4 * 2.0 / len(rows) * residual.sum()

    return seconds(epoch) * len(X) / n


def is_installed(package):
    return importlib.util.find_spec(package) is not None


def peers(b):
    """Names and epochs of those that take steps of `b` rows."""
    found = {"MLPRegressor": mlp_epoch, "NumPy loop": numpy_epoch}
    if is_installed("torch"):
        found["PyTorch"] = torch_epoch
    if b == 1 and is_installed("river"):
        found["River"] = river_epoch
    if b == 1 and is_installed("vowpalwabbit"):
        found["Vowpal Wabbit"] = vowpal_epoch
    return found


def random_table(n, d, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=dtype)
    return X, X[:, 0] + rng.standard_normal(n)


def epochs(shapes, rounds):
    """What an epoch costs, for each size of batch: a column for each shape, a line for each way to do it."""
    sizes = (1, 32, 1000)
    columns = {b: [] for b in sizes}
    gains = []
    for n, d in shapes:
        X, y = random_table(n, d)
        order = np.random.default_rng(0).permutation(n)
        ours = {(b, s): MiniBatchLinearRegressor(b, shuffle=s, **PLAIN) for b in sizes for s in (False, True)}
        peers_of_ours = {s: SGDRegressor(penalty=None, shuffle=s, **PLAIN) for s in (False, True)}
        models = {("SGDRegressor", s): model for s, model in peers_of_ours.items()} | ours
        measures = {"read": partial(seconds, X.sum), "take": partial(seconds, partial(np.take, X, order, 0))}
        double = medians(measures, rounds) | epochs_of(models, X, y, rounds)
        slow = {b: medians({k: partial(f, X, y, b) for k, f in peers(b).items()}, max(1, rounds // 3)) for b in sizes}
        X32 = X.astype(np.float32)
        single = medians({"read": partial(seconds, X32.sum)}, rounds) | epochs_of(models, X32, y, rounds)
        print(f"{n} x {d}", {k: round(1e3 * v, 1) for k, v in double.items()}, slow, flush=True)
        for b in sizes:
            column = {"one pass over X in memory": double["read"], "NumPy's `X[perm]`": double["take"]}
            column |= {"**skgd, rows in order**": double[b, False], "**skgd, rows shuffled**": double[b, True]}
            column |= {f"SGDRegressor, rows {order_name}": double["SGDRegressor", s] for s, order_name in ORDERS.items()}
            column |= slow[b]
            base = double[b, True]
            columns[b].append({k: f"{1e3 * t:,.1f} ({t / base:,.1f}x)" for k, t in column.items()})
        gains.append([f"{1e3 * single[key]:.1f} ({double[key] / single[key]:.1f}x)" for key in single])
    heading = [f"{n:,} x {d}" for n, d in shapes]
    text = ""
    for b, found in columns.items():
        text += f"### An epoch with batch_size={b}: ms (times skgd shuffled)\n\n"
        text += table(["", *heading], [[name, *(column[name] for column in found)] for name in found[0]]) + "\n"
    who = "SGDRegressor", *(f"skgd {b}" for b in sizes)
    names = ["one pass over X in memory", *(f"{each}, {order_name}" for each in who for order_name in ORDERS.values())]
    lines = [[name, *cells] for name, *cells in zip(names, *gains, strict=True)]
    return text + "### On float32: ms (times faster than on float64)\n\n" + table(["", *heading], lines)


def thousand_epochs(shape, rounds):
    """The full batch, whose sums are taken once."""
    X, y = random_table(*shape)
    model = MiniBatchLinearRegressor(None, max_iter=1000, **(PLAIN | {"eta0": 0.1}))
    took = medians({"X": partial(seconds, X.sum), "fit": partial(seconds, partial(model.fit, X, y))}, rounds)
    cells = [f"{1e3 * took['fit']:.0f} ms", f"{took['fit'] / took['X']:.1f}"]
    return table(["rows x columns", "skgd, None", "readings of X"], [[f"{shape[0]:,} x {shape[1]}", *cells]])


def hashed_text(n_rows, n_columns, n_words=100):
    """Words drawn so that a few columns hold most of them, as in language."""
    rng = np.random.default_rng(0)
    columns = np.sort((n_columns * rng.random((n_rows, n_words)) ** 3).astype(np.int32), axis=1)
    counts = np.abs(rng.standard_normal(n_rows * n_words))
    X = csr_matrix((counts, columns.ravel(), np.arange(0, counts.size + 1, n_words)), shape=(n_rows, n_columns))
    X.sum_duplicates()
    return X, np.asarray(X[:, :100].sum(axis=1)).ravel() + rng.standard_normal(n_rows)


def sparse_epochs(n_rows, rounds):
    X, y = hashed_text(n_rows, 2**20)
    models = {"SGDRegressor": SGDRegressor(penalty=None, **PLAIN)}
    models |= {f"skgd, {b}": MiniBatchLinearRegressor(b, penalty=None, **PLAIN) for b in (1, 32, 1000)}
    took = epochs_of(models, X, y, rounds)
    return table(["rows x columns", *took], [[f"{n_rows:,} x 2^20", *(f"{1e3 * t:.0f}" for t in took.values())]])


def raw_table(n, d):
    """Columns of all units and offsets, correlated: what nobody has prepared."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) @ (np.eye(d) + rng.standard_normal((d, d)) / np.sqrt(d))
    X = X * 10 ** rng.uniform(-3, 3, d) + 10 ** rng.uniform(-2, 4, d)
    y = X @ (rng.standard_normal(d) / X.std(axis=0))
    return X, y + y.std() * rng.standard_normal(n)


def torch_fit(X, y, n_epochs):
    """The loop one would write: StandardScaler, batches of 32, the optimizer's own step."""
    import torch

    scaler = StandardScaler().fit(X)
    rows = torch.as_tensor(scaler.transform(X), dtype=torch.float32)
    targets = torch.as_tensor(y, dtype=torch.float32)[:, None]
    model, loss = torch.nn.Linear(X.shape[1], 1), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(n_epochs):
        for batch in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()

    class Fitted:
        def predict(self, X):
            return model(torch.as_tensor(scaler.transform(X), dtype=torch.float32)).detach().numpy().ravel().astype(float)

    return Fitted()


def accuracy(X, y, name, patience):
    """Wall time from raw data until the gap to least squares is small, and of a fit that is left to stop by itself."""

    def scaled(model):
        return lambda n: make_pipeline(StandardScaler(), model(n)).fit(X, y)

    def ours(b):
        def fit(n):
            rule = {} if n is None else {"max_iter": n, "tol": None}
            return MiniBatchLinearRegressor(b, random_state=0, **rule).fit(X, y)

        return fit

    def steps(n, **common):
        return common if n is None else {"max_iter": n, "tol": 0.0, "n_iter_no_change": 10**6, **common}

    fits = {f"skgd, {b}": ours(b) for b in (1, 32, 1000, None)}
    fits["LinearRegression"] = lambda n: LinearRegression().fit(X, y)
    fits["scaler + LinearRegression"] = scaled(lambda n: LinearRegression())
    fits["scaler + Ridge(solver='sag')"] = scaled(lambda n: Ridge(1e-9, solver="sag", random_state=0))
    fits["scaler + SGDRegressor"] = scaled(lambda n: SGDRegressor(**steps(n, alpha=0.0, random_state=0)))
    fits["scaler + MLPRegressor"] = scaled(lambda n: MLPRegressor(hidden_layer_sizes=(), **steps(n, alpha=0.0, random_state=0)))
    if is_installed("torch"):
        fits["scaler + PyTorch, 32"] = lambda n: None if n is None else torch_fit(X, y, n)
    lines = []
    for model, fit in fits.items():
        reached, spent, start = {}, 0.0, time.perf_counter()
        default = fit(None)
        left = time.perf_counter() - start
        own = f"{left:.3f} s, gap {max(gap(default, X, y), 0.0):.0e}" if default is not None else "never stops"
        for n in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            took = []
            for _ in range(3 if spent < patience / 10 else 1):
                start = time.perf_counter()
                fitted_model = fit(n)
                took.append(time.perf_counter() - start)
            spent += sum(took)
            distance = gap(fitted_model, X, y)
            for bound in (1e-2, 1e-3, 1e-4):
                if distance <= bound:
                    reached.setdefault(bound, statistics.median(took))
            if len(reached) == 3 or spent > patience:
                break
        print(name, model, reached, own, flush=True)
        cells = [f"{reached[bound]:.3f} s" if bound in reached else f"not in {n} epochs" for bound in (1e-2, 1e-3, 1e-4)]
        lines.append([model, *cells, own])
    heading = f"### Time from raw data to a gap: {name}, {X.shape[0]:,} x {X.shape[1]}\n\n"
    return heading + table(["", "1e-2", "1e-3", "1e-4", "left to itself"], lines)


def overhead(rounds):
    X, y = load_diabetes(return_X_y=True)
    measures = {}
    for n_epochs in (1, 20):
        common = {"max_iter": n_epochs, "tol": None, "random_state": 0}
        models = {
            "SGDRegressor": SGDRegressor(**common),
            'skgd, "constant"': MiniBatchLinearRegressor(learning_rate="constant", **common),
            'skgd, "auto"': MiniBatchLinearRegressor(**common),
        }
        measures |= {(k, n_epochs): lambda m=m: seconds(lambda: m.fit(X, y)) for k, m in models.items()}
    for k, m in {
        "SGDRegressor": SGDRegressor(random_state=0),
        'skgd, "auto"': MiniBatchLinearRegressor(random_state=0),
    }.items():
        measures[k, "to its stop"] = lambda m=m: seconds(lambda: m.fit(X, y))
    measures["LinearRegression", "to its stop"] = lambda: seconds(lambda: LinearRegression().fit(X, y))
    took = medians(measures, rounds)
    columns = (1, 20, "to its stop")
    names = ["SGDRegressor", 'skgd, "constant"', 'skgd, "auto"', "LinearRegression"]
    lines = [[k, *(f"{1e3 * took[k, c]:.2f}" if (k, c) in took else "" for c in columns)] for k in names]
    grids = {
        "skgd": (MiniBatchLinearRegressor(random_state=0), {"batch_size": [1, 8, 32, 128], "alpha": np.geomspace(1e-6, 1, 50)}),
        "scaler + SGDRegressor": (
            make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
            {"sgdregressor__eta0": [0.1, 0.03, 0.01, 0.003], "sgdregressor__alpha": np.geomspace(1e-6, 1, 50)},
        ),
    }
    searched = {k: seconds(lambda m=m, g=g: GridSearchCV(m, g, cv=5).fit(X, y)) for k, (m, g) in grids.items()}
    text = "### A fit of 442 x 10, in ms by epochs\n\n" + table(["", "1 epoch", "20 epochs", "to its stop"], lines)
    times = [[f"{t:.1f}" for t in searched.values()]]
    return text + "\n### GridSearchCV of 200 candidates, 5 folds, in s\n\n" + table(list(searched), times)


def memory(shape):
    """Peak of what Python allocates while fitting, X and y apart."""
    X, y = random_table(*shape)
    models = {f"skgd, {b}": MiniBatchLinearRegressor(b, max_iter=2, tol=None) for b in (1, 32, None)}
    models["SGDRegressor"] = SGDRegressor(max_iter=2, tol=None)
    models["MLPRegressor, 1000"] = MLPRegressor(hidden_layer_sizes=(), batch_size=1000, max_iter=2)
    models |= {"LinearRegression": LinearRegression(), "Ridge(solver='sag')": Ridge(solver="sag", max_iter=2)}
    cells = []
    for model in models.values():
        tracemalloc.start()
        model.fit(X, y)
        cells.append(f"{tracemalloc.get_traced_memory()[1] / len(X):.0f}")
        tracemalloc.stop()
    return table(["rows x columns", *models], [[f"{shape[0]:,} x {shape[1]}", *cells]])


def growth(numbers, rounds):
    """ms per epoch against rows and columns; the plot, if there is a place for it."""
    by_rows = [(n, 20) for n in (10_000, 100_000, 1_000_000, 5_000_000) if 20 * n <= 5 * numbers]
    by_columns = [(numbers // d, d) for d in (10, 100, 1000, 10_000)]
    curves = {}
    for label, shapes in {"rows": by_rows, "columns": by_columns}.items():
        for n, d in shapes:
            X, y = random_table(n, d)
            model, peer = MiniBatchLinearRegressor(1000, **PLAIN), SGDRegressor(penalty=None, **PLAIN)
            more = max(2, numbers // (n * d))  # epochs, so many that a difference of two fits can be told from noise
            found = epochs_of({"SGDRegressor": peer, "skgd, 1000": model}, X, y, rounds, more)
            curves[label, n, d] = medians({"read X": partial(seconds, X.sum)}, rounds) | found
            print(label, n, d, curves[label, n, d], flush=True)
    names = ["read X", "skgd, 1000", "SGDRegressor"]
    lines = [[f"{n:,} x {d}", *(f"{1e9 * took[k] / (n * d):.2f}" for k in names)] for (_, n, d), took in curves.items()]
    return table(["rows x columns", *names], lines), curves


def plot_growth(curves):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for ax, label, title in zip(axes, ("rows", "columns"), ("20 columns", "20 million numbers"), strict=True):
        points = {(n if label == "rows" else d): took for (kind, n, d), took in curves.items() if kind == label}
        for name, style in {"SGDRegressor": "C1s--", "skgd, 1000": "C0o-", "read X": "C7^:"}.items():
            ax.plot(list(points), [1e3 * took[name] for took in points.values()], style, label=name)
        ax.set(xscale="log", yscale="log", xlabel=label, title=title)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("ms per epoch, rows shuffled")
    axes[0].legend(frameon=False)
    figure.savefig(TARGET / "growth.png", dpi=130)


def machine():
    """One line on what was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    versions = []
    for package in ("skgd", "numpy", "scikit-learn", "torch", "river", "vowpalwabbit"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return f"{model}, one thread; Python {platform.python_version()}, {', '.join(versions)}."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small tables and few rounds; writes nothing")
    short = parser.parse_args().short
    shapes = [(100_000, 10), (1_000_000, 20), (200_000, 100), (1_000_000, 100), (20_000, 1000)]
    rounds = 1 if short else 5
    text = f"Measured on: {machine()} Medians of {rounds} interleaved runs.\n\n"
    text += epochs([(20_000, 10)] if short else shapes, rounds)
    text += "\n### A thousand epochs of batch descent\n\n" + thousand_epochs((50_000 if short else 1_000_000, 20), rounds)
    text += "\n### A sparse epoch: 100 non-zeros a row, shuffled, in ms\n\n" + sparse_epochs(2000 if short else 100_000, rounds)
    text += "\n" + accuracy(*raw_table(5000 if short else 300_000, 30), "made, raw", 1.0 if short else 20.0)
    if not short:
        text += "\n" + accuracy(*load_diabetes(return_X_y=True, scaled=False), "diabetes, raw", 20.0)
    text += "\n" + overhead(5 if short else 100)
    text += "\n### Peak memory beyond X and y, in bytes a row\n\n" + memory((50_000 if short else 1_000_000, 20))
    rates, curves = growth(200_000 if short else 20_000_000, rounds)
    text += "\n### Growth: ns per number of X\n\n" + rates
    print("\n" + text)
    if not short:
        (TARGET / "results.md").write_text(text)
        plot_growth(curves)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
