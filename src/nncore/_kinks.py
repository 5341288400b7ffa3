"""Kinks of a function, found by its values at five points: x, and half a step and a whole step on both sides.

The slope of a parabola changes by the same amount from each of the four intervals to the next, that of a cubic by
amounts on a line. A kink adds a change at one place, or at two neighbours if it lies between the points, and leaves one
side of x smooth. So: one side gives the curvature, what the changes on the other side have beyond it is the kink, and
the smooth side must be that parabola at more points than it was drawn through. A function that wiggles faster than the
step (sin(1e6 x)) is a parabola on neither side.
"""

import numpy as np
from numpy.typing import NDArray

from nncore._evaluation import Array, Evaluator

SMALLEST = 1e-4  # of the slope: a kink below this costs less than the check resolves
UNEVEN = 0.1  # of the curvature's change of slope
CUBIC = 0.3  # changes of slope this near to a line are those of a cubic
SMOOTH = 0.001  # of the kink: how far the smooth side may be from its parabola
NOISE = 100.0  # times f's rounding over the step: changes of slope below are noise
SECOND_LOOK = np.array([0.125, 0.375, 0.75])  # in steps


def kinks(
    fn: Evaluator, f0: Array, elements: NDArray[np.intp], x: Array, h: Array, error: float, t: Array, values: Array
) -> NDArray[np.bool_]:
    """Whether f has a kink within h of x, by element.

    t, values: steps and values in the order 1, -1, 1/2, -1/2 (and finer ones, ignored); error: f's, relative.
    """
    order = [1, 3, 2, 0]
    at = np.insert(t[:, order], 2, 0.0, axis=1)
    f = np.insert(values[:, order], 2, float(f0), axis=1)
    noise = error * np.abs(f).max(axis=1) / h
    found = np.zeros(len(x), dtype=bool)
    # the right side smooth, then, read from right to left, the left one
    for side, points, heights in ((1.0, at, f), (-1.0, at[:, ::-1], f[:, ::-1])):
        slopes = np.diff(heights, axis=1) / np.diff(points, axis=1)
        change = np.diff(slopes, axis=1)
        far, near = change[:, 0] - change[:, 2], change[:, 1] - change[:, 2]
        kink = np.maximum(np.abs(far), np.abs(near))
        clear = (kink > SMALLEST * np.abs(slopes).max(axis=1)) & (kink > NOISE * noise)
        looks = np.isfinite(heights).all(axis=1) & clear & (kink > UNEVEN * np.abs(change[:, 2]))
        looks &= (np.abs(far - 2 * near) > CUBIC * kink) & ~found
        i = np.flatnonzero(looks)
        if i.size:
            allowed = SMOOTH * kink[i, None] + 2 * noise[i, None] / SECOND_LOOK
            found[i] = _parabola(fn, f0, elements[i], x[i], side * h[i], points[i, 3:], heights[i, 3:], allowed)
    return found


def _parabola(
    fn: Evaluator, f0: Array, elements: NDArray[np.intp], x: Array, h: Array, t: Array, f: Array, allowed: Array
) -> NDArray[np.bool_]:
    """Whether slopes from x to more points of this side are those of the parabola through x and the points t."""
    points = (x[:, None] + SECOND_LOOK * h[:, None]).astype(x.dtype)
    taken = (points - x[:, None]).astype(np.float64)
    slopes = (fn.each(elements, points) - f0) / taken
    at_half, at_one = ((f - f0) / t).T
    drawn = at_half[:, None] + (at_one - at_half)[:, None] * (taken - t[:, :1]) / (t[:, 1:] - t[:, :1])
    result: NDArray[np.bool_] = (np.abs(slopes - drawn) <= allowed).all(axis=1)
    return result
