/* One run of mini-batches over dense rows. _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * For each batch: the residuals and the gradient in one reading of its rows, then one update for each target. Nothing here
 * knows a parameter's name: schedules, momentum and averaging arrive as numbers in `step`, units of measurement in
 * `metric`, the loss and the penalty as a few constants. The last entry of a parameter vector is the intercept. */

INLINE const REAL *NAME(row_of)(const Run *run, ptrdiff_t row) { return (const REAL *)run->values + row * run->n_features; }

/* (row - center) . coef + intercept - target, in eight sums, so that none waits for the one before it */
INLINE double NAME(residual)(const REAL *restrict row, const double *restrict center, const double *restrict coef,
                             double target, ptrdiff_t n_features) {
    double sums[8] = {0.0};
    ptrdiff_t j = 0;
    for (; j + 8 <= n_features; j += 8)
        for (int k = 0; k < 8; k++) sums[k] += (row[j + k] - center[j + k]) * coef[j + k];
    double sum = coef[n_features] - target;
    for (; j < n_features; j++) sum += (row[j] - center[j]) * coef[j];
    return sum + (((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
}

/* gradient += slope * (row - center) */
INLINE void NAME(accumulate)(double slope, const REAL *restrict row, const double *restrict center,
                             double *restrict gradient, ptrdiff_t n_features) {
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) gradient[j] += slope * (row[j] - center[j]);
    gradient[n_features] += slope;
}

/* Loss, residuals and gradients of four rows at once, which reads coef, center and gradient once for the four */
INLINE double NAME(add_four_rows)(const Run *run, const int32_t *order, double share, Parameters p) {
    const ptrdiff_t n_features = run->n_features;
    const double *restrict coef = p.coef, *restrict center = run->center;
    double *restrict gradient = p.gradient;
    const REAL *restrict a = NAME(row_of)(run, order[0]), *restrict b = NAME(row_of)(run, order[1]);
    const REAL *restrict c = NAME(row_of)(run, order[2]), *restrict d = NAME(row_of)(run, order[3]);
    double ra = 0.0, rb = 0.0, rc = 0.0, rd = 0.0;
#pragma omp simd reduction(+ : ra, rb, rc, rd)
    for (ptrdiff_t j = 0; j < n_features; j++) {
        const double m = center[j], w = coef[j];
        ra += (a[j] - m) * w;
        rb += (b[j] - m) * w;
        rc += (c[j] - m) * w;
        rd += (d[j] - m) * w;
    }
    double slopes[4] = {ra, rb, rc, rd}, total = 0.0;
    for (int k = 0; k < 4; k++) {
        const double s = share * run->weight[order[k] * run->weight_stride];
        double slope;
        total += s * loss_at(&run->loss, slopes[k] + coef[n_features] - run->y[order[k] * run->row_stride], &slope);
        slopes[k] = s * slope;
    }
    const double sa = slopes[0], sb = slopes[1], sc = slopes[2], sd = slopes[3];
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++) {
        const double m = center[j];
        gradient[j] += (sa * (a[j] - m) + sb * (b[j] - m)) + (sc * (c[j] - m) + sd * (d[j] - m));
    }
    gradient[n_features] += (sa + sb) + (sc + sd);
    return total;
}

/* Prefetch a row, and its first target, or only the row if `is_near` */
INLINE void NAME(fetch)(const Run *run, ptrdiff_t row, int is_near) {
    const REAL *const x = NAME(row_of)(run, row), *const last = x + run->n_features - 1;
    for (const REAL *at = x; at <= last; at += CACHE_LINE / sizeof(REAL)) {
        if (is_near) TO_L1(at);
        else TO_L2(at);
    }
    if (is_near) return;
    TO_L2(last);
    TO_L2(run->y + row * run->row_stride);
}

INLINE ptrdiff_t NAME(rows_ahead)(ptrdiff_t n_features) {
    const ptrdiff_t fit = BYTES_AHEAD / (n_features * (ptrdiff_t)sizeof(REAL));
    return fit < 1 ? 1 : fit < ROWS_AHEAD ? fit : ROWS_AHEAD;
}

/* A plain step on one row; returns the penalty before it */
INLINE double NAME(step_on_row)(const Run *run, const Step *step, double slope, const REAL *restrict row, Parameters p) {
    const double *restrict center = run->center, *restrict scale = run->scale, l2 = run->penalty.l2;
    const ptrdiff_t n_features = run->n_features;
    double *restrict coef = p.coef, *restrict average = p.average;
    const double length = step->eta * slope, decay = step->eta * l2, averaging = step->averaging;
    double squares = 0.0;
    if (l2 != 0.0) {
#pragma omp simd reduction(+ : squares)
        for (ptrdiff_t j = 0; j < n_features; j++) squares += coef[j] * coef[j];
    }
#pragma omp simd
    for (ptrdiff_t j = 0; j < n_features; j++)
        coef[j] -= scale[j] * (length * (row[j] - center[j]) + decay * coef[j]);
    coef[n_features] -= scale[n_features] * length;
    if (averaging != 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) average[j] += averaging * (coef[j] - average[j]);
    }
    return 0.5 * l2 * squares;
}

/* The loss of a batch; its gradient is left in p.gradient */
INLINE double NAME(batch_gradient)(const Run *run, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t ahead, Parameters p) {
    const ptrdiff_t n_features = run->n_features, n_rows = run->n_rows;
    const double share = 1.0 / (double)(stop - start), *restrict center = run->center;
    const int32_t *order = run->order;
    double total = 0.0;
    for (ptrdiff_t j = 0; j <= n_features; j++) p.gradient[j] = 0.0;
    ptrdiff_t i = start;
    for (; i + 4 <= stop; i += 4) {
        for (ptrdiff_t k = i + ahead; k < i + ahead + 4 && k < n_rows; k++) NAME(fetch)(run, order[k], 0);
        total += NAME(add_four_rows)(run, order + i, share, p);
    }
    for (; i < stop; i++) {
        if (i + ahead < n_rows) NAME(fetch)(run, order[i + ahead], 0);
        const REAL *const x = NAME(row_of)(run, order[i]);
        const double s = share * run->weight[order[i] * run->weight_stride], y = run->y[order[i] * run->row_stride];
        double slope;
        total += s * loss_at(&run->loss, NAME(residual)(x, center, p.coef, y, n_features), &slope);
        NAME(accumulate)(s * slope, x, center, p.gradient, n_features);
    }
    return total;
}

/* Losses and gradients of a batch for several targets: the losses are left as objectives */
INLINE void NAME(batch_gradients)(const Run *run, ptrdiff_t batch, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t ahead) {
    const ptrdiff_t d = run->n_features, width = (d + WIDE) / WIDE * WIDE;
    const double share = 1.0 / (double)(stop - start), *restrict center = run->center;
    const int32_t *order = run->order;
    double *const rows = run->room, *const room_of_slopes = rows + ROWS_AT_ONCE * width;
    double *const room_of_coefs = room_of_slopes + ROWS_AT_ONCE * WIDE;
    for (ptrdiff_t t = 0; t < run->n_targets; t++) {
        const Parameters p = parameters_of(run, t);
        double *const coefs = room_of_coefs + t / WIDE * WIDE * (d + 1) + t % WIDE;
        for (ptrdiff_t j = 0; j <= d; j++) coefs[j * WIDE] = p.coef[j], p.gradient[j] = 0.0;
        run->objectives[t * run->n_batches + batch] = 0.0;
    }
    for (ptrdiff_t first = start; first < stop; first += ROWS_AT_ONCE) {
        const ptrdiff_t n = stop - first < ROWS_AT_ONCE ? stop - first : ROWS_AT_ONCE;
        for (ptrdiff_t i = 0; i < n; i++) { /* 1 in the place of the intercept */
            const REAL *restrict x = NAME(row_of)(run, order[first + i]);
            double *restrict z = rows + i * width;
            if (first + i + ahead < run->n_rows) {
                const ptrdiff_t later = order[first + i + ahead];
                NAME(fetch)(run, later, 0);
                for (ptrdiff_t t = 0; t < run->n_targets; t += WIDE)
                    TO_L2(run->y + later * run->row_stride + run->targets[t] * run->target_stride);
            }
            for (ptrdiff_t j = 0; j < d; j++) z[j] = x[j] - center[j];
            z[d] = 1.0;
        }
        for (ptrdiff_t t = 0; t < run->n_targets; t += WIDE) {
            const int n_wide = (int)(run->n_targets - t < WIDE ? run->n_targets - t : WIDE);
            double sums[HIGH][WIDE], totals[WIDE] = {0.0}, y[WIDE] = {0.0};
            for (ptrdiff_t i = 0; i < n; i += HIGH) {
                multiply(rows + i * width, 1, width, room_of_coefs + t * (d + 1), WIDE, d + 1, sums);
                for (ptrdiff_t u = 0; u < HIGH && i + u < n; u++) {
                    const ptrdiff_t row = order[first + i + u];
                    const double s = share * run->weight[row * run->weight_stride];
                    double *restrict slopes = room_of_slopes + (i + u) * WIDE;
                    for (int v = 0; v < n_wide; v++)
                        y[v] = run->y[row * run->row_stride + run->targets[t + v] * run->target_stride];
#pragma omp simd
                    for (int v = 0; v < WIDE; v++) {
                        double slope;
                        totals[v] += s * loss_at(&run->loss, sums[u][v] - y[v], &slope);
                        slopes[v] = s * slope;
                    }
                }
            }
            for (int v = 0; v < n_wide; v++) run->objectives[(t + v) * run->n_batches + batch] += totals[v];
            for (int v = 0; v < n_wide; v += HIGH) {
                for (ptrdiff_t j = 0; j <= d; j += WIDE) {
                    multiply(room_of_slopes + v, WIDE, 1, rows + j, width, n, sums);
                    for (int u = 0; u < HIGH && v + u < n_wide; u++) {
                        double *restrict gradient = parameters_of(run, t + v + u).gradient + j;
                        if (j + WIDE <= d + 1) for (int k = 0; k < WIDE; k++) gradient[k] += sums[u][k];
                        else for (ptrdiff_t k = 0; k < d + 1 - j; k++) gradient[k] += sums[u][k];
                    }
                }
            }
        }
    }
}

/* A step of one target; the objective before it. A plain step on a single row needs no gradient in between. */
INLINE double NAME(step_on_batch)(const Run *run, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t ahead, const Step *step,
                                  Parameters p) {
    if (stop - start > 1 || is_proximal(&run->penalty) || step->momentum != 0.0 || step->cap < INFINITY) {
        const double value = NAME(batch_gradient)(run, start, stop, ahead, p);
        return value + update(step, value, run, p);
    }
    const ptrdiff_t row = run->order[start];
    if (start + ahead < run->n_rows) NAME(fetch)(run, run->order[start + ahead], 0);
    if (start + ROWS_NEAR < run->n_rows) NAME(fetch)(run, run->order[start + ROWS_NEAR], 1);
    const REAL *const x = NAME(row_of)(run, row);
    const double s = run->weight[row * run->weight_stride], y = run->y[row * run->row_stride];
    double slope;
    const double residual = NAME(residual)(x, run->center, p.coef, y, run->n_features);
    const double value = s * loss_at(&run->loss, residual, &slope);
    return value + NAME(step_on_row)(run, step, s * slope, x, p);
}

CLONES
void NAME(run)(const Run *given) {
    const Run run = *given;
    const ptrdiff_t ahead = NAME(rows_ahead)(run.n_features), batch_size = run.batch_size;
    const int are_many = run.n_targets > FEW_TARGETS && batch_size >= HIGH;
    Run of_target = run;
    for (ptrdiff_t start = 0, batch = 0; start < run.n_rows; start += batch_size, batch++) {
        const ptrdiff_t stop = start + batch_size < run.n_rows ? start + batch_size : run.n_rows;
        if (are_many) NAME(batch_gradients)(&run, batch, start, stop, ahead);
        for (ptrdiff_t t = 0; t < run.n_targets; t++) {
            const Parameters p = parameters_of(&run, t);
            const Step *step = run.steps + t * run.n_batches + batch;
            double *objective = run.objectives + t * run.n_batches + batch;
            of_target.y = run.y + run.targets[t] * run.target_stride;
            if (are_many) *objective += update(step, *objective, &run, p);
            else *objective = NAME(step_on_batch)(&of_target, start, stop, ahead, step, p);
        }
    }
}
