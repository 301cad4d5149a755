"""
Raw columns
===========

Columns in years, metres and euros make a valley thousands of times steeper in one direction than
in another. A step short enough for the steep direction gets nowhere in the flat one.
``learning_rate="auto"`` descends as if the columns were centred and had deviation 1, which makes
the valley round, and returns coefficients in your units.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, SGDRegressor

from skgd import DescentPathDisplay, MiniBatchLinearRegressor

warnings.filterwarnings("ignore", "The descent ended at an objective")  # as is to be seen
rng = np.random.default_rng(0)
metres = 10 + 3 * rng.standard_normal(300)
X, y = metres[:, None], 2 * metres - 10 + rng.standard_normal(300)

common = {"tol": None, "max_iter": 20, "record_steps": True, "random_state": 0}
models = {
    "constant step": MiniBatchLinearRegressor(
        32, learning_rate="constant", eta0=4e-3, **common
    ).fit(X, y),
    "auto": MiniBatchLinearRegressor(32, **common).fit(X, y, intercept_init=0.0),
}
# sphinx_gallery_alt = "Left a narrow slanted valley, where a constant step stops and auto arrives; right the round one it sees"
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
DescentPathDisplay.from_estimator(models, X, y, ax=left)
left.set_title("The same 20 epochs, in metres")
Z = (X - X.mean()) / X.std()
standardised = MiniBatchLinearRegressor(32, **common).fit(Z, y, intercept_init=0.0)
DescentPathDisplay.from_estimator({"auto": standardised}, Z, y, ax=right)
right.set_title("As auto sees it: centred, deviation 1")
right.set_aspect("equal")

# %%
# The coefficients of both panels predict the same; the left valley is only the right one, drawn
# in metres.
#
# Ten raw columns of a real table. SGDRegressor wants them scaled first; without that it returns,
# silently, nonsense.

X, y = load_diabetes(return_X_y=True, scaled=False)
best = LinearRegression().fit(X, y).score(X, y)
for model in (MiniBatchLinearRegressor(random_state=0), SGDRegressor(random_state=0)):
    score = model.fit(X, y).score(X, y)
    largest = np.abs(model.coef_).max()
    print(f"{type(model).__name__:26} R^2 {score:10.3g}   largest coefficient {largest:.3g}")
print(f"{'least squares':26} R^2 {best:10.3g}")

# %%
# Any unit will do: columns multiplied by anything, and shifted by anything, lead to the same
# predictions.

reference = MiniBatchLinearRegressor(random_state=0).fit(X, y).predict(X)
for scale, shift in ((1e-6, 0.0), (1.0, 1e4), (1e6, 1e9)):
    other = X * scale + shift
    prediction = MiniBatchLinearRegressor(random_state=0).fit(other, y).predict(other)
    change = np.abs(prediction - reference).max() / y.std()
    print(f"x * {scale:g} + {shift:g}: predictions differ by {change:.1e} deviations of y")
plt.show()
