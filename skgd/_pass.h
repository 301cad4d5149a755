/* One run of mini-batches over dense rows. _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * For each batch: the residuals and the gradient in one reading of its rows, then one update. Nothing here knows a
 * parameter's name: schedules, momentum and averaging arrive as numbers in `step`, units of measurement in `metric`, the
 * loss and the penalty as a few constants. The last entry of a parameter vector is the intercept. */

typedef struct {
    const REAL *X;
    const double *y, *weight;
    ptrdiff_t weight_stride, n_features;
} NAME(Data);

/* (row - center) . coef + intercept - target */
INLINE double NAME(residual)(const REAL *restrict row, const double *restrict center, const double *restrict coef,
                             double target, ptrdiff_t n_features) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (ptrdiff_t j = 0; j < n_features; j++) sum += (row[j] - center[j]) * coef[j];
    return sum + coef[n_features] - target;
}

/* gradient += slope * (row - center) */
INLINE void NAME(accumulate)(double slope, const REAL *restrict row, const double *restrict center,
                             double *restrict gradient, ptrdiff_t n_features) {
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) gradient[j] += slope * (row[j] - center[j]);
    gradient[n_features] += slope;
}

INLINE void NAME(fetch)(NAME(Data) data, ptrdiff_t row) {
    const REAL *x = data.X + row * data.n_features;
    for (ptrdiff_t j = 0; j < data.n_features; j += CACHE_LINE / (ptrdiff_t)sizeof(REAL)) PREFETCH(x + j);
    PREFETCH(data.y + row);
}

/* A plain step on one row; returns the penalty before it */
INLINE double NAME(step_on_row)(const Step *step, double slope, const REAL *restrict row, const Metric *metric, double l2,
                                Parameters p, ptrdiff_t n_features) {
    const double *restrict center = metric->center, *restrict scale = metric->scale;
    double *restrict coef = p.coef, *restrict average = p.average;
    const double eta = step->eta, averaging = step->averaging;
    double squares = 0.0;
    if (l2 != 0.0) {
#pragma omp simd reduction(+ : squares)
        for (ptrdiff_t j = 0; j < n_features; j++) squares += coef[j] * coef[j];
    }
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++)
        coef[j] -= eta * (scale[j] * (slope * (row[j] - center[j]) + l2 * coef[j]));
    coef[n_features] -= eta * (scale[n_features] * slope);
    if (averaging != 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) average[j] += averaging * (coef[j] - average[j]);
    }
    return 0.5 * l2 * squares;
}

/* The loss of a batch; its gradient is left in p.gradient */
INLINE double NAME(batch_gradient)(NAME(Data) data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t n_rows,
                                   const double *restrict center, Loss loss, Parameters p) {
    const ptrdiff_t n_features = data.n_features;
    const double share = 1.0 / (double)(stop - start);
    double total = 0.0;
    for (ptrdiff_t j = 0; j <= n_features; j++) p.gradient[j] = 0.0;
    for (ptrdiff_t i = start; i < stop; i++) {
        if (i + ROWS_AHEAD < n_rows) NAME(fetch)(data, order[i + ROWS_AHEAD]);
        const REAL *const x = data.X + order[i] * n_features;
        const double s = share * data.weight[order[i] * data.weight_stride];
        double slope;
        total += s * loss_at(&loss, NAME(residual)(x, center, p.coef, data.y[order[i]], n_features), &slope);
        NAME(accumulate)(s * slope, x, center, p.gradient, n_features);
    }
    return total;
}

CLONES
void NAME(run)(NAME(Data) data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, const Step *step,
               const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, double *objective) {
    const ptrdiff_t n_features = data.n_features;
    const Metric m = *metric;
    const Loss l = *loss;
    const Penalty r = *penalty;
    for (ptrdiff_t start = 0; start < n_rows; start += batch_size, step++, objective++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        if (stop - start == 1 && is_plain(step, &m, &r)) {
            if (start + ROWS_AHEAD < n_rows) NAME(fetch)(data, order[start + ROWS_AHEAD]);
            const REAL *const x = data.X + order[start] * n_features;
            const double s = data.weight[order[start] * data.weight_stride];
            double slope, total = s * loss_at(&l, NAME(residual)(x, m.center, p.coef, data.y[order[start]], n_features), &slope);
            *objective = total + NAME(step_on_row)(step, s * slope, x, &m, r.l2, p, n_features);
        } else {
            double total = NAME(batch_gradient)(data, order, start, stop, n_rows, m.center, l, p);
            total += add_penalty(&r, p.coef, p.gradient, n_features);
            update(step, total, &m, r.l1, p, n_features);
            *objective = total;
        }
    }
}
