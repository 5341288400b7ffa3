"""Plain gradient descent one sample a step, for networks so small that their parameters stay in the cache.

For the duration of a call the parameters are packed: every row padded to whole vectors, and the weights of all layers
but the first kept twice, W and its transpose, so that forward, backward and both updates run along the vectors. The
padding is 0 and stays 0. Measured for 2-25-50-25-2 on a Zen 5 core, AVX-512, by the plain steps of training.pxd and
by these: float 0.98 and 0.35 us, double 1.11 and 0.60 us a step.
"""

from cython cimport floating
from libc.math cimport isfinite
from libc.string cimport memcpy, memset
from nncore_ext.activation cimport LOGISTIC, SOFTMAX, activation_backward, activation_forward, keeps_slope
from nncore_ext.dense cimport row
from nncore_ext.network cimport LayerSpec, NetworkSpec, sample_loss

cdef extern from "padded.h" nogil:
    const Py_ssize_t NN_VECTOR  # bytes
    void nn_outer_f32(const float *x, Py_ssize_t n, const float *y, float *W, Py_ssize_t ld)
    void nn_outer_f64(const double *x, Py_ssize_t n, const double *y, double *W, Py_ssize_t ld)

cdef enum:
    MAX_PACKED_LAYERS = 16
    # Up to about the second-level cache; at 1 MB packing gains 6 % still, at 20 kB a factor of 3.
    MAX_PACKED_BYTES = 1 << 21

# Where the parts of a layer lie in the packed memory, in elements; rows have in_pad and out_pad elements.
cdef struct PackedLayer:
    Py_ssize_t in_pad
    Py_ssize_t out_pad
    Py_ssize_t W  # (n_in, out_pad)
    Py_ssize_t WT  # (n_out, in_pad); the first layer has none
    Py_ssize_t b
    Py_ssize_t z
    Py_ssize_t da

cdef struct PackedNetwork:
    PackedLayer[MAX_PACKED_LAYERS] layers
    Py_ssize_t x
    Py_ssize_t t
    Py_ssize_t size  # of the packed memory, in elements; 0: this network is not for packing


cdef inline void add_outer(
    const floating *x, Py_ssize_t n, const floating *y, floating *W, Py_ssize_t ld
) noexcept nogil:
    """W += outer(x, y) for x (n,), y (ld,)"""
    if floating is float:
        nn_outer_f32(x, n, y, W, ld)
    else:
        nn_outer_f64(x, n, y, W, ld)


cdef inline void plan_packed(const NetworkSpec *net, PackedNetwork *packed, Py_ssize_t itemsize) noexcept nogil:
    """Lay the packed network out"""
    cdef Py_ssize_t lanes = NN_VECTOR // itemsize, size = 0, k
    cdef PackedLayer *to
    packed.size = 0
    if net.n_layers > MAX_PACKED_LAYERS:
        return
    for k in range(net.n_layers):
        if (keeps_slope(net.layers[k].activation) or net.layers[k].gamma >= 0 or net.layers[k].dropout > 0
                or net.layers[k].lr_scale != 1):
            return
        to = &packed.layers[k]
        to.in_pad = (net.layers[k].n_in + lanes - 1) // lanes * lanes
        to.out_pad = (net.layers[k].n_out + lanes - 1) // lanes * lanes
        to.W = size
        to.WT = to.W + net.layers[k].n_in * to.out_pad
        to.b = to.WT + (net.layers[k].n_out * to.in_pad if k > 0 else 0)
        to.z = to.b + to.out_pad
        to.da = to.z + to.out_pad
        size = to.da + to.out_pad
        if size * itemsize > MAX_PACKED_BYTES:
            return
    packed.x = size
    packed.t = packed.x + packed.layers[0].in_pad
    packed.size = packed.t + packed.layers[net.n_layers - 1].out_pad


cdef inline void pack(
    const NetworkSpec *net, PackedNetwork *packed, const floating *params, floating *p
) noexcept nogil:
    """Fill p, the packed memory"""
    cdef LayerSpec *layer
    cdef PackedLayer *to
    cdef Py_ssize_t k, i, j
    memset(p, 0, packed.size * sizeof(floating))
    for k in range(net.n_layers):
        layer, to = &net.layers[k], &packed.layers[k]
        for i in range(layer.n_in):
            memcpy(p + to.W + i * to.out_pad, params + layer.W + i * layer.n_out, layer.n_out * sizeof(floating))
            if k > 0:
                for j in range(layer.n_out):
                    p[to.WT + j * to.in_pad + i] = params[layer.W + i * layer.n_out + j]
        if layer.b >= 0:
            memcpy(p + to.b, params + layer.b, layer.n_out * sizeof(floating))


cdef inline void unpack(
    const NetworkSpec *net, PackedNetwork *packed, const floating *p, floating *params
) noexcept nogil:
    """params from the packed memory"""
    cdef LayerSpec *layer
    cdef PackedLayer *at
    cdef Py_ssize_t k, i
    for k in range(net.n_layers):
        layer, at = &net.layers[k], &packed.layers[k]
        for i in range(layer.n_in):
            memcpy(params + layer.W + i * layer.n_out, p + at.W + i * at.out_pad, layer.n_out * sizeof(floating))
        if layer.b >= 0:
            memcpy(params + layer.b, p + at.b, layer.n_out * sizeof(floating))


cdef inline double packed_step(
    const NetworkSpec *net, PackedNetwork *packed, floating *p, double lr
) noexcept nogil:
    """One update with the sample x, t in the packed memory; returns its loss, and changes nothing if not finite"""
    cdef LayerSpec *layer
    cdef PackedLayer *at
    cdef const floating *x = p + packed.x
    cdef floating *da
    cdef floating *da_in
    cdef floating scale = <floating> -lr
    cdef Py_ssize_t last = net.n_layers - 1, k, j
    cdef double loss
    for k in range(net.n_layers):
        layer, at = &net.layers[k], &packed.layers[k]
        row(x, layer.n_in, p + at.W, at.out_pad, at.out_pad, p + at.b, p + at.z)
        activation_forward(layer.activation, layer.param, p + at.z, <floating *> NULL, at.out_pad)
        for j in range(layer.n_out, at.out_pad):
            p[at.z + j] = 0
        x = p + at.z
    layer, at = &net.layers[last], &packed.layers[last]
    loss = sample_loss(net, p + at.z, p + packed.t, NULL, p + at.da)
    if not isfinite(loss):
        return loss
    if layer.activation != SOFTMAX and layer.activation != LOGISTIC:
        activation_backward(layer.activation, layer.param, p + at.z, <floating *> NULL, p + at.da, at.out_pad)
    for k in range(last, -1, -1):
        layer, at = &net.layers[k], &packed.layers[k]
        da = p + at.da
        if k > 0:
            x, da_in = p + packed.layers[k - 1].z, p + packed.layers[k - 1].da
            row(da, layer.n_out, p + at.WT, at.in_pad, at.in_pad, <floating *> NULL, da_in)
            activation_backward(net.layers[k - 1].activation, net.layers[k - 1].param, x, <floating *> NULL, da_in,
                                at.in_pad)
        else:
            x = p + packed.x
        for j in range(at.out_pad):
            da[j] *= scale
        if layer.b >= 0 and layer.trainable_bias:
            for j in range(at.out_pad):
                p[at.b + j] += da[j]
        add_outer(x, layer.n_in, da, p + at.W, at.out_pad)
        if k > 0:
            add_outer(da, layer.n_out, x, p + at.WT, at.in_pad)
    return loss
