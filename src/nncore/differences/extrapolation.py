"""Slopes over several steps extrapolated to a step of 0, with the truncation and rounding that remain.

Source: C. Ridders, Advances in Engineering Software 4 (1982), 75 (extrapolation that stops where noise takes over).
"""

import numpy as np

from nncore.differences.evaluation import Array

# An estimate of truncation is good to a factor of about two, and among 10,000 to 100,000 rounding errors the largest
# is about four times their standard deviation: below 4 right gradients of large networks fail by chance.
SAFETY = 4.0
CENTRAL = 0.71  # noise of a central difference: two values over two steps
ONE_SIDED = 1.42  # of a one-sided one
MAX_ORDER = 4  # of extrapolation


def both_or_one(steps: Array, up: Array, down: Array, rough: Array) -> tuple[Array, Array, Array, Array]:
    """Return extrapolated slopes, from both sides where f is finite there; rough: noise over the step.

    What is returned is that of extrapolated.
    """
    found = extrapolated(steps, up / 2 + down / 2, CENTRAL * rough, power=2)
    if not np.isfinite(found[0]).all():
        # f is finite, or may be taken, on one side only, at least over all steps but one
        for side in (up, down):
            one = extrapolated(steps, side, ONE_SIDED * rough, power=1)
            found = tuple(  # type: ignore[assignment]
                np.where(np.isfinite(old), old, new) for old, new in zip(found, one, strict=True)
            )
    return found


def extrapolated(steps: Array, slope: Array, rounding: Array, power: int) -> tuple[Array, Array, Array, Array]:
    """Return value, truncation, rounding and step of the best entry in Neville's table over ascending steps.

    power: of the step, in which the errors of the slopes grow.
    """
    rows, n = slope.shape
    best_value, best_error = np.full(rows, np.nan), np.full(rows, np.inf)
    best_truncation, best_rounding, best_step = (np.full(rows, np.inf) for _ in range(3))

    def offer(value: Array, truncation: Array, noise: Array, k: int) -> None:
        nonlocal best_value, best_error, best_truncation, best_rounding, best_step
        step, rounding = steps[:, k], noise
        # the slope over a shorter step, but for its rounding, is nearer to the truth
        for shorter in range(k):
            truncation = truncation + np.fmax(np.abs(value - slope[:, shorter]) - SAFETY * own[:, shorter], 0.0)
        error = truncation + rounding
        better = error < best_error
        best_value, best_error = np.where(better, value, best_value), np.where(better, error, best_error)
        best_truncation = np.where(better, truncation, best_truncation)
        best_rounding = np.where(better, rounding, best_rounding)
        best_step = np.where(better, step, best_step)

    own = rounding
    table, noise = slope, rounding
    for order in range(MAX_ORDER):
        m = n - order - 1
        if m < 1:
            break
        ratio = (steps[:, order + 1 :] / steps[:, :m]) ** power
        near = steps[:, 1 : m + 1] / steps[:, :m]
        fine, coarse = table[:, :m], table[:, 1 : m + 1]
        change = np.abs(fine - coarse)
        # or the change of the next longer steps, as it shrinks to these: two values may agree by chance
        change[:, :-1] = np.fmax(change[:, :-1], change[:, 1:] / near[:, :-1] ** (power * (order + 1)))
        if order == 0:
            for k in range(m):
                offer(fine[:, k], change[:, k] / near[:, k], noise[:, k], k)
        weight = 1 / (ratio - 1)
        higher = fine + (fine - coarse) * weight
        higher_noise = noise[:, :m] * (1 + weight) + noise[:, 1 : m + 1] * weight
        for k in range(m):
            error = np.fmax(change[:, k] * weight[:, k], np.abs(higher[:, k] - coarse[:, k]) / near[:, k])
            if order > 0:
                offer(higher[:, k], error, higher_noise[:, k], k)
        table, noise = higher, higher_noise
    return best_value, best_truncation, best_rounding, best_step
