"""The face of dense.pxd: a dense layer's forward and backward."""

from cython cimport floating
cimport nncore_ext.layers.dense as kernel
from nncore_ext.alignment cimport expect_aligned


cdef int expect(name, tuple shape, tuple expected) except -1:
    if shape != expected:
        raise ValueError(f"{name} has shape {shape}, expected {expected}")
    return 0


def forward(const floating[:, ::1] x, const floating[:, ::1] W, const floating[::1] b, floating[:, ::1] a,
            int n_threads=1):
    """a = x @ W + b; x (n_samples, n_in), W (n_in, n_out), b (n_out,) or None, a (n_samples, n_out)"""
    cdef Py_ssize_t n_samples = x.shape[0], n_in = x.shape[1], n_out = W.shape[1]
    cdef const floating *bias = NULL
    expect("W", (W.shape[0], n_out), (n_in, n_out))
    expect("a", (a.shape[0], a.shape[1]), (n_samples, n_out))
    if n_samples == 0 or n_out == 0:
        return
    if b is not None:
        expect("b", (b.shape[0],), (n_out,))
        bias = &b[0]
    if n_in == 0:
        raise ValueError("x has 0 features, expected at least 1")
    expect_aligned(&x[0, 0], sizeof(floating), "x")
    expect_aligned(&W[0, 0], sizeof(floating), "W")
    expect_aligned(bias, sizeof(floating), "b")
    expect_aligned(&a[0, 0], sizeof(floating), "a")
    with nogil:
        kernel.dense_forward(&x[0, 0], &W[0, 0], bias, &a[0, 0], n_samples, n_in, n_out, max(1, n_threads), NULL)


def backward(const floating[:, ::1] x, const floating[:, ::1] W, const floating[:, ::1] da,
             floating[:, ::1] dW, floating[::1] db, floating[:, ::1] dx, int n_threads=1):
    """dW = x.T @ da, db = sum(da, axis=0), dx = da @ W.T; shapes as in forward, at least one sample"""
    cdef Py_ssize_t n_samples = x.shape[0], n_in = x.shape[1], n_out = W.shape[1]
    expect("W", (W.shape[0], n_out), (n_in, n_out))
    expect("da", (da.shape[0], da.shape[1]), (n_samples, n_out))
    expect("dW", (dW.shape[0], dW.shape[1]), (n_in, n_out))
    expect("db", (db.shape[0],), (n_out,))
    expect("dx", (dx.shape[0], dx.shape[1]), (n_samples, n_in))
    if min(n_samples, n_in, n_out) == 0:
        raise ValueError(f"x has shape {n_samples, n_in} and W {n_in, n_out}, expected no dimension of 0")
    expect_aligned(&x[0, 0], sizeof(floating), "x")
    expect_aligned(&W[0, 0], sizeof(floating), "W")
    expect_aligned(&da[0, 0], sizeof(floating), "da")
    expect_aligned(&dW[0, 0], sizeof(floating), "dW")
    expect_aligned(&db[0], sizeof(floating), "db")
    expect_aligned(&dx[0, 0], sizeof(floating), "dx")
    with nogil:
        kernel.dense_backward_params(&x[0, 0], &da[0, 0], &dW[0, 0], &db[0], n_samples, n_in, n_out, max(1, n_threads),
                                     NULL)
        kernel.dense_backward_input(&da[0, 0], &W[0, 0], &dx[0, 0], n_samples, n_in, n_out, max(1, n_threads), NULL)
