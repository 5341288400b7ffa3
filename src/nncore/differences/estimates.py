"""Numerical gradients and Jacobians with errors that hold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.differences import noise as noise_of
from nncore.differences.arguments import bounds_of, inward_at
from nncore.differences.differences import differences
from nncore.differences.evaluation import Array, Evaluator, evaluator, median_size
from nncore.differences.extrapolation import SAFETY, both_or_one
from nncore.differences.kinks import FINER
from nncore.differences.slopes import slopes

GOAL = 1e-6  # relative error at which a slope is known well enough
ARRAY_STEPS = 7  # of functions that return arrays, each FINER times the next


@dataclass(frozen=True)
class GradientInfo:
    """The errors and kinks of a numerical gradient; the fields have the form of x where x is a container.

    error : the estimated error of each element, which holds in 95 of 100 cases: truncation, and the noise of f.
    kink : where the slopes of the two sides differ, or f jumps; the gradient is then half their sum.
    noise : of f around x, measured, as a standard deviation.
    n_evaluations : of f, in all.
    """

    error: Any
    kink: Any
    noise: Any
    n_evaluations: int


@dataclass(frozen=True)
class WithErrors:
    """The gradient by one array, with the fields of GradientInfo."""

    value: Array
    error: Array
    kink: NDArray[np.bool_]
    noise: float
    n_evaluations: int


def with_errors(
    f: Any, x: Any, *, key: Any, name: str, bounds: Any, h: float | None, method: str, order: int, noise: float,
    **how: Any,
) -> WithErrors:  # fmt: skip
    """Return the derivatives by one array with steps chosen by element, or those of a scheme with their errors.

    The error of a scheme is how far it is off the best that is known; that of the complex step is its own. noise: in
    units of the rounding of f, measured if 1; the other arguments are those of differences.
    """
    chosen = None
    if method != "central" or h is not None or order != 2:
        chosen = differences(f, x, h, method, key=key, name=name, bounds=bounds, order=order, noise=noise, **how)
    fn = evaluator(f, x, key, name=name, **how)
    limits = bounds_of(bounds, fn.x, name)
    noise = checks.positive_float(noise, "noise")
    with fn.watched() as watch, np.errstate(all="ignore"):
        if not fn.x.size:
            return WithErrors(np.empty(fn.x.shape), np.empty(fn.x.shape), np.empty(fn.x.shape, bool), 0.0, 0)
        f0 = fn.start()
        watch.expect_unchanged("f")
        typical = median_size(np.asarray(fn.x))
        level = float(noise_of.measure(fn, f0, typical, limits)) if noise == 1 else noise * fn.eps * abs(float(f0))
        best = slopes(fn, f0, np.arange(fn.x.size), noise=level, rtol=GOAL, typical=typical, limits=limits)
        watch.expect_unchanged("f")
        kink = best.kink | best.jump
        value, error = best.value, SAFETY * (best.truncation + best.rounding)
        error = error + np.where(kink, np.abs(best.right - best.left) / 2, 0.0)
        if chosen is not None:
            value = chosen.value.reshape(-1)
            own = method == "complex" and h is None
            error = chosen.rounding.reshape(-1) if own else np.abs(value - best.value) + error
        error = np.where(np.isfinite(value), error, np.inf)
    evaluations = fn.n_evaluations + (0 if chosen is None else chosen.n_evaluations)
    shape = fn.x.shape
    return WithErrors(value.reshape(shape), error.reshape(shape), kink.reshape(shape), level, evaluations)


def jacobian_with_errors(f: Any, x: Array, noise: float, bounds: Any, **how: Any) -> tuple[Array, Array]:
    """Return the derivatives of every number that f returns, (*x.shape, *f_shape), and their errors.

    noise is that of with_errors.
    """
    noise = checks.positive_float(noise, "noise")
    fn = evaluator(f, x, arrays=True, **how)
    limits = bounds_of(bounds, fn.x, "x")
    with fn.watched() as watch, np.errstate(all="ignore"):
        f0 = fn.start()
        watch.expect_unchanged("f")
        typical = median_size(x)
        level = noise_of.measure(fn, f0, typical, limits) if noise == 1 else noise * fn.eps * np.abs(f0)
        best, error = _array_slopes(fn, f0, np.arange(x.size), level, typical, limits)
        watch.expect_unchanged("f")
    shape = (*x.shape, *f0.shape)
    return best.reshape(shape), error.reshape(shape)


def _array_slopes(
    fn: Evaluator, f0: Array, elements: NDArray[np.intp], noise: Array, typical: float,
    limits: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the derivatives of every number that f returns by these elements, and their errors.

    Both have the shape (len(elements), *f0.shape); noise has that of f0. Fourteen evaluations an element.
    """
    shape = (len(elements), *f0.shape)
    if 0 in shape:
        return np.empty(shape), np.empty(shape)
    base = np.array(fn.x, dtype=fn.x.dtype.newbyteorder("=")).reshape(-1)[elements]
    wide: Any = np.result_type(base.dtype, np.float64)
    size = np.where(base == 0, typical, np.abs(base)).astype(np.float64)
    steps = size[:, None] / FINER ** np.arange(ARRAY_STEPS, 0, -1)
    with np.errstate(all="ignore"):
        x = base[:, None].astype(wide)
        points = np.concatenate([x + steps, x - steps], axis=1).astype(base.dtype)
        low, high = inward_at(limits, np.asarray(fn.x).reshape(-1), elements)
        inside = (points >= low[:, None]) & (points <= high[:, None])
        points = np.where(inside, points, base[:, None])
        taken = (points.astype(wide) - x).astype(np.float64)
        rise = (fn.each(elements, points) - f0).reshape(len(base), 2, ARRAY_STEPS, -1)
        sides = rise / np.where(inside, taken, np.nan).reshape(len(base), 2, ARRAY_STEPS, 1)
        up, down = (np.moveaxis(side, 1, 2).reshape(-1, ARRAY_STEPS) for side in (sides[:, 0], sides[:, 1]))
        many = np.repeat(steps, f0.size, axis=0)
        rough = np.maximum(noise, noise_of.SMALLEST * fn.eps * np.abs(f0)).reshape(1, -1, 1)
        rough = np.broadcast_to(rough, (len(base), f0.size, 1)).reshape(-1, 1) / many
        value, truncation, rounding, _ = both_or_one(many, up, down, rough)
    return value.reshape(shape), (SAFETY * (truncation + rounding)).reshape(shape)
