"""
Early stopping
==============

With many columns for its rows, a table's noise can be learnt by heart: the training objective
keeps falling long after the predictions have begun to get worse. ``early_stopping=True`` holds out
a part of the rows, watches R² on them, and ends with the parameters that scored best. Stopping
early has a meaning where steps are small, so these are plain ones, on columns of deviation 1.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skgd import LossCurveDisplay, MiniBatchLinearRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((1000, 150))
y = X[:, :5].sum(axis=1) + 2.5 * rng.standard_normal(1000)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.7, random_state=0)

plain = {"learning_rate": "constant", "eta0": 0.002, "random_state": 0}
stopping = {"early_stopping": True, "validation_fraction": 0.2, "tol": 0.0, "n_iter_no_change": 90}
models = {
    "150 epochs": MiniBatchLinearRegressor(max_iter=150, tol=None, **plain),
    "early_stopping": MiniBatchLinearRegressor(**stopping, **plain),
    "alpha=1": MiniBatchLinearRegressor(alpha=1.0, random_state=0),
}
for name, model in models.items():
    own, new = model.fit(X, y).score(X, y), model.score(X_test, y_test)
    print(f"{name:15} {model.n_iter_:3d} epochs   R^2: its rows {own:.2f}, new rows {new:.2f}")

# %%
# The held-out score (thin) peaks and falls, and ``coef_`` is from the peak. It waited for 90 epochs
# to draw the fall; the default is 5. A penalty is the other cure, with the default steps.

display = LossCurveDisplay.from_estimator({"early_stopping": models["early_stopping"]})
display.score_ax_.axvline(1 + np.argmax(models["early_stopping"].validation_scores_), color="0.7")
plt.show()
