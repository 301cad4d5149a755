"""The plan of a call: the problem with its geometry, and the solver or the passes that descend on it."""

from dataclasses import replace
from functools import partial

import numpy as np

from skgd._constant import secant_curvature
from skgd._damped_newton import DampedNewton
from skgd._descent import Passes
from skgd._geometry import Geometry, check_range, geometry_of_batches, geometry_of_solver
from skgd._least_squares import ClosedForm, ConjugateGradients
from skgd._metric import Metric
from skgd._moments import NormalEquations
from skgd._objective import SQUARED_ERROR
from skgd._outliers import bounded_by
from skgd._problem import Problem
from skgd._quadratic import NormalEquationsWithZeros
from skgd._reading import ROUNDING
from skgd._reference import AVERAGE
from skgd._wide import CoordinateDescent, QuasiNewton


def solver_of(rows, loss, penalty):
    """The class of solver for the full batch where there are no normal equations."""
    if loss == SQUARED_ERROR and not penalty.makes_zeros:  # a quadratic function of unbounded parameters
        return ConjugateGradients
    if not rows.is_wide:
        return DampedNewton
    can_be_copied = rows.is_in_memory and not rows.is_on_disk
    # With a bound alone, coordinate descent takes 2 to 20 times as long as L-BFGS-B, and with an l1 norm less.
    return CoordinateDescent if loss == SQUARED_ERROR and penalty.l1 > 0.0 and can_be_copied else QuasiNewton


def epochs_of(model, problem):
    """The class that makes the epochs: a solver for the full batch of "auto" without momentum or average, else Passes."""
    is_asked = model.learning_rate == "auto" and model.momentum == 0.0 and model.average in ("auto", False)
    if problem.is_stream or not (is_asked and problem.is_full_batch):
        return Passes
    return ClosedForm if problem.normal_equations else solver_of(problem.rows, problem.loss, problem.penalty)


def problem_of_fit(model, rows):
    """The problem of all rows, and their moments."""
    moments = first_reading(model, rows)
    check_range(moments, rows.representatives)
    if model.learning_rate == "auto" and model.fit_intercept and rows.is_sparse:
        rows = rows.with_far_columns_centred(moments.column_means, moments.column_variances)
    problem = Problem.of(model, rows, moments)
    problem = with_geometries(problem, partial(geometry_of, model, problem, moments))
    if problem.loss == SQUARED_ERROR and moments.is_full and not any(each.is_doubtful for each in problem.geometries):
        problem = with_moments(model, problem, moments)
    return problem, moments


def with_moments(model, problem, moments):
    """The problem of a squared error, with what accurate moments give in the place of steps or readings.

    "auto" has the normal equations: the full batch solves them, and they tell mini-batches when these are near the minimum.
    Full batches that take steps, of a plain schedule or with momentum, read an equivalent small table instead of all rows.
    """
    if model.learning_rate == "auto":
        problem = replace(problem, normal_equations=equations_of(problem, moments))
    takes_steps = problem.is_full_batch and epochs_of(model, problem) is Passes
    return problem.on_few_rows(moments) if takes_steps and len(problem.rows) > problem.rows.n_features + 2 else problem


def equations_of(problem, moments):
    """The normal equations, or None where rounding errors keep the minimum with an l1 norm or a bound from being exact."""
    geometry, ridge = problem.geometries[0], problem.penalty.l2 / problem.curvature[0]
    known = moments, geometry.metric, geometry.whitening, ridge
    if not problem.penalty.makes_zeros:
        return NormalEquations.of(*known)
    equations = NormalEquationsWithZeros.of(*known, problem.penalty)
    return equations if np.all(equations.error <= ROUNDING * problem.constant_loss) else None


def first_reading(model, rows):
    """The moments of the rows, with products of columns where they are needed or pay off.

    "auto" needs products to know how far the minimum is. For a plain schedule of the squared error and the full batch, they
    cost as much as about n_features passes over the rows, and save one pass in each epoch.
    """
    is_auto, is_full_batch = model.learning_rate == "auto", model.batch_size is None or model.batch_size >= len(rows)
    saves = model.loss == "squared_error" and rows.n_features <= min(model.max_iter, len(rows))
    is_full = not rows.is_wide and (is_auto or (is_full_batch and saves))
    return rows.moments(is_full) if is_auto or is_full else rows.without_columns().moments(False)


def geometry_of(model, problem, moments, ridge):
    """The geometry of targets whose l2 penalty adds `ridge` to the second moment of each column."""
    rows, fit_intercept = problem.rows, model.fit_intercept
    if model.learning_rate != "auto":
        return Geometry(Metric.plain(rows.n_features, fit_intercept))
    if epochs_of(model, problem) is not Passes:
        return geometry_of_solver(rows, moments, ridge, fit_intercept)
    return geometry_of_batches(rows, moments, problem.batch_size, ridge, fit_intercept)


def problem_of_chunk(model, rows, state):
    """The problem of a chunk of a stream, the stream with these rows, and the rows with bounded weights.

    Columns are measured by the means and deviations of all rows seen so far; see `measured_for_steps`.
    """
    problem, stream = Problem.of(model, rows, rows.without_columns().moments(False)), state.stream
    problem = replace(problem, is_stream=True)
    if model.learning_rate != "auto":
        geometry = Geometry(Metric.plain(rows.n_features, model.fit_intercept))
        return with_geometries(problem, lambda ridge: geometry), stream, rows
    parameters, half_life = state.parameters[:, AVERAGE], model.half_life or np.inf
    if problem.loss.grows_linearly:  # far from the minimum the loss is as steep as the residuals met so far say
        stream = stream.with_steepness(rows, parameters, problem.loss, half_life)
        problem = replace(problem, curvature=secant_curvature(problem.loss, stream.slope, stream.size))
    bounded = bounded_by(stream, rows, parameters, problem.loss)
    remembered = bounded.faded(half_life, np.finfo(np.float64).nmant)  # half-lives after which nothing is left of a row
    stream = stream.with_rows(remembered, len(rows), half_life)
    check_range(stream.moments, remembered)
    problem = replace(problem, deviation=np.sqrt(np.maximum(stream.moments.target_variance, 0.0)))
    if rows.is_sparse and model.fit_intercept:
        rows = rows.with_far_columns_centred(stream.moments.column_means, stream.moments.column_variances)
        bounded, problem = rows, replace(problem, rows=rows)  # `bounded_by` has left sparse rows as they are
    return with_standard_metric(model, problem, stream.moments), stream, bounded


def measured_for_steps(model, problem, stream, bounded):
    """The problem of a chunk with the geometry that mini-batch steps need, and the stream updated by that geometry."""
    rows, b = problem.rows, problem.batch_size
    problem = with_geometries(problem, lambda ridge: stream.geometry(rows, bounded, b, ridge, model.fit_intercept))
    return problem, stream._replace(eigenvalue=problem.geometries[0].eigenvalue)


def problem_of_latest(model, rows, moments, is_all):
    """The problem of the latest rows of a stream, measured by the moments of all rows seen.

    If these are all rows seen (`is_all`), the geometry is that of a fit.
    """
    problem = Problem.of(model, rows, rows.without_columns().moments(False))
    problem = replace(problem, penalty=problem.penalty.per_weight(moments.n_rows, moments.weight))
    if is_all:
        return with_geometries(problem, lambda ridge: geometry_of_solver(rows, moments, ridge, model.fit_intercept))
    return with_standard_metric(model, problem, moments)


def with_standard_metric(model, problem, moments):
    """The problem with columns of mean 0 and deviation 1."""
    metric = Metric.of_rows(problem.rows, moments, 0.0, model.fit_intercept)
    return with_geometries(problem, lambda ridge: Geometry(metric))


def hold_out(model, rows, seed):
    """The rows to descend on, and those that early stopping watches."""
    n_held_out = max(2, int(np.ceil(model.validation_fraction * len(rows))))
    if len(rows) <= n_held_out:
        raise ValueError(
            f"early_stopping=True with validation_fraction={model.validation_fraction} would hold out {n_held_out} rows, "
            f"but only n_samples={len(rows)} rows have a weight. Give more rows or some of your own as X_val and y_val, lower "
            f"validation_fraction, or set early_stopping=False."
        )
    return rows.hold_out(n_held_out, seed)


def with_geometries(problem, find):
    """The problem with the geometry of each target, found for its ridge: the l2 strength over the curvature of its loss."""
    ridges = problem.penalty.l2 / problem.curvature
    found = {ridge: find(ridge) for ridge in np.unique(ridges)}
    return replace(problem, geometries=tuple(found[ridge] for ridge in ridges))
