"""The penalties of weights beside a loss: of any stretch of the flat vector, so that threads can share it."""

from cython cimport floating
from libc.math cimport fabs
from nncore_ext.arithmetic.vmath cimport axpby, vdot
from nncore_ext.network.network cimport LayerSpec, NetworkSpec

cdef enum:
    # Weights whose squares are summed at a time: few enough for float32.
    PENALTY_BLOCK = 1 << 10


cdef inline double network_penalty(
    const NetworkSpec *net, const floating *params, floating *grads, double whole, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """sum(l2 / 2 * W^2 + l1 * |W|) over the parameters from begin to end, and its gradient added to grads unless NULL

    whole: total_weight of the batch, for penalty_by_samples.
    """
    cdef double total = 0, scale = 1
    cdef Py_ssize_t k, W
    if net.penalty_by_samples:
        scale = 1 / whole if whole > 0 else 0
    for k in range(net.n_layers):
        W = net.layers[k].W
        total += layer_penalty(&net.layers[k], params, grads, scale, max(begin, W),
                               min(end, W + net.layers[k].n_in * net.layers[k].n_out))
    return total


cdef inline double layer_penalty(
    const LayerSpec *layer, const floating *params, floating *grads, double scale, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """network_penalty of weights of one layer, times scale"""
    cdef floating l1 = <floating> (scale * layer.l1)
    cdef Py_ssize_t i
    if end <= begin or (layer.l1 == 0 and layer.l2 == 0):
        return 0
    if grads != NULL:
        axpby(<floating> (scale * layer.l2), params + begin, True, grads + begin, end - begin)
    if grads != NULL and layer.l1 != 0:
        for i in range(begin, end):
            grads[i] += l1 if params[i] > 0 else -l1 if params[i] < 0 else 0
    return scale * weights_penalty(layer, params, begin, end)


cdef inline double weights_penalty(
    const LayerSpec *layer, const floating *params, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """l2 / 2 * sum(W^2) + l1 * sum(|W|); blocks in vectors, their sums in double: one by one was a tenth of a step"""
    cdef double squares = 0, sizes = 0
    cdef Py_ssize_t i = begin, n
    while i < end and layer.l2 != 0:
        n = min(end - i, <Py_ssize_t> PENALTY_BLOCK)
        squares += vdot(params + i, params + i, n)
        i += n
    if layer.l1 != 0:
        for i in range(begin, end):
            sizes += fabs(params[i])
    return 0.5 * layer.l2 * squares + layer.l1 * sizes
