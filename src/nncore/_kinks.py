"""Kinks of a function, found by its values at five points: x, and half a step and a whole step on both sides.

A curve's slope changes evenly from one interval to the next, a kink changes it in one interval, or two neighbours if it
lies between the points, and leaves one side of x straight. A function that wiggles faster than the step (sin(1e6 x))
changes everywhere. What looks like a kink is looked at again at other points of the straight side.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore._evaluation import Evaluator

Array = NDArray[Any]

UNEVEN = 0.1  # of the largest change of slope: below, the changes are those of a parabola
STRAIGHT = 0.02  # of the largest change of slope: a side that changes less is straight
SMALLEST = 1e-4  # of the slope: a kink below this costs less than the check resolves
NOISE = 100.0  # times f's rounding over the step: changes of slope below are noise
CONFIRM = (0.125, 0.375, 0.75)  # the points, in steps, of the second look


def kinks(
    fn: Evaluator,
    f0: Array,
    elements: NDArray[np.intp],
    x: Array,
    h: Array,
    error: float,
    t: Array,
    values: Array,
) -> NDArray[np.bool_]:
    """Whether f has a kink within h of x, by element.

    t, values: steps and values in the order 1, -1, 1/2, -1/2 (and finer ones, ignored); error: f's, relative.
    """
    order = [1, 3, 2, 0]
    at = np.insert(t[:, order], 2, 0.0, axis=1)
    f = np.insert(values[:, order], 2, float(f0), axis=1)
    slopes = np.diff(f, axis=1) / np.diff(at, axis=1)
    change = np.diff(slopes, axis=1)
    largest = np.abs(change).max(axis=1)
    noise = error * np.abs(f).max(axis=1) / h
    uneven = np.abs(change - change.mean(axis=1, keepdims=True)).max(axis=1) > UNEVEN * largest
    clear = (largest > SMALLEST * np.abs(slopes).max(axis=1)) & (largest > NOISE * noise)
    small = STRAIGHT * largest + 4 * noise
    left, right = np.abs(change[:, 0]) <= small, np.abs(change[:, 2]) <= small
    found: NDArray[np.bool_] = np.isfinite(f).all(axis=1) & uneven & clear & (left | right)
    if found.any():
        i = np.flatnonzero(found)
        found[i] = (left[i] & _straight(fn, f0, elements[i], x[i], -h[i], slopes[i, 1], small[i], noise[i])) | (
            right[i] & _straight(fn, f0, elements[i], x[i], h[i], slopes[i, 2], small[i], noise[i])
        )
    return found


def _straight(
    fn: Evaluator, f0: Array, elements: NDArray[np.intp], x: Array, h: Array, slope: Array, small: Array, noise: Array
) -> NDArray[np.bool_]:
    """Whether f keeps this slope at more points of the side to which h leads."""
    points = (x[:, None] + np.array(CONFIRM) * h[:, None]).astype(x.dtype)
    taken = (points - x[:, None]).astype(np.float64)
    rise = fn.each(elements, points) - f0
    off = np.abs(rise / taken - slope[:, None])
    result: NDArray[np.bool_] = (off <= small[:, None] + 2 * noise[:, None] / np.array(CONFIRM)).all(axis=1)
    return result
