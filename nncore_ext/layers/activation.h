/* Activations beyond those of vmath.h, branch-free, in place: z = f(z). Where the derivative cannot be written from the
 * output it goes to slope, unless that is NULL.
 *
 * Values keep to 4 ulp over the whole range, down to the smallest normal numbers. So do the derivatives of gelu and
 * silu, but for -1.8 < a < -0.2, around their roots (mish: from -2.5 on): 4 ulp of sigmoid(a). Those written from a
 * rounded output have its error. At infinity all have their limits. tests/test_precision.py holds this.
 *
 * Source of the formulas: ELU, Clevert, Unterthiner, Hochreiter (2015); GELU, Hendrycks, Gimpel (2016); SiLU, Elfwing,
 * Uchibe, Doya (2017); Mish, Misra (2019); softsign, Bergstra et al. (2009).
 */
#ifndef NNCORE_ACTIVATION_H
#define NNCORE_ACTIVATION_H

#include "arithmetic/vmath.h"

/* Klambauer, Unterthiner, Mayr, Hochreiter, Self-normalizing neural networks (2017) */
#define NN_SELU_SCALE 1.0507009873554804934193349852946
#define NN_SELU_ALPHA 1.6732632423543772848170429916717

/* e^(x^2) erfc(x) at x = a / sqrt(2), a >= 0: (1 + 2x) times that is a polynomial in t = (x - k) / (x + k), smooth up
 * to x = inf: Shepherd and Laframboise (1981). Coefficients from 200 Chebyshev nodes in 60 digits; truncation 4e-18 and
 * 4e-9. Written in a, as x would carry a rounding of its own. */
NN_INLINE double nn_scaled_erfc_f64(double a)
{
    const double t = 2 * a / (a + 5.3033008588991066) - 1; /* exact to rounding near a = 0 */
    double p = 4.25147144479638978e-10;
    p = p * t + 3.1114333809799252e-10;
    p = p * t - 5.17399021401130963e-9;
    p = p * t - 3.74421008096201864e-9;
    p = p * t + 3.86753342422223568e-8;
    p = p * t + 2.32635087088591237e-8;
    p = p * t - 2.58668507161558854e-7;
    p = p * t - 5.72182306032240875e-8;
    p = p * t + 1.75163764884906214e-6;
    p = p * t - 9.73559896736774934e-7;
    p = p * t - 0.0000114441462377005234;
    p = p * t + 0.0000223842391550822298;
    p = p * t + 0.0000516490988926824034;
    p = p * t - 0.000290154080540841711;
    p = p * t + 0.00029371366559134482;
    p = p * t + 0.00175562585289529536;
    p = p * t - 0.00974657955802927553;
    p = p * t + 0.0283622774189564043;
    p = p * t - 0.0586933985896367741;
    p = p * t + 0.0923043211603774778;
    p = p * t - 0.108803930141748857;
    p = p * t + 0.0822767384901452077;
    p = p * t + 0.00358541548546442937;
    p = p * t - 0.140240598585546962;
    p = p * t + 1.23751263083782758;
    return p / (1 + a * 1.4142135623730951);
}

NN_INLINE float nn_scaled_erfc_f32(float a)
{
    const float t = 2 * a / (a + 2.828427125f) - 1;
    float p = -2.025598963e-5f;
    p = p * t + 6.336945838e-5f;
    p = p * t + 0.0002215715506f;
    p = p * t - 0.0003579204478f;
    p = p * t - 0.001464070911f;
    p = p * t + 0.001217410592f;
    p = p * t + 0.00872460764f;
    p = p * t - 0.008018963079f;
    p = p * t - 0.05422026662f;
    p = p * t + 0.1640494541f;
    p = p * t - 0.1660303835f;
    p = p * t - 0.09276376277f;
    p = p * t + 1.276978381f;
    return p / (1 + a * 1.414213562f);
}

/* x * x - square, what rounding has taken from square = x * x; without FMA by halves of the digits (Dekker, 1971): a
 * third more time for gelu. */
#ifdef __FMA__
NN_INLINE double nn_square_error_f64(double x, double square) { return __builtin_fma(x, x, -square); }
NN_INLINE float nn_square_error_f32(float x, float square) { return __builtin_fmaf(x, x, -square); }
#else
NN_INLINE double nn_square_error_f64(double x, double square)
{
    uint64_t bits;
    double upper;
    memcpy(&bits, &x, sizeof bits);
    bits &= ~(uint64_t)0x7ffffff;
    memcpy(&upper, &bits, sizeof upper);
    const double lower = x - upper;
    return ((upper * upper - square) + 2 * upper * lower) + lower * lower;
}

NN_INLINE float nn_square_error_f32(float x, float square)
{
    uint32_t bits;
    float upper;
    memcpy(&bits, &x, sizeof bits);
    bits &= ~(uint32_t)0xfff;
    memcpy(&upper, &bits, sizeof upper);
    const float lower = x - upper;
    return ((upper * upper - square) + 2 * upper * lower) + lower * lower;
}
#endif

/* Beyond these what is left of the tails of gelu and silu is 0. */
#define NN_FAR_f64 1000.0
#define NN_FAR_f32 150.0f

/* A softmax over so few columns runs down them, this many rows side by side. */
#define NN_SOFTMAX_COLUMNS 32
#define NN_SOFTMAX_ROWS 16

/* Beyond it a / (1 + |a|) rounds to 1 or -1. */
#define NN_SOFTSIGN_IS_1 0x1p60f

#define NN_DEFINE_ACTIVATION(REAL, S, FABS, COPYSIGN)                                              \
    /* 2^NN_RAISED e^(-a^2/2): the rounding of a^2 alone would be an error of a^2 / 2 ulp in it */ \
    NN_INLINE REAL nn_raised_density_##S(REAL a)                                                   \
    {                                                                                              \
        const REAL square = a * a;                                                                 \
        return nn_raised_exp1_##S(square * (REAL)-0.5, nn_square_error_##S(a, square) * (REAL)0.5); \
    }                                                                                              \
    /* a, which must not be infinite where it is multiplied by 0 */                                \
    NN_INLINE REAL nn_bounded_##S(REAL a)                                                          \
    {                                                                                              \
        return a < -NN_FAR_##S ? -NN_FAR_##S : a > NN_FAR_##S ? NN_FAR_##S : a;                    \
    }                                                                                              \
    /* scale * a, for negative a scale * alpha * (e^a - 1) */                                      \
    static inline void nn_elu_##S(REAL *z, REAL scale, REAL alpha, ptrdiff_t n)                    \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++)                                                  \
            z[i] = scale * (z[i] < 0 ? alpha * nn_expm11_##S(z[i]) : z[i]);                        \
    }                                                                                              \
    /* log(1 + e^a) */                                                                             \
    static inline void nn_softplus_##S(REAL *z, ptrdiff_t n)                                       \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++)                                                  \
            z[i] = (z[i] < 0 ? 0 : z[i]) + nn_log1p1_##S(nn_exp1_##S(-FABS(z[i])));                \
    }                                                                                              \
    /* da * (1 - e^-z), which is da * sigmoid(a) */                                                \
    static inline void nn_softplus_backward_##S(const REAL *z, REAL *da, ptrdiff_t n)              \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) da[i] *= -nn_expm11_##S(-z[i]);                  \
    }                                                                                              \
    /* a sigmoid(a) and, unless slope is NULL, the derivative s + a s (1 - s); with e = e^-|a| neither overflows, and \
     * both keep their relative precision for negative a. Both may be multiplied by 2^NN_RAISED until the end. */ \
    static inline void nn_silu_##S(REAL *restrict z, REAL *restrict slope, ptrdiff_t n)            \
    {                                                                                              \
        const REAL whole = (REAL)(1ull << NN_RAISED), unit = 1 / whole;                            \
        if (slope) {                                                                               \
            NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                            \
                const REAL a = nn_bounded_##S(z[i]), raised = nn_raised_exp1_##S(-FABS(a), 0), e = raised * unit; \
                const REAL s = (a < 0 ? raised : whole) / (1 + e), rest = (a < 0 ? 1 : e) / (1 + e); \
                slope[i] = s * (1 + a * rest) * unit;                                              \
            }                                                                                      \
        }                                                                                          \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                                \
            const REAL a = nn_bounded_##S(z[i]), raised = nn_raised_exp1_##S(-FABS(a), 0), e = raised * unit; \
            z[i] = a < 0 ? a * (raised / (1 + e)) * unit : z[i] / (1 + e);                         \
        }                                                                                          \
    }                                                                                              \
    /* a tanh(log(1 + e^a)), which is a e (e + 2) / D with e = e^a, D = e^2 + 2e + 2, and for a >= 0 the same divided by \
     * e^2a; and, unless slope is NULL, the derivative e (4 (1 + a) + e (6 + 4a) + 4 e^2 + e^3) / D^2. Products are written \
     * out where that leaves fewer roundings: 3 instead of 5 ulp. */                               \
    static inline void nn_mish_##S(REAL *restrict z, REAL *restrict slope, ptrdiff_t n)            \
    {                                                                                              \
        const REAL unit = 1 / (REAL)(1ull << NN_RAISED);                                           \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                                \
            const REAL a = nn_bounded_##S(z[i]), raised = nn_raised_exp1_##S(-FABS(a), 0), e = raised * unit; \
            const REAL left = 2 + e * (2 + e), right = 1 + 2 * e * (1 + e);                        \
            if (slope)                                                                             \
                slope[i] = a < 0 ? raised * (4 * (1 + a) + e * (6 + 4 * a + e * (4 + e)))           \
                                       / (4 + e * (8 + e * (8 + e * (4 + e)))) * unit              \
                                 : (1 + 2 * e) / right + 4 * a * e * e * (1 + e) / (right * right); \
            z[i] = a < 0 ? a * (raised * (1 - e * (1 + e) / left)) * unit : z[i] * ((1 + 2 * e) / right); \
        }                                                                                          \
    }                                                                                              \
    /* a / (1 + |a|), whose limit at infinity is 1 */                                              \
    static inline void nn_softsign_##S(REAL *z, ptrdiff_t n)                                       \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                                \
            const REAL size = FABS(z[i]);                                                          \
            z[i] = size > NN_SOFTSIGN_IS_1 ? COPYSIGN(1, z[i]) : z[i] / (1 + size);                \
        }                                                                                          \
    }                                                                                              \
    /* a P(a), P the normal distribution function, whose tail keeps its relative precision; the derivative is \
     * P(a) + a p(a). 1.0 and 2.8 ns an element on a Zen 5 core, 15 with the erfc of the C library. */ \
    static inline void nn_gelu_##S(REAL *restrict z, REAL *restrict slope, ptrdiff_t n)            \
    {                                                                                              \
        const REAL unit = 1 / (REAL)(1ull << NN_RAISED);                                           \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                                \
            const REAL a = nn_bounded_##S(z[i]), density = nn_raised_density_##S(a);               \
            const REAL tail = (REAL)0.5 * density * nn_scaled_erfc_##S(FABS(a));                   \
            if (slope) {                                                                           \
                const REAL moved = a * density * (REAL)0.39894228040143268;                        \
                slope[i] = a < 0 ? (tail + moved) * unit : 1 - (tail - moved) * unit;              \
            }                                                                                      \
            z[i] = a < 0 ? a * tail * unit : z[i] * (1 - tail * unit);                             \
        }                                                                                          \
    }                                                                                              \
    /* y = softmax of each of m rows of n <= NN_SOFTMAX_COLUMNS numbers; tops (m,) the largest of each and log_sums \
     * (m,) = log(sum(exp(a - top))), unless NULL; y may be a. A row of ten does not fill vectors, and its maximum and \
     * sum are chains: with the loss 88 to 38 ns a row of float64. */                              \
    static inline void nn_softmax_##S(const REAL *a, REAL *y, double *tops, double *log_sums, ptrdiff_t m, \
                                      ptrdiff_t n)                                                 \
    {                                                                                              \
        REAL e[NN_SOFTMAX_COLUMNS][NN_SOFTMAX_ROWS] = {{0}};                                       \
        for (; m > 0; m -= NN_SOFTMAX_ROWS, a += NN_SOFTMAX_ROWS * n, y += NN_SOFTMAX_ROWS * n) {  \
            const ptrdiff_t rows = m < NN_SOFTMAX_ROWS ? m : NN_SOFTMAX_ROWS;                      \
            REAL top[NN_SOFTMAX_ROWS], sum[NN_SOFTMAX_ROWS] = {0};                                 \
            for (ptrdiff_t s = 0; s < rows; s++)                                                   \
                for (ptrdiff_t k = 0; k < n; k++) e[k][s] = a[s * n + k];                          \
            memcpy(top, e[0], sizeof top);                                                         \
            for (ptrdiff_t k = 1; k < n; k++)                                                      \
                NN_SIMD for (int s = 0; s < NN_SOFTMAX_ROWS; s++) top[s] = e[k][s] > top[s] ? e[k][s] : top[s]; \
            for (ptrdiff_t k = 0; k < n; k++)                                                      \
                NN_SIMD for (int s = 0; s < NN_SOFTMAX_ROWS; s++) sum[s] += e[k][s] = nn_exp1_##S(e[k][s] - top[s]); \
            for (ptrdiff_t k = 0; k < n; k++)                                                      \
                NN_SIMD for (int s = 0; s < NN_SOFTMAX_ROWS; s++) e[k][s] /= sum[s];               \
            for (ptrdiff_t s = 0; s < rows; s++)                                                   \
                for (ptrdiff_t k = 0; k < n; k++) y[s * n + k] = e[k][s];                          \
            if (log_sums) {                                                                        \
                double logs[NN_SOFTMAX_ROWS];                                                      \
                NN_SIMD for (int s = 0; s < NN_SOFTMAX_ROWS; s++) logs[s] = nn_log1_f64((double)sum[s]); \
                memcpy(log_sums, logs, rows * sizeof(double));                                     \
                for (ptrdiff_t s = 0; s < rows; s++) tops[s] = top[s];                             \
                tops += NN_SOFTMAX_ROWS, log_sums += NN_SOFTMAX_ROWS;                              \
            }                                                                                      \
        }                                                                                          \
    }

NN_DEFINE_ACTIVATION(float, f32, fabsf, copysignf)
NN_DEFINE_ACTIVATION(double, f64, fabs, copysign)

#endif
