"""Update rules over the flat parameter vector."""

from cython cimport floating
from nncore_ext.vmath cimport axpby


cdef inline void sgd_update(floating *params, const floating *grads, double lr, Py_ssize_t n) noexcept nogil:
    """params = params - lr * grads"""
    axpby(<floating> -lr, grads, True, params, n)
