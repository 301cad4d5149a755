"""What halving and doubling each constant of the core costs: readings, and the excess of fits and of streams.

Small tables of known unkindness, every loss with and without an l1 norm; full batches, batches of 32, and streams in chunks of
50 rows. Readings are sums over all rows or over a sample of them. The excess is over the lowest objective that any fit here has
reached, as a share of the excess of the best constant prediction. What neither halving nor doubling changes is not printed.

python -m benchmarks.constants            (half an hour; one thread: OMP_NUM_THREADS=1)
python -m benchmarks.constants START_SMOOTHING    (one of them)
"""

import sys
import warnings
from contextlib import contextmanager

import numpy as np

from benchmarks.readings import CASES, objective
from skgd import MiniBatchLinearRegressor, _rows
from tests import conftest

CONSTANTS = {
    "_newton": "HALVING",
    "_damped_newton": "SAMPLE_RATIO",
    "_reading": "ROUNDING START_SMOOTHING",
    "_step_size": "FEW_STEPS DECAY",
    "_objective": "INDISTINCT NOTHING",
    "_stopping": "CHANCE TIGHTER",
    "_geometry": "LEAST_SAMPLE ROWS_PER_ESTIMATE SAFETY",
    "_stream": "UNUSUAL UNLIKELY CEILING ENOUGH_ROWS",
    "_constant": "LEAST_REACH ENOUGH_FOR_A_MEAN",
    "_renewable": "FIRST_NUMBERS GROWTH CHEAP_COLUMNS",
    "_rows": "SAMPLE",
    "_vertex": "MOST_PIVOTS",
}
TABLES = [
    conftest.diabetes,
    conftest.cubic,
    conftest.near_twins,
    conftest.heavy_tails,
    conftest.few_long_rows,
    conftest.dummies,
]
SIZE, CHUNK = 2500, 50
WAYS = {"None": None, "32": 32, "stream": 32}


class Readings:
    """Counts the sums over rows."""

    def __init__(self):
        self.number, add_up = 0, _rows.Rows.add_up

        def counted(rows, *requests):
            self.number += 1
            return add_up(rows, *requests)

        _rows.Rows.add_up = counted


@contextmanager
def changed(name, factor):
    """The constant multiplied, wherever it was imported."""
    homes = [module for module in map(sys.modules.get, list(sys.modules)) if module and hasattr(module, name)]
    homes = [module for module in homes if module.__name__.startswith("skgd.")]
    value = getattr(homes[0], name)
    other = type(value)(max(1, round(factor * value))) if isinstance(value, int) else factor * value
    for module in homes:
        setattr(module, name, other)
    try:
        yield
    finally:
        for module in homes:
            setattr(module, name, value)


def fitted(way, options, X, y):
    model = MiniBatchLinearRegressor(WAYS[way], random_state=0, **options)
    if way != "stream":
        return model.fit(X, y)
    for start in range(0, len(y), CHUNK):
        model.partial_fit(X[start : start + CHUNK], y[start : start + CHUNK])
    return model


def measured(cases, readings):
    """For each way: readings in all, and the excess of each case above the lowest objective that was found."""
    found = {}
    for way in WAYS:
        before, excess = readings.number, []
        for case in cases:
            at = objective(fitted(way, case["options"], case["X"], case["y"]), case["X"], case["y"])
            excess.append((at - case["lowest"]) / case["reach"])
        found[way] = readings.number - before, np.array(excess)
    return found


def cases_of(tables):
    """Every loss on every table, with what a close fit reaches."""
    for make in tables:
        X, y = make()
        rows = np.random.default_rng(0).permutation(len(y))[:SIZE]
        X, y = X[rows], y[rows] / y[rows].std()
        for options in CASES.values():
            for penalty in {}, {"penalty": "l1", "alpha": 1e-3}:
                close = MiniBatchLinearRegressor(None, tol=1e-9, **options, **penalty).fit(X, y)
                constant = MiniBatchLinearRegressor(None, tol=1e-9, **options).fit(X[:, :1] * 0.0, y)
                lowest = objective(close, X, y)
                reach = max(np.mean(objective(constant, X[:, :1], y)) - lowest, 1e-3 * abs(lowest))
                yield {"options": options | penalty, "X": X, "y": y, "lowest": lowest, "reach": reach}


def main(only):
    warnings.simplefilter("ignore")
    readings = Readings()
    cases = list(cases_of(TABLES))
    usual = measured(cases, readings)
    print(f"{'':34}" + "".join(f"{way + ': readings, excess in mean, at most':>42}" for way in WAYS))

    def line(name, found):
        cells = (
            f"{number / usual[way][0]:26.2f}{np.mean(np.maximum(excess, 0.0)):8.0e}{excess.max():8.0e}"
            for way, (number, excess) in found.items()
        )
        print(f"{name:34}" + "".join(cells), flush=True)

    line("as it is", usual)
    for module, names in CONSTANTS.items():
        for name in names.split():
            for factor in (0.5, 2.0) if not only or name in only else ():
                with changed(name, factor):
                    found = measured(cases, readings)
                if any(found[way][0] != usual[way][0] or np.any(found[way][1] != usual[way][1]) for way in WAYS):
                    line(f"{module}.{name} * {factor:g}", found)


if __name__ == "__main__":
    main(sys.argv[1:])
