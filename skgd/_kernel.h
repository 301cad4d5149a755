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
/* Shuffled rows lie where no hardware expects them. They are asked for this many rows before their turn, into the second
 * cache, which takes more requests at a time than the first; wide rows fewer ahead, since all must fit. A row that takes a
 * step by itself is asked into the first cache as well, just before, since nothing else is there to hide its way. */
#define ROWS_AHEAD 16
#define BYTES_AHEAD 65536
#define ROWS_NEAR 2

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

/* What the steps of a run have done to columns that they did not meet: sums up to each step k, from the last flush on.
 * Without l1: w_k = w_l * decay_k / decay_l. With l1, shrinking included, a coefficient is sign * decay_k * (c - threshold_k)
 * for a c of its own until that is zero. Its average is kept_k * (average_l / kept_l + what entered since), kept being the
 * product of 1 - averaging. Where scales differ the decay is a power instead, and averages are not kept up this way. */
typedef struct {
    int active, remembers, averages, uniform, uniform_scale;
    ptrdiff_t *last;    /* the step up to which a column is up to date */
    ptrdiff_t *counted; /* the last batch in whose norm a column entered */
    double *decay, *threshold, *kept, *entered, *missed;
    double *log_decay;  /* of each column in a step, where scales differ */
    double *slopes; /* room for those of a batch */
} Lazy;

INLINE double sign_of(double value) { return copysign(1.0, value); }

INLINE void note_step(Lazy lazy, ptrdiff_t k, double eta, double averaging, const Penalty *penalty) {
    const double decay = lazy.decay[k] * (1.0 - eta * penalty->l2);
    const double kept = lazy.kept[k] * (1.0 - averaging);
    lazy.decay[k + 1] = decay;
    lazy.kept[k + 1] = kept;
    lazy.threshold[k + 1] = lazy.threshold[k] + (decay != 0.0 ? eta * penalty->l1 / fabs(decay) : 0.0);
    const double entering = kept != 0.0 ? averaging * decay / kept : 0.0;
    lazy.entered[k + 1] = lazy.entered[k] + entering;
    lazy.missed[k + 1] = lazy.missed[k] + entering * lazy.threshold[k + 1];
}

/* Make up for the steps from last[j] to k */
INLINE void bring(Lazy lazy, ptrdiff_t j, ptrdiff_t k, const Metric *metric, double eta, const Penalty *penalty,
                  Parameters p) {
    const ptrdiff_t l = lazy.last[j];
    if (l >= k) return;
    lazy.last[j] = k;
    const double w = p.coef[j];
    if (!lazy.uniform) {
        if (w == 0.0) return;
        const double step = eta * metric->scale[j], lost = step * penalty->l2;
        const double power = lost == 0.0 ? 1.0 : exp((double)(k - l) * lazy.log_decay[j]);
        const double steps = lost == 0.0 ? (double)(k - l) : (1.0 - power) / lost;
        p.coef[j] = shrunk(power * w, steps * step * penalty->l1);
        return;
    }
    if (w == 0.0 && !lazy.averages) return;
    const double start = penalty->l2 == 0.0 ? w : w / lazy.decay[l], sign = sign_of(start), c = fabs(start) + lazy.threshold[l];
    ptrdiff_t until = k; /* the last step that leaves it other than zero */
    if (lazy.threshold[k] >= c && penalty->l1 != 0.0) {
        ptrdiff_t above = k;
        for (until = l; above - until > 1;) {
            const ptrdiff_t middle = until + (above - until) / 2;
            if (lazy.threshold[middle] < c) until = middle;
            else above = middle;
        }
        p.coef[j] = 0.0;
    } else {
        p.coef[j] = penalty->l1 == 0.0 ? start * lazy.decay[k] : sign * lazy.decay[k] * (c - lazy.threshold[k]);
    }
    if (!lazy.averages) return;
    const double in = sign * (c * (lazy.entered[until] - lazy.entered[l]) - (lazy.missed[until] - lazy.missed[l]));
    p.average[j] = lazy.kept[k] == 0.0 ? p.coef[j] : lazy.kept[k] * (p.average[j] / lazy.kept[l] + in);
}

/* Bring every column up to step k, from which the sums begin anew */
INLINE void flush(Lazy lazy, ptrdiff_t k, const Metric *metric, double eta, const Penalty *penalty, Parameters p,
                  ptrdiff_t n_features) {
    for (ptrdiff_t j = 0; j < n_features; j++) bring(lazy, j, k, metric, eta, penalty, p);
    lazy.decay[k] = lazy.kept[k] = 1.0;
    lazy.threshold[k] = lazy.entered[k] = lazy.missed[k] = 0.0;
}

/* Before what enters an average becomes small beside what has, or a factor too small to divide by */
INLINE int too_small(double decay, double kept, int averages) {
    return fabs(decay) < (averages ? 1e-3 : 1e-100) || kept < 1e-100;
}

/* coef = decay * p.coef, average = kept * (p.average + entered * p.coef), the intercept apart */
typedef struct {
    double decay, kept, entered;
} Factors;

/* All columns enter the average; of a decay of zero, or all of them, nothing is left to be multiplied */
INLINE void average_factors(Factors *factors, double averaging) {
    factors->kept *= 1.0 - averaging;
    if (factors->kept != 0.0) factors->entered += averaging * factors->decay / factors->kept;
}

INLINE void write_out(Factors *factors, Parameters p, ptrdiff_t n_features) {
    const double decay = factors->decay, kept = factors->kept, entered = factors->entered;
    if (decay == 1.0 && kept == 1.0) return;
    for (ptrdiff_t j = 0; j < n_features; j++) {
        p.average[j] = kept == 0.0 ? decay * p.coef[j] : kept * (p.average[j] + entered * p.coef[j]);
        p.coef[j] *= decay;
    }
    *factors = (Factors){1.0, 1.0, 0.0};
}

/* Taking all of a step is in vain if the next one does too */
INLINE double averaging_at(const Step *steps, ptrdiff_t k, int is_last) {
    return steps[k].averaging >= 1.0 && !is_last && steps[k + 1].averaging >= 1.0 ? 0.0 : steps[k].averaging;
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
#include "_sparse_pass.h"
#undef REAL
#undef NAME
#define REAL float
#define NAME(function) function##_float32
#include "_pass.h"
#include "_sparse_pass.h"
#undef REAL
#undef NAME
