"""SciPy: approx_fprime, forward differences, on the loss in NumPy."""

import numpy as np
import scipy
from scipy.optimize import approx_fprime

from benchmarks.peers import Entry, Outcome, Run
from benchmarks.peers.numpy_reference import TwoLayerNet, blas_threads, named
from benchmarks.problem import Array, H, Problem


def version() -> str:
    """Version of SciPy."""
    return f"scipy {scipy.__version__}"


def gradcheck(problem: Problem, threads: int | None) -> Run:
    """The sampled elements as one vector, which is put into the parameters for each loss."""
    arrays = named(problem)
    flat = np.concatenate([a.ravel() for a in arrays.values()])
    ends = np.cumsum([a.size for a in arrays.values()])
    views = np.split(flat, ends[:-1])
    net = TwoLayerNet({name: v.reshape(a.shape) for (name, a), v in zip(arrays.items(), views, strict=True)})
    x, targets, sample = problem.x, problem.targets, problem.sample()
    places = np.concatenate([k + end - v.size for k, end, v in zip(sample, ends, views, strict=True)])
    start = flat[places]

    def loss(values: Array) -> float:
        flat[places] = values
        return net.loss(x, targets)

    def run(steps: int) -> Outcome:
        for _ in range(steps):
            slopes = approx_fprime(start, loss, H)
        cuts = np.cumsum([len(k) for k in sample])[:-1]
        return Outcome(loss(start), np.split(slopes, cuts), blas_threads(), len(places) / flat.size)

    return run


JOBS = {
    "gradcheck": Entry(
        gradcheck, limit=1e-5, note="approx_fprime, forward: one loss an element; extrapolated as NumPy's loop"
    ),
}
