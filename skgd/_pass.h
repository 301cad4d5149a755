/* One run of mini-batches over dense rows. _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * For each batch: the residuals and the gradient in one reading of its rows, four at a time, then one update. Nothing here
 * knows a parameter's name: schedules, momentum and averaging arrive as numbers in `step`, units of measurement in
 * `metric`, the loss and the penalty as a few constants. The last entry of a parameter vector is the intercept. */

/* (row - center) . coef + intercept - target, in eight sums, so that none waits for the one before it */
INLINE double NAME(residual)(const REAL *restrict row, const double *restrict center, const double *restrict coef,
                             double target, ptrdiff_t n_features, int centred) {
    double sums[8] = {0.0};
    ptrdiff_t j = 0;
    for (; j + 8 <= n_features; j += 8)
        for (int k = 0; k < 8; k++) sums[k] += (row[j + k] - (centred ? center[j + k] : 0.0)) * coef[j + k];
    double sum = coef[n_features] - target;
    for (; j < n_features; j++) sum += (row[j] - (centred ? center[j] : 0.0)) * coef[j];
    return sum + (((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
}

/* gradient += slope * (row - center) */
INLINE void NAME(accumulate)(double slope, const REAL *restrict row, const double *restrict center,
                             double *restrict gradient, ptrdiff_t n_features, int centred) {
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) gradient[j] += slope * (row[j] - (centred ? center[j] : 0.0));
    gradient[n_features] += slope;
}

/* Both for four rows at once, which reads coef, center and gradient once for the four */
INLINE double NAME(add_four_rows)(Data data, const int32_t *order, double share, const double *restrict center,
                                  const Loss *loss, Parameters p, int centred) {
    const ptrdiff_t n_features = data.n_features;
    const double *restrict coef = p.coef;
    double *restrict gradient = p.gradient;
    const REAL *restrict a = (const REAL *)data.X + order[0] * n_features, *restrict b = (const REAL *)data.X + order[1] * n_features;
    const REAL *restrict c = (const REAL *)data.X + order[2] * n_features, *restrict d = (const REAL *)data.X + order[3] * n_features;
    double ra = 0.0, rb = 0.0, rc = 0.0, rd = 0.0;
#pragma omp simd reduction(+ : ra, rb, rc, rd)
    for (ptrdiff_t j = 0; j < n_features; j++) {
        const double m = centred ? center[j] : 0.0, w = coef[j];
        ra += (a[j] - m) * w;
        rb += (b[j] - m) * w;
        rc += (c[j] - m) * w;
        rd += (d[j] - m) * w;
    }
    double slopes[4] = {ra, rb, rc, rd}, total = 0.0;
    for (int k = 0; k < 4; k++) {
        const double s = share * data.weight[order[k] * data.weight_stride];
        double slope;
        total += s * loss_at(loss, slopes[k] + coef[n_features] - data.y[order[k]], &slope);
        slopes[k] = s * slope;
    }
    const double sa = slopes[0], sb = slopes[1], sc = slopes[2], sd = slopes[3];
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) {
        const double m = centred ? center[j] : 0.0;
        gradient[j] += (sa * (a[j] - m) + sb * (b[j] - m)) + (sc * (c[j] - m) + sd * (d[j] - m));
    }
    gradient[n_features] += (sa + sb) + (sc + sd);
    return total;
}

INLINE void NAME(fetch)(Data data, ptrdiff_t row) {
    const REAL *const x = (const REAL *)data.X + row * data.n_features;
    for (ptrdiff_t j = 0; j < data.n_features; j += CACHE_LINE / (ptrdiff_t)sizeof(REAL)) TO_L2(x + j);
    TO_L2(x + data.n_features - 1);
    TO_L2(data.y + row);
}

INLINE void NAME(fetch_near)(Data data, ptrdiff_t row) {
    const REAL *const x = (const REAL *)data.X + row * data.n_features;
    for (ptrdiff_t j = 0; j < data.n_features; j += CACHE_LINE / (ptrdiff_t)sizeof(REAL)) TO_L1(x + j);
}

INLINE ptrdiff_t NAME(rows_ahead)(ptrdiff_t n_features) {
    const ptrdiff_t fit = BYTES_AHEAD / (n_features * (ptrdiff_t)sizeof(REAL));
    return fit < 1 ? 1 : fit < ROWS_AHEAD ? fit : ROWS_AHEAD;
}

/* A plain step on one row; returns the penalty before it */
INLINE double NAME(step_on_row)(const Step *step, double slope, const REAL *restrict row, const Metric *metric, double l2,
                                Parameters p, ptrdiff_t n_features, int centred) {
    const double *restrict center = metric->center, *restrict scale = metric->scale;
    double *restrict coef = p.coef, *restrict average = p.average;
    const double length = step->eta * slope, decay = step->eta * l2, averaging = step->averaging;
    double squares = 0.0;
    if (l2 != 0.0) {
#pragma omp simd reduction(+ : squares)
        for (ptrdiff_t j = 0; j < n_features; j++) squares += coef[j] * coef[j];
    }
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++)
        coef[j] -= scale[j] * (length * (row[j] - (centred ? center[j] : 0.0)) + decay * coef[j]);
    coef[n_features] -= scale[n_features] * length;
    if (averaging != 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) average[j] += averaging * (coef[j] - average[j]);
    }
    return 0.5 * l2 * squares;
}

/* The loss of a batch; its gradient is left in p.gradient */
INLINE double NAME(batch_gradient)(Data data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t n_rows,
                                   ptrdiff_t ahead, const double *restrict center, const Loss *loss, Parameters p,
                                   int centred) {
    const ptrdiff_t n_features = data.n_features;
    const double share = 1.0 / (double)(stop - start);
    double total = 0.0;
    for (ptrdiff_t j = 0; j <= n_features; j++) p.gradient[j] = 0.0;
    ptrdiff_t i = start;
    for (; i + 4 <= stop; i += 4) {
        for (ptrdiff_t k = i + ahead; k < i + ahead + 4 && k < n_rows; k++) NAME(fetch)(data, order[k]);
        total += NAME(add_four_rows)(data, order + i, share, center, loss, p, centred);
    }
    for (; i < stop; i++) {
        if (i + ahead < n_rows) NAME(fetch)(data, order[i + ahead]);
        const REAL *const x = (const REAL *)data.X + order[i] * n_features;
        const double s = share * data.weight[order[i] * data.weight_stride];
        double slope;
        total += s * loss_at(loss, NAME(residual)(x, center, p.coef, data.y[order[i]], n_features, centred), &slope);
        NAME(accumulate)(s * slope, x, center, p.gradient, n_features, centred);
    }
    return total;
}

/* All batches of the run; `centred` is a constant where this is inlined */
INLINE void NAME(run_batches)(Data data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size,
                              const Step *step, Metric metric, Loss loss, Penalty penalty, Parameters p, double *objective,
                              int centred) {
    const ptrdiff_t n_features = data.n_features, ahead = NAME(rows_ahead)(n_features);
    for (ptrdiff_t start = 0; start < n_rows; start += batch_size, step++, objective++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        if (stop - start == 1 && is_plain(step, &metric, &penalty)) {
            const ptrdiff_t row = order[start];
            if (start + ahead < n_rows) NAME(fetch)(data, order[start + ahead]);
            if (start + ROWS_NEAR < n_rows) NAME(fetch_near)(data, order[start + ROWS_NEAR]);
            const REAL *const x = (const REAL *)data.X + row * n_features;
            const double s = data.weight[row * data.weight_stride];
            double slope;
            *objective = s * loss_at(&loss, NAME(residual)(x, metric.center, p.coef, data.y[row], n_features, centred), &slope);
            *objective += NAME(step_on_row)(step, s * slope, x, &metric, penalty.l2, p, n_features, centred);
        } else {
            *objective = NAME(batch_gradient)(data, order, start, stop, n_rows, ahead, metric.center, &loss, p, centred);
            *objective += update(step, *objective, &metric, &penalty, p, n_features);
        }
    }
}

CLONES
void NAME(run)(Data data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, const Step *step,
               const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, double *objective) {
    int centred = 0;
    for (ptrdiff_t j = 0; j < data.n_features; j++) centred |= metric->center[j] != 0.0;
    if (centred) NAME(run_batches)(data, order, n_rows, batch_size, step, *metric, *loss, *penalty, p, objective, 1);
    else NAME(run_batches)(data, order, n_rows, batch_size, step, *metric, *loss, *penalty, p, objective, 0);
}
