/* One run of mini-batches over dense rows. _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * For each batch: the residuals and the gradient in one reading of its rows, then one update. Nothing here knows a
 * parameter's name: schedules, momentum and averaging arrive as numbers in `step`, units of measurement in `center` and
 * `scale`, the loss and the penalty as a few constants. The last entry of a parameter vector is the intercept. */

/* sum_j (row_j - center_j) * coef_j */
INLINE double NAME(project)(const REAL *restrict row, const double *restrict center,
                                   const double *restrict coef, ptrdiff_t n_features) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (ptrdiff_t j = 0; j < n_features; j++) sum += (row[j] - center[j]) * coef[j];
    return sum;
}

/* gradient_j += slope * (row_j - center_j) */
INLINE void NAME(accumulate)(double slope, const REAL *restrict row, const double *restrict center,
                                    double *restrict gradient, ptrdiff_t n_features) {
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) gradient[j] += slope * (row[j] - center[j]);
}

INLINE void NAME(fetch)(const REAL *row, ptrdiff_t n_features) {
    for (ptrdiff_t j = 0; j < n_features; j += CACHE_LINE / (ptrdiff_t)sizeof(REAL)) PREFETCH(row + j);
}

CLONES
void NAME(run)(const REAL *X, const double *y, const double *weight, ptrdiff_t weight_stride, const int32_t *order,
               ptrdiff_t n_rows, ptrdiff_t batch_size, const Step *step, const Metric *metric, const Loss *loss,
               const Penalty *penalty, Parameters parameters, ptrdiff_t n_features, double *batch_objective) {
    double *const gradient = parameters.gradient, *const coef = parameters.coef;
    const double *const center = metric->center;
    for (ptrdiff_t start = 0; start < n_rows; start += batch_size, step++, batch_objective++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        const double share = 1.0 / (double)(stop - start);
        double batch_loss = 0.0, slope_sum = 0.0;
        for (ptrdiff_t j = 0; j < n_features; j++) gradient[j] = 0.0;
        for (ptrdiff_t i = start; i < stop; i++) {
            if (i + ROWS_AHEAD < n_rows) {
                const ptrdiff_t ahead = order[i + ROWS_AHEAD];
                NAME(fetch)(X + ahead * n_features, n_features);
                PREFETCH(y + ahead);
            }
            const ptrdiff_t row = order[i];
            const REAL *const x = X + row * n_features;
            const double residual = NAME(project)(x, center, coef, n_features) + coef[n_features] - y[row];
            const double s = share * weight[row * weight_stride];
            double slope;
            batch_loss += s * loss_at(loss, residual, &slope);
            slope *= s;
            slope_sum += slope;
            NAME(accumulate)(slope, x, center, gradient, n_features);
        }
        gradient[n_features] = slope_sum;
        *batch_objective = batch_loss + add_penalty(penalty, coef, gradient, n_features);
        update(step, *batch_objective, metric, penalty->l1, parameters, n_features);
    }
}
