"""Row-major matrix product over SciPy's BLAS: the one place that knows its column-major interface."""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline void gemm(
    bint trans_A, bint trans_B, const floating *A, const floating *B, floating beta, floating *C,
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t ld_A, Py_ssize_t ld_B
) noexcept nogil:
    """C = op(A) @ op(B) + beta * C

    op(A) (m, k), op(B) (k, n), C (m, n) contiguous; ld_A, ld_B: elements from one row of A, B to the next.
    A row-major matrix is its own transpose to BLAS, so C.T = op(B).T @ op(A).T asks for no copy.
    All sizes > 0 and below 2^31 (Network checks them once).
    """
    cdef char op_A = c'T' if trans_A else c'N'
    cdef char op_B = c'T' if trans_B else c'N'
    cdef int rows = <int> m, cols = <int> n, depth = <int> k, lda = <int> ld_A, ldb = <int> ld_B
    cdef floating one = 1
    if floating is float:
        sgemm(&op_B, &op_A, &cols, &rows, &depth, &one, <float *> B, &ldb, <float *> A, &lda,
              &beta, C, &cols)
    else:
        dgemm(&op_B, &op_A, &cols, &rows, &depth, &one, <double *> B, &ldb, <double *> A, &lda,
              &beta, C, &cols)
