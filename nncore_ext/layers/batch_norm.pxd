"""Batch normalisation: x_hat = (a - mean) / sqrt(var + eps) by unit, then a = gamma * x_hat + beta; its backward.

a and x_hat (m, n), all others (n,). Training takes mean and variance of the batch, and moves the running ones towards
them, the variance as m / (m - 1) times that of the batch; everything else, and a batch of one sample, takes the running
ones. Source: Ioffe, Szegedy (2015); eps, momentum and the unbiased running variance are those of torch.nn.BatchNorm1d.
"""

from cython cimport floating
from libc.string cimport memset
from nncore_ext.arithmetic.vmath cimport add_products, add_rows, square_root

cdef extern from *:
    """
    #define NN_NORM_EPS 1e-5
    #define NN_NORM_MOMENTUM 0.1
    """
    const double NN_NORM_EPS
    const double NN_NORM_MOMENTUM

cdef enum:
    # Vectors of a layer: running mean and variance, mean and 1 / sqrt(var + eps) of the last batch.
    NORM_VECTORS = 4


cdef inline void norm_forward(
    const floating *gamma, const floating *beta, floating *a, floating *x_hat, floating *vectors, bint training,
    Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """a = gamma * x_hat + beta, vectors: NORM_VECTORS, changed in training only"""
    cdef const floating *mean = vectors
    cdef const floating *var = vectors + n
    cdef Py_ssize_t s, j
    cdef floating *row
    if training and m > 1:
        batch_moments(a, x_hat, vectors, m, n)
    for s in range(m):
        row = x_hat + s * n
        if training and m > 1:
            for j in range(n):
                row[j] *= vectors[3 * n + j]
        else:
            for j in range(n):
                row[j] = (a[s * n + j] - mean[j]) / square_root(var[j] + <floating> NN_NORM_EPS)
        for j in range(n):
            a[s * n + j] = gamma[j] * row[j] + beta[j]


cdef inline void batch_moments(
    const floating *a, floating *centred, floating *vectors, Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """Mean and 1 / sqrt(var + eps) of the batch, and the running moments after it; centred = a - mean; m > 1"""
    cdef floating *mean = vectors + 2 * n
    cdef floating *inverse = vectors + 3 * n
    cdef floating momentum = <floating> NN_NORM_MOMENTUM
    cdef Py_ssize_t s, j
    memset(mean, 0, 2 * n * sizeof(floating))
    add_rows(a, mean, m, n)
    for j in range(n):
        mean[j] /= m
    for s in range(m):
        for j in range(n):
            centred[s * n + j] = a[s * n + j] - mean[j]
    add_products(centred, centred, inverse, m, n)
    for j in range(n):
        vectors[j] += momentum * (mean[j] - vectors[j])
        vectors[n + j] += momentum * (inverse[j] / (m - 1) - vectors[n + j])
        inverse[j] = 1 / square_root(inverse[j] / m + <floating> NN_NORM_EPS)


cdef inline void norm_backward(
    const floating *gamma, const floating *x_hat, const floating *vectors, floating *da, floating *dgamma,
    floating *dbeta, bint training, Py_ssize_t m, Py_ssize_t n
) noexcept nogil:
    """dgamma = sum(da * x_hat), dbeta = sum(da), and da becomes the gradient by what was normalised; dbeta not NULL

    training: da = gamma / sqrt(var + eps) * (da - dbeta / m - x_hat * dgamma / m), else the first factor only.
    """
    cdef const floating *inverse = vectors + 3 * n
    cdef floating share = <floating> (1.0 / m)
    cdef Py_ssize_t s, j
    memset(dgamma, 0, n * sizeof(floating))
    memset(dbeta, 0, n * sizeof(floating))
    add_products(da, x_hat, dgamma, m, n)
    add_rows(da, dbeta, m, n)
    for s in range(m):
        if training and m > 1:
            for j in range(n):
                da[s * n + j] = gamma[j] * inverse[j] * (
                    da[s * n + j] - share * (dbeta[j] + x_hat[s * n + j] * dgamma[j]))
        else:
            for j in range(n):
                da[s * n + j] *= gamma[j] / square_root(vectors[n + j] + <floating> NN_NORM_EPS)
