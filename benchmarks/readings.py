"""Readings that the full batch of each loss needs until its excess is 1e-5 of the constant prediction's loss, and the seconds.

The excess is over the lowest objective that any of the fits here has reached, one of them with tol=1e-9. Beside it: b=32.

python -m benchmarks.readings        (from the project's folder; one thread: OMP_NUM_THREADS=1)
"""

import time
import warnings

import numpy as np

from benchmarks.gaps import TABLES
from skgd import MiniBatchLinearRegressor
from skgd._objective import LOSSES, loss_and_slope, make_penalty, penalty_at

CASES = {
    "huber": {"loss": "huber", "epsilon": 0.5},
    "quantile 0.05": {"loss": "quantile", "quantile": 0.05},
    "quantile 0.5": {"loss": "quantile", "quantile": 0.5},
    "quantile 0.95": {"loss": "quantile", "quantile": 0.95},
    "epsilon": {"loss": "epsilon_insensitive", "epsilon": 0.3},
    "epsilon, squared": {"loss": "squared_epsilon_insensitive", "epsilon": 0.3},
}
PENALTIES = {"none": {}, "l2": {"penalty": "l2", "alpha": 1e-3}, "l1": {"penalty": "l1", "alpha": 1e-3}}


def objective(model, X, y):
    loss = loss_and_slope(LOSSES[model.loss](model.epsilon, model.quantile), model.predict(X) - y)[0].mean()
    return loss + penalty_at(make_penalty(model.penalty, model.alpha, model.l1_ratio), model.coef_)


def timed(model, X, y):
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start


def main():
    warnings.simplefilter("ignore")
    print(f"{'':44}{'readings to 1e-5':>17}{'in all':>8}{'excess':>9}{'seconds':>9}{'b=32: excess':>15}{'seconds':>9}")
    for table, make in TABLES.items():
        X, y = make()
        X, y = X[:, X.std(axis=0) > 0], y / y.std()  # so that epsilon means the same everywhere
        for case, loss in CASES.items():
            for name, penalty in PENALTIES.items():
                full, precise, batches = (
                    MiniBatchLinearRegressor(b, tol=tol, random_state=0, **loss, **penalty)
                    for b, tol in ((None, 1e-4), (None, 1e-9), (32, 1e-4))
                )
                seconds = [timed(model, X, y) for model in (full, precise, batches)]
                constant = objective(MiniBatchLinearRegressor(None, **loss).fit(0.0 * X[:, :1], y), 0.0 * X[:, :1], y)
                values = [objective(model, X, y) for model in (full, precise, batches)]
                best = min(*values, *full.loss_curve_)
                reached = np.flatnonzero(full.loss_curve_ - best <= 1e-5 * constant)
                needed = reached[0] + 1 if len(reached) else full.n_iter_ + (values[0] - best <= 1e-5 * constant)
                label = f"{table} {len(X)}x{X.shape[1]}, {case}, {name}"
                ours = f"{needed:17d}{full.n_iter_:8d}{(values[0] - best) / constant:9.0e}{seconds[0]:9.3f}"
                print(f"{label:44}{ours}{(values[2] - best) / constant:15.0e}{seconds[2]:9.3f}", flush=True)


if __name__ == "__main__":
    main()
