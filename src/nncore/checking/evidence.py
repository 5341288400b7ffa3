"""class Evidence, all that was measured of a gradient, and judge, the verdict that each element gets for it."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.differences.extrapolation import SAFETY
from nncore.differences.slopes import IMMATERIAL

Array = NDArray[Any]

VERDICTS = ("unchecked", "ok", "mismatch", "kink", "jump", "noise", "nonfinite")
UNCHECKED, OK, MISMATCH, KINK, JUMP, NOISE, NONFINITE = range(len(VERDICTS))
BY_GRAVITY = ("mismatch", "nonfinite", "jump", "kink", "noise", "ok")
RTOL = 1e-4
BLURRED = 0.5  # of the slopes of the two sides: twice them, and their opposite, still show


@dataclass(frozen=True)
class Evidence:
    """The measurements of one parameter; every array has its shape, all numbers are absolute.

    analytic is the gradient under test and numerical the difference, with truncation and rounding the estimates of its
    two errors. kink and jump mark elements where the function has no derivative, with left and right the slopes of the
    two sides there (NaN: not known; an infinite one: the side where it jumps), nonfinite those where it has no finite
    value, checked those that were evaluated at all. weight is the size of the parameter's elements where they differ in
    their units: a slope then matters by what it makes of that.
    """

    analytic: Array
    numerical: Array
    truncation: Array
    rounding: Array
    kink: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    checked: NDArray[np.bool_]
    jump: NDArray[np.bool_] | None = None
    left: Array | None = None
    right: Array | None = None
    weight: Array | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and np.shape(value) != np.shape(self.analytic):
                raise ValueError(
                    f"{field.name} has shape {np.shape(value)}, expected {np.shape(self.analytic)} as analytic"
                )

    def uncertainty(self) -> NDArray[np.float64]:
        """Return how far numerical may be from the derivative; infinity where that is unknown."""
        with np.errstate(all="ignore"):
            estimate = SAFETY * (np.asarray(self.truncation, np.float64) + self.rounding)
        return np.where(np.isnan(estimate), np.inf, estimate)

    def error(self) -> NDArray[np.float64]:
        """Return |analytic - numerical|; at a kink or a jump, how far analytic is outside the slopes of the sides."""
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(np.asarray(self.analytic, np.float64) - self._nearest()))

    def largest(self, u: Array, weighted: bool = False) -> float:
        """Return the largest difference above its uncertainty u, but at kinks and jumps; weighted: times the weight."""
        numerical = np.abs(np.asarray(self.numerical, np.float64))
        usable = np.isfinite(numerical) & self.checked & ~self.nonfinite & ~self._broken()
        usable &= ~(u > numerical)
        sizes = numerical * self.weight if weighted and self.weight is not None else numerical
        return float(sizes.max(initial=0.0, where=usable))

    def immaterial(self, u: Array, part: float) -> NDArray[np.bool_]:
        """Return where the uncertainty u hides at most this part of the largest element, also times their weights."""
        small = u <= part * self.largest(u)
        if self.weight is not None:
            small &= u * self.weight <= part * self.largest(u, weighted=True)
        return np.asarray(small)

    def tolerance(self, rtol: float, atol: float) -> NDArray[np.float64]:
        """Return the error that each element is forgiven: it does not grow with the size of the array."""
        with np.errstate(all="ignore"):
            return np.asarray(rtol * self.size() + atol + self.uncertainty())

    def size(self) -> NDArray[np.float64]:
        """Return max(|analytic|, |numerical|); at a kink or a jump, the nearest right value is the numerical one."""
        analytic, nearest = (np.abs(np.asarray(a, np.float64)) for a in (self.analytic, self._nearest()))
        size, broken = np.maximum(analytic, nearest), self._broken()
        return np.where(broken, np.fmax(analytic, nearest), size) if broken.any() else size

    def _nearest(self) -> NDArray[np.float64]:
        """Return the difference; at a kink or a jump, the nearest of the slopes that are right there."""
        numerical = np.asarray(self.numerical, np.float64)
        if not self._broken().any():
            return numerical
        broken, low, high = self._sides()
        analytic = np.asarray(self.analytic, np.float64)
        return np.where(broken, np.minimum(np.maximum(analytic, low), high), numerical)

    def _broken(self) -> NDArray[np.bool_]:
        """Return where the function has a kink or a jump."""
        kink = np.asarray(self.kink, bool)
        return kink if self.jump is None else kink | np.asarray(self.jump, bool)

    def _sides(self) -> tuple[NDArray[np.bool_], Array, Array]:
        """Return where the function has a kink or a jump, and the slopes between which a gradient is right there."""
        shape = np.shape(self.analytic)
        jump = np.zeros(shape, bool) if self.jump is None else np.asarray(self.jump, bool)
        left, right = (np.full(shape, np.nan) if side is None else side for side in (self.left, self.right))
        low, high = np.fmin(left, right), np.fmax(left, right)
        # a function that jumps has a slope on the side where it does not
        side = np.where(np.isfinite(left), left, right)
        return self._broken(), np.where(jump, side, low), np.where(jump, side, high)


def judge(
    evidence: Evidence, *, rtol: float = RTOL, atol: float = 0.0, among: float = 0.0, among_weighted: float = np.inf
) -> NDArray[np.uint8]:
    """Give every element of a parameter its verdict; the first of these rules that applies decides.

    With u = 4 (truncation + rounding), the uncertainty of the difference, and
    tolerance = rtol max(|analytic|, |numerical|) + atol + u:

    1. ``unchecked``: the element was not evaluated.
    2. ``nonfinite``: one of the two values is NaN or infinite, or the function is, on both sides.
    3. ``jump``, ``kink``: the function is broken there, or bent, and the analytic value is one of the slopes of its two
       sides, or between them, to the tolerance. Where it is not: ``mismatch``; where those slopes are not known,
       ``noise``: u is above half of the larger one, of their difference, and what matters.
    4. ``mismatch``: |analytic - numerical| is not within the tolerance.
    5. ``noise``: they agree, but so would a wrong value: u is above rtol max(|analytic|, |numerical|) + atol. What is
       below what matters is ``ok`` instead: u, and what it can hide, is at most rtol / 100 of the parameter's largest
       element. So are two values of 0, where the function did not move at all, and two that are 0 to within u, if u
       is at most rtol / 100 of the largest element of all parameters. Where elements have weights, all this has to
       hold of the products with them too.
    6. ``ok``: everything else.

    Parameters
    ----------
    evidence : Evidence
        The measurements.
    rtol, atol : float
        Relative and absolute error that is forgiven beside the uncertainty of the difference, and that has to be seen.
    among, among_weighted : float
        The largest element of all parameters, if there are others, and the largest product with its weight.

    Returns
    -------
    ndarray of uint8
        Of the parameter's shape; positions in VERDICTS.

    Examples
    --------
    >>> zero, no = np.zeros(3), np.zeros(3, bool)
    >>> numerical = np.array([1.0, 1.0, 1e-9])
    >>> measured = Evidence(np.array([1.0, 2.0, 0.0]), numerical, zero, zero + 1e-9, no, no, ~no)
    >>> [VERDICTS[code] for code in judge(measured)]
    ['ok', 'mismatch', 'ok']
    """
    e = evidence
    kink, jump = np.asarray(e.kink, bool), np.zeros_like(e.kink) if e.jump is None else np.asarray(e.jump, bool)
    broken = kink | jump
    finite = np.isfinite(e.analytic) & (np.isfinite(e.numerical) | broken) & ~e.nonfinite
    with np.errstate(all="ignore"):
        u = e.uncertainty()
        size = e.size()
        allowed = rtol * size + atol
        within, resolved = e.error() <= allowed + u, u <= allowed
        immaterial = e.immaterial(u, IMMATERIAL * rtol)
        least = (size <= u) & (u <= IMMATERIAL * rtol * among) & np.isfinite(u)
        immaterial |= least & ((1.0 if e.weight is None else e.weight) * u <= IMMATERIAL * rtol * among_weighted)
        known = ~broken
        if broken.any():
            _, low, high = e._sides()
            sides = np.fmax(np.fmax(np.abs(low), np.abs(high)), high - low)
            known |= np.isfinite(low) & np.isfinite(u) & ((u <= BLURRED * sides) | (sides == 0) | resolved | immaterial)
        equal = (np.asarray(e.analytic) == e.numerical) & ((e.numerical == 0) | (u == 0))
    clear = resolved | immaterial | equal
    rules = [~np.asarray(e.checked, bool), ~finite, broken & ~known, ~within, jump, kink, ~clear]
    verdicts = [UNCHECKED, NONFINITE, NOISE, MISMATCH, JUMP, KINK, NOISE]
    return np.asarray(np.select(rules, verdicts, OK), np.uint8)
