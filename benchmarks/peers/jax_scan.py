"""JAX: lax.scan over an epoch, compiled once, before the clock starts."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jobs import Problem
from benchmarks.peers import Entry, Outcome, Run

# Without it JAX has no float64; float32 stays float32.
jax.config.update("jax_enable_x64", True)


def version() -> str:
    """Version of JAX."""
    return f"jax {jax.__version__}"


def _threads() -> int:
    """XLA takes the CPUs that the process may use when it starts, and cannot be told otherwise."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _moons_loss(params: Any, x: Any, t: Any) -> Any:
    for W, b in params:
        x = jax.nn.sigmoid(x @ W + b)
    return 0.5 * jnp.sum((x - t) ** 2)


def _mnist_loss(params: Any, x: Any, t: Any) -> Any:
    (W1, b1), (W2, b2) = params
    logits = jax.nn.sigmoid(x @ W1 + b1) @ W2 + b2
    return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(logits), axis=-1))


def _prepare(loss: Any, problem: Problem, single: bool) -> Run:
    lr = problem.job.lr

    def epoch(params: Any, x: Any, t: Any, samples: Any) -> Any:
        def step(params: Any, i: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(params, x[i], t[i])
            return jax.tree.map(lambda p, g: p - lr * g, params, grads), value

        return jax.lax.scan(step, params, samples)

    def samples(steps: int) -> Any:
        batches = problem.batches(steps).astype(np.int32)
        return batches[:, 0] if single else batches

    x, t = jnp.asarray(problem.x), jnp.asarray(problem.targets)
    params = jax.tree.map(jnp.asarray, problem.start())
    train = jax.jit(epoch).lower(params, x, t, samples(problem.epoch)).compile()

    def run(steps: int) -> Outcome:
        nonlocal params
        index = samples(steps)
        for first in range(0, steps, problem.epoch):
            params, losses = train(params, x, t, index[first : first + problem.epoch])
        return Outcome(float(losses[-1]), [np.asarray(a) for layer in params for a in layer], _threads())

    return run


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step: products of vectors and matrices."""
    return _prepare(_moons_loss, problem, single=True)


def mnist(problem: Problem, threads: int | None) -> Run:
    """A batch a step."""
    return _prepare(_mnist_loss, problem, single=False)


NOTE = "compiled before the clock starts"
JOBS = {"moons": Entry(moons, note=NOTE), "mnist": Entry(mnist, note=NOTE)}
