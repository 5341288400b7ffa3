"""The first layer on samples with many zeros: forward and update touch the non-zeros only.

Row s of a batch has value[start[s]:start[s + 1]] in the columns index[same], in ascending order. For the duration of a
call the layer's weights lie in rows padded to whole vectors (padded.h), W (n_in, ld). Rows (forward) and columns
(update) are shared by the threads, each written by one: the same bits for any number.
"""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset
from nncore_ext.activation cimport activation_forward
from nncore_ext.network cimport LayerSpec
from nncore_ext.rows cimport CompressedRows, gather_compressed, prefetch_compressed, row_starts

cdef extern from "padded.h" nogil:
    const Py_ssize_t NN_VECTOR  # bytes
    void nn_gather_f32(
        const float *value, const int *index, Py_ssize_t n, const float *W, Py_ssize_t ld, const float *start, float *a)
    void nn_gather_f64(
        const double *value, const int *index, Py_ssize_t n, const double *W, Py_ssize_t ld, const double *start,
        double *a)
    void nn_scatter_f32(const float *value, const int *index, Py_ssize_t n, const float *y, float *W, Py_ssize_t ld)
    void nn_scatter_f64(const double *value, const int *index, Py_ssize_t n, const double *y, double *W, Py_ssize_t ld)

cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """n elements rounded up to whole vectors"""
    cdef Py_ssize_t lanes = NN_VECTOR // itemsize
    return (n + lanes - 1) // lanes * lanes


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
    const floating *x, floating *out, Py_ssize_t n_rows, Py_ssize_t n, Py_ssize_t ld
) noexcept nogil:
    """out (n_rows, n) = x (n_rows, ld) without the padding"""
    cdef Py_ssize_t i
    for i in range(n_rows):
        memcpy(out + i * n, x + i * ld, n * sizeof(floating))


cdef inline void sparse_forward(
    const CompressedRows *rows, const Py_ssize_t *samples, const Py_ssize_t *coming, floating *value, int *index,
    int *start, const floating *W, const floating *b, const LayerSpec *layer, floating *z, floating *slope,
    floating *scratch, Py_ssize_t m, Py_ssize_t ld, int n_threads
) noexcept nogil:
    """Gather rows[samples] and start, z (m, n_out) = f(x @ W + b) and slope; b (ld,), scratch: ld elements a thread

    coming: the samples of the next batch, or NULL. Fetched from memory meanwhile they come 10 us a batch sooner.
    """
    cdef Py_ssize_t s
    row_starts(rows, samples, start, m)
    if n_threads == 1:
        for s in range(m):
            forward_row(rows, samples[s], value + start[s], index + start[s], start[s + 1] - start[s], W, b, layer,
                        z, slope, s, scratch, ld)
            if coming != NULL:
                prefetch_compressed(rows, coming[s])
    else:
        for s in prange(m, num_threads=n_threads, schedule="static"):
            forward_row(rows, samples[s], value + start[s], index + start[s], start[s + 1] - start[s], W, b, layer,
                        z, slope, s, scratch + threadid() * ld, ld)
            if coming != NULL:
                prefetch_compressed(rows, coming[s])


cdef inline void forward_row(
    const CompressedRows *rows, Py_ssize_t row, floating *value, int *index, Py_ssize_t n, const floating *W,
    const floating *b, const LayerSpec *layer, floating *z, floating *slope, Py_ssize_t s, floating *scratch,
    Py_ssize_t ld
) noexcept nogil:
    """Row s of z = f(x @ W + b) and of slope (m, n_out), unless NULL"""
    gather_compressed(rows, row, value, index)
    if floating is float:
        nn_gather_f32(value, index, n, W, ld, b, scratch)
    else:
        nn_gather_f64(value, index, n, W, ld, b, scratch)
    if slope == NULL:
        activation_forward(layer.activation, layer.param, scratch, slope, ld)
    else:
        activation_forward(layer.activation, layer.param, scratch, slope + s * layer.n_out, layer.n_out)
    memcpy(z + s * layer.n_out, scratch, layer.n_out * sizeof(floating))


cdef inline void sparse_update(
    const floating *value, const int *index, const int *start, const floating *y, floating *W,
    Py_ssize_t m, Py_ssize_t n_in, Py_ssize_t ld, int n_threads
) noexcept nogil:
    """W += x.T @ y for y (m, ld): with y = -lr * da the update itself"""
    cdef Py_ssize_t part
    if n_threads == 1:
        update_columns(value, index, start, y, W, m, 0, n_in, ld)
    else:
        # one range of columns a thread: with 8 ranges an iteration of the book's job took 70 instead of 52 us
        for part in prange(n_threads, num_threads=n_threads, schedule="static"):
            update_columns(value, index, start, y, W, m, n_in * part // n_threads, n_in * (part + 1) // n_threads, ld)


cdef inline void update_columns(
    const floating *value, const int *index, const int *start, const floating *y, floating *W,
    Py_ssize_t m, Py_ssize_t first, Py_ssize_t stop, Py_ssize_t ld
) noexcept nogil:
    """W[first:stop] += x[:, first:stop].T @ y, sample by sample"""
    cdef Py_ssize_t s, begin, end
    for s in range(m):
        begin = first_at(index, start[s], start[s + 1], first)
        end = first_at(index, begin, start[s + 1], stop)
        if floating is float:
            nn_scatter_f32(value + begin, index + begin, end - begin, y + s * ld, W, ld)
        else:
            nn_scatter_f64(value + begin, index + begin, end - begin, y + s * ld, W, ld)


cdef inline Py_ssize_t first_at(const int *index, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t column) noexcept nogil:
    """The first place in index[begin:end], which ascends, with this column or a later one"""
    cdef Py_ssize_t middle
    if begin < end and index[end - 1] < column:
        return end
    while begin < end:
        middle = (begin + end) // 2
        if index[middle] < column:
            begin = middle + 1
        else:
            end = middle
    return begin
