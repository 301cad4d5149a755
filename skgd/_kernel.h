/* What a step does with a gradient, and the pass over the rows (_pass.h) for both precisions of X. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* One pass is compiled for two generations of x86-64 and chosen at load time; elsewhere once, for the baseline. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define CLONES
#endif

#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline)) /* so that each clone has its own helpers */
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INLINE static inline
#define PREFETCH(address) ((void)(address))
#define restrict __restrict
#endif
#define CACHE_LINE 64
#define ROWS_AHEAD 8 /* shuffled rows lie where no hardware expects them: asked for this many rows before their turn */

typedef struct {
    double eta, cap, momentum, lookahead, averaging;
} Step;

typedef struct {
    double insensitive, curvature, cap_above, cap_below;
} Loss;

typedef struct {
    double l2, l1;
} Penalty;

typedef struct {
    const double *center, *scale, *axes; /* an axis has its gain behind it */
    ptrdiff_t n_axes;
} Metric;

typedef struct {
    double *coef, *velocity, *average, *gradient, *direction;
} Parameters;

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

/* gradient += l2 * coef; returns the penalty, which leaves the intercept (the last entry) alone */
INLINE double add_penalty(const Penalty *penalty, const double *restrict coef, double *restrict gradient,
                                 ptrdiff_t n_features) {
    double squares = 0.0, absolutes = 0.0;
    if (penalty->l2 != 0.0) {
#pragma omp simd reduction(+ : squares)
        for (ptrdiff_t j = 0; j < n_features; j++) {
            squares += coef[j] * coef[j];
            gradient[j] += penalty->l2 * coef[j];
        }
    }
    if (penalty->l1 != 0.0) {
#pragma omp simd reduction(+ : absolutes)
        for (ptrdiff_t j = 0; j < n_features; j++) absolutes += fabs(coef[j]);
    }
    return 0.5 * penalty->l2 * squares + penalty->l1 * absolutes;
}

/* direction = D gradient for the metric D = diag(scale) + sum_k gain_k * axis_k axis_k' */
INLINE void precondition(const Metric *metric, const double *restrict gradient, double *restrict direction,
                         ptrdiff_t n_features) {
    const double *restrict scale = metric->scale;
#pragma omp simd
    for (ptrdiff_t j = 0; j <= n_features; j++) direction[j] = scale[j] * gradient[j];
    for (ptrdiff_t k = 0; k < metric->n_axes; k++) {
        const double *restrict axis = metric->axes + k * (n_features + 1);
        double along = 0.0;
#pragma omp simd reduction(+ : along)
        for (ptrdiff_t j = 0; j < n_features; j++) along += axis[j] * gradient[j];
        along *= axis[n_features];
#pragma omp simd
        for (ptrdiff_t j = 0; j < n_features; j++) direction[j] += along * axis[j];
    }
}

/* The proximal step of the l1 norm */
INLINE double shrunk(double value, double threshold) {
    const double size = fabs(value) - threshold;
    return threshold == 0.0 ? value : size < 0.0 ? 0.0 : copysign(size, value);
}

/* See _reference.update */
INLINE void update(const Step *step, double objective, const Metric *metric, double l1, Parameters p,
                   ptrdiff_t n_features) {
    double *restrict coef = p.coef, *restrict velocity = p.velocity, *restrict average = p.average;
    const double *restrict direction = p.direction, *restrict gradient = p.gradient;
    precondition(metric, p.gradient, p.direction, n_features);
    double eta = step->eta;
    if (step->cap < INFINITY) {
        double norm = 0.0;
#pragma omp simd reduction(+ : norm)
        for (ptrdiff_t j = 0; j <= n_features; j++) norm += direction[j] * gradient[j];
        if (eta * norm > step->cap * objective) eta = step->cap * objective / norm;
    }
    if (step->momentum == 0.0 && step->lookahead == 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) coef[j] -= eta * direction[j];
        for (ptrdiff_t j = 0; j < n_features && l1 != 0.0; j++) coef[j] = shrunk(coef[j], eta * metric->scale[j] * l1);
    } else {
        const double ahead = step->lookahead != 0.0 ? step->momentum : 0.0;
        for (ptrdiff_t j = 0; j <= n_features; j++) {
            const double before = coef[j] - ahead * velocity[j];
            const double moved = coef[j] + (step->momentum - ahead) * velocity[j] - eta * direction[j];
            const double now = j < n_features ? shrunk(moved, eta * metric->scale[j] * l1) : moved;
            velocity[j] = now - before;
            coef[j] = now + step->lookahead * velocity[j];
        }
    }
    if (step->averaging != 0.0) {
#pragma omp simd
        for (ptrdiff_t j = 0; j <= n_features; j++) average[j] += step->averaging * (coef[j] - average[j]);
    }
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

/* Whether a step on a single row can go from the row straight to the parameters, without a gradient in between */
INLINE int is_plain(const Step *step, const Metric *metric, const Penalty *penalty) {
    return metric->n_axes == 0 && penalty->l1 == 0.0 && step->momentum == 0.0 && step->lookahead == 0.0
           && step->cap == INFINITY;
}

#define REAL double
#define NAME(function) function##_float64
#include "_pass.h"
#undef REAL
#undef NAME
#define REAL float
#define NAME(function) function##_float32
#include "_pass.h"
#undef REAL
#undef NAME
