"""The face of optimizer.pxd: one step of an update rule on any vector."""

from cython cimport floating
cimport nncore_ext.training.optimizer as kernel
from nncore_ext.alignment cimport expect_aligned

KINDS = {
    "sgd": kernel.SGD,
    "momentum": kernel.MOMENTUM,
    "nesterov": kernel.NESTEROV,
    "adagrad": kernel.ADAGRAD,
    "rmsprop": kernel.RMSPROP,
    "adam": kernel.ADAM,
    "adamw": kernel.ADAMW,
    "adam_hat": kernel.ADAM_HAT,
    "nadam": kernel.NADAM,
}
# Vectors of state that a rule keeps, by kind.
STATE_VECTORS = {kind: kernel.state_vectors(kind) for kind in KINDS.values()}


def update(tuple rule, double lr, Py_ssize_t n_steps, const floating[::1] grads, floating[::1] params,
           floating[:, ::1] state, int n_threads=1):
    """params and state = those after one more step

    rule: kind, weight_decay, beta1, beta2, eps, momentum_decay; n_steps: done before; grads and params (n,), which do
    not overlap; state (STATE_VECTORS[kind], n), zeros before the first step.
    """
    cdef int kind
    cdef double weight_decay, beta1, beta2, eps, momentum_decay
    cdef Py_ssize_t n = params.shape[0]
    kind, weight_decay, beta1, beta2, eps, momentum_decay = rule
    if grads.shape[0] != n:
        raise ValueError(f"grads has {grads.shape[0]} elements, expected {n} to match params")
    if kind not in STATE_VECTORS:
        raise ValueError(f"kind is {kind}, expected one of {', '.join(map(str, STATE_VECTORS))}")
    if state.shape[0] != STATE_VECTORS[kind] or state.shape[1] != n:
        raise ValueError(f"state has shape {state.shape[0], state.shape[1]}, expected {STATE_VECTORS[kind], n}")
    if n == 0:
        return
    expect_aligned(&params[0], sizeof(floating), "params")
    expect_aligned(&grads[0], sizeof(floating), "grads")
    cdef void *vectors = <void *> &state[0, 0] if state.shape[0] else NULL
    expect_aligned(vectors, sizeof(floating), "state")
    cdef kernel.OptimizerSpec spec = kernel.optimizer_spec(kind, weight_decay, beta1, beta2, eps, momentum_decay,
                                                           n_steps, vectors, n)
    with nogil:
        kernel.begin_step(&spec, lr)
        kernel.optimizer_update(&spec, &params[0], &grads[0], 0, n, max(1, n_threads))
