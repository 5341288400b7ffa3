"""The two functions of SciPy's that product.pxd calls, as SciPy declares them: a build needs no SciPy.

Cython compares the declarations with SciPy's when the module is imported.
"""

ctypedef float s
ctypedef double d

cdef void dgemm(char *transa, char *transb, int *m, int *n, int *k, d *alpha, d *a, int *lda, d *b, int *ldb, d *beta,
                d *c, int *ldc) noexcept nogil
cdef void sgemm(char *transa, char *transb, int *m, int *n, int *k, s *alpha, s *a, int *lda, s *b, int *ldb, s *beta,
                s *c, int *ldc) noexcept nogil
