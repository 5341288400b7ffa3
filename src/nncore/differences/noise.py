"""The noise of a function: how far its values scatter about the smooth function that they stand for.

Along a few equally spaced points so near to x that the smooth function is a straight line there, differences of high
order hold nothing but noise: rounding, float32 inside, an iteration that ends early, random numbers. Sources: R. W.
Hamming, Introduction to Applied Numerical Analysis (1971), chapter 6; J. Moré, S. Wild, SIAM Journal on Scientific
Computing 33 (2011), 1292.
"""

import math

import numpy as np
from numpy.typing import NDArray

from nncore.differences.evaluation import Array, Evaluator

POINTS = np.arange(1.0, 8.0)  # in units of the spacing; on one side of x, where there may be a kink or a jump
TINIEST = 5e-324  # below, there are no numbers
SMALLEST = 0.25  # of a unit in the last place of f: rounding to the nearest has a deviation of 0.29
FIRST_BIT, COARSER = 3, 4  # powers of 2 in units of x's last place
UNSEEN = 0.07  # of a change that a step 16 times shorter did not make: the deviation of a staircase between the two
WIDEST = -10  # no point is further than 2**-10 of x
AGREE = 4.0  # deviations of neighbouring orders within this factor are noise, not a trend


def floor(fn: Evaluator, f0: Array) -> Array:
    """Return the rounding that every value of this type and size has at least."""
    return np.maximum(SMALLEST * fn.eps * np.abs(f0), TINIEST)


def measure(fn: Evaluator, f0: Array, typical: float, limits: tuple[Array, Array] | None = None) -> Array:
    """Return the noise of f near x, as a standard deviation; every element of x moves at once.

    f0: f(x); typical: the size of an x that is 0; limits: arrays of x's shape that x stays between. Seven evaluations,
    more where f is coarse. A function that is not finite around x has the rounding of f(x) for its noise.
    """
    if not fn.x.size:
        return floor(fn, f0)
    x = fn.x.copy()
    rng = np.random.default_rng(0)
    # elements of 0 stay where others are not 0: nobody knows their size
    unit = np.where((x == 0) & (x != 0).any(), 0, np.spacing(np.where(x == 0, x.dtype.type(typical), np.abs(x))))
    random = rng.choice([-1.0, 1.0], size=x.shape)
    directions = [random, np.ones_like(random), -np.ones_like(random)]
    if limits is not None:
        directions = [np.where(limits[1] - x >= x - limits[0], 1.0, -1.0)]
    finest = np.finfo(x.dtype).nmant + WIDEST
    try:
        for signs in directions:
            bit = min(FIRST_BIT, finest)
            while True:
                # odd multiples of x's units are exact, and on no grid of a shorter type
                odd = 2.0**bit + 2 * rng.integers(0, max(1, 2 ** (bit - 1)), size=x.shape) + 1
                row: list[Array] = []
                for k in POINTS:
                    moved = x + (k * odd * unit * signs).astype(x.dtype)
                    fn.x[...] = moved if limits is None else np.clip(moved, *limits)
                    watch = fn.watched()
                    row.append(fn.call().astype(np.float64))
                    watch.expect_unchanged("f")
                    if len(row) == 2 and bit < finest and (row[0] == row[1]).all():
                        break
                if bit == finest or (
                    len(row) == len(POINTS) and np.count_nonzero(np.diff(row, axis=0)) >= np.size(row) / 2
                ):
                    break
                # f does not see so short a step, or as a staircase
                bit = min(bit + COARSER, finest)
            if np.isfinite(row).all():
                if bit > FIRST_BIT and limits is None and _flat(fn, f0, x, -odd * unit * signs):
                    break  # no noise is on one side of x only: f bends within the points
                stairs = UNSEEN * np.abs(row[1] - row[0]) if bit > FIRST_BIT else 0.0
                return np.maximum(np.maximum(scatter(np.stack(row, axis=-1)), stairs), floor(fn, f0))
    finally:
        fn.x[...] = x
    return floor(fn, f0)


def _flat(fn: Evaluator, f0: Array, x: Array, step: Array) -> bool:
    """Whether f is f(x) at the points on this side of x; one evaluation where it is not."""
    for k in POINTS:
        fn.x[...] = x + (k * step).astype(x.dtype)
        watch = fn.watched()
        value = fn.call()
        watch.expect_unchanged("f")
        if not (value == f0).all():
            return False
    return True


def by_element(fn: Evaluator, f0: Array, elements: NDArray[np.intp], x: Array, step: Array) -> Array:
    """Return the noise of f where one element moves, a row each: seven evaluations an element at multiples of step.

    NaN where f is not finite, or stands still on most of the way.
    """
    values = fn.each(elements, (x[:, None] + POINTS * step[:, None]).astype(x.dtype))
    varied = np.count_nonzero(np.diff(values, axis=1), axis=1) >= len(POINTS) / 2
    tells = varied & np.isfinite(values).all(axis=1)
    return np.where(tells, np.maximum(scatter(values), floor(fn, f0)), np.nan)


def scatter(row: Array) -> Array:
    """Return the standard deviation of the noise in values at equally spaced points, along the last axis.

    Noise of deviation s gives differences of order k the mean square s**2 (2k)! / (k!)**2. Of the orders that agree
    with the next two, the first tells most; where none do, the values have a trend still, and the highest orders have
    the least of it.
    """
    size = np.maximum(np.abs(row).max(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    difference = np.asarray(row, np.float64) / size
    deviations = []
    for k in range(1, row.shape[-1]):
        difference = np.diff(difference, axis=-1)
        factor = math.factorial(k) ** 2 / math.factorial(2 * k)
        deviations.append(np.sqrt(factor * np.mean(np.square(difference), axis=-1)))
    s = np.stack(deviations, axis=-1)
    best = np.sqrt(np.mean(np.square(s[..., -3:]), axis=-1))
    for k in range(s.shape[-1] - 3, -1, -1):
        three = s[..., k : k + 3]
        agree = three.max(axis=-1) <= AGREE * three.min(axis=-1)
        best = np.where(agree, s[..., k], best)
    result: Array = best * size[..., 0]
    return result
