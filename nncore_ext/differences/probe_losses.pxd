"""The losses of many perturbed networks at a time, from the pre-activations of one moved unit on."""

from cython cimport floating
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.vmath cimport axpby, vcrosses, vdot, vexp, vlog
from nncore_ext.differences.probe_base cimport (
    Probe, base_a, base_e, base_output_weights, base_t, base_t_e, base_t_sum, base_z, columns_forward, norm_factor,
    widest,
)
from nncore_ext.layers.activation cimport MAX_KINKS, SOFTMAX, activation_forward, kinks_of
from nncore_ext.layers.loss cimport SOFTMAX_CROSS_ENTROPY, SQUARED_ERROR, loss_term
from nncore_ext.network.network cimport LayerSpec, NetworkSpec


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
    const NetworkSpec *net, const floating *dz, floating *base, const floating *W_row, const floating *t_W,
    floating *loss, floating *total, Py_ssize_t m
) noexcept nogil:
    """Cross-entropy of one-hot targets (any with delta = 0) when the logits move by dz * W_row, |dz * W_row| < 0.004

    exp(a + u - top) = e * exp(u), with exp(u) by its series to u^5 (error below 2^-57): the exponentials of a are not
    taken again. t_W (m,) = sum(t * W_row). With delta = 0 up to a term that does not depend on dz.
    """
    cdef const floating *e = base_e(net, base, m)
    cdef const floating *t_sum = base_t_sum(net, base, m)
    cdef const floating *t_e = base_t_e(net, base, m)
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
    cdef double[MAX_KINKS] at
    cdef Py_ssize_t q, r, s
    cdef int i, n = kinks_of(layer.activation, layer.param, at)
    for r in range(n_rows if n else 0):
        for q in range(n_pairs):
            up = a + 2 * (r * n_pairs + q) * m
            for i in range(n):
                if at[i] == 0:
                    kinks[q] |= vcrosses(up, up + m, m)
                    continue
                for s in range(m):
                    kinks[q] |= (up[s] > at[i]) != (up[s + m] > at[i])


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
        w = base_output_weights(net, base, m)
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
                    near_losses(net, moved + p * m, base, W_row, samples + 2 * m, samples, samples + m, m)
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
