/* exp, log, sigmoid and tanh over arrays, branch-free so that the compiler turns each loop into vector code,
 * and the reductions that plain C would keep scalar. Every function may work in place (y == x).
 *
 * Error against a correctly rounded result, measured by tests/test_kernels.py:
 *   exp <= 2 ulp, sigmoid <= 3 ulp, tanh <= 3 ulp, log <= 3 ulp, float and double.
 * exp gives 0 from about the smallest normal number (2^-1021.5, 2^-125.5) down, inf above the largest; NaN stays NaN.
 */
#ifndef NNCORE_VMATH_H
#define NNCORE_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arithmetic/vectors.h"

/* x - low = n ln2 + r with |r| <= ln2 / 2. Returns e^r - 1 by its Taylor series (truncation below 2^-56, 2^-27) and
 * sets half_scale = 2^(n-1+raised): the halved scale keeps n = 1024 (128) in range, and makes the lowest n flush to 0.
 * Adding 1.5 * 2^52 (2^23) rounds to an integer and leaves it in the low bits, ready to become an exponent. */
NN_INLINE double nn_reduced_expm1_f64(double x, double low, const int raised, double *half_scale)
{
    const double magic = 0x1.8p52, lowest = -708.7 - raised * 0.6931471805599453;
    x = x < lowest ? lowest : x;
    x = x > 709.9 ? 709.9 : x;
    const double shifted = x * 0x1.71547652b82fep0 + magic;
    const double n = shifted - magic;
    const double r = ((x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45) - low;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1022 + raised) << 52;
    memcpy(half_scale, &bits, sizeof bits);
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return p * r * r + r;
}

NN_INLINE float nn_reduced_expm1_f32(float x, float low, const int raised, float *half_scale)
{
    const float magic = 0x1.8p23f, lowest = -87.68f - raised * 0.6931472f;
    x = x < lowest ? lowest : x;
    x = x > 88.8f ? 88.8f : x;
    const float shifted = x * 0x1.715476p0f + magic;
    const float n = shifted - magic;
    const float r = ((x - n * 0x1.62e400p-1f) - n * 0x1.7f7d1cp-20f) - low;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 126 + raised) << 23;
    memcpy(half_scale, &bits, sizeof bits);
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    return p * r * r + r;
}

/* log x for positive normal x, inf and NaN give NaN: x = 2^e m with sqrt(1/2) <= m < sqrt(2), and
 * log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.1716, by its series (truncation below 2^-56, 2^-27). */
NN_INLINE double nn_log1_f64(double x)
{
    uint64_t bits, mantissa, exponent;
    double e, m;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x3ff0000000000000u - 0x3fe6a09e667f3bcdu;
    mantissa = (bits & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu;
    exponent = (bits >> 52) | 0x4330000000000000u; /* as the low bits of 2^52: an exact conversion */
    memcpy(&m, &mantissa, sizeof m);
    memcpy(&e, &exponent, sizeof e);
    e -= 0x1p52 + 1023;
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 2.0 / 21;
    p = p * q + 2.0 / 19;
    p = p * q + 2.0 / 17;
    p = p * q + 2.0 / 15;
    p = p * q + 2.0 / 13;
    p = p * q + 2.0 / 11;
    p = p * q + 2.0 / 9;
    p = p * q + 2.0 / 7;
    p = p * q + 2.0 / 5;
    p = p * q + 2.0 / 3;
    return e * 0x1.62e42fefa3800p-1 + (2 * s + (s * (p * q) + e * 0x1.ef35793c76730p-45)) + (x - x);
}

NN_INLINE float nn_log1_f32(float x)
{
    uint32_t bits, mantissa, exponent;
    float e, m;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x3f800000u - 0x3f3504f3u;
    mantissa = (bits & 0x7fffffu) + 0x3f3504f3u;
    exponent = (bits >> 23) | 0x4b000000u;
    memcpy(&m, &mantissa, sizeof m);
    memcpy(&e, &exponent, sizeof e);
    e -= 0x1p23f + 127;
    const float s = (m - 1) / (m + 1), q = s * s;
    float p = 2.0f / 9;
    p = p * q + 2.0f / 7;
    p = p * q + 2.0f / 5;
    p = p * q + 2.0f / 3;
    return e * 0x1.62e400p-1f + (2 * s + (s * (p * q) + e * 0x1.7f7d1cp-20f)) + (x - x);
}

/* By how many powers of two nn_raised_exp1 is larger than exp. */
#define NN_RAISED 32
/* Terms that one chain of additions in REAL takes. The sums of such blocks are added in double: of 100,000 equal float
 * terms a single chain lost 1e-4, blocks lose 2e-7. */
#define NN_SUMMED 1024
#define NN_SUMMED_ROWS 128
/* Columns that have such sums side by side. */
#define NN_SUMMED_COLUMNS 64

/* The rest is the same text for both types: REAL is float or double, S its suffix. */
#define NN_DEFINE_VMATH(REAL, S, COPYSIGN, FABS)                                                   \
    NN_INLINE REAL nn_exp1_##S(REAL x)                                                             \
    {                                                                                              \
        REAL half_scale;                                                                           \
        const REAL p = nn_reduced_expm1_##S(x, 0, 0, &half_scale);                                 \
        return (half_scale + half_scale * p) * 2;                                                  \
    }                                                                                              \
    /* 2^NN_RAISED e^(x - low) for x <= 0: what is multiplied with it keeps its precision where e^x flushes to 0 */ \
    NN_INLINE REAL nn_raised_exp1_##S(REAL x, REAL low)                                            \
    {                                                                                              \
        REAL half_scale;                                                                           \
        const REAL p = nn_reduced_expm1_##S(x, low, NN_RAISED, &half_scale);                       \
        return (half_scale + half_scale * p) * 2;                                                  \
    }                                                                                              \
    /* exact to rounding near 0: there the scale is 1 */                                           \
    NN_INLINE REAL nn_expm11_##S(REAL x)                                                           \
    {                                                                                              \
        REAL half_scale;                                                                           \
        const REAL p = nn_reduced_expm1_##S(x, 0, 0, &half_scale);                                 \
        return 2 * (half_scale * p + (half_scale - (REAL)0.5));                                    \
    }                                                                                              \
    /* log(1 + x) for x >= 0: the logarithm of what rounding makes of 1 + x, and a first-order correction */ \
    NN_INLINE REAL nn_log1p1_##S(REAL x)                                                           \
    {                                                                                              \
        const REAL u = 1 + x;                                                                      \
        return nn_log1_##S(u) + (x - (u - 1)) / u;                                                 \
    }                                                                                              \
    NN_INLINE REAL nn_sigmoid1_##S(REAL x)                                                         \
    {                                                                                              \
        return 1 / (1 + nn_exp1_##S(-x));                                                          \
    }                                                                                              \
    /* tanh|x| = -m / (m + 2), m = expm1(-2|x|): no overflow, and exact to rounding near 0 */      \
    NN_INLINE REAL nn_tanh1_##S(REAL x)                                                            \
    {                                                                                              \
        REAL half_scale;                                                                           \
        const REAL p = nn_reduced_expm1_##S(-2 * FABS(x), 0, 0, &half_scale);                      \
        const REAL scale = half_scale * 2;                                                         \
        const REAL m = scale * p + (scale - 1);                                                    \
        return COPYSIGN(m / (m + 2), x);                                                           \
    }                                                                                              \
    static inline void nn_exp_##S(const REAL *x, REAL shift, REAL *y, ptrdiff_t n)                 \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] = nn_exp1_##S(x[i] - shift);                \
    }                                                                                              \
    static inline void nn_log_##S(const REAL *x, REAL *y, ptrdiff_t n)                             \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] = nn_log1_##S(x[i]);                        \
    }                                                                                              \
    static inline void nn_sigmoid_##S(const REAL *x, REAL *y, ptrdiff_t n)                         \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] = nn_sigmoid1_##S(x[i]);                    \
    }                                                                                              \
    static inline void nn_tanh_##S(const REAL *x, REAL *y, ptrdiff_t n)                            \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] = nn_tanh1_##S(x[i]);                       \
    }                                                                                              \
    static inline REAL nn_dot_##S(const REAL *x, const REAL *y, ptrdiff_t n)                       \
    {                                                                                              \
        double total = 0;                                                                          \
        for (ptrdiff_t first = 0; first < n; first += NN_SUMMED) {                                 \
            const ptrdiff_t stop = n - first < NN_SUMMED ? n : first + NN_SUMMED;                  \
            REAL sum = 0;                                                                          \
            _Pragma("omp simd reduction(+ : sum)") for (ptrdiff_t i = first; i < stop; i++) sum += x[i] * y[i]; \
            total += sum;                                                                          \
        }                                                                                          \
        return (REAL)total;                                                                        \
    }                                                                                              \
    static inline REAL nn_sum_##S(const REAL *x, ptrdiff_t n)                                      \
    {                                                                                              \
        double total = 0;                                                                          \
        for (ptrdiff_t first = 0; first < n; first += NN_SUMMED) {                                 \
            const ptrdiff_t stop = n - first < NN_SUMMED ? n : first + NN_SUMMED;                  \
            REAL sum = 0;                                                                          \
            _Pragma("omp simd reduction(+ : sum)") for (ptrdiff_t i = first; i < stop; i++) sum += x[i]; \
            total += sum;                                                                          \
        }                                                                                          \
        return (REAL)total;                                                                        \
    }                                                                                              \
    /* 0 where all x are finite, else NaN */                                                       \
    static inline REAL nn_nothing_##S(const REAL *x, ptrdiff_t n)                                  \
    {                                                                                              \
        REAL sum = 0;                                                                              \
        _Pragma("omp simd reduction(+ : sum)") for (ptrdiff_t i = 0; i < n; i++) sum += x[i] * 0;  \
        return sum;                                                                                \
    }                                                                                              \
    /* how many elements of x and y lie on different sides of 0 (0 itself with the negative ones) */ \
    static inline REAL nn_crossings_##S(const REAL *x, const REAL *y, ptrdiff_t n)                 \
    {                                                                                              \
        REAL count = 0;                                                                            \
        _Pragma("omp simd reduction(+ : count)") for (ptrdiff_t i = 0; i < n; i++)                 \
            count += ((x[i] > 0) != (y[i] > 0)) ? 1 : 0;                                           \
        return count;                                                                              \
    }                                                                                              \
    static inline REAL nn_max_##S(const REAL *x, ptrdiff_t n)                                      \
    {                                                                                              \
        REAL top = x[0];                                                                           \
        _Pragma("omp simd reduction(max : top)") for (ptrdiff_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top; \
        return top;                                                                                \
    }                                                                                              \
    /* a += x @ W for one row x, four rows of W a pass: a is read and written a quarter as often */ \
    NN_INLINE void nn_vecmat_block_##S(const REAL *restrict x, const REAL *restrict W,             \
                                       REAL *restrict a, ptrdiff_t n_in, ptrdiff_t n_out)          \
    {                                                                                              \
        ptrdiff_t i = 0;                                                                           \
        for (; i + 4 <= n_in; i += 4, W += 4 * n_out) {                                            \
            const REAL *W1 = W + n_out, *W2 = W1 + n_out, *W3 = W2 + n_out;                        \
            const REAL x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];                     \
            NN_SIMD for (ptrdiff_t j = 0; j < n_out; j++)                                          \
                a[j] += (x0 * W[j] + x1 * W1[j]) + (x2 * W2[j] + x3 * W3[j]);                      \
        }                                                                                          \
        for (; i < n_in; i++, W += n_out) {                                                        \
            NN_SIMD for (ptrdiff_t j = 0; j < n_out; j++) a[j] += x[i] * W[j];                     \
        }                                                                                          \
    }                                                                                              \
    /* the same, the sums of blocks of rows added in double; n_out < NN_SUMMED_COLUMNS */          \
    static inline void nn_vecmat_##S(const REAL *restrict x, const REAL *restrict W,               \
                                     REAL *restrict a, ptrdiff_t n_in, ptrdiff_t n_out)            \
    {                                                                                              \
        if (n_in <= NN_SUMMED) {                                                                   \
            nn_vecmat_block_##S(x, W, a, n_in, n_out);                                             \
            return;                                                                                \
        }                                                                                          \
        double total[NN_SUMMED_COLUMNS] = {0};                                                     \
        for (ptrdiff_t i = 0; i < n_in; i += NN_SUMMED_ROWS) {                                     \
            REAL sum[NN_SUMMED_COLUMNS] = {0};                                                     \
            nn_vecmat_block_##S(x + i, W + i * n_out, sum,                                         \
                                n_in - i < NN_SUMMED_ROWS ? n_in - i : NN_SUMMED_ROWS, n_out);     \
            for (ptrdiff_t j = 0; j < n_out; j++) total[j] += sum[j];                              \
        }                                                                                          \
        for (ptrdiff_t j = 0; j < n_out; j++) a[j] = (REAL)(a[j] + total[j]);                      \
    }                                                                                              \
    /* y += the sum of n_rows rows of x, ld apart, each times its row of w if products; four a pass as above */ \
    NN_INLINE void nn_add_block_##S(const int products, const REAL *restrict x, const REAL *restrict w, ptrdiff_t ld, \
                                    REAL *restrict y, ptrdiff_t n_rows, ptrdiff_t n)               \
    {                                                                                              \
        ptrdiff_t i = 0;                                                                           \
        for (; i + 4 <= n_rows; i += 4, x += 4 * ld, w += 4 * ld) {                                \
            if (products)                                                                          \
                NN_SIMD for (ptrdiff_t j = 0; j < n; j++)                                          \
                    y[j] += (x[j] * w[j] + x[ld + j] * w[ld + j])                                  \
                            + (x[2 * ld + j] * w[2 * ld + j] + x[3 * ld + j] * w[3 * ld + j]);     \
            else                                                                                   \
                NN_SIMD for (ptrdiff_t j = 0; j < n; j++)                                          \
                    y[j] += (x[j] + x[ld + j]) + (x[2 * ld + j] + x[3 * ld + j]);                  \
        }                                                                                          \
        for (; i < n_rows; i++, x += ld, w += ld) {                                                \
            NN_SIMD for (ptrdiff_t j = 0; j < n; j++) y[j] += products ? x[j] * w[j] : x[j];       \
        }                                                                                          \
    }                                                                                              \
    /* the same of any number of rows, in blocks whose sums are added in double */                 \
    NN_INLINE void nn_add_long_##S(const int products, const REAL *restrict x, const REAL *restrict w, \
                                   REAL *restrict y, ptrdiff_t n_rows, ptrdiff_t n)                \
    {                                                                                              \
        if (n_rows <= NN_SUMMED_ROWS) {                                                            \
            nn_add_block_##S(products, x, w, n, y, n_rows, n);                                     \
            return;                                                                                \
        }                                                                                          \
        for (ptrdiff_t begin = 0; begin < n; begin += NN_SUMMED_COLUMNS) {                         \
            const ptrdiff_t width = n - begin < NN_SUMMED_COLUMNS ? n - begin : NN_SUMMED_COLUMNS; \
            double total[NN_SUMMED_COLUMNS] = {0};                                                 \
            for (ptrdiff_t i = 0; i < n_rows; i += NN_SUMMED_ROWS) {                               \
                const ptrdiff_t at = i * n + begin;                                                \
                REAL sum[NN_SUMMED_COLUMNS] = {0};                                                 \
                nn_add_block_##S(products, x + at, w + at, n, sum,                                 \
                                 n_rows - i < NN_SUMMED_ROWS ? n_rows - i : NN_SUMMED_ROWS, width); \
                for (ptrdiff_t j = 0; j < width; j++) total[j] += sum[j];                          \
            }                                                                                      \
            for (ptrdiff_t j = 0; j < width; j++) y[begin + j] = (REAL)(y[begin + j] + total[j]);  \
        }                                                                                          \
    }                                                                                              \
    static inline void nn_add_rows_##S(const REAL *x, REAL *y, ptrdiff_t n_rows, ptrdiff_t n)      \
    {                                                                                              \
        nn_add_long_##S(0, x, x, y, n_rows, n);                                                    \
    }                                                                                              \
    static inline void nn_add_products_##S(const REAL *x, const REAL *w, REAL *y, ptrdiff_t n_rows, ptrdiff_t n) \
    {                                                                                              \
        nn_add_long_##S(1, x, w, y, n_rows, n);                                                    \
    }                                                                                              \
    /* y = beta * y + alpha * x, beta 0 or 1 */                                                    \
    static inline void nn_axpby_##S(REAL alpha, const REAL *restrict x, int beta,                  \
                                    REAL *restrict y, ptrdiff_t n)                                 \
    {                                                                                              \
        if (beta) {                                                                                \
            NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] += alpha * x[i];                        \
        } else {                                                                                   \
            NN_SIMD for (ptrdiff_t i = 0; i < n; i++) y[i] = alpha * x[i];                         \
        }                                                                                          \
    }

NN_DEFINE_VMATH(float, f32, copysignf, fabsf)
NN_DEFINE_VMATH(double, f64, copysign, fabs)

#endif
