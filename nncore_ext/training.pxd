"""Many training steps without Python: gather a batch, forward, loss, backward, update."""

from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcpy, memset
from nncore_ext.dropout cimport drop, layer_key, step_key
from nncore_ext.network cimport (
    LayerSpec, NetworkSpec, Weights, clip_gradient, layer_da, layer_slope, network_backward, network_forward,
    network_loss, network_penalty, network_update, total_weight,
)
from nncore_ext.online cimport PackedNetwork, pack, packed_step, unpack
from nncore_ext.optimizer cimport OptimizerSpec, is_plain
from nncore_ext.rows cimport CompressedRows, Rows, Targets, gather_rows, gather_targets
from nncore_ext.sparse cimport NN_VECTOR, pad_rows, padded, sparse_forward, sparse_update, unpad_rows
from nncore_ext.vmath cimport axpby

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
        if net.layers[k].l1 != 0 or net.layers[k].l2 != 0 or net.layers[k].max_norm > 0:
            return False
    return is_plain(plan.rule) and plan.clip_norm == 0 and plan.clip_value == 0


cdef inline uint64_t plan_key(const Plan *plan, Py_ssize_t step, bint drops) noexcept nogil:
    """The key of the masks of a step, 0 without any"""
    return step_key(plan.seed, plan.first_step + step) if drops else 0


cdef inline Py_ssize_t next_batch(
    const NetworkSpec *net, const Plan *plan, Py_ssize_t begin, floating *t, double *weights
) noexcept nogil:
    """Gather targets and weights of the batch that starts here in the index; returns its number of samples"""
    cdef const Py_ssize_t *index = plan.index + begin
    cdef Py_ssize_t m, s, n = net.n_out if plan.weights.by_output else 1
    m = min(plan.batch_size, plan.n_index - begin, plan.epoch_size - (plan.position + begin) % plan.epoch_size)
    gather_targets(&plan.t, index, 0, t, m)
    if plan.weights.values != NULL:
        for s in range(m):
            memcpy(weights + s * n, plan.weights.values + index[s] * n, n * sizeof(double))
    return m


cdef inline Weights batch_weights(const Plan *plan, const double *weights) noexcept nogil:
    """Those that next_batch gathered"""
    cdef Weights batch
    batch.values, batch.by_output = weights if plan.weights.values != NULL else NULL, plan.weights.by_output
    return batch


cdef inline double finish_step(
    const NetworkSpec *net, const Plan *plan, floating *params, floating *grads, double whole, double lr
) noexcept nogil:
    """Penalties, clipping and the update, from the gradient of the loss; returns the penalty"""
    cdef double penalty = network_penalty(net, params, grads, whole)
    if plan.clip_norm > 0 or plan.clip_value > 0:
        clip_gradient(net, grads, plan.clip_value, plan.clip_norm)
    plan.rule.lr = lr
    network_update(net, params, grads, plan.rule, 0)
    return penalty


cdef inline Py_ssize_t train_steps(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, const Plan *plan,
    double *losses
) noexcept nogil:
    """Run the plan; losses[i] = the loss of batch i before its update. Returns the number of finite ones:
    at a loss that is not finite it stops with the parameters that gave it.

    workspace: batch_size * (2 n_units + n_in + n_out) elements; weights: those of a batch, or NULL.
    """
    cdef Py_ssize_t begin = 0, step = 0, m
    cdef Weights w = batch_weights(plan, weights)
    cdef bint drops = has_dropout(net)
    cdef uint64_t key
    cdef floating *t = workspace + 2 * plan.batch_size * net.n_units
    cdef floating *x = t + plan.batch_size * net.n_out
    while begin < plan.n_index:
        m = next_batch(net, plan, begin, t, weights)
        gather_rows(&plan.x, plan.index + begin, 0, x, m)
        key = plan_key(plan, step, drops)
        network_forward(net, params, x, workspace, m, 0, True, key)
        losses[step] = network_loss(net, workspace, t, &w, m)
        if not isfinite(losses[step]):
            return step
        network_backward(net, params, grads, x, workspace, m, 0, <floating *> NULL, <floating *> NULL, True,
                         key)
        losses[step] += finish_step(net, plan, params, grads, total_weight(&w, m), plan.lr[step])
        begin += m
        step += 1
    return step


cdef inline Py_ssize_t train_sparse(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, int *columns,
    const Plan *plan, double *losses
) noexcept nogil:
    """train_steps for compressed rows and a first layer that is not normalised

    workspace: sparse_workspace elements, columns: batch_size + 1 + max_nonzeros.
    """
    cdef LayerSpec *layer = &net.layers[0]
    cdef Py_ssize_t begin = 0, step = 0, m, s, ld = padded(layer.n_out, sizeof(floating))
    cdef floating *W = aligned(workspace)
    cdef floating *b = W + layer.n_in * ld
    cdef floating *y = b + ld
    cdef floating *scratch = y + plan.batch_size * ld
    cdef floating *work = scratch + net.n_threads * ld
    cdef floating *t = work + 2 * plan.batch_size * net.n_units
    cdef floating *value = t + plan.batch_size * net.n_out
    cdef int *index = columns + plan.batch_size + 1
    cdef const Py_ssize_t *coming
    cdef bint update_bias = layer.b >= 0 and layer.trainable_bias
    # plain descent updates the non-zeros only; with other rules every element of the first layer moves
    cdef bint in_place = moves_by_gradient_alone(net, plan)
    cdef bint drops = has_dropout(net)
    cdef Weights batch = batch_weights(plan, weights)
    cdef double lr
    cdef uint64_t key
    pad_layer(layer, params, W, b, ld)
    while begin < plan.n_index:
        m = next_batch(net, plan, begin, t, weights)
        coming = plan.index + begin + m if begin + 2 * m <= plan.n_index else NULL
        sparse_forward(&plan.compressed, plan.index + begin, coming, value, index, columns, W, b, layer,
                       work, layer_slope(net, work, m, 0), scratch, m, ld, net.n_threads)
        key, lr = plan_key(plan, step, drops), plan.lr[step]
        if drops and layer.dropout > 0:
            drop(work, layer.dropout, layer_key(key, 0), m * layer.n_out)
        network_forward(net, params, work, work, m, 1, True, key)
        losses[step] = network_loss(net, work, t, &batch, m)
        if not isfinite(losses[step]):
            break
        network_backward(net, params, grads, value, work, m, 1, <floating *> NULL, <floating *> NULL, True,
                         key)
        if in_place:
            plan.rule.lr = lr
            network_update(net, params, grads, plan.rule, 1)
        else:  # W and b, which were read already, hold their gradients meanwhile
            memset(W, 0, (layer.n_in + 1) * ld * sizeof(floating))
        pad_rows(layer_da(net, work, m, 0), <floating> (-lr * layer.lr_scale if in_place else 1.0), y, m, layer.n_out,
                 ld)
        sparse_update(value, index, columns, y, W, m, layer.n_in, ld, net.n_threads)
        if update_bias:
            for s in range(m):
                axpby(<floating> 1, y + s * ld, True, b, ld)
        if not in_place:
            unpad_layer(layer, W, b, grads, ld)
            losses[step] += finish_step(net, plan, params, grads, total_weight(&batch, m), lr)
            pad_layer(layer, params, W, b, ld)
        begin += m
        step += 1
    unpad_layer(layer, W, b, params, ld)
    return step


cdef inline void pad_layer(
    const LayerSpec *layer, const floating *params, floating *W, floating *b, Py_ssize_t ld
) noexcept nogil:
    """W (n_in, ld) and b (ld,) = the layer's part of params, padded with 0; without a bias b = 0"""
    pad_rows(params + layer.W, <floating> 1, W, layer.n_in, layer.n_out, ld)
    memset(b, 0, ld * sizeof(floating))
    if layer.b >= 0:
        memcpy(b, params + layer.b, layer.n_out * sizeof(floating))


cdef inline void unpad_layer(
    const LayerSpec *layer, const floating *W, const floating *b, floating *params, Py_ssize_t ld
) noexcept nogil:
    """The layer's part of params = W (n_in, ld) and b (ld,) without their padding"""
    unpad_rows(W, params + layer.W, layer.n_in, layer.n_out, ld)
    if layer.b >= 0:
        memcpy(params + layer.b, b, layer.n_out * sizeof(floating))


cdef inline Py_ssize_t sparse_workspace(
    const NetworkSpec *net, Py_ssize_t batch_size, Py_ssize_t max_nonzeros, Py_ssize_t itemsize
) noexcept nogil:
    """Elements that train_sparse needs"""
    cdef Py_ssize_t ld = padded(net.layers[0].n_out, itemsize)
    return (NN_VECTOR // itemsize + (net.n_in + 1 + batch_size + net.n_threads) * ld
            + batch_size * (2 * net.n_units + net.n_out) + max_nonzeros)


cdef inline floating *aligned(floating *memory) noexcept nogil:
    """The first whole vector from here on"""
    return <floating *> ((<uintptr_t> memory + NN_VECTOR - 1) // NN_VECTOR * NN_VECTOR)


cdef inline Py_ssize_t train_online(
    const NetworkSpec *net, PackedNetwork *packed, floating *params, floating *workspace, const Plan *plan,
    double *losses
) noexcept nogil:
    """train_steps for one sample a step; workspace: packed.size elements and those of a vector, to start at one"""
    cdef floating *p = aligned(workspace)
    cdef Py_ssize_t step, done = plan.n_index
    pack(net, packed, params, p)
    for step in range(plan.n_index):
        gather_rows(&plan.x, plan.index + step, 0, p + packed.x, 1)
        gather_targets(&plan.t, plan.index + step, 0, p + packed.t, 1)
        losses[step] = 0
        if plan.weights.values == NULL or plan.weights.values[plan.index[step]] > 0:
            losses[step] = packed_step(net, packed, p, plan.lr[step])
        if not isfinite(losses[step]):
            done = step
            break
    unpack(net, packed, p, params)
    return done
