"""
Scoring a quantile
==================

``GridSearchCV`` ranks by R^2 unless told otherwise, and R^2 is about means. A model of the
0.9-quantile is to be scored by the pinball loss: ``sklearn.metrics.d2_pinball_score`` is 1 for a
perfect model and 0 for the best constant, as R^2 is for means. The ``validation_scores_`` of early
stopping are the same score on the rows held out, epoch by epoch.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import d2_pinball_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skgd import MiniBatchLinearRegressor

X, y = load_diabetes(return_X_y=True)
model = make_pipeline(
    PolynomialFeatures(2, include_bias=False),
    StandardScaler(),  # so that the penalty weighs all columns alike
    MiniBatchLinearRegressor(None, loss="quantile", quantile=0.9, penalty="l1"),
)
scoring = {"d2_pinball": make_scorer(d2_pinball_score, alpha=0.9), "r2": "r2"}
grid = {"minibatchlinearregressor__alpha": np.geomspace(0.001, 0.1, 9)}
search = GridSearchCV(model, grid, scoring=scoring, refit="d2_pinball", cv=5).fit(X, y)

# %%
# R^2 calls each of these models worse than a constant. The pinball loss says how good they are:

alphas, found = grid["minibatchlinearregressor__alpha"], search.cv_results_
# sphinx_gallery_alt = "Two scores by alpha: D^2 of the pinball loss is positive and peaks at 0.01, R^2 is negative throughout"
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, label in (("d2_pinball", r"$D^2$ of the pinball loss"), ("r2", r"$R^2$")):
    score = found[f"mean_test_{name}"]
    (line,) = ax.plot(alphas, score, "o-", markersize=4, label=label)
    ax.plot(alphas[np.argmax(score)], score.max(), "o", color=line.get_color(), markersize=10)
ax.set(xscale="log", xlabel="alpha", ylabel="cross-validated score")
ax.legend(frameon=False)
plt.show()

# %%
best = search.best_estimator_
print(f"alpha {search.best_params_['minibatchlinearregressor__alpha']:.2g}")
print(f"share of targets below their prediction {np.mean(y <= best.predict(X)):.2f}")

# %%
# Early stopping watches the same score. It takes the best of its candidates, which are the epochs and,
# for mini-batches under "auto", the minimum:

stopped = MiniBatchLinearRegressor(
    loss="quantile", quantile=0.9, early_stopping=True, random_state=0
)
train, later = slice(0, 350), slice(350, None)
stopped.fit(X[train], y[train], X_val=X[later], y_val=y[later])
score = d2_pinball_score(y[later], stopped.predict(X[later]), alpha=0.9)
print(f"d2_pinball_score of the model {score:.3f}")
print(f"validation_scores_ of the best epoch {stopped.validation_scores_.max():.3f}")
