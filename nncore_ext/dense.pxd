"""The dense layer a = x @ W + b and its backward.

x (n_samples, n_in), W (n_in, n_out), b (n_out,) or NULL, a and da (n_samples, n_out), all contiguous.
The work is cut into blocks of *output* elements by the sizes alone, never by the number of threads, so each
element is the same sum in the same order whoever computes it: same bits for any n_threads.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset
from nncore_ext.blas cimport gemm
from nncore_ext.vmath cimport axpby, matvec, vecmat

cdef enum:
    # A call of BLAS costs about as much as this many multiply-adds in the loops of vmath.h.
    BLAS_MIN_MACS = 6144
    # One block; waking a second thread pays from about two of them.
    BLOCK_MACS = 1 << 20
    MAX_BLOCKS = 16


cdef inline bint use_blas(Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    """A single row is bound by memory: the plain loops are as fast as BLAS and skip its overhead."""
    return n_samples > 1 and n_samples * n_in * n_out >= BLAS_MIN_MACS


cdef inline Py_ssize_t count_blocks(Py_ssize_t n_rows, Py_ssize_t macs) noexcept nogil:
    """A power of two, so that 2, 4, 8 threads share evenly: blocks of BLOCK_MACS or more, of 8 rows or more"""
    cdef Py_ssize_t most = min(macs // BLOCK_MACS, n_rows // 8, MAX_BLOCKS), n_blocks = 1
    while 2 * n_blocks <= most:
        n_blocks *= 2
    return n_blocks


cdef inline void dense_forward(
    const floating *x, const floating *W, const floating *b, floating *a,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads
) noexcept nogil:
    """a = x @ W + b"""
    cdef Py_ssize_t n_blocks = count_blocks(n_samples, n_samples * n_in * n_out), block
    if n_threads == 1 or n_blocks == 1:
        for block in range(n_blocks):
            forward_rows(x, W, b, a, block * n_samples // n_blocks, (block + 1) * n_samples // n_blocks,
                         n_in, n_out)
    else:
        for block in prange(n_blocks, num_threads=min(n_threads, <int> n_blocks), schedule="static"):
            forward_rows(x, W, b, a, block * n_samples // n_blocks, (block + 1) * n_samples // n_blocks,
                         n_in, n_out)


cdef inline void forward_rows(
    const floating *x, const floating *W, const floating *b, floating *a,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_in, Py_ssize_t n_out
) noexcept nogil:
    """a[start:stop] = x[start:stop] @ W + b"""
    cdef Py_ssize_t s
    for s in range(start, stop):
        if b == NULL:
            memset(&a[s * n_out], 0, n_out * sizeof(floating))
        else:
            memcpy(&a[s * n_out], b, n_out * sizeof(floating))
    if use_blas(stop - start, n_in, n_out):
        # a += x @ W
        gemm(False, False, &x[start * n_in], W, <floating> 1, &a[start * n_out],
             stop - start, n_out, n_in, n_in, n_out)
    else:
        for s in range(start, stop):
            vecmat(&x[s * n_in], W, &a[s * n_out], n_in, n_out)


cdef inline void dense_backward_params(
    const floating *x, const floating *da, floating *dW, floating *db,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads
) noexcept nogil:
    """dW = x.T @ da,  db = sum(da, axis=0); db may be NULL"""
    cdef Py_ssize_t n_blocks = count_blocks(n_in, n_samples * n_in * n_out), block, s
    if n_threads == 1 or n_blocks == 1:
        for block in range(n_blocks):
            backward_slab(x, da, dW, block * n_in // n_blocks, (block + 1) * n_in // n_blocks,
                          n_samples, n_in, n_out)
    else:
        for block in prange(n_blocks, num_threads=min(n_threads, <int> n_blocks), schedule="static"):
            backward_slab(x, da, dW, block * n_in // n_blocks, (block + 1) * n_in // n_blocks,
                          n_samples, n_in, n_out)
    if db != NULL:
        memset(db, 0, n_out * sizeof(floating))
        for s in range(n_samples):
            axpby(<floating> 1, &da[s * n_out], True, db, n_out)


cdef inline void backward_slab(
    const floating *x, const floating *da, floating *dW, Py_ssize_t start, Py_ssize_t stop,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out
) noexcept nogil:
    """dW[start:stop] = x[:, start:stop].T @ da"""
    cdef Py_ssize_t s, i
    if use_blas(n_samples, stop - start, n_out):
        gemm(True, False, &x[start], da, <floating> 0, &dW[start * n_out],
             stop - start, n_out, n_samples, n_in, n_out)
    else:
        for i in range(start, stop):
            axpby(x[i], da, False, &dW[i * n_out], n_out)
            for s in range(1, n_samples):
                axpby(x[s * n_in + i], &da[s * n_out], True, &dW[i * n_out], n_out)


cdef inline void dense_backward_input(
    const floating *da, const floating *W, floating *dx,
    Py_ssize_t n_samples, Py_ssize_t n_in, Py_ssize_t n_out, int n_threads
) noexcept nogil:
    """dx = da @ W.T"""
    cdef Py_ssize_t n_blocks = count_blocks(n_samples, n_samples * n_in * n_out), block
    if n_threads == 1 or n_blocks == 1:
        for block in range(n_blocks):
            backward_rows(da, W, dx, block * n_samples // n_blocks, (block + 1) * n_samples // n_blocks,
                          n_in, n_out)
    else:
        for block in prange(n_blocks, num_threads=min(n_threads, <int> n_blocks), schedule="static"):
            backward_rows(da, W, dx, block * n_samples // n_blocks, (block + 1) * n_samples // n_blocks,
                          n_in, n_out)


cdef inline void backward_rows(
    const floating *da, const floating *W, floating *dx,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_in, Py_ssize_t n_out
) noexcept nogil:
    """dx[start:stop] = da[start:stop] @ W.T"""
    cdef Py_ssize_t s
    if use_blas(stop - start, n_in, n_out):
        gemm(False, True, &da[start * n_out], W, <floating> 0, &dx[start * n_in],
             stop - start, n_in, n_out, n_out, n_out)
    else:
        for s in range(start, stop):
            matvec(W, &da[s * n_out], &dx[s * n_in], n_in, n_out)
