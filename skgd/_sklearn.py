"""The two private modules of scikit-learn that skgd leans on, in one place."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = ["Interval", "InvalidParameterError", "StrOptions", "_fit_context", "validate_parameter_constraints"]
