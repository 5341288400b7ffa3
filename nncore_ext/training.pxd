"""Many training steps without Python: gather a batch, forward, loss, backward, update."""

from cython cimport floating
from libc.math cimport isfinite
from libc.string cimport memset
from nncore_ext.network cimport (
    NetworkSpec, network_backward, network_forward, network_loss, network_update,
)

cdef enum ElementType:
    FLOAT32, FLOAT64, UINT8

# A data set's rows as they lie in memory: (n_rows, n_features), contiguous.
cdef struct Rows:
    const void *data
    int element
    Py_ssize_t n_features
    double scale

# Targets are class numbers (labels), or rows of numbers when labels is NULL.
cdef struct Targets:
    const Py_ssize_t *labels
    Rows rows

# What training steps need. index holds samples of consecutive epochs, epoch_size each, and starts at the given
# position within one; an epoch is taken batch_size samples a step, its last step what is left.
cdef struct Plan:
    Rows x
    Targets t
    const double *weights  # NULL: all 1
    const Py_ssize_t *index
    Py_ssize_t n_index
    Py_ssize_t position
    Py_ssize_t epoch_size
    Py_ssize_t batch_size
    double lr

cdef fused element_t:
    float
    double
    unsigned char


cdef inline void scale_row(const element_t *row, floating scale, floating *out, Py_ssize_t n) noexcept nogil:
    """out = row * scale, in the network's float type"""
    cdef Py_ssize_t j
    for j in range(n):
        out[j] = <floating> row[j] * scale


cdef inline void gather_rows(
    const Rows *rows, const Py_ssize_t *index, Py_ssize_t first, floating *out, Py_ssize_t m
) noexcept nogil:
    """out (m, n_features) = rows[index] * scale; index NULL: the m rows from first on"""
    cdef Py_ssize_t s, n = rows.n_features, at
    cdef floating scale = <floating> rows.scale
    for s in range(m):
        at = n * (first + s if index == NULL else index[s])
        if rows.element == UINT8:
            scale_row(<const unsigned char *> rows.data + at, scale, out + s * n, n)
        elif rows.element == FLOAT32:
            scale_row(<const float *> rows.data + at, scale, out + s * n, n)
        else:
            scale_row(<const double *> rows.data + at, scale, out + s * n, n)


cdef inline void gather_targets(
    const Targets *t, const Py_ssize_t *index, Py_ssize_t first, floating *out, Py_ssize_t m
) noexcept nogil:
    """out (m, n_out) = the targets of these samples, labels as one-hot rows"""
    cdef Py_ssize_t s, n = t.rows.n_features
    if t.labels == NULL:
        gather_rows(&t.rows, index, first, out, m)
        return
    memset(out, 0, m * n * sizeof(floating))
    for s in range(m):
        out[s * n + t.labels[first + s if index == NULL else index[s]]] = 1


cdef inline Py_ssize_t train_steps(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights,
    const Plan *plan, double *losses
) noexcept nogil:
    """Run the plan; losses[i] = the loss of batch i before its update. Returns the number of finite ones:
    at a loss that is not finite it stops with the parameters that gave it.

    workspace: batch_size * (2 n_units + n_in + n_out) elements; weights: room for batch_size, or NULL.
    """
    cdef Py_ssize_t start = 0, step = 0, m, s
    cdef const Py_ssize_t *index
    cdef floating *x
    cdef floating *t
    while start < plan.n_index:
        m = min(plan.batch_size, plan.n_index - start, plan.epoch_size - (plan.position + start) % plan.epoch_size)
        index = plan.index + start
        x = workspace + 2 * m * net.n_units
        t = x + m * net.n_in
        gather_rows(&plan.x, index, 0, x, m)
        gather_targets(&plan.t, index, 0, t, m)
        if plan.weights != NULL:
            for s in range(m):
                weights[s] = plan.weights[index[s]]
        network_forward(net, params, x, workspace, m, 0)
        losses[step] = network_loss(net, workspace, t, weights, m)
        if not isfinite(losses[step]):
            return step
        network_backward(net, params, grads, x, workspace, m, <floating *> NULL, <floating *> NULL)
        network_update(net, params, grads, plan.lr)
        start += m
        step += 1
    return step
