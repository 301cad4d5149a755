"""Linear regression by batch, mini-batch and stochastic gradient descent, as a scikit-learn estimator."""

from skgd._displays import DescentPathDisplay, LossCurveDisplay
from skgd._estimator import MiniBatchLinearRegressor
from skgd._version import __version__, show_versions

__all__ = ["DescentPathDisplay", "LossCurveDisplay", "MiniBatchLinearRegressor", "__version__", "show_versions"]
