"""A data set with many zeros, turned once into the compressed rows of rows.pxd."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from nncore_ext.samples.rows cimport PARTS, column_t, element_t

from collections import namedtuple

import numpy as np

cnp.import_array()

cdef enum:
    # Rows by which the columns of dense data are cut into parts.
    SAMPLED_ROWS = 1000
    # Elements that are read at a time, without a look for Ctrl-C.
    PIECE = 1 << 24

CompressedRows = namedtuple("CompressedRows", "pieces bounds columns values max_piece")
CompressedRows.__doc__ = """Row i has values[pieces[n * i]:pieces[n * (i + 1)]] in those columns, uint16 or int32.

The n = len(bounds) - 1 pieces of a row lie in columns bounds[p] to bounds[p + 1]; max_piece: the most non-zeros of one.
"""


def compress(x, double max_density):
    """The non-zeros of x (n_samples, n_features), float32, float64 or uint8; None if there are too many of them."""
    if x.shape[1] >= 2**31 or not x.size:
        return None
    bounds = equal_parts(np.count_nonzero(x[::max(1, x.shape[0] // SAMPLED_ROWS)], axis=0))
    pieces = np.zeros(PARTS * x.shape[0] + 1, np.intp)
    step = max(1, PIECE // x.shape[1])
    for first in range(0, x.shape[0], step):
        some, counts = slice(first, first + step), pieces[PARTS * first:]
        if x.dtype == np.uint8:
            count_nonzeros[cnp.uint8_t](x[some], bounds, counts)
        elif x.dtype == np.float32:
            count_nonzeros[float](x[some], bounds, counts)
        else:
            count_nonzeros[double](x[some], bounds, counts)
        PyErr_CheckSignals()
    most = int(pieces.max())
    np.cumsum(pieces, out=pieces)
    total = pieces[PARTS * x.shape[0]]
    if total > max_density * x.size:
        return None
    # a place more: the fill writes zeros too, where the next element overwrites them
    columns = np.empty(total + 1, np.uint16 if x.shape[1] <= 2**16 else np.int32)
    values = np.empty(total + 1, x.dtype)
    for first in range(0, x.shape[0], step):
        some, starts = slice(first, first + step), pieces[PARTS * first:]
        if x.dtype == np.uint8:
            fill_rows[cnp.uint8_t](x[some], bounds, starts, columns, values)
        elif x.dtype == np.float32:
            fill_rows[float](x[some], bounds, starts, columns, values)
        else:
            fill_rows[double](x[some], bounds, starts, columns, values)
        PyErr_CheckSignals()
    return CompressedRows(pieces, bounds, columns[:total], values[:total], most)


def cut(const Py_ssize_t[::1] indptr, columns, values, counts):
    """CompressedRows of rows that have values[indptr[i]:indptr[i + 1]] in those columns, ascending and in range

    counts (n_features,): non-zeros by column.
    """
    bounds = equal_parts(counts)
    pieces = np.empty(PARTS * (indptr.shape[0] - 1) + 1, np.intp)
    if columns.dtype == np.uint16:
        cut_rows[cnp.uint16_t](indptr, columns, bounds, pieces)
    else:
        cut_rows[int](indptr, columns, bounds, pieces)
    return CompressedRows(pieces, bounds, columns, values, int(np.diff(pieces).max()))


def equal_parts(counts):
    """Bounds (PARTS + 1,) of ranges of columns with about as many non-zeros each, from those by column"""
    total = np.cumsum(counts)
    inner = np.searchsorted(total, counts.sum() * np.arange(1, PARTS) / PARTS)
    return np.concatenate([[0], inner, [len(total)]]).astype(np.intp)


cdef int cut_rows(const Py_ssize_t[::1] indptr, const column_t[::1] columns, const Py_ssize_t[::1] bounds,
                  Py_ssize_t[::1] pieces) except -1:
    cdef Py_ssize_t s, p, at
    with nogil:
        for s in range(indptr.shape[0] - 1):
            at = indptr[s]
            for p in range(PARTS):
                at = first_at(columns, at, indptr[s + 1], bounds[p])
                pieces[s * PARTS + p] = at
        pieces[pieces.shape[0] - 1] = indptr[indptr.shape[0] - 1]
    return 0


cdef Py_ssize_t first_at(const column_t[::1] columns, Py_ssize_t begin, Py_ssize_t end,
                         Py_ssize_t bound) noexcept nogil:
    """The first place in columns[begin:end], which ascends, with this column or a later one"""
    cdef Py_ssize_t middle
    while begin < end:
        middle = (begin + end) // 2
        if columns[middle] < bound:
            begin = middle + 1
        else:
            end = middle
    return begin


cdef int count_nonzeros(const element_t[:, ::1] x, const Py_ssize_t[::1] bounds, Py_ssize_t[::1] counts) except -1:
    """counts[1:] = non-zeros of each row in each part"""
    cdef Py_ssize_t s, p, j, n
    with nogil:
        for s in range(x.shape[0]):
            for p in range(PARTS):
                n = 0
                for j in range(bounds[p], bounds[p + 1]):
                    n += x[s, j] != 0
                counts[1 + s * PARTS + p] = n
    return 0


cdef int fill_rows(const element_t[:, ::1] x, const Py_ssize_t[::1] bounds, const Py_ssize_t[::1] pieces, columns,
                   element_t[::1] values) except -1:
    cdef unsigned short[::1] narrow
    cdef int[::1] wide
    cdef Py_ssize_t s, p, k
    cdef bint is_narrow = columns.dtype == np.uint16
    if is_narrow:
        narrow = columns
    else:
        wide = columns
    with nogil:
        for s in range(x.shape[0]):
            for p in range(PARTS):
                k = s * PARTS + p
                if is_narrow:
                    fill(&x[s, 0], bounds[p], bounds[p + 1], pieces[k], pieces[k + 1], &narrow[0], &values[0])
                else:
                    fill(&x[s, 0], bounds[p], bounds[p + 1], pieces[k], pieces[k + 1], &wide[0], &values[0])
    return 0


cdef inline void fill(const element_t *row, Py_ssize_t first, Py_ssize_t last, Py_ssize_t k, Py_ssize_t end,
                      column_t *columns, element_t *values) noexcept nogil:
    """columns[k:end] and values[k:end] = the non-zeros of row[first:last]

    Without a branch: every element is written, and kept by moving on if it is not zero; eight bytes of 0 are skipped.
    No piece goes beyond the place that was counted for it, even if another thread writes to the row meanwhile.
    """
    cdef Py_ssize_t j, stop = first
    cdef uint64_t eight
    while stop < last:
        j, stop, eight = stop, min(stop + 8, last), 1
        if sizeof(element_t) == 1 and stop - j == 8:
            memcpy(&eight, row + j, 8)
        if eight == 0:
            continue
        while j < stop:
            columns[k] = <column_t> j
            values[k] = row[j]
            k += (row[j] != 0) & (k < end)
            j += 1
    while k < end:
        columns[k], values[k] = <column_t> first, 0
        k += 1
