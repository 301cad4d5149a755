"""
Three descents in one valley
============================

Batch, mini-batch and stochastic descent are one algorithm: each step goes against the gradient on
``batch_size`` rows. With all rows, the path is smooth, with one step per epoch. With two rows,
there are three steps per epoch and a little noise; with one row, six steps and more noise. All
three start at the white circle and run for the same number of epochs towards the cross, the
minimum. A star marks where each one is.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import DescentPathDisplay, LossCurveDisplay, MiniBatchLinearRegressor

X = np.arange(6.0)[:, None]
y = np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])

plain = {
    "learning_rate": "constant",
    "eta0": 0.02,
    "max_iter": 20,
    "tol": None,
    "record_steps": True,
    "random_state": 0,
}
models = {
    f"batch_size={b}": MiniBatchLinearRegressor(b, **plain).fit(
        X, y, coef_init=[-0.5], intercept_init=1.5
    )
    for b in (1, 2, None)
}
# sphinx_gallery_alt = "Three paths over contours: all rows go straight and slowly, single rows zigzag and get farther"
DescentPathDisplay.from_estimator(models, X, y)
plt.title("20 epochs each")

# %%
# The objective per epoch and per step. Small batches are ahead per epoch because they make more
# steps; per step they are about as good, only noisier.

# sphinx_gallery_alt = "The objective by epoch, where small batches are ahead, and by step, where they are noisier"
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
LossCurveDisplay.from_estimator(models, ax=left, log_scale=True)
LossCurveDisplay.from_estimator(models, ax=right, log_scale=True, per="step")
