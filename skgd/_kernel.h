/* What a step does with a gradient, and the pass over the rows (_pass.h) for both precisions of X. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One pass is compiled for two generations of x86-64 and chosen at load time; elsewhere once, for the baseline. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 \
    && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define CLONES
#endif

#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline)) /* so that each clone has its own helpers */
#define TO_L1(address) __builtin_prefetch(address, 0, 3)
#define TO_L2(address) __builtin_prefetch(address, 0, 2)
#else
#define INLINE static inline
#define TO_L1(address) ((void)(address))
#define TO_L2(address) ((void)(address))
#define restrict __restrict
#endif
#define CACHE_LINE 64
#define SPARSE_ROWS_AHEAD 2
/* Hardware cannot predict the addresses of shuffled rows. They are prefetched ROWS_AHEAD rows in advance into the L2 cache,
 * which takes more requests at a time than L1. Wide rows are prefetched fewer rows in advance, since all must fit. With one row
 * per step, the row is also prefetched into L1 just before its step, since there is no other work to hide its latency. */
#define ROWS_AHEAD 16
#define BYTES_AHEAD 65536
#define ROWS_NEAR 2

/* With several targets, residuals and gradients are products of matrices: residuals of HIGH rows times WIDE targets, and
 * gradients of HIGH targets times WIDE columns. With fewer, most of a product would be unused: they are taken one by one. */
#define HIGH 4
#define WIDE 8
#define FEW_TARGETS 3
#define ROWS_AT_ONCE 64

typedef struct {
    double eta, cap, ceiling, momentum, lookahead, averaging;
} Step;

typedef struct {
    double insensitive, curvature, cap_above, cap_below;
} Loss;

typedef struct {
    double l2, l1, lowest; /* the last bounds the coefficients: 0, or -INFINITY */
} Penalty;

typedef struct {
    double *coef, *velocity, *average, *gradient;
} Parameters;

/* What a call is given: rows and the order in which to visit them, what is minimised, and the targets that are learned */
typedef struct {
    const void *values;     /* REALs: of dense rows all, of sparse ones those that are not zero */
    const int32_t *columns; /* of sparse rows: where their values stand */
    const int64_t *starts;  /* of sparse rows: row i lies at starts[i] to starts[i + 1] */
    const double *y, *weight;
    ptrdiff_t row_stride, target_stride, weight_stride, n_features; /* the first two of y */
    const int32_t *order;
    ptrdiff_t n_rows, batch_size, n_batches; /* the last batch may have fewer rows */
    const double *center, *scale; /* the metric */
    Loss loss;
    Penalty penalty;
    const int32_t *targets; /* their numbers; each has four rows of parameters, and a step and an objective for each batch */
    ptrdiff_t n_targets;
    const Step *steps;
    double *parameters, *objectives;
    double *room; /* to work in, for several targets: `size_of_room` numbers, which are zero */
} Run;

/* Rows of a batch, slopes for WIDE targets, and the coefficients of WIDE targets side by side */
static ptrdiff_t size_of_room(const Run *run) {
    const ptrdiff_t width = (run->n_features + WIDE) / WIDE * WIDE, n_wide = (run->n_targets + WIDE - 1) / WIDE * WIDE;
    return ROWS_AT_ONCE * (width + WIDE) + n_wide * (run->n_features + 1);
}

/* The loss at a residual (prediction - target), and its slope there: see _objective.py */
INLINE double loss_at(const Loss *loss, double residual, double *slope) {
    const double cap = residual > 0.0 ? loss->cap_above : loss->cap_below;
    double excess = fabs(residual) - loss->insensitive;
    if (excess < 0.0) excess = 0.0; /* unlike fmax and fmin, comparisons let a NaN through */
    double steepness = loss->curvature * excess;
    if (steepness > cap) steepness = cap;
    *slope = copysign(steepness, residual);
    return steepness * (excess - 0.5 * steepness / loss->curvature);
}

INLINE Parameters parameters_of(const Run *run, ptrdiff_t k) {
    const ptrdiff_t length = run->n_features + 1;
    double *const row = run->parameters + run->targets[k] * 4 * length;
    return (Parameters){row, row + length, row + 2 * length, row + 3 * length};
}

/* sums[u][v] = sum_k left[k * left_step + u * left_stride] * right[k * right_step + v] */
INLINE void multiply(const double *restrict left, ptrdiff_t left_step, ptrdiff_t left_stride, const double *restrict right,
                     ptrdiff_t right_step, ptrdiff_t n, double sums[HIGH][WIDE]) {
    double local[HIGH][WIDE] = {{0.0}}; /* which a compiler keeps in registers */
    for (ptrdiff_t k = 0; k < n; k++) {
        const double *restrict a = left + k * left_step, *restrict b = right + k * right_step;
        for (int u = 0; u < HIGH; u++) {
            const double factor = a[u * left_stride];
#pragma omp simd
            for (int v = 0; v < WIDE; v++) local[u][v] += factor * b[v];
        }
    }
    memcpy(sums, local, sizeof local);
}

/* gradient += l2 * coef; returns the penalty, which leaves the intercept (the last entry) alone */
INLINE double add_penalty(const Penalty *penalty, const double *restrict coef, double *restrict gradient, ptrdiff_t d) {
    double squares = 0.0, absolutes = 0.0;
    if (penalty->l2 == 0.0 && penalty->l1 == 0.0) return 0.0;
#pragma omp simd reduction(+ : squares, absolutes)
    for (ptrdiff_t j = 0; j < d; j++) {
        squares += coef[j] * coef[j];
        absolutes += fabs(coef[j]);
        gradient[j] += penalty->l2 * coef[j];
    }
    return 0.5 * penalty->l2 * squares + penalty->l1 * absolutes;
}

/* Soft threshold: the proximal operator of the l1 norm */
INLINE double shrunk(double value, double threshold) {
    const double size = fabs(value) - threshold;
    return threshold == 0.0 ? value : size < 0.0 ? 0.0 : copysign(size, value);
}

/* Soft threshold, then the lower bound */
INLINE double proximal(double value, double threshold, double lowest) {
    const double moved = shrunk(value, threshold);
    return moved <= lowest ? lowest : moved;
}

/* Whether steps end with a proximal one */
INLINE int is_proximal(const Penalty *penalty) { return penalty->l1 != 0.0 || penalty->lowest > -INFINITY; }

/* eta, or less of it: eta * g'Dg <= cap * min(loss, ceiling), for the gradient g of the loss alone */
INLINE double capped(const Step *step, double loss, double norm) {
    const double bound = step->cap * (loss < step->ceiling ? loss : step->ceiling);
    return step->eta * norm > bound ? bound / norm : step->eta;
}

/* See _reference.update; p.gradient is that of the loss alone. Returns the penalty before the step. */
INLINE double update(const Step *step, double loss, const Run *run, Parameters p) {
    const Penalty *penalty = &run->penalty;
    const ptrdiff_t n_features = run->n_features;
    double *restrict coef = p.coef, *restrict velocity = p.velocity, *restrict average = p.average;
    const double *restrict gradient = p.gradient, *restrict scale = run->scale;
    const double l1 = penalty->l1, lowest = penalty->lowest;
    double eta = step->eta;
    if (step->cap < INFINITY) {
        double norm = 0.0;
#pragma omp simd reduction(+ : norm)
        for (ptrdiff_t j = 0; j <= n_features; j++) norm += scale[j] * gradient[j] * gradient[j];
        eta = capped(step, loss, norm);
    }
    const double value = add_penalty(penalty, coef, p.gradient, n_features);
    if (step->momentum == 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) coef[j] -= eta * (scale[j] * gradient[j]);
        for (ptrdiff_t j = 0; j < n_features && is_proximal(penalty); j++)
            coef[j] = proximal(coef[j], eta * scale[j] * l1, lowest);
    } else {
        const double ahead = step->lookahead;
        for (ptrdiff_t j = 0; j <= n_features; j++) {
            const double before = coef[j] - ahead * velocity[j];
            const double moved = coef[j] + (step->momentum - ahead) * velocity[j] - eta * (scale[j] * gradient[j]);
            const double now = j < n_features ? proximal(moved, eta * scale[j] * l1, lowest) : moved;
            velocity[j] = now - before;
            coef[j] = now + ahead * velocity[j];
        }
    }
    if (step->averaging != 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) average[j] += step->averaging * (coef[j] - average[j]);
    }
    return value;
}

/* What steps do to the columns that a batch does not hold, which is the same for all columns of equal scale. Scales are
 * powers of two, so there are few such classes, told apart by the exponent. With u_j in p.coef and v_j in p.average,
 *
 *     coef_j = decay * shrunk(u_j, threshold - shrunk_by_j)        average_j = kept * (v_j + entered * u_j)
 *
 * For example, after two steps that cut 1 from u_j = 5 without a visit to column j, the threshold is 2, shrunk_by_j is 0, and
 * coef_j is 3 times the decay. */
typedef struct {
    double scale, decay, entered;
    double threshold; /* the sum of what the l1 norm takes from |u_j| in each step */
    double cut, length; /* of this step: what it takes from |u_j|, and how far it moves u_j for a gradient of 1 */
} Class;

#define N_CLASSES 2048 /* exponents of a double; that of zero is a class, too */
#define LEAST_KEPT 1e-100
#define LEAST_DECAY 1e-100
#define LEAST_AVERAGED_DECAY 1e-4 /* v + entered * u cancels numbers 1 / decay as large: this costs four digits at most */

typedef struct {
    Class *classes;
    uint16_t *class_of; /* of each column */
    uint16_t *used;     /* the classes that have columns */
    double *shrunk_by;  /* of each column, if there is an l1 norm: what of the threshold has been taken */
    double *slopes;     /* of the rows of a batch */
    double kept;
    ptrdiff_t n_used;
} Columns;

/* Sort the columns into classes; 0 if a scale is no power of two */
static int find_classes(const double *scale, ptrdiff_t n_features, Columns *columns) {
    columns->kept = 1.0;
    columns->n_used = 0;
    for (ptrdiff_t j = 0; j < n_features; j++) {
        uint64_t bits;
        memcpy(&bits, scale + j, sizeof bits);
        if (bits & 0x800fffffffffffffu) return 0;
        const uint16_t number = (uint16_t)(bits >> 52);
        Class *class = columns->classes + number;
        if (class->decay == 0.0) { /* its first column */
            *class = (Class){.scale = scale[j], .decay = 1.0};
            columns->used[columns->n_used++] = number;
        }
        columns->class_of[j] = number;
    }
    return 1;
}

INLINE const Class *class_at(const Columns *columns, ptrdiff_t j) {
    return columns->classes + columns->class_of[j];
}

/* coef_j; `decays`, whether there is an l2 norm, is a constant where inlined */
INLINE double coef_at(const Columns *columns, ptrdiff_t j, const double *restrict coef, double l1, int decays) {
    double value = coef[j];
    if (l1 != 0.0) value = shrunk(value, class_at(columns, j)->threshold - columns->shrunk_by[j]);
    return decays ? class_at(columns, j)->decay * value : value;
}

/* From u and v to the parameters themselves; the sums of all classes begin anew */
INLINE void write_out(Columns *columns, const Run *run, Parameters p) {
    const double kept = columns->kept;
    for (ptrdiff_t j = 0; j < run->n_features; j++) {
        const Class *class = class_at(columns, j);
        if (run->penalty.l1 != 0.0) {
            p.coef[j] = shrunk(p.coef[j], class->threshold - columns->shrunk_by[j]);
            columns->shrunk_by[j] = 0.0;
        }
        p.average[j] = kept == 0.0 ? class->decay * p.coef[j] : kept * (p.average[j] + class->entered * p.coef[j]);
        p.coef[j] *= class->decay;
    }
    for (ptrdiff_t c = 0; c < columns->n_used; c++) {
        Class *class = columns->classes + columns->used[c];
        *class = (Class){.scale = class->scale, .decay = 1.0};
    }
    columns->kept = 1.0;
}

/* What a step of length eta does to all columns before their gradient moves them */
INLINE void step_classes(Columns *columns, double eta, const Run *run, Parameters p) {
    const double least = columns->kept != 1.0 ? LEAST_AVERAGED_DECAY : LEAST_DECAY;
    int too_small = 0;
    for (ptrdiff_t c = 0; c < columns->n_used; c++) {
        Class *class = columns->classes + columns->used[c];
        class->decay *= 1.0 - eta * class->scale * run->penalty.l2;
        too_small |= fabs(class->decay) < least;
    }
    if (too_small) write_out(columns, run, p);
    for (ptrdiff_t c = 0; c < columns->n_used; c++) {
        Class *class = columns->classes + columns->used[c];
        class->length = eta * class->scale / class->decay;
        class->cut = fabs(class->length) * run->penalty.l1;
        class->threshold += class->cut;
    }
}

/* Let all columns enter the average: at once if that is `seldom`, else by classes */
INLINE void average_classes(Columns *columns, double averaging, int seldom, const Run *run, Parameters p) {
    if (seldom || run->penalty.l1 != 0.0) { /* the l1 norm shrinks each column by another amount */
        write_out(columns, run, p);
        for (ptrdiff_t j = 0; j < run->n_features; j++) p.average[j] += averaging * (p.coef[j] - p.average[j]);
        return;
    }
    columns->kept *= 1.0 - averaging;
    for (ptrdiff_t c = 0; c < columns->n_used && columns->kept != 0.0; c++) {
        Class *class = columns->classes + columns->used[c];
        class->entered += averaging * class->decay / columns->kept;
    }
    if (columns->kept < LEAST_KEPT) write_out(columns, run, p);
}

/* Fisher-Yates, with the numbers of splitmix64 (Steele, Lea & Flood 2014) from a seed on */
static void shuffle_rows(int32_t *order, ptrdiff_t n_rows, uint64_t seed) {
    for (ptrdiff_t i = n_rows - 1; i > 0; i--) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        const ptrdiff_t j = (ptrdiff_t)((double)(z >> 11) * 0x1p-53 * (double)(i + 1));
        const int32_t row = order[i];
        order[i] = order[j];
        order[j] = row;
    }
}

#define REAL double
#define NAME(function) function##_float64
#include "_pass.h"
#include "_sparse_pass.h"
#undef REAL
#undef NAME
#define REAL float
#define NAME(function) function##_float32
#include "_pass.h"
#include "_sparse_pass.h"
#undef REAL
#undef NAME
