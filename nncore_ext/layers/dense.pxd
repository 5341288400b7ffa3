"""The dense layer a = x @ W + b and its backward.

x (n_samples, n_in), W (n_in, n_out), b (n_out,) or NULL, a and da (n_samples, n_out), all contiguous. A single sample
is bound by memory: a pass over the rows of W is as fast as a product and skips its overhead. watch as in product.
"""

from cython cimport floating
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.product cimport product
from nncore_ext.arithmetic.vmath cimport add_rows, axpby, vecmat
from nncore_ext.watch cimport Watch

cdef extern from "arithmetic/rows_times.h" nogil:
    const Py_ssize_t NN_VECTOR  # bytes
    void nn_row_f32(
        const float *x, Py_ssize_t n, const float *W, Py_ssize_t ld, Py_ssize_t width, const float *start, float *a)
    void nn_row_f64(
        const double *x, Py_ssize_t n, const double *W, Py_ssize_t ld, Py_ssize_t width, const double *start, double *a)
    void nn_dots_f32(const float *W, Py_ssize_t n, Py_ssize_t width, const float *y, float *a)
    void nn_dots_f64(const double *W, Py_ssize_t n, Py_ssize_t width, const double *y, double *a)


cdef inline void row(
    const floating *x, Py_ssize_t n, const floating *W, Py_ssize_t ld, Py_ssize_t width, const floating *start,
    floating *a
) noexcept nogil:
    """a = start + x @ W for x (n,), W (n, width) in rows of ld, at least a vector wide; start NULL: 0"""
    if floating is float:
        nn_row_f32(x, n, W, ld, width, start, a)
    else:
        nn_row_f64(x, n, W, ld, width, start, a)


cdef inline void dots(
    const floating *W, Py_ssize_t n, Py_ssize_t width, const floating *y, floating *a
) noexcept nogil:
    """a = W @ y for W (n, width)"""
    if floating is float:
        nn_dots_f32(W, n, width, y, a)
    else:
        nn_dots_f64(W, n, width, y, a)


cdef inline void dense_forward(
    const floating *x, const floating *W, const floating *b, floating *a,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads, Watch *watch
) noexcept nogil:
    """a = x @ W + b"""
    if n_samples > 1:
        product(False, False, x, W, b, 0, a, n_samples, n_out, n_in, n_threads, watch)
    elif n_samples == 1 and n_out * <Py_ssize_t> sizeof(floating) >= NN_VECTOR:
        row(x, n_in, W, n_out, n_out, b, a)
    elif n_samples == 1:
        if b == NULL:
            memset(a, 0, n_out * sizeof(floating))
        else:
            memcpy(a, b, n_out * sizeof(floating))
        vecmat(x, W, a, n_in, n_out)


cdef inline void dense_backward_params(
    const floating *x, const floating *da, floating *dW, floating *db,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads, Watch *watch
) noexcept nogil:
    """dW = x.T @ da,  db = sum(da, axis=0); db may be NULL"""
    cdef Py_ssize_t i
    if n_samples == 1:
        for i in range(n_in):
            axpby(x[i], da, False, &dW[i * n_out], n_out)
    else:
        product(True, False, x, da, <const floating *> NULL, 0, dW, n_in, n_out, n_samples, n_threads, watch)
    if db != NULL:
        memset(db, 0, n_out * sizeof(floating))
        add_rows(da, db, n_samples, n_out)


cdef inline void dense_backward_input(
    const floating *da, const floating *W, floating *dx,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads, Watch *watch
) noexcept nogil:
    """dx = da @ W.T"""
    if n_samples == 1:
        dots(W, n_in, n_out, da, dx)
    else:
        product(False, True, da, W, <const floating *> NULL, 0, dx, n_samples, n_in, n_out, n_threads, watch)
