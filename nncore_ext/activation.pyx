"""The face of activation.pxd: activations and softmax of arrays."""

from cython cimport floating
cimport nncore_ext.activation as kernel

ACTIVATIONS = {
    "identity": kernel.IDENTITY,
    "relu": kernel.RELU,
    "tanh": kernel.TANH,
    "sigmoid": kernel.SIGMOID,
    "softmax": kernel.SOFTMAX,
}


def activate(int kind, floating[::1] z):
    """z = f(z), in place, for an elementwise activation"""
    if z.shape[0] == 0:
        return
    with nogil:
        kernel.activation_forward(kind, &z[0], z.shape[0])


def differentiate(int kind, const floating[::1] z, floating[::1] da):
    """da = da * f'(a), in place, f' from the output z; shapes equal"""
    if z.shape[0] != da.shape[0]:
        raise ValueError(f"da has {da.shape[0]} elements, expected {z.shape[0]} to match z")
    if z.shape[0] == 0:
        return
    with nogil:
        kernel.activation_backward(kind, &z[0], &da[0], z.shape[0])


def softmax(floating[:, ::1] y, double[::1] log_sums):
    """Each row y becomes softmax(y); log_sums (n_rows,) = log(sum(exp(row)))"""
    cdef Py_ssize_t s, n = y.shape[1]
    if log_sums.shape[0] != y.shape[0]:
        raise ValueError(f"log_sums has {log_sums.shape[0]} elements, expected {y.shape[0]} to match y")
    if y.shape[0] == 0 or n == 0:
        return
    with nogil:
        for s in range(y.shape[0]):
            log_sums[s] = kernel.softmax_row(&y[s, 0], &y[s, 0], n)


def softmax_backward(const floating[:, ::1] y, floating[:, ::1] da):
    """da = y * (dy - sum(y * dy)) row by row, in place: da holds dy on entry; shapes equal"""
    cdef Py_ssize_t s, n = y.shape[1]
    if da.shape[0] != y.shape[0] or da.shape[1] != n:
        raise ValueError(f"da has shape {da.shape[0], da.shape[1]}, expected {y.shape[0], n} to match y")
    if y.shape[0] == 0 or n == 0:
        return
    with nogil:
        for s in range(y.shape[0]):
            kernel.softmax_backward_row(&y[s, 0], &da[s, 0], n)
