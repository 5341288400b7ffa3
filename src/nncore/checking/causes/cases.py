"""Case, all that a check knows of one parameter; Element, of one element; and numbers in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]

NEAR = 0.1  # factors that near 1 are said in per cent


def where(name: str, index: Sequence[int | str]) -> str:
    """Return the name of an element, such as W1[3, 4]; of a single number, that of its array."""
    return f"{name}[{', '.join(map(str, index))}]" if len(index) else name


def number(value: float, digits: int = 6) -> str:
    """Return a number with so many digits, and always with a point or an exponent: 4.0."""
    text = f"{value + 0.0:.{digits}g}"  # + 0.0: no negative zero
    return text if any(letter in text for letter in ".en") else text + ".0"


def ratio_in_words(analytic: float, numerical: float, tolerance: float = 0.0) -> str:
    """Return how a value is wrong: ``4 times too large``, ``sign flipped``, ``missing``."""
    if analytic == 0:
        return "missing: it is 0"
    if abs(numerical) <= tolerance:
        return "should be about 0"
    if not math.isfinite(numerical):
        return "the slope has no bound"
    return _times(analytic / numerical)


def _times(ratio: float) -> str:
    if ratio < 0:
        return "sign flipped" if abs(ratio + 1) < 0.005 else f"sign flipped, {_times(-ratio)}"
    if ratio and abs(ratio - 1) < NEAR:
        return f"{100 * abs(ratio - 1):.3g} % too {'large' if ratio > 1 else 'small'}"
    return f"{ratio:.4g} times too large" if ratio > 1 else f"{1 / ratio:.4g} times too small"


@dataclass(frozen=True)
class Element:
    """One element of a report; relative is error / max(|analytic|, |numerical|)."""

    name: str
    index: tuple[int, ...]
    analytic: float
    numerical: float
    error: float
    tolerance: float
    relative: float
    verdict: str

    def __str__(self) -> str:
        # as many digits as it takes to see the two differ
        digits = 6 if not 0 < self.relative < 1 else min(max(6, 3 - math.floor(math.log10(self.relative))), 17)
        text = f"analytic {number(self.analytic, digits)}, numerical {number(self.numerical, digits)}"
        if self.verdict == "mismatch":
            text += f" ({ratio_in_words(self.analytic, self.numerical, self.tolerance)})"
        else:
            text += f" ({self.verdict})"
        return f"{where(self.name, self.index)}: {text}, tolerance {self.tolerance:.2g}"


@dataclass(frozen=True)
class Case:
    """All that is known of one parameter.

    smooth marks the elements that were checked and are no kink or jump, resolved those among them that the difference
    knows well, wrong the mismatches; tolerance is that of a corrected gradient, finer one that is tried before. The
    arrays are of float64.
    """

    name: str
    analytic: Array
    numerical: Array
    tolerance: Array
    smooth: Mask
    resolved: Mask
    wrong: Mask
    values: Array | None = None
    finer: Array | None = None

    def right(self) -> bool:
        """Whether elements that the difference knows well are there, and none is wrong."""
        return bool(self.resolved.any() and not self.wrong.any())

    def agrees(self, corrected: Array, but: Any = False) -> bool:
        """Whether this gradient equals the difference at all smooth elements, but for some."""
        compared = self.smooth & np.logical_not(but)
        within = np.abs(corrected - self.numerical) <= self.tolerance
        return bool((self.resolved & compared).any() and within[compared].all())

    def element(self, place: int) -> str:
        """Return the name of an element, counted in C order."""
        return where(self.name, [int(k) for k in np.unravel_index(place, self.smooth.shape)])

    def multiple(self, y: Array, x: Array) -> tuple[float, float]:
        """Return the c of the least squares y = c x, each element weighed by its tolerance, and its relative error."""
        among = self.smooth & (self.tolerance > 0)
        y, x = y[among] / self.tolerance[among], x[among] / self.tolerance[among]
        length = float(np.linalg.norm(x))
        c = float(y @ (x / length)) / length if length else 0.0
        return c, 1 / (abs(c) * length) if c and length else np.inf
