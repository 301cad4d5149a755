"""
Coefficients that stay positive
===============================

A measured spectrum is a mixture of known spectra, and no substance can have a negative share. With
``positive=True`` the coefficients are at least zero: many absent substances have exactly zero, the
others a small share. Without it, noise is explained by shares below zero.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import MiniBatchLinearRegressor

rng = np.random.default_rng(0)
wavelength = np.linspace(0, 1, 400)
centers = np.linspace(0.1, 0.9, 12)
spectra = np.exp(-0.5 * ((wavelength[:, None] - centers) / 0.09) ** 2)
shares = np.zeros(12)
shares[[2, 5, 9]] = [1.0, 0.4, 0.7]
measured = spectra @ shares + 0.05 * rng.standard_normal(400)
measured[rng.integers(0, 400, 12)] += 1.5  # cosmic rays, which huber does not care about

loss = {"loss": "huber", "epsilon": 0.1, "batch_size": None, "fit_intercept": False}
free = MiniBatchLinearRegressor(**loss).fit(spectra, measured)
positive = MiniBatchLinearRegressor(**loss, positive=True).fit(spectra, measured)

# sphinx_gallery_alt = "A measured spectrum with its fit, and bars of twelve shares: with positive=True three are large and the others zero or small"
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(wavelength, measured, ".", color="0.7", markersize=3, label="measured")
left.plot(wavelength, positive.predict(spectra), label="fitted, positive=True")
left.set(xlabel="wavelength", ylabel="intensity")
left.legend()
number = np.arange(12)
bars = (-0.27, shares, "true"), (0, free.coef_, "any sign"), (0.27, positive.coef_, "positive=True")
for offset, values, label in bars:
    right.bar(number + offset, values, 0.27, label=label)
right.axhline(0, color="black", linewidth=0.8)
right.set(xlabel="substance", ylabel="share")
right.legend()
plt.show()

# %%
# Exact zeros: the substances that ``positive=True`` finds to be absent.

print("found absent:", np.flatnonzero(positive.coef_ == 0.0))
print("truly absent:", np.flatnonzero(shares == 0.0))
