/* One row times a matrix whose rows are padded to whole vectors, after the update of such a matrix; the row may be
 * given by its non-zeros.
 *
 * W (n, ld) starts at a whole vector and ld is a multiple of NN_VECTOR bytes: no element is left over, and no load
 * crosses a cache line. Up to eight vectors of a row of W stay in registers. Only nn_row takes other matrices as well,
 * at least a vector wide: its last vector then begins within the one before; and nn_dots any.
 */
#ifndef NNCORE_ROWS_TIMES_H
#define NNCORE_ROWS_TIMES_H

#include "arithmetic/vectors.h"

#if defined(__GNUC__)

/* From so many terms on a sum is one, in double, of sums of NN_ROW_TERMS: see NN_SUMMED. */
#define NN_LONG_ROW 513
#define NN_ROW_TERMS 256
/* part, which leaves its sums in `some`, for a long row; n_sums: how many; out: where all end */
#define NN_LONG_SUMS(REAL, LANES, n_sums, n, i, part, out)                                         \
    do {                                                                                           \
        REAL some[8 * LANES];                                                                      \
        double total[8 * LANES] = {0};                                                             \
        for (ptrdiff_t i = 0; i < n; i += NN_ROW_TERMS) {                                          \
            const ptrdiff_t terms = n - i < NN_ROW_TERMS ? n - i : NN_ROW_TERMS;                   \
            part;                                                                                  \
            for (ptrdiff_t j = 0; j < (n_sums); j++) total[j] += some[j];                          \
        }                                                                                          \
        for (ptrdiff_t j = 0; j < (n_sums); j++) (out)[j] = (REAL)total[j];                        \
    } while (0)

/* a = start + x @ W in `vectors` vectors of columns, of which the last begins at `last`; `sets` sums side by side hide
 * the latency of an addition */
#define NN_DEFINE_PADDED(REAL, S, LANES)                                                           \
    NN_INLINE void nn_row_part_##S(const int vectors, const ptrdiff_t last, const int sets, const REAL *x, \
                                   ptrdiff_t n, const REAL *W, ptrdiff_t ld, const REAL *start, REAL *a) \
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
        NN_EACH(s, sets - 1, 3)                                                                    \
            NN_EACH(v, vectors, 4) sum[0][v] += sum[s + 1][v];                                     \
        NN_EACH(v, vectors, 4) *(nn_##S##x##LANES *)(a + at[v]) = sum[0][v];                       \
    }                                                                                              \
    NN_INLINE void nn_row_tile_##S(const int vectors, const ptrdiff_t last, const int sets, const REAL *x, \
                                   ptrdiff_t n, const REAL *W, ptrdiff_t ld, const REAL *start, REAL *a) \
    {                                                                                              \
        if (n < NN_LONG_ROW)                                                                       \
            nn_row_part_##S(vectors, last, sets, x, n, W, ld, start, a);                           \
        else                                                                                       \
            NN_LONG_SUMS(REAL, LANES, vectors == 1 ? LANES : last + LANES, n, i,                   \
                         nn_row_part_##S(vectors, last, sets, x + i, terms, W + i * ld, ld, i ? NULL : start, \
                                         some), a);                                                \
    }                                                                                              \
    /* W += outer(old_x, old_y), then a = start + x @ W */                                         \
    NN_INLINE void nn_moved_row_part_##S(const int vectors, const int sets, const REAL *old_x, \
                                         const REAL *old_y, const REAL *x, ptrdiff_t n, REAL *W, ptrdiff_t ld, \
                                         const REAL *start, REAL *a)                               \
    {                                                                                              \
        nn_##S##x##LANES sum[4][4], y[4];                                                          \
        ptrdiff_t i = 0;                                                                           \
        NN_EACH(v, vectors, 4) y[v] = *(const nn_##S##x##LANES *)(old_y + v * LANES);              \
        NN_EACH(s, sets, 4)                                                                        \
            NN_EACH(v, vectors, 4)                                                                 \
                sum[s][v] = start && s == 0 ? *(const nn_##S##x##LANES *)(start + v * LANES) : (nn_##S##x##LANES){0}; \
        /* each number of x is read before anything is stored, which might change it as far as compilers know */ \
        for (; i + sets <= n; i += sets, W += sets * ld)                                           \
            NN_EACH(s, sets, 4) {                                                                  \
                const REAL was = old_x[i + s], is = x[i + s];                                      \
                NN_EACH(v, vectors, 4)                                                             \
                    sum[s][v] += is * (*(nn_##S##x##LANES *)(W + s * ld + v * LANES) += was * y[v]); \
            }                                                                                      \
        for (; i < n; i++, W += ld) {                                                              \
            const REAL was = old_x[i], is = x[i];                                                  \
            NN_EACH(v, vectors, 4) sum[0][v] += is * (*(nn_##S##x##LANES *)(W + v * LANES) += was * y[v]); \
        }                                                                                          \
        NN_EACH(s, sets - 1, 3)                                                                    \
            NN_EACH(v, vectors, 4) sum[0][v] += sum[s + 1][v];                                     \
        NN_EACH(v, vectors, 4) *(nn_##S##x##LANES *)(a + v * LANES) = sum[0][v];                   \
    }                                                                                              \
    NN_INLINE void nn_moved_row_tile_##S(const int vectors, const int sets, const REAL *old_x, const REAL *old_y, \
                                         const REAL *x, ptrdiff_t n, REAL *W, ptrdiff_t ld, const REAL *start, \
                                         REAL *a)                                                  \
    {                                                                                              \
        if (n < NN_LONG_ROW)                                                                       \
            nn_moved_row_part_##S(vectors, sets, old_x, old_y, x, n, W, ld, start, a);             \
        else                                                                                       \
            NN_LONG_SUMS(REAL, LANES, vectors * LANES, n, i,                                       \
                         nn_moved_row_part_##S(vectors, sets, old_x + i, old_y, x + i, terms, W + i * ld, ld, \
                                               i ? NULL : start, some), a);                        \
    }                                                                                              \
    /* a = sum over k < n of value[k] * W[index[k]] */                                             \
    NN_INLINE void nn_gather_part_##S(const int vectors, const int sets, const REAL *value, const int *index, \
                                      ptrdiff_t n, const REAL *W, ptrdiff_t ld, REAL *a)           \
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
        NN_EACH(s, sets - 1, 1)                                                                    \
            NN_EACH(v, vectors, 8) sum[0][v] += sum[s + 1][v];                                     \
        NN_EACH(v, vectors, 8) *(nn_##S##x##LANES *)(a + v * LANES) = sum[0][v];                   \
    }                                                                                              \
    NN_INLINE void nn_gather_tile_##S(const int vectors, const int sets, const REAL *value, const int *index, \
                                      ptrdiff_t n, const REAL *W, ptrdiff_t ld, REAL *a)           \
    {                                                                                              \
        if (n < NN_LONG_ROW)                                                                       \
            nn_gather_part_##S(vectors, sets, value, index, n, W, ld, a);                          \
        else                                                                                       \
            NN_LONG_SUMS(REAL, LANES, vectors * LANES, n, k,                                       \
                         nn_gather_part_##S(vectors, sets, value + k, index + k, terms, W, ld, some), a); \
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
    static inline void nn_moved_row_##S(const REAL *old_x, const REAL *old_y, const REAL *x, ptrdiff_t n, REAL *W, \
                                        ptrdiff_t ld, const REAL *start, REAL *a)                  \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 4 * LANES <= ld; j += 4 * LANES)                                                \
            nn_moved_row_tile_##S(4, 2, old_x, old_y + j, x, n, W + j, ld, start ? start + j : start, a + j); \
        old_y += j, W += j, a += j, start = start ? start + j : start;                             \
        switch ((ld - j) / LANES) {                                                                \
        case 3: nn_moved_row_tile_##S(3, 2, old_x, old_y, x, n, W, ld, start, a); break;           \
        case 2: nn_moved_row_tile_##S(2, 4, old_x, old_y, x, n, W, ld, start, a); break;           \
        case 1: nn_moved_row_tile_##S(1, 4, old_x, old_y, x, n, W, ld, start, a); break;           \
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
/* a = W @ y for W (n, width) of any width, sums along its rows in vectors of LANES elements: the last one begins within
 * the one before, where `rest` has 0. What compilers make of four such sums in plain C adds their elements one by one:
 * 1.5 to 1.2 us for the gradient of one sample, 2-25-50-25-2. */
#define NN_DEFINE_DOTS(REAL, S, LANES)                                                             \
    NN_INLINE void nn_dots_tile_##S##x##LANES(const int rows, const REAL *W, ptrdiff_t width, const REAL *y, \
                                              const nn_##S##x##LANES *rest, REAL *a)               \
    {                                                                                              \
        nn_##S##x##LANES sum[4];                                                                   \
        NN_EACH(r, rows, 4) sum[r] = *rest * *(const nn_##S##x##LANES *)(W + (r + 1) * width - LANES); \
        double total[4] = {0};                                                                     \
        ptrdiff_t j = 0;                                                                           \
        for (; width - j > LANES * NN_ROW_TERMS + LANES;) {                                        \
            for (const ptrdiff_t stop = j + LANES * NN_ROW_TERMS; j < stop; j += LANES)            \
                NN_EACH(r, rows, 4)                                                                \
                    sum[r] += *(const nn_##S##x##LANES *)(y + j) * *(const nn_##S##x##LANES *)(W + r * width + j); \
            NN_EACH(r, rows, 4) total[r] += nn_sum_##S##x##LANES(&sum[r]), sum[r] = (nn_##S##x##LANES){0}; \
        }                                                                                          \
        for (; j + LANES < width; j += LANES)                                                      \
            NN_EACH(r, rows, 4)                                                                    \
                sum[r] += *(const nn_##S##x##LANES *)(y + j) * *(const nn_##S##x##LANES *)(W + r * width + j); \
        NN_EACH(r, rows, 4) a[r] = (REAL)(total[r] + nn_sum_##S##x##LANES(&sum[r]));               \
    }                                                                                              \
    NN_INLINE void nn_dots_##S##x##LANES(const REAL *W, ptrdiff_t n, ptrdiff_t width, const REAL *y, REAL *a) \
    {                                                                                              \
        REAL last[LANES];                                                                          \
        const ptrdiff_t before = LANES - 1 - (width - 1) % LANES;                                  \
        ptrdiff_t i = 0;                                                                           \
        for (ptrdiff_t j = 0; j < LANES; j++) last[j] = j < before ? 0 : y[width - LANES + j];     \
        const nn_##S##x##LANES *rest = (const nn_##S##x##LANES *)last;                             \
        for (; i + 4 <= n; i += 4) nn_dots_tile_##S##x##LANES(4, W + i * width, width, y, rest, a + i); \
        for (; i < n; i++) nn_dots_tile_##S##x##LANES(1, W + i * width, width, y, rest, a + i);    \
    }
#define NN_DEFINE_ALL_DOTS(REAL, S)                                                                \
    NN_ALL_WIDTHS(NN_DEFINE_DOTS, REAL, S)                                                         \
    static inline void nn_dots_##S(const REAL *W, ptrdiff_t n, ptrdiff_t width, const REAL *y, REAL *a) \
    {                                                                                              \
        const ptrdiff_t most = NN_VECTOR / sizeof(REAL), lanes = most < width ? most : width;       \
        if (lanes >= 16) nn_dots_##S##x16(W, n, width, y, a);                                      \
        else if (lanes >= 8) nn_dots_##S##x8(W, n, width, y, a);                                   \
        else if (lanes >= 4) nn_dots_##S##x4(W, n, width, y, a);                                   \
        else if (lanes >= 2) nn_dots_##S##x2(W, n, width, y, a);                                   \
        else nn_dots_##S##x1(W, n, width, y, a);                                                   \
    }
NN_DEFINE_ALL_DOTS(float, f32)
NN_DEFINE_ALL_DOTS(double, f64)

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
    static void nn_dots_##S(const REAL *W, ptrdiff_t n, ptrdiff_t width, const REAL *y, REAL *a)   \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            a[i] = 0;                                                                              \
            for (ptrdiff_t j = 0; j < width; j++) a[i] += W[i * width + j] * y[j];                 \
        }                                                                                          \
    }                                                                                              \
    static void nn_moved_row_##S(const REAL *old_x, const REAL *old_y, const REAL *x, ptrdiff_t n, REAL *W, \
                                 ptrdiff_t ld, const REAL *start, REAL *a)                         \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            for (ptrdiff_t j = 0; j < ld; j++) W[i * ld + j] += old_x[i] * old_y[j];               \
        nn_row_##S(x, n, W, ld, ld, start, a);                                                     \
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
