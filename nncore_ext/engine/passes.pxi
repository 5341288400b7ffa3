# Forward and backward through a network.

cdef class Passes(Parameters):
    """Outputs, losses and gradients of samples."""

    def forward(self, cnp.ndarray x, cnp.ndarray out, int n_threads=1):
        """out (n_samples, n_out) = the network's outputs; safe from several threads at a time, and during a training

        It then sees parameters between two updates, or some of them from before one.
        """
        cdef Rows rows
        cdef const NetworkSpec *net = &self.spec.net
        cdef Py_ssize_t n = n_rows(x, "x")
        cdef void *y = data_of(out, "out", self.type_number, n * net.n_out, True)
        set_rows(&rows, x, "x", net.n_in, self.input_scale)
        _memory = held(x), held(out)
        if n:
            self.forward_rows(&rows, y, n, n_threads)

    def forward_plain(self, x, out=None):
        """The outputs, (n_samples, n_out) or (n_out,), for plain_rows so few that nothing is to be shared; else None

        None too where out, unless None, is not an array to put them into, apart from x, and where an output is NaN.
        """
        cdef Spec spec = self.spec  # which stays while it is read
        cdef const NetworkSpec *net = &spec.net
        # by its size first: a look for what is not finite reads all of it
        if (not cnp.PyArray_CheckExact(x) or cnp.PyArray_SIZE(x) > MAX_PLAIN_MACS // net.n_params * net.n_in
                or not is_plain_rows(x, net.n_in)):
            return None
        cdef cnp.ndarray plain = x, y
        cdef int n_dims = cnp.PyArray_NDIM(plain)
        cdef cnp.npy_intp[2] shape
        cdef Rows rows
        shape[0], shape[n_dims - 1] = plain.shape[0], net.n_out
        cdef Py_ssize_t n = shape[0] if n_dims == 2 else 1
        if out is None:
            y = cnp.PyArray_EMPTY(n_dims, shape, self.type_number, 0)
        elif not cnp.PyArray_Check(out):
            return None
        else:
            y = out
            if not (cnp.PyArray_ISCARRAY(y) and cnp.PyArray_TYPE(y) == self.type_number
                    and cnp.PyArray_NDIM(y) == n_dims and y.shape[0] == shape[0]
                    and y.shape[n_dims - 1] == shape[n_dims - 1]) or overlap(plain, y):
                return None
        rows.data, rows.element = cnp.PyArray_DATA(plain), element_type(plain, "x")
        rows.n_features, rows.scale = net.n_in, self.input_scale if rows.element == UINT8 else 1.0
        if n * net.n_params > QUICK_MACS:
            _memory = held(plain), held(y)
        self.forward_rows(&rows, cnp.PyArray_DATA(y), n, 1)
        return None if self.kernels.any_nan(cnp.PyArray_DATA(y), n * net.n_out) else y

    cdef int forward_rows(self, const Rows *rows, void *y, Py_ssize_t n, int n_threads) except -1:
        """y (n, n_out) = the outputs of n rows"""
        cdef Spec spec = self.spec  # which stays while it is read
        cdef const NetworkSpec *net = &spec.net
        cdef Call call = None
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef Py_ssize_t block = block_rows(n, net.n_units + net.n_in), size = block * (net.n_units + net.n_in)
        n_threads = max(1, min(n_threads, <int> ((n + block - 1) // block)))
        if n * net.n_params > MAX_PLAIN_MACS:
            call = Call(spec, n_threads, <double> n * net.n_params)
            call.net.n_threads = 1  # of each block
            net = &call.net
        else:
            expect_not_ending_elsewhere()
        cdef void *buffer = allocate(<double> n_threads * size, self.kernels.itemsize)
        if n * net.n_params <= QUICK_MACS:
            self.kernels.forward_blocks(net, params, rows, y, n, buffer, size, block, 1)
        else:
            with nogil:
                self.kernels.forward_blocks(net, params, rows, y, n, buffer, size, block, n_threads)
        free(buffer)
        return 0 if call is None else call.end()

    def loss(self, cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights=None, *, int n_threads=1):
        """The loss, averaged over the samples (by their weights), and penalties; safe from threads as forward"""
        cdef Rows rows
        cdef Targets targets
        cdef Weights w
        cdef Py_ssize_t n = n_rows(x, "x")
        cdef double result
        cdef Call call = Call(self.spec, n_threads, <double> n * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        set_rows(&rows, x, "x", net.n_in, self.input_scale)
        self.set_targets(&targets, t, n)
        set_weights(&w, weights, n, net.n_out)
        _memory = held(x), held(t), held(weights)
        cdef Py_ssize_t per_sample = 2 * net.n_units + net.n_in + net.n_out, block = block_rows(n, per_sample)
        cdef void *buffer = allocate(<double> block * per_sample, self.kernels.itemsize)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        with nogil:
            result = self.kernels.loss_blocks(net, params, &rows, &targets, &w, n, block, buffer)
        free(buffer)
        call.end()
        return result

    def gradient(self, cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray grads, cnp.ndarray dx=None, *,
                 int n_threads=1):
        """grads (n_params,) and, unless None, dx (n_samples, n_in) of the mean loss, which is returned"""
        cdef Rows rows
        cdef Targets targets
        cdef Weights w
        cdef Py_ssize_t m = n_rows(x, "x")
        cdef void *dx_data = NULL
        cdef Call call = Call(self.spec, n_threads, 3.0 * m * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        cdef void *g = data_of(grads, "grads", self.type_number, net.n_params, True)
        cdef double result
        set_rows(&rows, x, "x", net.n_in, self.input_scale)
        self.set_targets(&targets, t, m)
        set_weights(&w, weights, m, net.n_out)
        if dx is not None:
            dx_data = data_of(dx, "dx", self.type_number, m * net.n_in, True)
        self.acquire(kept_numbers(net, m))
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        try:
            if m * net.n_params <= QUICK_MACS:
                result = self.kernels.gradient_kept(net, params, &rows, &targets, &w, g, dx_data, m, work)
            else:
                _memory = held(x), held(t), held(weights), held(grads), held(dx)
                with nogil:
                    result = self.kernels.gradient_kept(net, params, &rows, &targets, &w, g, dx_data, m, work)
            call.end()
            self.kept, self.kept_backward = m, True
            return result
        finally:
            self.busy = 0

    def forward_keep(self, cnp.ndarray x, cnp.ndarray out, *, int n_threads=1):
        """As forward, and keeps what backward needs"""
        cdef Rows rows
        cdef Py_ssize_t m = n_rows(x, "x")
        cdef Call call = Call(self.spec, n_threads, <double> m * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        cdef void *y = data_of(out, "out", self.type_number, m * net.n_out, True)
        set_rows(&rows, x, "x", net.n_in, self.input_scale)
        _memory = held(x), held(out)
        self.acquire(kept_numbers(net, m))
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        try:
            with nogil:
                self.kernels.forward_kept(net, params, &rows, y, m, work)
            call.end()
            self.kept, self.keeper = m, PyThread_get_thread_ident()
        finally:
            self.busy = 0

    def backward(self, cnp.ndarray dy, cnp.ndarray grads, cnp.ndarray dx, *, int n_threads=1):
        """grads (n_params,) and dx (n_samples, n_in) from dy (n_samples, n_out), after forward_keep"""
        cdef Py_ssize_t m = self.kept
        if m == 0 or self.kept_backward:
            raise RuntimeError("backward was called without a forward before it, expected forward(x) first")
        if self.keeper != <unsigned long> PyThread_get_thread_ident():
            raise RuntimeError("the last forward of this network was that of another thread, expected forward and "
                               "backward by one: another network, or a lock around the two")
        cdef Call call = Call(self.spec, n_threads, 2.0 * m * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        cdef void *source = data_of(dy, "dy", self.type_number, m * net.n_out)
        cdef void *g = data_of(grads, "grads", self.type_number, net.n_params, True)
        cdef void *dx_data = data_of(dx, "dx", self.type_number, m * net.n_in, True)
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        _memory = held(dy), held(grads), held(dx)
        self.expect_still()
        self.expect_free()
        self.busy = generation
        try:
            with nogil:
                self.kernels.backward_kept(net, params, source, g, dx_data, m, work)
            call.end()
        finally:
            self.busy = 0

    def last(self, str what, Py_ssize_t layer):
        """A copy of "z", "da", "dz" or, of the last layer, "t" (n_samples, n_out) from the last gradient, else None

        Of the last layer dz is not kept.
        """
        self.expect_layer(layer)
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = &network.layers[layer]
        if self.kept == 0 or (what != "z" and not self.kept_backward):
            return None
        cdef const NetworkSpec *net = &network.net
        cdef Py_ssize_t start = self.kept * {"z": spec.unit, "da": da_unit(net, layer), "t": t_unit(net),
                                             "dz": dz_unit(net, layer)}[what]
        return self.workspace[start:start + self.kept * spec.n_out].reshape(self.kept, spec.n_out).copy()

    def penalty(self, double whole, cnp.ndarray grads=None):
        """The penalties beside the loss of a batch of this total weight; grads (n_params,) += their gradient"""
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef Py_ssize_t n_params = self.spec.net.n_params
        cdef void *g = NULL
        if grads is not None:
            g = data_of(grads, "grads", self.type_number, n_params, True)
        return self.kernels.network_penalty(&self.spec.net, params, g, whole, 0, n_params)

    def normalise(self, Py_ssize_t layer, cnp.ndarray a, cnp.ndarray x_hat, bint training):
        """a (n_samples, n_out) of a normalised layer becomes gamma * x_hat + b, x_hat what batch_norm.pxd says"""
        cdef Py_ssize_t m = n_rows(a, "a")
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = self.normalised(layer)
        cdef void *data = data_of(a, "a", self.type_number, m * spec.n_out, True)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        self.kernels.normalise_by(&network.net, spec, params, data, kept, training, m)

    def normalise_backward(self, Py_ssize_t layer, cnp.ndarray x_hat, cnp.ndarray da, cnp.ndarray grads, bint training):
        """da (n_samples, n_out) becomes that by what normalise was given; grads (n_params,) get gamma's and b's"""
        cdef Py_ssize_t m = n_rows(da, "da")
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = self.normalised(layer)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out)
        cdef void *data = data_of(da, "da", self.type_number, m * spec.n_out, True)
        cdef void *g = data_of(grads, "grads", self.type_number, network.net.n_params, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        self.kernels.normalise_backward_by(&network.net, spec, params, kept, data, g, training, m)

    def drop(self, Py_ssize_t layer, cnp.ndarray z, uint64_t seed, Py_ssize_t step):
        """z (n_samples, n_out), outputs of a layer, after the dropout of a step in a run with this seed, in place"""
        self.expect_layer(layer)
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = &network.layers[layer]
        cdef Py_ssize_t size = n_rows(z, "z") * spec.n_out
        cdef void *data = data_of(z, "z", self.type_number, size, True)
        if spec.dropout == 0:
            return
        self.kernels.drop(data, spec.dropout, layer_key(step_key(seed, step), layer), 0, size)


cdef double kept_numbers(const NetworkSpec *net, Py_ssize_t m) noexcept:
    """Room for z, da, x, t, dz of m samples"""
    return <double> m * (3 * net.n_units + net.n_in + net.n_out)


cdef bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays have memory in common"""
    cdef const char *first = cnp.PyArray_BYTES(a)
    cdef const char *second = cnp.PyArray_BYTES(b)
    return first < second + cnp.PyArray_NBYTES(b) and second < first + cnp.PyArray_NBYTES(a)
