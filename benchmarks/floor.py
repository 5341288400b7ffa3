"""The least that a dense training step costs: its matrix products, and the memory that its update touches.

Measured with BLAS in the same run, on the step's own shapes and with its threads. A step below it has left products
out, as nncore does with pixels that are 0.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers import Entry, Outcome, Run
from benchmarks.peers.numpy_reference import blas_threads
from benchmarks.problem import SEED, Array, Problem

# Numbers read and written for each parameter: p and its gradient in, p out; Adam has two averages more, in and out.
UPDATE = {"sgd": 3, "adam": 7}


def products(problem: Problem) -> list[tuple[Array, Array, Array]]:
    """The products of one step as (left, right, output): outputs, gradients by weights, by inputs but the first."""
    rng, m = np.random.default_rng(SEED), problem.job.batch_size
    z = [rng.random((m, n), dtype=np.float32) for n in problem.job.sizes]
    result = []
    for k, (W, _) in enumerate(problem.start()):
        result += [(z[k], W, np.empty_like(z[k + 1])), (z[k].T, z[k + 1], np.empty_like(W))]
        if k:
            result.append((z[k + 1], W.T, np.empty_like(z[k])))
    return result


def prepare(problem: Problem, threads: int | None) -> Run:
    """The products, and one difference, which moves three numbers an element, as long as the update's memory.

    All by NumPy: a second BLAS, SciPy's, would bring threads of its own that keep the cores busy while they wait.
    """
    n_params = sum(a.size for layer in problem.start() for a in layer)
    x, y = np.zeros((2, n_params * UPDATE[problem.job.optimizer] // 3), np.float32)
    multiplications = products(problem)

    def run(steps: int) -> Outcome:
        with threadpool_limits(threads, "blas"):
            for _ in range(steps):
                for left, right, out in multiplications:
                    np.matmul(left, right, out=out)
                np.subtract(y, x, out=y)
            return Outcome(0.0, [], blas_threads())

    return run


ENTRY = Entry(
    prepare, threads=(None, 1), comparable=False,
    note="the step's dense matrix products by BLAS, and its update's memory by a NumPy difference: no peer",
)  # fmt: skip
