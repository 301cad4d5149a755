/* One run of mini-batches over the rows of a CSR matrix, at a cost per step of the batch's non-zeros and not of all columns.
 * _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * A column that a batch does not hold still decays, shrinks and enters the average. These empty steps are made up for when
 * the column is next met (`bring`), in closed form, from sums over the steps kept in `Lazy`. Columns are not centred. */

typedef struct {
    const REAL *values;
    const int32_t *columns;
    const int64_t *starts; /* row i lies at starts[i] to starts[i + 1] */
    const double *y, *weight;
    ptrdiff_t weight_stride, n_features;
} NAME(SparseData);

INLINE double NAME(sparse_residual)(NAME(SparseData) data, ptrdiff_t row, const double *coef) {
    double sum = coef[data.n_features] - data.y[row];
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++) sum += data.values[e] * coef[data.columns[e]];
    return sum;
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
    for (ptrdiff_t j = 0; j <= d; j++) gradient[j] = 0.0;
    for (ptrdiff_t start = 0, k = 0; start < n_rows; start += batch_size, k++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        const double share = 1.0 / (double)(stop - start);
        const Step *step = steps + k;
        const int remembers = step->momentum != 0.0 || step->lookahead != 0.0;
        double total = 0.0;
        for (ptrdiff_t i = start; i < stop; i++) { /* the residuals and the gradient */
            const ptrdiff_t row = order[i];
            if (i + ROWS_AHEAD < n_rows) {
                const ptrdiff_t ahead = order[i + ROWS_AHEAD];
                for (int64_t e = data.starts[ahead]; e < data.starts[ahead + 1]; e += 8) {
                    PREFETCH(data.values + e);
                    PREFETCH(data.columns + e);
                }
            }
            if (lazy.active)
                for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++)
                    bring(lazy, data.columns[e], k, metric, steps->eta, penalty, p);
            const double s = share * data.weight[row * data.weight_stride];
            double slope;
            total += s * loss_at(loss, NAME(sparse_residual)(data, row, coef), &slope);
            slope *= s;
            gradient[d] += slope;
            for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++)
                gradient[data.columns[e]] += slope * data.values[e];
        }
        objective[k] = total;
        if (remembers) { /* every column moves */
            add_penalty(penalty, coef, gradient, d);
            update(step, total, metric, penalty->l1, p, d);
            for (ptrdiff_t j = 0; j <= d; j++) gradient[j] = 0.0;
            continue;
        }
        const double eta = step->cap < INFINITY
                               ? NAME(capped)(data, order, start, stop, step, total, scale, gradient, k, lazy.counted)
                               : step->eta;
        const double averaging = averaging_at(steps, k, stop == n_rows);
        if (lazy.active) note_step(lazy, k, eta, averaging, penalty);
        for (ptrdiff_t i = start; i < stop; i++) /* the step, once for each column: its gradient is zero from then on */
            for (int64_t e = data.starts[order[i]]; e < data.starts[order[i] + 1]; e++) {
                const ptrdiff_t j = data.columns[e];
                if (!lazy.active) {
                    coef[j] -= eta * scale[j] * gradient[j];
                } else if (lazy.last[j] == k) {
                    const double moved = coef[j] - eta * scale[j] * (gradient[j] + penalty->l2 * coef[j]);
                    coef[j] = shrunk(moved, eta * scale[j] * penalty->l1);
                    if (lazy.averages) p.average[j] += averaging * (coef[j] - p.average[j]);
                    lazy.last[j] = k + 1;
                }
                gradient[j] = 0.0;
            }
        coef[d] -= eta * scale[d] * gradient[d];
        gradient[d] = 0.0;
        if (step->averaging != 0.0) p.average[d] += step->averaging * (coef[d] - p.average[d]);
        if (lazy.active && (stop == n_rows || must_flush(lazy, k + 1)))
            flush(lazy, k + 1, metric, steps->eta, penalty, p, d);
        if (step->averaging != 0.0 && !lazy.averages) { /* seldom enough to be paid for by the steps in between */
            if (lazy.active) flush(lazy, k + 1, metric, steps->eta, penalty, p, d);
            for (ptrdiff_t j = 0; j < d; j++) p.average[j] += step->averaging * (coef[j] - p.average[j]);
        }
    }
}
