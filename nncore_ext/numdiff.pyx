"""Numerical gradient of a Python function: the loop over the elements in C, x perturbed in place."""

cimport numpy as cnp
from libc.math cimport fabs

cnp.import_array()


def numerical_gradient(f, cnp.ndarray x, double[::1] grad, double h, bint central, double relative_step):
    """grad[i] = df / dx[i] in C order, by central or forward differences

    x: a writable array of floats of any layout and byte order; f is called with it, and may as well read it by
    alias. h = 0: relative_step * max(1, |x[i]|). Divides by the step that rounding left in x's type. x is restored
    whatever f does.
    """
    cdef cnp.flatiter element = cnp.PyArray_IterNew(x)
    cdef Py_ssize_t i
    cdef double up, down, f_up, f_down = 0, step
    if grad.shape[0] != x.size:
        raise ValueError(f"grad has {grad.shape[0]} elements, expected {x.size} to match x")
    if not central and x.size:
        f_down = value_of(f(x))
    for i in range(x.size):
        # the item access of NumPy knows strides and byte order; value keeps every digit of x's type
        value = cnp.PyArray_GETITEM(x, cnp.PyArray_ITER_DATA(element))
        step = h if h > 0 else relative_step * max(1.0, fabs(value))
        try:
            up = put(x, element, value + step)
            f_up = value_of(f(x))
            down = value
            if central:
                down = put(x, element, value - step)
                f_down = value_of(f(x))
        finally:
            cnp.PyArray_SETITEM(x, cnp.PyArray_ITER_DATA(element), value)
        grad[i] = (f_up - f_down) / (up - down) if up != down else 0.0
        cnp.PyArray_ITER_NEXT(element)


cdef double put(cnp.ndarray x, cnp.flatiter element, value) except? -1:
    """Set the element; returns what the type of x made of value"""
    cnp.PyArray_SETITEM(x, cnp.PyArray_ITER_DATA(element), value)
    return cnp.PyArray_GETITEM(x, cnp.PyArray_ITER_DATA(element))


cdef double value_of(result) except? -1:
    if isinstance(result, (str, bytes)) or getattr(result, "ndim", 0) != 0:
        shape = getattr(result, "shape", None)
        got = type(result).__name__ if shape is None else f"{type(result).__name__} of shape {shape}"
        raise TypeError(f"f returned a {got}, expected one number")
    return result
