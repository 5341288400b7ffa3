"""A dense network as plain C: sizes, one flat parameter vector, one workspace.

A NetworkSpec belongs to one call: a copy with its own threads and Watch; what its pointers lead to never changes.

params: W1, b1, W2, b2, ... one after the other, the gamma of a normalised layer before its b; grads in the same order.
workspace for m samples: the outputs z of all layers, then their da, both layer by layer and (m, n_out) each, then
whatever the caller appends. A layer whose activation keeps_slope has its f'(a), (m, n_out), after its z, a normalised
one its x_hat (m, n_out) after that, and gaps after its da. A layer whose activation is SOFTMAX or LOGISTIC (only the
last may) leaves its logits in z: loss and output turn them into probabilities.
"""

from cython cimport floating
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from nncore_ext.arithmetic.vmath cimport vsigmoid
from nncore_ext.layers.activation cimport (
    LOGISTIC, SOFTMAX, activation_backward, activation_forward, keeps_slope, softmax_backward_row, softmax_row,
    softmax_rows,
)
from nncore_ext.layers.batch_norm cimport norm_backward, norm_forward
from nncore_ext.layers.dense cimport dense_backward_input, dense_backward_params, dense_forward
from nncore_ext.layers.dropout cimport drop, drop_backward, layer_key
from nncore_ext.layers.loss cimport (
    SOFTMAX_CROSS_ENTROPY, SQUARED_ERROR, cross_entropy_of_softmax, softmax_cross_entropy_row, squared_error_row,
    terms_row,
)
from nncore_ext.samples.rows cimport Weights, total_weight
from nncore_ext.watch cimport UNIT_WORK, Watch, look

cdef enum:
    # Samples whose softmax is computed at a time.
    LOG_SUMS = 64

cdef struct LayerSpec:
    Py_ssize_t n_in
    Py_ssize_t n_out
    Py_ssize_t W  # where W starts in the parameter vector; b follows it
    Py_ssize_t b  # -1: no bias
    Py_ssize_t gamma  # -1: no batch normalisation
    Py_ssize_t moments  # where the vectors of batch_norm.pxd start in NetworkSpec.moments
    Py_ssize_t unit  # its place in the workspace: numbers a sample of the layers before
    int activation
    double param  # of the activation
    bint trainable_bias
    double dropout  # probability that an output is 0 in training
    double l1  # penalties by W
    double l2
    double max_norm  # of the weights into a unit; 0: any
    double lr_scale  # times the learning rate; 0: the layer stays as it is

cdef struct NetworkSpec:
    Py_ssize_t n_layers
    Py_ssize_t n_in
    Py_ssize_t n_out
    Py_ssize_t n_units  # numbers a sample that the layers have in the workspace: outputs, and slopes that are kept
    Py_ssize_t n_params
    const LayerSpec *layers
    void *moments  # these do change
    int loss
    double loss_param
    double delta
    bint penalty_by_samples  # penalties are divided by the weight of the batch
    double penalty_share  # by how much they count in the losses that training reports
    int n_threads  # of the call
    Watch *watch  # of the call; NULL: it is short


cdef inline Py_ssize_t da_unit(const NetworkSpec *net, Py_ssize_t k) noexcept nogil:
    """Where da of layer k begins in the workspace of one sample"""
    return net.n_units + net.layers[k].unit


cdef inline Py_ssize_t x_unit(const NetworkSpec *net) noexcept nogil:
    """Where x begins, after all da, of those who keep it there"""
    return 2 * net.n_units


cdef inline Py_ssize_t t_unit(const NetworkSpec *net) noexcept nogil:
    """Where t begins, after x"""
    return x_unit(net) + net.n_in


cdef inline Py_ssize_t dz_unit(const NetworkSpec *net, Py_ssize_t k) noexcept nogil:
    """Where dz of layer k begins, after t"""
    return t_unit(net) + net.n_out + net.layers[k].unit


cdef inline floating *layer_z(const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """The outputs (m, n_out) of layer k"""
    return workspace + m * net.layers[k].unit


cdef inline floating *layer_da(const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """The gradient (m, n_out) of the loss by the pre-activations of layer k"""
    return workspace + m * da_unit(net, k)


cdef inline floating *layer_slope(
    const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k
) noexcept nogil:
    """f'(a) (m, n_out) of layer k if that keeps_slope, else NULL"""
    if not keeps_slope(net.layers[k].activation):
        return NULL
    return workspace + m * (net.layers[k].unit + net.layers[k].n_out)


cdef inline floating *layer_x_hat(
    const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k
) noexcept nogil:
    """The normalised inputs (m, n_out) of layer k's activation before gamma and b"""
    cdef const LayerSpec *layer = &net.layers[k]
    return workspace + m * (layer.unit + (2 if keeps_slope(layer.activation) else 1) * layer.n_out)


cdef inline floating *layer_moments(const NetworkSpec *net, floating *like, Py_ssize_t k) noexcept nogil:
    """The vectors of batch_norm.pxd of layer k, of the type of like"""
    return <floating *> net.moments + net.layers[k].moments


cdef inline const floating *layer_input(
    const NetworkSpec *net, floating *workspace, const floating *x, Py_ssize_t m, Py_ssize_t k
) noexcept nogil:
    """The inputs (m, n_in) of layer k: the samples, or the outputs before it"""
    if k == 0:
        return x
    return layer_z(net, workspace, m, k - 1)


cdef inline void network_forward(
    const NetworkSpec *net, const floating *params, const floating *x, floating *workspace,
    Py_ssize_t m, Py_ssize_t first, bint training, uint64_t key, Py_ssize_t row
) noexcept nogil:
    """z_k = f_k(z_(k-1) @ W_k + b_k) for the layers from first on; x (m, n_in of that layer)

    training: normalised layers take the moments of the batch, which move even if the call is stopped half-way. key: of
    the step, for dropout; 0: none. row: where in its batch x begins, for dropout too.
    """
    cdef const LayerSpec *layer
    cdef floating *z
    cdef Py_ssize_t k
    for k in range(first, net.n_layers):
        layer = &net.layers[k]
        z = layer_z(net, workspace, m, k)
        dense_forward(x, params + layer.W, params + layer.b if layer.b >= 0 and layer.gamma < 0 else NULL, z,
                      m, layer.n_in, layer.n_out, net.n_threads, net.watch)
        if look(net.watch, (UNIT_WORK * m + layer.n_in) * layer.n_out):
            return
        if layer.gamma >= 0:
            norm_forward(params + layer.gamma, params + layer.b, z, layer_x_hat(net, workspace, m, k),
                         layer_moments(net, workspace, k), training, m, layer.n_out)
        if look(net.watch, UNIT_WORK * m * layer.n_out):
            return
        activation_forward(layer.activation, layer.param, z, layer_slope(net, workspace, m, k), m * layer.n_out)
        if key and layer.dropout > 0:
            drop(z, layer.dropout, layer_key(key, k), row * layer.n_out, m * layer.n_out)
        x = z


cdef inline void network_output(const NetworkSpec *net, floating *workspace, floating *y, Py_ssize_t m) noexcept nogil:
    """y (m, n_out) = the last layer's outputs, a softmax layer's as probabilities"""
    cdef const floating *z = layer_z(net, workspace, m, net.n_layers - 1)
    cdef Py_ssize_t n_out = net.n_out
    if net.layers[net.n_layers - 1].activation == SOFTMAX:
        softmax_rows(z, y, NULL, NULL, m, n_out)
    elif net.layers[net.n_layers - 1].activation == LOGISTIC:
        vsigmoid(z, y, m * n_out)
    else:
        memcpy(y, z, m * n_out * sizeof(floating))


cdef inline void network_output_backward(
    const NetworkSpec *net, floating *workspace, const floating *dy, Py_ssize_t m
) noexcept nogil:
    """da of the last layer from dy, the gradient by its outputs, which z holds (probabilities for softmax, logistic)"""
    cdef Py_ssize_t last = net.n_layers - 1, s, n_out = net.n_out
    cdef floating *z = layer_z(net, workspace, m, last)
    cdef floating *da = layer_da(net, workspace, m, last)
    memcpy(da, dy, m * n_out * sizeof(floating))
    if net.layers[last].activation == SOFTMAX:
        for s in range(m):
            softmax_backward_row(&z[s * n_out], &da[s * n_out], n_out)
    else:
        layer_backward(net, workspace, m, last)


cdef inline void layer_backward(
    const NetworkSpec *net, floating *workspace, Py_ssize_t m, Py_ssize_t k
) noexcept nogil:
    """da of layer k from its dz, which stands in its place"""
    cdef const LayerSpec *layer = &net.layers[k]
    activation_backward(layer.activation, layer.param, layer_z(net, workspace, m, k),
                        layer_slope(net, workspace, m, k), layer_da(net, workspace, m, k), m * layer.n_out)


cdef inline double network_loss(
    const NetworkSpec *net, floating *workspace, floating *t, const Weights *weights, Py_ssize_t m, double whole
) noexcept nogil:
    """sum(w * loss) / whole over the m samples without penalties, and da of the last layer

    whole: total_weight of the batch. One whose weights are all zero has loss 0 and gradient 0. t of cross-entropy is
    overwritten by w * t where outputs have weights.
    """
    cdef const LayerSpec *last = &net.layers[net.n_layers - 1]
    cdef floating *z = layer_z(net, workspace, m, net.n_layers - 1)
    cdef floating *da = layer_da(net, workspace, m, net.n_layers - 1)
    cdef double[LOG_SUMS] tops
    cdef double[LOG_SUMS] log_sums
    cdef double total = 0, weight
    cdef const double *w = NULL
    cdef Py_ssize_t s, k, n_out = net.n_out
    if net.loss == SOFTMAX_CROSS_ENTROPY and weights.by_output:
        for k in range(m * n_out):
            t[k] *= <floating> weights.values[k]
    for s in range(m):
        weight = 1
        if weights.by_output:
            w = weights.values + s * n_out
        elif weights.values != NULL:
            weight = weights.values[s]
        weight = weight / whole if whole > 0 else 0.0  # 1 / whole may overflow
        if net.loss == SOFTMAX_CROSS_ENTROPY:
            if s % LOG_SUMS == 0:
                softmax_rows(&z[s * n_out], &da[s * n_out], tops, log_sums, min(m - s, <Py_ssize_t> LOG_SUMS), n_out)
            total += weight * cross_entropy_of_softmax(&z[s * n_out], tops[s % LOG_SUMS], log_sums[s % LOG_SUMS],
                                                       &t[s * n_out], &da[s * n_out], net.delta, n_out)
        else:
            total += weight * sample_loss(net, &z[s * n_out], &t[s * n_out], w, &da[s * n_out])
        for k in range(s * n_out, (s + 1) * n_out):
            da[k] *= <floating> weight
    if last.activation != SOFTMAX and last.activation != LOGISTIC:
        layer_backward(net, workspace, m, net.n_layers - 1)
    return total


cdef inline double sample_loss(
    const NetworkSpec *net, floating *z, const floating *t, const double *w, floating *da
) noexcept nogil:
    """One sample's loss; da = its gradient by z, for a softmax or logistic layer by the logits

    z of a softmax layer without its loss become probabilities.
    """
    cdef int activation = net.layers[net.n_layers - 1].activation
    cdef double value
    if net.loss == SOFTMAX_CROSS_ENTROPY:
        return softmax_cross_entropy_row(z, t, da, net.delta, net.n_out)
    if activation == SOFTMAX:
        softmax_row(z, z, NULL, net.n_out)
    if net.loss == SQUARED_ERROR and w == NULL:
        value = squared_error_row(z, t, da, net.n_out)
    else:
        value = terms_row(net.loss, net.loss_param, z, t, w, da, net.n_out)
    if activation == SOFTMAX:
        softmax_backward_row(z, da, net.n_out)
    return value


cdef inline void network_backward(
    const NetworkSpec *net, const floating *params, floating *grads, const floating *x, floating *workspace,
    Py_ssize_t m, Py_ssize_t first, floating *dx, floating *dz, bint training, uint64_t key, Py_ssize_t row
) noexcept nogil:
    """grads of the layers from first on, and da of the one before, from da of the last layer; dx (m, n_in) unless NULL

    dz, unless NULL, (m, n_units) laid out as the outputs: keeps the gradient by each hidden layer's z. training,
    key, row: as in network_forward; hidden outputs that were not dropped become what they were before.
    """
    cdef const LayerSpec *layer
    cdef const floating *z_in
    cdef floating *da
    cdef floating *da_in
    cdef Py_ssize_t k
    for k in range(net.n_layers - 1, first - 1, -1):
        layer = &net.layers[k]
        if look(net.watch, UNIT_WORK * m * layer.n_out):
            return
        da = layer_da(net, workspace, m, k)
        z_in = layer_input(net, workspace, x, m, k)
        if layer.gamma >= 0:
            norm_backward(params + layer.gamma, layer_x_hat(net, workspace, m, k), layer_moments(net, workspace, k),
                          da, grads + layer.gamma, grads + layer.b, training, m, layer.n_out)
        dense_backward_params(z_in, da, grads + layer.W, grads + layer.b if layer.b >= 0 and layer.gamma < 0 else NULL,
                              m, layer.n_in, layer.n_out, net.n_threads, net.watch)
        da_in = layer_da(net, workspace, m, k - 1) if k > 0 else dx
        if da_in == NULL:
            continue
        dense_backward_input(da, params + layer.W, da_in, m, layer.n_in, layer.n_out, net.n_threads, net.watch)
        if k > 0:
            if dz != NULL:
                memcpy(dz + m * net.layers[k - 1].unit, da_in, m * layer.n_in * sizeof(floating))
            if key and net.layers[k - 1].dropout > 0:
                drop_backward(layer_z(net, workspace, m, k - 1), da_in, net.layers[k - 1].dropout,
                              layer_key(key, k - 1), row * layer.n_in, m * layer.n_in)
            layer_backward(net, workspace, m, k - 1)
