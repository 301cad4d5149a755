"""
Early stopping
==============

If a table has many columns for its number of rows, a model can overfit: the training objective
keeps falling long after the predictions have begun to get worse. ``early_stopping=True`` watches D²
(R² for the squared error) on rows that are not learned from. They are a random part of the rows, or
some of your own as ``X_val`` and ``y_val``: later rows of a time series, say, or other groups. If
the score has become worse by more than chance, the fit ends with the parameters that scored best.
Its use is greatest with small steps: the steps of "auto" are so long that the score may peak within
an epoch. So this example uses a plain schedule with a small step size, on columns of standard
deviation 1.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skgd import LossCurveDisplay, MiniBatchLinearRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((1000, 150))
y = X[:, :5].sum(axis=1) + 2.5 * rng.standard_normal(1000)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.7, random_state=0)
X_val, X_test, y_val, y_test = train_test_split(X_test, y_test, test_size=0.6, random_state=0)

plain = {"learning_rate": "constant", "eta0": 0.002, "random_state": 0}
stopping = {"early_stopping": True, "n_iter_no_change": 60}
models = {
    "150 epochs": MiniBatchLinearRegressor(max_iter=150, tol=None, **plain),
    "early_stopping": MiniBatchLinearRegressor(**stopping, **plain),
    "alpha=1": MiniBatchLinearRegressor(alpha=1.0, random_state=0),
}
for name, model in models.items():
    model.fit(X, y, **({"X_val": X_val, "y_val": y_val} if model.early_stopping else {}))
    own, new = model.score(X, y), model.score(X_test, y_test)
    print(f"{name:15} {model.n_iter_:3d} epochs   R^2: its rows {own:.2f}, new rows {new:.2f}")

# %%
# The score peaks and then falls, while the objective falls on; ``coef_`` is taken at the peak. To
# show the fall, ``n_iter_no_change`` is 60 here; the default is 5. A penalty is the other remedy;
# ``alpha=1`` uses it with the default learning rate.

# sphinx_gallery_alt = "The objective falls on for a hundred epochs, while D^2 on held-out rows peaks at epoch 25 and then falls"
display = LossCurveDisplay.from_estimator({"early_stopping": models["early_stopping"]})
display.score_ax_.axvline(1 + np.argmax(models["early_stopping"].validation_scores_), color="0.7")
plt.show()
