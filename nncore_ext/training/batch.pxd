"""The plan of training steps, and a batch, which threads share twice a step.

First come blocks of samples, each with a gradient of its own, then parts of the parameter vector: the sum of those
gradients, the penalty, the update. Cut by sizes alone, not by the number of threads: the same bits for any.
"""

from cython cimport floating
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.vmath cimport axpby
from nncore_ext.layers.dropout cimport step_key
from nncore_ext.network.network cimport NetworkSpec, network_backward, network_forward, network_loss
from nncore_ext.network.penalty cimport network_penalty
from nncore_ext.samples.rows cimport CompressedRows, Rows, Targets, Weights, total_weight
from nncore_ext.training.optimizer cimport OptimizerSpec, is_plain
from nncore_ext.training.update cimport clip_gradient, has_max_norm, limit_norms, network_update
from nncore_ext.watch cimport stopped

# What training steps need. index holds samples of consecutive epochs, epoch_size each, and starts at the given
# position within one; an epoch is taken batch_size samples a step, its last step what is left.
cdef struct Plan:
    Rows x
    CompressedRows compressed  # instead of x
    Targets t
    Weights weights
    const Py_ssize_t *index
    Py_ssize_t n_index
    Py_ssize_t position
    Py_ssize_t epoch_size
    Py_ssize_t batch_size
    const double *lr  # one a step
    OptimizerSpec *rule
    double clip_norm  # 0: any
    double clip_value
    uint64_t seed  # of dropout
    Py_ssize_t first_step  # steps of the run before this plan
    void *moments  # room for the running moments before a step; NULL if there are none
    Py_ssize_t moments_size  # bytes


cdef enum:
    # A batch goes through a small network in blocks of at least so many rows, which have gradients of so many elements
    # at most: they stay in the second-level cache. Two threads would be 5 % faster with two blocks, four much slower.
    BATCH_BLOCK_ROWS = 48
    MAX_BATCH_BLOCKS = 4
    MAX_BLOCK_PARAMS = 1 << 14
    # A part of all parameters has at least so many, and begins at a cache line.
    PART_PARAMS = 1 << 10
    MAX_PARTS = 16
    PART_ALIGNMENT = 16

# A step's samples: m from index[begin] on.
cdef struct Batch:
    Py_ssize_t begin
    Py_ssize_t m
    Py_ssize_t n_blocks
    Weights weights
    double whole  # total_weight of them
    uint64_t key  # of the masks, 0 without any
    double lr  # of train_sparse
    double[MAX_BATCH_BLOCKS] loss  # of each block
    double[MAX_PARTS] penalty  # of each part


cdef inline bint moves_at_once(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """Whether the update needs the whole gradient first (clipping, max_norm)"""
    return plan.clip_norm > 0 or plan.clip_value > 0 or has_max_norm(net)


cdef inline bint has_dropout(const NetworkSpec *net) noexcept nogil:
    """Whether a mask is to be drawn"""
    cdef Py_ssize_t k
    for k in range(net.n_layers):
        if net.layers[k].dropout > 0:
            return True
    return False


cdef inline bint moves_by_gradient_alone(const NetworkSpec *net, const Plan *plan) noexcept nogil:
    """Whether a step is p -= lr * lr_scale * g with g of the loss, element by element"""
    cdef Py_ssize_t k
    for k in range(net.n_layers):
        if net.layers[k].l1 != 0 or net.layers[k].l2 != 0:
            return False
    return is_plain(plan.rule) and not moves_at_once(net, plan)


cdef inline void set_batch(
    const NetworkSpec *net, const Plan *plan, Py_ssize_t begin, Py_ssize_t step, bint drops, Py_ssize_t first,
    double *weights, Batch *batch
) noexcept nogil:
    """The batch of this step, which starts here in the index and goes through the layers from first on in blocks"""
    cdef const Py_ssize_t *index = plan.index + begin
    cdef Py_ssize_t s, n = net.n_out if plan.weights.by_output else 1
    batch.begin = begin
    batch.m = min(plan.batch_size, plan.n_index - begin, plan.epoch_size - (plan.position + begin) % plan.epoch_size)
    batch.n_blocks = count_blocks(net, first, batch.m)
    memset(batch.penalty, 0, sizeof(batch.penalty))
    batch.weights.values, batch.weights.by_output = NULL, plan.weights.by_output
    if plan.weights.values != NULL:
        batch.weights.values = weights
        for s in range(batch.m):
            memcpy(weights + s * n, plan.weights.values + index[s] * n, n * sizeof(double))
    batch.whole = total_weight(&batch.weights, batch.m)
    batch.key = step_key(plan.seed, plan.first_step + step) if drops else 0


cdef inline Py_ssize_t first_param(const NetworkSpec *net, Py_ssize_t k) noexcept nogil:
    """Where the parameters of the layers from k on begin"""
    return net.layers[k].W if k < net.n_layers else net.n_params


cdef inline Py_ssize_t count_blocks(const NetworkSpec *net, Py_ssize_t first, Py_ssize_t m) noexcept nogil:
    """Blocks that m samples take through the layers from first on"""
    cdef Py_ssize_t k, n = 1
    if net.n_params - first_param(net, first) > MAX_BLOCK_PARAMS:
        return 1
    for k in range(first, net.n_layers):
        if net.layers[k].gamma >= 0:  # its moments are those of the whole batch
            return 1
    while n < MAX_BATCH_BLOCKS and m >= 2 * n * BATCH_BLOCK_ROWS:
        n *= 2
    return n


cdef inline Py_ssize_t count_parts(const NetworkSpec *net) noexcept nogil:
    """Parts of all parameters: a power of two, so that 2, 4, 8 threads share evenly"""
    cdef Py_ssize_t n = 1
    while n < MAX_PARTS and net.n_params >= 2 * n * PART_PARAMS:
        n *= 2
    return n


cdef inline Py_ssize_t part_begin(
    const NetworkSpec *net, Py_ssize_t first, Py_ssize_t part, Py_ssize_t n_parts
) noexcept nogil:
    """Where one of n_parts of the parameters of the layers from first on begins"""
    cdef Py_ssize_t begin = first_param(net, first)
    if part == 0 or part == n_parts:
        return begin if part == 0 else net.n_params
    return max(begin, (begin + (net.n_params - begin) * part // n_parts) // PART_ALIGNMENT * PART_ALIGNMENT)


cdef inline Py_ssize_t copies_size(const NetworkSpec *net, Py_ssize_t first, Py_ssize_t m) noexcept nogil:
    """Elements of the gradients of the blocks but the first"""
    return (count_blocks(net, first, m) - 1) * (net.n_params - first_param(net, first))


cdef inline floating *block_grads(
    const NetworkSpec *net, floating *grads, floating *copies, Py_ssize_t first, Py_ssize_t r
) noexcept nogil:
    """Where block r has its gradient, to be indexed as grads by the layers from first on"""
    cdef Py_ssize_t begin = first_param(net, first)
    return grads if r == 0 else copies + (r - 1) * (net.n_params - begin) - begin


cdef inline double total_loss(const Batch *batch) noexcept nogil:
    """Of all blocks"""
    cdef double loss = 0
    cdef Py_ssize_t r
    for r in range(batch.n_blocks):
        loss += batch.loss[r]
    return loss


cdef inline double block_gradient(
    const NetworkSpec *net, const floating *params, floating *grads, const floating *x, floating *workspace,
    floating *t, const Batch *batch, Py_ssize_t row, Py_ssize_t m, Py_ssize_t first
) noexcept nogil:
    """grads (layers from first on) = the share of m samples, from row on, in the gradient; returns that in the loss"""
    cdef Weights w = batch.weights
    cdef double loss
    if w.values != NULL:
        w.values += row * (net.n_out if w.by_output else 1)
    network_forward(net, params, x, workspace, m, first, True, batch.key, row)
    if stopped(net.watch):
        return 0
    loss = network_loss(net, workspace, t, &w, m, batch.whole)
    network_backward(net, params, grads, x, workspace, m, first, <floating *> NULL, <floating *> NULL, True, batch.key,
                     row)
    return loss


cdef inline void finish_part(
    const NetworkSpec *net, const Plan *plan, Batch *batch, floating *params, floating *grads, floating *copies,
    Py_ssize_t first, Py_ssize_t part, Py_ssize_t n_parts
) noexcept nogil:
    """One part of the layers from first on: the gradient of all blocks and its penalty's, and the update"""
    cdef Py_ssize_t begin = part_begin(net, first, part, n_parts), end = part_begin(net, first, part + 1, n_parts), r
    for r in range(1, batch.n_blocks):
        axpby(<floating> 1, block_grads(net, grads, copies, first, r) + begin, True, grads + begin, end - begin)
    move_part(net, plan, batch, params, grads, begin, end, part)


cdef inline void move_part(
    const NetworkSpec *net, const Plan *plan, Batch *batch, floating *params, floating *grads, Py_ssize_t begin,
    Py_ssize_t end, Py_ssize_t part
) noexcept nogil:
    """The penalty of the parameters from begin to end, which counts as one of this part, and their update"""
    batch.penalty[part] += network_penalty(net, params, grads, batch.whole, begin, end)
    if not moves_at_once(net, plan):
        network_update(net, params, grads, plan.rule, begin, end)


cdef inline double finish_step(
    const NetworkSpec *net, const Plan *plan, const Batch *batch, floating *params, floating *grads
) noexcept nogil:
    """After all parts: the update if moves_at_once; returns the penalty as reported"""
    cdef double penalty = 0
    cdef Py_ssize_t part
    for part in range(MAX_PARTS):
        penalty += batch.penalty[part]
    if plan.clip_norm > 0 or plan.clip_value > 0:
        clip_gradient(net, grads, plan.clip_value, plan.clip_norm)
    if moves_at_once(net, plan):
        network_update(net, params, grads, plan.rule, 0, net.n_params)
        limit_norms(net, params)
    return net.penalty_share * penalty
