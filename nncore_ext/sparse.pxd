"""The first layer on samples with many zeros: forward and update touch the non-zeros only.

A batch of m samples is compressed by rows: row s has value[start[s]:start[s + 1]] in the columns index[same]. The
same batch by columns turns the update into the forward's sum: W[i] += sum over its samples of value * da[sample].
Rows (forward) and columns (update) are shared by the threads, each written by one: the same bits for any number.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset
from nncore_ext.vmath cimport sparse_vecmat


cdef inline void sparse_forward(
    const floating *value, const int *index, const int *start, const floating *W, const floating *b, floating *a,
    Py_ssize_t m, Py_ssize_t n_out, int n_threads
) noexcept nogil:
    """a = x @ W + b for x by rows; W (n_in, n_out), b (n_out,) or NULL, a (m, n_out)"""
    cdef Py_ssize_t s
    if n_threads == 1:
        for s in range(m):
            sparse_forward_row(value + start[s], index + start[s], start[s + 1] - start[s], W, b, a + s * n_out, n_out)
    else:
        for s in prange(m, num_threads=n_threads, schedule="static"):
            sparse_forward_row(value + start[s], index + start[s], start[s + 1] - start[s], W, b, a + s * n_out, n_out)


cdef inline void sparse_forward_row(
    const floating *value, const int *index, Py_ssize_t n, const floating *W, const floating *b, floating *a,
    Py_ssize_t n_out
) noexcept nogil:
    """One row of a = x @ W + b"""
    if b == NULL:
        memset(a, 0, n_out * sizeof(floating))
    else:
        memcpy(a, b, n_out * sizeof(floating))
    sparse_vecmat(value, index, n, W, a, n_out)


cdef inline void by_columns(
    const floating *value, const int *index, const int *start, floating scale,
    floating *column_value, int *column_row, int *column_start, Py_ssize_t m, Py_ssize_t n_in
) noexcept nogil:
    """The same batch by columns, times scale: a counting sort; column_start has n_in + 2 elements, of which
    column_start[i]:column_start[i + 1] is column i in the end."""
    cdef Py_ssize_t s, k, i
    cdef int at
    memset(column_start, 0, (n_in + 2) * sizeof(int))
    for k in range(start[m]):
        column_start[index[k] + 2] += 1
    for i in range(2, n_in + 2):
        column_start[i] += column_start[i - 1]
    # one place further on, the start of a column serves as its cursor and ends where the next one starts
    for s in range(m):
        for k in range(start[s], start[s + 1]):
            at = column_start[index[k] + 1]
            column_start[index[k] + 1] = at + 1
            column_row[at] = <int> s
            column_value[at] = value[k] * scale


cdef inline void sparse_add_outer(
    const floating *column_value, const int *column_row, const int *column_start, const floating *da, floating *W,
    Py_ssize_t n_in, Py_ssize_t n_out, int n_threads
) noexcept nogil:
    """W += x.T @ da for x by columns (scaled by -lr: the update itself); da (m, n_out)"""
    cdef Py_ssize_t i
    if n_threads == 1:
        for i in range(n_in):
            sparse_vecmat(column_value + column_start[i], column_row + column_start[i],
                          column_start[i + 1] - column_start[i], da, W + i * n_out, n_out)
    else:
        for i in prange(n_in, num_threads=n_threads, schedule="static"):
            sparse_vecmat(column_value + column_start[i], column_row + column_start[i],
                          column_start[i + 1] - column_start[i], da, W + i * n_out, n_out)
