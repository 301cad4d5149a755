"""The two private modules of scikit-learn that skgd leans on, in one place."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = ["Interval", "InvalidParameterError", "StrOptions", "fit_context", "validate_parameter_constraints"]

Method = TypeVar("Method", bound=Callable[..., Any])


def fit_context(method: Method) -> Method:
    """scikit-learn's check of parameters before a method that fits, which keeps the method's type."""
    checked: Method = _fit_context(prefer_skip_nested_validation=True)(method)
    return checked
