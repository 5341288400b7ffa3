"""Central differences of a network's loss, parameter by parameter: no derivative formula is used.

A change of W_k[i, j] or b_k[j] moves only column j of the pre-activations a_k, by step * z_(k-1)[:, i]; from there on
the loss is evaluated again, what lies before is computed once. Sources: the central difference and its step
cbrt(eps) * |value|: Press et al., Numerical Recipes, section 5.7.

Everything here is laid out feature by feature, (n_features, n_columns), the m samples of one perturbation side by
side: each loop runs over samples, and many perturbations are one product with the next layer's weights.
"""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.string cimport memset
from nncore_ext.arithmetic.vmath cimport vdot
from nncore_ext.differences.probe_base cimport (
    Probe, base_a, base_t, base_weights, default_step, input_values, n_inputs_of, norm_factor, scratch_size,
)
from nncore_ext.differences.probe_losses cimport losses_moved
from nncore_ext.network.network cimport LayerSpec, NetworkSpec
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
    cdef const floating *weights = base_weights(net, base, m)
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
    cdef const floating *weights = base_weights(net, base, probe.m)
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
