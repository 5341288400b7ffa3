"""Schemes of numerical differentiation: where a function is taken, and the slope from its values there.

Sources: W. Press et al., Numerical Recipes, section 5.7 (steps, Ridders' extrapolation); B. Fornberg, Mathematics of
Computation 51 (1988), 699 (weights for arbitrary points).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks

Array = NDArray[Any]
METHODS = ("central", "forward", "backward", "complex", "richardson")

# Where f is taken, in steps from x.
FIVE = (1.0, -1.0, 0.5, -0.5)
LADDER = tuple(sign / 2**k for k in range(5) for sign in (1.0, -1.0))
ONE_SIDED = (1.0, 0.5)

# Differences of two values, or of one and f(x): whether x + h and x - h are taken.
TWO_POINTS = {"central": (True, True), "forward": (True, False), "backward": (False, True)}

# The default step is (noise * eps)**power: truncation (h**order) and rounding (eps / h) are then of one size.
POWERS = {"forward": 1 / 2, "backward": 1 / 2, "central": 1 / 3, "order 4": 1 / 5, "richardson": 1 / 7}
COMPLEX_STEP = 1e-20  # no difference is taken, nothing cancels: h**2 may vanish beside 1


class Scheme(NamedTuple):
    """A scheme with its settings; h = 0 is the default step."""

    method: str
    order: int
    h: float
    noise: float

    @property
    def kind(self) -> str:
        """The scheme's name in POWERS."""
        return "order 4" if self.order == 4 else self.method

    @property
    def nodes(self) -> tuple[float, ...]:
        """The points the scheme needs."""
        plain: dict[str, tuple[float, ...]] = {
            "forward": (1.0,),
            "backward": (-1.0,),
            "central": (1.0, -1.0),
            "order 4": FIVE,
            "richardson": LADDER,
        }
        return plain.get(self.kind, ())  # the complex step has a point of its own


def scheme_of(method: str, order: int, h: float | None, noise: float) -> Scheme:
    """Return a scheme of these settings, which are checked."""
    checks.choice(method, "method", METHODS)
    if order not in (2, 4):
        raise ValueError(f"order is {order!r}, expected 2 or 4")
    if order == 4 and method != "central":
        raise ValueError(f"order is 4 and method is {method!r}, expected method 'central' with order 4")
    step = 0.0 if h is None else checks.positive_float(h, "h")
    return Scheme(method, order, step, checks.positive_float(noise, "noise"))


def relative_step(error: float, power: float) -> float:
    """Return the default step beside 1, a power of 2, which times x is exact; at most 1/8 whatever the noise."""
    return math.ldexp(1.0, min(-3, round(power * math.log2(error))))


def slope(t: Array, rise: Array, columns: Sequence[int], through_x: bool = False) -> tuple[Array, Array]:
    """Return the slope at x of a polynomial through x + t[:, columns], and the sum of the weights' sizes.

    through_x: whether the polynomial goes through x too; rise: f at the points less f(x); the weights of all points
    add to 0. Where steps vanished, the slope is 0.
    """
    if len(columns) == 2 - through_x:
        # one difference, at the cost of one rounding
        first, last = columns[0], columns[-1]
        width = t[:, first] - (0 if through_x else t[:, last])
        height = rise[:, first] - (0 if through_x else rise[:, last])
        value: Any = np.where(width == 0, 0.0, height / width)
        return value, 1 / np.abs(width) * np.full_like(value, 2 - through_x)
    value, amplified = np.zeros(()), np.zeros(())
    for j in columns:
        others = [t[:, m] for m in columns if m != j]
        denominator = np.prod([t[:, j] - other for other in others], axis=0) * (t[:, j] if through_x else 1.0)
        if through_x:
            numerator = np.prod([-other for other in others], axis=0)
        else:
            numerator = sum(np.prod([-o for m, o in enumerate(others) if m != i], axis=0) for i in range(len(others)))
        weight = numerator / denominator
        weight = np.where(np.isfinite(weight), weight, 0.0)
        value = value + weight * rise[:, j]
        amplified = amplified + np.abs(weight)
    return value, amplified * np.ones_like(value)


def ridders(t: Array, rise: Array) -> tuple[Array, Array]:
    """Return central differences of steps h, h/2, h/4, ... extrapolated to h = 0, and the sum of the weights' sizes."""
    best: Any = None
    previous: list[Array] = []
    for k in range(t.shape[1] // 2):
        central, amplified = slope(t, rise, (2 * k, 2 * k + 1))
        row = [central]
        for j, coarser in enumerate(previous, start=1):
            row.append(row[-1] + (row[-1] - coarser) / (4.0**j - 1))
            error = np.maximum(np.abs(row[-1] - row[-2]), np.abs(row[-1] - coarser))
            if best is None:
                best = (row[-1], error, amplified)
            else:
                better = error < best[1]
                best = tuple(
                    np.where(better, new, old) for new, old in zip((row[-1], error, amplified), best, strict=True)
                )
        previous = row
    value, _, amplified = best
    return value, 2 * amplified
