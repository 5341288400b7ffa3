# A network's layers, parameters and workspace.

cdef class Spec:
    """A network as the kernels read it: a call may do so at any time, so a change makes a new one."""

    cdef NetworkSpec net
    cdef LayerSpec *layers

    def __cinit__(self, Py_ssize_t n_layers):
        self.layers = <LayerSpec *> calloc(max(1, n_layers), sizeof(LayerSpec))
        if self.layers == NULL:
            raise MemoryError
        self.net.n_layers, self.net.layers, self.net.n_threads = n_layers, self.layers, 1

    def __dealloc__(self):
        free(self.layers)

    cdef Spec copy(self):
        """Another one, to be changed"""
        cdef Spec twin = Spec(self.net.n_layers)
        twin.net = self.net
        twin.net.layers = twin.layers
        memcpy(twin.layers, self.layers, self.net.n_layers * sizeof(LayerSpec))
        return twin


def aligned_zeros(Py_ssize_t n, dtype):
    """n zeros that start on a cache line."""
    raw = np.zeros(n * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + n * dtype.itemsize].view(dtype)


cdef class Parameters(Turns):
    """The layers of a network, their parameters on one flat vector, and the workspace of a batch."""

    cdef Kernels kernels
    cdef Spec spec
    cdef double smoothing  # of targets
    cdef unsigned long keeper  # the thread whose batch the workspace holds
    cdef int type_number
    cdef tuple memory  # holds that of the arrays below
    cdef object workspace  # of the batch last trained on or forwarded
    cdef Py_ssize_t kept  # number of samples whose z (and da, dz) the workspace holds, 0: none
    cdef bint kept_backward
    cdef public double input_scale
    cdef readonly cnp.ndarray params
    cdef readonly cnp.ndarray grads
    cdef readonly cnp.ndarray moments  # running means and variances of normalised layers

    def __cinit__(self, list layers, int loss, double delta, dtype, double loss_param=0, double smoothing=0,
                  tuple batch_norm=()):
        cdef LayerSpec *layer
        cdef Py_ssize_t k, size, n_moments = 0
        cdef bint normalised
        cdef Spec spec = Spec(len(layers))
        cdef NetworkSpec *net = &spec.net
        net.loss, net.loss_param, net.delta = loss, loss_param, delta
        self.smoothing = smoothing
        self.input_scale = 1.0
        for k, (n_in, n_out, activation, use_bias, trainable_bias) in enumerate(layers):
            layer = &spec.layers[k]
            if not (n_in > 0 and n_out > 0 and n_in * n_out < 2**31):
                raise ValueError(f"layer {k + 1} has {n_in} x {n_out} weights, expected 1 to 2**31 - 1")
            size = n_in * n_out
            layer.n_in, layer.n_out, layer.activation = n_in, n_out, activation
            layer.trainable_bias, layer.lr_scale = trainable_bias, 1
            if (activation == SOFTMAX or activation == LOGISTIC) and k + 1 < len(layers):
                raise ValueError(f"layer {k + 1} has the activation of an output, expected that in the last layer only")
            normalised = k in batch_norm
            if normalised and (not use_bias or k + 1 == len(layers)):
                raise ValueError(f"layer {k + 1} has no bias or is the last, expected a hidden one with a bias to "
                                 f"normalise")
            layer.W = net.n_params
            layer.gamma = layer.W + size if normalised else -1
            size += n_out if normalised else 0
            layer.b = layer.W + size if use_bias else -1
            layer.unit = net.n_units
            layer.moments = n_moments
            n_moments += NORM_VECTORS * n_out if normalised else 0
            net.n_params += size + (n_out if use_bias else 0)
            net.n_units += (1 + keeps_slope(activation) + normalised) * n_out
        net.penalty_share = 1
        net.n_in = layers[0][0]
        net.n_out = layers[len(layers) - 1][1]
        dtype = np.dtype(dtype)
        if dtype == np.float32:
            self.type_number, self.kernels = cnp.NPY_FLOAT32, kernels_of[float](0)
        else:
            self.type_number, self.kernels = cnp.NPY_FLOAT64, kernels_of[double](0)
        self.params = aligned_zeros(net.n_params, dtype)
        self.grads = aligned_zeros(net.n_params, dtype)
        self.moments = aligned_zeros(n_moments, dtype)
        net.moments = cnp.PyArray_DATA(self.moments)
        self.memory = held(self.params), held(self.grads), held(self.moments)
        self.workspace = np.empty(0, dtype)
        self.spec = spec

    def take(self):
        """Have the network until release, without the batch that its workspace held"""
        self.acquire(0)

    cdef int acquire(self, double n_elements) except -1:
        """Take the network's own workspace, at least n_elements large; what it kept is gone."""
        if n_elements > 2**60:
            allocate(n_elements, self.params.itemsize)
        cdef cnp.ndarray workspace = self.workspace
        if workspace.size < n_elements:
            workspace = np.empty(<Py_ssize_t> n_elements, self.params.dtype)
        # behind what may run other threads
        self.expect_still()
        self.expect_free()
        self.workspace = workspace
        self.kept = 0
        self.kept_backward = False
        self.busy = generation
        return 0

    @property
    def has_dropout(self):
        """Whether training drops outputs of a layer."""
        return has_dropout(&self.spec.net) != 0

    @property
    def has_batch_norm(self):
        """Whether training normalises by the batch."""
        return cnp.PyArray_SIZE(self.moments) > 0

    @property
    def penalty_by_samples(self):
        """Whether penalties are divided by the weight of a batch, as scikit-learn has it."""
        return self.spec.net.penalty_by_samples != 0

    @penalty_by_samples.setter
    def penalty_by_samples(self, bint value):
        cdef Spec changed = self.spec.copy()
        changed.net.penalty_by_samples = value
        self.spec = changed

    @property
    def penalty_share(self):
        """By how much penalties count in the losses that train reports, 1 if not set."""
        return self.spec.net.penalty_share

    @penalty_share.setter
    def penalty_share(self, double value):
        cdef Spec changed = self.spec.copy()
        changed.net.penalty_share = value
        self.spec = changed

    def configure(self, Py_ssize_t layer, *, double param=0, bint trainable_bias=True, double dropout=0, double l1=0,
                  double l2=0, double max_norm=0, double lr_scale=1):
        """Settings of a layer: param of its activation; of training and loss, the others"""
        self.expect_layer(layer)
        self.expect_still()
        cdef Spec changed = self.spec.copy()
        cdef LayerSpec *spec = &changed.layers[layer]
        spec.param, spec.trainable_bias, spec.dropout = param, trainable_bias, dropout
        spec.l1, spec.l2, spec.max_norm, spec.lr_scale = l1, l2, max_norm, lr_scale
        self.spec = changed

    cdef int expect_layer(self, Py_ssize_t layer) except -1:
        if not 0 <= layer < self.spec.net.n_layers:
            raise IndexError(f"layer is {layer}, expected 0 to {self.spec.net.n_layers - 1}")
        return 0

    cdef const LayerSpec *normalised(self, Py_ssize_t layer) except NULL:
        """A layer that is normalised"""
        if not 0 <= layer < self.spec.net.n_layers or self.spec.layers[layer].gamma < 0:
            raise IndexError(f"layer is {layer}, expected one that is normalised")
        return &self.spec.layers[layer]

    cdef int set_targets(self, Targets *targets, cnp.ndarray t, Py_ssize_t n_samples) except -1:
        cdef Py_ssize_t n_out = self.spec.net.n_out
        targets.labels = NULL
        targets.off = -1 if self.spec.net.loss == HINGE else self.smoothing / n_out
        targets.on = 1 if self.spec.net.loss == HINGE else 1 - self.smoothing + self.smoothing / n_out
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
        self.expect_layer(layer)
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = &network.layers[layer]
        flat = self.params if flat is None else flat
        end = spec.W + spec.n_in * spec.n_out
        W = flat[spec.W:end].reshape(spec.n_in, spec.n_out)
        return W, (None if spec.b < 0 else flat[spec.b:spec.b + spec.n_out])

    def norm_views(self, Py_ssize_t layer, flat=None):
        """gamma of a normalised layer as a view of the flat vector (default: params), running mean and variance"""
        cdef Spec _network = self.spec
        cdef const LayerSpec *spec = self.normalised(layer)
        flat = self.params if flat is None else flat
        mean, variance = self.moments[spec.moments:spec.moments + 2 * spec.n_out].reshape(2, spec.n_out)
        return flat[spec.gamma:spec.gamma + spec.n_out], mean, variance
