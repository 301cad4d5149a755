"""docs/coming_from.md against the packages themselves, where they are installed: pip install torch river."""

import numpy as np
import pytest

from skgd import MiniBatchLinearRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 3))
y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(60)
PLAIN = {"learning_rate": "constant", "eta0": 0.01, "shuffle": False, "tol": None}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_steps_are_those_of_a_pytorch_loop(momentum, alpha):
    torch = pytest.importorskip("torch")
    rows, targets = torch.tensor(X), torch.tensor(y)[:, None]
    model, loss = torch.nn.Linear(3, 1, dtype=torch.float64), torch.nn.MSELoss()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    weights = [{"params": [model.weight], "weight_decay": alpha}, {"params": [model.bias]}]
    optimizer = torch.optim.SGD(weights, lr=0.01, momentum=momentum)
    for _ in range(4):
        for batch in torch.arange(60).split(20):
            optimizer.zero_grad()
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()
    ours = MiniBatchLinearRegressor(20, momentum=momentum, alpha=alpha, max_iter=4, **PLAIN).fit(X, y)
    np.testing.assert_allclose(ours.coef_, model.weight.detach().numpy()[0], rtol=1e-12)  # rounding of twelve steps
    np.testing.assert_allclose(ours.intercept_, model.bias.item(), rtol=1e-12)


def test_rowwise_steps_are_those_of_river():
    pytest.importorskip("river")
    from river import linear_model, optim

    theirs = linear_model.LinearRegression(optim.SGD(0.01), intercept_lr=0.01)
    ours = MiniBatchLinearRegressor(1, **PLAIN)
    for row, target in zip(X, y, strict=True):
        theirs.learn_one(dict(enumerate(row)), target)
        ours.partial_fit([row], [target])
    np.testing.assert_allclose(ours.coef_, [theirs.weights[j] for j in range(3)], rtol=1e-12)


def test_learn_many_of_river_is_one_step_of_a_full_batch():
    pytest.importorskip("river")
    import pandas as pd
    from river import linear_model, optim

    theirs = linear_model.LinearRegression(optim.SGD(0.01), intercept_lr=0.0)
    theirs.learn_many(pd.DataFrame(X), pd.Series(y, name="y"))
    ours = MiniBatchLinearRegressor(None, fit_intercept=False, **PLAIN).partial_fit(X, y)
    np.testing.assert_allclose(ours.coef_, [theirs.weights[j] for j in range(3)], rtol=1e-12)
