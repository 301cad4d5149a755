"""What must not become slower: short timings, to compare two commits side by side with pytest-benchmark.

python -m pytest benchmarks/speed.py                                    (half a minute)
python -m pytest benchmarks/speed.py --benchmark-save=before            (on one commit, then, installed anew, on another:)
python -m pytest benchmarks/speed.py --benchmark-compare
"""

import numpy as np
import pytest
from scipy.sparse import random_array
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor

from skgd import MiniBatchLinearRegressor

PLAIN = {"learning_rate": "constant", "eta0": 1e-4, "max_iter": 3, "tol": None, "random_state": 0}


def table(n, d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X, X[:, 0] + rng.standard_normal(n)


@pytest.mark.benchmark(group="three epochs of 100,000 x 20")
@pytest.mark.parametrize("batch_size", [1, 32, 1000, None])
@pytest.mark.parametrize("learning_rate", ["constant", "auto"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_epochs(benchmark, batch_size, learning_rate):
    model = MiniBatchLinearRegressor(batch_size, **(PLAIN | {"learning_rate": learning_rate}))
    benchmark(model.fit, *table(100_000, 20))


@pytest.mark.benchmark(group="three epochs of 100,000 x 20")
def test_sgd_regressor_as_a_measure_of_the_machine(benchmark):
    benchmark(SGDRegressor(**PLAIN).fit, *table(100_000, 20))


@pytest.mark.benchmark(group="three epochs of sparse 20,000 x 100,000")
@pytest.mark.parametrize("batch_size", [1, 32])
def test_sparse_epochs(benchmark, batch_size):
    X = random_array((20_000, 100_000), density=5e-4, format="csr", rng=0)
    benchmark(MiniBatchLinearRegressor(batch_size, **PLAIN).fit, X, X @ np.ones(100_000))


@pytest.mark.benchmark(group="a fit of 442 x 10")
@pytest.mark.parametrize("model", [MiniBatchLinearRegressor(random_state=0), MiniBatchLinearRegressor(**PLAIN)], ids=repr)
def test_small_fits(benchmark, model):
    benchmark(model.fit, *load_diabetes(return_X_y=True))


@pytest.mark.benchmark(group="partial_fit of 1000 rows")
def test_stream(benchmark):
    model, (X, y) = MiniBatchLinearRegressor(random_state=0), table(1000, 20)
    benchmark(model.partial_fit, X, y)
