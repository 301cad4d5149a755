"""
Three descents in one valley
============================

Batch, mini-batch and stochastic descent are one algorithm: a step against the gradient of as many
rows as ``batch_size`` says. All rows: a smooth way, one step an epoch. Two rows: three steps an
epoch, a little noise. One row: six steps, more noise. All three start at the white circle, take
the same number of epochs and end at their star.
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
DescentPathDisplay.from_estimator(models, X, y)
plt.title("20 epochs each")

# %%
# What each epoch saw of the objective, and each step. The small batches are ahead by epochs because
# they made more steps; step for step they are about as good, only more nervous.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
LossCurveDisplay.from_estimator(models, ax=left, log_scale=True)
LossCurveDisplay.from_estimator(models, ax=right, log_scale=True, per="step")
plt.show()
