"""What to tell of the rows of a stream, and of what is kept of them; each message is given once."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skgd._geometry import ROWS_PER_ESTIMATE
from skgd._latest_rows import longest_half_life
from skgd._stream import ENOUGH_ROWS, MOST_CORRELATED, n_remembered
from skgd._validation import warn


def once(told, **found):
    """Give the messages found that a stream has not given yet, named by what they are about; returns the names of all given."""
    for name, message in found.items():
        if message and name not in told:
            warn(f"{message} This warning is given once for a model.", UserWarning if name == "unusual" else ConvergenceWarning)
            told = (*told, name)
    return told


def of_unusual(rows, bounded):
    """What to say of rows that count less than others."""
    which = rows.numbers[bounded.weights < rows.weights] if bounded is not rows else ()
    if not len(which):
        return None
    return (
        f"{len(which)} row(s) of a stream are unlike all before them, in X or in y, and count less (first: row {which[0]} "
        f"of this call). If they are errors, such as a code for a missing value, leave them out. To have them count like all "
        f"others, give the whole table to fit or fit_chunks. Later rows like these will count less, too."
    )


def of_half_life(model, stream):
    """What to say of a half-life that never leaves enough rows for a minimum, or too many to be kept."""
    if not (model.half_life and model.average == "auto" and stream.moments.is_full):
        return None
    n_features = stream.moments.n_features
    most = longest_half_life(n_features + 1)
    if model.loss != "squared_error" and stream.n_met > model.half_life > most:
        return (
            f"half_life={model.half_life:g} is too long for loss={model.loss!r} and {n_features} columns: rows that count so "
            f"long are not kept themselves, and the model follows a jump several half-lives late. Use at most {most:.0f}."
        )
    needed = ENOUGH_ROWS * len(stream.moments.mean)
    if stream.has_enough_rows or n_remembered(np.inf, model.half_life) >= needed:
        return None
    return (
        f"half_life={model.half_life:g} forgets rows before there are {ENOUGH_ROWS} for each column and target, {needed} in "
        f"all. The model takes steps instead of going to the minimum over the latest rows, and may be far from it. Raise "
        f"half_life to {np.ceil(needed * np.log(2.0)):g} or more."
    )


def of_wide(model, stream):
    """What to say of more columns than a stream keeps products of, so that partial_fit only takes steps."""
    if stream.moments.is_full or model.average != "auto":
        return None
    return (
        f"X and y have more than {MOST_CORRELATED} columns together: partial_fit takes steps, and may end far from the minimum "
        f"over the rows seen. Keep fewer columns, or give all rows to fit or fit_chunks, which tell how near they come."
    )


def of_lost(model, stream, is_complete):
    """What to say if what is kept does not determine the minimum, so that partial_fit only takes steps."""
    if is_complete or not stream.moments.is_full or model.average != "auto":
        return None
    return (
        "What is kept of earlier rows does not say where their minimum is: a parameter of the loss or the penalty, "
        "fit_intercept or average has changed, or fit has ended elsewhere, by max_iter, tol=None or early_stopping. "
        "partial_fit goes on by steps and may end far from the minimum. Fit a new model."
    )


def of_schedule(model, state):
    """What to say of a stream that has changed between "auto" and a plain schedule."""
    is_plain = state.stream.moments is None
    if state.n_steps == 0 or is_plain != (model.learning_rate == "auto"):
        return None
    return (
        "learning_rate has changed in the middle of a stream. Rows that a plain schedule has learned are not kept, so that "
        "'auto' goes to the minimum over the others. Fit a new model to have all of them count."
        if is_plain
        else f"learning_rate has changed in the middle of a stream, from 'auto' to {model.learning_rate!r}. The rows of its "
        f"plain steps are not kept: 'auto', if it comes back, goes to the minimum without them."
    )


def of_order(is_unlike):
    """What to say of rows that do not come shuffled."""
    if not is_unlike:
        return None
    return (
        "The rows of a stream change as they come: their level, or what a column does, differs from what was learned before by "
        "far more than chance allows among independent rows. What is kept of former rows then no longer holds, except for "
        "loss='squared_error', and the model may be far from its minimum. Shuffle the rows, or give them to fit or fit_chunks; "
        "if the world has changed, set half_life."
    )


def of_few(model, renewable, n_parameters):
    """What to say if so few of the rows left behind decide that their minimum is not that of rows to come."""
    residuals = renewable.residuals
    n_deciding = (renewable.n_rows + len(renewable.latest)) * residuals.counting
    # Of a quantile, half of these lie on the rarer side. Between the quantiles 0.1 and 0.9 with weights that are nearly even,
    # fewer will do.
    needed = 2 * (1 if residuals.counting > 0.2 else ROWS_PER_ESTIMATE) * n_parameters
    if renewable.past is None or n_deciding >= needed:
        return None
    name, cure = ("quantile", "choose a quantile nearer to 0.5") if model.loss == "quantile" else ("epsilon", "lower epsilon")
    reason = f"With {name}={getattr(model, name):g}"
    if residuals.effective_share < np.min(residuals.deciding):
        reason, cure = "With weights as uneven as these", "limit the largest weights"
    return (
        f"{reason}, about {n_deciding:.0f} of the rows that a stream has kept decide where the minimum lies, fewer than "
        f"{needed // n_parameters} for each of {n_parameters} parameters. The model may stay far from it, above all if y has "
        f"heavy tails. Give the rows to fit or fit_chunks, or {cure}."
    )
