"""Linear regression by batch, mini-batch and stochastic gradient descent, as a scikit-learn estimator."""

from skgd._regressor import MiniBatchLinearRegressor
from skgd._version import __version__

__all__ = ["MiniBatchLinearRegressor", "__version__"]
