"""Reports of a descent: verbose, and scikit-learn's callbacks, an experimental interface that only this module uses."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from skgd._stopping import score_name

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as with_callbacks_of_scikit_learn
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

        def set_callbacks(self, *callbacks):
            """Not available: needs scikit-learn 1.9 or newer."""
            raise ImportError(
                "set_callbacks needs scikit-learn >= 1.9, which has sklearn.callback: pip install -U scikit-learn. Without it, "
                "verbose=1 prints a line for each epoch."
            )

    def with_callbacks_of_scikit_learn(method):
        """The method as it is."""
        return method


Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """The method, followed by callbacks, with its type."""
    followed: Method = with_callbacks_of_scikit_learn(method)
    return followed


class Watch:
    """Reports each epoch to verbose and to callbacks, which may stop the fit.

    `data` has X, y and metadata of a call of `fit`, which callbacks follow. They are set up here, before anything can fail.
    """

    def __init__(self, estimator, **data):
        self.verbose = estimator.verbose
        # fit counts its epochs; partial_fit the passes since the start
        self.task, self.before = ("Epoch", 0) if data else ("Pass", getattr(estimator, "n_iter_", 0))
        self.data = {"estimator": estimator, **data}
        self.fit = self.epoch = None
        if data and getattr(estimator, "_skl_callbacks", None):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(**self.data)

    def begin_epoch(self):
        if self.fit is not None:
            self.epoch = self.fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self.data)

    def end_epoch(self, history, fitted):
        """Whether a callback wants to stop; `fitted` makes the attributes that predict needs."""
        if self.verbose:
            line = f"{self.task} {self.before + len(history.objective)}: objective {np.mean(history.objective[-1]):#.6g}"
            if history.score:
                line += f", {score_name(self.data['estimator'].loss)} on held-out rows {np.mean(history.score[-1]):.6f}"
            print(line)
        if self.fit is None:
            return False
        return self.epoch.call_on_fit_task_end(**self.data, reconstruction_attributes=fitted)

    def end_fit(self):
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.data, reconstruction_attributes={})
