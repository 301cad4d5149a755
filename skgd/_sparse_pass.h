/* One run of mini-batches over the rows of a CSR matrix, at a cost per step of the batch's non-zeros and not of all columns.
 * _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * A column that a batch does not hold still decays, shrinks and enters the average: `Columns` in _kernel.h keeps account of
 * that for all columns of equal scale at once, exactly, whatever varies from step to step. Only momentum, and an average
 * together with an l1 norm, cost all columns. Columns are not centred. */

INLINE double NAME(sparse_residual)(const Run *run, ptrdiff_t row, const Columns *columns, const double *restrict coef,
                                    int decays) {
    const double l1 = run->penalty.l1;
    const REAL *restrict values = run->values;
    const int32_t *restrict numbers = run->columns;
    const int64_t stop = run->starts[row + 1];
    double even = 0.0, odd = 0.0;
    int64_t e = run->starts[row];
    for (; e + 1 < stop; e += 2) {
        even += values[e] * coef_at(columns, numbers[e], coef, l1, decays);
        odd += values[e + 1] * coef_at(columns, numbers[e + 1], coef, l1, decays);
    }
    if (e < stop) even += values[e] * coef_at(columns, numbers[e], coef, l1, decays);
    return even + odd + coef[run->n_features] - run->y[row * run->row_stride];
}

/* gradient += slope * row; returns how much that adds to g'Dg */
INLINE double NAME(add_sparse_row)(const Run *run, ptrdiff_t row, double slope, const Columns *columns,
                                   double *restrict gradient) {
    const REAL *restrict values = run->values;
    const int32_t *restrict numbers = run->columns;
    double norm = 0.0;
    for (int64_t e = run->starts[row]; e < run->starts[row + 1]; e++) {
        const double added = slope * values[e], before = gradient[numbers[e]];
        norm += class_at(columns, numbers[e])->scale * added * (2.0 * before + added);
        gradient[numbers[e]] = before + added;
    }
    return norm;
}

/* g'Dg of a gradient that is slope * row */
INLINE double NAME(sparse_norm)(const Run *run, ptrdiff_t row, double slope, const Columns *columns) {
    const REAL *restrict values = run->values;
    double norm = 0.0;
    for (int64_t e = run->starts[row]; e < run->starts[row + 1]; e++)
        norm += class_at(columns, run->columns[e])->scale * values[e] * values[e];
    return slope * slope * norm;
}

/* Move a row's columns: by what has been collected in the gradient, or else straight by slope * row */
INLINE void NAME(move_sparse_row)(const Run *run, ptrdiff_t row, int is_collected, double slope, const Columns *columns,
                                  Parameters p) {
    const REAL *restrict values = run->values;
    const int32_t *restrict numbers = run->columns;
    double *restrict coef = p.coef, *restrict average = p.average, *restrict gradient = p.gradient;
    double *restrict shrunk_by = columns->shrunk_by;
    const int is_averaged = columns->kept != 1.0;
    const double l1 = run->penalty.l1, lowest = run->penalty.lowest;
    for (int64_t e = run->starts[row]; e < run->starts[row + 1]; e++) {
        const int32_t j = numbers[e];
        const Class *class = class_at(columns, j);
        double change = class->length * (is_collected ? gradient[j] : slope * values[e]);
        if (is_collected) gradient[j] = 0.0;
        if (l1 == 0.0) {
            if (coef[j] - change < lowest) change = coef[j] - lowest;
            coef[j] -= change;
            if (is_averaged) average[j] += class->entered * change;
        } else if (shrunk_by[j] != class->threshold || class->threshold - class->cut == class->threshold) {
            /* The threshold tells whether an earlier row of the batch has moved column j in this step. Where the cut is too
             * small to change the threshold, the column is moved again: by nothing, since its gradient is zero by then. */
            const double due = class->threshold - class->cut - shrunk_by[j];
            coef[j] = proximal(shrunk(coef[j], due) - change, class->cut, lowest);
            shrunk_by[j] = class->threshold;
        }
    }
}

INLINE void NAME(fetch_sparse)(const Run *run, ptrdiff_t row) {
    const REAL *values = run->values;
    for (int64_t e = run->starts[row]; e < run->starts[row + 1]; e += CACHE_LINE / 8) {
        TO_L1(values + e);
        TO_L1(run->columns + e);
    }
}

INLINE void NAME(run_sparse_batches)(Run run, const Step *step, Parameters p, Columns columns, double *objective, int decays) {
    const ptrdiff_t d = run.n_features, n_rows = run.n_rows;
    const int32_t *order = run.order;
    const double *scale = run.scale;
    const int is_bounded = run.penalty.lowest > -INFINITY;
    double largest = 0.0; /* scale: where the penalty's part of a step would turn signs, all columns meet the bound */
    for (ptrdiff_t j = 0; j < d && is_bounded; j++) largest = scale[j] > largest ? scale[j] : largest;
    for (ptrdiff_t j = 0; j <= d; j++) p.gradient[j] = 0.0;
    for (ptrdiff_t start = 0; start < n_rows; start += run.batch_size, step++, objective++) {
        const ptrdiff_t stop = start + run.batch_size < n_rows ? start + run.batch_size : n_rows;
        const double share = 1.0 / (double)(stop - start);
        const int is_capped = step->cap < INFINITY, flips = is_bounded && step->eta * largest * run.penalty.l2 > 1.0;
        const int moves_all = step->momentum != 0.0 || flips;
        const int is_collected = moves_all || (stop - start > 1 && (is_capped || is_proximal(&run.penalty)));
        double total = 0.0, norm = 0.0;
        if (moves_all) write_out(&columns, &run, p);
        for (ptrdiff_t i = start; i < stop; i++) { /* the residuals and the gradient */
            const ptrdiff_t row = order[i];
            if (i + SPARSE_ROWS_AHEAD < n_rows) NAME(fetch_sparse)(&run, order[i + SPARSE_ROWS_AHEAD]);
            const double s = share * run.weight[row * run.weight_stride];
            double slope;
            total += s * loss_at(&run.loss, NAME(sparse_residual)(&run, row, &columns, p.coef, decays), &slope);
            slope *= s;
            columns.slopes[i - start] = slope;
            p.gradient[d] += slope;
            if (is_collected) norm += NAME(add_sparse_row)(&run, row, slope, &columns, p.gradient);
            else if (is_capped) norm += NAME(sparse_norm)(&run, row, slope, &columns);
        }
        *objective = total;
        if (moves_all) {
            update(step, total, &run, p);
            for (ptrdiff_t j = 0; j <= d; j++) p.gradient[j] = 0.0;
            continue;
        }
        norm += scale[d] * p.gradient[d] * p.gradient[d];
        const double eta = capped(step, total, norm);
        step_classes(&columns, eta, &run, p);
        for (ptrdiff_t i = start; i < stop; i++)
            NAME(move_sparse_row)(&run, order[i], is_collected, columns.slopes[i - start], &columns, p);
        p.coef[d] -= eta * scale[d] * p.gradient[d];
        p.gradient[d] = 0.0;
        if (step->averaging == 0.0) continue;
        average_classes(&columns, step->averaging, stop == n_rows || step[1].averaging == 0.0, &run, p);
        p.average[d] += step->averaging * (p.coef[d] - p.average[d]);
    }
    write_out(&columns, &run, p);
}

CLONES
void NAME(run_sparse)(const Run *run, Columns columns) {
    const int decays = run->penalty.l2 != 0.0;
    for (ptrdiff_t t = 0; t < run->n_targets; t++) {
        const Parameters p = parameters_of(run, t);
        const Step *step = run->steps + t * run->n_batches;
        double *objective = run->objectives + t * run->n_batches;
        Run of_target = *run;
        of_target.y += run->targets[t] * run->target_stride;
        if (decays) NAME(run_sparse_batches)(of_target, step, p, columns, objective, 1);
        else NAME(run_sparse_batches)(of_target, step, p, columns, objective, 0);
    }
}
