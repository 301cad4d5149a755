"""The private names of scikit-learn that skgd leans on, in one place."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from inspect import signature
from threading import current_thread, main_thread
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from sklearn.base import _fit_context
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as number_of_threads  # that its own loops would take
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.parallel import _get_threadpool_controller

__all__ = [
    "CheckedParameters",
    "Interval",
    "InvalidParameterError",
    "Options",
    "fit_context",
    "number_of_threads",
    "one_core",
]

Method = TypeVar("Method", bound=Callable[..., Any])


def fit_context(method: Method) -> Method:
    """scikit-learn's check of parameters before a method that fits, which keeps the method's type."""
    checked: Method = _fit_context(prefer_skip_nested_validation=True)(method)
    return checked


def one_core():
    """A context in which each product of matrices stays on its core.

    The setting is the process's, and OpenBLAS does not accept it from several threads. So only the main thread changes it.
    """
    if number_of_threads() == 1 or current_thread() is not main_thread():
        return nullcontext()
    return _get_threadpool_controller().limit(limits=1, user_api="blas")


class Options(StrOptions):
    """Words that a parameter may be, in the order in which its docstring has them."""

    def __init__(self, *words):
        super().__init__(set(words))
        self.words = words

    def __str__(self):
        return f"a str among {{{', '.join(map(repr, self.words))}}}"


class CheckedParameters:
    """A mixin that checks only parameters that have changed since the last call, or at first from their defaults.

    scikit-learn looks up and checks all of them at each call, which takes a third of the time with few rows.
    """

    _parameter_constraints: ClassVar[dict]
    _cure_of: Callable[..., str]  # (name, value, options): what to give in the place of an invalid value
    _checked: ClassVar[WeakKeyDictionary[object, dict]] = WeakKeyDictionary()  # parameters as they were at the last call

    @classmethod
    @cache
    def _get_param_names(cls):
        return super()._get_param_names()

    @classmethod
    @cache
    def _defaults(cls):
        return {name: each.default for name, each in signature(cls.__init__).parameters.items() if name != "self"}

    def _validate_params(self):
        """Check parameters that have changed; whether there are any."""
        given = {name: getattr(self, name) for name in self._parameter_constraints}
        before = self._checked.get(self) or self._defaults()
        changed = {name: value for name, value in given.items() if name not in before or value is not before[name]}
        constraints = {name: self._parameter_constraints[name] for name in changed}
        try:
            validate_parameter_constraints(constraints, changed, type(self).__name__)
        except InvalidParameterError as error:
            named = [name for name in changed if f"The {name!r} parameter" in str(error)]
            options = [word for name in named for each in constraints[name] if isinstance(each, Options) for word in each.words]
            cures = [self._cure_of(name, changed[name], options) for name in named]
            raise InvalidParameterError("".join([str(error), *cures])) from None
        self._checked[self] = given
        return bool(changed)
