"""
Bands over files
================

How far may next year's values lie from their prediction? Two quantiles answer: between the 0.05-
and the 0.95-quantile lie nine of ten. Here the rows are in Parquet files, one for each year, which
are sorted by time and never in memory together. ``fit_chunks`` reads them a few times, whatever
their order, and the years after the training show whether the band still holds.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skgd import MiniBatchLinearRegressor

rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
columns = ["temperature", "wind", "hour"]
for year in range(2000, 2016):
    n = 20_000
    table = pd.DataFrame(
        {
            "temperature": rng.normal(10, 8, n),
            "wind": rng.gamma(2, 4, n),
            "hour": rng.uniform(0, 24, n),
        }
    )
    noise = rng.gamma(2.0, 20.0 if year < 2013 else 30.0, n)  # from 2013 on, demand is less certain
    table["demand"] = 500 - 6 * table["temperature"] + 3 * table["wind"] + 4 * table["hour"] + noise
    table.to_parquet(folder / f"{year}.parquet")


class Years:
    """(X, y) of each year's file, opened anew at each iteration."""

    def __init__(self, years):
        self.years = years

    def __iter__(self):
        for year in self.years:
            table = pd.read_parquet(folder / f"{year}.parquet")
            yield table[columns], table["demand"]


# %%
# Two models, from the files of ten years:

band = [
    MiniBatchLinearRegressor(None, loss="quantile", quantile=q).fit_chunks(Years(range(2000, 2010)))
    for q in (0.05, 0.95)
]

# %%
# The share of each year's rows that lie in the band. The years from 2010 on were not learned from.

years, inside = range(2000, 2016), []
for X, y in Years(years):
    low, high = (model.predict(X) for model in band)
    inside.append(np.mean((low <= y) & (y <= high)))

# sphinx_gallery_alt = "Share of rows in the band by year: 0.9 until 2012, also for years not learned, then 0.8"
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.axhline(0.9, color="0.5", linewidth=1)
ax.plot(years[:10], inside[:10], "o", color="C0", label="learned from")
ax.plot(years[10:], inside[10:], "D", color="C1", label="later years")
ax.annotate(
    "demand becomes less certain",
    (2013, inside[13]),
    (2006.5, inside[13]),
    arrowprops={"arrowstyle": "->"},
)
ax.set(ylim=(0.7, 1.0), xlabel="year", ylabel="share of rows in the band")
ax.legend(frameon=False, loc="lower left")
plt.show()

# %%
for year, share in zip(years[9:], inside[9:], strict=True):
    print(f"{year}: {share:.3f}")
