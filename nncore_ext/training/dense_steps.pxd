"""Many training steps without Python: gather a batch, forward, loss, backward, update."""

from cython cimport floating
from libc.math cimport isfinite
from nncore_ext.network.network cimport NetworkSpec
from nncore_ext.training.batch cimport Batch, Plan, copies_size, finish_step, has_dropout, set_batch, total_loss
from nncore_ext.training.blocks cimport restore_moments, save_moments, share_blocks, share_parts
from nncore_ext.training.optimizer cimport begin_step
from nncore_ext.watch cimport stopped


cdef inline Py_ssize_t train_steps(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, const Plan *plan,
    double *losses
) noexcept nogil:
    """Run the plan; losses[i] = the loss of batch i before its update. Returns the number of updates: it ends at a loss
    that is not finite, with the parameters that gave it, and where it is stopped (watch.pxd), after the last whole one.

    workspace: dense_workspace elements; weights: those of a batch, or NULL.
    """
    cdef Py_ssize_t begin = 0, step = 0
    cdef bint drops = has_dropout(net)
    cdef floating *copies = workspace + plan.batch_size * (2 * net.n_units + net.n_in + net.n_out)
    cdef Batch batch
    while begin < plan.n_index:
        set_batch(net, plan, begin, step, drops, 0, weights, &batch)
        save_moments(net, plan)
        share_blocks(net, plan, &batch, NULL, params, grads, copies, workspace)
        losses[step] = total_loss(&batch)
        if stopped(net.watch) or not isfinite(losses[step]):
            restore_moments(net, plan)
            return step
        begin_step(plan.rule, plan.lr[step])
        share_parts(net, plan, &batch, params, grads, copies)
        losses[step] += finish_step(net, plan, &batch, params, grads)
        begin += batch.m
        step += 1
    return step


cdef inline Py_ssize_t dense_workspace(const NetworkSpec *net, Py_ssize_t batch_size) noexcept nogil:
    """Elements that train_steps needs"""
    return batch_size * (2 * net.n_units + net.n_in + net.n_out) + copies_size(net, 0, batch_size)
