"""Excess of default fits over the optimum of a general-purpose optimiser, relative to the best constant prediction's.

python -m benchmarks.losses        (from the project's folder)
"""

import warnings

from skgd import MiniBatchLinearRegressor
from skgd._constant import best_constant, constant_loss
from skgd._objective import LOSSES, loss_and_slope
from tests.conftest import cubic, diabetes, heavy_tails, rows_of
from tests.test_objective import optimal_loss

warnings.simplefilter("ignore")


def main():
    sizes = 1, 32, 256, None
    print(f"{'':44}" + "".join(f"{f'b={b}':>14}" for b in sizes))
    for make in diabetes, cubic, heavy_tails:
        X, y = (a[:3000] for a in make())
        for name in LOSSES:
            loss, rows = LOSSES[name](0.1, 0.5), rows_of(X, y)
            best = optimal_loss(loss, X, y)
            worst = constant_loss(loss, rows, best_constant(loss, rows))[0]
            cells = []
            for b in sizes:
                model = MiniBatchLinearRegressor(b, loss=name, random_state=0).fit(X, y)
                excess = (loss_and_slope(loss, model.predict(X) - y)[0].mean() - best) / (worst - best)
                cells.append(f"{excess:9.0e}{model.n_iter_:5d}")
            print(f"{f'{make.__name__} {len(y)}x{X.shape[1]}, {name}':44}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
