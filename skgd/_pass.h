/* One run of mini-batches over dense rows. _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * For each batch: the residuals and the gradient in one reading of its rows, then one update for each target. Nothing here
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
        total += s * loss_at(loss, slopes[k] + coef[n_features] - data.y[order[k] * data.row_stride], &slope);
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
    TO_L2(data.y + row * data.row_stride);
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
        total += s * loss_at(loss, NAME(residual)(x, center, p.coef, data.y[order[i] * data.row_stride], n_features, centred),
                             &slope);
        NAME(accumulate)(s * slope, x, center, p.gradient, n_features, centred);
    }
    return total;
}

/* The same for several targets: their losses are left as objectives */
INLINE void NAME(batch_gradients)(Data data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t n_rows,
                                  ptrdiff_t ahead, const double *restrict center, const Loss *loss, const Targets *targets,
                                  ptrdiff_t batch, Room room, int centred) {
    const ptrdiff_t d = data.n_features, width = (d + WIDE) / WIDE * WIDE;
    const double share = 1.0 / (double)(stop - start);
    for (ptrdiff_t t = 0; t < targets->n; t++) {
        const Parameters p = parameters_of(targets, t, d);
        double *const coefs = room.coefs + t / WIDE * WIDE * (d + 1) + t % WIDE;
        for (ptrdiff_t j = 0; j <= d; j++) coefs[j * WIDE] = p.coef[j], p.gradient[j] = 0.0;
        targets->objectives[t * targets->n_batches + batch] = 0.0;
    }
    for (ptrdiff_t first = start; first < stop; first += ROWS_AT_ONCE) {
        const ptrdiff_t n = stop - first < ROWS_AT_ONCE ? stop - first : ROWS_AT_ONCE;
        for (ptrdiff_t i = 0; i < n; i++) { /* 1 in the place of the intercept */
            const REAL *restrict x = (const REAL *)data.X + order[first + i] * d;
            double *restrict z = room.rows + i * width;
            if (first + i + ahead < n_rows) {
                const ptrdiff_t later = order[first + i + ahead];
                NAME(fetch)(data, later);
                for (ptrdiff_t t = 0; t < targets->n; t += WIDE)
                    TO_L2(data.y + later * data.row_stride + targets->numbers[t] * data.target_stride);
            }
            for (ptrdiff_t j = 0; j < d; j++) z[j] = x[j] - (centred ? center[j] : 0.0);
            z[d] = 1.0;
        }
        for (ptrdiff_t t = 0; t < targets->n; t += WIDE) {
            const int n_wide = (int)(targets->n - t < WIDE ? targets->n - t : WIDE);
            double sums[HIGH][WIDE], totals[WIDE] = {0.0}, y[WIDE] = {0.0};
            for (ptrdiff_t i = 0; i < n; i += HIGH) {
                multiply(room.rows + i * width, 1, width, room.coefs + t * (d + 1), WIDE, d + 1, sums);
                for (ptrdiff_t u = 0; u < HIGH && i + u < n; u++) {
                    const ptrdiff_t row = order[first + i + u];
                    const double s = share * data.weight[row * data.weight_stride];
                    double *restrict slopes = room.slopes + (i + u) * WIDE;
                    for (int v = 0; v < n_wide; v++)
                        y[v] = data.y[row * data.row_stride + targets->numbers[t + v] * data.target_stride];
#pragma omp simd
                    for (int v = 0; v < WIDE; v++) {
                        double slope;
                        totals[v] += s * loss_at(loss, sums[u][v] - y[v], &slope);
                        slopes[v] = s * slope;
                    }
                }
            }
            for (int v = 0; v < n_wide; v++) targets->objectives[(t + v) * targets->n_batches + batch] += totals[v];
            for (int v = 0; v < n_wide; v += HIGH) {
                for (ptrdiff_t j = 0; j <= d; j += WIDE) {
                    multiply(room.slopes + v, WIDE, 1, room.rows + j, width, n, sums);
                    for (int u = 0; u < HIGH && v + u < n_wide; u++)
                        add_up(sums[u], parameters_of(targets, t + v + u, d).gradient + j, d + 1 - j);
                }
            }
        }
    }
}

/* A step of one target; the objective before it */
INLINE double NAME(step_on_batch)(Data data, const int32_t *order, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t n_rows,
                                  ptrdiff_t ahead, const Step *step, const Metric *metric, const Loss *loss,
                                  const Penalty *penalty, Parameters p, int centred) {
    const ptrdiff_t n_features = data.n_features;
    if (stop - start > 1 || !is_plain(step, metric, penalty)) {
        const double value = NAME(batch_gradient)(data, order, start, stop, n_rows, ahead, metric->center, loss, p, centred);
        return value + update(step, value, metric, penalty, p, n_features);
    }
    const ptrdiff_t row = order[start];
    if (start + ahead < n_rows) NAME(fetch)(data, order[start + ahead]);
    if (start + ROWS_NEAR < n_rows) NAME(fetch_near)(data, order[start + ROWS_NEAR]);
    const REAL *const x = (const REAL *)data.X + row * n_features;
    const double s = data.weight[row * data.weight_stride], y = data.y[row * data.row_stride];
    double slope;
    const double value = s * loss_at(loss, NAME(residual)(x, metric->center, p.coef, y, n_features, centred), &slope);
    return value + NAME(step_on_row)(step, s * slope, x, metric, penalty->l2, p, n_features, centred);
}

/* All batches of the run; `centred` is a constant where this is inlined */
INLINE void NAME(run_batches)(Data data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, Metric metric, Loss loss,
                              Penalty penalty, Targets targets, Room room, int centred) {
    const ptrdiff_t d = data.n_features, ahead = NAME(rows_ahead)(d);
    const int are_many = targets.n > FEW_TARGETS && batch_size >= HIGH;
    for (ptrdiff_t start = 0, batch = 0; start < n_rows; start += batch_size, batch++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        if (are_many)
            NAME(batch_gradients)(data, order, start, stop, n_rows, ahead, metric.center, &loss, &targets, batch, room, centred);
        for (ptrdiff_t t = 0; t < targets.n; t++) {
            const Parameters p = parameters_of(&targets, t, d);
            const Step *step = targets.steps + t * targets.n_batches + batch;
            double *objective = targets.objectives + t * targets.n_batches + batch;
            Data of_target = data;
            of_target.y += targets.numbers[t] * data.target_stride;
            if (are_many) *objective += update(step, *objective, &metric, &penalty, p, d);
            else *objective = NAME(step_on_batch)(of_target, order, start, stop, n_rows, ahead, step, &metric, &loss, &penalty, p, centred);
        }
    }
}

CLONES
void NAME(run)(Data data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, const Metric *metric, const Loss *loss,
               const Penalty *penalty, Targets targets, Room room) {
    int centred = 0;
    for (ptrdiff_t j = 0; j < data.n_features; j++) centred |= metric->center[j] != 0.0;
    if (centred) NAME(run_batches)(data, order, n_rows, batch_size, *metric, *loss, *penalty, targets, room, 1);
    else NAME(run_batches)(data, order, n_rows, batch_size, *metric, *loss, *penalty, targets, room, 0);
}
