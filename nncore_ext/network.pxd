"""A dense network as plain C: sizes, one flat parameter vector, one workspace.

params: W1, b1, W2, b2, ... one after the other; grads in the same order. workspace for m samples: the outputs z of
all layers, then their da, both layer by layer and (m, n_out) each, then whatever the caller appends. A layer whose
activation is SOFTMAX (only the last may) leaves its logits in z: loss and output turn them into probabilities.
"""

from cython cimport floating
from libc.math cimport log
from libc.string cimport memcpy
from nncore_ext.activation cimport (
    SOFTMAX, activation_backward, activation_forward, softmax_backward_row, softmax_row, softmax_rows,
)
from nncore_ext.dense cimport dense_backward_input, dense_backward_params, dense_forward
from nncore_ext.loss cimport (
    SOFTMAX_CROSS_ENTROPY, cross_entropy_of_softmax, softmax_cross_entropy_row, squared_error_row,
)
from nncore_ext.optimizer cimport OptimizerSpec, begin_step, optimizer_update
from nncore_ext.vmath cimport vmax

cdef struct LayerSpec:
    Py_ssize_t n_in
    Py_ssize_t n_out
    Py_ssize_t W  # where W starts in the parameter vector; b follows it
    Py_ssize_t b  # -1: no bias
    Py_ssize_t unit  # units of all layers before this one: its place in the workspace
    int activation
    bint trainable_bias

cdef struct NetworkSpec:
    Py_ssize_t n_layers
    Py_ssize_t n_in
    Py_ssize_t n_out
    Py_ssize_t n_units
    Py_ssize_t n_params
    LayerSpec *layers
    int loss
    double delta
    int n_threads


cdef inline floating *layer_z(const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """The outputs (m, n_out) of layer k"""
    return workspace + m * net.layers[k].unit


cdef inline floating *layer_da(const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """The gradient (m, n_out) of the loss by the pre-activations of layer k"""
    return workspace + m * (net.n_units + net.layers[k].unit)


cdef inline const floating *layer_input(
    const NetworkSpec *net, floating *workspace, const floating *x, Py_ssize_t m, Py_ssize_t k
) noexcept nogil:
    """The inputs (m, n_in) of layer k: the samples, or the outputs before it"""
    if k == 0:
        return x
    return layer_z(net, workspace, m, k - 1)


cdef inline void network_forward(
    const NetworkSpec *net, const floating *params, const floating *x, floating *workspace,
    Py_ssize_t m, Py_ssize_t first
) noexcept nogil:
    """z_k = f_k(z_(k-1) @ W_k + b_k) for the layers from first on; x (m, n_in of that layer)"""
    cdef LayerSpec *layer
    cdef floating *z
    cdef Py_ssize_t k
    for k in range(first, net.n_layers):
        layer = &net.layers[k]
        z = layer_z(net, workspace, m, k)
        dense_forward(x, params + layer.W, params + layer.b if layer.b >= 0 else NULL, z,
                      m, layer.n_in, layer.n_out, net.n_threads)
        activation_forward(layer.activation, z, m * layer.n_out)
        x = z


cdef inline void network_output(const NetworkSpec *net, floating *workspace, floating *y, Py_ssize_t m) noexcept nogil:
    """y (m, n_out) = the last layer's outputs, a softmax layer's as probabilities"""
    cdef const floating *z = layer_z(net, workspace, m, net.n_layers - 1)
    cdef Py_ssize_t n_out = net.n_out
    if net.layers[net.n_layers - 1].activation == SOFTMAX:
        softmax_rows(z, y, m, n_out)
    else:
        memcpy(y, z, m * n_out * sizeof(floating))


cdef inline void network_output_backward(
    const NetworkSpec *net, floating *workspace, const floating *dy, Py_ssize_t m
) noexcept nogil:
    """da of the last layer from dy, the gradient by its outputs, which z holds (probabilities for softmax)"""
    cdef Py_ssize_t last = net.n_layers - 1, s, n_out = net.n_out
    cdef floating *z = layer_z(net, workspace, m, last)
    cdef floating *da = layer_da(net, workspace, m, last)
    memcpy(da, dy, m * n_out * sizeof(floating))
    if net.layers[last].activation == SOFTMAX:
        for s in range(m):
            softmax_backward_row(&z[s * n_out], &da[s * n_out], n_out)
    else:
        activation_backward(net.layers[last].activation, z, da, m * n_out)


cdef inline double network_loss(
    const NetworkSpec *net, floating *workspace, const floating *t, const double *weights, Py_ssize_t m
) noexcept nogil:
    """sum(w * loss) / sum(w) over the m samples (weights NULL: the mean), and da of the last layer

    A batch whose weights are all zero has loss 0 and gradient 0.
    """
    cdef LayerSpec *last = &net.layers[net.n_layers - 1]
    cdef floating *z = layer_z(net, workspace, m, net.n_layers - 1)
    cdef floating *da = layer_da(net, workspace, m, net.n_layers - 1)
    cdef double total = 0, total_weight = 0, weight, log_sum
    cdef Py_ssize_t s, k, n_out = net.n_out
    if weights == NULL:
        total_weight = m
    else:
        for s in range(m):
            total_weight += weights[s]
    if net.loss == SOFTMAX_CROSS_ENTROPY:
        softmax_rows(z, da, m, n_out)
    for s in range(m):
        weight = (1.0 if weights == NULL else weights[s]) / total_weight if total_weight > 0 else 0.0
        if net.loss == SOFTMAX_CROSS_ENTROPY:
            # the largest probability is 1 / sum(exp(z - max(z)))
            log_sum = vmax(&z[s * n_out], n_out) - log(<double> vmax(&da[s * n_out], n_out))
            total += weight * cross_entropy_of_softmax(&z[s * n_out], log_sum, &t[s * n_out], &da[s * n_out],
                                                       net.delta, n_out)
        else:
            total += weight * sample_loss(net.loss, net.delta, last.activation,
                                          &z[s * n_out], &t[s * n_out], &da[s * n_out], n_out)
        for k in range(s * n_out, (s + 1) * n_out):
            da[k] *= <floating> weight
    if last.activation != SOFTMAX:
        activation_backward(last.activation, z, da, m * n_out)
    return total


cdef inline double sample_loss(
    int loss, double delta, int activation, floating *z, const floating *t, floating *da, Py_ssize_t n_out
) noexcept nogil:
    """One sample's loss; da = its gradient by z, for a softmax layer by the logits (z then becomes probabilities)"""
    cdef double value
    if loss == SOFTMAX_CROSS_ENTROPY:
        return softmax_cross_entropy_row(z, t, da, delta, n_out)
    if activation == SOFTMAX:
        softmax_row(z, z, n_out)
    value = squared_error_row(z, t, da, n_out)
    if activation == SOFTMAX:
        softmax_backward_row(z, da, n_out)
    return value


cdef inline void network_backward(
    const NetworkSpec *net, const floating *params, floating *grads, const floating *x, floating *workspace,
    Py_ssize_t m, Py_ssize_t first, floating *dx, floating *dz
) noexcept nogil:
    """grads of the layers from first on, and da of the one before, from da of the last layer; dx (m, n_in) unless NULL

    dz, unless NULL, (m, n_units) laid out as the outputs: keeps the gradient by each hidden layer's z.
    """
    cdef LayerSpec *layer
    cdef const floating *z_in
    cdef floating *da
    cdef floating *da_in
    cdef Py_ssize_t k
    for k in range(net.n_layers - 1, first - 1, -1):
        layer = &net.layers[k]
        da = layer_da(net, workspace, m, k)
        z_in = layer_input(net, workspace, x, m, k)
        dense_backward_params(z_in, da, grads + layer.W, grads + layer.b if layer.b >= 0 else NULL,
                              m, layer.n_in, layer.n_out, net.n_threads)
        da_in = layer_da(net, workspace, m, k - 1) if k > 0 else dx
        if da_in == NULL:
            continue
        dense_backward_input(da, params + layer.W, da_in, m, layer.n_in, layer.n_out, net.n_threads)
        if k > 0:
            if dz != NULL:
                memcpy(dz + m * net.layers[k - 1].unit, da_in, m * layer.n_in * sizeof(floating))
            activation_backward(net.layers[k - 1].activation, z_in, da_in, m * layer.n_in)


cdef inline void network_update(
    const NetworkSpec *net, floating *params, const floating *grads, OptimizerSpec *rule, Py_ssize_t first
) noexcept nogil:
    """One step of the rule, layers from first on; a bias that is not trainable stays as it is, its state too"""
    cdef LayerSpec *layer
    cdef Py_ssize_t k, begin = net.layers[first].W if first < net.n_layers else net.n_params
    begin_step(rule)
    # what lies between biases that stay is one stretch: mostly the whole vector
    for k in range(first, net.n_layers):
        layer = &net.layers[k]
        if layer.b >= 0 and not layer.trainable_bias:
            optimizer_update(rule, params, grads, begin, layer.b, net.n_threads)
            begin = layer.b + layer.n_out
    optimizer_update(rule, params, grads, begin, net.n_params, net.n_threads)
