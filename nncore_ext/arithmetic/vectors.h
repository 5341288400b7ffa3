/* What loops over vectors share: pragmas and, of GCC and clang, vector types as wide as the machine's registers and
 * narrower; other compilers have plain loops. */
#ifndef NNCORE_VECTORS_H
#define NNCORE_VECTORS_H

#include <stddef.h>

/* "omp simd" promises that the iterations are independent: true where input and output are the same array as well, for
 * which the compiler's own alias test would fall back to scalar code. */
#define NN_SIMD _Pragma("omp simd")

/* A call that the compiler does not inline, as the function around it has grown, keeps a loop from becoming vector
 * code: gelu in float64 took 18 times as long. */
#if defined(__GNUC__)
#define NN_INLINE static inline __attribute__((always_inline))
#else
#define NN_INLINE static inline
#endif

/* Bytes of a register */
#if defined(__AVX512F__)
#define NN_VECTOR 64
#elif defined(__AVX__)
#define NN_VECTOR 32
#else
#define NN_VECTOR 16
#endif

#if defined(__GNUC__)

#if defined(__clang__)
#define NN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NN_UNROLL _Pragma("GCC unroll 8")
#endif
/* Unrolled: i = 0, ..., n - 1, where n <= most is a constant once inlined and most is one before: clang kept vectors in
 * memory without it, 54 to 19 GFLOP/s. */
#define NN_EACH(i, n, most) NN_UNROLL for (int i = 0; i < (most); i++) if (i < (n))

#define NN_VECTOR_TYPE(REAL, S, LANES)                                                             \
    typedef REAL nn_##S##x##LANES __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define NN_VECTOR_TYPES(REAL, S)                                                                   \
    NN_VECTOR_TYPE(REAL, S, 16)                                                                    \
    NN_VECTOR_TYPE(REAL, S, 8)                                                                     \
    NN_VECTOR_TYPE(REAL, S, 4)                                                                     \
    NN_VECTOR_TYPE(REAL, S, 2)                                                                     \
    typedef REAL nn_##S##x1; /* a vector of one is kept in memory: twice the time for 17 columns */

NN_VECTOR_TYPES(float, f32)
NN_VECTOR_TYPES(double, f64)

/* DEFINE for every width, down to plain numbers */
#define NN_ALL_WIDTHS(DEFINE, REAL, S)                                                             \
    DEFINE(REAL, S, 16)                                                                            \
    DEFINE(REAL, S, 8)                                                                             \
    DEFINE(REAL, S, 4)                                                                             \
    DEFINE(REAL, S, 2)                                                                             \
    DEFINE(REAL, S, 1)

/* The sum of a vector's elements, by halves; by address, as vectors wider than the machine's cannot be passed */
#define NN_DEFINE_SUM(REAL, S, LANES, HALF)                                                        \
    NN_INLINE REAL nn_sum_##S##x##LANES(const nn_##S##x##LANES *x)                                 \
    {                                                                                              \
        const nn_##S##x##HALF *halves = (const nn_##S##x##HALF *)x, sum = halves[0] + halves[1];   \
        return nn_sum_##S##x##HALF(&sum);                                                          \
    }
#define NN_DEFINE_SUMS(REAL, S)                                                                    \
    NN_INLINE REAL nn_sum_##S##x1(const REAL *x) { return *x; }                                    \
    NN_DEFINE_SUM(REAL, S, 2, 1)                                                                   \
    NN_DEFINE_SUM(REAL, S, 4, 2)                                                                   \
    NN_DEFINE_SUM(REAL, S, 8, 4)                                                                   \
    NN_DEFINE_SUM(REAL, S, 16, 8)

NN_DEFINE_SUMS(float, f32)
NN_DEFINE_SUMS(double, f64)

#endif
#endif
