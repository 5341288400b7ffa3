"""The face of loss.pxd: losses summed over the rows of arrays, with their gradients."""

from cython cimport floating
cimport nncore_ext.layers.loss as kernel
from nncore_ext.alignment cimport expect_aligned

LOSSES = {
    "squared_error": kernel.SQUARED_ERROR,
    "absolute_error": kernel.ABSOLUTE_ERROR,
    "huber": kernel.HUBER,
    "quantile": kernel.QUANTILE,
    "poisson": kernel.POISSON,
    "softmax_cross_entropy": kernel.SOFTMAX_CROSS_ENTROPY,
    "sigmoid_cross_entropy": kernel.SIGMOID_CROSS_ENTROPY,
    "binary_cross_entropy": kernel.BINARY_CROSS_ENTROPY,
    "hinge": kernel.HINGE,
    "log_cosh": kernel.LOG_COSH,
}


# What the targets of a loss are; of others any number.
TARGETS = {
    "softmax_cross_entropy": "numbers from 0 to 1 that sum to 1",
    "sigmoid_cross_entropy": "numbers from 0 to 1",
    "binary_cross_entropy": "numbers from 0 to 1",
    "poisson": "numbers of 0 or more",
    "hinge": "-1 or 1",
}


def first_misfit(int kind, const floating[:, ::1] t):
    """Number of the first row of targets (n_samples, n_out) that are not what TARGETS says of this loss, or -1"""
    cdef Py_ssize_t s, n = t.shape[1], found = -1
    if n == 0 or t.shape[0] == 0:
        return found
    expect_aligned(&t[0, 0], sizeof(floating), "t")
    with nogil:
        for s in range(t.shape[0]):
            if not kernel.is_fit(kind, &t[s, 0], n):
                found = s
                break
    return found


cdef int expect_like(const floating[:, ::1] y, const floating[:, ::1] t, floating[:, ::1] dy) except -1:
    if (t.shape[0], t.shape[1]) != (y.shape[0], y.shape[1]):
        raise ValueError(f"t has shape {t.shape[0], t.shape[1]}, expected {y.shape[0], y.shape[1]} to match y")
    if (dy.shape[0], dy.shape[1]) != (y.shape[0], y.shape[1]):
        raise ValueError(f"dy has shape {dy.shape[0], dy.shape[1]}, expected {y.shape[0], y.shape[1]} to match y")
    if y.shape[0] and y.shape[1]:
        expect_aligned(&y[0, 0], sizeof(floating), "y")
        expect_aligned(&t[0, 0], sizeof(floating), "t")
        expect_aligned(&dy[0, 0], sizeof(floating), "dy")
    return 0


def terms(int kind, double param, const floating[:, ::1] y, const floating[:, ::1] t, const double[:, ::1] w,
          floating[:, ::1] dy):
    """Returns sum(w * loss(y, t)) for a loss that is a sum over outputs; dy = w * loss'(y, t); all (n_samples, n_out)

    w may be None: 1.
    """
    cdef Py_ssize_t s, n = y.shape[1]
    cdef const double *weights = NULL
    cdef double total = 0
    expect_like(y, t, dy)
    if kind == kernel.SOFTMAX_CROSS_ENTROPY or kind not in LOSSES.values():
        raise ValueError(f"kind is {kind}, expected a loss that is a sum over outputs")
    if w is not None and (w.shape[0], w.shape[1]) != (y.shape[0], n):
        raise ValueError(f"w has shape {w.shape[0], w.shape[1]}, expected {y.shape[0], n} to match y")
    if y.shape[0] == 0 or n == 0:
        return total
    if w is not None:
        expect_aligned(&w[0, 0], sizeof(double), "w")
    with nogil:
        for s in range(y.shape[0]):
            if w is not None:
                weights = &w[s, 0]
            total += kernel.terms_row(kind, param, &y[s, 0], &t[s, 0], weights, &dy[s, 0], n)
    return total


def cross_entropy(const floating[:, ::1] y, const floating[:, ::1] t, floating[:, ::1] dy, double delta):
    """Returns -sum(t * log(y + delta)); dy = -t / (y + delta); all (n_samples, n_out), y probabilities"""
    cdef Py_ssize_t s, n = y.shape[1]
    cdef double total = 0
    expect_like(y, t, dy)
    if y.shape[0] == 0 or n == 0:
        return total
    with nogil:
        for s in range(y.shape[0]):
            total += kernel.cross_entropy_row(&y[s, 0], &t[s, 0], &dy[s, 0], delta, n)
    return total


def softmax_cross_entropy(const floating[:, ::1] a, const floating[:, ::1] t, floating[:, ::1] da, double delta):
    """Returns -sum(t * log(softmax(a) + delta)) and writes its gradient by a to da; all (n_samples, n_out)"""
    cdef Py_ssize_t s, n = a.shape[1]
    cdef double total = 0
    expect_like(a, t, da)
    if a.shape[0] == 0 or n == 0:
        return total
    with nogil:
        for s in range(a.shape[0]):
            total += kernel.softmax_cross_entropy_row(&a[s, 0], &t[s, 0], &da[s, 0], delta, n)
    return total
