/* Dropout by a counter: whether output i of a layer is dropped depends on a key and i alone, not on what was drawn
 * before, so that a mask can be had twice, in blocks by any number of threads, and after a resumed run.
 *
 * Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), inverted: what stays is scaled up. The bits
 * are those of the counter after two rounds of multiply and shift, whose constants are Wellons's (lowbias32, 2018).
 */
#ifndef NNCORE_DROPOUT_H
#define NNCORE_DROPOUT_H

#include <stdint.h>

#include "arithmetic/vectors.h"

static inline uint32_t nn_mixed(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* 32 bits for counter i: the halves of the key come in before and between the rounds */
static inline uint32_t nn_random_bits(uint64_t key, uint32_t i)
{
    return nn_mixed(nn_mixed(i + (uint32_t)key) ^ (uint32_t)(key >> 32));
}

/* The key of a part from that of a whole (Steele, Lea, Flood, SplitMix64, 2014); never 0 */
static inline uint64_t nn_key(uint64_t key, uint64_t part)
{
    uint64_t x = key + (part + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x ? x : 1;
}

#define NN_DEFINE_DROPOUT(REAL, S)                                                                 \
    static inline void nn_drop_##S(REAL *z, uint32_t below, REAL scale, uint64_t key, ptrdiff_t first, ptrdiff_t n) \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++)                                                  \
            z[i] = nn_random_bits(key, (uint32_t)(first + i)) < below ? 0 : z[i] * scale;          \
    }                                                                                              \
    static inline void nn_drop_backward_##S(REAL *restrict z, REAL *restrict da, uint32_t below, REAL scale, \
                                            uint64_t key, ptrdiff_t first, ptrdiff_t n)            \
    {                                                                                              \
        NN_SIMD for (ptrdiff_t i = 0; i < n; i++) {                                                \
            da[i] = nn_random_bits(key, (uint32_t)(first + i)) < below ? 0 : da[i] * scale;        \
            z[i] /= scale;                                                                         \
        }                                                                                          \
    }

NN_DEFINE_DROPOUT(float, f32)
NN_DEFINE_DROPOUT(double, f64)

#endif
