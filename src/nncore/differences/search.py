"""The state of a search for slopes: the steps taken so far, the slopes over them, and what is known of each element."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.differences import noise as noise_of
from nncore.differences.arguments import inward_at
from nncore.differences.evaluation import Array, Evaluator
from nncore.differences.extrapolation import both_or_one

Mask = NDArray[np.bool_]

SHORTEST = 16.0  # steps are this many units in the last place of x at least
STEP = 2.0**-20  # of |x|, where nothing else is known
WIDE_STEP = 2.0**-8  # of |x|: the longest step at first, and that of an element whose gradient should be 0
SEEN = 2.0**17  # f should rise by this many times its noise over a first step
SMALL_RISE = 1e-6  # of f itself
COARSE = 8.0  # times the rounding of f(x): noise above has another cause

OPEN, SMOOTH, KINK, JUMP, NOISY, DRIFTS = range(6)


class Search:
    """Steps and slopes of some elements of fn.x, one row per element; state is one of OPEN to DRIFTS for each.

    The arguments are those of slopes.
    """

    def __init__(
        self, fn: Evaluator, f0: Array, elements: NDArray[np.intp], expected: Array | None, noise: float, rtol: float,
        typical: float, h: float | None, limits: tuple[Array, Array] | None,
    ):  # fmt: skip
        self.fn, self.f0, self.elements, self.rtol = fn, float(f0), elements, rtol
        base = np.array(fn.x, dtype=fn.x.dtype.newbyteorder("=")).reshape(-1)
        self.x = base[elements]
        n = len(elements)
        self.wide: Any = np.result_type(base.dtype, np.float64)
        self.size = np.abs(self.x).astype(np.float64)
        self.scale = np.maximum(self.size, typical)
        self.shortest = SHORTEST * np.spacing(np.where(self.x == 0, base.dtype.type(typical), self.x)).astype(float)
        self.shortest = np.where(self.x == 0, np.finfo(base.dtype).tiny * 2.0**30, np.abs(self.shortest))
        self.expected = None if expected is None else np.asarray(expected, np.float64).reshape(-1)
        self.noise = np.full(n, max(float(noise), float(noise_of.floor(fn, f0))))
        self.low, self.high = inward_at(limits, base, elements)
        self.state = np.zeros(n, np.int8)
        self.h = self._first_steps(typical) if h is None else np.maximum(h, self.shortest)
        self.steps = np.empty((n, 0))  # of each round; NaN where an element had none
        self.up, self.down = np.empty((n, 0)), np.empty((n, 0))  # slopes of the two sides
        self.size_of_f = np.empty((n, 0))  # the largest value of f there
        self.settled = np.full((n, 3), np.nan)  # value, truncation, rounding that shorter steps have settled
        self.matters = [0.0, 0.0]  # the smallest slope that matters, also times the size of its element

    def _first_steps(self, typical: float) -> Array:
        """Return steps over which f rises well above its noise by the expected gradient, short beside x."""
        most = WIDE_STEP * self.scale
        if self.expected is None:
            return np.where(self.size > 0, self.size, typical) / 64
        g = np.abs(self.expected)
        usual = float(np.median(g[g > 0])) if (g > 0).any() else 0.0
        seen = SEEN * self.noise / np.where(g > 0, g, usual if usual else np.inf)
        sized = np.where(self.size > 0, self.size, typical)
        # an x of 0 has no size of its own: f's noise has to say how long a step is, unless f has none either
        own = np.where(g == 0, WIDE_STEP * sized, STEP * (self.size if self.f0 else sized))
        # f itself hardly moves where it rises by so many times its rounding: the largest gradient says how long that is
        small_rise = SEEN * self.noise <= SMALL_RISE * abs(self.f0)
        most = np.where(small_rise, np.fmax(most, SEEN * self.noise / (float(g.max(initial=0.0)) or np.inf)), most)
        steps = np.minimum(np.fmax(own, seen), most)
        result: Array = np.maximum(steps, self.shortest)
        return result

    def scale_of_x(self) -> Array:
        """Return the size of every element, of those that are 0 the typical one."""
        return np.asarray(np.where(self.size > 0, self.size, self.scale))

    def evaluate(self, rows: NDArray[np.intp], h: Array) -> None:
        """Add a round: the slopes of both sides over these steps of these rows."""
        x = self.x[rows].astype(self.wide)
        with np.errstate(all="ignore"):
            points = np.stack([x + h, x - h], axis=1).astype(self.x.dtype)
        inside = (points >= self.low[rows, None]) & (points <= self.high[rows, None])
        points = np.where(inside, points, self.x[rows, None])
        values = self.fn.each(self.elements[rows], points)
        taken = (points.astype(self.wide) - x[:, None]).astype(np.float64)
        sides = np.where(inside & np.isfinite(values) & (taken != 0), (values - self.f0) / taken, np.nan)
        column = np.full((len(self.x), 4), np.nan)
        size = np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=1)
        column[rows] = np.stack([h, sides[:, 0], sides[:, 1], size], axis=1)
        self.steps, self.up, self.down, self.size_of_f = (
            np.concatenate([old, new[:, None]], axis=1)
            for old, new in zip((self.steps, self.up, self.down, self.size_of_f), column.T, strict=True)
        )

    def roughness(self, rows: Any, size: Array) -> Array:
        """Return the noise of f where it has values of this size."""
        noise = self.noise[rows]
        least = noise_of.SMALLEST * self.fn.eps * size
        return np.asarray(np.maximum(noise[:, None] if size.ndim == 2 else noise, least))

    def is_immaterial(self, rows: NDArray[np.intp], uncertain: Array) -> Mask:
        """Return where all that the uncertainty can hide is too small to matter, also by the size of the element."""
        result: Mask = (uncertain <= self.matters[0]) & (uncertain * self.scale_of_x()[rows] <= self.matters[1])
        return result

    def is_coarse(self, rows: NDArray[np.intp]) -> Mask:
        """Return where f is coarser than its float type: a step that moves nothing tells little of it."""
        result: Mask = self.noise[rows] > COARSE * noise_of.floor(self.fn, np.asarray(self.f0))
        return result

    def ascending(self, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """Return ascending steps, the slopes of both sides, and f's noise; rounds that left out a row come last."""
        steps = np.where(np.isfinite(self.up[rows]) | np.isfinite(self.down[rows]), self.steps[rows], np.nan)
        order = np.argsort(steps, axis=1)
        noise = self.roughness(rows, self.size_of_f[rows])
        steps, up, down, noise = (
            np.take_along_axis(a, order, 1) for a in (steps, self.up[rows], self.down[rows], noise)
        )
        return steps, up, down, noise

    def best(self, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """Return slope, truncation, rounding and step: the entry of the extrapolation table with the smallest error."""
        steps, up, down, noise = self.ascending(rows)
        return both_or_one(steps, up, down, noise / steps)
