"""class Network: the compiled engine behind NeuralNetwork.

It trusts its caller (nncore._checks) for the values of arrays, labels within range among them, and checks for itself
what memory safety needs: types, layouts, sizes.
"""

cimport numpy as cnp
from cython cimport floating
from libc.math cimport fabs, isfinite
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from nncore_ext.activation cimport LOGISTIC, SOFTMAX, keeps_slope
from nncore_ext.arrays cimport (
    data_of, element_type, is_plain_rows, n_rows, set_compressed, set_rows, set_weights,
)
from nncore_ext.batch cimport Plan, has_dropout, moves_by_gradient_alone
from nncore_ext.batch_norm cimport NORM_VECTORS, norm_backward, norm_forward
from nncore_ext.dropout cimport drop, layer_key, step_key
from nncore_ext.loss cimport HINGE
from nncore_ext.network cimport LayerSpec, NetworkSpec, Weights, total_weight
from nncore_ext.numdiff cimport (
    MAX_PAIRS, Findings, Probe, Watch, base_size, default_step, prepare_base, probe_units, scratch_size, widest,
)
from nncore_ext.online cimport NN_VECTOR, PackedNetwork, plan_packed
from nncore_ext.optimizer cimport ADAM_HAT, SGD, OptimizerSpec, begin_step, optimizer_spec, state_vectors
from nncore_ext.passes cimport (
    BLOCK, backward_kept, forward_blocks, forward_kept, gradient_kept, loss_blocks,
)
from nncore_ext.product cimport NN_USES_BLAS
from nncore_ext.rows cimport PARTS, UINT8, Rows, Targets, gather_rows, gather_targets
from nncore_ext.training cimport (
    dense_workspace, sparse_columns, sparse_workspace, train_online, train_sparse, train_steps,
)
from nncore_ext.update cimport clip_gradient, limit_norms, network_penalty, network_update

import numpy as np

cnp.import_array()

cdef extern from *:
    """
    #ifdef _OPENMP
    #define NN_HAS_OPENMP 1
    #else
    #define NN_HAS_OPENMP 0
    #endif
    """
    bint NN_HAS_OPENMP
    const char *NNCORE_FLAGS

cdef enum:
    ALIGNMENT = 64
    # Elements of a layer's columns that stay in the cache.
    PAIR_ELEMENTS = 1 << 15
    # An activation costs as much as so many multiply-adds; those of one call, at most: 40 ms or less.
    UNIT_WORK = 20
    MAX_WORK = 1 << 30
    # As many BLAS does on one thread anyway.
    MAX_PLAIN_MACS = 1 << 18


def has_openmp():
    """Whether this build can use more than one thread."""
    return NN_HAS_OPENMP != 0


def uses_blas():
    """Whether this level leaves large products to BLAS."""
    return NN_USES_BLAS != 0


def build_flags():
    """The compiler flags of this level."""
    return NNCORE_FLAGS.decode()


def aligned_zeros(Py_ssize_t n, dtype):
    """n zeros that start on a cache line."""
    raw = np.zeros(n * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + n * dtype.itemsize].view(dtype)


def plain_rows(x, Py_ssize_t n_features):
    """x as rows for the engine if it needs no conversion and all is well, else None: the quick way past _checks.

    A NumPy array, not empty, of finite float32, float64 or uint8, contiguous, (n_samples, n_features) or (n_features,).
    """
    if not is_plain_rows(x, n_features):
        return None
    if cnp.PyArray_NDIM(x) == 2:
        return x
    cdef cnp.npy_intp[2] shape = [1, n_features]
    cdef cnp.PyArray_Dims dims = [shape, 2]
    return cnp.PyArray_Newshape(x, &dims, cnp.NPY_CORDER)  # half the time of reshape


cdef class Network:
    """A dense network: flat parameters, and all that is computed with them.

    layers: one (n_in, n_out, activation number, use_bias, trainable_bias) a layer; batch_norm: those (by number) that
    are normalised. x is everywhere a contiguous
    (n_samples, n_in) array of float32, float64, or uint8 that is multiplied by input_scale while it is read; t either
    (n_samples, n_out) floats or (n_samples,) intp labels; weights float64 (n_samples,), by which a loss is a mean over
    samples, (n_samples, n_out), by which the terms of its sums are multiplied, or None.
    """

    cdef NetworkSpec spec
    cdef double smoothing  # of targets
    cdef bint single
    cdef bint busy
    cdef int type_number
    cdef object workspace  # of the batch last trained on or forwarded
    cdef Py_ssize_t kept  # number of samples whose z (and da, dz) the workspace holds, 0: none
    cdef bint kept_backward
    cdef public double input_scale
    cdef public Py_ssize_t steps_done  # of the last train, also when Ctrl-C was raised on its return, and updates since
    cdef readonly cnp.ndarray params
    cdef readonly cnp.ndarray grads
    cdef readonly cnp.ndarray moments  # running means and variances of normalised layers

    def __cinit__(self, list layers, int loss, double delta, dtype, double loss_param=0, double smoothing=0,
                  tuple batch_norm=()):
        cdef LayerSpec *layer
        cdef Py_ssize_t k, size, n_moments = 0
        cdef bint normalised
        self.spec.layers = <LayerSpec *> calloc(max(1, len(layers)), sizeof(LayerSpec))
        if self.spec.layers == NULL:
            raise MemoryError
        self.spec.n_layers = len(layers)
        self.spec.loss = loss
        self.spec.loss_param = loss_param
        self.spec.delta = delta
        self.spec.n_threads = 1
        self.smoothing = smoothing
        self.input_scale = 1.0
        for k, (n_in, n_out, activation, use_bias, trainable_bias) in enumerate(layers):
            layer = &self.spec.layers[k]
            size = n_in * n_out
            if not 0 < size < 2**31:
                raise ValueError(f"layer {k + 1} has {n_in} x {n_out} weights, expected 1 to 2**31 - 1")
            layer.n_in, layer.n_out, layer.activation = n_in, n_out, activation
            layer.trainable_bias, layer.lr_scale = trainable_bias, 1
            if (activation == SOFTMAX or activation == LOGISTIC) and k + 1 < len(layers):
                raise ValueError(f"layer {k + 1} has the activation of an output, expected that in the last layer only")
            normalised = k in batch_norm
            if normalised and (not use_bias or k + 1 == len(layers)):
                raise ValueError(f"layer {k + 1} has no bias or is the last, expected a hidden one with a bias to "
                                 f"normalise")
            layer.W = self.spec.n_params
            layer.gamma = layer.W + size if normalised else -1
            size += n_out if normalised else 0
            layer.b = layer.W + size if use_bias else -1
            layer.unit = self.spec.n_units
            layer.moments = n_moments
            n_moments += NORM_VECTORS * n_out if normalised else 0
            self.spec.n_params += size + (n_out if use_bias else 0)
            self.spec.n_units += (1 + keeps_slope(activation) + normalised) * n_out
        self.spec.penalty_share = 1
        self.spec.n_in = layers[0][0]
        self.spec.n_out = layers[len(layers) - 1][1]
        dtype = np.dtype(dtype)
        self.single = dtype == np.float32
        self.type_number = cnp.NPY_FLOAT32 if self.single else cnp.NPY_FLOAT64
        self.params = aligned_zeros(self.spec.n_params, dtype)
        self.grads = aligned_zeros(self.spec.n_params, dtype)
        self.moments = aligned_zeros(n_moments, dtype)
        self.spec.moments = cnp.PyArray_DATA(self.moments)
        self.workspace = np.empty(0, dtype)

    def __dealloc__(self):
        free(self.spec.layers)

    @property
    def n_threads(self):
        """Threads that share products, blocks of samples and parts of updates; the bits do not depend on it."""
        return self.spec.n_threads

    @n_threads.setter
    def n_threads(self, int value):
        if value < 1:
            raise ValueError(f"n_threads is {value}, expected 1 or more")
        self.spec.n_threads = value

    @property
    def has_dropout(self):
        """Whether training drops outputs of a layer."""
        return has_dropout(&self.spec) != 0

    @property
    def has_batch_norm(self):
        """Whether training normalises by the batch."""
        return cnp.PyArray_SIZE(self.moments) > 0

    @property
    def penalty_by_samples(self):
        """Whether penalties are divided by the weight of a batch, as scikit-learn has it."""
        return self.spec.penalty_by_samples != 0

    @penalty_by_samples.setter
    def penalty_by_samples(self, bint value):
        self.spec.penalty_by_samples = value

    @property
    def penalty_share(self):
        """By how much penalties count in the losses that train reports, 1 if not set."""
        return self.spec.penalty_share

    @penalty_share.setter
    def penalty_share(self, double value):
        self.spec.penalty_share = value

    def configure(self, Py_ssize_t layer, *, double param=0, bint trainable_bias=True, double dropout=0, double l1=0,
                  double l2=0, double max_norm=0, double lr_scale=1):
        """Settings of a layer: param of its activation; of training and loss, the others"""
        if not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer is {layer}, expected 0 to {self.spec.n_layers - 1}")
        cdef LayerSpec *spec = &self.spec.layers[layer]
        spec.param, spec.trainable_bias, spec.dropout = param, trainable_bias, dropout
        spec.l1, spec.l2, spec.max_norm, spec.lr_scale = l1, l2, max_norm, lr_scale

    cdef int set_targets(self, Targets *targets, cnp.ndarray t, Py_ssize_t n_samples) except -1:
        cdef Py_ssize_t n_out = self.spec.n_out
        targets.labels = NULL
        targets.off = -1 if self.spec.loss == HINGE else self.smoothing / n_out
        targets.on = 1 if self.spec.loss == HINGE else 1 - self.smoothing + self.smoothing / n_out
        targets.smoothed = self.smoothing > 0
        if t is not None and cnp.PyArray_NDIM(t) == 1:
            targets.labels = <const Py_ssize_t *> data_of(t, "labels", cnp.NPY_INTP, n_samples)
            targets.rows.n_features = n_out
            return 0
        set_rows(&targets.rows, t, "t", n_out, 1.0)
        if n_rows(t, "t") != n_samples:
            raise TypeError(f"t has {t.shape[0]} rows, expected {n_samples}")
        return 0

    @property
    def n_kept(self):
        """Samples of the last forward_keep or gradient, which the workspace still holds; else 0."""
        return self.kept

    def views(self, Py_ssize_t layer, flat=None):
        """W (n_in, n_out) and b (n_out,) or None of one layer, as views of the flat vector (default: params)"""
        if not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer is {layer}, expected 0 to {self.spec.n_layers - 1}")
        cdef LayerSpec *spec = &self.spec.layers[layer]
        flat = self.params if flat is None else flat
        end = spec.W + spec.n_in * spec.n_out
        W = flat[spec.W:end].reshape(spec.n_in, spec.n_out)
        return W, (None if spec.b < 0 else flat[spec.b:spec.b + spec.n_out])

    def norm_views(self, Py_ssize_t layer, flat=None):
        """gamma of a normalised layer as a view of the flat vector (default: params), running mean and variance"""
        cdef LayerSpec *spec = self.normalised(layer)
        flat = self.params if flat is None else flat
        mean, variance = self.moments[spec.moments:spec.moments + 2 * spec.n_out].reshape(2, spec.n_out)
        return flat[spec.gamma:spec.gamma + spec.n_out], mean, variance

    def forward(self, cnp.ndarray x, cnp.ndarray out, int n_threads=1):
        """out (n_samples, n_out) = the network's outputs; safe from several threads at a time"""
        cdef Rows rows
        cdef Py_ssize_t n = n_rows(x, "x")
        cdef void *y = data_of(out, "out", self.type_number, n * self.spec.n_out, True)
        set_rows(&rows, x, "x", self.spec.n_in, self.input_scale)
        if n:
            self.forward_rows(&rows, y, n, n_threads)

    def forward_plain(self, x, out=None):
        """The outputs, (n_samples, n_out) or (n_out,), for plain_rows so few that nothing is to be shared; else None

        None too where out, unless None, is not an array to put them into, and where an output is NaN.
        """
        # by its size first: a look for what is not finite reads all of it
        if (not cnp.PyArray_CheckExact(x)
                or cnp.PyArray_SIZE(x) > MAX_PLAIN_MACS // self.spec.n_params * self.spec.n_in
                or not is_plain_rows(x, self.spec.n_in)):
            return None
        cdef cnp.ndarray plain = x, y
        cdef int n_dims = cnp.PyArray_NDIM(plain)
        cdef cnp.npy_intp[2] shape
        cdef Rows rows
        shape[0], shape[n_dims - 1] = plain.shape[0], self.spec.n_out
        cdef Py_ssize_t n = shape[0] if n_dims == 2 else 1
        if out is None:
            y = cnp.PyArray_EMPTY(n_dims, shape, self.type_number, 0)
        elif not cnp.PyArray_Check(out):
            return None
        else:
            y = out
            if not (cnp.PyArray_ISCARRAY(y) and cnp.PyArray_TYPE(y) == self.type_number
                    and cnp.PyArray_NDIM(y) == n_dims and y.shape[0] == shape[0]
                    and y.shape[n_dims - 1] == shape[n_dims - 1]):
                return None
        rows.data, rows.element = cnp.PyArray_DATA(plain), element_type(plain, "x")
        rows.n_features, rows.scale = self.spec.n_in, self.input_scale if rows.element == UINT8 else 1.0
        self.forward_rows(&rows, cnp.PyArray_DATA(y), n, 1)
        return None if self.any_nan(cnp.PyArray_DATA(y), n * self.spec.n_out) else y

    cdef bint any_nan(self, const void *values, Py_ssize_t size) noexcept:
        """Whether one of the values, of the network's float type, is NaN: a number that is not itself"""
        cdef Py_ssize_t i
        if self.single:
            for i in range(size):
                if (<const float *> values)[i] != (<const float *> values)[i]:
                    return True
            return False
        for i in range(size):
            if (<const double *> values)[i] != (<const double *> values)[i]:
                return True
        return False

    cdef int forward_rows(self, const Rows *rows, void *y, Py_ssize_t n, int n_threads) except -1:
        """y (n, n_out) = the outputs of n rows"""
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef Py_ssize_t size = min(n, BLOCK) * (self.spec.n_units + self.spec.n_in)
        n_threads = max(1, min(n_threads, <int> ((n + BLOCK - 1) // BLOCK)))
        cdef void *buffer = malloc(n_threads * size * (sizeof(float) if self.single else sizeof(double)))
        if buffer == NULL:
            raise MemoryError
        with nogil:
            if self.single:
                forward_blocks(&self.spec, <const float *> params, rows, <float *> y, n, <float *> buffer, size,
                               n_threads)
            else:
                forward_blocks(&self.spec, <const double *> params, rows, <double *> y, n, <double *> buffer, size,
                               n_threads)
        free(buffer)
        return 0

    def loss(self, cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights=None):
        """The loss, averaged over the samples (by their weights), and penalties; safe from several threads at a time"""
        cdef Rows rows
        cdef Targets targets
        cdef Weights w
        cdef Py_ssize_t n = n_rows(x, "x")
        cdef double result
        set_rows(&rows, x, "x", self.spec.n_in, self.input_scale)
        self.set_targets(&targets, t, n)
        set_weights(&w, weights, n, self.spec.n_out)
        cdef Py_ssize_t size = min(n, BLOCK) * (2 * self.spec.n_units + self.spec.n_in + self.spec.n_out)
        cdef void *buffer = malloc(size * (sizeof(float) if self.single else sizeof(double)))
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if buffer == NULL:
            raise MemoryError
        with nogil:
            if self.single:
                result = loss_blocks(&self.spec, <const float *> params, &rows, &targets, &w, n, <float *> buffer)
            else:
                result = loss_blocks(&self.spec, <const double *> params, &rows, &targets, &w, n, <double *> buffer)
        free(buffer)
        return result

    cdef int acquire(self, Py_ssize_t n_elements) except -1:
        """Take the network's own workspace, at least n_elements large; what it kept is gone."""
        if self.busy:
            raise RuntimeError("this network is in use by another thread, expected one caller at a time: "
                               "train a copy, or wait for the other call to end")
        if self.workspace.size < n_elements:
            self.workspace = np.empty(n_elements, self.params.dtype)
        self.kept = 0
        self.kept_backward = False
        self.busy = True
        return 0

    def gradient(self, cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray grads, cnp.ndarray dx=None):
        """grads (n_params,) and, unless None, dx (n_samples, n_in) of the mean loss, which is returned"""
        cdef Rows rows
        cdef Targets targets
        cdef Weights w
        cdef Py_ssize_t m = n_rows(x, "x")
        cdef void *dx_data = NULL
        cdef void *g = data_of(grads, "grads", self.type_number, self.spec.n_params, True)
        cdef double result
        set_rows(&rows, x, "x", self.spec.n_in, self.input_scale)
        self.set_targets(&targets, t, m)
        set_weights(&w, weights, m, self.spec.n_out)
        if dx is not None:
            dx_data = data_of(dx, "dx", self.type_number, m * self.spec.n_in, True)
        self.acquire(self.gradient_workspace(m))
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        try:
            with nogil:
                if self.single:
                    result = gradient_kept(&self.spec, <const float *> params, &rows, &targets, &w,
                                           <float *> g, <float *> dx_data, m, <float *> work)
                else:
                    result = gradient_kept(&self.spec, <const double *> params, &rows, &targets, &w,
                                           <double *> g, <double *> dx_data, m, <double *> work)
            self.kept = m
            self.kept_backward = True
            return result
        finally:
            self.busy = False

    cdef Py_ssize_t gradient_workspace(self, Py_ssize_t m) noexcept:
        """Room for z, da, x, t, dz of m samples"""
        return m * (3 * self.spec.n_units + self.spec.n_in + self.spec.n_out)

    def step(self, x, t, double lr, tuple rule=(SGD, 0, 0, 0, 0), state=None):
        """One update with the mean loss of these samples, which is returned; none if that is not finite

        rule, state: as train takes them.
        """
        cdef double loss = self.gradient(x, t, None, self.grads)
        if isfinite(loss):
            self.update(lr, rule, state)
        return loss

    def update(self, double lr, tuple rule=(SGD, 0, 0, 0, 0), state=None, *, double clip_norm=0, double clip_value=0):
        """One update by grads, which are clipped first; all as train takes them; steps_done counts it

        Counted here, where Ctrl-C cannot come between.
        """
        cdef OptimizerSpec optimizer = self.optimizer(rule, state)
        begin_step(&optimizer, lr)
        if self.single:
            update_by(&self.spec, <float *> cnp.PyArray_DATA(self.params), <float *> cnp.PyArray_DATA(self.grads),
                      &optimizer, clip_value, clip_norm)
        else:
            update_by(&self.spec, <double *> cnp.PyArray_DATA(self.params), <double *> cnp.PyArray_DATA(self.grads),
                      &optimizer, clip_value, clip_norm)
        if state is not None:
            state.n_steps += 1
        self.steps_done += 1

    def penalty(self, double whole, cnp.ndarray grads=None):
        """The penalties beside the loss of a batch of this total weight; grads (n_params,) += their gradient"""
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef void *g = NULL
        if grads is not None:
            g = data_of(grads, "grads", self.type_number, self.spec.n_params, True)
        if self.single:
            return network_penalty(&self.spec, <const float *> params, <float *> g, whole, 0, self.spec.n_params)
        return network_penalty(&self.spec, <const double *> params, <double *> g, whole, 0, self.spec.n_params)

    def normalise(self, Py_ssize_t layer, cnp.ndarray a, cnp.ndarray x_hat, bint training):
        """a (n_samples, n_out) of a normalised layer becomes gamma * x_hat + b, x_hat what batch_norm.pxd says"""
        cdef Py_ssize_t m = n_rows(a, "a")
        cdef LayerSpec *spec = self.normalised(layer)
        cdef void *data = data_of(a, "a", self.type_number, m * spec.n_out, True)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if self.single:
            normalise_by(&self.spec, spec, <const float *> params, <float *> data, <float *> kept, training, m)
        else:
            normalise_by(&self.spec, spec, <const double *> params, <double *> data, <double *> kept, training, m)

    def normalise_backward(self, Py_ssize_t layer, cnp.ndarray x_hat, cnp.ndarray da, cnp.ndarray grads, bint training):
        """da (n_samples, n_out) becomes that by what normalise was given; grads (n_params,) get gamma's and b's"""
        cdef Py_ssize_t m = n_rows(da, "da")
        cdef LayerSpec *spec = self.normalised(layer)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out)
        cdef void *data = data_of(da, "da", self.type_number, m * spec.n_out, True)
        cdef void *g = data_of(grads, "grads", self.type_number, self.spec.n_params, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if self.single:
            normalise_backward_by(&self.spec, spec, <const float *> params, <const float *> kept, <float *> data,
                                  <float *> g, training, m)
        else:
            normalise_backward_by(&self.spec, spec, <const double *> params, <const double *> kept, <double *> data,
                                  <double *> g, training, m)

    cdef LayerSpec *normalised(self, Py_ssize_t layer) except NULL:
        """A layer that is normalised"""
        if not 0 <= layer < self.spec.n_layers or self.spec.layers[layer].gamma < 0:
            raise IndexError(f"layer is {layer}, expected one that is normalised")
        return &self.spec.layers[layer]

    def drop(self, Py_ssize_t layer, cnp.ndarray z, uint64_t seed, Py_ssize_t step):
        """z (n_samples, n_out), outputs of a layer, after the dropout of a step in a run with this seed, in place"""
        if not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer is {layer}, expected 0 to {self.spec.n_layers - 1}")
        cdef LayerSpec *spec = &self.spec.layers[layer]
        cdef Py_ssize_t size = n_rows(z, "z") * spec.n_out
        cdef void *data = data_of(z, "z", self.type_number, size, True)
        if spec.dropout == 0:
            return
        if self.single:
            drop(<float *> data, spec.dropout, layer_key(step_key(seed, step), layer), 0, size)
        else:
            drop(<double *> data, spec.dropout, layer_key(step_key(seed, step), layer), 0, size)

    def forward_keep(self, cnp.ndarray x, cnp.ndarray out):
        """As forward, and keeps what backward needs"""
        cdef Rows rows
        cdef Py_ssize_t m = n_rows(x, "x")
        cdef void *y = data_of(out, "out", self.type_number, m * self.spec.n_out, True)
        set_rows(&rows, x, "x", self.spec.n_in, self.input_scale)
        self.acquire(self.gradient_workspace(m))
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        try:
            with nogil:
                if self.single:
                    forward_kept(&self.spec, <const float *> params, &rows, <float *> y, m, <float *> work)
                else:
                    forward_kept(&self.spec, <const double *> params, &rows, <double *> y, m, <double *> work)
            self.kept = m
        finally:
            self.busy = False

    def backward(self, cnp.ndarray dy, cnp.ndarray grads, cnp.ndarray dx):
        """grads (n_params,) and dx (n_samples, n_in) from dy (n_samples, n_out), after forward_keep"""
        cdef Py_ssize_t m = self.kept
        if m == 0 or self.kept_backward:
            raise RuntimeError("backward was called without a forward before it, expected forward(x) first")
        cdef void *source = data_of(dy, "dy", self.type_number, m * self.spec.n_out)
        cdef void *g = data_of(grads, "grads", self.type_number, self.spec.n_params, True)
        cdef void *dx_data = data_of(dx, "dx", self.type_number, m * self.spec.n_in, True)
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if self.busy:
            raise RuntimeError("this network is in use by another thread, expected one caller at a time")
        self.busy = True
        try:
            with nogil:
                if self.single:
                    backward_kept(&self.spec, <const float *> params, <const float *> source, <float *> g,
                                  <float *> dx_data, m, <float *> work)
                else:
                    backward_kept(&self.spec, <const double *> params, <const double *> source, <double *> g,
                                  <double *> dx_data, m, <double *> work)
        finally:
            self.busy = False

    def train(self, x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray index, Py_ssize_t position,
              Py_ssize_t epoch_size, Py_ssize_t batch_size, lr, cnp.ndarray losses,
              tuple rule=(SGD, 0, 0, 0, 0), state=None, *, double clip_norm=0, double clip_value=0, uint64_t seed=0,
              Py_ssize_t first_step=0):
        """One update a batch of batch_size samples out of index (intp); x may be sparse.CompressedRows

        index holds samples of consecutive epochs, epoch_size each, and starts at position within one; the last batch
        of an epoch takes what is left. losses (float64, one a batch): each batch's loss before its update. Returns
        how many are finite: fewer than all when it stopped at one that is not. rule: kind, weight_decay, beta1,
        beta2, eps, by default plain descent; state: its vectors (state vectors of the kind, n_params) and n_steps, the
        updates so far, which this call moves on, or None for a rule without. lr: a number, or one a batch (float64).
        clip_norm, clip_value: the most that gradients may be, 0 for no limit. seed and first_step, the steps of the run
        before this call, determine which outputs are dropped.
        """
        cdef Plan plan
        cdef PackedNetwork packed
        cdef OptimizerSpec optimizer = self.optimizer(rule, state)
        cdef Py_ssize_t n = n_rows(t, "t"), steps, size
        cdef double *w = NULL
        cdef cnp.ndarray rates
        cdef int *columns = NULL
        if not (1 <= batch_size <= epoch_size and position >= 0 and position % epoch_size % batch_size == 0):
            raise ValueError(f"batch_size is {batch_size}, epoch_size {epoch_size}, position {position}, "
                             f"expected a batch within an epoch and a position where one starts")
        plan.compressed.pieces = NULL
        if isinstance(x, np.ndarray):
            set_rows(&plan.x, x, "x", self.spec.n_in, self.input_scale)
            rows = n_rows(x, "x")
            size = dense_workspace(&self.spec, batch_size)
        else:
            if self.spec.layers[0].gamma >= 0:
                raise ValueError("x is compressed, expected dense rows: the first layer is normalised")
            set_compressed(&plan.compressed, x, self.spec.n_in, self.input_scale)
            rows = (len(x.pieces) - 1) // PARTS
            if PARTS * batch_size * x.max_piece >= 2**31:
                raise ValueError(f"batch_size is {batch_size} with up to {x.max_piece} non-zeros in a quarter of a "
                                 f"row, expected fewer than 2**31 in a batch")
            size = sparse_workspace(&self.spec, batch_size, x.max_piece, self.params.itemsize)
            scratch = np.empty(sparse_columns(batch_size, x.max_piece), np.int32)
            columns = <int *> cnp.PyArray_DATA(scratch)
        if rows != n:
            raise TypeError(f"t has {n} rows, expected {rows}")
        self.set_targets(&plan.t, t, n)
        set_weights(&plan.weights, weights, n, self.spec.n_out)
        if weights is not None:
            batch_weights = np.empty(batch_size * (self.spec.n_out if plan.weights.by_output else 1))
            w = <double *> cnp.PyArray_DATA(batch_weights)
        plan.n_index = n_rows(index, "index")
        plan.index = <const Py_ssize_t *> data_of(index, "index", cnp.NPY_INTP, plan.n_index)
        plan.position = position
        plan.epoch_size = epoch_size
        plan.batch_size = batch_size
        plan.rule = &optimizer
        plan.clip_norm, plan.clip_value, plan.seed, plan.first_step = clip_norm, clip_value, seed, first_step
        cdef Py_ssize_t n_batches = (batches_before(position + plan.n_index, epoch_size, batch_size)
                                     - batches_before(position, epoch_size, batch_size))
        rates = lr if isinstance(lr, np.ndarray) else np.full(n_batches, lr, dtype=np.float64)
        plan.lr = <const double *> data_of(rates, "lr", cnp.NPY_FLOAT64, n_batches)
        cdef double *loss_data = <double *> data_of(losses, "losses", cnp.NPY_FLOAT64, n_batches, True)
        if plan.n_index and not 0 <= index.min() <= index.max() < n:
            raise IndexError(f"index has values from {index.min()} to {index.max()}, expected 0 to {n - 1}")
        packed.size = 0
        if (batch_size == 1 and plan.compressed.pieces == NULL and moves_by_gradient_alone(&self.spec, &plan)
                and not plan.weights.by_output):
            plan_packed(&self.spec, &packed, self.params.itemsize)
            size = max(size, packed.size + NN_VECTOR // self.params.itemsize)
        self.acquire(size)
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef void *params = cnp.PyArray_DATA(self.params)
        cdef void *grads = cnp.PyArray_DATA(self.grads)
        try:
            with nogil:
                if packed.size and self.single:
                    steps = train_online(&self.spec, &packed, <float *> params, <float *> work, &plan, loss_data)
                elif packed.size:
                    steps = train_online(&self.spec, &packed, <double *> params, <double *> work, &plan, loss_data)
                elif columns != NULL and self.single:
                    steps = train_sparse(&self.spec, <float *> params, <float *> grads, <float *> work, w, columns,
                                         &plan, loss_data)
                elif columns != NULL:
                    steps = train_sparse(&self.spec, <double *> params, <double *> grads, <double *> work, w, columns,
                                         &plan, loss_data)
                elif self.single:
                    steps = train_steps(&self.spec, <float *> params, <float *> grads, <float *> work, w, &plan,
                                        loss_data)
                else:
                    steps = train_steps(&self.spec, <double *> params, <double *> grads, <double *> work, w, &plan,
                                        loss_data)
            self.steps_done = steps
            if state is not None:
                state.n_steps += steps
            return steps
        finally:
            self.busy = False

    cdef OptimizerSpec optimizer(self, tuple rule, state) except *:
        """From settings as train takes them"""
        cdef int kind
        cdef double weight_decay, beta1, beta2, eps
        cdef void *vectors = NULL
        cdef Py_ssize_t n_params = self.spec.n_params
        kind, weight_decay, beta1, beta2, eps = rule
        if not 0 <= kind <= <int> ADAM_HAT:
            raise ValueError(f"kind is {kind}, expected 0 to {ADAM_HAT}")
        if state_vectors(kind):
            vectors = data_of(None if state is None else state.vectors, "state", self.type_number,
                              state_vectors(kind) * n_params, True)
        return optimizer_spec(kind, weight_decay, beta1, beta2, eps, 0 if state is None else state.n_steps,
                              vectors, n_params)

    def numerical_gradient(self, cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, double h, cnp.ndarray slope,
                           cnp.ndarray truncation, cnp.ndarray kink, Py_ssize_t max_memory, cnp.ndarray wanted=None,
                           double rounding=0.0):
        """slope (n_params,) = central differences of the loss by the weights

        h = 0: a step by type and value of each parameter. truncation (n_params,) or None: their estimated error; kink
        (n_params,) uint8: 1 where a relu changes sides between the two points; wanted (n_params,) uint8 or None: only
        where it is 1 is there a slope, elsewhere 0; rounding: how far that moves a loss, for truncation. Works on
        blocks of samples, with about max_memory bytes of workspace; looks for Ctrl-C all the while.
        """
        cdef Rows rows
        cdef Targets targets
        cdef Findings found
        cdef Probe probe
        cdef Watch watch
        cdef Py_ssize_t n = n_rows(x, "x"), start, k, base_elements, threads = self.spec.n_threads
        cdef list raised = []
        cdef Weights w
        cdef const void *params = cnp.PyArray_DATA(self.params)
        found.slope = <double *> data_of(slope, "slope", cnp.NPY_FLOAT64, self.spec.n_params, True)
        found.kink = <unsigned char *> data_of(kink, "kink", cnp.NPY_UINT8, self.spec.n_params, True)
        found.wanted = NULL
        if wanted is not None:
            found.wanted = <const unsigned char *> data_of(wanted, "wanted", cnp.NPY_UINT8, self.spec.n_params)
        found.truncation = NULL
        if truncation is not None:
            found.truncation = <double *> data_of(truncation, "truncation", cnp.NPY_FLOAT64, self.spec.n_params, True)
            truncation[:] = 0
        slope[:] = 0
        kink[:] = 0
        set_rows(&rows, x, "x", self.spec.n_in, self.input_scale)
        self.set_targets(&targets, t, n)
        set_weights(&w, weights, n, self.spec.n_out)
        cdef double penalty_scale = 1
        if self.spec.penalty_by_samples:
            penalty_scale = 1 / total_weight(&w, n)
        if not w.by_output:
            weights = weights / weights.sum()
            set_weights(&w, weights, n, self.spec.n_out)
        watch.work, watch.stop, watch.raised = 0, False, <void *> raised
        probe.by_output = w.by_output
        probe.share = 1.0 / n
        probe.watch = &watch
        probe.h = h
        probe.rounding = rounding
        plan_probe(&self.spec, &probe, n, max_memory // self.params.itemsize)
        base_elements = base_size(&self.spec, probe.m) + probe.m * (self.spec.n_in + self.spec.n_out)
        buffer = np.empty(base_elements + threads * scratch_size(&self.spec, probe.m, probe.n_pairs), self.params.dtype)
        cdef void *base = cnp.PyArray_DATA(buffer)
        for start in range(0, n, probe.m):
            probe.m = min(probe.m, n - start)
            with nogil:
                if self.single:
                    probe_block(&self.spec, <const float *> params, &probe, &rows, &targets, &w, start,
                                <float *> base)
                else:
                    probe_block(&self.spec, <const double *> params, &probe, &rows, &targets, &w, start,
                                <double *> base)
            with nogil:
                for k in range(self.spec.n_layers):
                    if self.single:
                        probe_units(&self.spec, <const float *> params, &probe, <float *> base,
                                    <float *> base + base_elements, k, &found)
                    else:
                        probe_units(&self.spec, <const double *> params, &probe, <double *> base,
                                    <double *> base + base_elements, k, &found)
            if raised:
                raise raised[0]
        for k in range(self.spec.n_layers):
            if self.single:
                penalty_slopes(&self.spec.layers[k], <const float *> params, h, penalty_scale, &found)
            else:
                penalty_slopes(&self.spec.layers[k], <const double *> params, h, penalty_scale, &found)

    def last(self, str what, Py_ssize_t layer):
        """A copy of "z", "da", "dz" or, of the last layer, "t" (n_samples, n_out) from the last gradient, else None

        Of the last layer dz is not kept.
        """
        if not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer is {layer}, expected 0 to {self.spec.n_layers - 1}")
        cdef LayerSpec *spec = &self.spec.layers[layer]
        if self.kept == 0 or (what != "z" and not self.kept_backward):
            return None
        cdef Py_ssize_t sections = {"z": 0, "da": self.spec.n_units,
                                    "dz": 2 * self.spec.n_units + self.spec.n_in + self.spec.n_out,
                                    "t": 2 * self.spec.n_units + self.spec.n_in - spec.unit}[what]
        start = self.kept * (sections + spec.unit)
        return self.workspace[start:start + self.kept * spec.n_out].reshape(self.kept, spec.n_out).copy()


cdef Py_ssize_t batches_before(Py_ssize_t position, Py_ssize_t epoch_size, Py_ssize_t batch_size) noexcept nogil:
    """Batches that start before this position in consecutive epochs"""
    return (position // epoch_size * ((epoch_size + batch_size - 1) // batch_size)
            + (position % epoch_size + batch_size - 1) // batch_size)


cdef void update_by(const NetworkSpec *net, floating *params, floating *grads, const OptimizerSpec *rule,
                    double clip_value, double clip_norm) noexcept:
    if clip_norm > 0 or clip_value > 0:
        clip_gradient(net, grads, clip_value, clip_norm)
    network_update(net, params, grads, rule, 0, net.n_params)
    limit_norms(net, params)


cdef void normalise_by(const NetworkSpec *net, const LayerSpec *layer, const floating *params, floating *a,
                       floating *x_hat, bint training, Py_ssize_t m) noexcept:
    norm_forward(params + layer.gamma, params + layer.b, a, x_hat, <floating *> net.moments + layer.moments, training,
                 m, layer.n_out)


cdef void normalise_backward_by(const NetworkSpec *net, const LayerSpec *layer, const floating *params,
                                const floating *x_hat, floating *da, floating *grads, bint training,
                                Py_ssize_t m) noexcept:
    norm_backward(params + layer.gamma, x_hat, <floating *> net.moments + layer.moments, da, grads + layer.gamma,
                  grads + layer.b, training, m, layer.n_out)


cdef void plan_probe(const NetworkSpec *net, Probe *probe, Py_ssize_t n, Py_ssize_t max_elements) noexcept:
    """Samples a block and pairs at a time: pairs while the columns of a layer stay in the cache, all in the memory"""
    cdef Py_ssize_t per_sample
    probe.work = 2 * (net.n_params + UNIT_WORK * net.n_units)
    probe.n_pairs = max(1, min(MAX_PAIRS, PAIR_ELEMENTS // (2 * min(n, BLOCK) * widest(net))))
    per_sample = base_size(net, 1) + net.n_in + net.n_out + net.n_threads * scratch_size(net, 1, probe.n_pairs)
    # and the time between two looks for Ctrl-C short
    probe.m = max(1, min(n, max_elements // per_sample, MAX_WORK // (probe.n_pairs * probe.work)))


cdef void probe_block(const NetworkSpec *net, const floating *params, Probe *probe, const Rows *rows,
                      const Targets *targets, const Weights *weights, Py_ssize_t start,
                      floating *buffer) noexcept nogil:
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


cdef void penalty_slopes(const LayerSpec *layer, const floating *params, double h, double scale,
                         const Findings *found) noexcept:
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
