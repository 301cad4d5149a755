"""
Step size and stability
=======================

A constant step size is a trade-off: if it is too small, the descent takes too many steps; if it is
too large, the descent diverges. On the full batch the border between the two is exact: 1 over the
largest eigenvalue of X'X / n. Beyond it the loss grows, and the fit soon raises an error that
names a safe step size, a little less than half of the border.
"""

import textwrap
import warnings

import matplotlib.pyplot as plt
import numpy as np

from skgd import DescentPathDisplay, MiniBatchLinearRegressor

warnings.filterwarnings("ignore", "The descent ended at an objective")  # short steps are drawn, too
rng = np.random.default_rng(0)
X = rng.standard_normal((200, 2)) * [1.0, 3.0]
y = X @ [2.0, 1.0] + 0.5 * rng.standard_normal(200)
border = 1 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]

models = {
    f"{share} of the border": MiniBatchLinearRegressor(
        None,
        learning_rate="constant",
        eta0=share * border,
        fit_intercept=False,
        max_iter=15,
        tol=None,
        record_steps=True,
    ).fit(X, y)
    for share in (0.1, 0.5, 0.95)
}
# sphinx_gallery_alt = "Paths in a long valley: a tenth of the border creeps, half runs along it, 0.95 swings across it"
DescentPathDisplay.from_estimator(models, X, y)
plt.title("A valley nine times as curved in one direction")

# %%
# Past the border:

too_long = MiniBatchLinearRegressor(
    None, learning_rate="constant", eta0=1.2 * border, fit_intercept=False
)
try:
    too_long.fit(X, y)
except ValueError as error:
    print(textwrap.fill(str(error), 90))

# %%
# Loss after 30 epochs against the step size. Small batches need smaller steps: their border depends
# on the longest row, not on the average one.


def loss_after(batch_size, eta0):
    model = MiniBatchLinearRegressor(
        batch_size, learning_rate="constant", eta0=eta0, max_iter=30, tol=None, random_state=0
    )
    try:
        return np.mean((y - model.fit(X, y).predict(X)) ** 2)
    except ValueError:
        return np.inf


steps = np.geomspace(1e-5, 0.3, 40)
# sphinx_gallery_alt = "Error after 30 epochs by step size: a U for each batch size, with the smallest at shorter steps"
figure, ax = plt.subplots(layout="constrained")
for batch_size, style in {1: "C0o-", 16: "C1s--", None: "C2^-."}.items():
    ax.plot(
        steps,
        [loss_after(batch_size, eta0) for eta0 in steps],
        style,
        label=f"batch_size={batch_size}",
        markersize=4,
    )
ax.axvline(border, color="0.5", linewidth=0.8, label="border of the full batch")
ax.set(
    xscale="log",
    yscale="log",
    ylim=(0.2, 30),
    xlabel="eta0",
    ylabel="mean squared error after 30 epochs",
)
ax.legend(frameon=False)
plt.show()
