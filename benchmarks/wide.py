"""Many columns, hashed text and dense: seconds and excess of Ridge and of several batch sizes.

python -m benchmarks.wide        (a minute; one thread)
"""

import os
import warnings
from time import perf_counter

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy reads them

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from skgd import MiniBatchLinearRegressor


def text(n, d, length, seed):
    """Words as frequent as Zipf's law has it, hashed to columns with random signs; rows of norm 1."""
    rng = np.random.default_rng(seed)
    words = rng.zipf(1.3, size=(n, length)) % 2**31
    columns, signs = words * 2654435761 % 2**32 % d, np.where(words * 40503 % 2 == 0, 1.0, -1.0)
    X = csr_array((signs.ravel(), columns.ravel(), np.arange(0, n * length + 1, length)), shape=(n, d))
    X.sum_duplicates()
    X = csr_array(normalize(X))
    y = X @ (3 * rng.standard_normal(d) * (rng.random(d) < 0.1))
    return X, y + 0.5 * y.std() * rng.standard_normal(n) + 1


def dense(n, d):
    """Raw columns with common factors."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.exp(rng.uniform(-2, 2, d)) + rng.standard_normal((n, 5)) @ rng.standard_normal((5, d))
    return X, X @ (3 * rng.standard_normal(d) / X.std(axis=0)) / np.sqrt(d) + rng.standard_normal(n)


TABLES = [
    ("hashed 50,000 x 262,144", lambda: text(50_000, 2**18, 40, 0), 1e-4, "auto"),
    ("tf-idf 20,000 x 10,000", lambda: text(20_000, 10_000, 12, 1), 1e-4, "lsqr"),
    ("dense 2,000 x 5,000", lambda: dense(2000, 5000), 1e-2, "lsqr"),
    ("dense 20,000 x 2,000", lambda: dense(20_000, 2000), 1e-2, "lsqr"),
]


def main():
    warnings.simplefilter("ignore")
    for name, make, alpha, solver in TABLES:
        X, y = make()
        strength = len(y) * alpha / 2

        def objective(model, X=X, y=y, alpha=alpha):
            return np.mean((model.predict(X) - y) ** 2) + alpha * model.coef_ @ model.coef_ / 2

        least = objective(Ridge(alpha=strength, tol=1e-12, solver="cholesky" if name[0] == "d" else "sparse_cg").fit(X, y))
        models = {f"Ridge {solver}": Ridge(alpha=strength, solver=solver)}
        models |= {f"b={b}": MiniBatchLinearRegressor(b, alpha=alpha, random_state=0) for b in (32, None, 1, 256)}
        print(name)
        for label, model in models.items():
            times = []
            for _ in range(2):
                start = perf_counter()
                model.fit(X, y)
                times.append(perf_counter() - start)
            print(f"    {label:12s} {min(times):6.3f} s, excess {(objective(model) - least) / (np.var(y) - least):.0e}")


if __name__ == "__main__":
    main()
