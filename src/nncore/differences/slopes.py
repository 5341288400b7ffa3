"""Derivatives by the elements of an array, with steps chosen by element and errors that hold.

Two points per element, x + h and x - h, decide wherever the slope between them is the gradient that was expected, f's
noise is small beside it and f is straight there. Elements that they leave open are looked at again: with shorter and
shorter steps where f bends or breaks (kinks), with longer ones, extrapolated to h = 0, where noise hides the slope. At
most 60 evaluations per element, 2 for most.

Source: W. Press et al., Numerical Recipes, section 5.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nncore.differences import noise as noise_of
from nncore.differences.evaluation import Array, Evaluator
from nncore.differences.extrapolation import CENTRAL, ONE_SIDED, SAFETY
from nncore.differences.kinks import FINER, GAP, slopes_of_sides, take_back_drifts, take_finer_steps
from nncore.differences.search import JUMP, KINK, NOISY, OPEN, SMOOTH, Mask, Search

STRAIGHT = 1e-3  # of the slope: a change of it across x that is no bend
LADDER = 8  # steps of a search for the slope beneath noise, each half of the one before
LONGER_ROUNDS = 4
RESPONDS = 16.0  # times its noise: an f that rises by less over the longest step gives longer ones nothing to tell
ROUNDED_X = 8.0  # units in the last place of x, by which a gradient computed in the same type may be off
LUCKY = 16.0  # seven values may lie on a line by chance: noise is not below this part of the array's
IMMATERIAL = 1e-2  # times rtol, of the largest slope of an array: smaller errors move no descent


@dataclass(frozen=True)
class Slopes:
    """The slopes that were found, one row per element, all numbers absolute.

    truncation and rounding are the estimated errors of value, left and right the slopes of the two sides where there
    is a kink or a jump (NaN elsewhere). nonfinite: f is not finite on either side, however near.
    """

    value: Array
    truncation: Array
    rounding: Array
    left: Array
    right: Array
    kink: Mask
    jump: Mask
    nonfinite: Mask
    noise: Array
    size: Array  # of the element, or the typical one where it is 0

    @staticmethod
    def joined(parts: "Sequence[Slopes]") -> "Slopes":
        """Return the rows of all parts, one after the other."""
        return Slopes(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Slopes)})


def slopes(
    fn: Evaluator,
    f0: Array,
    elements: NDArray[np.intp],
    expected: Array | None = None,
    *,
    noise: float,
    rtol: float,
    typical: float,
    h: float | None = None,
    limits: tuple[Array, Array] | None = None,
    largest: tuple[float, float] = (0.0, 0.0),
) -> Slopes:
    """Return the derivatives of f by these elements of fn.x, in C order.

    expected: the gradient under test, for these elements; without it every element is followed until noise takes
    over. noise: of f, as a standard deviation; rtol: the relative error that is to be seen; typical: the size of an x
    that is 0; h: the first step, if it is not to be chosen; limits: numbers or arrays of x's shape that f is never
    evaluated beyond; largest: the largest slope of the array, and the largest times its element's size, if known.
    """
    with np.errstate(all="ignore"):
        search = Search(fn, f0, elements, expected, noise, rtol, typical, h, limits)
        _take_central_differences(search, largest)
        take_finer_steps(search)
        _take_longer_steps(search)
        take_back_drifts(search)
        _measure_noise_by_element(search)
        return _found(search)


def _take_central_differences(search: Search, largest: tuple[float, float]) -> None:
    """Take one central difference per element, which settles those that agree with the gradient expected."""
    rows = np.arange(len(search.x))
    search.evaluate(rows, search.h)
    if search.expected is None or not rows.size:
        return
    up, down = search.up[:, 0], search.down[:, 0]
    slope = up / 2 + down / 2
    gap, steep = np.abs(up - down), np.fmax(np.abs(up), np.abs(down))
    noise = search.roughness(rows, search.size_of_f[:, 0])
    rounding = CENTRAL * noise / search.h
    uncertain = SAFETY * (rounding + np.square(gap) / steep)
    uncertain[steep == 0] = SAFETY * rounding[steep == 0]
    size = np.maximum(np.abs(slope), np.abs(search.expected))
    agrees = np.abs(slope - search.expected) <= search.rtol * size + uncertain
    straight = gap <= np.fmax(STRAIGHT * steep, SAFETY * GAP * noise / search.h)
    resolved = uncertain <= search.rtol * size
    known = np.isfinite(slope) & ~(uncertain > np.abs(slope))
    search.matters = [
        IMMATERIAL * search.rtol * max(least, float(np.max(np.abs(slope) * weight, initial=0.0, where=known)))
        for least, weight in zip(largest, (1.0, search.scale_of_x()), strict=True)
    ]
    immaterial = search.is_immaterial(rows, uncertain)
    equal = (up == 0) & (down == 0) & (search.expected == 0) & ~search.is_coarse(rows)
    search.state[agrees & straight & (resolved | immaterial | equal)] = SMOOTH
    hidden = (SAFETY * rounding > search.rtol * size) & (straight | (size > uncertain))
    search.state[(search.state == OPEN) & hidden & np.isfinite(slope) & ~immaterial] = NOISY
    one_side = np.isfinite(up) != np.isfinite(down)
    search.state[one_side & (4 * SAFETY * ONE_SIDED * noise / search.h > search.rtol * steep)] = NOISY


def _take_longer_steps(search: Search) -> None:
    """Climb a ladder of longer steps where noise hid the slope; longer still while noise is all that is in the way."""
    rows = np.flatnonzero(search.state == NOISY)
    if search.expected is None:
        rows = np.arange(len(search.x))
        rows = rows[np.isin(search.state, (NOISY, OPEN, SMOOTH)) & _noise_rules(search, rows)]
    moves = np.nansum(np.fmax(np.abs(search.up[rows]), np.abs(search.down[rows])), axis=1) > 0
    rows = rows[moves | search.is_coarse(rows)]
    if not rows.size:
        return
    slope = np.abs(search.best(rows)[0])
    if search.expected is not None:
        slope = np.fmax(slope, np.abs(search.expected[rows]))
    needed = SAFETY * CENTRAL * search.noise[rows] / (search.rtol * slope)
    top = np.clip(32 * needed, 16 * search.h[rows], np.maximum(search.scale[rows], 16 * search.h[rows]))
    top = np.where(np.isfinite(needed), top, search.scale[rows])
    top = np.maximum(top, search.shortest[rows] * 2.0 ** (LADDER - 1))
    for k in range(LADDER):
        search.evaluate(rows, top / 2**k)
    for _ in range(LONGER_ROUNDS if search.expected is not None else 3 * LONGER_ROUNDS):
        responds = np.fmax(np.abs(search.up[rows]), np.abs(search.down[rows])) * search.steps[rows]
        responds = np.where(np.isfinite(responds), responds, 0.0).max(axis=1)
        go = _noise_rules(search, rows) & (responds > RESPONDS * search.noise[rows])
        rows, top = rows[go], top[go] * 4
        if not rows.size:
            break
        search.evaluate(rows, top)


def _noise_rules(search: Search, rows: NDArray[np.intp]) -> Mask:
    """Return whether a row is not resolved yet, its longest step serves it best, and rounding is most of its error."""
    value, truncation, rounding, step = search.best(rows)
    size = np.abs(value) if search.expected is None else np.fmax(np.abs(value), np.abs(search.expected[rows]))
    goal = search.rtol * size
    longest = np.where(np.isfinite(search.up[rows] + search.down[rows]), search.steps[rows], 0.0).max(axis=1)
    result: Mask = (
        (SAFETY * (rounding + truncation) > goal) & (4 * rounding > truncation) & (1.1 * FINER * step >= longest)
    )
    return result


def _measure_noise_by_element(search: Search) -> None:
    """Measure the noise of single elements where that of the whole array leaves them open or in doubt."""
    if search.expected is None:
        return
    rows = np.flatnonzero(search.state == NOISY)
    if not rows.size:
        return
    value, truncation, rounding, _ = search.best(rows)
    size = np.fmax(np.abs(value), np.abs(search.expected[rows]))
    uncertain = SAFETY * (truncation + rounding)
    apart = np.abs(value - search.expected[rows])
    doubtful = ~(uncertain <= search.rtol * size) | ((apart > uncertain) & (apart < 10 * uncertain))
    rows, value = rows[doubtful], value[doubtful]
    if not rows.size:
        return
    # f should rise by a few units of its noise from point to point
    step = np.clip(8 * search.noise[rows] / np.abs(value), 8 * search.shortest[rows], search.scale[rows] / 2**10)
    step = np.where(np.isfinite(step), step, search.scale[rows] / 2**10)
    # all on the side of x that is within the bounds
    step = np.where(search.x[rows] + noise_of.POINTS[-1] * step <= search.high[rows], step, -step)
    end = search.x[rows] + noise_of.POINTS[-1] * step
    inside = (end >= search.low[rows]) & (end <= search.high[rows])
    rows, step = rows[inside], step[inside]
    if rows.size:
        noise = noise_of.by_element(search.fn, np.asarray(search.f0), search.elements[rows], search.x[rows], step)
        noise = np.maximum(noise, search.noise[rows] / LUCKY)
        search.noise[rows] = np.where(np.isfinite(noise), noise, search.noise[rows])


def _found(search: Search) -> Slopes:
    """Return all that is known of every element."""
    n = len(search.x)
    rows = np.arange(n)
    up, down = search.up[:, 0], search.down[:, 0]
    steep = np.fmax(np.abs(up), np.abs(down))
    first = [
        up / 2 + down / 2,
        np.where(steep > 0, np.square(up - down) / steep, 0.0),
        CENTRAL * search.noise / search.h,
    ]
    if search.steps.shape[1] > 1:
        once = np.isnan(search.steps[:, 1:]).all(axis=1)
        settled = (search.state == SMOOTH) & (search.expected is not None)
        first = [
            np.where(once, a, np.where(settled, b, c))
            for a, b, c in zip(first, search.settled.T, search.best(rows), strict=False)
        ]
    value, truncation, rounding = first
    left, right = np.full(n, np.nan), np.full(n, np.nan)
    broken = np.flatnonzero(np.isin(search.state, (KINK, JUMP)))
    if broken.size:
        left[broken], right[broken], truncation[broken], rounding[broken] = slopes_of_sides(search, broken)
        value[broken] = left[broken] / 2 + right[broken] / 2
    # rounding within x alone changes a gradient by the bend over a unit in x's last place
    bend = np.abs(search.up - search.down) / search.steps
    bend = np.min(np.where(np.isfinite(bend), bend, np.inf), axis=1, initial=np.inf)
    bend[broken] = 0.0
    rounding = rounding + ROUNDED_X * np.finfo(search.x.dtype).eps * search.size * np.where(
        np.isfinite(bend), bend, 0.0
    )
    kink, jump = search.state == KINK, search.state == JUMP
    nonfinite = ~np.isfinite(value) & ~jump
    truncation = np.where(np.isnan(truncation), np.inf, truncation)
    return Slopes(value, truncation, rounding, left, right, kink, jump, nonfinite, search.noise, search.scale_of_x())
