# The kernels that the network calls, by its float type: one table for float and one for double, chosen once. Where they
# have pointers to that type, the table has void.

ctypedef void (*forward_blocks_t)(
    const NetworkSpec *, const void *, const Rows *, void *, Py_ssize_t, void *, Py_ssize_t, Py_ssize_t, int
) noexcept nogil
ctypedef double (*loss_blocks_t)(
    const NetworkSpec *, const void *, const Rows *, const Targets *, const Weights *, Py_ssize_t, Py_ssize_t, void *
) noexcept nogil
ctypedef double (*gradient_kept_t)(
    const NetworkSpec *, const void *, const Rows *, const Targets *, const Weights *, void *, void *, Py_ssize_t,
    void *
) noexcept nogil
ctypedef void (*forward_kept_t)(
    const NetworkSpec *, const void *, const Rows *, void *, Py_ssize_t, void *
) noexcept nogil
ctypedef void (*backward_kept_t)(
    const NetworkSpec *, const void *, const void *, void *, void *, Py_ssize_t, void *
) noexcept nogil
ctypedef Py_ssize_t (*train_steps_t)(
    const NetworkSpec *, void *, void *, void *, double *, const Plan *, double *
) noexcept nogil
ctypedef Py_ssize_t (*train_sparse_t)(
    const NetworkSpec *, void *, void *, void *, double *, int *, const Plan *, double *
) noexcept nogil
ctypedef Py_ssize_t (*train_online_t)(
    const NetworkSpec *, PackedNetwork *, void *, void *, const Plan *, double *
) noexcept nogil
ctypedef void (*update_by_t)(const NetworkSpec *, void *, void *, const OptimizerSpec *, double, double) noexcept nogil
ctypedef double (*network_penalty_t)(
    const NetworkSpec *, const void *, void *, double, Py_ssize_t, Py_ssize_t
) noexcept nogil
ctypedef void (*normalise_by_t)(
    const NetworkSpec *, const LayerSpec *, const void *, void *, void *, bint, Py_ssize_t
) noexcept nogil
ctypedef void (*normalise_backward_by_t)(
    const NetworkSpec *, const LayerSpec *, const void *, const void *, void *, void *, bint, Py_ssize_t
) noexcept nogil
ctypedef void (*drop_t)(void *, double, uint64_t, Py_ssize_t, Py_ssize_t) noexcept nogil
ctypedef bint (*any_nan_t)(const void *, Py_ssize_t) noexcept nogil
ctypedef void (*probe_block_t)(
    const NetworkSpec *, const void *, Probe *, const Rows *, const Targets *, const Weights *, Py_ssize_t, void *
) noexcept nogil
ctypedef void (*probe_units_t)(
    const NetworkSpec *, const void *, const Probe *, void *, void *, Py_ssize_t, const Findings *
) noexcept nogil
ctypedef void (*penalty_slopes_t)(const LayerSpec *, const void *, double, double, const Findings *) noexcept nogil

cdef struct Kernels:
    size_t itemsize
    forward_blocks_t forward_blocks
    loss_blocks_t loss_blocks
    gradient_kept_t gradient_kept
    forward_kept_t forward_kept
    backward_kept_t backward_kept
    train_steps_t train_steps
    train_sparse_t train_sparse
    train_online_t train_online
    update_by_t update_by
    network_penalty_t network_penalty
    normalise_by_t normalise_by
    normalise_backward_by_t normalise_backward_by
    drop_t drop
    any_nan_t any_nan
    probe_block_t probe_block
    probe_units_t probe_units
    penalty_slopes_t penalty_slopes


cdef Kernels kernels_of(floating _like) noexcept:
    """The table of a float type"""
    cdef Kernels kernels
    kernels.itemsize = sizeof(floating)
    kernels.forward_blocks = <forward_blocks_t> forward_blocks[floating]
    kernels.loss_blocks = <loss_blocks_t> loss_blocks[floating]
    kernels.gradient_kept = <gradient_kept_t> gradient_kept[floating]
    kernels.forward_kept = <forward_kept_t> forward_kept[floating]
    kernels.backward_kept = <backward_kept_t> backward_kept[floating]
    kernels.train_steps = <train_steps_t> train_steps[floating]
    kernels.train_sparse = <train_sparse_t> train_sparse[floating]
    kernels.train_online = <train_online_t> train_online[floating]
    kernels.update_by = <update_by_t> update_by[floating]
    kernels.network_penalty = <network_penalty_t> network_penalty[floating]
    kernels.normalise_by = <normalise_by_t> normalise_by[floating]
    kernels.normalise_backward_by = <normalise_backward_by_t> normalise_backward_by[floating]
    kernels.drop = <drop_t> drop[floating]
    kernels.any_nan = <any_nan_t> any_nan[floating]
    kernels.probe_block = <probe_block_t> probe_block[floating]
    kernels.probe_units = <probe_units_t> probe_units[floating]
    kernels.penalty_slopes = <penalty_slopes_t> penalty_slopes[floating]
    return kernels


cdef bint any_nan(const floating *values, Py_ssize_t size) noexcept nogil:
    """Whether one of the values is NaN: a number that is not itself"""
    cdef Py_ssize_t i
    for i in range(size):
        if values[i] != values[i]:
            return True
    return False


cdef void update_by(const NetworkSpec *net, floating *params, floating *grads, const OptimizerSpec *rule,
                    double clip_value, double clip_norm) noexcept nogil:
    if clip_norm > 0 or clip_value > 0:
        clip_gradient(net, grads, clip_value, clip_norm)
    network_update(net, params, grads, rule, 0, net.n_params)
    limit_norms(net, params)


cdef void normalise_by(const NetworkSpec *net, const LayerSpec *layer, const floating *params, floating *a,
                       floating *x_hat, bint training, Py_ssize_t m) noexcept nogil:
    norm_forward(params + layer.gamma, params + layer.b, a, x_hat, <floating *> net.moments + layer.moments, training,
                 m, layer.n_out)


cdef void normalise_backward_by(const NetworkSpec *net, const LayerSpec *layer, const floating *params,
                                const floating *x_hat, floating *da, floating *grads, bint training,
                                Py_ssize_t m) noexcept nogil:
    norm_backward(params + layer.gamma, x_hat, <floating *> net.moments + layer.moments, da, grads + layer.gamma,
                  grads + layer.b, training, m, layer.n_out)
