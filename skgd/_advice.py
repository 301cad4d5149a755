"""What to tell of a descent that diverged or ended where it should not."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skgd._geometry import ROWS_PER_ESTIMATE, SAFETY, eigenvalue_of_sample, safe_length
from skgd._metric import Metric
from skgd._objective import NOTHING, SQUARED_ERROR, rounding_of
from skgd._reading import ROUNDING, objectives_at
from skgd._stopping import POOR, score_name
from skgd._stream import UNUSUAL
from skgd._validation import warn


def of_divergence(model, problem, epoch, eta):
    """The error to raise after a divergence, with its likely cause and a cure."""
    (n_not_finite,) = problem.rows.add_up((count_not_finite,))
    if n_not_finite:
        return ValueError("X contains NaN or infinity, which assume_finite=True has let through.")
    with np.errstate(over="ignore"):
        squares = Metric.plain(problem.rows.n_features, True).squared_norms(problem.rows.representatives)
    if model.learning_rate == "auto" or not np.isfinite(squares).all():
        return ValueError("The numbers in X and y are too large or too small for float64. Rescale them by powers of ten.")
    (given, _, cure), safe = step_names(model), safe_steps(model, problem, plain_safe_step(model, problem))
    return ValueError(
        f"learning_rate={model.learning_rate!r} with {given}={getattr(model, given):g} diverged in epoch {epoch} at step "
        f"size {eta:.3g}. {safe} Use learning_rate='auto', standardise the columns, or {cure}, which is slow where columns "
        f"have different units. The model is what it was before."
    )


def count_not_finite(rows):
    """How many numbers of X are NaN or infinity."""
    tables = (part.columns for part in rows.blocks())
    return sum(np.count_nonzero(~np.isfinite(X.data if rows.is_sparse else X)) for X in tables)


def check_end(model, problem, passes, start, end, history):
    """The objectives at the end of a plain descent, one for each target; an error if they tell of a divergence.

    A descent has diverged if it ends above its start and above the best constant prediction, with steps beyond the safe one:
    shorter ones may do so by chance, where the columns explain next to nothing. Steps that soon become shorter may recover.
    """
    value = objectives_at(problem, end)
    risen = value > (1.0 + ROUNDING) * problem.constant_loss
    will_shorten = model.learning_rate == "optimal" or (model.learning_rate == "adaptive" and not history.converged)
    if risen.any() and not will_shorten and last_step(passes) > plain_safe_step(model, problem):
        risen &= value > objectives_at(problem, start)
        if risen.any():
            raise of_divergence(model, problem, len(history.objective), last_step(passes))
    return value


def check_chunk(model, problem, passes, end, history):
    """Raise an error if a plain stream has diverged: at the end, a chunk's loss is far above all before.

    It is looked at if steps have raised the loss, or if the only step is the last, but not for "optimal": its first steps may
    be too long, and later ones recover.
    """
    if model.learning_rate == "optimal":
        return
    is_suspicious = passes.n_batches == 1 or np.any(history.objective[-1] > passes.largest)
    if is_suspicious and not np.all(objectives_at(problem, end) <= UNUSUAL * passes.largest):
        raise of_divergence(model, problem, 1, last_step(passes))


def last_step(passes):
    """The largest of the targets' last step sizes."""
    return float(np.max(passes.length(passes.n_steps)))


def warn_of_epsilon(model, problem):
    """Warn if next to no row lies beyond epsilon, or huber's is so small that a penalty weighs more than its alpha says."""
    spread = np.min(problem.deviation, initial=np.inf, where=problem.deviation > rounding_of(problem.constant))
    is_known = model.fit_intercept and len(problem.rows) >= ROWS_PER_ESTIMATE  # how far targets lie from a constant
    if is_known and problem.loss.insensitive > spread:
        warn(
            f"epsilon={model.epsilon:g} is larger than the deviation of y, which is {spread:.2g}. loss={model.loss!r} "
            f"treats most rows as fitted exactly, and learns little from them: lower epsilon to the size of an error that does "
            f"not matter."
        )
    if model.loss != "huber" or model.penalty is None or model.alpha == 0.0:
        return
    spread = np.max(problem.constant_loss) / (2.0 * model.epsilon)  # the mean |r| of the best constant, if it is this large
    if model.epsilon < NOTHING * spread and model.alpha * spread / model.epsilon > NOTHING:
        warn(
            "epsilon is far smaller than the spread of y. This makes loss='huber' small, so that a penalty is far stronger "
            f"than its alpha suggests. epsilon={model.epsilon:g} with alpha={model.alpha:g}, but y spreads by about "
            f"{spread:.2g}: raise epsilon to about the size of an ordinary error, or lower alpha."
        )


def warn_of_alpha(model, problem, history, parameters):
    """Warn if the penalty leaves next to nothing of the fit, because the loss is in units of y and not of y squared.

    Returns whether it does.
    """
    if not problem.loss.grows_linearly or model.loss == "huber" or model.penalty is None or model.alpha == 0.0:
        return False
    ridges, geometries = problem.penalty.l2 / problem.curvature, problem.geometries
    scales = [np.maximum(each.metric.scale, np.finfo(np.float64).tiny) for each in geometries]
    usual = [np.median(1.0 / scale) for scale in scales]  # variances, the ridge included
    is_strong = np.all(parameters[:, :-1] == 0.0, axis=1) | (2.0 * ridges > usual)
    leaves_nothing = is_strong & (history.objective[-1] > (1.0 - NOTHING) * problem.constant_loss)
    if leaves_nothing.any():
        warn(
            f"alpha={model.alpha:g} with penalty={model.penalty!r} leaves next to nothing of the fit. loss={model.loss!r} is "
            f"in units of y, not of y squared: alpha weighs about {np.max(2.0 / problem.curvature):.2g} times as much as "
            f"beside the squared error. Lower it."
        )
    return leaves_nothing.all()


def warn_if_poor(model, outcome, promise):
    """Warn if the descent ended before its plateau, or on one that is farther from the minimum than promised."""
    problem, history = outcome.problem, outcome.history
    if history.interrupted:
        return
    message = (
        of_too_few_epochs(model, problem, history)
        if not history.converged and model.tol is not None
        else of_end(model, outcome) or of_excess(model, outcome, promise) or of_score(model, outcome)
    )
    if message:
        warn(message, ConvergenceWarning)


def of_too_few_epochs(model, problem, history):
    """What to say of a descent that max_iter has ended. The first sentence is always the same, so that a filter can name it."""
    recent = np.array(history.objective)[-model.n_iter_no_change - 1 :]
    ended = f"max_iter ended the descent before it reached a plateau. With max_iter={model.max_iter}"
    exact = full_batch_instead(problem)
    cure = f"Use {exact}, which is exact, or raise" if exact else "Raise"
    cure = "Use learning_rate='auto', or raise" if model.learning_rate != "auto" else cure
    if len(recent) == 1:
        return f"{ended}, there was one epoch. {cure} max_iter."
    unit = np.where(problem.unit > 0.0, problem.unit, 1.0)
    change = np.max(np.abs(recent[0] - recent[-1]) / unit)
    if change <= model.tol and problem.is_full_batch and model.learning_rate == "auto":  # a solver goes on to the minimum
        short = "steps have become short, but the minimum is not known to be near"
        return f"{ended}, {short}. {cure} max_iter or tol. {of_dependence(problem)}"
    what = "R^2" if problem.loss == SQUARED_ERROR else "the objective, as a share of that of the best constant,"
    seen = f"over the last {len(recent)} epochs {what} still changed by {change:.1e}, against tol={model.tol:g}"
    seen += ", and the objective is above that of a constant prediction" if np.any(recent[-1] > problem.constant_loss) else ""
    return f"{ended}, {seen}. {cure} max_iter or tol."


def full_batch_instead(problem):
    """What to set so that an exact solver replaces the steps in mini-batches; empty where that is impossible or done."""
    is_possible = problem.rows.is_in_memory or not problem.rows.is_wide
    return "batch_size=None" if is_possible and not problem.is_full_batch else ""


def of_excess(model, outcome, promise):
    """What to say of an end on a plateau that may be farther from the minimum than promised, or None."""
    problem, excess = outcome.problem, outcome.excess
    if np.all(excess <= promise):
        return None
    if model.learning_rate != "auto":
        return (
            f"The descent ended on a plateau far from its minimum: a step on standardised columns lowers the objective by "
            f"{np.max(excess):.1e} of the excess of the best constant prediction, or more. {of_steps(model, outcome)}"
        )
    return (
        f"The descent ended on a plateau, but the objective may still fall by up to {np.max(excess):.1e} of the "
        f"excess of the best constant prediction over the minimum. {of_dependence(problem)}"
    )


def of_dependence(problem):
    """Why a solver may not reach the minimum, and what to do."""
    other, is_penalised = full_batch_instead(problem), max(problem.penalty.l1, problem.penalty.l2) > 0.0
    return (
        "Columns may be too nearly dependent or too many, or a few rows too far from all others, for the descent to reach the "
        + (f"minimum. Use {other}, drop" if other else "minimum. Drop")
        + (" such columns or rows, or raise alpha." if is_penalised else " such columns or rows, or add a penalty.")
    )


def of_score(model, outcome):
    """What to say of an end that predicts the held-out rows worse than a constant does, or None."""
    problem, validation = outcome.problem, outcome.validation
    if validation is None:
        return None
    scores, is_worse, _ = validation.beside(validation.constant_parameters, outcome.parameters)
    score = np.min(scores, where=is_worse | (scores < -POOR), initial=0.0)  # one row may be the reason: no chance can tell
    if score >= 0.0:
        return None
    poor = f"{score_name(model.loss)} on the held-out rows is {score:.2g}: a constant predicts them better."
    is_known = len(validation.rows) >= ROWS_PER_ESTIMATE
    if is_known and np.any(np.abs(validation.mean - problem.constant) > UNUSUAL * problem.deviation):
        return (
            f"{poor} Held-out targets lie far from the others: if they are a y_val, and y was transformed, as by "
            f"TransformedTargetRegressor, transform y_val, too."
        )
    moments, of_others = outcome.state.stream.moments, validation.rows.moments(False)
    if moments is not None:
        shift = np.abs(of_others.column_means - moments.column_means)
        counts = np.any(np.abs(outcome.parameters[:, :-1]) * shift > problem.deviation[:, None], axis=0)
        apart = counts & (shift > UNUSUAL * np.sqrt(np.maximum(moments.column_variances, 0.0)))
        column = np.argmax(apart)
        if apart[column]:
            return (
                f"{poor} X_val lies far from X, in column {column} for one: if a Pipeline has transformed X, have it transform "
                f'X_val, too, by transform_input=["X_val"].'
            )
    return (
        f"{poor} These {len(validation.rows)} rows may be too few to judge by, the others too few for so many columns, "
        f"or the columns say little about y. Raise alpha or drop columns; or hold out more or other rows, by "
        f"validation_fraction, random_state, or X_val and y_val; or set early_stopping=False."
    )


def of_end(model, outcome):
    """What to say of an end above the best constant prediction, or None."""
    problem, history, value = outcome.problem, outcome.history, outcome.value
    if value is None:
        return None
    # Without tol, a plain descent may still improve: its end is then better than the mean of its last epoch.
    is_falling = (value < history.objective[-1]) & (model.tol is None) & (model.learning_rate != "auto")
    is_above = ~((value <= (1.0 + ROUNDING) * problem.constant_loss) | is_falling)
    if not is_above.any():
        return None
    ends, constants = np.mean(value[is_above]), np.mean(problem.constant_loss[is_above])
    above = f"objective of {ends:.6g}, above the {constants:.6g} of a constant prediction"
    if model.learning_rate == "auto":
        return f"The descent ended at an {above}: {model.max_iter} epochs are too few. Raise max_iter, or set tol."
    return f"The descent ended at an {above}. {of_steps(model, outcome)}"


def of_steps(model, outcome):
    """What is wrong with the steps of a plain schedule, and what to do."""
    problem, eta = outcome.problem, np.max(outcome.length)
    safe, (given, longer, shorter) = plain_safe_step(model, problem), step_names(model)
    too, cure = ("long", f", or {shorter}") if eta > safe else ("short", f", or {longer}")
    if safe / 2 < eta <= safe:
        cure = ": for some columns even the longest safe step is too short"
    return (
        f"With {given}={getattr(model, given):g}, the last step of {eta:.2g} is too {too}. {safe_steps(model, problem, safe)} "
        f"Use learning_rate='auto' or standardise the columns{cure}."
    )


def step_names(model):
    """The parameter that sets the step, and how to make the step longer and shorter."""
    if model.learning_rate == "optimal":  # another alpha would change the objective, too
        cure = "take learning_rate='constant' with the safe step as eta0"
        return "alpha", cure, cure
    return "eta0", "raise eta0", "lower eta0"


def safe_steps(model, problem, safe):
    """A sentence about the step that is safe, and where the border is, if that is known."""
    sentence = f"A step that is safe for this data with batch_size={model.batch_size} is about {safe:.2g}"
    if problem.is_full_batch and problem.loss == SQUARED_ERROR and model.momentum == 0.0:
        return f"{sentence}; above about {2.0 * SAFETY * safe:.2g} it diverges."
    return f"{sentence}."


def plain_safe_step(model, problem):
    """A step that is safe for a plain schedule, about: 1 / (curvature of the objective), for batches the expected one."""
    rows = problem.rows.representatives
    batch_size = len(rows) if problem.is_full_batch else problem.batch_size
    metric = Metric.plain(rows.n_features, model.fit_intercept)
    norms = metric.squared_norms(rows)
    step = safe_length(norms.max(), SAFETY * eigenvalue_of_sample(rows, metric, norms), len(rows), batch_size)
    return 1.0 / (np.max(problem.curvature) / step + problem.penalty.l2) if step > 0.0 else np.inf
