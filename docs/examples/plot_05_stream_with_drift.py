"""
A stream that drifts
====================

Under ``learning_rate="auto"``, the result of ``partial_fit`` is the minimum over all rows seen
so far. This is best while the true coefficients do not change: a stream
never forgets by default. If they may change, set ``half_life``: what was seen then counts half
after so many rows. ``average=False`` forgets, too: it returns the result of the last step.

``loss_curve_`` shows the change. It is the loss of what ``predict`` uses on each chunk before the
chunk is learned, so an honest score comes with every call.
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
    "half_life=1000": MiniBatchLinearRegressor(half_life=1000, random_state=0),
    "average=False": MiniBatchLinearRegressor(average=False, random_state=0),
}
truth, seen = [], {name: [] for name in models}
for k in range(n_chunks):
    X, y, first = chunk(k)
    truth.append(first)
    for name, model in models.items():
        seen[name].append(model.partial_fit(X, y).coef_[0])

# sphinx_gallery_alt = "A coefficient jumps: with half_life it is followed soon, by default slowly; the loss before learning shows the jump"
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(7, 5.5), layout="constrained")
top.plot(truth, color="0.6", linewidth=4, label="truth")
for (name, path), style in zip(seen.items(), ("C0-", "C2-", "C1--"), strict=True):
    top.plot(path, style, label=name)
    bottom.plot(range(1, n_chunks), models[name].loss_curve_[1:], style, label=name)
top.set_ylabel("first coefficient")
top.legend(frameon=False)
bottom.set(xlabel="chunk", ylabel="loss before learning", yscale="log")
plt.show()

# %%
# Before the jump:

for name, model in models.items():
    print(
        f"{name:14} mean squared error {np.mean(model.loss_curve_[20:58]):.4f}, of which noise 0.25"
    )
