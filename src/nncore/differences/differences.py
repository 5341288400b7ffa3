"""Numerical derivatives element by element, by a scheme that the user has chosen; slopes chooses by itself.

Points are chosen here for many elements at once; evaluation has the evaluations, schemes the formulas.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import functions
from nncore.differences.arguments import bounds_of, inward
from nncore.differences.evaluation import MAX_MEMORY, Evaluator, PythonFunction, evaluator
from nncore.differences.schemes import (
    COMPLEX_STEP,
    FIVE,
    ONE_SIDED,
    POWERS,
    TWO_POINTS,
    Scheme,
    relative_step,
    ridders,
    scheme_of,
    slope,
)

Array = NDArray[Any]

# Where all of x is below this, f is asked whether it varies on the scale of x or of 1.
TINY = 1e-3
FELT = 1e-2


@dataclass(frozen=True)
class Differences:
    """Derivatives of one array's elements, and how far to trust them."""

    value: Array
    rounding: Array  # estimated error by the rounding of f; NaN where only differences are wanted
    n_evaluations: int


def differences(
    f: Any,
    x: Any,
    h: float | None = None,
    method: str = "central",
    *,
    order: int = 2,
    noise: float = 1.0,
    bounds: Any = None,
    key: Any = None,
    name: str = "x",
    elements: Any = None,
    arrays: bool = False,
    max_memory: int = MAX_MEMORY,
    **how: Any,
) -> Differences:
    """Return the derivatives of f by the elements of one float array, x or x[key].

    The arrays of the result have its shape, or (len(elements),) where only some are asked for by their index in C
    order; with arrays=True the shape of what f returns follows. how: vectorized, n_jobs, n_threads as evaluator has
    them.
    """
    scheme = scheme_of(method, order, h, noise)
    fn = evaluator(f, x, key, name=name, arrays=arrays, complex_step=method == "complex", max_memory=max_memory, **how)
    limits = bounds_of(bounds, fn.x, name)
    wanted = np.arange(fn.x.size) if elements is None else np.asarray(elements, dtype=np.intp)
    shape = fn.x.shape if elements is None else wanted.shape
    with fn.watched() as watch:
        f0 = fn.start() if fn.x.size or arrays else np.zeros(())
        watch.expect_unchanged("f")
        result = _Result(wanted.size, f0.shape)
        short = scheme.kind in TWO_POINTS and elements is None and not (arrays or limits)
        if wanted.size and short and type(fn) is PythonFunction and fn.x.dtype in checks.FLOATS and fn.x.dtype.isnative:
            _fill_by_two_points(fn, f0, scheme, result)
        elif wanted.size:
            with np.errstate(all="ignore"):
                plan = _Plan(fn, f0, scheme, limits)
                # points, values and intermediate results: about 16 numbers per point
                rows = max(1, max_memory // (128 * len(FIVE) * max(1, f0.size)))
                for first in range(0, wanted.size, rows):
                    plan.fill(wanted[first : first + rows], result, first)
        watch.expect_unchanged("f")
    return result.differences((*shape, *f0.shape), fn.n_evaluations)


def _fill_by_two_points(fn: PythonFunction, f0: Array, scheme: Scheme, result: "_Result") -> None:
    """Fill in differences alone of a Python function, wholly in C; a plan costs more than f where x is small."""
    error = max(fn.eps, float(np.finfo(fn.x.dtype).eps)) * scheme.noise
    size = typical_size(fn, f0, error, None, scheme)
    up, down = TWO_POINTS[scheme.kind]
    step = relative_step(error, POWERS[scheme.kind])
    functions.two_points(fn.f, fn.argument, fn.x, float(f0), scheme.h, step, size, up, down, result.value, fn.name)
    fn.n_evaluations += (up + down) * fn.x.size


class _Result:
    """Arrays that are filled block by block."""

    def __init__(self, n: int, shape: tuple[int, ...]):
        self.value, self.rounding = (np.full((n, *shape), np.nan) for _ in range(2))

    def differences(self, shape: tuple[int, ...], n_evaluations: int) -> Differences:
        """Return the arrays in their final shape."""
        return Differences(self.value.reshape(shape), self.rounding.reshape(shape), n_evaluations)


class _Plan:
    """Steps and sides of every element, and the evaluation of some of them."""

    def __init__(self, fn: Evaluator, f0: Array, scheme: Scheme, limits: tuple[Array, Array] | None):
        self.fn, self.f0, self.scheme = fn, f0, scheme
        self.x = np.array(fn.x, dtype=fn.x.dtype.newbyteorder("=")).reshape(-1)
        self.wide: Any = np.result_type(self.x.dtype, np.float64)
        self.nodes = scheme.nodes
        self.error = max(fn.eps, float(np.finfo(self.x.dtype).eps)) * scheme.noise  # of f, relative
        self.low, self.high = inward(limits, self.x)
        if scheme.method != "complex":
            size = typical_size(fn, f0, self.error, None if limits is None else (self.low, self.high), scheme)
            self.scale = np.maximum(np.abs(self.x).astype(np.float64), size)
            self.h = self._steps(scheme.kind)
            self.side = self._sides()

    def _steps(self, kind: str) -> Array:
        if self.scheme.h:
            return np.full(self.x.size, self.scheme.h)
        step: Array = relative_step(self.error, POWERS[kind]) * self.scale
        return step

    def _sides(self) -> Array:
        """Return 0 where the points fit between the bounds, else the side with more room; sets the step there."""
        up, down = ((self.high - self.x).astype(np.float64), (self.x - self.low).astype(np.float64))
        fits = (max(self.nodes) * self.h <= up) & (-min(self.nodes) * self.h <= down)
        side = np.where(fits, 0.0, np.where(up >= down, 1.0, -1.0))
        self.h = np.where(fits, self.h, np.minimum(self._steps("central"), np.maximum(up, down)))
        return side

    def fill(self, elements: NDArray[np.intp], result: _Result, first: int) -> None:
        """Put the derivatives by these elements into result, from row first on."""
        rows = np.arange(first, first + len(elements))
        if self.scheme.method == "complex":
            self._fill_complex(elements, result, rows)
            return
        at_bound = self.side[elements] != 0
        if not at_bound.any():
            self._fill_inside(elements, result, rows)
            return
        self._fill_inside(elements[~at_bound], result, rows[~at_bound])
        self._fill_at_bound(elements[at_bound], result, rows[at_bound])

    def _evaluated(self, elements: NDArray[np.intp], nodes: Array) -> tuple[Array, Array]:
        """Return the steps taken, after rounding, and the values there: both (rows, n_points, *f_shape)."""
        x = self.x[elements, None].astype(self.wide)
        points = np.clip((x + nodes * self.h[elements, None]).astype(self.x.dtype), *self._bounds(elements))
        values = self.fn.each(elements, points)
        taken = (points.astype(self.wide) - x).astype(np.float64)
        return taken.reshape(*taken.shape, *[1] * self.f0.ndim), values

    def _bounds(self, elements: NDArray[np.intp]) -> tuple[Array, Array]:
        return (
            self.low[elements, None] if self.low.ndim else self.low,
            self.high[elements, None] if self.high.ndim else self.high,
        )

    def _fill_inside(self, elements: NDArray[np.intp], result: _Result, rows: NDArray[np.intp]) -> None:
        if not elements.size:
            return
        t, values = self._evaluated(elements, np.array(self.nodes))
        rise = values - self.f0
        kind = self.scheme.kind
        if kind == "richardson":
            value, amplified = ridders(t, rise)
        elif kind == "order 4":
            value, amplified = slope(t, rise, (0, 1, 2, 3))
        else:
            columns = (0, 1) if kind == "central" else (0,)
            value, amplified = slope(t, rise, columns, through_x=kind != "central")
        self._store(result, rows, values, value, amplified)

    def _fill_at_bound(self, elements: NDArray[np.intp], result: _Result, rows: NDArray[np.intp]) -> None:
        """Fill in (-3 f(x) + 4 f(x + h/2) - f(x + h)) / h, towards the inside."""
        t, values = self._evaluated(elements, np.array(ONE_SIDED) * self.side[elements, None])
        value, amplified = slope(t, values - self.f0, (0, 1), through_x=True)
        self._store(result, rows, values, value, amplified)

    def _fill_complex(self, elements: NDArray[np.intp], result: _Result, rows: NDArray[np.intp]) -> None:
        """Fill in Im f(x + ih) / h: W. Squire, G. Trapp, SIAM Review 40 (1998), 110."""
        x = self.x[elements, None]
        h = np.full(x.shape, self.scheme.h) if self.scheme.h else COMPLEX_STEP * np.maximum(1, np.abs(x.real))
        values = self.fn.each(elements, x + 1j * h)
        value = values[:, 0].imag / h.reshape(h.shape[:1] + (1,) * self.f0.ndim)
        size = np.maximum(1, np.abs(x.real)).reshape(h.shape[:1] + (1,) * self.f0.ndim)
        # terms that cancel within the derivative are at most about f over x
        self._store(result, rows, values, value, np.ones_like(value) / size)

    def _store(self, result: _Result, rows: NDArray[np.intp], values: Array, value: Array, amplified: Array) -> None:
        """Store derivatives; amplified: the sum of the weights' sizes, by which f's rounding reaches them."""
        result.value[rows] = value
        size = np.maximum(np.abs(values).max(axis=1), np.abs(self.f0))
        # rounding within x adds a relative eps of the derivative
        result.rounding[rows] = self.error * (amplified * size + np.abs(value))


def typical_size(fn: Evaluator, f0: Array, error: float, limits: tuple[Array, Array] | None, scheme: Scheme) -> float:
    """Return the size below which steps get no smaller: 1, or that of x where x is tiny and f varies on its scale.

    An x of 1e-8 may be lengths in metres, or weights that are nearly zero: one step along x, with random signs, tells.
    """
    largest = float(np.max(np.abs(fn.x)))
    if scheme.h or not 0 < largest < TINY:
        return 1.0
    x, step = fn.x.copy(), relative_step(error, POWERS["central"])
    along = step * np.random.default_rng(0).choice([-1.0, 1.0], size=x.shape)
    try:
        moved = []
        for factor in (1 + along, 1 - along):
            point = x * factor
            fn.x[...] = (
                point
                if limits is None
                else np.clip(point, *(np.broadcast_to(b, x.size).reshape(x.shape) for b in limits))
            )
            moved.append(fn.call())
    finally:
        fn.x[...] = x
    felt = np.abs(moved[0] - moved[1]) / (2 * step) >= FELT * np.abs(f0)
    return largest if bool(np.any(felt & (moved[0] != moved[1]))) else 1.0
