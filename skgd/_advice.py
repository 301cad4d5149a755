"""What to tell of a descent that diverged, or that ended where it should not."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skgd._geometry import plain_metric, safe_step
from skgd._validation import warn

FAR_SMALLER = 0.01  # an epsilon of huber that is no larger a share of y's spread makes the loss small beside a penalty
MATTERS = 1e-3  # an alpha that then weighs as much as this one


def of_divergence(model, problem, epoch, eta):
    """The error to raise."""
    if model.learning_rate == "auto":
        return ValueError("The numbers in X and y are too large or too small for float64. Rescale them by powers of ten.")
    given, _, cure = step_names(model)
    return ValueError(
        f"learning_rate={model.learning_rate!r} with {given}={getattr(model, given):g} diverged in epoch {epoch} at step "
        f"size {eta:.3g}; the largest step that is safe for this data with batch_size={model.batch_size} is about "
        f"{plain_safe_step(model, problem):.2g}. Use learning_rate='auto', standardise the columns, or {cure}, which is slow "
        f"where columns are in unlike units. The model is what it was before."
    )


def warn_of_epsilon(model, problem):
    """Warn if huber's epsilon is so small that a penalty weighs more than its alpha says."""
    if model.loss != "huber" or model.penalty is None or model.alpha == 0.0:
        return
    spread = np.max(problem.constant_loss) / (2.0 * model.epsilon)  # the mean |r| of the best constant, if it is this large
    if model.epsilon < FAR_SMALLER * spread and model.alpha * spread / model.epsilon > MATTERS:
        warn(
            "epsilon is far smaller than the spread of y. This makes loss='huber' small, and a penalty weighs far more than "
            f"its alpha says. epsilon={model.epsilon:g} with alpha={model.alpha:g}, but y spreads by about {spread:.2g}: raise "
            f"epsilon to about the size of an ordinary error, or lower alpha."
        )


def warn_if_poor(model, problem, history, excess, promise, eta):
    """Warn if the descent ended before its plateau, or on one that is not the minimum."""
    if history.interrupted:
        return
    message = (
        of_too_few_epochs(model, problem, history)
        if not history.converged and model.tol is not None
        else of_excess(excess, max(promise, problem.rows.n_features / len(problem.rows) / 4))
        or (of_auto if model.learning_rate == "auto" else of_plain)(model, problem, history, eta)
    )
    if message:
        warn(message, ConvergenceWarning)


def of_too_few_epochs(model, problem, history):
    recent = np.array(history.objective)[-model.n_iter_no_change - 1 :]
    unit = np.where(problem.unit > 0.0, problem.unit, 1.0)
    change = np.max(np.abs(recent[0] - recent[-1]) / unit)
    seen = f", over the last {len(recent)} epochs R^2 still changed by {change:.1e}, against tol={model.tol:g}"
    return (  # the first sentence is always the same, so that a filter can name it
        "max_iter ended the descent before it reached a plateau. "
        + f"With max_iter={model.max_iter}"
        + (f"{seen}. Raise max_iter or tol" if len(recent) > 1 else ", there was one epoch. Raise max_iter")
        + (", or use learning_rate='auto'." if model.learning_rate != "auto" else ".")
    )


def of_excess(excess, promise):
    if np.all(excess <= promise):
        return None
    return (
        f"The descent ended on a plateau, but the gradient there shows that the objective can still fall by about "
        f"{np.max(excess):.1e} of the excess of the best constant prediction over the minimum. The columns are too nearly "
        f"dependent, or a few rows too far from all others, for the descent to reach the minimum. Drop such columns or rows, "
        f"add a penalty, or use batch_size=None."
    )


def of_auto(model, problem, history, eta):
    if not (history.score and np.any(np.max(history.score, axis=0) < 0.0)):
        return None
    return (
        f"R^2 on the held-out rows is {np.min(np.max(history.score, axis=0)):.2g}: a constant predicts them better. The "
        f"columns carry no information about y, or the {len(problem.rows)} rows left for training are too few: set "
        f"early_stopping=False, or give more rows."
    )


def of_plain(model, problem, history, eta):
    last = history.objective[-1]
    if model.tol is None or np.all(last <= problem.constant_loss):
        return None
    safe, (given, longer, shorter) = plain_safe_step(model, problem), step_names(model)
    too, cure = ("long", f", or {shorter}") if np.max(eta) > safe else ("short", f", or {longer}")
    if safe / 2 < np.max(eta) <= safe:
        cure = ": for some columns even the longest safe step is too short"
    return (
        f"The descent ended at an objective of {np.mean(last):.3g}, above the {np.mean(problem.constant_loss):.3g} of a "
        f"constant prediction: with {given}={getattr(model, given):g} its steps are too {too}. The largest that is safe for "
        f"this data with batch_size={model.batch_size} is about {safe:.2g}. Use learning_rate='auto' or standardise the "
        f"columns{cure}."
    )


def step_names(model):
    """The parameter that sets the step, and how to make the step longer and shorter."""
    if model.learning_rate == "optimal":
        return "alpha", "lower alpha", "raise alpha"
    return "eta0", "raise eta0", "lower eta0"


def plain_safe_step(model, problem):
    """The largest step that is safe for a plain schedule, about."""
    rows = (problem.whole or problem).rows.representatives
    batch_size = len(rows) if problem.is_full_batch else problem.batch_size
    metric = plain_metric(rows.n_features, model.fit_intercept)
    return safe_step(rows, batch_size, metric) / np.max(problem.curvature)
