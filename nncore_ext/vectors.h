/* Vector types as wide as the machine's registers and narrower, of GCC and clang; other compilers have plain loops. */
#ifndef NNCORE_VECTORS_H
#define NNCORE_VECTORS_H

#include <stddef.h>

/* Bytes of a register */
#if defined(__AVX512F__)
#define NN_VECTOR 64
#elif defined(__AVX__)
#define NN_VECTOR 32
#else
#define NN_VECTOR 16
#endif

#if defined(__GNUC__)

#define NN_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define NN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NN_UNROLL _Pragma("GCC unroll 8")
#endif
/* Unrolled: i = 0, ..., n - 1, where n <= most is a constant once inlined and most is one before: clang kept vectors in
 * memory without it, 54 to 19 GFLOP/s. */
#define NN_EACH(i, n, most) NN_UNROLL for (int i = 0; i < (most); i++) if (i < (n))

#define NN_VECTOR_TYPE(REAL, S, LANES) \
    typedef REAL nn_##S##x##LANES __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define NN_VECTOR_TYPES(REAL, S)                                                                   \
    NN_VECTOR_TYPE(REAL, S, 16)                                                                    \
    NN_VECTOR_TYPE(REAL, S, 8)                                                                     \
    NN_VECTOR_TYPE(REAL, S, 4)                                                                     \
    NN_VECTOR_TYPE(REAL, S, 2)                                                                     \
    typedef REAL nn_##S##x1; /* a vector of one is kept in memory: twice the time for 17 columns */

NN_VECTOR_TYPES(float, f32)
NN_VECTOR_TYPES(double, f64)

#endif
#endif
