"""Activations z = f(a), and their derivative written from the output z.

All work in place on flat arrays of n elements: the caller's a becomes z, its dz becomes da.
"""

from cython cimport floating
from libc.math cimport log
from nncore_ext.vmath cimport vdot, vexp, vmax, vsigmoid, vsum, vtanh

cdef enum Activation:
    IDENTITY, RELU, TANH, SIGMOID, SOFTMAX


cdef enum:
    SOFTMAX_BLOCK = 4096  # numbers


cdef inline void activation_forward(int kind, floating *z, Py_ssize_t n) noexcept nogil:
    """z = f(z) elementwise. SOFTMAX is not elementwise: see softmax_row."""
    cdef Py_ssize_t i
    if kind == RELU:
        for i in range(n):
            z[i] = 0 if z[i] < 0 else z[i]  # this way round NaN stays NaN
    elif kind == TANH:
        vtanh(z, z, n)
    elif kind == SIGMOID:
        vsigmoid(z, z, n)


cdef inline void activation_backward(int kind, const floating *z, floating *da, Py_ssize_t n) noexcept nogil:
    """da = da * f'(a), with f' from the output: relu z > 0 (so relu'(0) = 0), tanh 1 - z^2, sigmoid z(1 - z)"""
    cdef Py_ssize_t i
    if kind == RELU:
        for i in range(n):
            da[i] = da[i] if z[i] > 0 else 0
    elif kind == TANH:
        for i in range(n):
            da[i] *= 1 - z[i] * z[i]
    elif kind == SIGMOID:
        for i in range(n):
            da[i] *= z[i] * (1 - z[i])


cdef inline double softmax_row(const floating *a, floating *y, Py_ssize_t n) noexcept nogil:
    """y = exp(a) / sum(exp(a)) for one row; returns log(sum(exp(a))). y may be a."""
    # the row maximum keeps exp in range, and one term of the sum is then exactly 1
    cdef floating top = vmax(a, n), total
    cdef Py_ssize_t k
    vexp(a, top, y, n)
    total = vsum(y, n)
    for k in range(n):
        y[k] /= total
    return top + log(<double> total)


cdef inline void softmax_rows(const floating *a, floating *y, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    """softmax_row of m rows: one call of exp for many, as a row of ten numbers does not fill the vectors"""
    cdef Py_ssize_t first = 0, rows, s, k
    cdef floating top, total
    while first < m:
        rows = min(m - first, max(1, SOFTMAX_BLOCK // n))
        for s in range(first, first + rows):
            top = vmax(a + s * n, n)
            for k in range(s * n, (s + 1) * n):
                y[k] = a[k] - top
        vexp(y + first * n, <floating> 0, y + first * n, rows * n)
        for s in range(first, first + rows):
            total = vsum(y + s * n, n)
            for k in range(s * n, (s + 1) * n):
                y[k] /= total
        first += rows


cdef inline void softmax_backward_row(const floating *y, floating *da, Py_ssize_t n) noexcept nogil:
    """da = y * (dy - sum(y * dy)) for one row, y = softmax(a); da holds dy on entry"""
    cdef floating mean = vdot(y, da, n)
    cdef Py_ssize_t k
    for k in range(n):
        da[k] = y[k] * (da[k] - mean)
