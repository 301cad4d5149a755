/* One run of mini-batches over the rows of a CSR matrix, at a cost per step of the batch's non-zeros and not of all columns.
 * _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * A column that a batch does not hold still decays and enters the average. Where that is the same for all columns, coef and
 * average are kept as multiples of numbers that change instead (`Factors`). Where it is not, because of an l1 norm or of
 * scales, the empty steps are made up for when the column is next met (`bring`), in closed form, from sums over the steps
 * kept in `Lazy`. Columns are not centred. */

typedef struct {
    const REAL *values;
    const int32_t *columns;
    const int64_t *starts; /* row i lies at starts[i] to starts[i + 1] */
    const double *y, *weight;
    ptrdiff_t weight_stride, n_features;
} NAME(SparseData);

INLINE double NAME(sparse_residual)(NAME(SparseData) data, ptrdiff_t row, double decay, const double *restrict coef) {
    const REAL *restrict values = data.values;
    const int32_t *restrict columns = data.columns;
    const int64_t stop = data.starts[row + 1];
    double even = 0.0, odd = 0.0;
    int64_t e = data.starts[row];
    for (; e + 1 < stop; e += 2) {
        even += values[e] * coef[columns[e]];
        odd += values[e + 1] * coef[columns[e + 1]];
    }
    if (e < stop) even += values[e] * coef[columns[e]];
    return decay * (even + odd) + coef[data.n_features] - data.y[row];
}

INLINE void NAME(add_row)(NAME(SparseData) data, ptrdiff_t row, double factor, double *restrict target) {
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++) target[data.columns[e]] += factor * data.values[e];
}

/* coef_j += factor * scale_j * x_j, with what that means for the average */
INLINE void NAME(move_by_row)(NAME(SparseData) data, ptrdiff_t row, double factor, const double *restrict scale,
                              double entered, Parameters p) {
    double *restrict coef = p.coef, *restrict average = p.average;
    const int64_t stop = data.starts[row + 1];
    if (entered != 0.0) {
        for (int64_t e = data.starts[row]; e < stop; e++) {
            const ptrdiff_t j = data.columns[e];
            const double change = factor * (scale ? scale[j] : 1.0) * data.values[e];
            coef[j] += change;
            average[j] -= entered * change;
        }
    } else if (scale) {
        for (int64_t e = data.starts[row]; e < stop; e++)
            coef[data.columns[e]] += factor * scale[data.columns[e]] * data.values[e];
    } else {
        NAME(add_row)(data, row, factor, coef);
    }
}

/* coef_j -= length * scale_j * gradient_j over a batch's columns, whose gradient is zero from then on; returns g'Dg */
INLINE double NAME(move_by_gradient)(NAME(SparseData) data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop,
                                     double length, const double *restrict scale, double entered, Parameters p) {
    double *restrict coef = p.coef, *restrict average = p.average, *restrict gradient = p.gradient;
    double norm = 0.0;
    for (ptrdiff_t i = start; i < stop; i++)
        for (int64_t e = data.starts[order[i]]; e < data.starts[order[i] + 1]; e++) {
            const ptrdiff_t j = data.columns[e];
            const double direction = scale[j] * gradient[j];
            norm += direction * gradient[j];
            coef[j] -= length * direction;
            if (entered != 0.0) average[j] += entered * length * direction;
            gradient[j] = 0.0;
        }
    return norm;
}

INLINE void NAME(fetch_sparse)(NAME(SparseData) data, ptrdiff_t row) {
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e += CACHE_LINE / 8) {
        TO_L1(data.values + e);
        TO_L1(data.columns + e);
    }
}

/* eta, or less of it where the batch's own gradient calls for less */
INLINE double NAME(capped)(NAME(SparseData) data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop, const Step *step,
                           double loss, const double *scale, double *gradient, ptrdiff_t batch, ptrdiff_t *counted) {
    const ptrdiff_t n_features = data.n_features;
    double norm = scale[n_features] * gradient[n_features] * gradient[n_features];
    for (ptrdiff_t i = start; i < stop; i++)
        for (int64_t e = data.starts[order[i]]; e < data.starts[order[i] + 1]; e++) {
            const ptrdiff_t j = data.columns[e];
            if (counted[j] != batch) norm += scale[j] * gradient[j] * gradient[j];
            counted[j] = batch;
        }
    return step->eta * norm > step->cap * loss ? step->cap * loss / norm : step->eta;
}

CLONES
void NAME(run_sparse)(NAME(SparseData) data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, const Step *steps,
                      const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, Lazy lazy,
                      double *objective) {
    const ptrdiff_t d = data.n_features;
    const double *const scale = metric->scale;
    double *const coef = p.coef, *const gradient = p.gradient;
    Factors factors = {1.0, 1.0, 0.0};
    for (ptrdiff_t j = 0; j <= d; j++) gradient[j] = 0.0;
    for (ptrdiff_t start = 0, k = 0; start < n_rows; start += batch_size, k++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        const double share = 1.0 / (double)(stop - start);
        const Step *step = steps + k;
        const double averaging = averaging_at(steps, k, stop == n_rows);
        const int keeps_gradient = lazy.active || lazy.remembers || step->cap < INFINITY;
        double total = 0.0, eta = step->eta;
        for (ptrdiff_t i = start; i < stop; i++) { /* the residuals and the gradient */
            const ptrdiff_t row = order[i];
            if (i + SPARSE_ROWS_AHEAD < n_rows) NAME(fetch_sparse)(data, order[i + SPARSE_ROWS_AHEAD]);
            if (lazy.active)
                for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++)
                    bring(lazy, data.columns[e], k, metric, steps->eta, penalty, p);
            const double s = share * data.weight[row * data.weight_stride];
            double slope;
            total += s * loss_at(loss, NAME(sparse_residual)(data, row, factors.decay, coef), &slope);
            lazy.slopes[i - start] = s * slope;
            gradient[d] += s * slope;
            if (keeps_gradient) NAME(add_row)(data, row, s * slope, gradient);
        }
        objective[k] = total;
        if (lazy.remembers) { /* every column moves */
            add_penalty(penalty, coef, gradient, d);
            update(step, total, metric, penalty->l1, p, d);
            for (ptrdiff_t j = 0; j <= d; j++) gradient[j] = 0.0;
            continue;
        }
        if (lazy.active && step->cap < INFINITY)
            eta = NAME(capped)(data, order, start, stop, step, total, scale, gradient, k, lazy.counted);
        if (lazy.active) {
            note_step(lazy, k, eta, averaging, penalty);
            for (ptrdiff_t i = start; i < stop; i++)
                for (int64_t e = data.starts[order[i]]; e < data.starts[order[i] + 1]; e++) {
                    const ptrdiff_t j = data.columns[e];
                    if (lazy.last[j] > k) continue;
                    const double moved = coef[j] - eta * scale[j] * (gradient[j] + penalty->l2 * coef[j]);
                    coef[j] = shrunk(moved, eta * scale[j] * penalty->l1);
                    if (lazy.averages) p.average[j] += averaging * (coef[j] - p.average[j]);
                    lazy.last[j] = k + 1;
                    gradient[j] = 0.0;
                }
            if (stop == n_rows || too_small(lazy.decay[k + 1], lazy.kept[k + 1], lazy.averages))
                flush(lazy, k + 1, metric, steps->eta, penalty, p, d);
        } else {
            factors.decay *= 1.0 - eta * penalty->l2;
            if (too_small(factors.decay, 1.0, lazy.averages)) write_out(&factors, p, d);
            double length = eta / factors.decay;
            if (keeps_gradient) {
                const double norm = NAME(move_by_gradient)(data, order, start, stop, length, scale, factors.entered, p)
                                    + scale[d] * gradient[d] * gradient[d];
                length = 0.0;
                if (eta * norm > step->cap * total) { /* seldom: go back by what was too much */
                    length = (step->cap * total / norm - eta) / factors.decay;
                    eta = step->cap * total / norm;
                }
            }
            for (ptrdiff_t i = start; i < stop && length != 0.0; i++)
                NAME(move_by_row)(data, order[i], -length * lazy.slopes[i - start], lazy.uniform_scale ? NULL : scale,
                                  factors.entered, p);
            if (lazy.averages) average_factors(&factors, averaging);
            if (stop == n_rows || factors.kept < 1e-100) write_out(&factors, p, d);
        }
        coef[d] -= eta * scale[d] * gradient[d];
        gradient[d] = 0.0;
        if (step->averaging != 0.0) p.average[d] += step->averaging * (coef[d] - p.average[d]);
        if (step->averaging != 0.0 && !lazy.averages) { /* seldom enough to be paid for by the steps in between */
            if (lazy.active) flush(lazy, k + 1, metric, steps->eta, penalty, p, d);
            else write_out(&factors, p, d);
            for (ptrdiff_t j = 0; j < d; j++) p.average[j] += step->averaging * (coef[j] - p.average[j]);
        }
    }
}
