"""
Missing values, dates, rare words
=================================

skgd takes numbers. Tables also have missing values (NaN), dates, and words of which some are rare.
Scikit-learn has a step for each: ``SimpleImputer`` fills what is missing and can say that it was, a
function makes numbers of dates, and ``OneHotEncoder(min_frequency=...)`` puts rare words together.
No scaler is needed. A date with a time zone loses it, so that it can be subtracted; a missing date
is filled as a missing number is.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skgd import MiniBatchLinearRegressor

rng, n = np.random.default_rng(0), 4000
table = pd.DataFrame(
    {
        "sold": pd.Timestamp("2020-01-01", tz="Asia/Seoul")
        + pd.to_timedelta(rng.integers(0, 1500, n), "D"),
        "area": rng.gamma(4.0, 25.0, n),
        "town": rng.choice(
            ["Ulm", "Bonn", "Jena", *(f"village {k}" for k in range(200))],
            n,
            p=[0.3, 0.3, 0.2] + [0.001] * 200,
        ),
    }
)
price = (
    2.5 * table["area"]
    + 0.05 * (table["sold"] - table["sold"].min()).dt.days
    + 60 * (table["town"] == "Ulm")
)
price += 20 * rng.standard_normal(n)
table.loc[rng.random(n) < 0.2, "area"] = np.nan  # of every fifth sale the area is not known,
table.loc[rng.random(n) < 0.01, "sold"] = pd.NaT  # and of every hundredth the date


def numbers_of(dates):
    """Days since 2020 and the day of the year, as a wave; NaN for missing dates."""
    days = dates.iloc[:, 0].dt.tz_localize(None) - pd.Timestamp("2020-01-01")
    days = days.dt.days.to_numpy(float)
    wave = 2 * np.pi * days / 365.25
    return np.column_stack([days, np.sin(wave), np.cos(wave)])


columns = make_column_transformer(
    (make_pipeline(FunctionTransformer(numbers_of), SimpleImputer()), ["sold"]),
    (SimpleImputer(strategy="median", add_indicator=True), ["area"]),
    (
        OneHotEncoder(min_frequency=50, handle_unknown="infrequent_if_exist", sparse_output=False),
        ["town"],
    ),
)
model = make_pipeline(columns, MiniBatchLinearRegressor(random_state=0))
train, test, y_train, y_test = train_test_split(table, price, random_state=0)
model.fit(train, y_train)
print(f"R^2 on held-out rows {model.score(test, y_test):.3f}")

# %%
# What is missing costs accuracy. The indicator gives these rows a level of their own:

is_known, predicted = test["area"].notna(), model.predict(test)
# sphinx_gallery_alt = "Predictions against prices: near the diagonal where the area is known, level where it is missing"
figure, ax = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
for which, label, color in ((is_known, "area known", "C0"), (~is_known, "area missing", "C1")):
    ax.plot(y_test[which], predicted[which], ".", markersize=4, color=color, label=label)
    print(f"{label}: mean error {np.mean(predicted[which] - y_test[which]):.1f}")
ax.axline((0, 0), slope=1, color="0.5", linewidth=1)
ax.set(xlabel="price", ylabel="prediction")
ax.legend(frameon=False)
plt.show()
