"""The rows of a data set as they lie in memory, and gathering some of them."""

from cython cimport floating

cdef extern from "samples/rows.h" nogil:
    int FLOAT32 "NN_FLOAT32"
    int FLOAT64 "NN_FLOAT64"
    int UINT8 "NN_UINT8"
    void nn_convert_f32(const void *row, int element, float scale, float *out, Py_ssize_t n)
    void nn_convert_f64(const void *row, int element, double scale, double *out, Py_ssize_t n)
    void nn_columns(const void *columns, bint wide, int *out, Py_ssize_t n)
    void nn_prefetch(const char *start, Py_ssize_t n)

# A data set's rows as they lie in memory: (n_rows, n_features), contiguous.
cdef struct Rows:
    const void *data
    int element
    Py_ssize_t n_features
    double scale

cdef enum:
    # The columns of compressed rows are cut into so many parts, each with about as many non-zeros: what threads share.
    PARTS = 4
    # What gather_compressed may write beyond the end.
    OVERRUN = 16
    # How many rows ahead the next one is fetched.
    PREFETCHED = 4

# The same for rows with many zeros: of part p row i has values[pieces[k]:pieces[k + 1]] in those columns, k =
# PARTS * i + p, and the part ends before column bounds[p + 1].
cdef struct CompressedRows:
    const Py_ssize_t *pieces  # NULL: the rows are not compressed
    const Py_ssize_t *bounds
    Py_ssize_t max_piece  # the most non-zeros a piece has
    const void *columns
    bint wide  # columns are int, else unsigned short
    const void *values
    Py_ssize_t n_values
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

# The weights of m samples: one a sample, or one a sample and output.
cdef struct Weights:
    const double *values  # NULL: all 1
    bint by_output

cdef fused element_t:
    float
    double
    unsigned char

cdef fused column_t:
    unsigned short
    int


cdef inline Py_ssize_t element_size(int element) noexcept nogil:
    """Bytes of an element"""
    return 1 if element == UINT8 else 4 if element == FLOAT32 else 8


cdef inline void convert(const void *data, int element, double scale, floating *out, Py_ssize_t n) noexcept nogil:
    """out = data * scale, in the network's float type"""
    if floating is float:
        nn_convert_f32(data, element, <float> scale, out, n)
    else:
        nn_convert_f64(data, element, scale, out, n)


cdef inline Py_ssize_t sample_at(const Py_ssize_t *index, Py_ssize_t first, Py_ssize_t s) noexcept nogil:
    """Row s of those wanted: index[s], or without an index first + s"""
    return first + s if index == NULL else index[s]


cdef inline void gather_rows(
    const Rows *rows, const Py_ssize_t *index, Py_ssize_t first, floating *out, Py_ssize_t m
) noexcept nogil:
    """out (m, n_features) = rows[index] * scale; index NULL: the m rows from first on"""
    cdef Py_ssize_t s, n = rows.n_features, size = n * element_size(rows.element)
    for s in range(m):
        nn_prefetch(<const char *> rows.data + size * sample_at(index, first, min(s + PREFETCHED, m - 1)), size)
        convert(<const char *> rows.data + size * sample_at(index, first, s), rows.element, rows.scale, out + s * n, n)


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
        label = t.labels[sample_at(index, first, s)]
        if 0 <= label < n:
            out[s * n + label] = on


cdef inline Py_ssize_t gather_compressed(
    const CompressedRows *rows, Py_ssize_t piece, floating *value, int *column
) noexcept nogil:
    """The non-zeros of a piece in the network's float type, times scale, and their columns; returns how many

    Up to OVERRUN - 1 elements after them are written as well: by whole vectors it took a third of the time.
    """
    cdef Py_ssize_t at = rows.pieces[piece], n = rows.pieces[piece + 1] - at
    cdef Py_ssize_t copied = min((n + OVERRUN - 1) // OVERRUN * OVERRUN, rows.n_values - at)
    nn_columns(<const char *> rows.columns + at * (4 if rows.wide else 2), rows.wide, column, copied)
    convert(<const char *> rows.values + at * element_size(rows.element), rows.element, rows.scale, value, copied)
    return n


cdef inline void prefetch_compressed(const CompressedRows *rows, Py_ssize_t piece) noexcept nogil:
    """Have a piece fetched from memory, for gather_compressed"""
    cdef Py_ssize_t at = rows.pieces[piece], n = rows.pieces[piece + 1] - at
    cdef Py_ssize_t width = 4 if rows.wide else 2, size = element_size(rows.element)
    nn_prefetch(<const char *> rows.columns + at * width, n * width)
    nn_prefetch(<const char *> rows.values + at * size, n * size)


cdef inline double total_weight(const Weights *weights, Py_ssize_t m) noexcept nogil:
    """The divisor of the sum over m samples: their weights, or their number where outputs have weights"""
    cdef double total = 0
    cdef Py_ssize_t s
    if weights.values == NULL or weights.by_output:
        return m
    for s in range(m):
        total += weights.values[s]
    return total
