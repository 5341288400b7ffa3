"""Numba: the loops of one-sample steps written out, compiled before the clock starts."""

from typing import Any

import numba
import numpy as np

from benchmarks.peers import Entry, Outcome, Run
from benchmarks.problem import Problem


def version() -> str:
    """Version of Numba."""
    return f"numba {numba.__version__}"


@numba.njit(fastmath=True)
def forward(W: Any, b: Any, x: Any, z: Any) -> None:
    """Compute z = sigmoid(x @ W + b)."""
    n_in, n_out = W.shape
    for j in range(n_out):
        z[j] = b[j]
    for i in range(n_in):
        for j in range(n_out):
            z[j] += x[i] * W[i, j]
    for j in range(n_out):
        z[j] = 1 / (1 + np.exp(-z[j]))


@numba.njit(fastmath=True)
def backward(W: Any, da: Any, z: Any, da_in: Any) -> None:
    """Compute da_in = (W @ da) * z * (1 - z)."""
    n_in, n_out = W.shape
    for i in range(n_in):
        dz = W.dtype.type(0)
        for j in range(n_out):
            dz += W[i, j] * da[j]
        da_in[i] = dz * z[i] * (1 - z[i])


@numba.njit(fastmath=True)
def update(W: Any, b: Any, x: Any, da: Any, lr: Any) -> None:
    """Change W by -lr * outer(x, da), b by -lr * da."""
    n_in, n_out = W.shape
    for i in range(n_in):
        for j in range(n_out):
            W[i, j] -= lr * x[i] * da[j]
    for j in range(n_out):
        b[j] -= lr * da[j]


@numba.njit(fastmath=True)
def train(W: Any, b: Any, z: Any, da: Any, x: Any, t: Any, samples: Any, lr: Any) -> float:
    """One update a sample; W, b, z, da are tuples with an array a layer. Returns the last loss."""
    last = len(W) - 1
    loss = 0.0
    for s in samples:
        forward(W[0], b[0], x[s], z[0])
        for k in range(1, last + 1):
            forward(W[k], b[k], z[k - 1], z[k])
        loss = 0.0
        for j in range(len(z[last])):
            y = z[last][j]
            loss += 0.5 * (y - t[s, j]) ** 2
            da[last][j] = (y - t[s, j]) * y * (1 - y)
        for k in range(last, 0, -1):
            backward(W[k], da[k], z[k - 1], da[k - 1])
        update(W[0], b[0], x[s], da[0], lr)
        for k in range(1, last + 1):
            update(W[k], b[k], z[k - 1], da[k], lr)
    return loss


def moons(problem: Problem, threads: int | None) -> Run:
    """One sample a step."""
    W, b = zip(*problem.start(), strict=True)
    z, da = (tuple(np.empty_like(bias) for bias in b) for _ in range(2))
    x, targets, lr = problem.x, problem.targets, problem.dtype.type(problem.job.lr)
    train(W, b, z, da, x, targets, problem.batches(0)[:, 0], lr)

    def run(steps: int) -> Outcome:
        loss = train(W, b, z, da, x, targets, problem.batches(steps)[:, 0], lr)
        return Outcome(loss, [a for layer in zip(W, b, strict=True) for a in layer], 1)

    return run


JOBS = {"moons": Entry(moons, note="compiled before the clock starts, fastmath")}
