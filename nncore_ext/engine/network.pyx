"""class Network: the compiled engine behind NeuralNetwork.

It trusts its caller (nncore.core.checks) for the values of arrays, labels within range among them, and checks for
itself what memory safety needs: types, layouts, sizes. The class is written in layers, a file each: Turns (who uses it
now), Parameters, Passes, and here its training and differences; kernels.pxi has the kernels by float type.

Other threads may do anything meanwhile. So a call copies at its start what it needs: the spec of the network, which is
never changed but replaced, and its own threads; it holds the memory it was given (arrays.held), and reads from that
only numbers, or indices that it checks. Threads share predictions and gradients' differences; a batch that is kept, and
training, have the network for themselves.
"""

cimport cython
cimport numpy as cnp
from cpython.pythread cimport PyThread_get_thread_ident
from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from nncore_ext.arithmetic.product cimport NN_USES_BLAS
from nncore_ext.differences.probe cimport Findings, probe_units
from nncore_ext.differences.probe_base cimport Probe, base_size, scratch_size
from nncore_ext.differences.probe_blocks cimport penalty_slopes, plan_probe, probe_block
from nncore_ext.layers.activation cimport LOGISTIC, SOFTMAX, keeps_slope
from nncore_ext.layers.batch_norm cimport NORM_VECTORS, norm_backward, norm_forward
from nncore_ext.layers.dropout cimport drop, layer_key, step_key
from nncore_ext.layers.loss cimport HINGE
from nncore_ext.network.network cimport LayerSpec, NetworkSpec, da_unit, dz_unit, t_unit
from nncore_ext.network.passes cimport (
    backward_kept, block_rows, forward_blocks, forward_kept, gradient_kept, loss_blocks,
)
from nncore_ext.network.penalty cimport network_penalty
from nncore_ext.samples.arrays cimport (
    data_of, element_type, held, is_plain_rows, n_rows, set_compressed, set_rows, set_weights,
)
from nncore_ext.samples.rows cimport PARTS, UINT8, Rows, Targets, Weights, total_weight
from nncore_ext.training.batch cimport Plan, has_dropout, moves_by_gradient_alone
from nncore_ext.training.dense_steps cimport dense_workspace, train_steps
from nncore_ext.training.online cimport NN_VECTOR, PackedNetwork, plan_packed
from nncore_ext.training.online_steps cimport train_online
from nncore_ext.training.optimizer cimport N_RULES, SGD, OptimizerSpec, begin_step, optimizer_spec, state_vectors
from nncore_ext.training.sparse_steps cimport sparse_columns, sparse_workspace, train_sparse
from nncore_ext.training.update cimport clip_gradient, limit_norms, network_update
from nncore_ext.watch cimport Watch, stopped

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
    # As many BLAS does on one thread anyway.
    MAX_PLAIN_MACS = 1 << 18
    # So few take less time than giving the GIL back.
    QUICK_MACS = 1 << 12
    # Calls of fewer on one thread end before anybody would look.
    WATCHED_MACS = 1 << 22

PLAIN_MACS = MAX_PLAIN_MACS

include "kernels.pxi"
include "calls.pxi"
include "turns.pxi"
include "parameters.pxi"
include "passes.pxi"


cdef class Network(Passes):
    """A dense network: flat parameters, and all that is computed with them.

    layers: one (n_in, n_out, activation number, use_bias, trainable_bias) a layer; batch_norm: those (by number) that
    are normalised. x is everywhere a contiguous (n_samples, n_in) array of float32, float64, or uint8 that is
    multiplied by input_scale while it is read; t either (n_samples, n_out) floats or (n_samples,) intp labels; weights
    float64 (n_samples,), by which a loss is a mean over samples, (n_samples, n_out), by which the terms of its sums are
    multiplied, or None.
    """

    cdef public Py_ssize_t steps_done  # of the last train, also when Ctrl-C was raised on its return, and updates since

    def step(self, x, t, double lr, tuple rule=(SGD, 0, 0, 0, 0, 0), state=None):
        """One update with the mean loss of these samples, which is returned; none if that is not finite

        rule, state: as train takes them.
        """
        cdef double loss = self.gradient(x, t, None, self.grads)
        if isfinite(loss):
            self.update(lr, rule, state)
        return loss

    def update(self, double lr, tuple rule=(SGD, 0, 0, 0, 0, 0), state=None, *, double clip_norm=0,
               double clip_value=0):
        """One update by grads, which are clipped first; all as train takes them; steps_done counts it

        Counted here, where Ctrl-C cannot come between.
        """
        self.expect_still()
        cdef OptimizerSpec optimizer = self.optimizer(rule, state)
        cdef Spec spec = self.spec
        begin_step(&optimizer, lr)
        self.kernels.update_by(&spec.net, cnp.PyArray_DATA(self.params), cnp.PyArray_DATA(self.grads), &optimizer,
                               clip_value, clip_norm)
        if state is not None:
            state.n_steps += 1
        self.steps_done += 1

    def train(self, x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray index, Py_ssize_t position,
              Py_ssize_t epoch_size, Py_ssize_t batch_size, lr, cnp.ndarray losses,
              tuple rule=(SGD, 0, 0, 0, 0, 0), state=None, *, double clip_norm=0, double clip_value=0, uint64_t seed=0,
              Py_ssize_t first_step=0, int n_threads=1):
        """One update a batch of batch_size samples out of index (intp); x may be compressed.CompressedRows

        index holds samples of consecutive epochs, epoch_size each, and starts at position within one; the last batch
        of an epoch takes what is left. losses (float64, one a batch): each batch's loss before its update. Returns
        the number of updates: fewer than all when a loss was not finite. Ctrl-C ends it after a whole update. rule:
        kind, weight_decay, beta1, beta2, eps, momentum_decay, by default plain descent; state: its vectors (state
        vectors of the kind, n_params) and n_steps, the updates so far, which this call moves on, or None for a rule
        without. lr: a number, or one a batch (float64). clip_norm, clip_value: the most that gradients may be, 0 for no
        limit. seed and first_step, the steps of the run before this call, determine which outputs are dropped.
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
                if packed.size:
                    steps = self.kernels.train_online(net, &packed, params, work, &plan, loss_data)
                elif columns != NULL:
                    steps = self.kernels.train_sparse(net, params, grads, work, w, columns, &plan, loss_data)
                else:
                    steps = self.kernels.train_steps(net, params, grads, work, w, &plan, loss_data)
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
        cdef double weight_decay, beta1, beta2, eps, momentum_decay
        cdef void *vectors = NULL
        cdef Py_ssize_t n_params = self.spec.net.n_params
        kind, weight_decay, beta1, beta2, eps, momentum_decay = rule
        if not 0 <= kind < <int> N_RULES:
            raise ValueError(f"kind is {kind}, expected 0 to {N_RULES - 1}")
        if state_vectors(kind):
            vectors = data_of(None if state is None else state.vectors, "state", self.type_number,
                              state_vectors(kind) * n_params, True)
        return optimizer_spec(kind, weight_decay, beta1, beta2, eps, momentum_decay,
                              0 if state is None else state.n_steps, vectors, n_params)

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
        cdef void *scratch = <char *> base + base_elements * self.kernels.itemsize
        self.expect_still()
        with self.reading("numerical_gradient"):
            for start in range(0, n, probe.m):
                probe.m = min(probe.m, n - start)
                with nogil:
                    self.kernels.probe_block(net, params, &probe, &rows, &targets, &w, start, base)
                    for k in range(net.n_layers):
                        self.kernels.probe_units(net, params, &probe, base, scratch, k, &found)
                call.end()
        for k in range(net.n_layers):
            self.kernels.penalty_slopes(&net.layers[k], params, h, penalty_scale, &found)


cdef Py_ssize_t batches_before(Py_ssize_t position, Py_ssize_t epoch_size, Py_ssize_t batch_size) noexcept nogil:
    """Batches that start before this position in consecutive epochs"""
    return (position // epoch_size * ((epoch_size + batch_size - 1) // batch_size)
            + (position % epoch_size + batch_size - 1) // batch_size)


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


def held_memory(cnp.ndarray array):
    """Return an object that keeps the memory of an array from being resized as long as it lives."""
    return held(array)


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
