"""What is wrong with X or y: errors that name the column, the row and the cure."""

import re
from contextlib import contextmanager
from datetime import date

import numpy as np
from scipy.sparse import issparse

OF_VALUES = "NaN", "NA", "infinity", "could not convert", "float()", "dtype", "DType", "sequence"  # in scikit-learn's errors
DATES = "dates. Make numbers of them, such as days since the first."
DURATIONS = "durations, or times of the day. Make numbers of them, such as seconds."
TIMES = [(("date", "timestamp"), DATES), (("duration", "time"), DURATIONS)]  # by how the names of types begin
DATE_IN_WORDS = re.compile(r"\d{4}-\d\d-\d\d")
NUMBER_IN_WORDS = re.compile(r"\W*\d[\d.,' ]*\W*")
WHERE_WORDS = {"X": "Encode it, as by OneHotEncoder.", "y": "Targets are numbers; words take a classifier."}
WHERE_MISSING = {"X": "Fill it, for example by SimpleImputer, or leave out the row.", "y": "Leave out the row."}


def check_mask(table, what):
    """Refuse masked numbers, which scikit-learn takes as they are without a word."""
    if isinstance(table, np.ma.MaskedArray) and np.ma.is_masked(table):
        raise ValueError(f"Input {what} contains masked numbers. Give {what}.filled(value), or leave out their rows.")


def check_kind(table, what):
    """Refuse what scikit-learn turns into numbers without a word: columns of dates and durations, and masked numbers."""
    check_mask(table, what)
    if hasattr(type(table), "collect"):  # of the class, since a column may have this name
        raise TypeError(f"{what} is a {type(table).__name__}, which holds no rows yet: give {what}.collect().")
    dtypes = getattr(table, "dtypes", None)
    is_frame = hasattr(table, "columns") and hasattr(dtypes, "__iter__")
    names = list(table.columns) if is_frame else [""]
    for name, dtype in zip(names, dtypes if is_frame else [getattr(table, "dtype", "")], strict=True):
        dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
        kind = getattr(dtype, "kind", "M")
        if kind in "biuf":
            continue
        values = np.ravel(table[name] if is_frame else table) if kind == "O" else ()
        types = {type(value).__name__ for value in values} or {str(dtype)}
        for begins, words in TIMES:
            if any(each.lower().startswith(begins) for each in types):
                raise TypeError(f"{what} must be numbers: {f'column {name!r}, ' if is_frame else ''}{words}")


@contextmanager
def in_words(X, y=None):
    """Errors of scikit-learn's checks in words that name the column, the row and the cure, where these are known."""
    try:
        yield
    except (TypeError, ValueError) as error:
        words = of_shapes(error, np.shape(X), np.shape(y)) or of_values(error, X, y)
        if words is None:
            raise
        raise of_kind(error, words) from error


def of_kind(error, words):
    """An error of the kind of another, with other words. It is no subclass, since these may take other arguments."""
    return (TypeError if isinstance(error, TypeError) else ValueError)(words)


def of_shapes(error, X, y):
    """What is wrong with shapes that do not go together, or None."""
    if len(X) == 1 and "Expected 2D array" in str(error):
        return f"Expected 2D array X, got shape {X}. Reshape your data: X[:, None] for one column, X[None] for one row."
    if len(y) == 2 and y[1] == 0:
        return f"y has shape {y}: it holds no target. Give one column or more."
    if len(X) != 2 or "inconsistent numbers of samples" not in str(error):
        return None
    if X[0] < X[1] == y[0]:
        return f"X has {X[0]} rows and y {y[0]}, as many as X has columns: give X.T."
    return f"y has shape {y}, one row of {X[0]} targets: give y of shape ({X[0]},)." if y == (1, X[0]) else None


def of_values(error, X, y):
    """What is wrong with a value, or None."""
    if not any(words in str(error) for words in OF_VALUES):
        return None
    for what, table in ("X", X), ("y", y):
        shape = np.shape(table)
        if len(shape) not in (1, 2):
            continue
        for name, values in columns_of(table) if len(shape) == 2 else [("", array_of(table))]:
            if values.ndim == 1 and (found := trouble_in(values, what, name)):
                return found
    return None


def columns_of(table):
    """Columns in words, and their values; of a sparse matrix those that hold NaN or infinity."""
    if issparse(table):
        entries, columns = table.tocoo(), table.tocsc()
        numbers = np.unique(entries.col[~np.isfinite(entries.data)])
        return ((f"column {number}, ", columns[:, [number]].toarray()[:, 0]) for number in numbers)
    if hasattr(table, "columns"):
        return ((f"column {name!r}, ", np.asarray(table[name])) for name in table.columns)
    return ((f"column {number}, ", values) for number, values in enumerate(array_of(table).T))


def array_of(values):
    """An array; of a list one that holds what the list does."""
    return np.asarray(values) if hasattr(values, "shape") else np.array(values, dtype=object)


def is_missing(value):
    """Whether an object stands for no value: None, NaN, or pandas.NA, which refuses to be compared."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ArithmeticError):  # of pandas.NA, and of a signalling NaN
        return True
    except ValueError:  # of an array
        return False


def is_number(text):
    """Whether words say a number."""
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def trouble_in(values, what, column):
    """What is wrong with the values of a column, where, and what to do, or None."""
    missing = f"Input {what} contains NaN: {column}row {{}}. {WHERE_MISSING[what]}"
    for row, value in enumerate(values) if values.dtype.kind in "OUST" else ():
        if is_missing(value):
            return missing.format(row)
        if isinstance(value, date):
            return f"{what} must be numbers: {column}{DATES}"
        if isinstance(value, str | bytes) and not is_number(value):
            is_date = DATE_IN_WORDS.match(str(value))
            is_amount = NUMBER_IN_WORDS.fullmatch(str(value)[:50])
            cure = "Make a number of it: no comma, space or unit." if is_amount else WHERE_WORDS[what]
            cure = "Parse it by pandas.to_datetime, and make days of it." if is_date else cure
            return f"could not convert string to float: {what}, {column}row {row} holds {str(value)!r:.50}. {cure}"
        if not (isinstance(value, str | bytes) or hasattr(value, "__float__")) or np.ndim(value) > 0:
            holds = f"{what}, {column}row {row} holds a {type(value).__name__}"
            return f"argument must be a string or a real number: {holds}. Make a number of it."
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = np.flatnonzero(~np.isfinite(values))[0]
        if np.isnan(values[row]):
            return missing.format(row)
        return f"Input {what} contains infinity: {column}row {row} holds {values[row]}. Give a finite number, or leave it out."
    return None
