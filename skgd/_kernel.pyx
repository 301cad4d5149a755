# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled pass over mini-batches; `_reference.py` is the same call in NumPy and explains the arguments."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "_kernel.h":
    ctypedef struct Step:
        double eta, cap, momentum, lookahead, averaging
    ctypedef struct Loss:
        double insensitive, curvature, cap_above, cap_below
    ctypedef struct Penalty:
        double l2, l1
    ctypedef struct Parameters:
        double *coef
        double *velocity
        double *average
        double *gradient
        double *direction
    ctypedef struct Metric:
        const double *center
        const double *scale
        const double *axes
        Py_ssize_t n_axes
    void shuffle_rows(int32_t *order, Py_ssize_t n_rows, uint64_t seed) nogil
    ctypedef struct Data_float64:
        const double *X
        const double *y
        const double *weight
        Py_ssize_t weight_stride, n_features
    ctypedef struct Data_float32:
        const float *X
        const double *y
        const double *weight
        Py_ssize_t weight_stride, n_features
    ctypedef struct SparseData_float64:
        const double *values
        const int32_t *columns
        const int64_t *starts
        const double *y
        const double *weight
        Py_ssize_t weight_stride, n_features
    ctypedef struct SparseData_float32:
        const float *values
        const int32_t *columns
        const int64_t *starts
        const double *y
        const double *weight
        Py_ssize_t weight_stride, n_features
    ctypedef struct Lazy:
        int active, remembers, averages, uniform, uniform_scale
        Py_ssize_t *last
        Py_ssize_t *counted
        double *decay
        double *threshold
        double *kept
        double *entered
        double *missed
        double *log_decay
        double *slopes
    void run_sparse_float64(SparseData_float64 data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size,
                            const Step *steps, const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p,
                            Lazy lazy, double *objective) nogil
    void run_sparse_float32(SparseData_float32 data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size,
                            const Step *steps, const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p,
                            Lazy lazy, double *objective) nogil
    void run_float64(Data_float64 data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size, const Step *step,
                     const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, double *objective) nogil
    void run_float32(Data_float32 data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size, const Step *step,
                     const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, double *objective) nogil


ctypedef fused real:
    float
    double


def descend(const real[:, ::1] X, const double[::1] y, const double[:] weight, const int32_t[::1] order,
            Py_ssize_t batch_size, const Step[::1] steps, const double[:, ::1] metric, const double[::1] loss,
            const double[::1] penalty, double[:, ::1] parameters, double[::1] objectives):
    """Take one step per mini-batch of `order`, in place; see `_reference.descend`."""
    cdef Py_ssize_t n_rows = order.shape[0], n_features = X.shape[1]
    cdef Py_ssize_t n_batches = (n_rows + batch_size - 1) // batch_size
    if n_batches == 0:
        return
    # Rows are trusted (they come from the sampler); shapes are checked, since a wrong one would write out of bounds.
    if not (steps.shape[0] == objectives.shape[0] == n_batches and y.shape[0] == weight.shape[0] == X.shape[0]
            and n_features > 0 and parameters.shape[0] == 5 and metric.shape[0] >= 2 and loss.shape[0] == 4
            and penalty.shape[0] == 2 and parameters.shape[1] == metric.shape[1] == n_features + 1):
        raise ValueError("arrays of descend() do not fit together")
    cdef Py_ssize_t weight_stride = weight.strides[0] // sizeof(double)
    cdef Parameters p
    p.coef, p.velocity, p.average, p.gradient, p.direction = (
        &parameters[0, 0], &parameters[1, 0], &parameters[2, 0], &parameters[3, 0], &parameters[4, 0])
    cdef Metric m
    m.center, m.scale, m.axes, m.n_axes = &metric[0, 0], &metric[1, 0], &metric[1, 0] + n_features + 1, metric.shape[0] - 2
    cdef const Loss *loss_numbers = <const Loss *>&loss[0]
    cdef const Penalty *strengths = <const Penalty *>&penalty[0]
    cdef Data_float64 double_data
    cdef Data_float32 single_data
    with nogil:
        if real is double:
            double_data.X, double_data.y, double_data.weight = &X[0, 0], &y[0], &weight[0]
            double_data.weight_stride, double_data.n_features = weight_stride, n_features
            run_float64(double_data, &order[0], n_rows, batch_size, &steps[0], &m, loss_numbers, strengths, p,
                        &objectives[0])
        else:
            single_data.X, single_data.y, single_data.weight = &X[0, 0], &y[0], &weight[0]
            single_data.weight_stride, single_data.n_features = weight_stride, n_features
            run_float32(single_data, &order[0], n_rows, batch_size, &steps[0], &m, loss_numbers, strengths, p,
                        &objectives[0])


def descend_sparse(const real[::1] values, const int32_t[::1] columns, const int64_t[::1] starts, const double[::1] y,
                   const double[:] weight, const int32_t[::1] order, Py_ssize_t batch_size, const Step[::1] steps,
                   const double[:, ::1] metric, const double[::1] loss, const double[::1] penalty, double[:, ::1] parameters,
                   double[::1] objectives):
    """The same over the rows of a CSR matrix, without center and axes; the objectives leave the penalty out."""
    cdef Py_ssize_t n_rows = order.shape[0], n_features = metric.shape[1] - 1, n_samples = starts.shape[0] - 1
    cdef Py_ssize_t n_batches = (n_rows + batch_size - 1) // batch_size
    if n_batches == 0:
        return
    if not (steps.shape[0] == objectives.shape[0] == n_batches and y.shape[0] == weight.shape[0] == n_samples
            and parameters.shape[0] == 5 and metric.shape[0] == 2 and loss.shape[0] == 4 and penalty.shape[0] == 2
            and parameters.shape[1] == n_features + 1 and columns.shape[0] == values.shape[0] == starts[n_samples]):
        raise ValueError("arrays of descend_sparse() do not fit together")
    cdef Py_ssize_t weight_stride = weight.strides[0] // sizeof(double)
    cdef Parameters p
    p.coef, p.velocity, p.average, p.gradient, p.direction = (
        &parameters[0, 0], &parameters[1, 0], &parameters[2, 0], &parameters[3, 0], &parameters[4, 0])
    cdef Metric m
    m.center, m.scale, m.axes, m.n_axes = &metric[0, 0], &metric[1, 0], &metric[1, 0] + n_features + 1, 0
    cdef const Loss *loss_numbers = <const Loss *>&loss[0]
    cdef const Penalty *strengths = <const Penalty *>&penalty[0]

    # Whether columns that a batch does not hold must be made up for, and whether averaging is among the reasons: at few
    # steps it is cheaper to average all columns there and then.
    step_array = np.asarray(steps)
    penalised = strengths.l2 != 0.0 or strengths.l1 != 0.0
    remembers = bool(np.any(step_array["momentum"]))
    work = float(starts[n_samples]) / n_samples * n_rows
    cdef Lazy lazy
    lazy.uniform_scale = bool(np.all(np.asarray(metric)[1, :n_features] == 1.0))
    lazy.uniform = lazy.uniform_scale or not penalised
    lazy.averages = lazy.uniform and not remembers and np.count_nonzero(step_array["averaging"]) * n_features > work
    lazy.remembers = remembers
    lazy.active = not remembers and (strengths.l1 != 0.0 or not lazy.uniform)
    cdef Py_ssize_t[:, ::1] marks = np.zeros((2, n_features if lazy.active or not np.isinf(step_array["cap"]).all() else 0),
                                             dtype=np.intp)
    cdef double[:, ::1] sums = np.zeros((5, n_batches + 1 if lazy.active else 1))
    sums[0, 0] = sums[2, 0] = 1.0
    lazy.last, lazy.counted = &marks[0, 0], &marks[1, 0]
    np.asarray(marks)[1] = -1
    lazy.decay, lazy.threshold, lazy.kept, lazy.entered, lazy.missed = (
        &sums[0, 0], &sums[1, 0], &sums[2, 0], &sums[3, 0], &sums[4, 0])

    cdef double[::1] log_decay = (
        np.zeros(1) if lazy.uniform else np.log1p(-steps[0].eta * strengths.l2 * np.asarray(metric)[1, :n_features]))
    lazy.log_decay = &log_decay[0]
    cdef double[::1] slopes = np.empty(min(batch_size, n_rows))
    lazy.slopes = &slopes[0]

    cdef SparseData_float64 double_data
    cdef SparseData_float32 single_data
    with nogil:
        if real is double:
            double_data.values, double_data.columns, double_data.starts = &values[0], &columns[0], &starts[0]
            double_data.y, double_data.weight = &y[0], &weight[0]
            double_data.weight_stride, double_data.n_features = weight_stride, n_features
            run_sparse_float64(double_data, &order[0], n_rows, batch_size, &steps[0], &m, loss_numbers, strengths, p, lazy,
                               &objectives[0])
        else:
            single_data.values, single_data.columns, single_data.starts = &values[0], &columns[0], &starts[0]
            single_data.y, single_data.weight = &y[0], &weight[0]
            single_data.weight_stride, single_data.n_features = weight_stride, n_features
            run_sparse_float32(single_data, &order[0], n_rows, batch_size, &steps[0], &m, loss_numbers, strengths, p, lazy,
                               &objectives[0])


def shuffle(int32_t[::1] order, uint64_t seed):
    """Permute `order` in place; the permutation is a function of its length and the seed."""
    if order.shape[0] > 1:
        with nogil:
            shuffle_rows(&order[0], order.shape[0], seed)
