"""The compiled pass against its specification in NumPy, over the whole grid of what it can be asked."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_array

from skgd import _reference as reference
from skgd._step_size import averaging_weights
from tests.conftest import LOSSES

kernel = pytest.importorskip("skgd._kernel", reason="no compiled kernel: the reference is what runs")

N, D = 23, 5


def arguments(
    dtype,
    batch_size,
    *,
    weighted,
    intercept,
    l2,
    l1,
    average,
    momentum,
    cap,
    lookahead=0.0,
    loss=None,
    n_targets=1,
    lowest=-np.inf,
):
    rng = np.random.default_rng(0)
    n_batches = -(-N // batch_size)
    steps = np.zeros(n_batches, reference.STEP)
    steps["eta"] = 0.02 / np.arange(1, n_batches + 1) ** 0.25
    steps["cap"], steps["ceiling"] = cap, np.inf
    steps["momentum"], steps["lookahead"] = momentum, lookahead
    if average:
        steps["averaging"] = 1.0 / np.arange(1, n_batches + 1)
    metric = rng.uniform(0.5, 1.5, (2, D + 1))
    metric[1, -1] = intercept
    return {
        "X": rng.standard_normal((N, D)).astype(dtype),
        "y": rng.standard_normal((n_targets, N)),
        "weight": rng.uniform(0, 2, N) if weighted else np.broadcast_to(1.0, N),
        "order": rng.permutation(N).astype(np.int32),
        "batch_size": batch_size,
        "steps": np.tile(steps, (n_targets, 1)),
        "metric": metric,
        "loss": np.array((loss or LOSSES["squared_error"](0.1, 0.5))[:4]),
        "penalty": np.array([l2, l1, lowest]),
        "targets": np.arange(n_targets, dtype=np.int32),
        "parameters": np.random.default_rng(1).standard_normal((n_targets, 4, D + 1)),
        "objectives": np.empty((n_targets, n_batches)),
    }


def both(**grid):
    results = []
    for engine in kernel, reference:
        arrays = arguments(**grid)
        engine.descend(**arrays)
        results.append(np.concatenate([arrays["parameters"][:, :3].ravel(), arrays["objectives"].ravel()]))
    return results


PLAIN = {"weighted": True, "intercept": 1.0, "l2": 0.0, "l1": 0.0, "average": False, "momentum": 0.0, "cap": np.inf}


# 1e-12: sums of N * D products in another order differ by some hundred roundings of 1e-16, and steps do not grow them.
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch_size", [1, 3, N - 1, N, N + 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [0.0, 1.0])
@pytest.mark.parametrize(("l2", "l1"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(("momentum", "lookahead"), [(0.0, 0.0), (0.6, 0.0), (0.6, 0.6)])
def test_kernel_is_the_reference(dtype, batch_size, weighted, intercept, l2, l1, average, momentum, lookahead):
    compiled, specified = both(
        dtype=dtype,
        batch_size=batch_size,
        weighted=weighted,
        intercept=intercept,
        l2=l2,
        l1=l1,
        average=average,
        momentum=momentum,
        lookahead=lookahead,
        cap=np.inf,
    )
    np.testing.assert_allclose(compiled, specified, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cap", [0.05, 2.0, np.inf])
@pytest.mark.parametrize("batch_size", [1, 3, N])
def test_kernel_is_the_reference_under_any_cap(cap, batch_size):
    compiled, specified = both(**{**PLAIN, "cap": cap}, dtype=np.float64, batch_size=batch_size)
    np.testing.assert_allclose(compiled, specified, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [1, 3, N])
def test_kernel_is_the_reference_for_every_loss(loss, batch_size):
    compiled, specified = both(**PLAIN, dtype=np.float64, batch_size=batch_size, loss=LOSSES[loss](0.4, 0.8))
    np.testing.assert_allclose(compiled, specified, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_run_can_be_cut_anywhere_between_batches_with_identical_bits(batch_size):
    grid = {**PLAIN, "average": True, "momentum": 0.6, "l2": 0.1}
    whole, pieces = (arguments(np.float64, batch_size, **grid) for _ in range(2))
    kernel.descend(**whole)
    order, steps, objectives = pieces["order"], pieces["steps"], pieces["objectives"]
    for first, last in (0, 2), (2, 3), (3, steps.shape[1]):
        pieces["order"] = order[first * batch_size : last * batch_size]
        pieces["steps"], pieces["objectives"] = (a[:, first:last].copy() for a in (steps, objectives))
        kernel.descend(**pieces)
        objectives[:, first:last] = pieces["objectives"]
    np.testing.assert_array_equal(whole["parameters"][:, :3], pieces["parameters"][:, :3])
    np.testing.assert_array_equal(whole["objectives"], objectives)


def test_a_residual_that_is_not_a_number_is_not_swallowed():
    arrays = arguments(np.float64, 3, **PLAIN)
    arrays["y"][0, arrays["order"][0]] = np.nan
    kernel.descend(**arrays)
    assert np.isnan(arrays["objectives"]).all()
    assert np.isnan(arrays["parameters"][0, 0]).all()


def test_arrays_that_do_not_fit_together_are_refused():
    arrays = arguments(np.float64, 3, **PLAIN)
    arrays["steps"] = arrays["steps"][:, 1:].copy()
    with pytest.raises(ValueError, match="do not fit"):
        kernel.descend(**arrays)


def test_shuffle_is_a_permutation_and_every_place_is_as_likely():
    counts = np.zeros((6, 6))
    for seed in range(6000):
        order = np.arange(6, dtype=np.int32)
        kernel.shuffle(order, seed)
        counts[np.arange(6), order] += 1
    assert (counts.sum(axis=0) == 6000).all()
    # A place has 1000 expected visits of deviation 29: five deviations are passed by chance once in 50,000 runs of 36 counts.
    assert np.abs(counts - 1000).max() < 5 * 29


def test_without_the_kernel_one_warning_tells_and_everything_works():
    program = """
import sys, warnings
sys.modules["skgd._kernel"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from skgd import MiniBatchLinearRegressor
    import numpy as np
    X = np.random.default_rng(0).standard_normal((200, 3))
    for batch_size in (1, 32, None):
        model = MiniBatchLinearRegressor(batch_size, random_state=0).fit(X, X @ [1, 2, 3] + 4)
        assert np.allclose(model.coef_, [1, 2, 3], atol=1e-2), model.coef_
        model.partial_fit(X, X @ [1, 2, 3] + 4)
assert [w.category for w in caught] == [RuntimeWarning], [str(w.message) for w in caught]
assert "C compiler" in str(caught[0].message)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_scales_of_sparse_columns_that_are_no_powers_of_two_are_refused():
    arrays = arguments(np.float64, 3, **PLAIN)
    table = csr_array(arrays.pop("X"))
    arrays |= {"values": table.data, "columns": table.indices.astype(np.int32), "starts": table.indptr.astype(np.int64)}
    arrays["metric"][1] = 0.5
    kernel.descend_sparse(**arrays)
    for scale in (0.3, -0.5, np.nan):
        arrays["metric"][1, 2] = scale
        with pytest.raises(ValueError, match="powers of two"):
            kernel.descend_sparse(**arrays)


def test_an_average_from_step_a_on_is_a_mean_that_steps_before_do_not_enter():
    t = np.arange(1.0, 9.0)
    np.testing.assert_allclose(averaging_weights(t, 5), [0, 0, 0, 0, 1, 1 / 2, 1 / 3, 1 / 4])  # what is replaced is not taken
    np.testing.assert_allclose(averaging_weights(t[:3], 5), [0, 0, 1])  # the last of a run may be the last of all


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, N, 200])
@pytest.mark.parametrize("n_targets", [2, 3, 4, 8, 9, 21])
def test_each_of_several_targets_takes_its_own_steps(dtype, batch_size, n_targets):
    grid = {**PLAIN, "average": True, "l2": 0.1, "cap": 0.5}
    together = arguments(dtype, batch_size, **grid, n_targets=n_targets)
    together["steps"]["eta"] *= np.linspace(0.5, 1.5, n_targets)[:, None]
    before = together["parameters"].copy()
    together["targets"] = np.random.default_rng(2).permutation(n_targets)[: n_targets - 1].astype(np.int32)
    together["steps"], together["objectives"] = together["steps"][:-1], together["objectives"][:-1]
    kernel.descend(**together)
    for place, target in enumerate(together["targets"]):
        alone = {name: together[name] for name in ("X", "weight", "order", "batch_size", "metric", "loss", "penalty")}
        alone |= {"y": together["y"][[target]], "parameters": before[[target]], "steps": together["steps"][[place]]}
        alone |= {"targets": np.zeros(1, np.int32), "objectives": np.empty((1, together["steps"].shape[1]))}
        reference.descend(**alone)
        np.testing.assert_allclose(together["parameters"][target, :3], alone["parameters"][0, :3], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(together["objectives"][place], alone["objectives"][0], rtol=1e-12)
    (left,) = set(range(n_targets)) - set(together["targets"].tolist())
    np.testing.assert_array_equal(together["parameters"][left], before[left])
