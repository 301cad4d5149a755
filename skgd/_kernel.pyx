# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The compiled pass over mini-batches; `_reference.py` is the same call in NumPy and explains the arguments."""

import numpy as np

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t


cdef extern from "_kernel.h":
    ctypedef struct Step:
        double eta, cap, ceiling, momentum, lookahead, averaging
    ctypedef struct Loss:
        pass
    ctypedef struct Penalty:
        double l1
    ctypedef struct Run:
        const void *values
        const int32_t *columns
        const int64_t *starts
        const double *y
        const double *weight
        Py_ssize_t row_stride, target_stride, weight_stride, n_features
        const int32_t *order
        Py_ssize_t n_rows, batch_size, n_batches
        const double *center
        const double *scale
        Loss loss
        Penalty penalty
        const int32_t *targets
        Py_ssize_t n_targets
        const Step *steps
        double *parameters
        double *objectives
        double *room
    ctypedef struct Class:
        pass
    ctypedef struct Columns:
        Class *classes
        uint16_t *class_of
        uint16_t *used
        double *shrunk_by
        double *slopes
    Py_ssize_t N_CLASSES, FEW_TARGETS
    Py_ssize_t size_of_room(const Run *run) nogil
    int find_classes(const double *scale, Py_ssize_t n_features, Columns *columns) nogil
    void shuffle_rows(int32_t *order, Py_ssize_t n_rows, uint64_t seed) nogil
    void run_float64(const Run *run) nogil
    void run_float32(const Run *run) nogil
    void run_sparse_float64(const Run *run, Columns columns) nogil
    void run_sparse_float32(const Run *run, Columns columns) nogil


cdef int set_up(Run *run, const double[:, :] y, const double[:] weight, const int32_t[::1] order, Py_ssize_t batch_size,
                const Step[:, ::1] steps, const double[:, ::1] metric, const double[::1] loss, const double[::1] penalty,
                const int32_t[::1] targets, double[:, :, ::1] parameters, double[:, ::1] objectives, Py_ssize_t n_samples,
                Py_ssize_t n_features) except -1:
    """Fill in all of a run but X; an error if an array would be left. The numbers of rows and of targets are trusted."""
    cdef Py_ssize_t size = sizeof(double), n_batches = (order.shape[0] + batch_size - 1) // batch_size
    if not (steps.shape[0] == objectives.shape[0] == targets.shape[0] and steps.shape[1] == objectives.shape[1] == n_batches
            and y.shape[0] == parameters.shape[0] >= targets.shape[0] and y.shape[1] == weight.shape[0] == n_samples
            and n_features > 0 and parameters.shape[1] == 4 and metric.shape[0] == 2 and loss.shape[0] == 4
            and penalty.shape[0] == 3 and parameters.shape[2] == metric.shape[1] == n_features + 1):
        raise ValueError("arrays of descend() do not fit together")
    run.values, run.columns, run.starts, run.y, run.weight, run.order = NULL, NULL, NULL, &y[0, 0], &weight[0], &order[0]
    run.row_stride, run.target_stride, run.weight_stride = y.strides[1] // size, y.strides[0] // size, weight.strides[0] // size
    run.n_features, run.n_rows, run.batch_size, run.n_batches = n_features, order.shape[0], batch_size, n_batches
    run.center, run.scale = &metric[0, 0], &metric[1, 0]
    run.loss, run.penalty = (<const Loss *>&loss[0])[0], (<const Penalty *>&penalty[0])[0]
    run.targets, run.n_targets, run.steps = &targets[0], targets.shape[0], &steps[0, 0]
    run.parameters, run.objectives, run.room = &parameters[0, 0, 0], &objectives[0, 0], NULL
    return 0


def descend(const floating[:, ::1] X, const double[:, :] y, const double[:] weight, const int32_t[::1] order,
            Py_ssize_t batch_size, const Step[:, ::1] steps, const double[:, ::1] metric, const double[::1] loss,
            const double[::1] penalty, const int32_t[::1] targets, double[:, :, ::1] parameters, double[:, ::1] objectives):
    """Take one step per mini-batch of `order` and target, in place; see `_reference.descend`."""
    cdef Py_ssize_t n_features = X.shape[1], n_targets = targets.shape[0]
    if order.shape[0] == 0 or n_targets == 0:
        return
    cdef Run run
    cdef double[::1] room
    set_up(&run, y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives, X.shape[0],
           n_features)
    if n_targets > FEW_TARGETS:
        room = np.zeros(size_of_room(&run))
        run.room = &room[0]
    run.values = &X[0, 0]
    with nogil:
        (run_float64 if floating is double else run_float32)(&run)


def descend_sparse(const floating[::1] values, const int32_t[::1] columns, const int64_t[::1] starts, const double[:, :] y,
                   const double[:] weight, const int32_t[::1] order, Py_ssize_t batch_size, const Step[:, ::1] steps,
                   const double[:, ::1] metric, const double[::1] loss, const double[::1] penalty, const int32_t[::1] targets,
                   double[:, :, ::1] parameters, double[:, ::1] objectives):
    """Take one step per mini-batch of rows of a CSR matrix and target, in place; see `_reference.descend_sparse`."""
    cdef Py_ssize_t n_rows = order.shape[0], n_features = metric.shape[1] - 1, n_samples = starts.shape[0] - 1
    if n_rows == 0 or targets.shape[0] == 0:
        return
    cdef Run run
    set_up(&run, y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives, n_samples,
           n_features)
    if not columns.shape[0] == values.shape[0] == starts[n_samples]:
        raise ValueError("arrays of descend_sparse() do not fit together")
    run.starts = &starts[0]
    if values.shape[0] > 0:
        run.values, run.columns = &values[0], &columns[0]
    cdef double[:, ::1] classes = np.zeros((N_CLASSES, sizeof(Class) // sizeof(double)))
    cdef uint16_t[::1] class_of = np.empty(n_features, np.uint16), used = np.empty(N_CLASSES, np.uint16)
    cdef double[::1] shrunk_by = np.zeros(n_features if run.penalty.l1 != 0.0 else 1)
    cdef double[::1] slopes = np.empty(min(batch_size, n_rows))
    cdef Columns c
    c.classes, c.class_of, c.used = <Class *>&classes[0, 0], &class_of[0], &used[0]
    c.shrunk_by, c.slopes = &shrunk_by[0], &slopes[0]
    if not find_classes(run.scale, n_features, &c):
        raise ValueError("scales of sparse columns must be powers of two, or zero")
    with nogil:
        (run_sparse_float64 if floating is double else run_sparse_float32)(&run, c)


def shuffle(int32_t[::1] order, uint64_t seed):
    """Permute `order` in place; the permutation is a function of its length and the seed."""
    if order.shape[0] > 1:
        with nogil:
            shuffle_rows(&order[0], order.shape[0], seed)
