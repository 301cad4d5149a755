"""
Batch size against time to accuracy
===================================

How long does it take until the fit is as good as least squares, to within a thousandth of the
explained variance? Small batches make many cheap steps in each pass over the data; large batches
make fewer and less noisy ones. On most tables any size from 8 to 1000 works well. ``None`` sums
over all pairs of columns once; after that, its epochs cost almost nothing.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np

from skgd import MiniBatchLinearRegressor

warnings.filterwarnings("ignore", "The descent ended at an objective")  # after its first epoch


def table(n_rows, n_columns):
    """Raw and correlated: columns of other units and offsets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns)) @ (
        np.eye(n_columns) + rng.standard_normal((n_columns, n_columns)) / n_columns**0.5
    )
    y = X @ rng.standard_normal(n_columns)
    y += y.std() * rng.standard_normal(n_rows)
    return X * 10 ** rng.uniform(-2, 2, n_columns) + 10 ** rng.uniform(0, 3, n_columns), y


def seconds_to(batch_size, X, y, target=1e-3):
    """Wall time until the gap is the target, between two epochs by interpolation."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    best = np.mean((y - y.mean() - Z @ np.linalg.lstsq(Z, y - y.mean(), rcond=None)[0]) ** 2)
    start, gap = 0.0, 1.0  # of a constant
    for n_epochs in range(1, 30):
        model = MiniBatchLinearRegressor(batch_size, max_iter=n_epochs, tol=None, random_state=0)
        took = []
        for _ in range(3):
            begin = time.perf_counter()
            model.fit(X, y)
            took.append(time.perf_counter() - begin)
        end, before = max(min(took), start), gap
        gap = (np.mean((y - model.predict(X)) ** 2) - best) / (np.var(y) - best)
        if gap <= target:
            if n_epochs == 1:  # what precedes the first step is not made shorter
                return end
            return start + (end - start) * np.log(before / target) / np.log(before / gap)
        start = end
    return np.nan


sizes = [1, 4, 16, 32, 64, 256, 1024, 4096]
# sphinx_gallery_alt = "Milliseconds to a gap of 1e-3 by batch size: nearly level from 1 to 1,000, with None the fastest on few columns"
figure, ax = plt.subplots(layout="constrained")
for (n_rows, n_columns), style in {
    (10_000, 10): "C0o-",
    (10_000, 100): "C1s--",
    (100_000, 20): "C2^-.",
}.items():
    X, y = table(n_rows, n_columns)
    took = [1e3 * seconds_to(b, X, y) for b in sizes]
    full = 1e3 * seconds_to(None, X, y)
    ax.plot(sizes, took, style, label=f"{n_rows:,} x {n_columns}")
    ax.plot(3e4, full, style[:3], markersize=9)
ax.axvline(1.1e4, color="0.7", linewidth=0.8)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="batch_size (at the right: None)",
    ylabel="ms until the gap is below 1e-3",
)
ax.set_xticks([*sizes[::2], 3e4], [*map(str, sizes[::2]), "None"])
ax.legend(frameon=False)
plt.show()
