"""The face of activation.pxd: activations and softmax of arrays."""

from cython cimport floating
cimport nncore_ext.layers.activation as kernel
from nncore_ext.alignment cimport expect_aligned

import numpy as np

ACTIVATIONS = {
    "identity": kernel.IDENTITY,
    "relu": kernel.RELU,
    "tanh": kernel.TANH,
    "sigmoid": kernel.SIGMOID,
    "leaky_relu": kernel.LEAKY_RELU,
    "elu": kernel.ELU,
    "selu": kernel.SELU,
    "gelu": kernel.GELU,
    "silu": kernel.SILU,
    "softplus": kernel.SOFTPLUS,
    "hard_sigmoid": kernel.HARD_SIGMOID,
    "mish": kernel.MISH,
    "softsign": kernel.SOFTSIGN,
    "softmax": kernel.SOFTMAX,
}
# The sigmoid of an output layer whose loss takes its logits.
LOGISTIC = kernel.LOGISTIC


def keeps_slope(int kind):
    """Whether the output of an activation does not determine its derivative."""
    return kernel.keeps_slope(kind) != 0


def activate(int kind, floating[::1] z, floating[::1] slope=None, double param=0):
    """z = f(z), in place, for an elementwise activation; slope = f'(z) of one that keeps_slope, unless None"""
    cdef floating *kept = NULL
    if slope is not None and slope.shape[0] != z.shape[0]:
        raise ValueError(f"slope has {slope.shape[0]} elements, expected {z.shape[0]} to match z")
    if z.shape[0] == 0:
        return
    expect_aligned(&z[0], sizeof(floating), "z")
    if slope is not None:
        expect_aligned(&slope[0], sizeof(floating), "slope")
        kept = &slope[0]
    with nogil:
        kernel.activation_forward(kind, param, &z[0], kept, z.shape[0])


def differentiate(int kind, const floating[::1] z, floating[::1] da, const floating[::1] slope=None, double param=0):
    """da = da * f'(a), in place, f' from the output z, or slope for an activation that keeps_slope; shapes equal"""
    cdef const floating *kept = NULL
    if z.shape[0] != da.shape[0]:
        raise ValueError(f"da has {da.shape[0]} elements, expected {z.shape[0]} to match z")
    if kernel.keeps_slope(kind) and (slope is None or slope.shape[0] != z.shape[0]):
        raise ValueError(f"slope has {0 if slope is None else slope.shape[0]} elements, expected {z.shape[0]}")
    if z.shape[0] == 0:
        return
    expect_aligned(&z[0], sizeof(floating), "z")
    expect_aligned(&da[0], sizeof(floating), "da")
    if slope is not None:
        expect_aligned(&slope[0], sizeof(floating), "slope")
        kept = &slope[0]
    with nogil:
        kernel.activation_backward(kind, param, &z[0], kept, &da[0], z.shape[0])


def softmax(floating[:, ::1] y, double[::1] log_sums=None):
    """Each row y becomes softmax(y); log_sums (n_rows,), unless None, = log(sum(exp(row - max(row))))"""
    cdef double[::1] tops
    cdef Py_ssize_t n = y.shape[1]
    if log_sums is not None and log_sums.shape[0] != y.shape[0]:
        raise ValueError(f"log_sums has {log_sums.shape[0]} elements, expected {y.shape[0]} to match y")
    if y.shape[0] == 0 or n == 0:
        return
    expect_aligned(&y[0, 0], sizeof(floating), "y")
    if log_sums is None:
        with nogil:
            kernel.softmax_rows(&y[0, 0], &y[0, 0], NULL, NULL, y.shape[0], n)
        return
    expect_aligned(&log_sums[0], sizeof(double), "log_sums")
    tops = np.empty(y.shape[0])
    with nogil:
        kernel.softmax_rows(&y[0, 0], &y[0, 0], &tops[0], &log_sums[0], y.shape[0], n)


def softmax_backward(const floating[:, ::1] y, floating[:, ::1] da):
    """da = y * (dy - sum(y * dy)) row by row, in place: da holds dy on entry; shapes equal"""
    cdef Py_ssize_t s, n = y.shape[1]
    if da.shape[0] != y.shape[0] or da.shape[1] != n:
        raise ValueError(f"da has shape {da.shape[0], da.shape[1]}, expected {y.shape[0], n} to match y")
    if y.shape[0] == 0 or n == 0:
        return
    expect_aligned(&y[0, 0], sizeof(floating), "y")
    expect_aligned(&da[0, 0], sizeof(floating), "da")
    with nogil:
        for s in range(y.shape[0]):
            kernel.softmax_backward_row(&y[s, 0], &da[s, 0], n)
