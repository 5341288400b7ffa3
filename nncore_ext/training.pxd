"""Many training steps without Python: gather a batch, forward, loss, backward, update."""

from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport uintptr_t
from libc.string cimport memset
from nncore_ext.activation cimport activation_forward
from nncore_ext.network cimport (
    LayerSpec, NetworkSpec, layer_da, network_backward, network_forward, network_loss, network_update,
)
from nncore_ext.online cimport NN_VECTOR, PackedNetwork, pack, packed_step, unpack
from nncore_ext.sparse cimport by_columns, sparse_add_outer, sparse_forward
from nncore_ext.vmath cimport axpby

cdef enum ElementType:
    FLOAT32, FLOAT64, UINT8

# A data set's rows as they lie in memory: (n_rows, n_features), contiguous.
cdef struct Rows:
    const void *data
    int element
    Py_ssize_t n_features
    double scale

# The same for rows with many zeros: row i has values[indptr[i]:indptr[i + 1]] in those columns.
cdef struct CompressedRows:
    const Py_ssize_t *indptr  # NULL: the rows are not compressed
    const void *columns
    bint wide  # columns are int, else unsigned short
    const void *values
    int element
    double scale

# Targets are class numbers (labels), or rows of numbers when labels is NULL.
cdef struct Targets:
    const Py_ssize_t *labels
    Rows rows

# What training steps need. index holds samples of consecutive epochs, epoch_size each, and starts at the given
# position within one; an epoch is taken batch_size samples a step, its last step what is left.
cdef struct Plan:
    Rows x
    CompressedRows compressed  # instead of x
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

cdef fused column_t:
    unsigned short
    int


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
    """out (m, n_out) = the targets of these samples, labels as one-hot rows

    A label is compared with n_out each time: the caller's array may have changed since it was checked.
    """
    cdef Py_ssize_t s, label, n = t.rows.n_features
    if t.labels == NULL:
        gather_rows(&t.rows, index, first, out, m)
        return
    memset(out, 0, m * n * sizeof(floating))
    for s in range(m):
        label = t.labels[first + s if index == NULL else index[s]]
        if 0 <= label < n:
            out[s * n + label] = 1


cdef inline void gather_compressed(
    const CompressedRows *rows, const Py_ssize_t *index, floating *value, int *column, int *start, Py_ssize_t m
) noexcept nogil:
    """The non-zeros of rows[index] in the network's float type, times scale; start (m + 1,)"""
    cdef Py_ssize_t s, at, n
    start[0] = 0
    for s in range(m):
        at = rows.indptr[index[s]]
        n = rows.indptr[index[s] + 1] - at
        if rows.wide:
            copy_columns(<const int *> rows.columns + at, column + start[s], n)
        else:
            copy_columns(<const unsigned short *> rows.columns + at, column + start[s], n)
        if rows.element == UINT8:
            scale_row(<const unsigned char *> rows.values + at, <floating> rows.scale, value + start[s], n)
        elif rows.element == FLOAT32:
            scale_row(<const float *> rows.values + at, <floating> rows.scale, value + start[s], n)
        else:
            scale_row(<const double *> rows.values + at, <floating> rows.scale, value + start[s], n)
        start[s + 1] = start[s] + <int> n


cdef inline void copy_columns(const column_t *columns, int *out, Py_ssize_t n) noexcept nogil:
    """out = columns as int"""
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = columns[k]


cdef inline Py_ssize_t train_steps(
    const NetworkSpec *net, floating *params, floating *grads, floating *workspace, double *weights, int *columns,
    const Plan *plan, double *losses
) noexcept nogil:
    """Run the plan; losses[i] = the loss of batch i before its update. Returns the number of finite ones:
    at a loss that is not finite it stops with the parameters that gave it.

    workspace: batch_size * (2 n_units + n_in + n_out) elements, or for compressed rows batch_size * (2 n_units +
    n_out) + 2 max_nonzeros, and columns batch_size + 1 + 2 max_nonzeros + n_in + 2; weights: batch_size, or NULL.
    """
    cdef Py_ssize_t begin = 0, step = 0, m, s
    cdef bint compressed = plan.compressed.indptr != NULL
    cdef const Py_ssize_t *index
    cdef floating *x
    cdef floating *t
    while begin < plan.n_index:
        m = min(plan.batch_size, plan.n_index - begin, plan.epoch_size - (plan.position + begin) % plan.epoch_size)
        index = plan.index + begin
        t = workspace + 2 * m * net.n_units
        x = t + m * net.n_out
        gather_targets(&plan.t, index, 0, t, m)
        if plan.weights != NULL:
            for s in range(m):
                weights[s] = plan.weights[index[s]]
        if compressed:
            gather_compressed(&plan.compressed, index, x, columns + m + 1, columns, m)
            first_forward(net, params, x, columns, workspace, m)
        else:
            gather_rows(&plan.x, index, 0, x, m)
            network_forward(net, params, x, workspace, m, 0)
        losses[step] = network_loss(net, workspace, t, weights, m)
        if not isfinite(losses[step]):
            return step
        network_backward(net, params, grads, x, workspace, m, compressed, <floating *> NULL, <floating *> NULL)
        network_update(net, params, grads, plan.lr, compressed)
        if compressed:
            first_update(net, params, x, columns, workspace, plan.lr, m)
        begin += m
        step += 1
    return step


cdef inline Py_ssize_t train_online(
    const NetworkSpec *net, PackedNetwork *packed, floating *params, floating *workspace, const Plan *plan,
    double *losses
) noexcept nogil:
    """train_steps for one sample a step; workspace: packed.size elements and those of a vector, to start at one"""
    cdef floating *p = <floating *> ((<uintptr_t> workspace + NN_VECTOR - 1) // NN_VECTOR * NN_VECTOR)
    cdef Py_ssize_t step, done = plan.n_index
    pack(net, packed, params, p)
    for step in range(plan.n_index):
        gather_rows(&plan.x, plan.index + step, 0, p + packed.x, 1)
        gather_targets(&plan.t, plan.index + step, 0, p + packed.t, 1)
        losses[step] = 0
        if plan.weights == NULL or plan.weights[plan.index[step]] > 0:
            losses[step] = packed_step(net, packed, p, plan.lr)
        if not isfinite(losses[step]):
            done = step
            break
    unpack(net, packed, p, params)
    return done


cdef inline void first_forward(
    const NetworkSpec *net, const floating *params, const floating *value, const int *start, floating *workspace,
    Py_ssize_t m
) noexcept nogil:
    """network_forward for rows by their non-zeros; the columns follow start (m + 1,)"""
    cdef LayerSpec *layer = &net.layers[0]
    sparse_forward(value, start + m + 1, start, params + layer.W, params + layer.b if layer.b >= 0 else NULL,
                   workspace, m, layer.n_out, net.n_threads)
    activation_forward(layer.activation, workspace, m * layer.n_out)
    network_forward(net, params, workspace, workspace, m, 1)


cdef inline void first_update(
    const NetworkSpec *net, floating *params, floating *value, int *start, floating *workspace, double lr,
    Py_ssize_t m
) noexcept nogil:
    """W1 -= lr * x.T @ da and b1 -= lr * sum(da), for rows by their non-zeros, whose columns follow start (m + 1,)"""
    cdef LayerSpec *layer = &net.layers[0]
    cdef const floating *da = layer_da(net, workspace, m, 0)
    cdef Py_ssize_t n = start[m], s
    cdef int *index = start + m + 1
    by_columns(value, index, start, <floating> -lr, value + n, index + n, index + 2 * n, m, layer.n_in)
    sparse_add_outer(value + n, index + n, index + 2 * n, da, params + layer.W, layer.n_in, layer.n_out,
                     net.n_threads)
    if layer.b >= 0 and layer.trainable_bias:
        for s in range(m):
            axpby(<floating> -lr, da + s * layer.n_out, True, params + layer.b, layer.n_out)
