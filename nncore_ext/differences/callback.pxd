"""A function written in C, evaluated at points that differ from x in one element, by several threads without Python.

Threads share the elements, never one evaluation, and each has a copy of x: the values do not depend on their number.
"""

from cython.parallel cimport prange
from nncore_ext.watch cimport Watch  # for its header, before a prange

ctypedef double (*plain_function)(Py_ssize_t n, const double *x) noexcept nogil
ctypedef double (*function_with_data)(Py_ssize_t n, const double *x, void *user_data) noexcept nogil

# One of the two is set.
cdef struct Callback:
    plain_function plain
    function_with_data with_data
    void *user_data


cdef inline double callback_value(const Callback *f, const double *x, Py_ssize_t n) noexcept nogil:
    """f(x)"""
    if f.plain != NULL:
        return f.plain(n, x)
    return f.with_data(n, x, f.user_data)


cdef inline void callback_each(
    const Callback *f, const Py_ssize_t *elements, const double *points, double *values, double *copies,
    Py_ssize_t n, Py_ssize_t n_points, Py_ssize_t first, Py_ssize_t last, int n_threads
) noexcept nogil:
    """values[q] = f(x with x[elements[q // n_points]] = points[q]) for first <= q < last

    points, values: (len(elements), n_points); copies: x, n elements, once a thread.
    """
    cdef Py_ssize_t block, length = last - first
    for block in prange(n_threads, num_threads=n_threads, schedule="static"):
        callback_block(f, elements, points, values, copies + block * n, n, n_points,
                       first + block * length // n_threads, first + (block + 1) * length // n_threads)


cdef inline void callback_block(
    const Callback *f, const Py_ssize_t *elements, const double *points, double *values, double *x,
    Py_ssize_t n, Py_ssize_t n_points, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """The same by one thread; x is as before afterwards"""
    cdef Py_ssize_t q, i
    cdef double original
    for q in range(first, last):
        i = elements[q // n_points]
        original = x[i]
        x[i] = points[q]
        values[q] = callback_value(f, x, n)
        x[i] = original
