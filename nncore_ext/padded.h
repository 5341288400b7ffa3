/* One row times a matrix whose rows are padded to whole vectors, and the update of such a matrix; the row may be given
 * by its non-zeros.
 *
 * W (n, ld) starts at a whole vector and ld is a multiple of NN_VECTOR bytes: no element is left over, and no load
 * crosses a cache line. Up to eight vectors of a row of W stay in registers. Only nn_row takes other matrices as well,
 * at least a vector wide: its last vector then begins within the one before.
 */
#ifndef NNCORE_PADDED_H
#define NNCORE_PADDED_H

#include "vectors.h"

#if defined(__GNUC__)

/* a = start + x @ W in `vectors` vectors of columns, of which the last begins at `last`; `sets` sums side by side hide the latency of an addition */
#define NN_DEFINE_PADDED(REAL, S, LANES)                                                           \
    NN_INLINE void nn_row_tile_##S(const int vectors, const ptrdiff_t last, const int sets, const REAL *x, ptrdiff_t n, \
                                   const REAL *W, ptrdiff_t ld, const REAL *start, REAL *a)        \
    {                                                                                              \
        const ptrdiff_t at[4] = {0, vectors == 2 ? last : LANES, vectors == 3 ? last : 2 * LANES, last}; \
        nn_##S##x##LANES sum[4][4];                                                                \
        ptrdiff_t i = 0;                                                                           \
        NN_EACH(s, sets, 4)                                                                        \
            NN_EACH(v, vectors, 4)                                                                 \
                sum[s][v] = start && s == 0 ? *(const nn_##S##x##LANES *)(start + at[v]) : (nn_##S##x##LANES){0}; \
        for (; i + sets <= n; i += sets, W += sets * ld)                                           \
            NN_EACH(s, sets, 4)                                                                    \
                NN_EACH(v, vectors, 4)                                                             \
                    sum[s][v] += x[i + s] * *(const nn_##S##x##LANES *)(W + s * ld + at[v]);       \
        for (; i < n; i++, W += ld)                                                                \
            NN_EACH(v, vectors, 4)                                                                 \
                sum[0][v] += x[i] * *(const nn_##S##x##LANES *)(W + at[v]);                        \
        NN_UNROLL for (int s = 1; s < 4; s++) if (s < sets)                                        \
            NN_EACH(v, vectors, 4) sum[0][v] += sum[s][v];                                         \
        NN_EACH(v, vectors, 4) *(nn_##S##x##LANES *)(a + at[v]) = sum[0][v];                       \
    }                                                                                              \
    NN_INLINE void nn_outer_tile_##S(const int vectors, const REAL *x, ptrdiff_t n, const REAL *y, REAL *W, \
                                     ptrdiff_t ld)                                                 \
    {                                                                                              \
        nn_##S##x##LANES row[4];                                                                   \
        NN_EACH(v, vectors, 4) row[v] = *(const nn_##S##x##LANES *)(y + v * LANES);                \
        for (ptrdiff_t i = 0; i < n; i++, W += ld)                                                 \
            NN_EACH(v, vectors, 4) *(nn_##S##x##LANES *)(W + v * LANES) += x[i] * row[v];          \
    }                                                                                              \
    /* a = sum over k < n of value[k] * W[index[k]] */                                             \
    NN_INLINE void nn_gather_tile_##S(const int vectors, const int sets, const REAL *value, const int *index, ptrdiff_t n, \
                                      const REAL *W, ptrdiff_t ld, REAL *a)                        \
    {                                                                                              \
        nn_##S##x##LANES sum[2][8] = {{{0}}};                                                      \
        ptrdiff_t k = 0;                                                                           \
        for (; k + sets <= n; k += sets)                                                           \
            NN_EACH(s, sets, 2)                                                                    \
                NN_EACH(v, vectors, 8)                                                             \
                    sum[s][v] += value[k + s] * *(const nn_##S##x##LANES *)(W + index[k + s] * ld + v * LANES); \
        for (; k < n; k++)                                                                         \
            NN_EACH(v, vectors, 8)                                                                 \
                sum[0][v] += value[k] * *(const nn_##S##x##LANES *)(W + index[k] * ld + v * LANES); \
        NN_UNROLL for (int s = 1; s < 2; s++) if (s < sets)                                        \
            NN_EACH(v, vectors, 8) sum[0][v] += sum[s][v];                                         \
        NN_EACH(v, vectors, 8) *(nn_##S##x##LANES *)(a + v * LANES) = sum[0][v];                   \
    }                                                                                              \
    NN_INLINE void nn_scatter_tile_##S(const int vectors, const REAL *value, const int *index, ptrdiff_t n, \
                                       const REAL *y, REAL *W, ptrdiff_t ld)                       \
    {                                                                                              \
        nn_##S##x##LANES row[8];                                                                   \
        NN_EACH(v, vectors, 8) row[v] = *(const nn_##S##x##LANES *)(y + v * LANES);                \
        for (ptrdiff_t k = 0; k < n; k++) {                                                        \
            REAL *to = W + (ptrdiff_t)index[k] * ld;                                               \
            const REAL x = value[k];                                                               \
            NN_EACH(v, vectors, 8) *(nn_##S##x##LANES *)(to + v * LANES) += x * row[v];            \
        }                                                                                          \
    }                                                                                              \
    static inline void nn_row_##S(const REAL *x, ptrdiff_t n, const REAL *W, ptrdiff_t ld, ptrdiff_t width, \
                                  const REAL *start, REAL *a)                                      \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 4 * LANES <= width; j += 4 * LANES)                                             \
            nn_row_tile_##S(4, 3 * LANES, 2, x, n, W + j, ld, start ? start + j : start, a + j);   \
        const ptrdiff_t last = width - j - LANES;                                                  \
        W += j, a += j, start = start ? start + j : start;                                         \
        switch ((width - j + LANES - 1) / LANES) {                                                 \
        case 4: nn_row_tile_##S(4, last, 2, x, n, W, ld, start, a); break;                         \
        case 3: nn_row_tile_##S(3, last, 2, x, n, W, ld, start, a); break;                         \
        case 2: nn_row_tile_##S(2, last, 4, x, n, W, ld, start, a); break;                         \
        case 1: nn_row_tile_##S(1, last, 4, x, n, W + last, ld, start ? start + last : start, a + last); break; \
        }                                                                                          \
    }                                                                                              \
    static inline void nn_outer_##S(const REAL *x, ptrdiff_t n, const REAL *y, REAL *W, ptrdiff_t ld) \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 4 * LANES <= ld; j += 4 * LANES) nn_outer_tile_##S(4, x, n, y + j, W + j, ld);  \
        switch ((ld - j) / LANES) {                                                                \
        case 3: nn_outer_tile_##S(3, x, n, y + j, W + j, ld); break;                               \
        case 2: nn_outer_tile_##S(2, x, n, y + j, W + j, ld); break;                               \
        case 1: nn_outer_tile_##S(1, x, n, y + j, W + j, ld); break;                               \
        }                                                                                          \
    }                                                                                              \
    static inline void nn_gather_##S(const REAL *value, const int *index, ptrdiff_t n, const REAL *W, ptrdiff_t ld, \
                                     REAL *a)                                                      \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 8 * LANES <= ld; j += 8 * LANES) nn_gather_tile_##S(8, 1, value, index, n, W + j, ld, a + j); \
        for (; j + 4 * LANES <= ld; j += 4 * LANES) nn_gather_tile_##S(4, 2, value, index, n, W + j, ld, a + j); \
        switch ((ld - j) / LANES) {                                                                \
        case 3: nn_gather_tile_##S(3, 2, value, index, n, W + j, ld, a + j); break;                \
        case 2: nn_gather_tile_##S(2, 2, value, index, n, W + j, ld, a + j); break;                \
        case 1: nn_gather_tile_##S(1, 2, value, index, n, W + j, ld, a + j); break;                \
        }                                                                                          \
    }                                                                                              \
    static inline void nn_scatter_##S(const REAL *value, const int *index, ptrdiff_t n, const REAL *y, REAL *W, \
                                      ptrdiff_t ld)                                                \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 8 * LANES <= ld; j += 8 * LANES) nn_scatter_tile_##S(8, value, index, n, y + j, W + j, ld); \
        for (; j + 4 * LANES <= ld; j += 4 * LANES) nn_scatter_tile_##S(4, value, index, n, y + j, W + j, ld); \
        switch ((ld - j) / LANES) {                                                                \
        case 3: nn_scatter_tile_##S(3, value, index, n, y + j, W + j, ld); break;                  \
        case 2: nn_scatter_tile_##S(2, value, index, n, y + j, W + j, ld); break;                  \
        case 1: nn_scatter_tile_##S(1, value, index, n, y + j, W + j, ld); break;                  \
        }                                                                                          \
    }
#if NN_VECTOR == 64
NN_DEFINE_PADDED(float, f32, 16)
NN_DEFINE_PADDED(double, f64, 8)
#elif NN_VECTOR == 32
NN_DEFINE_PADDED(float, f32, 8)
NN_DEFINE_PADDED(double, f64, 4)
#else
NN_DEFINE_PADDED(float, f32, 4)
NN_DEFINE_PADDED(double, f64, 2)
#endif

#else

#define NN_DEFINE_PADDED(REAL, S)                                                                  \
    static void nn_row_##S(const REAL *x, ptrdiff_t n, const REAL *W, ptrdiff_t ld, ptrdiff_t width, \
                           const REAL *start, REAL *a)                                             \
    {                                                                                              \
        for (ptrdiff_t j = 0; j < width; j++) a[j] = start ? start[j] : 0;                         \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            for (ptrdiff_t j = 0; j < width; j++) a[j] += x[i] * W[i * ld + j];                    \
    }                                                                                              \
    static void nn_outer_##S(const REAL *x, ptrdiff_t n, const REAL *y, REAL *W, ptrdiff_t ld)     \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            for (ptrdiff_t j = 0; j < ld; j++) W[i * ld + j] += x[i] * y[j];                       \
    }                                                                                              \
    static void nn_gather_##S(const REAL *value, const int *index, ptrdiff_t n, const REAL *W, ptrdiff_t ld, \
                              REAL *a)                                                             \
    {                                                                                              \
        for (ptrdiff_t j = 0; j < ld; j++) a[j] = 0;                                               \
        for (ptrdiff_t k = 0; k < n; k++) {                                                        \
            for (ptrdiff_t j = 0; j < ld; j++) a[j] += value[k] * W[(ptrdiff_t)index[k] * ld + j]; \
        }                                                                                          \
    }                                                                                              \
    static void nn_scatter_##S(const REAL *value, const int *index, ptrdiff_t n, const REAL *y, REAL *W, ptrdiff_t ld) \
    {                                                                                              \
        for (ptrdiff_t k = 0; k < n; k++)                                                          \
            for (ptrdiff_t j = 0; j < ld; j++) W[(ptrdiff_t)index[k] * ld + j] += value[k] * y[j]; \
    }
NN_DEFINE_PADDED(float, f32)
NN_DEFINE_PADDED(double, f64)

#endif
#endif
