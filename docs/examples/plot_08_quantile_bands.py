"""
Quantile regression bands
=========================

``loss="quantile"`` predicts the value below which a given share of y lies. Three fits make a band
that widens where the data do, which no single standard error can.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skgd import MiniBatchLinearRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 10, 2000))
y = 3 + 0.5 * x + 0.08 * x**2 + (0.3 + 0.25 * x) * rng.standard_normal(2000)
X = x[:, None]

bands = {}
for q in (0.05, 0.5, 0.95):
    regressor = MiniBatchLinearRegressor(256, loss="quantile", quantile=q, random_state=0)
    bands[q] = (
        make_pipeline(PolynomialFeatures(2, include_bias=False), regressor).fit(X, y).predict(X)
    )
    print(f"quantile {q:4}: {np.mean(y <= bands[q]):.3f} of the points lie below")

# sphinx_gallery_alt = "Points that spread more and more to the right, with a median and a band that widens with them"
figure, ax = plt.subplots(layout="constrained")
ax.plot(x, y, ".", color="0.7", markersize=3)
ax.fill_between(x, bands[0.05], bands[0.95], color="#56B4E9", alpha=0.35, label="0.05 to 0.95")
ax.plot(x, bands[0.5], color="#0072B2", label="median")
ax.set(xlabel="x", ylabel="y")
ax.legend(frameon=False)
plt.show()
