"""
A stream that drifts
====================

``partial_fit`` makes one pass over each chunk. Under ``learning_rate="auto"`` its result is close
to the least-squares solution for all rows seen so far. This is best while the true coefficients do
not change. If they change, use ``average=False``: it returns the current parameters instead of an
average, and so forgets old rows.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import MiniBatchLinearRegressor

rng = np.random.default_rng(0)
n_chunks, n_rows = 120, 200


def chunk(k):
    """Raw columns; the first coefficient jumps after 60 chunks, and then goes on moving."""
    X = rng.standard_normal((n_rows, 3)) * [1.0, 50.0, 0.01] + [0.0, 1000.0, 5.0]
    coef = np.array([1.0 if k < 60 else -1.0 + 0.02 * (k - 60), 0.04, 100.0])
    return X, X @ coef + 0.5 * rng.standard_normal(n_rows), coef[0]


models = {
    "default": MiniBatchLinearRegressor(random_state=0),
    "average=False": MiniBatchLinearRegressor(average=False, random_state=0),
}
truth, seen, error = [], {name: [] for name in models}, {name: [] for name in models}
for k in range(n_chunks):
    X, y, first = chunk(k)
    truth.append(first)
    for name, model in models.items():
        if k:  # first predict, then learn: an honest score on a stream
            error[name].append(np.mean((y - model.predict(X)) ** 2))
        seen[name].append(model.partial_fit(X, y).coef_[0])

figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(7, 5.5), layout="constrained")
top.plot(truth, color="0.6", linewidth=4, label="truth")
for (name, path), style in zip(seen.items(), ("C0-", "C1--"), strict=True):
    top.plot(path, style, label=name)
    bottom.plot(range(1, n_chunks), error[name], style, label=name)
top.set_ylabel("first coefficient")
top.legend(frameon=False)
bottom.set(xlabel="chunk", ylabel="error on the next chunk", yscale="log")
plt.show()

# %%
# Before the jump:

for name, errors in error.items():
    print(f"{name:14} mean squared error {np.mean(errors[20:58]):.4f}, of which noise 0.25")
