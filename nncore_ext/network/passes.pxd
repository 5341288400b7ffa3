"""Through the network once: whole data sets block by block, and a batch of which everything is kept.

A call that is stopped (watch.pxd) leaves what it was to fill in half done.
"""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy
from nncore_ext.layers.activation cimport LOGISTIC
from nncore_ext.layers.loss cimport SOFTMAX_CROSS_ENTROPY
from nncore_ext.network.network cimport (
    NetworkSpec, dz_unit, layer_z, network_backward, network_forward, network_loss, network_output,
    network_output_backward, t_unit, x_unit,
)
from nncore_ext.network.penalty cimport network_penalty
from nncore_ext.samples.rows cimport FLOAT32, FLOAT64, Rows, Targets, Weights, gather_rows, gather_targets, total_weight
from nncore_ext.watch cimport stopped

cdef enum:
    # Samples a block when nothing is kept: large enough for products, small enough for the cache.
    BLOCK = 256
    # Numbers that a block has in memory at most, unless one sample has more: 1 GB.
    BLOCK_NUMBERS = 1 << 27


cdef inline Py_ssize_t block_rows(Py_ssize_t n, Py_ssize_t per_sample) noexcept nogil:
    """Samples of a block, out of n of so many numbers each"""
    return max(1, min(n, <Py_ssize_t> BLOCK, BLOCK_NUMBERS // per_sample))


cdef inline void forward_blocks(
    const NetworkSpec *net, const floating *params, const Rows *rows, floating *y, Py_ssize_t n, floating *buffers,
    Py_ssize_t size, Py_ssize_t rows_each, int n_threads
) noexcept nogil:
    """y = outputs of all n rows, rows_each at a time; buffers: size elements a thread"""
    cdef Py_ssize_t n_blocks = (n + rows_each - 1) // rows_each, block
    if n_threads == 1:
        for block in range(n_blocks):
            forward_block(net, params, rows, y, block * rows_each, min(rows_each, n - block * rows_each), buffers)
    else:
        for block in prange(n_blocks, num_threads=n_threads, schedule="dynamic"):
            forward_block(net, params, rows, y, block * rows_each, min(rows_each, n - block * rows_each),
                          buffers + threadid() * size)


cdef inline void forward_block(
    const NetworkSpec *net, const floating *params, const Rows *rows, floating *y, Py_ssize_t start, Py_ssize_t m,
    floating *buffer
) noexcept nogil:
    """y = outputs of m rows from start on; buffer: z of the block, then x where it must be converted"""
    cdef const floating *x = buffer + m * net.n_units
    if stopped(net.watch):
        return
    if rows.element == <int> (FLOAT32 if sizeof(floating) == sizeof(float) else FLOAT64):
        x = <const floating *> rows.data + start * rows.n_features
    else:
        gather_rows(rows, NULL, start, buffer + m * net.n_units, m)
    network_forward(net, params, x, buffer, m, 0, False, 0, 0)
    network_output(net, buffer, y + start * net.n_out, m)


cdef inline double loss_blocks(
    const NetworkSpec *net, const floating *params, const Rows *rows, const Targets *targets, const Weights *weights,
    Py_ssize_t n, Py_ssize_t rows_each, floating *buffer
) noexcept nogil:
    """The mean loss of all n rows, rows_each at a time, and penalties; buffer: z, da of a block, then x, t"""
    cdef Py_ssize_t start = 0, m
    cdef double total = 0, whole = 0, weight
    cdef Weights part = weights[0]
    cdef floating *x
    cdef floating *t
    while start < n and not stopped(net.watch):
        m = min(rows_each, n - start)
        x = buffer + m * x_unit(net)
        t = buffer + m * t_unit(net)
        gather_rows(rows, NULL, start, x, m)
        gather_targets(targets, NULL, start, t, m)
        if weights.values != NULL:
            part.values = weights.values + start * (net.n_out if weights.by_output else 1)
        weight = total_weight(&part, m)
        network_forward(net, params, x, buffer, m, 0, False, 0, 0)
        total += weight * network_loss(net, buffer, t, &part, m, weight)
        whole += weight
        start += m
    total = total / whole if whole > 0 else 0.0
    return total + network_penalty(net, params, <floating *> NULL, whole, 0, net.n_params)


cdef inline double gradient_kept(
    const NetworkSpec *net, const floating *params, const Rows *rows, const Targets *targets, const Weights *weights,
    floating *grads, floating *dx, Py_ssize_t m, floating *workspace
) noexcept nogil:
    """workspace: z, da, x, t, dz of the m samples"""
    cdef floating *x = workspace + m * x_unit(net)
    cdef floating *t = workspace + m * t_unit(net)
    cdef double loss, whole = total_weight(weights, m)
    gather_rows(rows, NULL, 0, x, m)
    gather_targets(targets, NULL, 0, t, m)
    network_forward(net, params, x, workspace, m, 0, False, 0, 0)
    if stopped(net.watch):
        return 0
    loss = network_loss(net, workspace, t, weights, m, whole)
    network_backward(net, params, grads, x, workspace, m, 0, dx, workspace + m * dz_unit(net, 0), False, 0, 0)
    loss += network_penalty(net, params, grads, whole, 0, net.n_params)
    if net.loss == SOFTMAX_CROSS_ENTROPY or net.layers[net.n_layers - 1].activation == LOGISTIC:
        # the logits of a fused layer become what it yields; with another loss they already are
        network_output(net, workspace, layer_z(net, workspace, m, net.n_layers - 1), m)
    return loss


cdef inline void forward_kept(
    const NetworkSpec *net, const floating *params, const Rows *rows, floating *y, Py_ssize_t m, floating *workspace
) noexcept nogil:
    """y = outputs of the m rows; workspace: z, da, x, kept for backward_kept"""
    cdef floating *x = workspace + m * x_unit(net)
    gather_rows(rows, NULL, 0, x, m)
    network_forward(net, params, x, workspace, m, 0, False, 0, 0)
    network_output(net, workspace, y, m)
    # a fused layer's logits become the probabilities that its derivative is written from
    memcpy(layer_z(net, workspace, m, net.n_layers - 1), y, m * net.n_out * sizeof(floating))


cdef inline void backward_kept(
    const NetworkSpec *net, const floating *params, const floating *dy, floating *grads, floating *dx, Py_ssize_t m,
    floating *workspace
) noexcept nogil:
    """grads and dx from dy (m, n_out), after forward_kept"""
    cdef floating *x = workspace + m * x_unit(net)
    network_output_backward(net, workspace, dy, m)
    network_backward(net, params, grads, x, workspace, m, 0, dx, <floating *> NULL, False, 0, 0)
