"""The start of all perturbations of a network's parameters: the forward pass of a block of samples, kept by features.

base, fixed for a block of samples, each (rows, m):
    x (n_in), z and a of all layers (n_units each), t (n_out), e = exp(a - max) of the last layer (n_out),
    sum(t), sum(t * e), ones, weight of each sample (1 each), weights of the outputs (n_out, if they have any)
"""

from cython cimport floating
from libc.math cimport cbrt, fabs
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.product cimport product
from nncore_ext.arithmetic.vmath cimport square_root, vexp
from nncore_ext.layers.activation cimport activation_forward, keeps_slope
from nncore_ext.layers.batch_norm cimport NN_NORM_EPS
from nncore_ext.layers.loss cimport SOFTMAX_CROSS_ENTROPY
from nncore_ext.network.network cimport LayerSpec, NetworkSpec

cdef struct Probe:
    Py_ssize_t m  # samples of the block
    Py_ssize_t n_pairs  # perturbations (up and down) evaluated at a time
    Py_ssize_t work  # about the multiply-adds of one pair and one sample
    bint one_hot  # every target row has one 1
    bint by_output  # outputs have weights
    double share  # of each sample in the mean then
    double h  # 0: default_step
    double rounding  # how far rounding moves a loss
    bint one_sided  # differences between value + step and value itself


cdef inline double default_step(floating value) noexcept nogil:
    """cbrt(eps) * max(1, |value|), eps of the value's own type"""
    cdef double eps = 1.1920928955078125e-07 if floating is float else 2.220446049250313e-16
    return cbrt(eps) * max(1.0, fabs(value))


cdef inline Py_ssize_t widest(const NetworkSpec *net) noexcept nogil:
    """The most units a layer has"""
    cdef Py_ssize_t most = 1, k
    for k in range(net.n_layers):
        most = max(most, net.layers[k].n_out)
    return most


cdef inline Py_ssize_t base_size(const NetworkSpec *net, Py_ssize_t m) noexcept nogil:
    return m * (net.n_in + 2 * net.n_units + 3 * net.n_out + 4)


cdef inline Py_ssize_t scratch_size(const NetworkSpec *net, Py_ssize_t m, Py_ssize_t n_pairs) noexcept nogil:
    """Of one thread: the moved unit, two layers of columns, three sample vectors (the last is t_W of near_losses)"""
    return 2 * n_pairs * m * (1 + 2 * widest(net)) + 3 * m


cdef inline floating *base_z(const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """z_k (n_out, m); k = -1: x"""
    return base if k < 0 else base + m * (net.n_in + net.layers[k].unit)


cdef inline floating *base_a(const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """a_k (n_out, m)"""
    return base + m * (net.n_in + net.n_units + net.layers[k].unit)


cdef inline floating *base_t(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """The targets t (n_out, m)"""
    return base + m * (net.n_in + 2 * net.n_units)


cdef inline floating *base_e(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """e (n_out, m) = exp(a - max) of the last layer"""
    return base_t(net, base, m) + m * net.n_out


cdef inline floating *base_t_sum(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """sum(t) (m,)"""
    return base_e(net, base, m) + m * net.n_out


cdef inline floating *base_t_e(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """sum(t * e) (m,)"""
    return base_t_sum(net, base, m) + m


cdef inline floating *base_ones(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """Ones (m,), by which a bias is multiplied"""
    return base_t_e(net, base, m) + m


cdef inline floating *base_weights(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """The weight of each sample in the loss (m,)"""
    return base_ones(net, base, m) + m


cdef inline floating *base_output_weights(const NetworkSpec *net, floating *base, Py_ssize_t m) noexcept nogil:
    """The weights of the outputs (n_out, m), if they have any"""
    return base_weights(net, base, m) + m


cdef inline floating *base_x_hat(const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """x_hat_k (n_out, m) of a normalised layer"""
    return base_z(net, base, m, k) + m * net.layers[k].n_out * (2 if keeps_slope(net.layers[k].activation) else 1)


cdef inline Py_ssize_t n_inputs_of(const LayerSpec *layer) noexcept nogil:
    """Parameters into a unit: those of its inputs, then gamma, then the bias, n_out apart"""
    return layer.n_in + (layer.gamma >= 0) + (layer.b >= 0)


cdef inline const floating *input_values(
    const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k, Py_ssize_t j, Py_ssize_t i
) noexcept nogil:
    """The factors of parameter i into unit j of layer k, for the m samples"""
    if i < net.layers[k].n_in:
        return base_z(net, base, m, k - 1) + i * m
    if net.layers[k].gamma >= 0 and i == net.layers[k].n_in:
        return base_x_hat(net, base, m, k) + j * m
    return base_ones(net, base, m)


cdef inline floating norm_factor(
    const NetworkSpec *net, const floating *params, Py_ssize_t k, Py_ssize_t r
) noexcept nogil:
    """The factor of a change of x @ W in unit r of layer k: gamma / sqrt(var + eps), 1 without normalisation"""
    cdef const LayerSpec *layer = &net.layers[k]
    cdef const floating *var
    if layer.gamma < 0:
        return 1
    var = <const floating *> net.moments + layer.moments + layer.n_out
    return params[layer.gamma + r] / square_root(var[r] + <floating> NN_NORM_EPS)


cdef inline void columns_forward(
    const NetworkSpec *net, Py_ssize_t k, const floating *params, const floating *z, floating *a, floating *x_hat,
    Py_ssize_t n_columns
) noexcept nogil:
    """a = W.T @ z + b, normalised before b if layer k is: z (n_in, n_columns), a and x_hat (n_out, n_columns)

    x_hat may be a.
    """
    cdef const LayerSpec *layer = &net.layers[k]
    cdef const floating *mean = <const floating *> net.moments + layer.moments
    cdef Py_ssize_t r, c
    cdef floating bias, factor
    for r in range(layer.n_out):
        bias = params[layer.b + r] if layer.b >= 0 and layer.gamma < 0 else 0
        for c in range(r * n_columns, (r + 1) * n_columns):
            a[c] = bias
    product(True, False, params + layer.W, z, a, n_columns, a, layer.n_out, n_columns, layer.n_in, 1, net.watch)
    if layer.gamma >= 0:
        for r in range(layer.n_out):
            factor = 1 / square_root(mean[layer.n_out + r] + <floating> NN_NORM_EPS)
            for c in range(r * n_columns, (r + 1) * n_columns):
                x_hat[c] = factor * (a[c] - mean[r])
                a[c] = params[layer.gamma + r] * x_hat[c] + params[layer.b + r]


cdef inline void prepare_base(
    const NetworkSpec *net, const floating *params, const floating *x, const floating *t, const double *weights,
    bint by_output, double share, floating *base, Py_ssize_t m
) noexcept nogil:
    """Fill base from x (m, n_in), t (m, n_out) and the weights (m,) of the samples in the loss

    by_output: weights (m, n_out) of the outputs, and share that of each sample. Cross-entropy has them in its targets.
    """
    cdef Py_ssize_t k, s, r, last = net.n_layers - 1, n_out = net.n_out
    cdef floating top
    cdef floating *a
    cdef floating *targets = base_t(net, base, m)
    cdef floating *e = base_e(net, base, m)
    cdef floating *t_sum = base_t_sum(net, base, m)
    cdef floating *t_e = base_t_e(net, base, m)
    cdef floating *ones = base_ones(net, base, m)
    cdef floating *sample_weights = base_weights(net, base, m)
    cdef floating *output_weights = base_output_weights(net, base, m)
    for s in range(m):
        for r in range(net.n_in):
            base[r * m + s] = x[s * net.n_in + r]
        for r in range(n_out):
            targets[r * m + s] = t[s * n_out + r]
            if by_output and net.loss == SOFTMAX_CROSS_ENTROPY:
                targets[r * m + s] *= <floating> weights[s * n_out + r]
            elif by_output:
                output_weights[r * m + s] = <floating> weights[s * n_out + r]
        ones[s] = 1
        sample_weights[s] = <floating> (share if by_output else weights[s])
    for k in range(net.n_layers):
        a = base_a(net, base, m, k)
        columns_forward(net, k, params, base_z(net, base, m, k - 1), a, base_x_hat(net, base, m, k), m)
        memcpy(base_z(net, base, m, k), a, m * net.layers[k].n_out * sizeof(floating))
        activation_forward(net.layers[k].activation, net.layers[k].param, base_z(net, base, m, k), <floating *> NULL,
                           m * net.layers[k].n_out)
    a = base_a(net, base, m, last)
    for s in range(m):
        top = a[s]
        for r in range(n_out):
            top = max(top, a[r * m + s])
        t_sum[s] = 0
        for r in range(n_out):
            e[r * m + s] = a[r * m + s] - top
            t_sum[s] += targets[r * m + s]
    vexp(e, <floating> 0, e, m * n_out)
    memset(t_e, 0, m * sizeof(floating))
    for r in range(m * n_out):
        t_e[r % m] += targets[r] * e[r]
