"""What one epoch costs, beside SGDRegressor: medians of interleaved runs in one process and one thread.

python benchmarks/epochs.py [--short]
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, SGDRegressor
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor

warnings.simplefilter("ignore")


def milliseconds(calls, rounds):
    """Median time of each call, taken in turn."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def epochs(model, X, y, n_epochs):
    return lambda: model.set_params(max_iter=n_epochs).fit(X, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small tables and few rounds, to see that it runs")
    short = parser.parse_args().short
    rng = np.random.default_rng(0)
    settings = [(b, shuffle) for b in (1, 32, 1000) for shuffle in (False, True)]
    print("ms per epoch: five epochs more of a fit, divided by five; in brackets how many times faster than SGDRegressor")
    print(f"{'':>14}{'sum of X':>10}{'SGDRegressor':>14}", end="")
    print("".join(f"{f'b={b}' + (' shuffled' if s else ''):>17}" for b, s in settings))
    plain = {"learning_rate": "constant", "eta0": 1e-4, "penalty": None, "tol": None, "random_state": 0}
    for n, d in [(20_000, 10)] if short else [(100_000, 10), (1_000_000, 20), (200_000, 100), (1_000_000, 100), (20_000, 1000)]:
        X = rng.standard_normal((n, d))
        y = X[:, 0] + rng.standard_normal(n)
        models = {"peer": SGDRegressor(**plain)}
        models |= {(b, s): MiniBatchLinearRegressor(b, shuffle=s, **plain) for b, s in settings}
        calls = {"sum": X.sum} | {(name, k): epochs(model, X, y, k) for name, model in models.items() for k in (1, 6)}
        took = milliseconds(calls, 3 if short else 5)
        epoch = {name: (took[name, 6] - took[name, 1]) / 5 for name in models}
        print(f"{f'{n} x {d}':>14}{took['sum']:10.1f}{epoch['peer']:14.1f}", end="")
        print("".join(f"{epoch[s]:9.1f} ({epoch['peer'] / epoch[s]:4.1f}x)" for s in settings), flush=True)

    X, y = load_diabetes(return_X_y=True)
    calls = {"LinearRegression": lambda: LinearRegression().fit(X, y)}
    for n_epochs in (1, 20):
        common = {"max_iter": n_epochs, "tol": None, "random_state": 0}
        calls[f"SGDRegressor, {n_epochs} epochs"] = lambda common=common: SGDRegressor(**common).fit(X, y)
        for rate in ("auto", "constant"):
            model = MiniBatchLinearRegressor(learning_rate=rate, **common)
            calls[f"MiniBatchLinearRegressor, {rate}, {n_epochs} epochs"] = lambda model=model: model.fit(X, y)
    calls["MiniBatchLinearRegressor()"] = lambda: MiniBatchLinearRegressor(random_state=0).fit(X, y)
    calls["SGDRegressor()"] = lambda: SGDRegressor(random_state=0).fit(X, y)
    print("\nms per fit of 442 x 10")
    for name, value in milliseconds(calls, 20 if short else 300).items():
        print(f"{value:8.2f}  {name}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
