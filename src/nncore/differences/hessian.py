"""Second derivatives, each with a step that its own size and the noise of f ask for, and with errors that hold.

A second difference over h has the noise of f over h**2 and a truncation that grows as h**2. Along every element a
ladder of steps is tried; mixed derivatives take the steps that served the two elements, and longer ones where noise
hides them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.differences import noise as noise_of
from nncore.differences.evaluation import Array, Evaluator, evaluator, median_size

SHORTEST = 2.0**-28  # of an element
RATIO = 8.0
STEPS = 12  # the longest is 32 times the element
SECOND = 2.5  # noise of f(x + h) - 2 f(x) + f(x - h)
MIXED = 2.0  # noise of four values
DEVIATIONS = 3.0  # of the noise, which is measured to a factor of two
LONGER = 3  # longer steps where noise hides a mixed derivative
CLEAR = 0.01  # of a derivative: noise above hides it


def second_differences(f: Any, x: Any, h: float | None, *, noise: float | None, **how: Any) -> tuple[Array, Array]:
    """Return the second derivatives by the elements of x in C order, symmetric to the last bit, and their errors."""
    fn = evaluator(f, x, **how)
    n = fn.x.size
    hessian, errors = np.zeros((n, n)), np.zeros((n, n))
    if n == 0:
        return hessian, errors
    h = None if h is None else checks.positive_float(h, "h")
    noise = None if noise is None else checks.positive_float(noise, "noise")
    with fn.watched() as watch, np.errstate(all="ignore"):
        f0 = fn.start()
        watch.expect_unchanged("f")
        level = noise_of.measure(fn, f0, median_size(fn.x)) if noise is None else noise * fn.eps * abs(float(f0))
        matrix = _Matrix(fn, float(f0), float(level), h)
        hessian[np.diag_indices(n)], errors[np.diag_indices(n)], steps = matrix.diagonal()
        for i in range(n - 1):
            later = np.arange(i + 1, n)
            hessian[i, later], errors[i, later] = matrix.row(i, later, steps)
            hessian[later, i], errors[later, i] = hessian[i, later], errors[i, later]
        watch.expect_unchanged("f")
    return hessian, np.where(np.isnan(errors), np.inf, errors)


class _Matrix:
    """Second differences of f around x, with the noise of f in them."""

    def __init__(self, fn: Evaluator, f0: float, level: float, h: float | None):
        self.fn, self.f0, self.level, self.h = fn, f0, level, h
        self.base = np.array(fn.x, dtype=fn.x.dtype.newbyteorder("=")).reshape(-1)
        self.wide: Any = np.result_type(self.base.dtype, np.float64)
        size = np.abs(self.base).astype(np.float64)
        self.size = np.where(size > 0, size, median_size(self.base))

    def points(self, elements: NDArray[np.intp], h: Array) -> tuple[Array, Array]:
        """Return the points x + h and x - h of these elements, and the steps that rounding left."""
        x = self.base[elements].astype(self.wide)
        points = np.stack([x + h, x - h], axis=1).astype(self.base.dtype)
        return points, (points.astype(self.wide) - x[:, None]).astype(np.float64)

    def diagonal(self) -> tuple[Array, Array, Array]:
        """Return f'' by every element, its error and the step that gave it: the one of the smallest error."""
        elements = np.arange(self.base.size)
        if self.h is not None:
            steps = np.full((elements.size, 2), self.h) / [1, 2]
        else:
            steps = self.size[:, None] * SHORTEST * RATIO ** np.arange(STEPS)
        values, noise = np.empty(steps.shape), np.empty(steps.shape)
        for k in range(steps.shape[1]):
            points, t = self.points(elements, steps[:, k])
            rise = self.fn.each(elements, points) - self.f0
            width = t[:, 0] - t[:, 1]
            values[:, k] = np.where(width == 0, 0.0, 2 * (rise[:, 0] / t[:, 0] - rise[:, 1] / t[:, 1]) / width)
            size = noise_of.SMALLEST * self.fn.eps * np.abs(rise + self.f0).max(axis=1)
            noise[:, k] = SECOND * np.maximum(self.level, size) / np.square(width / 2)
        if self.h is not None:
            return values[:, 0], 2 * np.abs(values[:, 0] - values[:, 1]) + DEVIATIONS * noise[:, 0], steps[:, 0]
        return _best(values, noise, steps)

    def row(self, i: int, later: NDArray[np.intp], steps: Array) -> tuple[Array, Array]:
        """Return mixed derivatives by element i and later ones, and their errors."""
        value, noise = self._mixed(i, later, steps[i], steps[later])
        # over twice the step truncation is four times as large, and noise a quarter: their difference tells
        other = np.full(len(later), np.nan) if self.h else self._mixed(i, later, 2 * steps[i], 2 * steps[later])[0]
        error = np.abs(other - value) / 2 + DEVIATIONS * noise
        short = np.flatnonzero(~np.isfinite(error))
        if short.size:
            other[short] = self._mixed(i, later[short], steps[i] / 2, steps[later[short]] / 2)[0]
            error[short] = 2 * np.abs(other - value)[short] + DEVIATIONS * noise[short]
        if self.h is None:
            hidden = ~(error <= CLEAR * np.abs(value)) & ((value != 0) | (other != 0))
            self._longer(i, later, steps, np.flatnonzero(hidden), value, error, noise)
        return value, error

    def _longer(
        self, i: int, later: NDArray[np.intp], steps: Array, hidden: NDArray[np.intp], value: Array, error: Array,
        noise: Array,
    ) -> None:  # fmt: skip
        """Look again, in place, with longer steps where noise hides a mixed derivative."""
        if not hidden.size:
            return
        columns, factors = later[hidden], RATIO ** np.arange(LONGER + 1)
        found = [(value[hidden], noise[hidden])]
        found += [self._mixed(i, columns, factor * steps[i], factor * steps[columns]) for factor in factors[1:]]
        values, noises = (np.stack(part, axis=1) for part in zip(*found, strict=True))
        longer, off, _ = _best(values, noises, np.broadcast_to(factors, values.shape))
        better = off < error[hidden]
        value[hidden[better]], error[hidden[better]] = longer[better], off[better]

    def _mixed(self, i: int, later: NDArray[np.intp], own: float, theirs: Array) -> tuple[Array, Array]:
        """Return differences over four points, and their noise."""
        (points_i,), (t_i,) = self.points(np.array([i]), np.array([own]))
        points, t = self.points(later, theirs)
        up, down = (_with(self.fn, i, point, later, points) for point in points_i)
        area = (t_i[0] - t_i[1]) * (t[:, 0] - t[:, 1])
        value = np.where(area == 0, 0.0, ((up[:, 0] - up[:, 1]) - (down[:, 0] - down[:, 1])) / area)
        size = noise_of.SMALLEST * self.fn.eps * np.maximum(np.abs(up), np.abs(down)).max(axis=1)
        return value, np.where(area == 0, 0.0, MIXED * np.maximum(self.level, size) / np.abs(area))


def _best(values: Array, noise: Array, steps: Array) -> tuple[Array, Array, Array]:
    """Return value, error and step of the smallest error in each row: noise, and the change to the next longer step."""
    change = np.abs(np.diff(values, axis=1)) / RATIO
    change[:, :-1] = np.fmax(change[:, :-1], change[:, 1:] / RATIO**2)  # two values may agree by chance
    error = change + noise[:, :-1]
    error = np.where(np.isfinite(error), error, np.inf)
    for shorter in range(error.shape[1]):
        # the value over a shorter step, but for its noise, is nearer to the truth
        apart = np.abs(values[:, shorter + 1 : -1] - values[:, shorter, None]) - 4 * noise[:, shorter, None]
        error[:, shorter + 1 :] += np.fmax(apart, 0.0)
    best = np.argmin(error, axis=1)
    rows = np.arange(len(values))
    return values[rows, best], DEVIATIONS * error[rows, best], steps[rows, best]


def _with(fn: Evaluator, i: int, point: Any, elements: NDArray[np.intp], points: Array) -> Array:
    """Return values at these points while element i is moved too."""
    original = fn.x.flat[i]
    try:
        fn.x.flat[i] = point
        return fn.each(elements, points)
    finally:
        fn.x.flat[i] = original
