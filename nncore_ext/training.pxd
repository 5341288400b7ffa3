"""Many training steps without Python: gather a batch, forward, loss, backward, update."""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport ceil, isfinite, sqrt
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset
from nncore_ext.activation cimport activation_forward
from nncore_ext.batch cimport (
    Batch, Plan, block_gradient, block_grads, copies_size, count_parts, finish_part, finish_step, first_param,
    has_dropout, move_part, moves_at_once, moves_by_gradient_alone, set_batch, total_loss,
)
from nncore_ext.dropout cimport drop, layer_key
from nncore_ext.network cimport LayerSpec, NetworkSpec, layer_da, layer_slope
from nncore_ext.online cimport PackedNetwork, finish_packed, pack, packed_step, packed_z, unpack
from nncore_ext.optimizer cimport begin_step
from nncore_ext.rows cimport OVERRUN, PARTS, gather_rows, gather_targets
from nncore_ext.sparse cimport NN_VECTOR, forward_part, pad_rows, padded, sum_parts, unpad_rows, update_part
from nncore_ext.vmath cimport add_rows
from nncore_ext.watch cimport look, stopped

cdef enum:
    # Single samples between two looks for Ctrl-C.
    ONLINE_STEPS = 1 << 10


cdef inline Py_ssize_t train_steps(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, const Plan *plan,
    double *losses
) noexcept nogil:
    """Run the plan; losses[i] = the loss of batch i before its update. Returns the number of updates: it ends at a loss
    that is not finite, with the parameters that gave it, and where it is stopped (watch.pxd), after the last whole one.

    workspace: dense_workspace elements; weights: those of a batch, or NULL.
    """
    cdef Py_ssize_t begin = 0, step = 0
    cdef bint drops = has_dropout(net)
    cdef floating *copies = workspace + plan.batch_size * (2 * net.n_units + net.n_in + net.n_out)
    cdef Batch batch
    while begin < plan.n_index:
        set_batch(net, plan, begin, step, drops, 0, weights, &batch)
        save_moments(net, plan)
        share_blocks(net, plan, &batch, NULL, params, grads, copies, workspace)
        losses[step] = total_loss(&batch)
        if stopped(net.watch) or not isfinite(losses[step]):
            restore_moments(net, plan)
            return step
        begin_step(plan.rule, plan.lr[step])
        share_parts(net, plan, &batch, params, grads, copies)
        losses[step] += finish_step(net, plan, &batch, params, grads)
        begin += batch.m
        step += 1
    return step


cdef inline void save_moments(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """Before a step: its forward pass moves them, even if there is no update then"""
    if plan.moments != NULL:
        memcpy(plan.moments, net.moments, plan.moments_size)


cdef inline void restore_moments(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """After a step without an update"""
    if plan.moments != NULL:
        memcpy(net.moments, plan.moments, plan.moments_size)


cdef inline Py_ssize_t dense_workspace(const NetworkSpec *net, Py_ssize_t batch_size) noexcept nogil:
    """Elements that train_steps needs"""
    return batch_size * (2 * net.n_units + net.n_in + net.n_out) + copies_size(net, 0, batch_size)


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


cdef enum:
    # Samples whose products are added one after the other.
    MAX_IN_PLACE = 1 << 12
    CHAIN = 1 << 8

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


cdef inline SparseMemory sparse_memory(
    const NetworkSpec *net, const Plan *plan, floating *workspace, int *columns
) noexcept nogil:
    """The parts of workspace (sparse_workspace elements) and of columns (sparse_columns)"""
    cdef SparseMemory first
    cdef Py_ssize_t ld = padded(net.layers[0].n_out, sizeof(floating))
    first.ld = ld
    first.capacity = part_capacity(plan.batch_size, plan.compressed.max_piece)
    # plain descent updates the non-zeros only; with other rules every element of the first layer moves, and a long
    # batch has a sum of its own
    first.in_place = moves_by_gradient_alone(net, plan) and plan.batch_size <= MAX_IN_PLACE
    first.W = aligned(workspace)
    first.b = <floating *> first.W + net.n_in * ld
    first.a = <floating *> first.b + ld
    first.y = <floating *> first.a + PARTS * plan.batch_size * ld
    first.value = <floating *> first.y + plan.batch_size * ld
    first.work = <floating *> first.value + PARTS * first.capacity
    first.copies = <floating *> first.work + plan.batch_size * (2 * net.n_units + net.n_out)
    first.start = columns
    first.index = columns + PARTS * (plan.batch_size + 1)
    return first


cdef inline Py_ssize_t sparse_workspace(
    const NetworkSpec *net, Py_ssize_t batch_size, Py_ssize_t max_piece, Py_ssize_t itemsize
) noexcept nogil:
    """Elements that train_sparse needs"""
    cdef Py_ssize_t ld = padded(net.layers[0].n_out, itemsize)
    return (NN_VECTOR // itemsize + (net.n_in + 1 + (PARTS + 1) * batch_size) * ld
            + PARTS * part_capacity(batch_size, max_piece) + batch_size * (2 * net.n_units + net.n_out)
            + copies_size(net, 1, batch_size))


cdef inline Py_ssize_t sparse_columns(Py_ssize_t batch_size, Py_ssize_t max_piece) noexcept nogil:
    """Numbers that train_sparse needs for columns"""
    return PARTS * (batch_size + 1 + part_capacity(batch_size, max_piece))


cdef inline Py_ssize_t part_capacity(Py_ssize_t batch_size, Py_ssize_t max_piece) noexcept nogil:
    """Non-zeros of a part that a batch may have, and what is written beyond them"""
    return batch_size * max_piece + OVERRUN


cdef inline floating *aligned(floating *memory) noexcept nogil:
    """The first whole vector from here on"""
    return <floating *> ((<uintptr_t> memory + NN_VECTOR - 1) // NN_VECTOR * NN_VECTOR)


cdef inline Py_ssize_t train_sparse(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, int *columns,
    const Plan *plan, double *losses
) noexcept nogil:
    """train_steps for compressed rows and a first layer that is not normalised

    workspace: sparse_workspace elements, columns: sparse_columns.
    """
    cdef SparseMemory first = sparse_memory(net, plan, workspace, columns)
    cdef floating *copies = <floating *> first.copies
    cdef Py_ssize_t begin = 0, step = 0
    cdef bint drops = has_dropout(net), at_once = moves_at_once(net, plan)
    cdef Batch batch, done
    cdef Batch *next = &batch if plan.n_index > 0 else NULL
    if next != NULL:
        set_batch(net, plan, 0, 0, drops, 1, weights, &batch)
    for_parts(net, plan, &first, params, grads, NULL, True, next)
    while next != NULL:
        batch.lr = plan.lr[step]
        save_moments(net, plan)
        share_blocks(net, plan, &batch, &first, params, grads, copies, <floating *> NULL)
        losses[step] = total_loss(&batch)
        if look(net.watch, 3 * batch.m * net.n_params) or not isfinite(losses[step]):
            restore_moments(net, plan)
            break
        done = batch
        begin += batch.m
        next = &batch if begin < plan.n_index else NULL
        if next != NULL:
            set_batch(net, plan, begin, step + 1, drops, 1, weights, &batch)
        begin_step(plan.rule, done.lr)
        # the update of the batch done and the sums of the next are one pass over W, unless all of W must move between
        for_parts(net, plan, &first, params, grads, &done, not (first.in_place or at_once), NULL if at_once else next)
        losses[step] += finish_step(net, plan, &done, params, grads)
        if at_once:
            for_parts(net, plan, &first, params, grads, NULL, True, next)
        step += 1
    if first.in_place:
        unpad_layer(&net.layers[0], &first, params)
    return step


cdef inline void unpad_layer(const LayerSpec *layer, const SparseMemory *first, floating *params) noexcept nogil:
    """The layer's part of params = W and b without their padding"""
    unpad_rows(<floating *> first.W, params + layer.W, False, layer.n_in, layer.n_out, first.ld)
    if layer.b >= 0:
        memcpy(params + layer.b, first.b, layer.n_out * sizeof(floating))


cdef inline void pad_bias(const LayerSpec *layer, const floating *params, floating *b, Py_ssize_t ld) noexcept nogil:
    """b (ld,) = the layer's bias padded with 0; without one b = 0"""
    memset(b, 0, ld * sizeof(floating))
    if layer.b >= 0:
        memcpy(b, params + layer.b, layer.n_out * sizeof(floating))


cdef inline void sum_bias(
    const NetworkSpec *net, const SparseMemory *first, floating *grads, Py_ssize_t m
) noexcept nogil:
    """The sum of y's m rows moves b, or is its gradient"""
    cdef const LayerSpec *layer = &net.layers[0]
    cdef floating *b = <floating *> first.b
    if not first.in_place:
        memset(b, 0, first.ld * sizeof(floating))
    if layer.b >= 0 and layer.trainable_bias:
        add_rows(<floating *> first.y, b, m, first.ld)
    if layer.b >= 0 and not first.in_place:
        memcpy(grads + layer.b, b, layer.n_out * sizeof(floating))


cdef inline void for_parts(
    const NetworkSpec *net, const Plan *plan, const SparseMemory *first, floating *params, floating *grads,
    Batch *done, bint pad, const Batch *next
) noexcept nogil:
    """do_part for each part of the columns; update and forward at one go leave W in the cache and threads together"""
    cdef NetworkSpec alone = net[0]
    cdef Py_ssize_t part
    alone.n_threads = 1
    if net.n_threads == 1:
        for part in range(PARTS):
            do_part(&alone, plan, first, params, grads, done, pad, next, part)
    else:
        for part in prange(PARTS, num_threads=net.n_threads, schedule="static"):
            do_part(&alone, plan, first, params, grads, done, pad, next, part)


cdef inline void do_part(
    const NetworkSpec *net, const Plan *plan, const SparseMemory *first, floating *params, floating *grads,
    Batch *done, bint pad, const Batch *next, Py_ssize_t part
) noexcept nogil:
    """After the batch done: rows of W and a part of the other layers move, or only have their gradient; pad: W and b
    from params; before the batch next: its sums. NULL: no such batch. The last part has b.
    """
    cdef const LayerSpec *layer = &net.layers[0]
    cdef Py_ssize_t ld = first.ld, at = plan.compressed.bounds[part], stop = plan.compressed.bounds[part + 1]
    cdef floating *W = <floating *> first.W + at * ld
    if done != NULL:
        finish_columns(net, plan, first, params, grads, done, part)
        finish_part(net, plan, done, params, grads, <floating *> first.copies, 1, part, PARTS)
    if pad:
        pad_rows(params + layer.W + at * layer.n_out, <floating> 1, W, stop - at, layer.n_out, ld)
    if pad and part == PARTS - 1:
        pad_bias(layer, params, <floating *> first.b, ld)
    if next != NULL:
        forward_part(&plan.compressed, part, plan.index + next.begin, plan.n_index - next.begin,
                     <floating *> first.value + part * first.capacity, first.index + part * first.capacity,
                     first.start + part * (plan.batch_size + 1), <floating *> first.W,
                     <floating *> first.a + part * plan.batch_size * ld, next.m, ld)


cdef inline void finish_columns(
    const NetworkSpec *net, const Plan *plan, const SparseMemory *first, floating *params, floating *grads,
    Batch *done, Py_ssize_t part
) noexcept nogil:
    """What finish_part does, for the rows of the first layer's W that belong to a part of the columns"""
    cdef const LayerSpec *layer = &net.layers[0]
    cdef Py_ssize_t ld = first.ld, at = plan.compressed.bounds[part], stop = plan.compressed.bounds[part + 1]
    cdef Py_ssize_t begin = layer.W + at * layer.n_out
    cdef floating *W = <floating *> first.W
    cdef Py_ssize_t chain = done.m if first.in_place or done.m <= CHAIN else <Py_ssize_t> ceil(sqrt(done.m)), row = 0
    while row < done.m:
        if not first.in_place:
            memset(W + at * ld, 0, (stop - at) * ld * sizeof(floating))
        update_part(<floating *> first.value + part * first.capacity, first.index + part * first.capacity,
                    first.start + part * (plan.batch_size + 1) + row, <floating *> first.y + row * ld, W,
                    min(chain, done.m - row), ld)
        if not first.in_place:
            unpad_rows(W + at * ld, grads + begin, row > 0, stop - at, layer.n_out, ld)
        row += chain
    if part == PARTS - 1:
        sum_bias(net, first, grads, done.m)
    if not first.in_place:
        move_part(net, plan, done, params, grads, begin,
                  first_param(net, 1) if part == PARTS - 1 else layer.W + stop * layer.n_out, part)


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


cdef inline Py_ssize_t train_online(
    const NetworkSpec *net, PackedNetwork *packed, floating *params, floating *workspace, const Plan *plan,
    double *losses
) noexcept nogil:
    """train_steps for one sample a step; workspace: packed.size elements and those of a vector, to start at one"""
    cdef floating *p = aligned(workspace)
    cdef Py_ssize_t step, done = plan.n_index
    cdef int turn = 0
    pack(net, packed, params, p)
    for step in range(plan.n_index):
        if step % ONLINE_STEPS == 0 and look(net.watch, ONLINE_STEPS * 3 * net.n_params):
            done = step
            break
        losses[step] = 0
        if plan.weights.values != NULL and not plan.weights.values[plan.index[step]] > 0:
            continue
        gather_rows(&plan.x, plan.index + step, 0, packed_z(packed, p, -1, turn), 1)
        gather_targets(&plan.t, plan.index + step, 0, p + packed.t, 1)
        losses[step] = packed_step(net, packed, p, plan.lr[step], turn)
        if not isfinite(losses[step]):
            unpack(net, packed, p, params)
            return step
        turn = 1 - turn
    finish_packed(net, packed, p, turn)
    unpack(net, packed, p, params)
    return done
