"""
Six points by hand
==================

The :doc:`/tutorial` follows a lecture that fits a line through zero to six points. The loss is then
a parabola over the only coefficient w, and a descent is a walk on it.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import DescentPathDisplay, MiniBatchLinearRegressor

x = np.arange(6.0)[:, None]
y = np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])
plain = {"learning_rate": "constant", "fit_intercept": False, "tol": None, "record_steps": True}

# %%
# Two epochs from w = 0.2 with a step size of 0.01: one step an epoch on all rows, three on two rows
# each, six on one row each.

models = {
    f"batch_size={b}": MiniBatchLinearRegressor(
        b, eta0=0.01, max_iter=2, shuffle=False, **plain
    ).fit(x, y, coef_init=[0.2])
    for b in (None, 2, 1)
}
# sphinx_gallery_alt = "Two epochs on a parabola: two long steps on all rows, six on two rows each, twelve on one row each"
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    DescentPathDisplay.from_estimator(model, x, y, ax=ax)
    ax.set(title=name, xlabel="w", ylabel="mean squared error" if ax is axes[0] else "")
plt.show()

# %%
# How long may a step of all rows be? On a parabola of curvature 2 mean(x^2), a step size of
# 1 / mean(x^2) leads to the same height on the other side. That is the border: below it the walk
# comes down, beyond it the walk climbs. A safe step size is about half of it.

border = 1 / np.mean(x**2)
print(f"border {border:.3f}")


def walk(eta, n_steps=6):
    """The steps of batch descent, wherever they lead."""
    w = [0.2]
    for _ in range(n_steps):
        w.append(w[-1] + eta * 2 * np.mean((y - w[-1] * x[:, 0]) * x[:, 0]))
    return np.array(w)


def loss(w):
    return np.mean((np.multiply.outer(w, x[:, 0]) - y) ** 2, axis=1)


# sphinx_gallery_alt = "Three walks on the parabola: one comes down at once, one swings from side to side, one climbs"
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
for ax, share in zip(axes, (0.45, 0.95, 1.1), strict=True):
    w, at = walk(share * border), np.linspace(-1.5, 3.2, 200)
    ax.plot(at, loss(at), color="0.75")
    ax.plot(w, loss(w), "o-", markersize=3.5, linewidth=1.2)
    ax.plot(w[:1], loss(w[:1]), "o", color="black", markersize=7, markerfacecolor="white")
    ax.set(title=f"a step of {share * border:.3f}, {share:.2f} of the border", xlabel="w")
axes[0].set_ylabel("mean squared error")
plt.show()

# %%
# A fit that climbs raises an error, which names both numbers:

try:
    MiniBatchLinearRegressor(None, eta0=1.1 * border, max_iter=6, **plain).fit(x, y)
except ValueError as error:
    print(error)
