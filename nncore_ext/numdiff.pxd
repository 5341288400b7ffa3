"""Central differences of a network's loss, element by element: no derivative formula is used.

A change of W_k[i, j] or b_k[j] moves only column j of the pre-activations a_k, by step * z_(k-1)[:, i]: from there
on the loss is evaluated again. What lies before is computed once. (Source of the formula: Press et al.,
Numerical Recipes, section 5.7; the step cbrt(eps) * |value| balances truncation against rounding.)
"""

from cython cimport floating
from libc.math cimport cbrt, fabs
from libc.string cimport memcpy
from nncore_ext.activation cimport activation_forward
from nncore_ext.dense cimport dense_forward
from nncore_ext.network cimport (
    LayerSpec, NetworkSpec, layer_input, layer_z, network_forward, network_loss,
)
from nncore_ext.vmath cimport axpby


cdef inline double default_step(floating value) noexcept nogil:
    """cbrt(eps) * max(1, |value|), eps of the value's own type"""
    cdef double eps = 1.1920928955078125e-07 if floating is float else 2.220446049250313e-16
    return cbrt(eps) * max(1.0, fabs(value))


cdef inline Py_ssize_t numdiff_workspace(const NetworkSpec *net, Py_ssize_t m) noexcept nogil:
    """Elements: outputs and pre-activations (base), outputs and da (trial), transposed inputs, ones, column"""
    cdef Py_ssize_t widest = net.n_in, k
    for k in range(net.n_layers):
        widest = max(widest, net.layers[k].n_out)
    return m * (4 * net.n_units + widest + 1)


cdef inline void network_numerical_gradient(
    const NetworkSpec *net, const floating *params, const floating *x, const floating *t,
    double h, floating *grads, floating *workspace, Py_ssize_t m
) noexcept nogil:
    """grads[p] = (loss(p + step) - loss(p - step)) / 2 step for every parameter; h = 0: default_step of each"""
    cdef floating *base = workspace
    cdef floating *trial = base + 2 * m * net.n_units
    cdef floating *columns = trial + 2 * m * net.n_units  # the inputs of layer k transposed, then ones for the bias
    cdef const floating *z_in
    cdef const LayerSpec *layer
    cdef floating up, down
    cdef Py_ssize_t k, j, i, s, p
    network_forward(net, params, x, base, m, 0)
    for k in range(net.n_layers):
        layer = &net.layers[k]
        z_in = layer_input(net, base, x, m, k)
        dense_forward(z_in, params + layer.W, params + layer.b if layer.b >= 0 else NULL,
                      base + m * (net.n_units + layer.unit), m, layer.n_in, layer.n_out, net.n_threads)
    for k in range(net.n_layers):
        layer = &net.layers[k]
        z_in = layer_input(net, base, x, m, k)
        for s in range(m):
            for i in range(layer.n_in):
                columns[i * m + s] = z_in[s * layer.n_in + i]
            columns[layer.n_in * m + s] = 1
        for j in range(layer.n_out):
            for i in range(layer.n_in + (layer.b >= 0)):
                p = layer.W + i * layer.n_out + j  # row n_in of W is where b lies
                up = <floating> (params[p] + (h if h > 0 else default_step(params[p])))
                down = <floating> (params[p] - (h if h > 0 else default_step(params[p])))
                # divided by the step that rounding left
                grads[p] = <floating> (
                    (loss_moved(net, params, base, &columns[i * m], up - params[p], t, trial, m, k, j)
                     - loss_moved(net, params, base, &columns[i * m], down - params[p], t, trial, m, k, j))
                    / (<double> up - down)
                )


cdef inline double loss_moved(
    const NetworkSpec *net, const floating *params, const floating *base, const floating *z_column, floating step,
    const floating *t, floating *trial, Py_ssize_t m, Py_ssize_t k, Py_ssize_t j
) noexcept nogil:
    """The loss after a_k[:, j] += step * z_column, everything before layer k as in base"""
    cdef const LayerSpec *layer = &net.layers[k]
    cdef const floating *a = base + m * (net.n_units + layer.unit)
    cdef const floating *z = base + m * layer.unit
    cdef const LayerSpec *following
    cdef floating *moved = layer_z(net, trial, m, k)
    cdef floating *a_next
    cdef Py_ssize_t s, n_out = layer.n_out
    if k == net.n_layers - 1:
        memcpy(moved, a, m * n_out * sizeof(floating))
        for s in range(m):
            moved[s * n_out + j] += step * z_column[s]
        activation_forward(layer.activation, moved, m * n_out)
    else:
        for s in range(m):
            moved[s] = a[s * n_out + j] + step * z_column[s]
        activation_forward(layer.activation, moved, m)
        # a_next += (z' - z) @ W_next[j]
        following = &net.layers[k + 1]
        a_next = layer_z(net, trial, m, k + 1)
        memcpy(a_next, base + m * (net.n_units + following.unit), m * following.n_out * sizeof(floating))
        for s in range(m):
            axpby(moved[s] - z[s * n_out + j], params + following.W + j * following.n_out, True,
                  a_next + s * following.n_out, following.n_out)
        activation_forward(following.activation, a_next, m * following.n_out)
        network_forward(net, params, a_next, trial, m, k + 2)
    return network_loss(net, trial, t, <const double *> NULL, m)
