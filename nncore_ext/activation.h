/* Activations beyond those of vmath.h, branch-free, in place: z = f(z). Where the derivative cannot be written from the
 * output it goes to slope, unless that is NULL.
 *
 * Source of the formulas: ELU, Clevert, Unterthiner, Hochreiter (2015); GELU, Hendrycks, Gimpel (2016); SiLU, Elfwing,
 * Uchibe, Doya (2017).
 */
#ifndef NNCORE_ACTIVATION_H
#define NNCORE_ACTIVATION_H

#include "vmath.h"

/* Klambauer, Unterthiner, Mayr, Hochreiter, Self-normalizing neural networks (2017) */
#define NN_SELU_SCALE 1.0507009873554804934193349852946
#define NN_SELU_ALPHA 1.6732632423543772848170429916717

#define NN_DEFINE_ACTIVATION(REAL, S, FABS)                                                        \
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
    /* a sigmoid(a); the derivative is s (1 + a (1 - s)) */                                        \
    static inline void nn_silu_##S(REAL *z, REAL *slope, ptrdiff_t n)                              \
    {                                                                                              \
        if (slope) {                                                                               \
            NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                            \
                const REAL s = nn_sigmoid1_##S(z[i]);                                              \
                slope[i] = s * (1 + z[i] * nn_sigmoid1_##S(-z[i]));                                \
            }                                                                                      \
        }                                                                                          \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) z[i] *= nn_sigmoid1_##S(z[i]);                   \
    }                                                                                              \
    /* a P(a), P the normal distribution function, by the C library: exact in the tails too; the derivative is \
     * P(a) + a p(a) */                                                                            \
    static inline void nn_gelu_##S(REAL *z, REAL *slope, ptrdiff_t n)                              \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const double a = z[i], below = 0.5 * erfc(-0.70710678118654752 * a);                   \
            if (slope) slope[i] = (REAL)(below + a * 0.39894228040143268 * nn_exp1_f64(-0.5 * a * a)); \
            z[i] = (REAL)(a * below);                                                              \
        }                                                                                          \
    }

NN_DEFINE_ACTIVATION(float, f32, fabsf)
NN_DEFINE_ACTIVATION(double, f64, fabs)

#endif
