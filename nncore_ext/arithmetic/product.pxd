"""Row-major matrix products, shared by threads: product.h, or SciPy's BLAS where that has the wider vectors."""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset
from nncore_ext.watch cimport Watch, look, stopped
from scipy.linalg.cython_blas cimport dgemm, sgemm

cdef extern from "arithmetic/product.h" nogil:
    const bint NN_USES_BLAS
    void nn_product_f32(
        const float *A, Py_ssize_t a_row, Py_ssize_t a_col, const float *B, Py_ssize_t b_row, Py_ssize_t b_col,
        const float *start, Py_ssize_t start_row, float *C, Py_ssize_t c_row, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
        Py_ssize_t chain)
    void nn_product_f64(
        const double *A, Py_ssize_t a_row, Py_ssize_t a_col, const double *B, Py_ssize_t b_row, Py_ssize_t b_col,
        const double *start, Py_ssize_t start_row, double *C, Py_ssize_t c_row, Py_ssize_t m, Py_ssize_t n,
        Py_ssize_t k, Py_ssize_t chain)
    const Py_ssize_t NN_LONG_DEPTH
    const Py_ssize_t NN_PART_DEPTH
    const Py_ssize_t NN_DEPTH
    const Py_ssize_t NN_CHAIN

cdef enum:
    # One block; waking a second thread pays from about two of them.
    BLOCK_MACS = 1 << 20
    MAX_BLOCKS = 16
    # A block has at least so many rows or columns: fewer would each read, or copy, the whole other matrix.
    BLOCK_ROWS = 32
    BLOCK_COLUMNS = 48
    # A block of more multiply-adds, some ms, is computed in slices, to look for Ctrl-C in between. They are as high,
    # wide and deep as costs nothing: product.h copies a strip of B once for all rows, and takes depths by 256.
    SLICE_MACS = 1 << 26
    SLICE_COLUMNS = 768
    SLICE_ROWS = 2048
    SLICE_DEPTH = 256
    # Rows of C whose long sums are computed at a time.
    PANEL_ROWS = 64


cdef inline void product(
    bint trans_A, bint trans_B, const floating *A, const floating *B, const floating *start, Py_ssize_t start_row,
    floating *C, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, int n_threads, Watch *watch
) noexcept nogil:
    """C = start + op(A) @ op(B): op(A) (m, k), op(B) (k, n), C (m, n), A and B contiguous

    start: row i at start + i * start_row (0: the same for all rows), or NULL. C is cut into blocks by the sizes alone
    and each block is computed by one thread: the same bits for any n_threads. Sizes below 2^31 (Network checks them).
    watch, unless NULL, is asked now and then whether to stop, with C half done.
    """
    cdef Py_ssize_t most = min(m * n * k // BLOCK_MACS, MAX_BLOCKS), n_rows = 1, n_cols = 1, block
    # powers of two, so that 2, 4, 8 threads share evenly; columns first: each strip of B is then read or copied once
    while 2 * n_cols * n_rows <= most and n // (2 * n_cols) >= BLOCK_COLUMNS:
        n_cols *= 2
    while 2 * n_cols * n_rows <= most and m // (2 * n_rows) >= BLOCK_ROWS:
        n_rows *= 2
    if n_threads == 1 or n_rows * n_cols == 1:
        for block in range(n_rows * n_cols):
            product_block(trans_A, trans_B, A, B, start, start_row, C, m, n, k, block // n_cols, n_rows,
                          block % n_cols, n_cols, watch)
    else:
        for block in prange(n_rows * n_cols, num_threads=min(n_threads, <int> (n_rows * n_cols)), schedule="static"):
            product_block(trans_A, trans_B, A, B, start, start_row, C, m, n, k, block // n_cols, n_rows,
                          block % n_cols, n_cols, watch)


cdef inline void product_block(
    bint trans_A, bint trans_B, const floating *A, const floating *B, const floating *start, Py_ssize_t start_row,
    floating *C, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t row_block, Py_ssize_t n_row_blocks,
    Py_ssize_t col_block, Py_ssize_t n_col_blocks, Watch *watch
) noexcept nogil:
    """One block of C; its columns begin at whole tiles"""
    cdef Py_ssize_t i = m * row_block // n_row_blocks, i_stop = m * (row_block + 1) // n_row_blocks
    cdef Py_ssize_t strips = (n + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS
    cdef Py_ssize_t j = strips * col_block // n_col_blocks * BLOCK_COLUMNS
    cdef Py_ssize_t j_stop = min(n, strips * (col_block + 1) // n_col_blocks * BLOCK_COLUMNS)
    cdef Py_ssize_t i_first = i, i_last, j_last, p, p_last, depth
    if k >= NN_LONG_DEPTH:
        long_block(trans_A, trans_B, A, B, start, start_row, C, m, n, k, i, i_stop, j, j_stop, watch)
        return
    if (i_stop - i) * (j_stop - j) * k <= SLICE_MACS:
        if look(watch, (i_stop - i) * (j_stop - j) * k):
            return
        product_slice(trans_A, trans_B, A, B, start, start_row, C, m, n, k, i, i_stop, j, j_stop, 0, k)
        return
    while j < j_stop:
        j_last = j_stop if j_stop - j < 2 * SLICE_COLUMNS else j + SLICE_COLUMNS
        i = i_first
        while i < i_stop:
            i_last = i_stop if i_stop - i < 2 * SLICE_ROWS else i + SLICE_ROWS
            depth = SLICE_MACS // ((i_last - i) * (j_last - j)) // SLICE_DEPTH * SLICE_DEPTH
            p = 0
            while p < k:
                p_last = min(k, p + max(depth, <Py_ssize_t> SLICE_DEPTH))
                if look(watch, (i_last - i) * (j_last - j) * (p_last - p)):
                    return
                product_slice(trans_A, trans_B, A, B, start, start_row, C, m, n, k, i, i_last, j, j_last, p, p_last)
                p = p_last
            i = i_last
        j = j_last


cdef inline void product_slice(
    bint trans_A, bint trans_B, const floating *A, const floating *B, const floating *start, Py_ssize_t start_row,
    floating *C, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t i, Py_ssize_t i_stop, Py_ssize_t j,
    Py_ssize_t j_stop, Py_ssize_t p, Py_ssize_t p_stop
) noexcept nogil:
    """Rows i to i_stop and columns j to j_stop of C: its start, or from p = 0 on C itself, plus terms p to p_stop"""
    cdef Py_ssize_t a_row = 1 if trans_A else k, a_col = m if trans_A else 1
    cdef Py_ssize_t b_row = 1 if trans_B else n, b_col = k if trans_B else 1
    cdef const floating *begin = start + i * start_row + j if start else start
    if p > 0:
        begin, start_row = C + i * n + j, n
    plain_product(trans_A, trans_B, A + i * a_row + p * a_col, max(a_row, a_col), B + j * b_col + p * b_row,
                  max(b_row, b_col), begin, start_row, C + i * n + j, n, i_stop - i, j_stop - j, p_stop - p,
                  NN_CHAIN if trans_A and k > NN_DEPTH else NN_DEPTH)  # sums over samples are of like terms


cdef inline void long_block(
    bint trans_A, bint trans_B, const floating *A, const floating *B, const floating *start, Py_ssize_t start_row,
    floating *C, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t i, Py_ssize_t i_stop, Py_ssize_t j_first,
    Py_ssize_t j_stop, Watch *watch
) noexcept nogil:
    """Rows i to i_stop and columns j_first to j_stop of C, panel by panel"""
    cdef Py_ssize_t a_row = 1 if trans_A else k, a_col = m if trans_A else 1
    cdef Py_ssize_t b_row = 1 if trans_B else n, b_col = k if trans_B else 1
    cdef Py_ssize_t rows, columns, j
    while i < i_stop:
        rows = min(i_stop - i, <Py_ssize_t> PANEL_ROWS)
        j = j_first
        while j < j_stop and not stopped(watch):
            columns = min(j_stop - j, <Py_ssize_t> BLOCK_COLUMNS)
            long_product(trans_A, trans_B, A + i * a_row, a_row, a_col, B + j * b_col, b_row, b_col,
                         start + i * start_row + j if start else start, start_row, C + i * n + j, n, rows, columns, k,
                         watch)
            j += columns
        i += rows


cdef inline void long_product(
    bint trans_A, bint trans_B, const floating *A, Py_ssize_t a_row, Py_ssize_t a_col, const floating *B,
    Py_ssize_t b_row, Py_ssize_t b_col, const floating *start, Py_ssize_t start_row, floating *C, Py_ssize_t c_row,
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Watch *watch
) noexcept nogil:
    """plain_product of a panel of C, the parts of its sums over k added in double"""
    cdef floating[PANEL_ROWS * BLOCK_COLUMNS] part
    cdef double[PANEL_ROWS * BLOCK_COLUMNS] total
    cdef Py_ssize_t p = 0, i, j
    memset(total, 0, m * n * sizeof(double))
    while p < k:
        if look(watch, m * n * min(NN_PART_DEPTH, k - p)):
            return
        plain_product(trans_A, trans_B, A + p * a_col, max(a_row, a_col), B + p * b_row, max(b_row, b_col),
                      start if p == 0 else <const floating *> NULL, start_row, part, n, m, n,
                      min(NN_PART_DEPTH, k - p), NN_CHAIN)
        for i in range(m * n):
            total[i] += part[i]
        p += NN_PART_DEPTH
    for i in range(m):
        for j in range(n):
            C[i * c_row + j] = <floating> total[i * n + j]


cdef inline void plain_product(
    bint trans_A, bint trans_B, const floating *A, Py_ssize_t ld_A, const floating *B, Py_ssize_t ld_B,
    const floating *start, Py_ssize_t start_row, floating *C, Py_ssize_t c_row, Py_ssize_t m, Py_ssize_t n,
    Py_ssize_t k, Py_ssize_t chain
) noexcept nogil:
    """product on one thread, of matrices whose rows are ld_A, ld_B, c_row apart; chain: of terms added in a row"""
    if NN_USES_BLAS:
        blas_product(trans_A, trans_B, A, B, start, start_row, C, m, n, k, ld_A, ld_B, c_row)
    elif floating is float:
        nn_product_f32(A, 1 if trans_A else ld_A, ld_A if trans_A else 1, B, 1 if trans_B else ld_B,
                       ld_B if trans_B else 1, start, start_row, C, c_row, m, n, k, chain)
    else:
        nn_product_f64(A, 1 if trans_A else ld_A, ld_A if trans_A else 1, B, 1 if trans_B else ld_B,
                       ld_B if trans_B else 1, start, start_row, C, c_row, m, n, k, chain)


cdef inline void blas_product(
    bint trans_A, bint trans_B, const floating *A, const floating *B, const floating *start, Py_ssize_t start_row,
    floating *C, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t ld_A, Py_ssize_t ld_B, Py_ssize_t ld_C
) noexcept nogil:
    """The same by BLAS, to which a row-major matrix is its own transpose: C.T = op(B).T @ op(A).T asks for no copy"""
    cdef char op_A = c'T' if trans_A else c'N'
    cdef char op_B = c'T' if trans_B else c'N'
    cdef int rows = <int> m, cols = <int> n, depth = <int> k, lda = <int> ld_A, ldb = <int> ld_B, ldc = <int> ld_C
    cdef floating one = 1, beta = 1 if start else 0
    cdef Py_ssize_t i
    if start and start != C:
        for i in range(m):
            memcpy(C + i * ld_C, start + i * start_row, n * sizeof(floating))
    if floating is float:
        sgemm(&op_B, &op_A, &cols, &rows, &depth, &one, <float *> B, &ldb, <float *> A, &lda, &beta, C, &ldc)
    else:
        dgemm(&op_B, &op_A, &cols, &rows, &depth, &one, <double *> B, &ldb, <double *> A, &lda, &beta, C, &ldc)
