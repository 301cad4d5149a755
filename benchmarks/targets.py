"""Many targets beside one: an epoch beside MLPRegressor's without hidden layers, a default fit beside LinearRegression's.

python -m benchmarks.targets        (two minutes; one thread)
"""

import os
import warnings
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy reads them

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor

from skgd import MiniBatchLinearRegressor


def table(n, d, n_targets):
    """Raw columns, and targets of one dimension if there is one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.exp(rng.uniform(-2, 2, d)) + rng.standard_normal(d)
    Y = X @ (rng.standard_normal((d, n_targets)) / X.std(axis=0)[:, None]) + 2 * rng.standard_normal((n, n_targets))
    return X, Y[:, 0] if n_targets == 1 else Y


def seconds(fits):
    """The least of three times that each fit takes, in turn."""
    times = {name: [] for name in fits}
    for _ in range(3):
        for name, fit in fits.items():
            start = perf_counter()
            fit()
            times[name].append(perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def main():
    warnings.simplefilter("ignore")
    print("milliseconds an epoch, 100,000 x 100, batches of 256 (and of 32)")
    for n_targets in 1, 5, 20, 50:
        X, Y = table(100_000, 100, n_targets)
        models = {
            "MLPRegressor": MLPRegressor(hidden_layer_sizes=(), batch_size=256, n_iter_no_change=10**6, random_state=0),
            "skgd, 256": MiniBatchLinearRegressor(256, tol=None, random_state=0),
            "skgd, 32": MiniBatchLinearRegressor(32, tol=None, random_state=0),
        }
        times = seconds(
            {
                (name, k): lambda model=model, k=k, X=X, Y=Y: model.set_params(max_iter=k).fit(X, Y)
                for name, model in models.items()
                for k in (1, 4)
            }
        )
        found = {name: (times[name, 4] - times[name, 1]) / 3 for name in models}
        print(f"{n_targets:3d} targets:", *(f"{name} {1e3 * value:.1f}" for name, value in found.items()), sep="  ")
    print("a default fit, 20,000 x 50, in times of LinearRegression's")
    for n_targets in 1, 5, 20, 50:
        X, Y = table(20_000, 50, n_targets)
        model = MiniBatchLinearRegressor(random_state=0)
        found = seconds({each: lambda each=each, X=X, Y=Y: each.fit(X, Y) for each in (model, LinearRegression())})
        ours, theirs = found.values()
        print(f"{n_targets:3d} targets:  {ours / theirs:.1f} ({1e3 * ours:.0f} ms, {model.n_iter_} epochs)")


if __name__ == "__main__":
    main()
