"""What the estimator accepts beyond scikit-learn's own checks: parameters that fit together, weights and starts."""

import inspect
import warnings
from contextlib import contextmanager
from difflib import get_close_matches
from weakref import WeakKeyDictionary

import numpy as np
from joblib import Parallel
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from skgd._objective import LARGEST, LOSSES
from skgd._sklearn import InvalidParameterError
from skgd._tables import check_mask

# Parameters that do something only beside others: when that is, and how to bring it about.
CONDITIONAL = [
    (
        "eta0",
        lambda model: model.learning_rate in {"constant", "invscaling", "adaptive"},
        "learning_rate='constant', 'invscaling' or 'adaptive'",
    ),
    ("power_t", lambda model: model.learning_rate == "invscaling", "learning_rate='invscaling'"),
    ("epsilon", lambda model: model.loss not in {"squared_error", "quantile"}, "loss='huber' or an epsilon-insensitive one"),
    ("quantile", lambda model: model.loss == "quantile", "loss='quantile'"),
    ("alpha", lambda model: model.penalty is not None, "penalty='l2', 'l1' or 'elasticnet'"),
    ("penalty", lambda model: model.alpha > 0 or model.penalty is None, "alpha > 0"),
    ("l1_ratio", lambda model: model.penalty == "elasticnet" or model.l1_ratio is None, "penalty='elasticnet'"),
    ("half_life", lambda model: model.learning_rate == "auto", "learning_rate='auto'"),
    ("nesterovs_momentum", lambda model: model.momentum > 0.0, "momentum > 0"),
    ("validation_fraction", lambda model: model.early_stopping, "early_stopping=True"),
]


# What is often given in the place of a value, and what is meant.
MEANT = {
    ("loss", "absolute_error"): "loss='quantile' with quantile=0.5",
    ("loss", "mae"): "loss='quantile' with quantile=0.5",
    ("loss", "mse"): "loss='squared_error'",
    ("loss", "pinball"): "loss='quantile'",
    ("loss", "squared_loss"): "loss='squared_error'",
    ("loss", "l1"): "loss='quantile' with quantile=0.5",
    ("loss", "l2"): "loss='squared_error'",
    ("learning_rate", "adam"): "learning_rate='auto', which needs no tuning",
    ("penalty", "none"): "penalty=None",
    ("penalty", "lasso"): "penalty='l1'",
    ("penalty", "ridge"): "penalty='l2'",
    ("batch_size", "auto"): "batch_size=32, the default, or None for all rows",
    ("batch_size", "full"): "batch_size=None",
    ("batch_size", "all"): "batch_size=None",
} | {("batch_size", loss): f"loss={loss!r}" for loss in LOSSES}  # given as the first argument


INTS = "batch_size", "max_iter", "n_iter_no_change"
TOLD: WeakKeyDictionary[Parallel, set] = WeakKeyDictionary()  # the warnings that a search has given


def cure_of(name, value, options):
    """What to give in the place of an invalid value, if that can be guessed; `options` are the words that are allowed."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str):
        near = get_close_matches(value.lower(), options, 1)
        if name in INTS and value.isdecimal():
            return f" Give the int {value}."
        meant = MEANT.get((name, value.lower())) or (f"{name}={near[0]!r}" if near else None)
    elif name == "batch_size" and is_number and 0 < value < 1:
        meant = f"int({value} * n_samples), since it is a number of rows and no share"
    elif name in INTS and is_number and 0 < value < np.inf and value == int(value):
        meant = f"the int {int(value)}"
    elif name in {"quantile", "validation_fraction"} and is_number and 1 < value < 100:
        meant = f"{name}={value / 100:g}"
    elif name == "learning_rate" and is_number:
        meant = f"learning_rate='constant' with eta0={value}"
    elif name == "batch_size" and is_number and value <= 0:
        meant = "batch_size=None for all rows"
    elif isinstance(value, list | tuple | np.ndarray):
        each = "each quantile takes a model of its own" if name == "quantile" else "GridSearchCV tries several"
        meant = f"one value: {each}"
    else:
        meant = None
    return f" Give {meant}." if meant else ""


def warn(message, category=UserWarning):
    """Warn at the line that called into this package, whatever wrappers of scikit-learn lie between.

    A search or a cross-validation makes many fits, between which Python forgets what it has shown. In each of them a text is
    given once, and a kind of warning once for each setting of the parameters. Worker processes cannot tell, and give each.
    """
    frame, level, search, setting = inspect.currentframe(), 1, None, None
    kind = tuple(message.split()[:3])  # its first words say what it is about
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("skgd", "sklearn", "joblib"):
        owner = frame.f_locals.get("self")
        if isinstance(owner, BaseEstimator) and setting is None:
            setting = repr(sorted((owner.get_params() | {"random_state": None}).items()))
        search = owner if isinstance(owner, Parallel) else search
        frame, level = frame.f_back, level + 1
    told = set() if search is None else TOLD.setdefault(search, set())
    if told.isdisjoint({message, (kind, setting)}):
        warnings.warn(message, category, stacklevel=level)
        told |= {message, (kind, setting)}


def check_parameters(model, are_new=True):
    """Refuse parameters that contradict each other; warn of those that do nothing, if the model has not learned with them."""
    for name in INTS:
        if isinstance(getattr(model, name), (bool, np.bool_)):
            raise InvalidParameterError(
                f"{name}={getattr(model, name)} must be an int in the range [1, inf), not a bool: give {name}=1 for one"
                + (", or None for all rows." if name == "batch_size" else ".")
            )
    if model.learning_rate == "optimal" and (model.alpha == 0 or model.penalty is None):
        raise ValueError(
            f"learning_rate='optimal' is 1 / (alpha * (t0 + t - 1)) and needs a penalty with alpha > 0, got "
            f"penalty={model.penalty!r}, alpha={model.alpha}. Set alpha, or use learning_rate='auto'."
        )
    if model.loss == "huber" and model.epsilon == 0:
        raise ValueError("loss='huber' needs epsilon > 0, got 0: beyond this residual the loss is linear.")
    if model.positive and model.nesterovs_momentum and model.momentum > 0.0:
        raise ValueError(
            "positive=True does not go with nesterovs_momentum=True, which looks ahead beyond the bound. Set "
            "nesterovs_momentum=False."
        )
    if model.penalty == "elasticnet" and model.l1_ratio is None:
        raise ValueError(
            "penalty='elasticnet' needs an l1_ratio in the range [0, 1], got None. Set it, or use another penalty."
        )
    if not are_new:
        return
    default = type(model)()
    for name, has_effect, cure in CONDITIONAL:
        value = getattr(model, name)
        if value != getattr(default, name) and not has_effect(model):
            # Without the value: a search over it says this once.
            warn(f"{name} has no effect here: it is used only with {cure}. Set that, or leave {name} at its default.")


def with_plain_numbers(model):
    """The model or, if it has parameters of NumPy's types, a copy with Python's own numbers: products of int16 overflow."""
    given = {name: getattr(model, name) for name in model._parameter_constraints}
    numbers = {name: value.item() for name, value in given.items() if isinstance(value, np.generic)}
    if not numbers:
        return model
    plain = object.__new__(type(model))
    vars(plain).update(vars(model) | numbers)
    return plain


@contextmanager
def unchanged_on_error(estimator):
    """Restore the estimator if anything fails."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_numbers(name, values):
    """One number or an array of any shape, as finite float64."""
    check_mask(values, name)
    if issparse(values):
        raise TypeError(f"{name} is sparse, but must be dense: give {name}.toarray().")
    values = np.asarray(values)
    if values.dtype.kind in "USmM" and values.size:
        raise ValueError(f"{name} must be numbers, got {str(values.flat[0])!r}.")
    checked = check_array(np.atleast_1d(values), ensure_2d=False, allow_nd=True, dtype=np.float64, input_name=name)
    return checked.reshape(values.shape)


def check_weight(sample_weight, n_samples):
    """sample_weight as float64 of shape (n_samples,); all ones, of one number in memory, if there is none."""
    if sample_weight is None:
        return np.broadcast_to(1.0, n_samples)
    weight = check_numbers("sample_weight", sample_weight)
    weight = np.full(n_samples, weight) if weight.ndim == 0 else weight
    if weight.shape != (n_samples,):
        cure = " Give sample_weight.ravel()." if weight.size == n_samples else ""
        raise ValueError(f"sample_weight must be one number for each of {n_samples} rows, got shape {weight.shape}.{cure}")
    if np.any(weight < 0.0):
        row = np.flatnonzero(weight < 0.0)[0]
        raise ValueError(f"sample_weight must be >= 0, got {weight[row]:g} in row {row}. Use 0 to leave a row out.")
    if np.any(weight > LARGEST):
        raise ValueError(f"sample_weight must be below {LARGEST:.0e}, got {weight.max():g}. Divide weights by a power of ten.")
    weight = weight.copy() if weight.strides == (0,) else weight  # a view of one number would pass for no weights
    return np.require(weight, requirements="A")


def check_weighted(rows):
    """Raise an error if no row has a weight, for rows or a summary of them, which is None if there are none."""
    if not rows:
        raise ValueError(
            "There are no rows, or sample_weight is zero for every row. Check where they come from, or give one a weight > 0."
        )


def check_mean_weight(rows):
    """Refuse weights so small that a stream, which takes them as they are, would lose its first rows."""
    if rows.mean_weight < 1.0 / LARGEST:
        raise ValueError(f"sample_weight is too small: its mean is {rows.mean_weight:g}. Multiply it by a power of ten.")


def is_validation_given(model, X_val, y_val, sample_weight_val):
    """Whether rows for early stopping are given; an error if X_val or y_val is missing, or if early_stopping is off."""
    if X_val is None and y_val is None and sample_weight_val is None:
        return False
    for name, value in ("X_val", X_val), ("y_val", y_val):
        if value is None:
            raise ValueError(f"{name} is missing: X_val and y_val go together, with or without sample_weight_val. Give both.")
    if not model.early_stopping:
        raise ValueError("X_val and y_val are given, but early_stopping=False. Set early_stopping=True, or leave them out.")
    if model.validation_fraction != type(model)().validation_fraction:
        warn(
            f"validation_fraction={model.validation_fraction!r} has no effect here, since X_val and y_val are given. Leave it "
            f"at its default."
        )
    return True


def check_has_validation(model, X_val):
    """Refuse early stopping where no rows are held out."""
    if model.early_stopping and X_val is None:
        raise ValueError(
            "early_stopping=True holds out rows of data in memory only. Give X_val and y_val, or set early_stopping=False."
        )


def check_validation(rows, n_targets):
    """Rows for early stopping, with as many targets as are learned, and enough of them for D^2."""
    if rows.n_targets != n_targets:
        raise ValueError(f"y_val has {rows.n_targets} targets, but y has {n_targets}. Give as many.")
    if len(rows) < 2:
        raise ValueError(f"D^2 needs at least 2 rows with a weight, got {len(rows)}. Give more rows.")
    return rows


def check_sign(model, name, coef):
    """Refuse negative coefficients to start from, if there may be none."""
    if model.positive and np.any(coef < 0.0):
        raise ValueError(f"positive=True, but {name} is {coef.min():g}. Start from coefficients >= 0, or set positive=False.")


def check_start(name, value, shape, single_target):
    """coef_init or intercept_init as float64 of the given shape, whose first entry is the number of targets."""
    value = check_numbers(name, value)
    if single_target and value.shape == shape[1:]:
        value = value[None]
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape[1:] if single_target else shape}, got {value.shape}.")
    if np.any(np.abs(value) > LARGEST):
        raise ValueError(f"{name} must be below {LARGEST:.0e}, got {np.abs(value).max():g}. Start nearer to zero.")
    return value
