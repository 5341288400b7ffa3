"""Central differences of a network's loss, parameter by parameter: no derivative formula is used.

A change of W_k[i, j] or b_k[j] moves only column j of the pre-activations a_k, by step * z_(k-1)[:, i]; from there on
the loss is evaluated again, what lies before is computed once. Sources: the central difference and its step
cbrt(eps) * |value|: Press et al., Numerical Recipes, section 5.7.

Everything here is laid out feature by feature, (n_features, n_columns), the m samples of one perturbation side by
side: each loop runs over samples, and many perturbations are one product with the next layer's weights.

base, fixed for a block of samples, each (rows, m):
    x (n_in), z and a of all layers (n_units each), t (n_out), e = exp(a - max) of the last layer (n_out),
    sum(t), sum(t * e), ones, weight of each sample (1 each), weights of the outputs (n_out, if they have any)
"""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport cbrt, fabs
from libc.string cimport memcpy, memset
from nncore_ext.activation cimport HARD_SIGMOID, SOFTMAX, activation_forward, has_kink, keeps_slope
from nncore_ext.batch_norm cimport NN_NORM_EPS
from nncore_ext.loss cimport SOFTMAX_CROSS_ENTROPY, SQUARED_ERROR, loss_term
from nncore_ext.network cimport LayerSpec, NetworkSpec
from nncore_ext.product cimport product
from nncore_ext.vmath cimport axpby, square_root, vcrosses, vdot, vexp, vlog
from nncore_ext.watch cimport look

cdef enum:
    # About this many inputs of a unit are also differenced with half the step, to see the truncation error.
    TRUNCATION_INPUTS = 32
    # Perturbations evaluated at a time, at most.
    MAX_PAIRS = 16

# What was found of each parameter, all by its place in the parameter vector.
cdef struct Findings:
    double *slope
    double *truncation  # estimated error of slope
    unsigned char *kink  # a relu changes sides between the two points
    const unsigned char *wanted  # which parameters are asked for; NULL: all

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
    """t (n_out, m); e, sum(t), sum(t * e), ones, weights follow"""
    return base + m * (net.n_in + 2 * net.n_units)


cdef inline floating *base_x_hat(const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """x_hat_k (n_out, m) of a normalised layer"""
    return base_z(net, base, m, k) + m * net.layers[k].n_out * (2 if keeps_slope(net.layers[k].activation) else 1)


cdef inline Py_ssize_t n_inputs_of(const LayerSpec *layer) noexcept nogil:
    """Parameters into a unit: those of its inputs, then gamma, then the bias, n_out apart"""
    return layer.n_in + (layer.gamma >= 0) + (layer.b >= 0)


cdef inline const floating *input_values(
    const NetworkSpec *net, floating *base, Py_ssize_t m, Py_ssize_t k, Py_ssize_t j, Py_ssize_t i
) noexcept nogil:
    """What parameter i into unit j of layer k is multiplied by, for the m samples"""
    if i < net.layers[k].n_in:
        return base_z(net, base, m, k - 1) + i * m
    if net.layers[k].gamma >= 0 and i == net.layers[k].n_in:
        return base_x_hat(net, base, m, k) + j * m
    return base_t(net, base, m) + m * (2 * net.n_out + 2)  # ones


cdef inline floating norm_factor(
    const NetworkSpec *net, const floating *params, Py_ssize_t k, Py_ssize_t r
) noexcept nogil:
    """What a change of x @ W is multiplied by in unit r of layer k: gamma / sqrt(var + eps), 1 without normalisation"""
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
    cdef floating *e = targets + m * n_out
    cdef floating *t_sum = e + m * n_out
    cdef floating *t_e = t_sum + m
    for s in range(m):
        for r in range(net.n_in):
            base[r * m + s] = x[s * net.n_in + r]
        for r in range(n_out):
            targets[r * m + s] = t[s * n_out + r]
            if by_output and net.loss == SOFTMAX_CROSS_ENTROPY:
                targets[r * m + s] *= <floating> weights[s * n_out + r]
            elif by_output:
                t_e[(3 + r) * m + s] = <floating> weights[s * n_out + r]
        t_e[m + s] = 1
        t_e[2 * m + s] = <floating> (share if by_output else weights[s])
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


cdef inline void sample_losses(
    const NetworkSpec *net, floating *a, Py_ssize_t stride, const floating *t, const floating *w, floating *loss,
    floating *scratch, Py_ssize_t m
) noexcept nogil:
    """loss (m,) from the last pre-activations, rows a + r * stride (overwritten); scratch (2 m,)

    w (n_out, m) or NULL: weights of the terms of a loss that is a sum over outputs.
    """
    cdef floating *top = scratch
    cdef floating *total = scratch + m
    cdef floating *row
    cdef int activation = net.layers[net.n_layers - 1].activation
    cdef bint softmax = net.loss == SOFTMAX_CROSS_ENTROPY or activation == SOFTMAX
    cdef floating delta = <floating> net.delta, t_sum
    cdef double slope
    cdef Py_ssize_t r, s
    memset(loss, 0, m * sizeof(floating))
    if softmax:
        memcpy(top, a, m * sizeof(floating))
        for r in range(1, net.n_out):
            row = a + r * stride
            for s in range(m):
                top[s] = row[s] if row[s] > top[s] else top[s]
        memset(total, 0, m * sizeof(floating))
        for r in range(net.n_out):
            row = a + r * stride
            for s in range(m):
                row[s] -= top[s]
                loss[s] -= t[r * m + s] * row[s]
            vexp(row, <floating> 0, row, m)
            axpby(<floating> 1, row, True, total, m)
    if net.loss == SOFTMAX_CROSS_ENTROPY and delta == 0:
        # sum(t) * log(sum(exp(a - top))) - sum(t * (a - top))
        vlog(total, total, m)
        for s in range(m):
            t_sum = 0
            for r in range(net.n_out):
                t_sum += t[r * m + s]
            loss[s] += t_sum * total[s]
        return
    if softmax:
        memset(loss, 0, m * sizeof(floating))
        for r in range(net.n_out):
            row = a + r * stride
            for s in range(m):
                row[s] /= total[s]
    for r in range(net.n_out):
        row = a + r * stride
        if net.loss == SOFTMAX_CROSS_ENTROPY:
            for s in range(m):
                row[s] += delta
            vlog(row, row, m)
            for s in range(m):
                loss[s] -= t[r * m + s] * row[s]
            continue
        activation_forward(activation, net.layers[net.n_layers - 1].param, row, <floating *> NULL, m)
        if net.loss == SQUARED_ERROR and w == NULL:
            for s in range(m):
                loss[s] += <floating> 0.5 * (row[s] - t[r * m + s]) * (row[s] - t[r * m + s])
        else:
            for s in range(m):
                loss[s] += <floating> ((1 if w == NULL else w[r * m + s])
                                       * loss_term(net.loss, net.loss_param, row[s], t[r * m + s], &slope))


cdef inline void near_losses(
    const NetworkSpec *net, const floating *dz, const floating *W_row, const floating *base_of_t, const floating *t_W,
    floating *loss, floating *total, Py_ssize_t m
) noexcept nogil:
    """Cross-entropy of one-hot targets (any with delta = 0) when the logits move by dz * W_row, |dz * W_row| < 0.004

    exp(a + u - top) = e * exp(u), with exp(u) by its series to u^5 (error below 2^-57): the exponentials of a are not
    taken again. t_W (m,) = sum(t * W_row). With delta = 0 up to a term that does not depend on dz.
    """
    cdef const floating *e = base_of_t + m * net.n_out
    cdef const floating *t_sum = e + m * net.n_out
    cdef const floating *t_e = t_sum + m
    cdef floating u, w, delta = <floating> net.delta
    cdef Py_ssize_t r, s
    memset(total, 0, m * sizeof(floating))
    for r in range(net.n_out):
        w = W_row[r]
        for s in range(m):
            u = dz[s] * w
            total[s] += e[r * m + s] * (
                1 + u * (1 + u * (<floating> 0.5 + u * (<floating> (1.0 / 6) + u * (
                    <floating> (1.0 / 24) + u * <floating> (1.0 / 120))))))
    if delta == 0:
        vlog(total, total, m)
        for s in range(m):
            loss[s] = t_sum[s] * total[s] - dz[s] * t_W[s]
        return
    for s in range(m):
        u = dz[s] * t_W[s]
        loss[s] = delta + t_e[s] / total[s] * (
            1 + u * (1 + u * (<floating> 0.5 + u * (<floating> (1.0 / 6) + u * (
                <floating> (1.0 / 24) + u * <floating> (1.0 / 120))))))
    vlog(loss, loss, m)
    for s in range(m):
        loss[s] = -loss[s]


cdef inline void mark_kinks(
    const LayerSpec *layer, const floating *a, Py_ssize_t n_rows, Py_ssize_t n_pairs, Py_ssize_t m, unsigned char *kinks
) noexcept nogil:
    """kinks[q] |= a kink of the activation of a (n_rows, 2 n_pairs m) lies between the two points of pair q"""
    cdef const floating *up
    cdef Py_ssize_t q, r, s
    if not has_kink(layer.activation, layer.param) and layer.activation != HARD_SIGMOID:
        return
    for r in range(n_rows):
        for q in range(n_pairs):
            up = a + 2 * (r * n_pairs + q) * m
            if layer.activation != HARD_SIGMOID:
                kinks[q] |= vcrosses(up, up + m, m)
                continue
            for s in range(m):
                kinks[q] |= (up[s] > 3) != (up[s + m] > 3) or (up[s] > -3) != (up[s + m] > -3)


cdef inline void losses_moved(
    const NetworkSpec *net, const floating *params, const Probe *probe, floating *base, floating *moved,
    floating *scratch, Py_ssize_t k, Py_ssize_t j, Py_ssize_t n_pairs, unsigned char *kinks
) noexcept nogil:
    """moved (2 n_pairs, m), the pre-activations of unit j of layer k, becomes each sample's loss; kinks (n_pairs,)

    scratch: two layers of columns, 2 m, then t_W (m,) of near_losses.
    """
    cdef const LayerSpec *layer = &net.layers[k]
    cdef const LayerSpec *following
    cdef Py_ssize_t m = probe.m, n = 2 * n_pairs * m, last = net.n_layers - 1, q, r, p
    cdef floating *a = scratch
    cdef floating *z = scratch + n * widest(net)
    cdef floating *samples = scratch + 2 * probe.n_pairs * 2 * m * widest(net)
    cdef const floating *z_unit = base_z(net, base, m, k) + j * m
    cdef const floating *a_base
    cdef const floating *W_row
    cdef const floating *t = base_t(net, base, m)
    cdef const floating *w = NULL
    if probe.by_output and net.loss != SOFTMAX_CROSS_ENTROPY:
        w = t + m * (2 * net.n_out + 4)
    mark_kinks(layer, moved, 1, n_pairs, m, kinks)
    if k == last:
        for r in range(layer.n_out):
            for p in range(2 * n_pairs):
                memcpy(a + r * n + p * m, moved + p * m if r == j else base_a(net, base, m, k) + r * m,
                       m * sizeof(floating))
    else:
        # a' = a + (z' - z) * W_next[j]
        following = &net.layers[k + 1]
        W_row = params + following.W + j * following.n_out
        activation_forward(layer.activation, layer.param, moved, <floating *> NULL, n)
        for p in range(2 * n_pairs):
            axpby(<floating> -1, z_unit, True, moved + p * m, m)
        if k + 1 == last and net.loss == SOFTMAX_CROSS_ENTROPY and (net.delta == 0 or probe.one_hot):
            # |dz * W| <= |dz|_2 |W|_2
            if vdot(moved, moved, n) * vdot(W_row, W_row, following.n_out) < <floating> (0.004 * 0.004):
                for p in range(2 * n_pairs):
                    near_losses(net, moved + p * m, W_row, t, samples + 2 * m, samples, samples + m, m)
                    memcpy(moved + p * m, samples, m * sizeof(floating))
                return
        for r in range(following.n_out):
            a_base = base_a(net, base, m, k + 1) + r * m
            for p in range(2 * n_pairs):
                memcpy(a + r * n + p * m, a_base, m * sizeof(floating))
            axpby(W_row[r] * norm_factor(net, params, k + 1, r), moved, True, a + r * n, n)
        for q in range(k + 1, last):
            mark_kinks(&net.layers[q], a, net.layers[q].n_out, n_pairs, m, kinks)
            activation_forward(net.layers[q].activation, net.layers[q].param, a, <floating *> NULL,
                               n * net.layers[q].n_out)
            columns_forward(net, q + 1, params, a, z, z, n)
            a, z = z, a
        mark_kinks(&net.layers[last], a, net.n_out, n_pairs, m, kinks)
    for p in range(2 * n_pairs):
        sample_losses(net, a + p * m, n, t, w, moved + p * m, samples, m)


cdef inline void slopes_of(
    const NetworkSpec *net, const floating *params, const Probe *probe, floating *base, floating *scratch,
    Py_ssize_t k, Py_ssize_t j, const Py_ssize_t *inputs, Py_ssize_t n_pairs, double factor, double *slopes,
    unsigned char *kinks
) noexcept nogil:
    """Central differences by the parameters from these inputs (n_inputs_of) into unit j, factor times the step"""
    cdef const LayerSpec *layer = &net.layers[k]
    cdef Py_ssize_t m = probe.m, q, s, p
    cdef floating *moved = scratch
    cdef const floating *a = base_a(net, base, m, k) + j * m
    cdef const floating *z
    cdef const floating *weights = base_t(net, base, m) + m * (2 * net.n_out + 3)
    cdef floating value, up, down, scale
    cdef double step
    for q in range(n_pairs):
        p = layer.W + inputs[q] * layer.n_out + j  # gamma and b lie where further rows of W would
        value = params[p]
        step = factor * (probe.h if probe.h > 0 else default_step(value))
        up, down = <floating> (value + step), value if probe.one_sided else <floating> (value - step)
        # the step that rounding left
        slopes[q] = <double> up - down
        z = input_values(net, base, m, k, j, inputs[q])
        scale = norm_factor(net, params, k, j) if inputs[q] < layer.n_in else 1
        for s in range(m):
            moved[2 * q * m + s] = a[s] + (up - value) * scale * z[s]
            moved[(2 * q + 1) * m + s] = a[s] + (down - value) * scale * z[s]
    losses_moved(net, params, probe, base, moved, scratch + 2 * probe.n_pairs * m, k, j, n_pairs, kinks)
    for q in range(n_pairs):
        # each sample's difference first: their sum then adds little rounding
        for s in range(2 * q * m, (2 * q + 1) * m):
            moved[s] -= moved[s + m]
        slopes[q] = vdot(weights, moved + 2 * q * m, m) / slopes[q] if slopes[q] > 0 else 0.0


cdef inline void probe_unit(
    const NetworkSpec *net, const floating *params, const Probe *probe, floating *base, floating *scratch,
    Py_ssize_t k, Py_ssize_t j, const Findings *found
) noexcept nogil:
    """Add this block's part to what is found of all parameters into unit j of layer k"""
    cdef const LayerSpec *layer = &net.layers[k]
    cdef Py_ssize_t m = probe.m, n_inputs = n_inputs_of(layer), i, n, q, r, s, p
    cdef Py_ssize_t[MAX_PAIRS] inputs
    cdef double[MAX_PAIRS] slopes
    cdef double[MAX_PAIRS] halved
    cdef unsigned char[MAX_PAIRS] kinks
    cdef double factor = 0, scale, step, excess
    cdef Py_ssize_t n_wanted = 0, wanted = 0
    cdef floating *t_W = scratch + scratch_size(net, m, probe.n_pairs) - m
    cdef const floating *t = base_t(net, base, m)
    if k + 2 == net.n_layers:
        memset(t_W, 0, m * sizeof(floating))
        for r in range(net.n_out):
            for s in range(m):
                t_W[s] += t[r * m + s] * params[net.layers[k + 1].W + j * net.n_out + r]
    for i in range(n_inputs):
        n_wanted += is_wanted(found, layer, j, i)
    i = 0
    while i < n_inputs:
        n = next_inputs(found, layer, j, &i, &wanted, 1, probe.n_pairs, inputs)
        if n == 0:
            break
        if look(net.watch, n * probe.m * probe.work):
            return
        memset(kinks, 0, n)
        slopes_of(net, params, probe, base, scratch, k, j, inputs, n, 1.0, slopes, kinks)
        for q in range(n):
            p = layer.W + inputs[q] * layer.n_out + j
            found.slope[p] += slopes[q]
            found.kink[p] |= kinks[q]
    if found.truncation == NULL:
        return
    # the error of slope is step^2 / 6 times a third derivative, which is a sum over samples of z_in^3 times a factor of
    # the unit: slope(step) - slope(step / 2), 3 / 4 of it, is looked at for some inputs, the largest factor kept
    i, wanted = 0, 0
    while i < n_inputs:
        n = next_inputs(found, layer, j, &i, &wanted, max(1, n_wanted // TRUNCATION_INPUTS), probe.n_pairs, inputs)
        if n == 0:
            break
        if look(net.watch, 2 * n * probe.m * probe.work):
            return
        memset(kinks, 0, n)
        slopes_of(net, params, probe, base, scratch, k, j, inputs, n, 1.0, slopes, kinks)
        slopes_of(net, params, probe, base, scratch, k, j, inputs, n, 0.5, halved, kinks)
        for q in range(n):
            scale = error_scale(net, params, probe, base, k, j, inputs[q])
            step = unit_step(net, params, probe, k, j, inputs[q])
            # what rounding alone makes of it must not be blown up by inputs near 0
            excess = fabs(halved[q] - slopes[q]) - 4 * probe.rounding / step
            if not kinks[q] and scale > 0 and excess > 0:
                factor = max(factor, excess * 4 / (3 * scale))
    for i in range(n_inputs):
        p = layer.W + i * layer.n_out + j
        found.truncation[p] += factor * error_scale(net, params, probe, base, k, j, i)


cdef inline bint is_wanted(
    const Findings *found, const LayerSpec *layer, Py_ssize_t j, Py_ssize_t i
) noexcept nogil:
    """Whether the parameter from input i (n_inputs_of) into unit j is asked for"""
    return found.wanted == NULL or found.wanted[layer.W + i * layer.n_out + j]


cdef inline Py_ssize_t next_inputs(
    const Findings *found, const LayerSpec *layer, Py_ssize_t j, Py_ssize_t *i, Py_ssize_t *wanted, Py_ssize_t stride,
    Py_ssize_t most, Py_ssize_t *inputs
) noexcept nogil:
    """The next wanted inputs of unit j from i on, every stride-th of them, at most so many

    i, and the number of wanted ones before it, move on.
    """
    cdef Py_ssize_t n = 0, n_inputs = n_inputs_of(layer)
    while n < most and i[0] < n_inputs:
        if is_wanted(found, layer, j, i[0]):
            if wanted[0] % stride == 0:
                inputs[n] = i[0]
                n += 1
            wanted[0] += 1
        i[0] += 1
    return n


cdef inline double unit_step(
    const NetworkSpec *net, const floating *params, const Probe *probe, Py_ssize_t k, Py_ssize_t j, Py_ssize_t i
) noexcept nogil:
    """The step of the parameter from input i (n_inputs_of) into unit j of layer k"""
    if probe.h > 0:
        return probe.h
    return default_step(params[net.layers[k].W + i * net.layers[k].n_out + j])


cdef inline double error_scale(
    const NetworkSpec *net, const floating *params, const Probe *probe, floating *base, Py_ssize_t k, Py_ssize_t j,
    Py_ssize_t i
) noexcept nogil:
    """step^2 * sum(weights * |z_in[i]|^3), to which truncation errors are proportional within a unit"""
    cdef const LayerSpec *layer = &net.layers[k]
    cdef const floating *weights = base_t(net, base, probe.m) + probe.m * (2 * net.n_out + 3)
    cdef const floating *z
    cdef double step = unit_step(net, params, probe, k, j, i), total = 0, scale = 1
    cdef Py_ssize_t s
    z = input_values(net, base, probe.m, k, j, i)
    if i < layer.n_in:
        scale = fabs(norm_factor(net, params, k, j))
    for s in range(probe.m):
        total += weights[s] * fabs(z[s] * z[s] * z[s])
    return step * step * scale * scale * scale * total


cdef inline void probe_units(
    const NetworkSpec *net, const floating *params, const Probe *probe, floating *base, floating *scratch,
    Py_ssize_t k, const Findings *found
) noexcept nogil:
    """probe_unit of every unit of layer k, shared by the threads: each parameter is found by one of them"""
    cdef Py_ssize_t j, size = scratch_size(net, probe.m, probe.n_pairs)
    if net.n_threads == 1:
        for j in range(net.layers[k].n_out):
            probe_unit(net, params, probe, base, scratch, k, j, found)
    else:
        for j in prange(net.layers[k].n_out, num_threads=net.n_threads, schedule="dynamic"):
            probe_unit(net, params, probe, base, scratch + threadid() * size, k, j, found)
