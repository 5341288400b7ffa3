/* C = start + A @ B on one thread, in the order of a textbook: each element of C is one sum over p = 0, 1, ..., k - 1
 * (but for the columns of nn_thin) within a depth of chain <= NN_DEPTH, and then one sum of those: a single chain over
 * 100,000 equal floats loses half of the digits.
 *
 * Element (i, p) of A is A[i * a_row + p * a_col], the same for B: either may be a transpose. C (m, n) lies row by
 * row. A tile of C stays in registers while p runs: NN_ROWS rows of three vectors, 24 of the 32 registers of AVX-512,
 * 12 of 16 elsewhere. B, if it is a transpose or C has many rows, is copied strip by strip, as wide as a tile, so that
 * a strip lies in one piece and the same loop serves both layouts. The scheme is that of Goto and van de Geijn, Anatomy
 * of high-performance matrix multiplication (2008), without the copy of A, which tiles of so few rows do not need.
 *
 * Measured on a Zen 5 core in GFLOP/s, this (AVX-512) and OpenBLAS 0.3.30, which takes its AVX2 kernel there:
 * 128 x 512 x 784 float 227 and 121, double 112 and 61; 10 x 1600 x 50 double 91 and 33. With AVX2: 123, 56, 61.
 */
#ifndef NNCORE_PRODUCT_H
#define NNCORE_PRODUCT_H

#include "arithmetic/vectors.h"

/* Rows of B multiplied at a time, 48 KiB of a strip, which stay in the cache; and where sums are to be more exact. */
#define NN_DEPTH 256
#define NN_CHAIN 64

#if defined(__AVX__) && defined(__GNUC__)

#define NN_USES_BLAS 0
/* From so many terms on a sum is one, in double, of parts of so many: product.pxd */
#define NN_LONG_DEPTH 4097
#define NN_PART_DEPTH 1024
/* Rows of a tile */
#define NN_ROWS (NN_VECTOR == 64 ? 8 : 4)
/* From so many products on, the sums of one to three columns run along vectors of p. */
#define NN_THIN_DEPTH NN_VECTOR
/* From so many rows of C on, copying B costs less than its scattered lines; on a Zen 4 3 to 8 % more with 32 to 128. */
#define NN_PACKED_ROWS 129

/* LANES columns of C at a time, or two or three times as many. C starts as start, row i at start + i * start_row,
 * or as 0 where start is NULL; more: it goes on, and the sum is added to what it is. */
#define NN_DEFINE_STRIP(REAL, S, LANES)                                                            \
    NN_INLINE void nn_tile_##S##x##LANES(const int rows, const int vectors, int more, const REAL *A, ptrdiff_t a_row, \
                                         ptrdiff_t a_col, const REAL *B, ptrdiff_t b_row, const REAL *start, \
                                         ptrdiff_t start_row, REAL *C, ptrdiff_t c_row, ptrdiff_t k) \
    {                                                                                              \
        nn_##S##x##LANES sum[NN_ROWS][3], b[3];                                                    \
        NN_EACH(i, rows, NN_ROWS)                                                                  \
            NN_EACH(v, vectors, 3)                                                                 \
                sum[i][v] = start ? *(const nn_##S##x##LANES *)(start + i * start_row + v * LANES) \
                                  : (nn_##S##x##LANES){0};                                         \
        for (ptrdiff_t p = 0; p < k; p++, A += a_col, B += b_row) {                                \
            NN_EACH(v, vectors, 3) b[v] = *(const nn_##S##x##LANES *)(B + v * LANES);              \
            NN_EACH(i, rows, NN_ROWS)                                                              \
                NN_EACH(v, vectors, 3) sum[i][v] += A[i * a_row] * b[v];                           \
        }                                                                                          \
        if (more)                                                                                  \
            NN_EACH(i, rows, NN_ROWS)                                                              \
                NN_EACH(v, vectors, 3)                                                             \
                    sum[i][v] += *(nn_##S##x##LANES *)(C + i * c_row + v * LANES);                 \
        NN_EACH(i, rows, NN_ROWS)                                                                  \
            NN_EACH(v, vectors, 3)                                                                 \
                *(nn_##S##x##LANES *)(C + i * c_row + v * LANES) = sum[i][v];                      \
    }                                                                                              \
    NN_INLINE void nn_strip_##S##x##LANES(const int vectors, int more, const REAL *A, ptrdiff_t a_row, \
                                          ptrdiff_t a_col, const REAL *B, ptrdiff_t b_row, const REAL *start, \
                                          ptrdiff_t start_row, REAL *C, ptrdiff_t c_row, ptrdiff_t m, ptrdiff_t k) \
    {                                                                                              \
        ptrdiff_t i = 0;                                                                           \
        for (; i + NN_ROWS <= m; i += NN_ROWS)                                                     \
            nn_tile_##S##x##LANES(NN_ROWS, vectors, more, A + i * a_row, a_row, a_col, B, b_row,         \
                                  start ? start + i * start_row : start, start_row, C + i * c_row, c_row, k); \
        for (; i + 4 <= m; i += 4)                                                                 \
            nn_tile_##S##x##LANES(4, vectors, more, A + i * a_row, a_row, a_col, B, b_row,               \
                                  start ? start + i * start_row : start, start_row, C + i * c_row, c_row, k); \
        for (; i + 2 <= m; i += 2)                                                                 \
            nn_tile_##S##x##LANES(2, vectors, more, A + i * a_row, a_row, a_col, B, b_row,               \
                                  start ? start + i * start_row : start, start_row, C + i * c_row, c_row, k); \
        if (i < m)                                                                                 \
            nn_tile_##S##x##LANES(1, vectors, more, A + i * a_row, a_row, a_col, B, b_row,               \
                                  start ? start + i * start_row : start, start_row, C + i * c_row, c_row, k); \
    }

/* A strip of B (k, width) row by row; 16 rows at a time, so that the lines of either layout stay in the cache */
#define NN_DEFINE_PACK(REAL, S)                                                                    \
    static void nn_pack_##S(const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *packed, ptrdiff_t k, \
                            ptrdiff_t width)                                                       \
    {                                                                                              \
        for (ptrdiff_t first = 0; first < k; first += 16) {                                        \
            const ptrdiff_t stop = first + 16 < k ? first + 16 : k;                                \
            if (b_col == 1) {                                                                      \
                for (ptrdiff_t p = first; p < stop; p++)                                           \
                    for (ptrdiff_t j = 0; j < width; j++) packed[p * width + j] = B[p * b_row + j]; \
            } else {                                                                               \
                for (ptrdiff_t j = 0; j < width; j++)                                              \
                    for (ptrdiff_t p = first; p < stop; p++) packed[p * width + j] = B[p * b_row + j * b_col]; \
            }                                                                                      \
        }                                                                                          \
    }

/* The last one to three columns over a long p: their sums run along vectors of p, as a vector of columns would be
 * nearly empty. Needs rows of A in one piece. packed: NN_DEPTH numbers a column. */
#define NN_DEFINE_THIN(REAL, S, LANES)                                                             \
    NN_INLINE void nn_thin_row_##S(const int columns, const REAL *A, const REAL *packed, const REAL *start, REAL *C, \
                                   ptrdiff_t k)                                                    \
    {                                                                                              \
        nn_##S##x##LANES sum[3] = {{0}, {0}, {0}};                                                 \
        ptrdiff_t p = 0;                                                                           \
        for (; p + LANES <= k; p += LANES)                                                         \
            NN_EACH(j, columns, 3)                                                                 \
                sum[j] += *(const nn_##S##x##LANES *)(A + p) * *(const nn_##S##x##LANES *)(packed + j * NN_DEPTH + p); \
        NN_EACH(j, columns, 3) {                                                                   \
            REAL total = 0;                                                                        \
            for (ptrdiff_t rest = p; rest < k; rest++) total += A[rest] * packed[j * NN_DEPTH + rest]; \
            NN_UNROLL for (int i = 0; i < LANES; i++) total += sum[j][i];                          \
            C[j] = (start ? start[j] : 0) + total;                                                 \
        }                                                                                          \
    }                                                                                              \
    static void nn_thin_##S(const REAL *A, ptrdiff_t a_row, const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, \
                            const REAL *start, ptrdiff_t start_row, REAL *C, ptrdiff_t c_row, ptrdiff_t m, \
                            ptrdiff_t n, ptrdiff_t k, REAL *packed)                                \
    {                                                                                              \
        for (ptrdiff_t first = 0; first < k; first += NN_DEPTH) {                                  \
            const ptrdiff_t depth = first + NN_DEPTH < k ? NN_DEPTH : k - first;                   \
            for (ptrdiff_t j = 0; j < n; j++)                                                      \
                for (ptrdiff_t p = 0; p < depth; p++)                                              \
                    packed[j * NN_DEPTH + p] = B[(first + p) * b_row + j * b_col];                 \
            for (ptrdiff_t i = 0; i < m; i++) {                                                    \
                const REAL *row = A + i * a_row + first;                                           \
                const REAL *begin = first ? C + i * c_row : start ? start + i * start_row : start; \
                if (n == 1) nn_thin_row_##S(1, row, packed, begin, C + i * c_row, depth);          \
                if (n == 2) nn_thin_row_##S(2, row, packed, begin, C + i * c_row, depth);          \
                if (n == 3) nn_thin_row_##S(3, row, packed, begin, C + i * c_row, depth);          \
            }                                                                                      \
        }                                                                                          \
    }

/* VECTORS times LANES columns, while there are as many; vectors wider than the machine's are left out */
#define NN_COLUMNS(REAL, S, LANES, VECTORS)                                                        \
    for (; LANES * sizeof(REAL) <= NN_VECTOR && n >= LANES * VECTORS; n -= LANES * VECTORS) {      \
        for (ptrdiff_t first = 0; first == 0 || first < k; first += chain) {                       \
            const ptrdiff_t depth = first + chain < k ? chain : k - first;                         \
            const REAL *strip = B + first * b_row;                                                 \
            if (pack) nn_pack_##S(strip, b_row, b_col, packed, depth, LANES * VECTORS);            \
            nn_strip_##S##x##LANES(VECTORS, first > 0, A + first * a_col, a_row, a_col, pack ? packed : strip, \
                                   pack ? LANES * VECTORS : b_row, first ? NULL : start, start_row, C, c_row, m, \
                                   depth);                                                         \
        }                                                                                          \
        B += LANES * VECTORS * b_col, C += LANES * VECTORS, start = start ? start + LANES * VECTORS : start; \
    }

#define NN_DEFINE_PRODUCT(REAL, S)                                                                 \
    NN_ALL_WIDTHS(NN_DEFINE_STRIP, REAL, S)                                                        \
    NN_DEFINE_PACK(REAL, S)                                                                        \
    NN_THIN_##S(REAL)                                                                              \
    static inline void nn_product_##S(const REAL *A, ptrdiff_t a_row, ptrdiff_t a_col, const REAL *B, \
                                      ptrdiff_t b_row, ptrdiff_t b_col, const REAL *start, ptrdiff_t start_row, \
                                      REAL *C, ptrdiff_t c_row, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, \
                                      ptrdiff_t chain)                                             \
    {                                                                                              \
        REAL packed[NN_DEPTH * 3 * NN_VECTOR / sizeof(REAL)] __attribute__((aligned(NN_VECTOR)));  \
        const int pack = b_col != 1 || m >= NN_PACKED_ROWS;                                        \
        const ptrdiff_t lanes = NN_VECTOR / sizeof(REAL), columns = n;                             \
        NN_WIDE_##S(REAL)                                                                          \
        /* The rest as a whole vector or half of one that begins within the columns before: they come out the same \
         * again, unless C is also start. A quarter of a vector and less goes faster by narrow ones. */ \
        const ptrdiff_t width = n > lanes / 2 ? lanes : lanes / 2;                                 \
        if (n > lanes / 4 && columns >= width && start != C) {                                     \
            const ptrdiff_t back = width - n;                                                      \
            n = width, B -= back * b_col, C -= back, start = start ? start - back : start;         \
        }                                                                                          \
        NN_COLUMNS(REAL, S, 16, 1)                                                                 \
        NN_COLUMNS(REAL, S, 8, 1)                                                                  \
        NN_COLUMNS(REAL, S, 4, 1)                                                                  \
        if (n && n < 4 && a_col == 1 && k >= NN_THIN_DEPTH) {                                      \
            nn_thin_##S(A, a_row, B, b_row, b_col, start, start_row, C, c_row, m, n, k, packed);   \
            return;                                                                                \
        }                                                                                          \
        NN_COLUMNS(REAL, S, 2, 1)                                                                  \
        NN_COLUMNS(REAL, S, 1, 1)                                                                  \
    }
#if NN_VECTOR == 64
#define NN_WIDE_f32(REAL) NN_COLUMNS(REAL, f32, 16, 3) NN_COLUMNS(REAL, f32, 16, 1)
#define NN_THIN_f32(REAL) NN_DEFINE_THIN(REAL, f32, 16)
#define NN_THIN_f64(REAL) NN_DEFINE_THIN(REAL, f64, 8)
#define NN_WIDE_f64(REAL) NN_COLUMNS(REAL, f64, 8, 3) NN_COLUMNS(REAL, f64, 8, 1)
#else
#define NN_WIDE_f32(REAL) NN_COLUMNS(REAL, f32, 8, 3) NN_COLUMNS(REAL, f32, 8, 1)
#define NN_THIN_f32(REAL) NN_DEFINE_THIN(REAL, f32, 8)
#define NN_THIN_f64(REAL) NN_DEFINE_THIN(REAL, f64, 4)
#define NN_WIDE_f64(REAL) NN_COLUMNS(REAL, f64, 4, 3) NN_COLUMNS(REAL, f64, 4, 1)
#endif

NN_DEFINE_PRODUCT(float, f32)
NN_DEFINE_PRODUCT(double, f64)

#else /* BLAS has wider vectors than this build: for every size, as another loop's threshold would be in the bits */

#define NN_USES_BLAS 1
#define NN_LONG_DEPTH 1025
#define NN_PART_DEPTH 256
#define nn_product_f32(...) ((void)0)
#define nn_product_f64(...) ((void)0)

#endif

#endif
