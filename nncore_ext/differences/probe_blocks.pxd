"""A network's numerical gradient by blocks of samples: how many at a time, their base, and what penalties add."""

from cython cimport floating
from libc.math cimport fabs
from nncore_ext.differences.probe cimport MAX_PAIRS, Findings
from nncore_ext.differences.probe_base cimport Probe, base_size, default_step, prepare_base, scratch_size, widest
from nncore_ext.network.network cimport LayerSpec, NetworkSpec
from nncore_ext.network.passes cimport BLOCK
from nncore_ext.samples.rows cimport Rows, Targets, Weights, gather_rows, gather_targets
from nncore_ext.watch cimport UNIT_WORK

cdef enum:
    # Elements of a layer's columns that stay in the cache.
    PAIR_ELEMENTS = 1 << 15
    # Multiply-adds of one block of the numerical gradient, at most: 40 ms or less.
    MAX_WORK = 1 << 30


cdef inline void plan_probe(
    const NetworkSpec *net, Probe *probe, Py_ssize_t n, Py_ssize_t max_elements
) noexcept nogil:
    """Samples a block and pairs at a time: pairs while the columns of a layer stay in the cache, all in the memory"""
    cdef Py_ssize_t per_sample
    probe.work = 2 * (net.n_params + UNIT_WORK * net.n_units)
    probe.n_pairs = max(1, min(MAX_PAIRS, PAIR_ELEMENTS // (2 * min(n, BLOCK) * widest(net)), MAX_WORK // probe.work))
    per_sample = base_size(net, 1) + net.n_in + net.n_out + net.n_threads * scratch_size(net, 1, probe.n_pairs)
    # and the time between two looks for Ctrl-C short
    probe.m = max(1, min(n, max_elements // per_sample, MAX_WORK // (probe.n_pairs * probe.work)))


cdef inline void probe_block(
    const NetworkSpec *net, const floating *params, Probe *probe, const Rows *rows,
    const Targets *targets, const Weights *weights, Py_ssize_t start,
    floating *buffer
) noexcept nogil:
    """buffer: base of these m samples, then their x and t by rows"""
    cdef Py_ssize_t m = probe.m, s, r
    cdef floating *x = buffer + base_size(net, m)
    cdef floating *t = x + m * net.n_in
    cdef int ones
    gather_rows(rows, NULL, start, x, m)
    gather_targets(targets, NULL, start, t, m)
    probe.one_hot = True
    for s in range(m):
        ones = 0
        for r in range(s * net.n_out, (s + 1) * net.n_out):
            ones += t[r] == 1
            probe.one_hot &= t[r] == 0 or t[r] == 1
        probe.one_hot &= ones == 1 and not weights.by_output
    prepare_base(net, params, x, t, weights.values + start * (net.n_out if weights.by_output else 1), weights.by_output,
                 probe.share, buffer, m)


cdef inline void penalty_slopes(
    const LayerSpec *layer, const floating *params, double h, double scale,
    const Findings *found
) noexcept nogil:
    """Add the central differences of the penalties of a layer's weights; |W| has a kink at 0"""
    cdef Py_ssize_t i
    cdef double step, up, down
    if layer.l1 == 0 and layer.l2 == 0:
        return
    for i in range(layer.W, layer.W + layer.n_in * layer.n_out):
        if found.wanted != NULL and not found.wanted[i]:
            continue
        step = h if h > 0 else default_step(params[i])
        up, down = <floating> (params[i] + step), <floating> (params[i] - step)
        found.slope[i] += scale * (0.5 * layer.l2 * (up * up - down * down) + layer.l1 * (fabs(up) - fabs(down))) / (
            up - down)
        if layer.l1 != 0 and (up > 0) != (down > 0):
            found.kink[i] = 1
