"""Random sequences of calls: whatever is asked in whatever order, the model is sensible, repeatable and loses nothing.

python -m tests.test_sequences 20000        (from the project's folder; prints the sequences that break a law)
"""

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skgd import MiniBatchLinearRegressor
from tests.conftest import LOSSES, best_constant, constant_loss, loss_and_slope, make_penalty, penalty_at, rows_of

EXPECTED = (  # what may be refused, by the words of the messages
    "too large",
    "too small",
    "varies too little",
    "diverged",
    "would hold out",
    "features, but",
    "targets, but the model",
    "must be one number for each",
    "needs a penalty with alpha > 0",
    "needs an l1_ratio",
    "contains NaN",
)


def random_parameters(rng):
    """Any combination that is allowed, the defaults more often than not."""
    choices = {
        "batch_size": [1, 7, 32, None],
        "loss": list(LOSSES),
        "epsilon": [0.1, 1.0, 10.0],
        "quantile": [0.5, 0.1, 0.95],
        "penalty": ["l2", "l1", "elasticnet", None],
        "alpha": [0.0, 1e-4, 0.1, 10.0, 1e4],
        "fit_intercept": [True, False],
        "learning_rate": ["auto", "auto", "auto", "constant", "invscaling", "adaptive"],
        "eta0": [0.01, 1e-4],
        "momentum": [0.0, 0.5, 0.99],
        "nesterovs_momentum": [False, True],
        "average": ["auto", True, False, 10],
        "max_iter": [1000, 1, 5],
        "tol": [1e-4, None, 1e-2],
        "shuffle": [True, False],
        "early_stopping": [False, False, True],
        "record_steps": [False, False, False, True],
        "warm_start": [False, True],
    }
    given = {name: values[0] if rng.random() < 0.5 else values[rng.integers(len(values))] for name, values in choices.items()}
    if given["tol"] is None or given["record_steps"]:
        given["max_iter"] = min(given["max_iter"], 5)
    if given["learning_rate"] != "auto":
        given["max_iter"] = min(given["max_iter"], 50)
    return given | {"random_state": 0}


def random_table(rng, n_features, n_targets):
    """Rows of any scale, offset and tail; dense or sparse, of either precision, with or without weights."""
    n = int(rng.choice([1, 2, 5, 40, 150]))
    X = rng.standard_normal((n, n_features)) if rng.random() < 0.7 else rng.standard_t(2, (n, n_features))
    X = X * 10.0 ** rng.uniform(-3, 3, n_features) + rng.choice([0.0, 1.0, 100.0], n_features)
    if rng.random() < 0.2:
        X[:, 0] = rng.choice([0.0, 1.0, X[0, -1]])
    y = X @ rng.standard_normal((n_features, n_targets)) / np.abs(X).max() + rng.standard_normal((n, n_targets))
    y = y * 10.0 ** rng.uniform(-3, 3) + rng.choice([0.0, 50.0])
    if rng.random() < 0.1:
        y[:] = y[0]
    X = X.astype(rng.choice([np.float32, np.float64]))
    if rng.random() < 0.1:
        X[rng.integers(n), 0] = np.nan
    weight = None if rng.random() < 0.6 else rng.uniform(0.0, 3.0, n) * (rng.random(n) < 0.7) + (np.arange(n) == 0)
    table = csr_array(np.where(rng.random(X.shape) < 0.5, X, 0.0)) if rng.random() < 0.3 else X
    return table, y if n_targets > 1 else y[:, 0], weight


def objectives(model, X, y, weight):
    """The objective of a fitted model and that of the best constant, for each target."""
    loss = LOSSES[model.loss](model.epsilon, model.quantile)
    weight = np.ones(X.shape[0]) if weight is None else weight
    rows = rows_of(X, np.atleast_2d(np.transpose(y)).astype(float), weight)
    constant = best_constant(loss, rows) if model.fit_intercept else np.zeros(len(rows.y))
    residual = (X @ np.atleast_2d(model.coef_).T.astype(float) + model.intercept_).T - rows.y
    value = loss_and_slope(loss, residual)[0] @ weight / weight.sum()
    value = value + penalty_at(make_penalty(model.penalty, model.alpha, model.l1_ratio), np.atleast_2d(model.coef_))
    return value, constant_loss(loss, rows, constant), np.abs(rows.y).max()


def call(rng, model, n_features, n_targets):
    """One random call; the model that is to go on, and the laws that were broken."""
    broken = []
    kind = rng.choice(["fit", "fit", "partial_fit", "partial_fit", "set_params", "pickle", "clone"])
    if kind == "set_params":
        names = rng.permutation(list(given := random_parameters(rng)))[:3]
        return model.set_params(**{name: given[name] for name in names}), broken
    if kind == "pickle":
        return pickle.loads(pickle.dumps(model)), broken
    if kind == "clone":
        return clone(model), broken
    X, y, weight = random_table(rng, n_features, n_targets)
    before, again = copy.deepcopy(vars(model)), copy.deepcopy(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(model, kind)(X, y, weight)
        except ValueError as error:
            if not any(words in str(error) for words in EXPECTED):
                broken.append(f"unexpected: {error}")
            np.testing.assert_equal(vars(model), before)
            return model, broken
    wrong = [str(w.message) for w in caught if w.category is RuntimeWarning]
    broken += [f"warned by NumPy: {message}" for message in wrong]
    if not (np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all() and np.isfinite(model.loss_curve_).all()):
        broken.append("not finite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(again, kind)(X, y, weight)
    if not (np.array_equal(again.coef_, model.coef_) and np.array_equal(again.intercept_, model.intercept_)):
        broken.append("not repeatable")
    promised = model.learning_rate == "auto" and model.tol is not None and not model.early_stopping
    if kind == "fit" and promised and not any(w.category is ConvergenceWarning for w in caught):
        value, of_constant, largest = objectives(model, X, y, weight)
        # float32 coefficients are rounded, and so are predictions far from zero
        rounding = 1e-5 if model.coef_.dtype == np.float32 else 1e-8
        if np.any(value > of_constant * (1 + rounding) + (rounding * largest) ** 2 + rounding * largest):
            broken.append(f"worse than a constant without a warning: {value} > {of_constant}")
    return model, broken


def laws_broken(seed):
    """The laws that a random sequence of calls breaks."""
    rng = np.random.default_rng(seed)
    model, n_features, n_targets = MiniBatchLinearRegressor(**random_parameters(rng)), rng.integers(1, 5), rng.choice([1, 1, 3])
    broken = []
    for _ in range(rng.integers(1, 6)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, found = call(rng, model, n_features, n_targets)
        broken += found
    return broken


@pytest.mark.parametrize("block", range(6))
def test_random_sequences_of_calls_break_no_law(block):
    found = {seed: laws_broken(seed) for seed in range(50 * block, 50 * (block + 1))}
    assert {seed: broken for seed, broken in found.items() if broken} == {}


if __name__ == "__main__":
    n_wrong = 0
    for seed in range(int(sys.argv[1])):
        if broken := laws_broken(seed):
            n_wrong += 1
            print(f"sequence {seed}: {broken}", flush=True)
    print(f"{n_wrong} of {sys.argv[1]} sequences break a law")
    sys.exit(bool(n_wrong))
