/* Numbers of a data set converted to a network's float type, times a scale, and a look ahead at them. */
#ifndef NNCORE_ROWS_H
#define NNCORE_ROWS_H

#include <stddef.h>
#include <string.h>

enum { NN_FLOAT32, NN_FLOAT64, NN_UINT8 };

/* Sixteen at a time: compilers take 64 bytes of the narrower type otherwise, and short rows go one by one */
#define NN_CONVERT(FROM, TO, from, scale, to, n)                                                   \
    do {                                                                                           \
        ptrdiff_t i = 0;                                                                           \
        for (; i + 16 <= (n); i += 16)                                                             \
            for (int k = 0; k < 16; k++) (to)[i + k] = (TO)((const FROM *)(from))[i + k] * (scale); \
        for (; i < (n); i++) (to)[i] = (TO)((const FROM *)(from))[i] * (scale);                    \
    } while (0)

#define NN_DEFINE_CONVERT(REAL, S)                                                                 \
    static inline void nn_convert_##S(const void *restrict from, int element, REAL scale, REAL *restrict to, \
                                      ptrdiff_t n)                                                 \
    {                                                                                              \
        switch (element) {                                                                         \
        case NN_FLOAT32: NN_CONVERT(float, REAL, from, scale, to, n); break;                       \
        case NN_FLOAT64: NN_CONVERT(double, REAL, from, scale, to, n); break;                      \
        default: NN_CONVERT(unsigned char, REAL, from, scale, to, n);                              \
        }                                                                                          \
    }

NN_DEFINE_CONVERT(float, f32)
NN_DEFINE_CONVERT(double, f64)

/* Columns as int; they are int if wide, else unsigned short */
static inline void nn_columns(const void *restrict from, int wide, int *restrict to, ptrdiff_t n)
{
    if (wide)
        memcpy(to, from, n * sizeof(int));
    else
        NN_CONVERT(unsigned short, int, from, 1, to, n);
}

#if defined(__GNUC__)
static inline void nn_prefetch(const char *start, ptrdiff_t n)
{
    __asm__ volatile(""); /* a function that does nothing but prefetch counts as pure, and its calls are dropped */
    for (ptrdiff_t i = 0; i < n; i += 64) __builtin_prefetch(start + i);
}
#else
static void nn_prefetch(const char *start, ptrdiff_t n) {}
#endif

#endif
