"""class Network: the compiled engine behind NeuralNetwork.

It trusts its caller (nncore._checks) for the values of arrays, labels within range among them, and checks for itself
what memory safety needs: types, layouts, sizes.

Other threads may do anything meanwhile. So a call copies at its start what it needs: the spec of the network, which is
never changed but replaced, and its own threads; it holds the memory it was given (arrays.held), and reads from that
only numbers, or indices that it checks. Threads share predictions and gradients' differences; a batch that is kept, and
training, have the network for themselves.
"""

cimport cython
cimport numpy as cnp
from cpython.pythread cimport PyThread_get_thread_ident
from cython cimport floating
from libc.math cimport fabs, isfinite
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from nncore_ext.activation cimport LOGISTIC, SOFTMAX, keeps_slope
from nncore_ext.arrays cimport (
    data_of, element_type, held, is_plain_rows, n_rows, set_compressed, set_rows, set_weights,
)
from nncore_ext.batch cimport Plan, has_dropout, moves_by_gradient_alone
from nncore_ext.batch_norm cimport NORM_VECTORS, norm_backward, norm_forward
from nncore_ext.dropout cimport drop, layer_key, step_key
from nncore_ext.loss cimport HINGE
from nncore_ext.network cimport LayerSpec, NetworkSpec, Weights, total_weight
from nncore_ext.numdiff cimport (
    MAX_PAIRS, Findings, Probe, base_size, default_step, prepare_base, probe_units, scratch_size, widest,
)
from nncore_ext.online cimport NN_VECTOR, PackedNetwork, plan_packed
from nncore_ext.optimizer cimport ADAM_HAT, SGD, OptimizerSpec, begin_step, optimizer_spec, state_vectors
from nncore_ext.passes cimport (
    BLOCK, backward_kept, block_rows, forward_blocks, forward_kept, gradient_kept, loss_blocks,
)
from nncore_ext.product cimport NN_USES_BLAS
from nncore_ext.rows cimport PARTS, UINT8, Rows, Targets, gather_rows, gather_targets
from nncore_ext.training cimport (
    dense_workspace, sparse_columns, sparse_workspace, train_online, train_sparse, train_steps,
)
from nncore_ext.update cimport clip_gradient, limit_norms, network_penalty, network_update
from nncore_ext.watch cimport UNIT_WORK, Watch, stopped

import threading

import numpy as np

cnp.import_array()

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define NN_HAS_OPENMP 1
    static inline int nn_openmp_threads(void)
    {
        const int most = omp_get_max_threads(), limit = omp_get_thread_limit();
        return most < limit ? most : limit;
    }
    #else
    #define NN_HAS_OPENMP 0
    static inline int nn_openmp_threads(void) { return 1; }
    #endif
    """
    bint NN_HAS_OPENMP
    int nn_openmp_threads()
    const char *NNCORE_FLAGS

cdef enum:
    ALIGNMENT = 64
    # Elements of a layer's columns that stay in the cache.
    PAIR_ELEMENTS = 1 << 15
    # Multiply-adds of one block of the numerical gradient, at most: 40 ms or less.
    MAX_WORK = 1 << 30
    # As many BLAS does on one thread anyway.
    MAX_PLAIN_MACS = 1 << 18
    # So few take less time than giving the GIL back.
    QUICK_MACS = 1 << 12
    # Calls of fewer on one thread end before anybody would look.
    WATCHED_MACS = 1 << 22

# Set when the interpreter ends: calls of other threads than the main one stop. How many of those there are.
cdef int ending = 0
cdef Py_ssize_t n_running = 0
# Counts the forks this process comes from: who held a network in the parent is not here, but for the one that forked.
cdef Py_ssize_t generation = 1
cdef unsigned long survivor = 0


def forked():
    """Take note that this process is a fork: only the calling thread is still there."""
    global generation, survivor, n_running
    generation += 1
    survivor = PyThread_get_thread_ident()
    n_running = 0


def end_calls():
    """Have long calls of other threads end, and refuse them new ones: the interpreter is about to end."""
    global ending
    ending = 1


def n_calls():
    """Long calls of other threads than the main one that run now."""
    return n_running


def held_memory(cnp.ndarray array):
    """What keeps the memory of an array from being resized as long as it lives."""
    return held(array)


@cython.freelist(8)
cdef class Call:
    """One call without the GIL, from begin to end: its threads, and its looks for Ctrl-C if it may take long."""

    cdef NetworkSpec net
    cdef Spec spec  # whose layers net has
    cdef Watch watch
    cdef list raised
    cdef bint counted

    def __cinit__(self, Spec spec, int n_threads, double macs):
        global n_running
        self.spec, self.net = spec, spec.net
        self.net.n_threads = max(1, n_threads)
        if macs < WATCHED_MACS and n_threads == 1:
            expect_not_ending_elsewhere()
            return
        memset(&self.watch, 0, sizeof(Watch))
        self.watch.looks = threading.main_thread().ident == PyThread_get_thread_ident()
        self.raised = []
        self.watch.raised = <void *> self.raised
        self.net.watch = &self.watch
        if not self.watch.looks:
            self.watch.ending = &ending
            expect_not_ending()
            self.counted = True
            n_running += 1

    def __dealloc__(self):
        global n_running
        if self.counted and n_running > 0:
            n_running -= 1

    cdef int end(self) except -1:
        """Raise what ended it too early, if anything did"""
        if self.raised:
            raise self.raised[0]
        if stopped(self.net.watch):
            expect_not_ending()
        return 0


cdef int expect_not_ending() except -1:
    """That the interpreter does not end under this thread, which then ends as well: nobody sees a SystemExit of it"""
    if ending:
        raise SystemExit("the interpreter is ending")
    return 0


cdef int expect_not_ending_elsewhere() except -1:
    """The same of a short call, for any thread"""
    if ending and threading.main_thread().ident != PyThread_get_thread_ident():
        expect_not_ending()
    return 0


cdef void *allocate(double n_elements, size_t itemsize) except NULL:
    """Memory for a call"""
    cdef void *memory = malloc(<size_t> (n_elements * itemsize)) if n_elements * itemsize < 2**60 else NULL
    if memory == NULL:
        raise MemoryError(f"this call needs {n_elements * itemsize:.3g} bytes beside its data, which are not there: "
                          f"give it fewer samples, or the network narrower layers")
    return memory


def has_openmp():
    """Whether this build can use more than one thread."""
    return NN_HAS_OPENMP != 0


def openmp_threads():
    """As many threads as OpenMP would use: by its environment variables, and what was set since in this thread."""
    return max(1, nn_openmp_threads())


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


cdef enum Use:
    TRAINING, READING, PAUSE


cdef class Turn:
    """The context of a use of a network, see Network.training, reading, pause."""

    cdef Network net
    cdef str what
    cdef Use use

    def __cinit__(self, Network net, str what, Use use):
        self.net, self.what, self.use = net, what, use

    def __enter__(self):
        if self.use == TRAINING:
            self.net.begin_training(self.what)
        elif self.use == READING:
            self.net.begin_reading()
        else:
            self.net.paused = True

    def __exit__(self, *exc):
        if self.use == TRAINING:
            self.net.depth -= 1
            if self.net.depth <= 0:
                self.net.training_by = None
        elif self.use == READING:
            self.net.readers = max(0, self.net.readers - 1)
        else:
            self.net.paused = False


cdef class Network:
    """A dense network: flat parameters, and all that is computed with them.

    layers: one (n_in, n_out, activation number, use_bias, trainable_bias) a layer; batch_norm: those (by number) that
    are normalised. x is everywhere a contiguous
    (n_samples, n_in) array of float32, float64, or uint8 that is multiplied by input_scale while it is read; t either
    (n_samples, n_out) floats or (n_samples,) intp labels; weights float64 (n_samples,), by which a loss is a mean over
    samples, (n_samples, n_out), by which the terms of its sums are multiplied, or None.
    """

    cdef Spec spec
    cdef double smoothing  # of targets
    cdef bint single
    cdef Py_ssize_t busy  # generation of the call that has the workspace; 0: none
    cdef str training_by  # what trains the network for long, None: nothing
    cdef unsigned long trainer  # the thread it runs in
    cdef Py_ssize_t trainer_generation
    cdef bint paused
    cdef int depth  # 2 where its steps are made, 1 around
    cdef Py_ssize_t readers  # calls that must not see it trained
    cdef Py_ssize_t readers_generation
    cdef unsigned long keeper  # the thread whose batch the workspace holds
    cdef int type_number
    cdef tuple memory  # holds that of the arrays below
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
        self.single = dtype == np.float32
        self.type_number = cnp.NPY_FLOAT32 if self.single else cnp.NPY_FLOAT64
        self.params = aligned_zeros(net.n_params, dtype)
        self.grads = aligned_zeros(net.n_params, dtype)
        self.moments = aligned_zeros(n_moments, dtype)
        net.moments = cnp.PyArray_DATA(self.moments)
        self.memory = held(self.params), held(self.grads), held(self.moments)
        self.workspace = np.empty(0, dtype)
        self.spec = spec

    def training(self, str what):
        """A context in which this thread alone uses the network, but for predictions; what: the name in messages"""
        return Turn(self, what, TRAINING)

    def reading(self, str what):
        """A context in which nobody begins to train the network, nor does but for this thread, unless it has it rest"""
        return Turn(self, what, READING)

    def pause(self):
        """A context within a training, of its callbacks: other threads may save and copy the network as it is then"""
        return Turn(self, "", PAUSE)

    def expect_still(self, bint pause=False):
        """That no other thread trains the network; pause: or has it rest, while callbacks are called"""
        if not self.is_trained() or (pause and self.paused):
            return
        if self.trainer != <unsigned long> PyThread_get_thread_ident():
            raise RuntimeError(f"this network is in use by another thread ({self.training_by}), expected one caller at "
                               f"a time: wait for the other call to end, or train a copy that was made before")

    cdef bint is_trained(self):
        """Whether something trains it; what was begun before a fork, by a thread that is not here, does not"""
        if self.training_by is not None and self.trainer_generation != generation and self.trainer != survivor:
            self.training_by = None
        return self.training_by is not None

    cdef int begin_training(self, str what) except -1:
        self.expect_still()
        if self.is_trained() and not self.paused and self.depth == 1 and self.training_by == what:
            self.depth = 2  # the same training: its checks, then its steps
            return 0
        if self.is_trained():
            raise RuntimeError(f"{what} was called within {self.training_by} of the same network, by a callback of it, "
                               f"expected one at a time: train a copy")
        if self.readers_generation == generation and self.readers > 0:
            raise RuntimeError(f"this network is in use by another thread, expected {what} to have it for itself: wait "
                               f"for the other call to end, or train a copy")
        self.expect_free()
        self.training_by, self.trainer, self.trainer_generation = what, PyThread_get_thread_ident(), generation
        self.depth, self.paused = 1, False
        return 0

    cdef int begin_reading(self) except -1:
        self.expect_still(pause=True)
        if self.readers_generation != generation:
            self.readers, self.readers_generation = 0, generation
        self.readers += 1
        return 0

    cdef int expect_free(self) except -1:
        """That no call has the workspace"""
        if self.busy == generation:
            raise RuntimeError("this network is in use by another thread or a call that has not ended, expected one "
                               "caller at a time: wait for the other call to end, or train a copy")
        return 0

    def take(self):
        """Have the network until release, without the batch that its workspace held"""
        self.acquire(0)

    def release(self):
        """Give the network back"""
        self.busy = 0

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
        return None if self.any_nan(cnp.PyArray_DATA(y), n * net.n_out) else y

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
        cdef void *buffer = allocate(<double> n_threads * size, sizeof(float) if self.single else sizeof(double))
        if n * net.n_params <= QUICK_MACS and self.single:
            forward_blocks(net, <const float *> params, rows, <float *> y, n, <float *> buffer, size, block, 1)
        elif n * net.n_params <= QUICK_MACS:
            forward_blocks(net, <const double *> params, rows, <double *> y, n, <double *> buffer, size, block, 1)
        else:
            with nogil:
                if self.single:
                    forward_blocks(net, <const float *> params, rows, <float *> y, n, <float *> buffer, size, block,
                                   n_threads)
                else:
                    forward_blocks(net, <const double *> params, rows, <double *> y, n, <double *> buffer, size, block,
                                   n_threads)
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
        cdef void *buffer = allocate(<double> block * per_sample, sizeof(float) if self.single else sizeof(double))
        cdef const void *params = cnp.PyArray_DATA(self.params)
        with nogil:
            if self.single:
                result = loss_blocks(net, <const float *> params, &rows, &targets, &w, n, block, <float *> buffer)
            else:
                result = loss_blocks(net, <const double *> params, &rows, &targets, &w, n, block, <double *> buffer)
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
            if m * net.n_params <= QUICK_MACS and self.single:
                result = gradient_kept(net, <const float *> params, &rows, &targets, &w, <float *> g,
                                       <float *> dx_data, m, <float *> work)
            elif m * net.n_params <= QUICK_MACS:
                result = gradient_kept(net, <const double *> params, &rows, &targets, &w, <double *> g,
                                       <double *> dx_data, m, <double *> work)
            else:
                _memory = held(x), held(t), held(weights), held(grads), held(dx)
                with nogil:
                    if self.single:
                        result = gradient_kept(net, <const float *> params, &rows, &targets, &w,
                                               <float *> g, <float *> dx_data, m, <float *> work)
                    else:
                        result = gradient_kept(net, <const double *> params, &rows, &targets, &w,
                                               <double *> g, <double *> dx_data, m, <double *> work)
            call.end()
            self.kept, self.kept_backward = m, True
            return result
        finally:
            self.busy = 0

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
        self.expect_still()
        cdef OptimizerSpec optimizer = self.optimizer(rule, state)
        cdef Spec spec = self.spec
        begin_step(&optimizer, lr)
        if self.single:
            update_by(&spec.net, <float *> cnp.PyArray_DATA(self.params), <float *> cnp.PyArray_DATA(self.grads),
                      &optimizer, clip_value, clip_norm)
        else:
            update_by(&spec.net, <double *> cnp.PyArray_DATA(self.params), <double *> cnp.PyArray_DATA(self.grads),
                      &optimizer, clip_value, clip_norm)
        if state is not None:
            state.n_steps += 1
        self.steps_done += 1

    def penalty(self, double whole, cnp.ndarray grads=None):
        """The penalties beside the loss of a batch of this total weight; grads (n_params,) += their gradient"""
        cdef const void *params = cnp.PyArray_DATA(self.params)
        cdef Py_ssize_t n_params = self.spec.net.n_params
        cdef void *g = NULL
        if grads is not None:
            g = data_of(grads, "grads", self.type_number, n_params, True)
        if self.single:
            return network_penalty(&self.spec.net, <const float *> params, <float *> g, whole, 0, n_params)
        return network_penalty(&self.spec.net, <const double *> params, <double *> g, whole, 0, n_params)

    def normalise(self, Py_ssize_t layer, cnp.ndarray a, cnp.ndarray x_hat, bint training):
        """a (n_samples, n_out) of a normalised layer becomes gamma * x_hat + b, x_hat what batch_norm.pxd says"""
        cdef Py_ssize_t m = n_rows(a, "a")
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = self.normalised(layer)
        cdef void *data = data_of(a, "a", self.type_number, m * spec.n_out, True)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if self.single:
            normalise_by(&network.net, spec, <const float *> params, <float *> data, <float *> kept, training, m)
        else:
            normalise_by(&network.net, spec, <const double *> params, <double *> data, <double *> kept, training, m)

    def normalise_backward(self, Py_ssize_t layer, cnp.ndarray x_hat, cnp.ndarray da, cnp.ndarray grads, bint training):
        """da (n_samples, n_out) becomes that by what normalise was given; grads (n_params,) get gamma's and b's"""
        cdef Py_ssize_t m = n_rows(da, "da")
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = self.normalised(layer)
        cdef void *kept = data_of(x_hat, "x_hat", self.type_number, m * spec.n_out)
        cdef void *data = data_of(da, "da", self.type_number, m * spec.n_out, True)
        cdef void *g = data_of(grads, "grads", self.type_number, network.net.n_params, True)
        cdef const void *params = cnp.PyArray_DATA(self.params)
        if self.single:
            normalise_backward_by(&network.net, spec, <const float *> params, <const float *> kept, <float *> data,
                                  <float *> g, training, m)
        else:
            normalise_backward_by(&network.net, spec, <const double *> params, <const double *> kept, <double *> data,
                                  <double *> g, training, m)

    cdef const LayerSpec *normalised(self, Py_ssize_t layer) except NULL:
        """A layer that is normalised"""
        if not 0 <= layer < self.spec.net.n_layers or self.spec.layers[layer].gamma < 0:
            raise IndexError(f"layer is {layer}, expected one that is normalised")
        return &self.spec.layers[layer]

    def drop(self, Py_ssize_t layer, cnp.ndarray z, uint64_t seed, Py_ssize_t step):
        """z (n_samples, n_out), outputs of a layer, after the dropout of a step in a run with this seed, in place"""
        self.expect_layer(layer)
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = &network.layers[layer]
        cdef Py_ssize_t size = n_rows(z, "z") * spec.n_out
        cdef void *data = data_of(z, "z", self.type_number, size, True)
        if spec.dropout == 0:
            return
        if self.single:
            drop(<float *> data, spec.dropout, layer_key(step_key(seed, step), layer), 0, size)
        else:
            drop(<double *> data, spec.dropout, layer_key(step_key(seed, step), layer), 0, size)

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
                if self.single:
                    forward_kept(net, <const float *> params, &rows, <float *> y, m, <float *> work)
                else:
                    forward_kept(net, <const double *> params, &rows, <double *> y, m, <double *> work)
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
                if self.single:
                    backward_kept(net, <const float *> params, <const float *> source, <float *> g,
                                  <float *> dx_data, m, <float *> work)
                else:
                    backward_kept(net, <const double *> params, <const double *> source, <double *> g,
                                  <double *> dx_data, m, <double *> work)
            call.end()
        finally:
            self.busy = 0

    def train(self, x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray index, Py_ssize_t position,
              Py_ssize_t epoch_size, Py_ssize_t batch_size, lr, cnp.ndarray losses,
              tuple rule=(SGD, 0, 0, 0, 0), state=None, *, double clip_norm=0, double clip_value=0, uint64_t seed=0,
              Py_ssize_t first_step=0, int n_threads=1):
        """One update a batch of batch_size samples out of index (intp); x may be sparse.CompressedRows

        index holds samples of consecutive epochs, epoch_size each, and starts at position within one; the last batch
        of an epoch takes what is left. losses (float64, one a batch): each batch's loss before its update. Returns
        the number of updates: fewer than all when a loss was not finite. Ctrl-C ends it after a whole update. rule:
        kind, weight_decay, beta1, beta2, eps, by default plain descent; state: its vectors (state vectors of the kind,
        n_params) and n_steps, the updates so far, which this call moves on, or None for a rule without. lr: a number,
        or one a batch (float64). clip_norm, clip_value: the most that gradients may be, 0 for no limit. seed and
        first_step, the steps of the run before this call, determine which outputs are dropped.
        """
        cdef Plan plan
        cdef PackedNetwork packed
        cdef OptimizerSpec optimizer = self.optimizer(rule, state)
        # which is read while others could write to it: a copy
        index = np.array(index, order="C")
        cdef Py_ssize_t n = n_rows(t, "t"), steps, size
        cdef Call call = Call(self.spec, n_threads, 3.0 * n_rows(index, "index") * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        cdef double *w = NULL
        cdef cnp.ndarray rates
        cdef int *columns = NULL
        if not (1 <= batch_size <= epoch_size and position >= 0 and position % epoch_size % batch_size == 0):
            raise ValueError(f"batch_size is {batch_size}, epoch_size {epoch_size}, position {position}, "
                             f"expected a batch within an epoch and a position where one starts")
        plan.compressed.pieces = NULL
        if isinstance(x, np.ndarray):
            set_rows(&plan.x, x, "x", net.n_in, self.input_scale)
            rows = n_rows(x, "x")
            size = dense_workspace(net, batch_size)
        else:
            if net.layers[0].gamma >= 0:
                raise ValueError("x is compressed, expected dense rows: the first layer is normalised")
            set_compressed(&plan.compressed, x, net.n_in, self.input_scale)
            rows = (len(x.pieces) - 1) // PARTS
            if PARTS * batch_size * x.max_piece >= 2**31:
                raise ValueError(f"batch_size is {batch_size} with up to {x.max_piece} non-zeros in a quarter of a "
                                 f"row, expected fewer than 2**31 in a batch")
            size = sparse_workspace(net, batch_size, x.max_piece, self.params.itemsize)
            scratch = np.empty(sparse_columns(batch_size, x.max_piece), np.int32)
            columns = <int *> cnp.PyArray_DATA(scratch)
        if rows != n:
            raise TypeError(f"t has {n} rows, expected {rows}")
        self.set_targets(&plan.t, t, n)
        set_weights(&plan.weights, weights, n, net.n_out)
        if weights is not None:
            batch_weights = np.empty(batch_size * (net.n_out if plan.weights.by_output else 1))
            w = <double *> cnp.PyArray_DATA(batch_weights)
        plan.moments, plan.moments_size = NULL, 0
        if cnp.PyArray_SIZE(self.moments):
            moments = np.empty_like(self.moments)
            plan.moments, plan.moments_size = cnp.PyArray_DATA(moments), cnp.PyArray_NBYTES(moments)
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
        if (batch_size == 1 and plan.compressed.pieces == NULL and moves_by_gradient_alone(net, &plan)
                and not plan.weights.by_output):
            plan_packed(net, &packed, self.params.itemsize)
            size = max(size, packed.size + NN_VECTOR // self.params.itemsize)
        vectors = None if state is None else state.vectors
        _memory = [held(array) for array in (t, weights, rates, losses, vectors)] + (
            [held(x)] if isinstance(x, np.ndarray) else [held(array) for array in x[:4]])
        self.acquire(size)
        cdef void *work = cnp.PyArray_DATA(self.workspace)
        cdef void *params = cnp.PyArray_DATA(self.params)
        cdef void *grads = cnp.PyArray_DATA(self.grads)
        try:
            with nogil:
                if packed.size and self.single:
                    steps = train_online(net, &packed, <float *> params, <float *> work, &plan, loss_data)
                elif packed.size:
                    steps = train_online(net, &packed, <double *> params, <double *> work, &plan, loss_data)
                elif columns != NULL and self.single:
                    steps = train_sparse(net, <float *> params, <float *> grads, <float *> work, w, columns,
                                         &plan, loss_data)
                elif columns != NULL:
                    steps = train_sparse(net, <double *> params, <double *> grads, <double *> work, w, columns,
                                         &plan, loss_data)
                elif self.single:
                    steps = train_steps(net, <float *> params, <float *> grads, <float *> work, w, &plan,
                                        loss_data)
                else:
                    steps = train_steps(net, <double *> params, <double *> grads, <double *> work, w, &plan,
                                        loss_data)
            self.steps_done = steps
            if state is not None:
                state.n_steps += steps
            call.end()
            return steps
        finally:
            self.busy = 0

    cdef OptimizerSpec optimizer(self, tuple rule, state) except *:
        """From settings as train takes them"""
        cdef int kind
        cdef double weight_decay, beta1, beta2, eps
        cdef void *vectors = NULL
        cdef Py_ssize_t n_params = self.spec.net.n_params
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
                           double rounding=0.0, bint one_sided=False, *, int n_threads=1):
        """slope (n_params,) = central differences of the loss by the weights

        h = 0: a step by type and value of each parameter. truncation (n_params,) or None: their estimated error; kink
        (n_params,) uint8: 1 where a relu changes sides between the two points; wanted (n_params,) uint8 or None: only
        where it is 1 is there a slope, elsewhere 0; rounding: how far that moves a loss, for truncation; one_sided:
        forward differences instead, for the upper side of a kink. Works on blocks of samples, with about max_memory
        bytes of workspace; looks for Ctrl-C all the while. Safe from several threads at a time, while nobody trains
        the network.
        """
        cdef Rows rows
        cdef Targets targets
        cdef Findings found
        cdef Probe probe
        cdef Py_ssize_t n = n_rows(x, "x"), start, k, base_elements
        cdef Call call = Call(self.spec, n_threads, <double> n * self.spec.net.n_params * self.spec.net.n_params)
        cdef const NetworkSpec *net = &call.net
        cdef Weights w
        cdef const void *params = cnp.PyArray_DATA(self.params)
        found.slope = <double *> data_of(slope, "slope", cnp.NPY_FLOAT64, net.n_params, True)
        found.kink = <unsigned char *> data_of(kink, "kink", cnp.NPY_UINT8, net.n_params, True)
        found.wanted = NULL
        if wanted is not None:
            found.wanted = <const unsigned char *> data_of(wanted, "wanted", cnp.NPY_UINT8, net.n_params)
        found.truncation = NULL
        if truncation is not None:
            found.truncation = <double *> data_of(truncation, "truncation", cnp.NPY_FLOAT64, net.n_params, True)
            truncation[:] = 0
        slope[:] = 0
        kink[:] = 0
        set_rows(&rows, x, "x", net.n_in, self.input_scale)
        self.set_targets(&targets, t, n)
        set_weights(&w, weights, n, net.n_out)
        cdef double penalty_scale = 1
        if net.penalty_by_samples:
            penalty_scale = 1 / total_weight(&w, n)
        if not w.by_output:
            weights = weights / weights.sum()
            set_weights(&w, weights, n, net.n_out)
        probe.by_output = w.by_output
        probe.share = 1.0 / n
        probe.h = h
        probe.rounding = rounding
        probe.one_sided = one_sided
        plan_probe(net, &probe, n, max_memory // self.params.itemsize)
        base_elements = base_size(net, probe.m) + probe.m * (net.n_in + net.n_out)
        buffer = np.empty(base_elements + net.n_threads * scratch_size(net, probe.m, probe.n_pairs), self.params.dtype)
        _memory = [held(array) for array in (x, t, weights, slope, truncation, kink, wanted)]
        cdef void *base = cnp.PyArray_DATA(buffer)
        self.expect_still()
        with self.reading("numerical_gradient"):
            for start in range(0, n, probe.m):
                probe.m = min(probe.m, n - start)
                with nogil:
                    if self.single:
                        probe_block(net, <const float *> params, &probe, &rows, &targets, &w, start,
                                    <float *> base)
                    else:
                        probe_block(net, <const double *> params, &probe, &rows, &targets, &w, start,
                                    <double *> base)
                with nogil:
                    for k in range(net.n_layers):
                        if self.single:
                            probe_units(net, <const float *> params, &probe, <float *> base,
                                        <float *> base + base_elements, k, &found)
                        else:
                            probe_units(net, <const double *> params, &probe, <double *> base,
                                        <double *> base + base_elements, k, &found)
                call.end()
        for k in range(net.n_layers):
            if self.single:
                penalty_slopes(&net.layers[k], <const float *> params, h, penalty_scale, &found)
            else:
                penalty_slopes(&net.layers[k], <const double *> params, h, penalty_scale, &found)

    def last(self, str what, Py_ssize_t layer):
        """A copy of "z", "da", "dz" or, of the last layer, "t" (n_samples, n_out) from the last gradient, else None

        Of the last layer dz is not kept.
        """
        self.expect_layer(layer)
        cdef Spec network = self.spec
        cdef const LayerSpec *spec = &network.layers[layer]
        if self.kept == 0 or (what != "z" and not self.kept_backward):
            return None
        cdef Py_ssize_t sections = {"z": 0, "da": self.spec.net.n_units,
                                    "dz": 2 * self.spec.net.n_units + self.spec.net.n_in + self.spec.net.n_out,
                                    "t": 2 * self.spec.net.n_units + self.spec.net.n_in - spec.unit}[what]
        start = self.kept * (sections + spec.unit)
        return self.workspace[start:start + self.kept * spec.n_out].reshape(self.kept, spec.n_out).copy()


cdef double kept_numbers(const NetworkSpec *net, Py_ssize_t m) noexcept:
    """Room for z, da, x, t, dz of m samples"""
    return <double> m * (3 * net.n_units + net.n_in + net.n_out)


cdef bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays have memory in common"""
    cdef const char *first = cnp.PyArray_BYTES(a)
    cdef const char *second = cnp.PyArray_BYTES(b)
    return first < second + cnp.PyArray_NBYTES(b) and second < first + cnp.PyArray_NBYTES(a)


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
    probe.n_pairs = max(1, min(MAX_PAIRS, PAIR_ELEMENTS // (2 * min(n, BLOCK) * widest(net)), MAX_WORK // probe.work))
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
