"""The rows of a data set as they lie in memory, and gathering some of them."""

from cython cimport floating

cdef extern from *:
    """
    #if defined(__GNUC__)
    static inline void nn_prefetch(const char *start, ptrdiff_t n)
    {
        __asm__ volatile(""); /* a function that does nothing but prefetch counts as pure, and its calls are dropped */
        for (ptrdiff_t i = 0; i < n; i += 64) __builtin_prefetch(start + i);
    }
    #else
    static void nn_prefetch(const char *start, ptrdiff_t n) {}
    #endif
    """
    void nn_prefetch(const char *start, Py_ssize_t n) noexcept nogil

cdef enum ElementType:
    FLOAT32, FLOAT64, UINT8

# A data set's rows as they lie in memory: (n_rows, n_features), contiguous.
cdef struct Rows:
    const void *data
    int element
    Py_ssize_t n_features
    double scale

# The same for rows with many zeros: row i has values[indptr[i]:indptr[i + 1]] in those columns.
cdef struct CompressedRows:
    const Py_ssize_t *indptr  # NULL: the rows are not compressed
    const void *columns
    bint wide  # columns are int, else unsigned short
    const void *values
    int element
    double scale

# Targets are class numbers (labels), or rows of numbers when labels is NULL. A label is a row with on in its place and
# off elsewhere; rows become off + (on - off) * t where they are smoothed.
cdef struct Targets:
    const Py_ssize_t *labels
    Rows rows
    double on
    double off
    bint smoothed

cdef fused element_t:
    float
    double
    unsigned char

cdef fused column_t:
    unsigned short
    int


cdef inline void scale_row(const element_t *row, floating scale, floating *out, Py_ssize_t n) noexcept nogil:
    """out = row * scale, in the network's float type"""
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = <floating> row[j] * scale


cdef inline void gather_rows(
    const Rows *rows, const Py_ssize_t *index, Py_ssize_t first, floating *out, Py_ssize_t m
) noexcept nogil:
    """out (m, n_features) = rows[index] * scale; index NULL: the m rows from first on"""
    cdef Py_ssize_t s, n = rows.n_features, at
    cdef floating scale = <floating> rows.scale
    for s in range(m):
        at = n * (first + s if index == NULL else index[s])
        if rows.element == UINT8:
            scale_row(<const unsigned char *> rows.data + at, scale, out + s * n, n)
        elif rows.element == FLOAT32:
            scale_row(<const float *> rows.data + at, scale, out + s * n, n)
        else:
            scale_row(<const double *> rows.data + at, scale, out + s * n, n)


cdef inline void gather_targets(
    const Targets *t, const Py_ssize_t *index, Py_ssize_t first, floating *out, Py_ssize_t m
) noexcept nogil:
    """out (m, n_out) = the targets of these samples, labels as rows

    A label is compared with n_out each time: the caller's array may have changed since it was checked.
    """
    cdef Py_ssize_t s, label, k, n = t.rows.n_features
    cdef floating on = <floating> t.on, off = <floating> t.off
    if t.labels == NULL:
        gather_rows(&t.rows, index, first, out, m)
        if t.smoothed:
            for k in range(m * n):
                out[k] = off + (on - off) * out[k]
        return
    for k in range(m * n):
        out[k] = off
    for s in range(m):
        label = t.labels[first + s if index == NULL else index[s]]
        if 0 <= label < n:
            out[s * n + label] = on


cdef inline void row_starts(
    const CompressedRows *rows, const Py_ssize_t *index, int *start, Py_ssize_t m
) noexcept nogil:
    """start (m + 1,): where each of rows[index] begins when their non-zeros lie one after the other"""
    cdef Py_ssize_t s
    start[0] = 0
    for s in range(m):
        start[s + 1] = start[s] + <int> (rows.indptr[index[s] + 1] - rows.indptr[index[s]])


cdef inline void gather_compressed(
    const CompressedRows *rows, Py_ssize_t row, floating *value, int *column
) noexcept nogil:
    """The non-zeros of a row in the network's float type, times scale, and their columns"""
    cdef Py_ssize_t at = rows.indptr[row], n = rows.indptr[row + 1] - at
    if rows.wide:
        copy_columns(<const int *> rows.columns + at, column, n)
    else:
        copy_columns(<const unsigned short *> rows.columns + at, column, n)
    if rows.element == UINT8:
        scale_row(<const unsigned char *> rows.values + at, <floating> rows.scale, value, n)
    elif rows.element == FLOAT32:
        scale_row(<const float *> rows.values + at, <floating> rows.scale, value, n)
    else:
        scale_row(<const double *> rows.values + at, <floating> rows.scale, value, n)


cdef inline void prefetch_compressed(const CompressedRows *rows, Py_ssize_t row) noexcept nogil:
    """Have a row fetched from memory, for gather_compressed"""
    cdef Py_ssize_t at = rows.indptr[row], n = rows.indptr[row + 1] - at
    cdef Py_ssize_t itemsize = 1 if rows.element == UINT8 else 4 if rows.element == FLOAT32 else 8
    nn_prefetch(<const char *> rows.columns + at * (4 if rows.wide else 2), n * (4 if rows.wide else 2))
    nn_prefetch(<const char *> rows.values + at * itemsize, n * itemsize)


cdef inline void copy_columns(const column_t *columns, int *out, Py_ssize_t n) noexcept nogil:
    """out = columns as int"""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = columns[k]
