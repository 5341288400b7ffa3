"""Moves the parameters of a network: clipping of the gradient, the rule, largest norms.

The rule works on any stretch of the flat vector, so that threads can share it.
"""

from cython cimport floating
from libc.math cimport sqrt
from libc.string cimport memset
from nncore_ext.network.network cimport LayerSpec, NetworkSpec
from nncore_ext.training.optimizer cimport OptimizerSpec, optimizer_update


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
