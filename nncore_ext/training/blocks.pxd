"""The blocks and parts of a step, dense or sparse, shared by threads."""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset
from nncore_ext.layers.activation cimport activation_forward
from nncore_ext.layers.dropout cimport drop, layer_key
from nncore_ext.network.network cimport LayerSpec, NetworkSpec, layer_da, layer_slope
from nncore_ext.samples.rows cimport gather_rows, gather_targets
from nncore_ext.training.batch cimport Batch, Plan, block_gradient, block_grads, count_parts, finish_part
from nncore_ext.training.sparse_layer cimport pad_rows, sum_parts

# The first layer of train_sparse: its padded weights and what a batch needs; void is the network's float type.
cdef struct SparseMemory:
    void *W  # (n_in, ld)
    void *b  # (ld,)
    void *a  # PARTS times (batch_size, ld)
    void *y  # (batch_size, ld)
    void *value  # PARTS times capacity
    int *index  # the same
    int *start  # PARTS times (batch_size + 1)
    void *work  # of the other layers
    void *copies  # block_grads
    Py_ssize_t ld
    Py_ssize_t capacity
    bint in_place  # the update goes into W; otherwise W, read before, holds its gradient meanwhile


cdef inline void save_moments(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """Before a step: its forward pass moves them, even if there is no update then"""
    if plan.moments != NULL:
        memcpy(plan.moments, net.moments, plan.moments_size)


cdef inline void restore_moments(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """After a step without an update"""
    if plan.moments != NULL:
        memcpy(net.moments, plan.moments, plan.moments_size)


cdef inline double dense_block(
    const NetworkSpec *net, const Plan *plan, const Batch *batch, const floating *params, floating *grads,
    floating *workspace, Py_ssize_t r
) noexcept nogil:
    """Gather block r, its gradient; returns its share in the loss"""
    cdef Py_ssize_t row = batch.m * r // batch.n_blocks, m = batch.m * (r + 1) // batch.n_blocks - row
    cdef const Py_ssize_t *index = plan.index + batch.begin + row
    cdef floating *t = workspace + 2 * batch.m * net.n_units + row * net.n_out
    cdef floating *x = workspace + batch.m * (2 * net.n_units + net.n_out) + row * net.n_in
    gather_targets(&plan.t, index, 0, t, m)
    gather_rows(&plan.x, index, 0, x, m)
    return block_gradient(net, params, grads, x, workspace + 2 * row * net.n_units, t, batch, row, m, 0)


cdef inline double sparse_block(
    const NetworkSpec *net, const Plan *plan, const Batch *batch, const SparseMemory *first, const floating *params,
    floating *grads, Py_ssize_t r
) noexcept nogil:
    """The outputs of the first layer for block r, the gradient of the others and y; returns its share in the loss"""
    cdef const LayerSpec *layer = &net.layers[0]
    cdef Py_ssize_t row = batch.m * r // batch.n_blocks, m = batch.m * (r + 1) // batch.n_blocks - row, ld = first.ld
    cdef floating *t = <floating *> first.work + 2 * batch.m * net.n_units + row * net.n_out
    cdef floating *z = <floating *> first.work + 2 * row * net.n_units
    cdef double loss
    gather_targets(&plan.t, plan.index + batch.begin + row, 0, t, m)
    sum_parts(<floating *> first.a + row * ld, <floating *> first.b, z, plan.batch_size * ld, m, layer.n_out, ld)
    activation_forward(layer.activation, layer.param, z, layer_slope(net, z, m, 0), m * layer.n_out)
    if batch.key and layer.dropout > 0:
        drop(z, layer.dropout, layer_key(batch.key, 0), row * layer.n_out, m * layer.n_out)
    loss = block_gradient(net, params, grads, z, z, t, batch, row, m, 1)
    pad_rows(layer_da(net, z, m, 0), <floating> (-batch.lr * layer.lr_scale if first.in_place else 1.0),
             <floating *> first.y + row * ld, m, layer.n_out, ld)
    return loss


cdef inline void share_blocks(
    const NetworkSpec *net, const Plan *plan, Batch *batch, const SparseMemory *first, const floating *params,
    floating *grads, floating *copies, floating *workspace
) noexcept nogil:
    """The gradient and loss of each block. A batch that is one block shares its products instead.

    first: where sums of the first layer are, NULL: from rows; workspace is for rows.
    """
    cdef NetworkSpec alone = net[0]
    cdef Py_ssize_t r
    alone.n_threads = 1
    if batch.n_blocks == 1:
        batch.loss[0] = one_block(net, plan, batch, first, params, grads, copies, workspace, 0)
    elif net.n_threads == 1:
        for r in range(batch.n_blocks):
            batch.loss[r] = one_block(&alone, plan, batch, first, params, grads, copies, workspace, r)
    else:
        for r in prange(batch.n_blocks, num_threads=net.n_threads, schedule="static"):
            batch.loss[r] = one_block(&alone, plan, batch, first, params, grads, copies, workspace, r)


cdef inline void share_parts(
    const NetworkSpec *net, const Plan *plan, Batch *batch, floating *params, floating *grads, floating *copies
) noexcept nogil:
    """finish_part for each part of all layers"""
    cdef NetworkSpec alone = net[0]
    cdef Py_ssize_t n_parts = count_parts(net), part
    alone.n_threads = 1
    if net.n_threads == 1 or n_parts == 1:
        for part in range(n_parts):
            finish_part(&alone, plan, batch, params, grads, copies, 0, part, n_parts)
    else:
        for part in prange(n_parts, num_threads=net.n_threads, schedule="static"):
            finish_part(&alone, plan, batch, params, grads, copies, 0, part, n_parts)


cdef inline double one_block(
    const NetworkSpec *net, const Plan *plan, const Batch *batch, const SparseMemory *first, const floating *params,
    floating *grads, floating *copies, floating *workspace, Py_ssize_t r
) noexcept nogil:
    """dense_block or sparse_block; returns its share in the loss"""
    if first == NULL:
        return dense_block(net, plan, batch, params, block_grads(net, grads, copies, 0, r), workspace, r)
    return sparse_block(net, plan, batch, first, params, block_grads(net, grads, copies, 1, r), r)
