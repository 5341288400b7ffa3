"""NumPy arrays as the kernels take them: types, layouts and sizes, which memory safety needs, are checked."""

cimport numpy as cnp
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.weakref cimport PyWeakref_NewRef
from cython cimport floating
from nncore_ext.arithmetic.vmath cimport vfinite
from nncore_ext.samples.rows cimport FLOAT32, FLOAT64, PARTS, UINT8, CompressedRows, Rows, Weights

cdef enum:
    # Elements that are looked at with the GIL: sooner than it is given back and taken again.
    FEW = 1 << 10


cdef inline void *data_of(
    cnp.ndarray array, str name, int type_number, Py_ssize_t size, bint written=False
) except? NULL:
    """The memory of an array the kernels read, or write: contiguous, of this type and number of elements."""
    if array is None:
        raise TypeError(f"{name} is None, expected an array")
    if written and not cnp.PyArray_ISWRITEABLE(array):
        raise TypeError(f"{name} is read-only, expected an array to write to")
    if not (cnp.PyArray_ISCARRAY_RO(array) and cnp.PyArray_TYPE(array) == type_number and array.size == size):
        raise TypeError(f"{name} is a {array.dtype} array of shape {(<object> array).shape}, "
                        f"expected {size} contiguous elements of {cnp.PyArray_DescrFromType(type_number)} in memory "
                        f"aligned for them")
    return cnp.PyArray_DATA(array)


cdef inline object held(cnp.ndarray array):
    """An object that keeps the memory of an array where it is as long as it lives, whatever other threads do

    NumPy resizes no array that has a weak reference; nothing resizes or closes a buffer that is exported.
    """
    if array is None:
        return None
    cdef object root = array, base = root.base
    while isinstance(base, cnp.ndarray):
        root, base = base, (<object> base).base
    if base is None:
        return PyWeakref_NewRef(root, None)
    return memoryview(base) if PyObject_CheckBuffer(base) else base


cdef inline Py_ssize_t n_rows(cnp.ndarray array, str name) except -1:
    """The length of the first dimension"""
    if array is None or cnp.PyArray_NDIM(array) == 0:
        raise TypeError(f"{name} is {array}, expected an array of one dimension or more")
    return array.shape[0]


cdef inline int element_type(cnp.ndarray x, str name) except -1:
    """How the elements of data are stored"""
    cdef int kind = cnp.PyArray_TYPE(x)
    if kind == cnp.NPY_FLOAT32:
        return FLOAT32
    if kind == cnp.NPY_FLOAT64:
        return FLOAT64
    if kind == cnp.NPY_UINT8:
        return UINT8
    raise TypeError(f"{name} is a {x.dtype} array, expected float32, float64 or uint8")


cdef inline int set_rows(Rows *rows, cnp.ndarray x, str name, Py_ssize_t n_features, double scale) except -1:
    """rows = x, contiguous (n, n_features); bytes are to be multiplied by scale"""
    if x is None or cnp.PyArray_NDIM(x) != 2 or x.shape[1] != n_features or not cnp.PyArray_ISCARRAY_RO(x):
        shape = () if x is None else (<object> x).shape
        raise TypeError(f"{name} is an array of shape {shape}, expected contiguous rows of {n_features} in memory "
                        f"aligned for them")
    rows.element = element_type(x, name)
    rows.data = cnp.PyArray_DATA(x)
    rows.n_features = n_features
    rows.scale = scale if rows.element == UINT8 else 1.0
    return 0


cdef inline int set_compressed(CompressedRows *rows, x, Py_ssize_t n_features, double scale) except -1:
    """From compressed.CompressedRows, whose columns and pieces are trusted"""
    cdef cnp.ndarray pieces = x.pieces, bounds = x.bounds, columns = x.columns, values = x.values
    if x.bounds[PARTS] != n_features:
        raise TypeError(f"x has rows of {x.bounds[PARTS]}, expected {n_features}")
    rows.element = element_type(values, "x")
    rows.scale = scale if rows.element == UINT8 else 1.0
    rows.wide = cnp.PyArray_TYPE(columns) == cnp.NPY_INT32
    rows.max_piece, rows.n_values = x.max_piece, len(values)
    rows.pieces = <const Py_ssize_t *> data_of(pieces, "pieces", cnp.NPY_INTP, len(pieces))
    rows.bounds = <const Py_ssize_t *> data_of(bounds, "bounds", cnp.NPY_INTP, PARTS + 1)
    rows.columns = data_of(columns, "columns", cnp.NPY_INT32 if rows.wide else cnp.NPY_UINT16, len(values))
    rows.values = data_of(values, "values", cnp.PyArray_TYPE(values), len(values))
    return 0


cdef inline int set_weights(
    Weights *weights, cnp.ndarray values, Py_ssize_t n_samples, Py_ssize_t n_out
) except -1:
    """None, (n_samples,) or (n_samples, n_out)"""
    weights.values, weights.by_output = NULL, False
    if values is not None:
        weights.by_output = cnp.PyArray_NDIM(values) == 2
        weights.values = <const double *> data_of(values, "weights", cnp.NPY_FLOAT64,
                                                  n_samples * (n_out if weights.by_output else 1))
    return 0


cdef inline bint is_plain_rows(x, Py_ssize_t n_features):
    """Whether plain_rows takes it"""
    if not cnp.PyArray_CheckExact(x):
        return False
    cdef cnp.ndarray rows = x
    cdef int n_dims = cnp.PyArray_NDIM(rows), kind = cnp.PyArray_TYPE(rows)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(rows)
    cdef void *data = cnp.PyArray_DATA(rows)
    cdef bint finite = True
    if n_dims not in (1, 2) or rows.shape[n_dims - 1] != n_features or size == 0 or not cnp.PyArray_ISCARRAY_RO(rows):
        return False
    if kind == cnp.NPY_FLOAT32 and size > FEW:
        memory = held(rows)
        with nogil:
            finite = all_finite(<const float *> data, size)
    elif kind == cnp.NPY_FLOAT64 and size > FEW:
        memory = held(rows)
        with nogil:
            finite = all_finite(<const double *> data, size)
    elif kind == cnp.NPY_FLOAT32:
        finite = all_finite(<const float *> data, size)
    elif kind == cnp.NPY_FLOAT64:
        finite = all_finite(<const double *> data, size)
    elif kind != cnp.NPY_UINT8:
        return False
    return finite


cdef inline bint all_finite(const floating *x, Py_ssize_t n) noexcept nogil:
    """A block at a time: the search within one has no early end"""
    cdef Py_ssize_t i = 0, stop
    while i < n:
        stop = min(n, i + 4096)
        if not vfinite(x + i, stop - i):
            return False
        i = stop
    return True
