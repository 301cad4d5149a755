"""The compiled pass against its specification on random cases: whatever may vary, varies.

python -m tests.test_differential 100000        (from the project's folder; prints the cases that differ)
"""

import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

from skgd import _reference as reference
from tests.conftest import LOSSES

kernel = pytest.importorskip("skgd._kernel", reason="no compiled kernel: the reference is what runs")

# Some thousand sums in another order, along steps that may amplify what they round by a factor of 1000.
TOLERANCE = 1e-9


def random_steps(rng, n_steps, n_features):
    """Steps of which every field varies from one to the next, or is absent from all of them."""

    def some(values):
        return np.where(rng.random(n_steps) < rng.choice([0.0, 0.3, 1.0]), values, 0.0)

    steps = np.zeros(n_steps, reference.STEP)
    steps["eta"] = 10.0 ** rng.uniform(-3, -0.5, n_steps) / max(1.0, n_features / 4)
    steps["cap"] = np.where(some(1.0) > 0.0, 10.0 ** rng.uniform(-2, 1, n_steps), np.inf)
    steps["ceiling"] = np.where(some(1.0) > 0.0, 10.0 ** rng.uniform(-2, 1, n_steps), np.inf)
    steps["momentum"] = some(rng.uniform(0.0, 0.95, n_steps))
    steps["lookahead"] = np.where(rng.random() < 0.5, steps["momentum"], 0.0)
    steps["averaging"] = some(rng.choice([1.0, 0.5, 0.1, 1e-3], n_steps))
    return steps


def random_metric(rng, n_features, is_sparse):
    """Scales that are powers of two, some of them zero; for dense rows also any others, and a center."""
    metric = np.zeros((2, n_features + 1))
    metric[1] = 2.0 ** rng.integers(-rng.choice([0, 6]), rng.choice([1, 3]), n_features + 1)
    metric[1, rng.random(n_features + 1) < 0.1] = 0.0
    if is_sparse:
        return metric
    metric[0] = rng.standard_normal(n_features + 1) * (rng.random(n_features + 1) < rng.choice([0.0, 0.3, 1.0]))
    metric[1] *= rng.uniform(0.5, 1.0, n_features + 1)
    return metric


def random_case(seed):
    """Arguments of a pass, and where its run is cut into several calls."""
    rng = np.random.default_rng(seed)
    n_samples, n_features = rng.integers(1, 40), rng.integers(1, 30)
    is_sparse, batch_size = rng.random() < 0.5, int(rng.choice([1, rng.integers(2, 50), rng.integers(50, 120)]))
    X = rng.standard_normal((n_samples, n_features)).astype(rng.choice([np.float32, np.float64]))
    if is_sparse:
        X[rng.random(X.shape) >= rng.choice([0.0, 0.1, 0.4, 1.0])] = 0.0
    weight = rng.uniform(0.0, 2.0, 3 * n_samples) * (rng.random(3 * n_samples) < 0.8)
    order = rng.integers(0, n_samples, rng.integers(1, 3 * n_samples + 1)).astype(np.int32)
    n_batches = -(-len(order) // batch_size)
    n_targets = int(rng.choice([1, rng.integers(2, 20)]))
    targets = rng.permutation(n_targets)[: rng.integers(1, n_targets + 1)].astype(np.int32)
    y = rng.standard_normal((n_targets, n_samples)) * 10.0 ** rng.uniform(-2, 2)
    case = {
        "y": y if rng.random() < 0.5 else np.asfortranarray(y),
        "weight": [np.broadcast_to(1.0, n_samples), weight[:n_samples].copy(), weight[::3]][rng.integers(3)],
        "order": order,
        "batch_size": batch_size,
        "steps": np.array([random_steps(rng, n_batches, n_features) for _ in targets]),
        "metric": random_metric(rng, n_features, is_sparse),
        "loss": np.array(LOSSES[rng.choice(list(LOSSES))](rng.choice([0.1, 0.5]), rng.choice([0.1, 0.5, 0.9]))[:4]),
        "penalty": np.array([rng.choice([0.0, 0.1, 1.0, 20.0]), rng.choice([0.0, 0.05, 1.0]), rng.choice([0.0, -np.inf])]),
        "targets": targets,
        "parameters": rng.standard_normal((n_targets, 4, n_features + 1)),
        "objectives": np.zeros((len(targets), n_batches)),
    }
    if rng.random() < 0.5:
        case["penalty"][:2] = 0.0
    if case["penalty"][2] == 0.0:
        case["parameters"][:, [0, 2]] = np.abs(case["parameters"][:, [0, 2]])
        case["steps"]["lookahead"] = 0.0  # a point ahead may be out of bounds
    if is_sparse:
        table = csr_array(X)
        rows = {"values": table.data, "columns": table.indices.astype(np.int32), "starts": table.indptr.astype(np.int64)}
    else:
        rows = {"X": X}
    return rows | case, np.unique([0, n_batches, *rng.integers(0, n_batches + 1, 2)])


def results(engine, case, cuts):
    """Coefficients, velocity, average and objectives after the run, cut into calls."""
    case = case | {"parameters": case["parameters"].copy(), "objectives": case["objectives"].copy()}
    descend = engine.descend_sparse if "values" in case else engine.descend
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop in pairwise(cuts):
            piece = {"order": case["order"][start * case["batch_size"] : stop * case["batch_size"]]}
            piece |= {name: case[name][:, start:stop].copy() for name in ("steps", "objectives")}
            descend(**(case | piece))
            case["objectives"][:, start:stop] = piece["objectives"]
    parameters = case["parameters"][:, :3].transpose(1, 0, 2)
    return [part.reshape(-1) for part in (*parameters, case["objectives"])]


def difference(seed):
    """The largest difference, relative to the largest number of all targets; 0 where the descent left every bound."""
    case, cuts = random_case(seed)
    specified, compiled = results(reference, case, cuts[[0, -1]]), results(kernel, case, cuts)
    if not np.abs(np.concatenate(specified)).max() < 1e8:
        return 0.0
    return max(np.abs(a - b).max() / max(1e-3, np.abs(a).max()) for a, b in zip(specified, compiled, strict=True))


def differing(seeds):
    """The cases beyond the tolerance, NaN included."""
    found = ((seed, difference(seed)) for seed in seeds)
    return [(seed, found) for seed, found in found if not found <= TOLERANCE]


def test_the_kernel_is_the_reference_on_random_cases():
    assert differing(range(800)) == []


if __name__ == "__main__":
    wrong = differing(range(int(sys.argv[1])))
    print(*(f"case {seed}: {found:.1e}" for seed, found in wrong), f"{len(wrong)} of {sys.argv[1]} cases differ", sep="\n")
    sys.exit(bool(wrong))
