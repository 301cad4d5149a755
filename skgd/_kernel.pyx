# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The compiled pass over mini-batches; `_reference.py` is the same call in NumPy and explains the arguments."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t


cdef extern from "_kernel.h":
    ctypedef struct Step:
        double eta, cap, ceiling, momentum, lookahead, averaging
    ctypedef struct Loss:
        double insensitive, curvature, cap_above, cap_below
    ctypedef struct Penalty:
        double l2, l1, lowest
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
    ctypedef struct Data:
        const void *X
        const double *y
        const double *weight
        Py_ssize_t row_stride, target_stride, weight_stride, n_features
    ctypedef struct Targets:
        const int32_t *numbers
        double *parameters
        double *objectives
        const Step *steps
        Py_ssize_t n, n_batches
    ctypedef struct Room:
        double *rows
        double *coefs
        double *slopes
    ctypedef struct SparseData:
        const void *values
        const int32_t *columns
        const int64_t *starts
        const double *y
        const double *weight
        Py_ssize_t row_stride, weight_stride, n_features
    ctypedef struct Class:
        double scale, decay, entered, threshold, cut, reach
    ctypedef struct Columns:
        Class *classes
        uint16_t *class_of
        uint16_t *used
        double *shrunk_by
        double *slopes
    Py_ssize_t N_CLASSES, FEW_TARGETS, WIDE, ROWS_AT_ONCE
    Parameters parameters_of(const Targets *targets, Py_ssize_t k, Py_ssize_t n_features) nogil
    int find_classes(const double *scale, Py_ssize_t n_features, Columns *columns) nogil
    void shuffle_rows(int32_t *order, Py_ssize_t n_rows, uint64_t seed) nogil
    void run_float64(Data data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size, const Metric *metric,
                     const Loss *loss, const Penalty *penalty, Targets targets, Room room) nogil
    void run_float32(Data data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size, const Metric *metric,
                     const Loss *loss, const Penalty *penalty, Targets targets, Room room) nogil
    void run_sparse_float64(SparseData data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size,
                            const Step *step, const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p,
                            Columns columns, double *objective) nogil
    void run_sparse_float32(SparseData data, const int32_t *order, Py_ssize_t n_rows, Py_ssize_t batch_size,
                            const Step *step, const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p,
                            Columns columns, double *objective) nogil


cdef Py_ssize_t sizeof_double = sizeof(double)

ctypedef fused real:
    float
    double


cdef Metric parts_of(const double[:, ::1] metric):
    cdef Metric m
    m.center, m.scale, m.n_axes = &metric[0, 0], &metric[1, 0], metric.shape[0] - 2
    m.axes = m.scale + metric.shape[1]
    return m


cdef Targets targets_of(const int32_t[::1] targets, const Step[:, ::1] steps, double[:, :, ::1] parameters,
                        double[:, ::1] objectives):
    cdef Targets t
    t.numbers, t.steps, t.parameters, t.objectives = &targets[0], &steps[0, 0], &parameters[0, 0, 0], &objectives[0, 0]
    t.n, t.n_batches = targets.shape[0], objectives.shape[1]
    return t


cdef bint fit_together(const double[:, :] y, const double[:] weight, const int32_t[::1] order, Py_ssize_t batch_size,
                       const Step[:, ::1] steps, const double[:, ::1] metric, const double[::1] loss,
                       const double[::1] penalty, const int32_t[::1] targets, double[:, :, ::1] parameters,
                       double[:, ::1] objectives, Py_ssize_t n_samples, Py_ssize_t n_features):
    """Whether no array will be left. Rows are trusted (they come from the sampler), and so are the numbers of targets."""
    cdef Py_ssize_t n_batches = (order.shape[0] + batch_size - 1) // batch_size
    return (steps.shape[0] == objectives.shape[0] == targets.shape[0] and steps.shape[1] == objectives.shape[1] == n_batches
            and y.shape[0] == parameters.shape[0] >= targets.shape[0] and y.shape[1] == weight.shape[0] == n_samples
            and n_features > 0 and parameters.shape[1] == 5 and metric.shape[0] >= 2 and loss.shape[0] == 4
            and penalty.shape[0] == 3 and parameters.shape[2] == metric.shape[1] == n_features + 1)


def descend(const real[:, ::1] X, const double[:, :] y, const double[:] weight, const int32_t[::1] order,
            Py_ssize_t batch_size, const Step[:, ::1] steps, const double[:, ::1] metric, const double[::1] loss,
            const double[::1] penalty, const int32_t[::1] targets, double[:, :, ::1] parameters, double[:, ::1] objectives):
    """Take one step per mini-batch of `order` and target, in place; see `_reference.descend`."""
    cdef Py_ssize_t n_features = X.shape[1], n_targets = targets.shape[0]
    if order.shape[0] == 0 or n_targets == 0:
        return
    if not fit_together(y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives, X.shape[0],
                        n_features):
        raise ValueError("arrays of descend() do not fit together")
    cdef Data data
    data.X, data.y, data.weight, data.n_features = &X[0, 0], &y[0, 0], &weight[0], n_features
    data.row_stride, data.target_stride = y.strides[1] // sizeof_double, y.strides[0] // sizeof_double
    data.weight_stride = weight.strides[0] // sizeof_double
    cdef Metric m = parts_of(metric)
    cdef Targets t = targets_of(targets, steps, parameters, objectives)
    cdef Room room
    cdef double[:, ::1] rows, coefs, slopes
    if n_targets > FEW_TARGETS:
        rows = np.zeros((ROWS_AT_ONCE, (n_features + WIDE) // WIDE * WIDE))
        coefs = np.zeros(((n_targets + WIDE - 1) // WIDE * (n_features + 1), WIDE))
        slopes = np.zeros((ROWS_AT_ONCE, WIDE))
        room.rows, room.coefs, room.slopes = &rows[0, 0], &coefs[0, 0], &slopes[0, 0]
    cdef const Loss *loss_numbers = <const Loss *>&loss[0]
    cdef const Penalty *strengths = <const Penalty *>&penalty[0]
    with nogil:
        if real is double:
            run_float64(data, &order[0], order.shape[0], batch_size, &m, loss_numbers, strengths, t, room)
        else:
            run_float32(data, &order[0], order.shape[0], batch_size, &m, loss_numbers, strengths, t, room)


def descend_sparse(const real[::1] values, const int32_t[::1] columns, const int64_t[::1] starts, const double[:, :] y,
                   const double[:] weight, const int32_t[::1] order, Py_ssize_t batch_size, const Step[:, ::1] steps,
                   const double[:, ::1] metric, const double[::1] loss, const double[::1] penalty, const int32_t[::1] targets,
                   double[:, :, ::1] parameters, double[:, ::1] objectives):
    """The same over the rows of a CSR matrix; see `_reference.descend_sparse`."""
    cdef Py_ssize_t n_rows = order.shape[0], n_features = metric.shape[1] - 1, n_samples = starts.shape[0] - 1, k
    if n_rows == 0 or targets.shape[0] == 0:
        return
    if not (fit_together(y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives, n_samples,
                         n_features) and metric.shape[0] == 2 and columns.shape[0] == values.shape[0] == starts[n_samples]):
        raise ValueError("arrays of descend_sparse() do not fit together")
    cdef SparseData data
    data.values, data.columns, data.starts, data.weight = NULL, NULL, &starts[0], &weight[0]
    if values.shape[0] > 0:
        data.values, data.columns = &values[0], &columns[0]
    data.row_stride, data.weight_stride = y.strides[1] // sizeof_double, weight.strides[0] // sizeof_double
    data.n_features = n_features
    cdef Metric m = parts_of(metric)
    cdef Targets t = targets_of(targets, steps, parameters, objectives)
    cdef const Loss *loss_numbers = <const Loss *>&loss[0]
    cdef const Penalty *strengths = <const Penalty *>&penalty[0]
    cdef double[:, ::1] classes = np.zeros((N_CLASSES, sizeof(Class) // sizeof(double)))
    cdef uint16_t[::1] class_of = np.empty(n_features, np.uint16), used = np.empty(N_CLASSES, np.uint16)
    cdef double[::1] shrunk_by = np.zeros(n_features if strengths.l1 != 0.0 else 1)
    cdef double[::1] slopes = np.empty(min(batch_size, n_rows))
    cdef Columns c
    c.classes, c.class_of, c.used = <Class *>&classes[0, 0], &class_of[0], &used[0]
    c.shrunk_by, c.slopes = &shrunk_by[0], &slopes[0]
    if not find_classes(m.scale, n_features, &c):
        raise ValueError("scales of sparse columns must be powers of two, or zero")
    with nogil:
        for k in range(t.n):
            data.y = &y[targets[k], 0]
            if real is double:
                run_sparse_float64(data, &order[0], n_rows, batch_size, &steps[k, 0], &m, loss_numbers, strengths,
                                   parameters_of(&t, k, n_features), c, &objectives[k, 0])
            else:
                run_sparse_float32(data, &order[0], n_rows, batch_size, &steps[k, 0], &m, loss_numbers, strengths,
                                   parameters_of(&t, k, n_features), c, &objectives[k, 0])


def shuffle(int32_t[::1] order, uint64_t seed):
    """Permute `order` in place; the permutation is a function of its length and the seed."""
    if order.shape[0] > 1:
        with nogil:
            shuffle_rows(&order[0], order.shape[0], seed)
