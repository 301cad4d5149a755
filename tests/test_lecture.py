"""The worked example: six points, yhat = w x, w0 = 0.2, learning rate 0.01. Tolerance: the last digits of float64."""

import numpy as np
import pytest

from skgd import MiniBatchLinearRegressor

x = np.arange(6.0)[:, None]
y = np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])

# batch_size, the rows in the order of the steps, and w after each step, worked by hand
LECTURE = {
    "batch": (None, [0, 1, 2, 3, 4, 5], [0.2 + 0.01 * 2 * 42.8 / 6]),
    "stochastic": (1, [2, 4], [0.272, 0.52896]),
    "mini-batch": (2, [1, 4, 0, 2, 3, 5], [0.346, 0.37616, 0.5622656]),
}


def fit(batch_size, rows, **parameters):
    model = MiniBatchLinearRegressor(
        batch_size,
        learning_rate="constant",
        eta0=0.01,
        fit_intercept=False,
        shuffle=False,
        tol=None,
        record_steps=True,
        **{"max_iter": 1, **parameters},
    )
    return model.fit(x[rows], y[rows], coef_init=[0.2])


@pytest.mark.parametrize(("batch_size", "rows", "w"), LECTURE.values(), ids=LECTURE)
def test_steps_are_those_worked_by_hand(batch_size, rows, w):
    model = fit(batch_size, rows)
    np.testing.assert_allclose(model.coef_path_[:, 0], [0.2, *w], rtol=1e-12)
    np.testing.assert_allclose(model.coef_, w[-1:], rtol=1e-12)
    assert model.n_steps_ == len(w)
    assert model.intercept_ == 0.0


def test_loss_at_the_start_is_the_mean_squared_error_without_a_half():
    np.testing.assert_allclose(fit(None, range(6)).loss_curve_, [33.95 / 6], rtol=1e-12)


@pytest.mark.parametrize(("batch_size", "rows", "w"), LECTURE.values(), ids=LECTURE)
def test_loss_path_is_the_batch_loss_before_each_step_and_loss_curve_its_mean(batch_size, rows, w):
    model = fit(batch_size, rows)
    b = batch_size or 6
    batches = np.array(rows).reshape(-1, b)
    before = model.coef_path_[:-1, 0]
    expected = [np.mean((y[batch] - w_k * x[batch, 0]) ** 2) for batch, w_k in zip(batches, before, strict=True)]
    np.testing.assert_allclose(model.loss_path_, expected, rtol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, [np.mean(expected)], rtol=1e-12)


def test_ten_epochs_of_batch_descent_follow_the_recursion():
    model = fit(None, range(6), max_iter=10)
    w = [0.2]
    for _ in range(10):
        w.append(w[-1] + 0.01 * np.mean(2 * (y - w[-1] * x[:, 0]) * x[:, 0]))
    np.testing.assert_allclose(model.coef_path_[:, 0], w, rtol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, [np.mean((y - w_k * x[:, 0]) ** 2) for w_k in w[:-1]], rtol=1e-12)


def test_five_million_rows_in_batches_of_a_thousand_are_five_thousand_steps_an_epoch():
    rows = 50_000  # the same ratio at a hundredth of the size
    data = np.random.default_rng(0).standard_normal((rows, 1))
    model = MiniBatchLinearRegressor(1000, max_iter=1, tol=None).fit(data, data[:, 0])
    assert model.n_steps_ == rows // 1000
