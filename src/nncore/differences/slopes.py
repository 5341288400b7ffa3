"""Derivatives by the elements of an array, with steps chosen by element and errors that hold.

Two points an element, x + h and x - h, decide wherever the slope between them is the gradient that was expected, f's
noise is small beside it and f is straight there. What they leave open is looked at again: with shorter and shorter
steps where f bends or breaks, with longer ones, extrapolated to h = 0, where noise hides the slope. From the slopes on
both sides of x, an eighth of the step at a time, a bend (their difference shrinks with the step), a kink (it stays) and
a jump (it grows) are told apart. At most 60 evaluations an element, 2 for most.

Sources: C. Ridders, Advances in Engineering Software 4 (1982), 75 (extrapolation that stops where noise takes over);
W. Press et al., Numerical Recipes, section 5.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.differences import noise as _noise
from nncore.differences.evaluation import Array, Evaluator, inward

Mask = NDArray[np.bool_]

# An estimate of truncation is good to a factor of about two, and among 10,000 to 100,000 rounding errors the largest
# is about four times their standard deviation: below 4 right gradients of large networks fail by chance.
SAFETY = 4.0
CENTRAL = 0.71  # noise of a central difference: two values over two steps
ONE_SIDED = 1.42  # of a one-sided one
GAP = 2.45  # noise of the difference of the two one-sided slopes: f(x + h) - 2 f(x) + f(x - h) over h
SHORTEST = 16.0  # steps are this many units in the last place of x at least
STEP = 2.0**-20  # of |x|, where nothing else is known
WIDE_STEP = 2.0**-8  # of |x|: the longest step at first, and that of an element whose gradient should be 0
SEEN = 2.0**17  # f should rise by this many times its noise over a first step
COARSE = 8.0  # times the rounding of f(x): noise above has another cause
SMALL_RISE = 1e-6  # of f itself
STRAIGHT = 1e-3  # of the slope: a change of it across x that is no bend
FINER = 8.0
FINER_ROUNDS = 8
LADDER = 8  # steps of a search for the slope beneath noise, each half of the one before
LONGER_ROUNDS = 4
RESPONDS = 16.0  # times its noise: an f that rises by less over the longest step gives longer ones nothing to tell
MAX_ORDER = 4  # of extrapolation
ROUNDED_X = 8.0  # units in the last place of x: what a gradient computed in the same type may be off by
LUCKY = 16.0  # seven values may lie on a line by chance: noise is not below this part of the array's
ARRAY_STEPS = 7  # of functions that return arrays, each FINER times the next
IMMATERIAL = 1e-2  # times rtol, of the largest slope of an array: smaller errors move no descent

OPEN, SMOOTH, KINK, JUMP, NOISY, DRIFTS = range(6)


@dataclass(frozen=True)
class Slopes:
    """What was found, a row an element, all numbers absolute.

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
        """The rows of all parts, one after the other."""
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
        search = _Search(fn, f0, elements, expected, noise, rtol, typical, h, limits)
        search.first(largest)
        search.finer()
        search.longer()
        search.drifted()
        search.measured_noise()
        return search.result()


class _Search:
    """The steps taken so far and the values there, a row an element; state is what is known of each."""

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
        self.noise = np.full(n, max(float(noise), float(_noise.floor(fn, f0))))
        self.low, self.high = _limits(limits, base, elements)
        self.state = np.zeros(n, np.int8)
        self.h = self._first_steps(typical) if h is None else np.maximum(h, self.shortest)
        self.steps = np.empty((n, 0))  # of each round; NaN where an element had none
        self.up, self.down = np.empty((n, 0)), np.empty((n, 0))  # slopes of the two sides
        self.size_of_f = np.empty((n, 0))  # the largest value of f there
        self.settled = np.full((n, 3), np.nan)  # value, truncation, rounding of what shorter steps have settled
        self.matters = [0.0, 0.0]  # the smallest slope that does, and by the size of its element

    def _first_steps(self, typical: float) -> Array:
        """Long enough for f to rise well above its noise, by the gradient that is expected; short beside x."""
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
        """The size of every element, of those that are 0 the typical one."""
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
        """The noise of f where it has values of this size."""
        noise = self.noise[rows]
        least = _noise.SMALLEST * self.fn.eps * size
        return np.asarray(np.maximum(noise[:, None] if size.ndim == 2 else noise, least))

    def first(self, largest: tuple[float, float]) -> None:
        """One central difference an element; who agrees with what is expected is done."""
        everybody = np.arange(len(self.x))
        self.evaluate(everybody, self.h)
        if self.expected is None or not everybody.size:
            return
        up, down = self.up[:, 0], self.down[:, 0]
        slope = up / 2 + down / 2
        gap, steep = np.abs(up - down), np.fmax(np.abs(up), np.abs(down))
        noise = self.roughness(everybody, self.size_of_f[:, 0])
        rounding = CENTRAL * noise / self.h
        uncertain = SAFETY * (rounding + np.square(gap) / steep)
        uncertain[steep == 0] = SAFETY * rounding[steep == 0]
        size = np.maximum(np.abs(slope), np.abs(self.expected))
        agrees = np.abs(slope - self.expected) <= self.rtol * size + uncertain
        straight = gap <= np.fmax(STRAIGHT * steep, SAFETY * GAP * noise / self.h)
        resolved = uncertain <= self.rtol * size
        known = np.isfinite(slope) & ~(uncertain > np.abs(slope))
        self.matters = [
            IMMATERIAL * self.rtol * max(least, float(np.max(np.abs(slope) * weight, initial=0.0, where=known)))
            for least, weight in zip(largest, (1.0, self.scale_of_x()), strict=True)
        ]
        immaterial = self.is_immaterial(everybody, uncertain)
        equal = (up == 0) & (down == 0) & (self.expected == 0) & ~self.is_coarse(everybody)
        self.state[agrees & straight & (resolved | immaterial | equal)] = SMOOTH
        hidden = (SAFETY * rounding > self.rtol * size) & (straight | (size > uncertain))
        self.state[(self.state == OPEN) & hidden & np.isfinite(slope) & ~immaterial] = NOISY
        one_side = np.isfinite(up) != np.isfinite(down)
        self.state[one_side & (4 * SAFETY * ONE_SIDED * noise / self.h > self.rtol * steep)] = NOISY

    def is_immaterial(self, rows: NDArray[np.intp], uncertain: Array) -> Mask:
        """Where what the uncertainty can hide is too small to matter, also by the size of the element."""
        result: Mask = (uncertain <= self.matters[0]) & (uncertain * self.scale_of_x()[rows] <= self.matters[1])
        return result

    def is_coarse(self, rows: NDArray[np.intp]) -> Mask:
        """Where f is coarser than its float type: a step that moves nothing tells little of it."""
        result: Mask = self.noise[rows] > COARSE * _noise.floor(self.fn, np.asarray(self.f0))
        return result

    def finer(self) -> None:
        """An eighth of the step at a time, until a bend, a kink or a jump is told or noise takes over."""
        rows = np.flatnonzero(self.state == OPEN)
        coarse = self.h.copy()
        for _ in range(FINER_ROUNDS):
            h = coarse[rows] / FINER
            rows, h = rows[h >= self.shortest[rows]], h[h >= self.shortest[rows]]
            if not rows.size:
                break
            before = self.up[rows, -1], self.down[rows, -1]
            self.evaluate(rows, h)
            told, enough = self._told(rows, before, h)
            coarse[rows] = h
            done = (told == SMOOTH) & enough
            self.state[rows[done]] = SMOOTH
            hidden = (told == NOISY) & ~done
            keep = hidden & np.isin(self.state[rows], (KINK, JUMP))  # noise hides no more than how near it is
            self.state[rows[hidden & ~keep]] = NOISY
            follow = ~done & ~hidden
            self.state[rows[follow]] = np.where(np.isin(told[follow], (KINK, JUMP)), told[follow], OPEN)
            rows = rows[follow]

    def _told(self, rows: NDArray[np.intp], before: tuple[Array, Array], h: Array) -> tuple[NDArray[np.int8], Mask]:
        """What two steps, one FINER times the other, say of each row; whether a smooth one is known well enough."""
        up, down = self.up[rows, -1], self.down[rows, -1]
        slope, slope_before = up / 2 + down / 2, before[0] / 2 + before[1] / 2
        gap, gap_before = up - down, before[0] - before[1]
        steep = np.fmax(np.abs(up), np.abs(down))
        noise = self.roughness(rows, self.size_of_f[rows, -1])
        rounding, gap_noise = CENTRAL * noise / h, SAFETY * GAP * noise / h
        size = np.abs(slope) if self.expected is None else np.fmax(np.abs(slope), np.abs(self.expected[rows]))
        insignificant = np.abs(gap) <= np.fmax(self.rtol / 2 * steep, gap_noise)
        shrinks = np.abs(gap - gap_before / FINER) <= 0.3 * np.abs(gap_before) / FINER + gap_noise
        converged = np.abs(slope - slope_before) <= self.rtol * size / 2 + SAFETY * rounding
        told = np.full(len(rows), OPEN, np.int8)
        told[np.abs(gap) > 0.5 * np.abs(gap_before)] = KINK
        told[np.abs(gap) > 4 * np.abs(gap_before)] = JUMP
        told[(np.abs(gap) <= gap_noise) | ~np.isfinite(gap)] = OPEN
        told[(insignificant | shrinks) & converged] = SMOOTH
        hidden = SAFETY * rounding > (self.rtol * size if self.expected is not None else np.abs(slope - slope_before))
        if self.expected is not None:
            told[(told == SMOOTH) & hidden & ~self.is_immaterial(rows, SAFETY * rounding)] = NOISY
        told[(told != SMOOTH) & hidden & (np.abs(gap) <= 4 * gap_noise)] = NOISY
        if self.expected is not None:
            told[(up == 0) & (down == 0) & (self.expected[rows] == 0) & ~self.is_coarse(rows)] = SMOOTH
        self.settled[rows] = np.stack([slope, np.abs(slope - slope_before) / FINER, rounding], axis=1)
        # without an expectation the best is wanted: on until rounding is what is left
        enough = np.ones(len(rows), bool) if self.expected is not None else np.abs(slope - slope_before) <= 4 * rounding
        return told, enough

    def longer(self) -> None:
        """A ladder of longer steps where noise hid the slope; longer still while noise is all that is in the way."""
        rows = np.flatnonzero(self.state == NOISY)
        if self.expected is None:
            rows = np.arange(len(self.x))
            rows = rows[np.isin(self.state, (NOISY, OPEN, SMOOTH)) & self._noise_rules(rows)]
        moves = np.nansum(np.fmax(np.abs(self.up[rows]), np.abs(self.down[rows])), axis=1) > 0
        rows = rows[moves | self.is_coarse(rows)]
        if not rows.size:
            return
        slope = np.abs(self._best(rows)[0])
        if self.expected is not None:
            slope = np.fmax(slope, np.abs(self.expected[rows]))
        needed = SAFETY * CENTRAL * self.noise[rows] / (self.rtol * slope)
        top = np.clip(32 * needed, 16 * self.h[rows], np.maximum(self.scale[rows], 16 * self.h[rows]))
        top = np.where(np.isfinite(needed), top, self.scale[rows])
        top = np.maximum(top, self.shortest[rows] * 2.0 ** (LADDER - 1))
        for k in range(LADDER):
            self.evaluate(rows, top / 2**k)
        for _ in range(LONGER_ROUNDS if self.expected is not None else 3 * LONGER_ROUNDS):
            responds = np.fmax(np.abs(self.up[rows]), np.abs(self.down[rows])) * self.steps[rows]
            responds = np.where(np.isfinite(responds), responds, 0.0).max(axis=1)
            go = self._noise_rules(rows) & (responds > RESPONDS * self.noise[rows])
            rows, top = rows[go], top[go] * 4
            if not rows.size:
                break
            self.evaluate(rows, top)

    def _noise_rules(self, rows: NDArray[np.intp]) -> Mask:
        """Whether a row is not resolved yet, its longest step serves it best, and rounding is most of its error."""
        value, truncation, rounding, step = self._best(rows)
        size = np.abs(value) if self.expected is None else np.fmax(np.abs(value), np.abs(self.expected[rows]))
        goal = self.rtol * size
        longest = np.where(np.isfinite(self.up[rows] + self.down[rows]), self.steps[rows], 0.0).max(axis=1)
        result: Mask = (
            (SAFETY * (rounding + truncation) > goal) & (4 * rounding > truncation) & (1.1 * FINER * step >= longest)
        )
        return result

    def drifted(self) -> None:
        """Take back what was told of kinks and jumps if f(x) itself has changed by as much since the beginning."""
        rows = np.flatnonzero(np.isin(self.state, (KINK, JUMP)))
        if rows.size:
            drift = abs(float(self.fn.call()) - self.f0)
            steps, up, down, _ = self._sorted(rows)
            drifts = (np.abs(up[:, 0] - down[:, 0]) * steps[:, 0] <= 2 * SAFETY * drift) & (drift > 0)
            self.state[rows[drifts]] = DRIFTS
            self.noise[rows[drifts]] = np.maximum(self.noise[rows[drifts]], SAFETY * drift / self.fn.n_evaluations)

    def measured_noise(self) -> None:
        """The noise by element, where that of the whole array leaves an element open or puts it in doubt."""
        if self.expected is None:
            return
        rows = np.flatnonzero(self.state == NOISY)
        if not rows.size:
            return
        value, truncation, rounding, _ = self._best(rows)
        size = np.fmax(np.abs(value), np.abs(self.expected[rows]))
        uncertain = SAFETY * (truncation + rounding)
        apart = np.abs(value - self.expected[rows])
        doubtful = ~(uncertain <= self.rtol * size) | ((apart > uncertain) & (apart < 10 * uncertain))
        rows, value = rows[doubtful], value[doubtful]
        if not rows.size:
            return
        # f should rise by a few units of its noise from point to point
        step = np.clip(8 * self.noise[rows] / np.abs(value), 8 * self.shortest[rows], self.scale[rows] / 2**10)
        step = np.where(np.isfinite(step), step, self.scale[rows] / 2**10)
        # on one side of x, that which is inside
        step = np.where(self.x[rows] + _noise.POINTS[-1] * step <= self.high[rows], step, -step)
        end = self.x[rows] + _noise.POINTS[-1] * step
        inside = (end >= self.low[rows]) & (end <= self.high[rows])
        rows, step = rows[inside], step[inside]
        if rows.size:
            noise = _noise.by_element(self.fn, np.asarray(self.f0), self.elements[rows], self.x[rows], step)
            noise = np.maximum(noise, self.noise[rows] / LUCKY)
            self.noise[rows] = np.where(np.isfinite(noise), noise, self.noise[rows])

    def _sorted(self, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """Steps in ascending order, the slopes of both sides, and f's noise; rounds without a row come last."""
        steps = np.where(np.isfinite(self.up[rows]) | np.isfinite(self.down[rows]), self.steps[rows], np.nan)
        order = np.argsort(steps, axis=1)
        noise = self.roughness(rows, self.size_of_f[rows])
        steps, up, down, noise = (
            np.take_along_axis(a, order, 1) for a in (steps, self.up[rows], self.down[rows], noise)
        )
        return steps, up, down, noise

    def _best(self, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """Slope, its two errors and its step: the entry of the extrapolation table with the smallest error."""
        steps, up, down, noise = self._sorted(rows)
        return _both_or_one(steps, up, down, noise / steps)

    def result(self) -> Slopes:
        """What is known of every element."""
        n = len(self.x)
        rows = np.arange(n)
        up, down = self.up[:, 0], self.down[:, 0]
        steep = np.fmax(np.abs(up), np.abs(down))
        first = [
            up / 2 + down / 2,
            np.where(steep > 0, np.square(up - down) / steep, 0.0),
            CENTRAL * self.noise / self.h,
        ]
        if self.steps.shape[1] > 1:
            once = np.isnan(self.steps[:, 1:]).all(axis=1)
            settled = (self.state == SMOOTH) & (self.expected is not None)
            first = [
                np.where(once, a, np.where(settled, b, c))
                for a, b, c in zip(first, self.settled.T, self._best(rows), strict=False)
            ]
        value, truncation, rounding = first
        left, right = np.full(n, np.nan), np.full(n, np.nan)
        broken = np.flatnonzero(np.isin(self.state, (KINK, JUMP)))
        if broken.size:
            left[broken], right[broken], truncation[broken], rounding[broken] = self._sides(broken)
            value[broken] = left[broken] / 2 + right[broken] / 2
        # what rounding within x alone makes of a gradient: that of a bend over a unit in x's last place
        bend = np.abs(self.up - self.down) / self.steps
        bend = np.min(np.where(np.isfinite(bend), bend, np.inf), axis=1, initial=np.inf)
        bend[broken] = 0.0
        rounding = rounding + ROUNDED_X * np.finfo(self.x.dtype).eps * self.size * np.where(
            np.isfinite(bend), bend, 0.0
        )
        kink, jump = self.state == KINK, self.state == JUMP
        nonfinite = ~np.isfinite(value) & ~jump
        truncation = np.where(np.isnan(truncation), np.inf, truncation)
        return Slopes(value, truncation, rounding, left, right, kink, jump, nonfinite, self.noise, self.scale_of_x())

    def _sides(self, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """The slopes of both sides and their errors; at a jump, one of them is infinite."""
        steps, up, down, noise = self._sorted(rows)
        noise = ONE_SIDED * noise / steps
        sides = [_extrapolated(steps, side, noise, power=1) for side in (down, up)]
        (left, off_left, round_left, _), (right, off_right, round_right, _) = sides
        jump = self.state[rows] == JUMP
        breaks_left = jump & (np.abs(down[:, 0]) > np.abs(up[:, 0]))
        breaks_right = jump & ~breaks_left
        left = np.where(breaks_left, np.copysign(np.inf, down[:, 0]), left)
        right = np.where(breaks_right, np.copysign(np.inf, up[:, 0]), right)
        off_left, round_left = (np.where(breaks_left, 0.0, a) for a in (off_left, round_left))
        off_right, round_right = (np.where(breaks_right, 0.0, a) for a in (off_right, round_right))
        return left, right, np.maximum(off_left, off_right), np.maximum(round_left, round_right)


def array_slopes(
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
        low, high = _limits(limits, np.asarray(fn.x).reshape(-1), elements)
        inside = (points >= low[:, None]) & (points <= high[:, None])
        points = np.where(inside, points, base[:, None])
        taken = (points.astype(wide) - x).astype(np.float64)
        rise = (fn.each(elements, points) - f0).reshape(len(base), 2, ARRAY_STEPS, -1)
        sides = rise / np.where(inside, taken, np.nan).reshape(len(base), 2, ARRAY_STEPS, 1)
        up, down = (np.moveaxis(side, 1, 2).reshape(-1, ARRAY_STEPS) for side in (sides[:, 0], sides[:, 1]))
        many = np.repeat(steps, f0.size, axis=0)
        rough = np.maximum(noise, _noise.SMALLEST * fn.eps * np.abs(f0)).reshape(1, -1, 1)
        rough = np.broadcast_to(rough, (len(base), f0.size, 1)).reshape(-1, 1) / many
        value, truncation, rounding, _ = _both_or_one(many, up, down, rough)
    return value.reshape(shape), (SAFETY * (truncation + rounding)).reshape(shape)


def _both_or_one(steps: Array, up: Array, down: Array, rough: Array) -> tuple[Array, Array, Array, Array]:
    """The extrapolated slopes, from both sides where f is finite there; rough: noise over the step."""
    found = _extrapolated(steps, up / 2 + down / 2, CENTRAL * rough, power=2)
    if not np.isfinite(found[0]).all():
        # f is finite, or may be taken, on one side only, at least over all steps but one
        for side in (up, down):
            one = _extrapolated(steps, side, ONE_SIDED * rough, power=1)
            found = tuple(np.where(np.isfinite(old), old, new) for old, new in zip(found, one, strict=True))  # type: ignore[assignment]
    return found


def _extrapolated(steps: Array, slope: Array, rounding: Array, power: int) -> tuple[Array, Array, Array, Array]:
    """Neville's table over ascending steps, errors in powers of the step: value, truncation, rounding, step."""
    rows, n = slope.shape
    best_value, best_error = np.full(rows, np.nan), np.full(rows, np.inf)
    best_truncation, best_rounding, best_step = (np.full(rows, np.inf) for _ in range(3))

    def offer(value: Array, truncation: Array, noise: Array, k: int) -> None:
        nonlocal best_value, best_error, best_truncation, best_rounding, best_step
        step, rounding = steps[:, k], noise
        # what a shorter step says, but for its rounding, is nearer to the truth
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
        # that of the next longer steps, as it shrinks from them to these: two values may agree by chance
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


def _limits(limits: tuple[Array, Array] | None, x: Array, elements: NDArray[np.intp]) -> tuple[Array, Array]:
    """The bounds of these elements in x's type."""
    low, high = (np.broadcast_to(side, x.shape)[elements] for side in inward(limits, x))
    return low, high
