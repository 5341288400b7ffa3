"""JAX: lax.scan over an epoch, and predictions, compiled once, before the clock starts."""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import Entry, Outcome, Run, predicted
from benchmarks.problem import Problem

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


ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def _logits(problem: Problem, params: Any, x: Any) -> Any:
    for W, b in params[:-1]:
        x = ACTIVATIONS[problem.job.activation](x @ W + b)
    W, b = params[-1]
    return x @ W + b


def _train_loss(problem: Problem, params: Any, x: Any, t: Any) -> Any:
    return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(_logits(problem, params, x)), axis=-1))


def _sgd(lr: float) -> tuple[Any, Any]:
    """Its state before the first step, and the update of (params, state) by gradients."""

    def update(params: Any, state: Any, grads: Any) -> Any:
        return jax.tree.map(lambda p, g: p - lr * g, params, grads), state

    return lambda params: (), update


def _adam(lr: float) -> tuple[Any, Any]:
    """As _sgd; the state is both averages and the powers of the betas."""

    def first(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros, jnp.ones(2, params[0][0].dtype)

    def update(params: Any, state: Any, grads: Any) -> Any:
        m, v, powers = state
        powers = powers * jnp.array([0.9, 0.999], powers.dtype)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
        rate, scale = lr / (1 - powers[0]), jnp.sqrt(1 - powers[1])
        new = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / scale + 1e-8), params, m, v)
        return new, (m, v, powers)

    return first, update


def _prepare(loss: Any, problem: Problem, single: bool) -> Run:
    first, update = {"sgd": _sgd, "adam": _adam}[problem.job.optimizer](problem.job.lr)

    def epoch(carry: Any, x: Any, t: Any, samples: Any) -> Any:
        def step(carry: Any, i: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(carry[0], x[i], t[i])
            return update(*carry, grads), value

        return jax.lax.scan(step, carry, samples)

    def samples(steps: int) -> Any:
        batches = problem.batches(steps).astype(np.int32)
        return batches[:, 0] if single else batches

    x, t = jnp.asarray(problem.x), jnp.asarray(problem.targets)
    params = jax.tree.map(jnp.asarray, problem.start())
    carry = params, first(params)
    lengths = {problem.epoch, problem.checked}
    train = {n: jax.jit(epoch).lower(carry, x, t, samples(n)).compile() for n in lengths}

    def run(steps: int) -> Outcome:
        nonlocal carry
        index = samples(steps)
        for start in range(0, steps, problem.epoch):
            part = index[start : start + problem.epoch]
            carry, losses = train[len(part)](carry, x, t, part)
        return Outcome(float(losses[-1]), [np.asarray(a) for layer in carry[0] for a in layer], _threads())

    return run


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step: products of vectors and matrices."""
    return _prepare(_moons_loss, problem, single=True)


def mnist(problem: Problem, threads: int | None) -> Run:
    """A batch a step."""
    return _prepare(_mnist_loss, problem, single=False)


def train(problem: Problem, threads: int | None) -> Run:
    """Layers of any number, a batch a step."""
    return _prepare(partial(_train_loss, problem), problem, single=False)


def predict(problem: Problem, threads: int | None) -> Run:
    """A jitted call for each piece."""
    params = jax.tree.map(jnp.asarray, problem.start())
    last = jax.nn.softmax if problem.job.output == "softmax" else lambda a: a
    call = jax.jit(lambda params, x: last(_logits(problem, params, x)))

    def run(steps: int) -> Outcome:
        for _ in range(steps // len(problem.pieces)):
            for x in problem.pieces:
                y = np.asarray(call(params, x))
        return predicted(y, _threads())

    return run


NOTE = "compiled before the clock starts"
JOBS = {
    "moons": Entry(moons, note=NOTE),
    "mnist": Entry(mnist, note=NOTE),
    "medium": Entry(train, note=NOTE),
    "wide": Entry(train, note=NOTE),
    "predict-small": Entry(predict, note=f"{NOTE}; NumPy arrays in and out"),
    "predict": Entry(predict, note=f"{NOTE}; NumPy arrays in and out"),
    "predict-many": Entry(predict, note=f"{NOTE}; NumPy arrays in and out"),
}
