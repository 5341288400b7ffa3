"""Training steps of one sample each, on packed memory."""

from cython cimport floating
from libc.math cimport isfinite
from nncore_ext.network.network cimport NetworkSpec
from nncore_ext.samples.rows cimport gather_rows, gather_targets
from nncore_ext.training.batch cimport Plan
from nncore_ext.training.online cimport PackedNetwork, finish_packed, pack, packed_step, packed_z, unpack
from nncore_ext.training.sparse_layer cimport aligned
from nncore_ext.watch cimport look

cdef enum:
    # Single samples between two looks for Ctrl-C.
    ONLINE_STEPS = 1 << 10


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
