/* One run of mini-batches over the rows of a CSR matrix, at a cost per step of the batch's non-zeros and not of all columns.
 * _kernel.h includes this file twice: with REAL float and REAL double.
 *
 * A column that a batch does not hold still decays, shrinks and enters the average: `Columns` in _kernel.h keeps account of
 * that for all columns of equal scale at once, exactly, whatever varies from step to step. Only momentum, and an average
 * together with an l1 norm, cost all columns. Columns are not centred. */

INLINE const Class *NAME(class_at)(const Columns *columns, ptrdiff_t j, int is_uniform) {
    return columns->classes + (is_uniform ? columns->used[0] : columns->class_of[j]);
}

/* coef_j, but for the decay if that is the same for all columns; `decays` and `is_uniform` are constants where inlined */
INLINE double NAME(coef_at)(const Columns *columns, ptrdiff_t j, const double *restrict coef, double l1, int decays,
                            int is_uniform) {
    double value = coef[j];
    if (l1 != 0.0) value = shrunk(value, NAME(class_at)(columns, j, is_uniform)->threshold - columns->shrunk_by[j]);
    return decays && !is_uniform ? NAME(class_at)(columns, j, is_uniform)->decay * value : value;
}

INLINE double NAME(sparse_residual)(SparseData data, ptrdiff_t row, const Columns *columns, const double *restrict coef,
                                    double l1, int decays, int is_uniform) {
    const REAL *restrict values = data.values;
    const int32_t *restrict numbers = data.columns;
    const int64_t stop = data.starts[row + 1];
    double even = 0.0, odd = 0.0;
    int64_t e = data.starts[row];
    for (; e + 1 < stop; e += 2) {
        even += values[e] * NAME(coef_at)(columns, numbers[e], coef, l1, decays, is_uniform);
        odd += values[e + 1] * NAME(coef_at)(columns, numbers[e + 1], coef, l1, decays, is_uniform);
    }
    if (e < stop) even += values[e] * NAME(coef_at)(columns, numbers[e], coef, l1, decays, is_uniform);
    const double decay = decays && is_uniform ? columns->classes[columns->used[0]].decay : 1.0;
    return decay * (even + odd) + coef[data.n_features] - data.y[row * data.row_stride];
}

/* gradient += slope * row; returns how much that adds to g'Dg */
INLINE double NAME(add_sparse_row)(SparseData data, ptrdiff_t row, double slope, const Columns *columns,
                                   double *restrict gradient, int is_uniform) {
    const REAL *restrict values = data.values;
    const int32_t *restrict numbers = data.columns;
    double norm = 0.0;
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++) {
        const double added = slope * values[e], before = gradient[numbers[e]];
        norm += NAME(class_at)(columns, numbers[e], is_uniform)->scale * added * (2.0 * before + added);
        gradient[numbers[e]] = before + added;
    }
    return norm;
}

/* g'Dg of a gradient that is slope * row */
INLINE double NAME(sparse_norm)(SparseData data, ptrdiff_t row, double slope, const Columns *columns, int is_uniform) {
    const REAL *restrict values = data.values;
    double norm = 0.0;
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++)
        norm += NAME(class_at)(columns, data.columns[e], is_uniform)->scale * values[e] * values[e];
    return slope * slope * norm;
}

/* Move a row's columns: by what has been collected in the gradient, or else straight by slope * row */
INLINE void NAME(move_sparse_row)(SparseData data, ptrdiff_t row, int is_collected, double slope, const Columns *columns,
                                  const Penalty *penalty, Parameters p, int is_uniform) {
    const REAL *restrict values = data.values;
    const int32_t *restrict numbers = data.columns;
    double *restrict coef = p.coef, *restrict average = p.average, *restrict gradient = p.gradient;
    double *restrict shrunk_by = columns->shrunk_by;
    const int is_averaged = columns->kept != 1.0;
    const double l1 = penalty->l1, lowest = penalty->lowest;
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e++) {
        const int32_t j = numbers[e];
        const Class *class = NAME(class_at)(columns, j, is_uniform);
        double change = class->reach * (is_collected ? gradient[j] : slope * values[e]);
        if (is_collected) gradient[j] = 0.0;
        if (l1 == 0.0) {
            if (coef[j] - change < lowest) change = coef[j] - lowest;
            coef[j] -= change;
            if (is_averaged) average[j] += class->entered * change;
        } else if (shrunk_by[j] != class->threshold || class->threshold - class->cut == class->threshold) {
            /* the first of the batch's rows that holds the column */
            const double due = class->threshold - class->cut - shrunk_by[j];
            coef[j] = proximal(shrunk(coef[j], due) - change, class->cut, lowest);
            shrunk_by[j] = class->threshold;
        }
    }
}

INLINE void NAME(fetch_sparse)(SparseData data, ptrdiff_t row) {
    const REAL *values = data.values;
    for (int64_t e = data.starts[row]; e < data.starts[row + 1]; e += CACHE_LINE / 8) {
        TO_L1(values + e);
        TO_L1(data.columns + e);
    }
}

INLINE void NAME(run_sparse_batches)(SparseData data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size,
                                     const Step *step, const Metric *metric, const Loss *loss, const Penalty *penalty,
                                     Parameters p, Columns columns, double *objective, int decays, int is_uniform) {
    const ptrdiff_t d = data.n_features;
    const double l1 = penalty->l1;
    const int is_bounded = penalty->lowest > -INFINITY;
    double largest = 0.0; /* scale: where the penalty's part of a step would turn signs, all columns meet the bound */
    for (ptrdiff_t j = 0; j < d && is_bounded; j++) largest = metric->scale[j] > largest ? metric->scale[j] : largest;
    for (ptrdiff_t j = 0; j <= d; j++) p.gradient[j] = 0.0;
    for (ptrdiff_t start = 0; start < n_rows; start += batch_size, step++, objective++) {
        const ptrdiff_t stop = start + batch_size < n_rows ? start + batch_size : n_rows;
        const double share = 1.0 / (double)(stop - start);
        const int is_capped = step->cap < INFINITY, flips = is_bounded && step->eta * largest * penalty->l2 > 1.0;
        const int moves_all = step->momentum != 0.0 || step->lookahead != 0.0 || flips;
        const int is_collected = moves_all || (stop - start > 1 && (is_capped || is_proximal(penalty)));
        double total = 0.0, norm = 0.0;
        if (moves_all) write_out(&columns, penalty, p, d);
        for (ptrdiff_t i = start; i < stop; i++) { /* the residuals and the gradient */
            const ptrdiff_t row = order[i];
            if (i + SPARSE_ROWS_AHEAD < n_rows) NAME(fetch_sparse)(data, order[i + SPARSE_ROWS_AHEAD]);
            const double s = share * data.weight[row * data.weight_stride];
            double slope;
            total += s * loss_at(loss, NAME(sparse_residual)(data, row, &columns, p.coef, l1, decays, is_uniform), &slope);
            slope *= s;
            columns.slopes[i - start] = slope;
            p.gradient[d] += slope;
            if (is_collected) norm += NAME(add_sparse_row)(data, row, slope, &columns, p.gradient, is_uniform);
            else if (is_capped) norm += NAME(sparse_norm)(data, row, slope, &columns, is_uniform);
        }
        *objective = total;
        if (moves_all) {
            update(step, total, metric, penalty, p, d);
            for (ptrdiff_t j = 0; j <= d; j++) p.gradient[j] = 0.0;
            continue;
        }
        norm += metric->scale[d] * p.gradient[d] * p.gradient[d];
        const double eta = capped(step, total, norm);
        step_classes(&columns, eta, penalty, p, d);
        for (ptrdiff_t i = start; i < stop; i++)
            NAME(move_sparse_row)(data, order[i], is_collected, columns.slopes[i - start], &columns, penalty, p, is_uniform);
        p.coef[d] -= eta * metric->scale[d] * p.gradient[d];
        p.gradient[d] = 0.0;
        if (step->averaging == 0.0) continue;
        const int seldom = stop == n_rows || step[1].averaging == 0.0;
        average_classes(&columns, step->averaging, seldom, penalty, p, d);
        p.average[d] += step->averaging * (p.coef[d] - p.average[d]);
    }
    write_out(&columns, penalty, p, d);
}

CLONES
void NAME(run_sparse)(SparseData data, const int32_t *order, ptrdiff_t n_rows, ptrdiff_t batch_size, const Step *step,
                      const Metric *metric, const Loss *loss, const Penalty *penalty, Parameters p, Columns columns,
                      double *objective) {
    const int is_uniform = columns.n_used == 1;
#define RUN(decays, is_uniform)                                                                                     \
    NAME(run_sparse_batches)(data, order, n_rows, batch_size, step, metric, loss, penalty, p, columns, objective, decays, is_uniform)
    if (penalty->l2 != 0.0 && is_uniform) RUN(1, 1);
    else if (penalty->l2 != 0.0) RUN(1, 0);
    else if (is_uniform) RUN(0, 1);
    else RUN(0, 0);
#undef RUN
}
