"""What moves the parameters of a network beside the gradient of its loss: penalties, clipping, the rule, largest norms.

Penalties and rule work on any stretch of the flat vector, so that threads can share it.
"""

from cython cimport floating
from libc.math cimport fabs, sqrt
from libc.string cimport memset
from nncore_ext.network cimport LayerSpec, NetworkSpec
from nncore_ext.optimizer cimport OptimizerSpec, optimizer_update
from nncore_ext.vmath cimport axpby, vdot

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


cdef inline void network_update(
    const NetworkSpec *net, floating *params, const floating *grads, const OptimizerSpec *rule, Py_ssize_t begin,
    Py_ssize_t end
) noexcept nogil:
    """The rule applied to the parameters from begin to end, after begin_step and before limit_norms

    What has a learning rate of 0 stays as it is, its state too.
    """
    cdef const LayerSpec *layer
    cdef double scale = 0, next_scale
    cdef Py_ssize_t k
    # what lies between changes of the learning rate is one stretch: mostly the whole vector
    for k in range(net.n_layers):
        layer = &net.layers[k]
        if layer.lr_scale != scale:
            update_stretch(net, params, grads, rule, scale, begin, min(end, layer.W))
            begin, scale = max(begin, layer.W), layer.lr_scale
        next_scale = layer.lr_scale if layer.trainable_bias else 0
        if layer.b >= 0 and next_scale != scale:
            update_stretch(net, params, grads, rule, scale, begin, min(end, layer.b))
            begin, scale = max(begin, layer.b), next_scale
    update_stretch(net, params, grads, rule, scale, begin, end)


cdef inline void update_stretch(
    const NetworkSpec *net, floating *params, const floating *grads, const OptimizerSpec *rule, double scale,
    Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """The elements from begin to end at scale times the learning rate"""
    cdef OptimizerSpec own = rule[0]
    own.lr *= scale
    if own.lr > 0 and end > begin:
        optimizer_update(&own, params, grads, begin, end, net.n_threads)


cdef inline bint has_max_norm(const NetworkSpec *net) noexcept nogil:
    """Whether limit_norms has anything to do"""
    cdef Py_ssize_t k
    for k in range(net.n_layers):
        if net.layers[k].max_norm > 0:
            return True
    return False


cdef inline void limit_norms(const NetworkSpec *net, floating *params) noexcept nogil:
    """Shrink the weights into each unit whose norm is above its layer's max_norm to that norm"""
    cdef Py_ssize_t k
    for k in range(net.n_layers):
        if net.layers[k].max_norm > 0 and net.layers[k].lr_scale > 0:
            limit_layer(&net.layers[k], params + net.layers[k].W)


cdef inline void limit_layer(const LayerSpec *layer, floating *W) noexcept nogil:
    """limit_norms of one layer"""
    cdef double square, norm
    cdef Py_ssize_t i, j
    for j in range(layer.n_out):
        square = 0
        for i in range(layer.n_in):
            square += <double> W[i * layer.n_out + j] * W[i * layer.n_out + j]
        norm = sqrt(square)
        if norm > layer.max_norm:
            for i in range(layer.n_in):
                W[i * layer.n_out + j] *= <floating> (layer.max_norm / norm)


cdef inline void clip_gradient(
    const NetworkSpec *net, floating *grads, double clip_value, double clip_norm
) noexcept nogil:
    """Each element to +-clip_value, then all of those that are trained to a norm of clip_norm at most; 0: unlimited

    As torch.nn.utils.clip_grad_value_ and clip_grad_norm_, whose 1e-6 keeps the quotient finite.
    """
    cdef const LayerSpec *layer
    cdef floating limit = <floating> clip_value, scale
    cdef double square = 0
    cdef Py_ssize_t k, i
    for k in range(net.n_layers):
        layer = &net.layers[k]
        if layer.lr_scale == 0:
            memset(grads + layer.W, 0, layer.n_in * layer.n_out * sizeof(floating))
        if layer.gamma >= 0 and layer.lr_scale == 0:
            memset(grads + layer.gamma, 0, layer.n_out * sizeof(floating))
        if layer.b >= 0 and (layer.lr_scale == 0 or not layer.trainable_bias):
            memset(grads + layer.b, 0, layer.n_out * sizeof(floating))
    if clip_value > 0:
        for i in range(net.n_params):
            grads[i] = -limit if grads[i] < -limit else limit if grads[i] > limit else grads[i]
    if clip_norm > 0:
        for i in range(net.n_params):
            square += <double> grads[i] * grads[i]
        if sqrt(square) > clip_norm:
            scale = <floating> (clip_norm / (sqrt(square) + 1e-6))
            for i in range(net.n_params):
                grads[i] *= scale
