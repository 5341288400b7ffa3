"""Dropout: outputs that become 0 with a probability, the others scaled so that the mean stays; its backward."""

from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "layers/dropout.h" nogil:
    uint64_t nn_key(uint64_t key, uint64_t part)
    void nn_drop_f32(float *z, uint32_t below, float scale, uint64_t key, Py_ssize_t first, Py_ssize_t n)
    void nn_drop_f64(double *z, uint32_t below, double scale, uint64_t key, Py_ssize_t first, Py_ssize_t n)
    void nn_drop_backward_f32(
        float *z, float *da, uint32_t below, float scale, uint64_t key, Py_ssize_t first, Py_ssize_t n)
    void nn_drop_backward_f64(
        double *z, double *da, uint32_t below, double scale, uint64_t key, Py_ssize_t first, Py_ssize_t n)


cdef inline uint64_t step_key(uint64_t seed, Py_ssize_t step) noexcept nogil:
    """The key of a step of a run with this seed; never 0, which stands for no dropout"""
    return nn_key(seed, <uint64_t> step)


cdef inline uint64_t layer_key(uint64_t key, Py_ssize_t k) noexcept nogil:
    """The key of layer k in a step"""
    return nn_key(key, <uint64_t> k)


cdef inline uint32_t threshold(double rate) noexcept nogil:
    """32 random bits are below it with probability rate"""
    return <uint32_t> (rate * 4294967296.0)


cdef inline void drop(floating *z, double rate, uint64_t key, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """z = 0 with probability rate, else z / (1 - rate); of a layer's outputs those from first on, below 2^32"""
    if floating is float:
        nn_drop_f32(z, threshold(rate), <float> (1 / (1 - rate)), key, first, n)
    else:
        nn_drop_f64(z, threshold(rate), 1 / (1 - rate), key, first, n)


cdef inline void drop_backward(
    floating *z, floating *da, double rate, uint64_t key, Py_ssize_t first, Py_ssize_t n
) noexcept nogil:
    """da = 0 where z was dropped, else da / (1 - rate); z becomes what it was where it was not"""
    if floating is float:
        nn_drop_backward_f32(z, da, threshold(rate), <float> (1 / (1 - rate)), key, first, n)
    else:
        nn_drop_backward_f64(z, da, threshold(rate), 1 / (1 - rate), key, first, n)
