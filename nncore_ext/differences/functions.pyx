"""Functions evaluated at points that differ from x in one element.

Python functions in place, C functions without Python. Which points are taken, and what is made of the values, is
decided in src/nncore/differences/differences.py.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport fabs
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from nncore_ext.differences.callback cimport Callback, callback_each, callback_value, function_with_data, plain_function

from time import perf_counter

import numpy as np

cnp.import_array()

cdef enum:
    WIDEST = 32  # bytes of the widest element, a complex of two long doubles

# Seconds without the GIL: Ctrl-C is seen that often, unless one call of f takes longer.
cdef double CHUNK = 0.02


def evaluate(f, argument, cnp.ndarray x, const Py_ssize_t[::1] elements, cnp.ndarray points, cnp.ndarray values,
             str name):
    """values[r, j] = f(argument) while x.flat[elements[r]] is points[r, j]

    x: writable, of any layout, argument itself or part of it; f may as well read it by alias. points: (rows, n_points),
    contiguous, of x's very type, so that elements are moved as bytes. values: (rows, n_points) of float64 for a
    function that returns one number, else (rows, n_points, *shape). x is restored whatever f does; what f raises gets
    a note that says which element was changed.
    """
    cdef cnp.flatiter element = cnp.PyArray_IterNew(x)
    cdef Py_ssize_t rows = elements.shape[0], n_points = points.shape[1], size = x.itemsize, r = 0, j
    cdef const char *point = cnp.PyArray_BYTES(points)
    cdef char original[WIDEST]
    cdef char *target = NULL
    cdef double *number = <double *> cnp.PyArray_DATA(values)
    cdef bint one_number = values.ndim == 2 and values.dtype == np.float64
    if points.dtype != x.dtype or not points.flags.c_contiguous or not values.flags.c_contiguous:
        raise ValueError("points and values are not contiguous or of another type than x")
    if points.shape[0] != rows or values.shape[0] != rows or values.shape[1] != n_points or size > WIDEST:
        raise ValueError("points and values do not fit elements")
    shape = (<object> values).shape[2:]
    try:
        for r in range(rows):
            if not 0 <= elements[r] < x.size:
                raise IndexError(f"element {elements[r]} of {x.size}")
            cnp.PyArray_ITER_GOTO1D(element, elements[r])
            target = <char *> cnp.PyArray_ITER_DATA(element)
            memcpy(original, target, size)
            for j in range(n_points):
                move(target, point, size)
                point += size
                result = f(argument)
                if one_number:
                    number[0] = PyFloat_AS_DOUBLE(result) if PyFloat_Check(result) else number_of(result)
                    number += 1
                else:
                    values[r, j] = array_of(result, shape, values.dtype)
            move(target, original, size)
            PyErr_CheckSignals()  # an f that is no Python code never looks
    except BaseException as error:
        if target != NULL:
            memcpy(target, original, size)
            error.add_note(f"while f was evaluated with {element_name(name, x, elements[r])} changed")
        raise


def two_points(f, argument, cnp.ndarray x, double f0, double h, double relative_step, double size, bint up, bint down,
               double[::1] slopes, str name):
    """Central (up and down), forward or backward differences of every element, without an array of points

    x as in evaluate, of native float32 or float64. h = 0: relative_step * max(size, |x[i]|). The values are those of
    differences.slope to the last bit, at a tenth of its cost where x is small.
    """
    cdef cnp.flatiter element = cnp.PyArray_IterNew(x)
    cdef Py_ssize_t i = 0, j
    cdef bint single = x.dtype == np.float32
    cdef char *target = NULL
    cdef double original = 0, step
    cdef double[2] taken
    cdef double[2] rise
    if slopes.shape[0] != x.size or not (single or x.dtype == np.float64):
        raise ValueError("slopes does not fit x")
    try:
        for i in range(x.size):
            target = <char *> cnp.PyArray_ITER_DATA(element)
            original = get(target, single)
            step = h if h > 0 else relative_step * max(size, fabs(original))
            for j in range(2):
                taken[j] = rise[j] = 0
                if up if j == 0 else down:
                    put(target, single, original + step if j == 0 else original - step)
                    taken[j] = get(target, single) - original
                    result = f(argument)
                    rise[j] = (PyFloat_AS_DOUBLE(result) if PyFloat_Check(result) else number_of(result)) - f0
            put(target, single, original)
            slopes[i] = (rise[0] - rise[1]) / (taken[0] - taken[1]) if taken[0] != taken[1] else 0.0
            cnp.PyArray_ITER_NEXT(element)
            PyErr_CheckSignals()
    except BaseException as error:
        if target != NULL:
            put(target, single, original)
            error.add_note(f"while f was evaluated with {element_name(name, x, i)} changed")
        raise


cdef inline double get(const char *source, bint single) noexcept nogil:
    """An element, which need not be aligned"""
    cdef float narrow
    cdef double wide
    if single:
        memcpy(&narrow, source, sizeof(float))
        return narrow
    memcpy(&wide, source, sizeof(double))
    return wide


cdef inline void put(char *target, bint single, double value) noexcept nogil:
    cdef float narrow = <float> value
    if single:
        memcpy(target, &narrow, sizeof(float))
    else:
        memcpy(target, &value, sizeof(double))


cdef inline void move(char *target, const char *source, Py_ssize_t size) noexcept nogil:
    """Copy one element; the common sizes without a call"""
    if size == 8:
        memcpy(target, source, 8)
    elif size == 4:
        memcpy(target, source, 4)
    else:
        memcpy(target, source, size)


cdef element_name(str name, cnp.ndarray x, Py_ssize_t element):
    index = ", ".join([str(i) for i in np.unravel_index(element, (<object> x).shape)])
    return f"{name}[{index}]" if index else name


cpdef double number_of(result) except? -1:
    """One real number from what f returned"""
    if isinstance(result, (str, bytes, complex)) or getattr(result, "ndim", 0) != 0:
        raise TypeError(f"f returned {described(result)}, expected one number")
    try:
        return float(result)
    except (TypeError, ValueError):
        raise TypeError(f"f returned {described(result)}, expected one number") from None


cdef array_of(result, tuple shape, dtype):
    """An array of this shape from what f returned"""
    array = np.asarray(result)
    if (<object> array).shape != shape or array.dtype.kind not in "fiubc" or (
        dtype.kind == "f" and array.dtype.kind == "c"
    ):
        raise TypeError(f"f returned {described(result)}, expected {dtype} numbers of shape {shape} as before")
    return array


def described(result):
    """A type and, for arrays, a shape"""
    shape = getattr(result, "shape", None) or None
    return f"a {type(result).__name__}" if shape is None else f"a {type(result).__name__} of shape {tuple(shape)}"


cdef Callback callback_of(uintptr_t address, uintptr_t user_data, bint takes_user_data):
    cdef Callback f
    f.plain = NULL if takes_user_data else <plain_function> address
    f.with_data = <function_with_data> address if takes_user_data else NULL
    f.user_data = <void *> user_data
    return f


def c_value(uintptr_t address, uintptr_t user_data, bint takes_user_data, const double[::1] x):
    """f(x) for a C function at this address"""
    cdef Callback f = callback_of(address, user_data, takes_user_data)
    cdef double value
    with nogil:
        value = callback_value(&f, &x[0], x.shape[0])
    return value


def c_evaluate(uintptr_t address, uintptr_t user_data, bint takes_user_data, const double[::1] x,
               const Py_ssize_t[::1] elements, const double[:, ::1] points, double[:, ::1] values, int n_threads):
    """values[r, j] = f(x with x[elements[r]] = points[r, j]) for a C function at this address

    x is copied once a thread, never changed. Returns to Python about every CHUNK seconds to look for Ctrl-C.
    """
    cdef Callback f = callback_of(address, user_data, takes_user_data)
    cdef Py_ssize_t rows = elements.shape[0], n = x.shape[0], n_points = points.shape[1], first = 0, last, chunk, t
    cdef double *copies
    if points.shape[0] != rows or values.shape[0] != rows or values.shape[1] != n_points:
        raise ValueError("points and values do not fit elements")
    for t in range(rows):
        if not 0 <= elements[t] < n:
            raise IndexError(f"element {elements[t]} of {n}")
    if rows == 0 or n_points == 0:
        return
    copies = <double *> malloc(n_threads * n * sizeof(double))
    if copies == NULL:
        raise MemoryError(f"no memory for {n_threads} copies of x, {n} elements each")
    chunk = n_threads
    try:
        for t in range(n_threads):
            memcpy(copies + t * n, &x[0], n * sizeof(double))
        while first < rows * n_points:
            last = min(rows * n_points, first + chunk)
            started = perf_counter()
            with nogil:
                callback_each(&f, &elements[0], &points[0, 0], &values[0, 0], copies, n, n_points, first, last,
                              n_threads)
            PyErr_CheckSignals()
            seconds = perf_counter() - started
            if seconds < CHUNK / 2:
                chunk *= 2
            elif seconds > CHUNK:
                chunk = max(n_threads, chunk // 2)
            first = last
    finally:
        free(copies)


def capsule_parts(capsule):
    """(address, context, name) of a PyCapsule: function, user_data and signature of a scipy.LowLevelCallable"""
    cdef const char *name = PyCapsule_GetName(capsule)
    cdef void *pointer = PyCapsule_GetPointer(capsule, name)
    cdef void *context = PyCapsule_GetContext(capsule)
    return <uintptr_t> pointer, <uintptr_t> context, name.decode() if name != NULL else ""
