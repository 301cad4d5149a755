"""Would a batch_size taken from the data, 1 + L_max / L to the nearest power of two, beat 32? Default fits, medians of 5.

python -m benchmarks.batch_sizes        (from the project's folder)
"""

import time
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from skgd import MiniBatchLinearRegressor
from skgd._geometry import geometry_of_batches
from tests.conftest import UNKIND, gap, rows_of

warnings.simplefilter("ignore")


def from_data(X):
    rows = rows_of(X)
    geometry = geometry_of_batches(rows, rows.moments(False), 32, 0.0, True)
    return int(np.clip(2 ** np.round(np.log2(1 + geometry.longest / max(1.0, geometry.eigenvalue))), 1, 1024))


def cell(X, y, batch_size):
    times, gaps = [], []
    for seed in range(5):
        start = time.perf_counter()
        model = MiniBatchLinearRegressor(batch_size, random_state=seed).fit(X, y)
        times.append(1e3 * (time.perf_counter() - start))
        gaps.append(gap(model, X, y))
    return f"{batch_size:8d}{np.median(times):9.1f}{model.n_iter_:6d}{max(gaps):9.0e}"


def main():
    heading = f"{'b':>8}{'ms':>9}{'epochs':>6}{'gap':>9}"
    print(f"{'':32}{heading}{heading}")
    for make in UNKIND:
        X, y = make()
        print(f"{f'{make.__name__} {len(X)}x{X.shape[1]}':32}{cell(X, y, 32)}{cell(X, y, from_data(X))}", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
