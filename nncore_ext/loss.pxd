"""Losses of one sample, each with the exact gradient of that very expression.

y, t, dy (n_out,); the loss is accumulated and returned in double. The mean over a batch, and sample weights,
belong to the caller: a loss kernel sees one row.
"""

from cython cimport floating
from libc.math cimport log
from nncore_ext.activation cimport softmax_row

cdef enum Loss:
    SQUARED_ERROR, SOFTMAX_CROSS_ENTROPY


cdef inline double squared_error_row(
    const floating *y, const floating *t, floating *dy, Py_ssize_t n_out
) noexcept nogil:
    """loss = 0.5 * sum((y - t)^2),  dy = y - t"""
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n_out):
        dy[k] = y[k] - t[k]
        total += <double> dy[k] * dy[k]
    return 0.5 * total


cdef inline double cross_entropy_row(
    const floating *y, const floating *t, floating *dy, double delta, Py_ssize_t n_out
) noexcept nogil:
    """loss = -sum(t * log(y + delta)),  dy = -t / (y + delta)

    y are probabilities. Where t = 0 both are 0, also at y = delta = 0: the limit of t log(t).
    """
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(n_out):
        dy[k] = 0
        if t[k] != 0:
            total -= t[k] * log(y[k] + delta)
            dy[k] = <floating> (-t[k] / (y[k] + delta))
    return total


cdef inline double softmax_cross_entropy_row(
    const floating *a, const floating *t, floating *da, double delta, Py_ssize_t n_out
) noexcept nogil:
    """loss = -sum(t * log(softmax(a) + delta)), and its gradient by the logits a; da may not be a

    delta = 0: log-softmax, finite for every finite a, da = softmax(a) * sum(t) - t. With the book's delta > 0
    the gradient of that expression differs from it by a factor p / (p + delta).
    """
    return cross_entropy_of_softmax(a, softmax_row(a, da, n_out), t, da, delta, n_out)


cdef inline double cross_entropy_of_softmax(
    const floating *a, double log_sum, const floating *t, floating *da, double delta, Py_ssize_t n_out
) noexcept nogil:
    """softmax_cross_entropy_row where da = softmax(a) already; log_sum = log(sum(exp(a)))"""
    cdef double total = 0, weight = 0
    cdef floating p
    cdef Py_ssize_t k
    if delta == 0:
        for k in range(n_out):
            total += t[k] * (log_sum - a[k])
            weight += t[k]
        for k in range(n_out):
            da[k] = <floating> (da[k] * weight - t[k])
        return total
    # dy = -t / (p + delta), then da = p * (dy - sum(p * dy)); p and dy share da, so the sum comes first
    for k in range(n_out):
        p = da[k]
        if t[k] != 0:
            total -= t[k] * log(p + delta)
            weight += t[k] * (p / (p + delta))
    for k in range(n_out):
        p = da[k]
        da[k] = <floating> (p * weight - t[k] * (p / (p + delta)))
    return total
