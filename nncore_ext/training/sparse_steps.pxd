"""Training steps on rows with many zeros: the first layer by parts of the columns, the others as in dense steps."""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport ceil, isfinite, sqrt
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.vmath cimport add_rows
from nncore_ext.network.network cimport LayerSpec, NetworkSpec
from nncore_ext.samples.rows cimport OVERRUN, PARTS
from nncore_ext.training.batch cimport (
    Batch, Plan, copies_size, finish_part, finish_step, first_param, has_dropout, move_part, moves_at_once,
    moves_by_gradient_alone, set_batch, total_loss,
)
from nncore_ext.training.blocks cimport SparseMemory, restore_moments, save_moments, share_blocks
from nncore_ext.training.optimizer cimport begin_step
from nncore_ext.training.sparse_layer cimport (
    NN_VECTOR, aligned, forward_part, pad_rows, padded, unpad_rows, update_part,
)
from nncore_ext.watch cimport look

cdef enum:
    # Samples whose products are added one after the other.
    MAX_IN_PLACE = 1 << 12
    CHAIN = 1 << 8


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
    """finish_part for the rows of the first layer's W that belong to a part of the columns"""
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
