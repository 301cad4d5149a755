"""
Early stopping
==============

With more columns than the rows can support, the training objective falls for long after the predictions have begun to get worse.
``early_stopping=True`` holds out a part of the rows, watches R² on them, and ends with the parameters that scored best.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from skgd import LossCurveDisplay, MiniBatchLinearRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 300))
y = X[:, :5].sum(axis=1) + 2.0 * rng.standard_normal(400)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)

models = {
    "to the plateau": MiniBatchLinearRegressor(random_state=0),
    "early_stopping": MiniBatchLinearRegressor(early_stopping=True, validation_fraction=0.2, random_state=0),
}
for name, model in models.items():
    model.fit(X, y)
    print(
        f"{name:15} {model.n_iter_:3d} epochs   R^2 on its rows {model.score(X, y):.2f}   on new rows {model.score(X_test, y_test):.2f}"
    )

# %%
# The held-out score peaks early; ``coef_`` is from there. A penalty is the other cure, and the two go together.

display = LossCurveDisplay.from_estimator(models)
display.ax_.set_title("Training objective, and the held-out score that stops it")

ridge = MiniBatchLinearRegressor(alpha=2.0, random_state=0).fit(X, y)
print(
    f"{'alpha=2':15} {ridge.n_iter_:3d} epochs   R^2 on its rows {ridge.score(X, y):.2f}   on new rows {ridge.score(X_test, y_test):.2f}"
)
plt.show()
