"""The first layer on samples with many zeros: forward and update touch the non-zeros only.

Row s of a batch has value[start[s]:start[s + 1]] in the columns index[same] of a part. For the duration of a call the
layer's weights lie in rows padded to whole vectors (rows_times.h), W (n_in, ld). Threads share the parts of the
columns, the same ones forward and in the update: each keeps its rows of W in its own cache, where with rows of the
batch shared instead every thread read what the other had just written (97 to 70 us an iteration of the book's job on
two threads, together with the blocks of batch.pxd). The bits are the same for any number of threads.
"""

from cython cimport floating
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.vmath cimport axpby
from nncore_ext.samples.rows cimport PARTS, CompressedRows, gather_compressed, nn_prefetch, prefetch_compressed

cdef extern from "arithmetic/rows_times.h" nogil:
    const Py_ssize_t NN_VECTOR  # bytes
    void nn_gather_f32(
        const float *value, const int *index, Py_ssize_t n, const float *W, Py_ssize_t ld, float *a)
    void nn_gather_f64(
        const double *value, const int *index, Py_ssize_t n, const double *W, Py_ssize_t ld, double *a)
    void nn_scatter_f32(const float *value, const int *index, Py_ssize_t n, const float *y, float *W, Py_ssize_t ld)
    void nn_scatter_f64(const double *value, const int *index, Py_ssize_t n, const double *y, double *W, Py_ssize_t ld)

cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """n elements rounded up to whole vectors"""
    cdef Py_ssize_t lanes = NN_VECTOR // itemsize
    return (n + lanes - 1) // lanes * lanes


cdef inline floating *aligned(floating *memory) noexcept nogil:
    """The first whole vector from here on"""
    return <floating *> ((<uintptr_t> memory + NN_VECTOR - 1) // NN_VECTOR * NN_VECTOR)


cdef inline void pad_rows(
    const floating *x, floating scale, floating *out, Py_ssize_t n_rows, Py_ssize_t n, Py_ssize_t ld
) noexcept nogil:
    """out (n_rows, ld) = x (n_rows, n) * scale, padded with 0"""
    cdef Py_ssize_t i, j
    for i in range(n_rows):
        for j in range(n):
            out[i * ld + j] = x[i * n + j] * scale
        memset(out + i * ld + n, 0, (ld - n) * sizeof(floating))


cdef inline void unpad_rows(
    const floating *x, floating *out, bint more, Py_ssize_t n_rows, Py_ssize_t n, Py_ssize_t ld
) noexcept nogil:
    """out (n_rows, n) = x (n_rows, ld) without the padding; more: out += that"""
    cdef Py_ssize_t i
    for i in range(n_rows):
        if more:
            axpby(<floating> 1, x + i * ld, True, out + i * n, n)
        else:
            memcpy(out + i * n, x + i * ld, n * sizeof(floating))


cdef inline void forward_part(
    const CompressedRows *rows, Py_ssize_t part, const Py_ssize_t *samples, Py_ssize_t n_left, floating *value,
    int *index, int *start, const floating *W, floating *a, Py_ssize_t m, Py_ssize_t ld
) noexcept nogil:
    """a (m, ld) = x @ W with the columns of one part only of x = rows[samples], whose non-zeros are left in value

    samples goes on, n_left in all, with the batches to come: fetched from memory meanwhile they come 10 us sooner.
    """
    cdef Py_ssize_t s, piece
    cdef int n
    start[0] = 0
    for s in range(m):
        piece = PARTS * samples[s] + part
        n = <int> gather_compressed(rows, piece, value + start[s], index + start[s])
        if floating is float:
            nn_gather_f32(value + start[s], index + start[s], n, W, ld, a + s * ld)
        else:
            nn_gather_f64(value + start[s], index + start[s], n, W, ld, a + s * ld)
        start[s + 1] = start[s] + n
        if s + m < n_left:
            prefetch_compressed(rows, PARTS * samples[s + m] + part)
        if s + 2 * m < n_left:  # where that will have to look
            nn_prefetch(<const char *> (rows.pieces + PARTS * samples[s + 2 * m] + part), 1)


cdef inline void sum_parts(
    const floating *a, const floating *b, floating *z, Py_ssize_t part_size, Py_ssize_t m, Py_ssize_t n_out,
    Py_ssize_t ld
) noexcept nogil:
    """z (m, n_out) = b + the sums of all parts, (m, ld) each, part_size elements apart"""
    cdef Py_ssize_t s, j, p
    for s in range(m):
        for j in range(n_out):
            z[s * n_out + j] = b[j]
        for p in range(PARTS):
            for j in range(n_out):
                z[s * n_out + j] += a[p * part_size + s * ld + j]


cdef inline void update_part(
    const floating *value, const int *index, const int *start, const floating *y, floating *W, Py_ssize_t m,
    Py_ssize_t ld
) noexcept nogil:
    """W += x.T @ y for the columns of one part and y (m, ld): with y = -lr * da the update itself"""
    cdef Py_ssize_t s
    for s in range(m):
        if floating is float:
            nn_scatter_f32(value + start[s], index + start[s], start[s + 1] - start[s], y + s * ld, W, ld)
        else:
            nn_scatter_f64(value + start[s], index + start[s], start[s + 1] - start[s], y + s * ld, W, ld)
