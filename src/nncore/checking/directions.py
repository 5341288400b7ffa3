"""A gradient checked along random directions: a few slopes instead of one per element."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nncore.checking.evidence import Evidence
from nncore.differences import noise as noise_of
from nncore.differences.evaluation import Array, Evaluator, median_size
from nncore.differences.slopes import slopes


class AlongDirections(Evaluator):
    """f(start + t v) for some directions v, as a function of one t each; x holds the t, all 0.

    A direction moves every element in proportion to its size, so that none is lost beside larger ones.
    """

    def __init__(self, move: Callable[[Array], float], sizes: Array, count: int, rng: np.random.Generator, eps: float):
        self.move, self.eps = move, eps
        self.x = np.zeros(count)
        self.directions = rng.standard_normal((count, sizes.size)) * sizes

    def call(self) -> Array:
        """Return f at self.x as it is now."""
        self.n_evaluations += 1
        return np.asarray(self.move(self.x @ self.directions), np.float64)

    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where the t of direction elements[r] is points[r, j]."""
        for r, element in enumerate(elements):
            for j, t in enumerate(points[r]):
                values[r, j] = self.move(t * self.directions[element])


def sizes_of(x: Array) -> Array:
    """Return the size of every element, in C order; an element of 0 has the typical one."""
    sizes = np.abs(np.asarray(x, np.float64)).reshape(-1)
    return np.where(sizes > 0, sizes, median_size(np.asarray(x, np.float64)))


def along_directions(
    move: Callable[[Array], float], sizes: Array, analytic: Array, *, count: int, h: float | None, rtol: float,
    noise: float | None, rng: np.random.Generator, eps: float,
) -> tuple[dict[str, Evidence], float, str, int]:  # fmt: skip
    """Return the evidence of so many directions, the noise of f, what they could miss in words, and the evaluations.

    move(offset): f with this vector added to its parameters, of these sizes; analytic: the gradient under test; noise:
    of f in units of its rounding, measured if None; eps: of the float type that f computes in.
    """
    fn = AlongDirections(move, sizes, count, rng, eps)
    f0 = fn.start()
    level = float(noise_of.measure(fn, f0, 1.0) if noise is None else noise * fn.eps * abs(f0))
    products = fn.directions @ analytic
    found = slopes(fn, f0, np.arange(count), products, noise=level, rtol=rtol, typical=1.0, h=h)
    evidence = Evidence(
        products, found.value, found.truncation, found.rounding, found.kink, found.nonfinite,
        np.ones(count, bool), found.jump, found.left, found.right,
    )  # fmt: skip
    # an error e has the slope e.v, about normal with deviation |e * sizes|: all directions miss it once in 100 times
    tolerance = float(np.max(evidence.tolerance(rtol, 0.0)))
    quantile = NormalDist().inv_cdf((1 + 0.01 ** (1 / count)) / 2)
    own = float(np.linalg.norm(analytic * sizes))
    missed = tolerance / quantile
    note = "A direction along which nothing is known says nothing of how small an error would have shown."
    if np.isfinite(missed):
        note = (
            f"A gradient off by {missed:.1g} or more (2-norm of what it makes of each parameter's size; its own is "
            f"{own:.2g}) would have shown in 99 of 100 such checks; a smaller error can pass."
        )
    return {"direction": evidence}, level, note, fn.n_evaluations
