"""The right numbers in the wrong places: transposed, reversed, rolled, swapped, or those of another parameter."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.cases import Case

Array = NDArray[Any]

LISTED = 5


def rearranged(case: Case, cases: Sequence[Case]) -> str:
    """Return the arrangement that puts every number where it belongs, the simplest first; empty if none does."""
    if np.count_nonzero(case.wrong) < 2:
        return ""
    if case.smooth.size == 2:
        return _moved(case) or _of_another(case, cases)
    looks = (_transposed, _rolled, _reversed, _swapped_lines, _moved, lambda case: _of_another(case, cases))
    return next(filter(None, (look(case) for look in looks)), "")


def _transposed(case: Case) -> str:
    a = case.analytic
    if a.ndim == 2 and case.agrees(a.reshape(a.shape[::-1]).T):
        square = a.shape[0] == a.shape[1]
        return f"{{}} is transposed{'' if square else ' in memory: reshape where .T was meant?'}"
    return ""


def _rolled(case: Case) -> str:
    """Explain a shift by one, where the numbers that came over the edge may have been dropped, or by more."""
    a = case.analytic
    for step in (-1, 1):
        if sum(n > 1 for n in a.shape) > 1 and case.agrees(np.roll(a, step)):
            return "{} is shifted by one element in memory"
    for axis in range(a.ndim):
        for step in (-1, 1):
            edge = np.arange(a.shape[axis]) == (0 if step == 1 else a.shape[axis] - 1)
            edge = edge.reshape([-1 if k == axis else 1 for k in range(a.ndim)])
            if np.count_nonzero(case.wrong & ~edge) >= 2 and case.agrees(np.roll(a, step, axis), edge):
                return f"{{}} is shifted by one {_line(a.ndim, axis)}"
    for axis in range(a.ndim):
        for step in _steps(case, axis):
            if case.agrees(np.roll(a, step, axis)):
                step = min(step, a.shape[axis] - step)
                return f"{{}} is shifted by {'one' if step == 1 else step} {_line(a.ndim, axis)}{'s' * (step > 1)}"
    return ""


def _line(ndim: int, axis: int) -> str:
    return "element" if ndim == 1 else ("row", "column")[axis] if ndim == 2 else f"place along axis {axis}"


def _steps(case: Case, axis: int) -> Iterator[int]:
    """Yield the steps by which the largest value may have been moved along an axis."""
    sizes = np.where(case.resolved & case.wrong, np.abs(case.numerical), 0.0)
    place = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
    line = tuple(slice(None) if k == axis else index for k, index in enumerate(place))
    apart = np.abs(case.analytic[line] - case.numerical[place])
    for at in np.flatnonzero(apart <= case.tolerance[place])[:LISTED]:
        yield int((place[axis] - at) % case.analytic.shape[axis])


def _reversed(case: Case) -> str:
    for axis in range(case.analytic.ndim):
        if case.agrees(np.flip(case.analytic, axis)):
            return "{} is in reverse order" + (f" along axis {axis}" if case.analytic.ndim > 1 else "")
    return ""


def _swapped_lines(case: Case) -> str:
    """Explain two rows or columns in each other's place."""
    a = case.analytic
    for axis in range(a.ndim) if a.ndim > 1 else ():
        lines = np.flatnonzero(case.wrong.any(axis=tuple(k for k in range(a.ndim) if k != axis)))
        if len(lines) == 2:
            order = np.arange(a.shape[axis])
            order[lines] = lines[::-1]
            if np.count_nonzero(case.wrong) > 2 and case.agrees(a.take(order, axis)):
                line = f"{_line(a.ndim, axis)}s" if a.ndim == 2 else f"places along axis {axis}"
                return f"{line} {lines[0]} and {lines[1]} of {{}} are swapped"
    return ""


def _moved(case: Case) -> str:
    """Explain wrong elements that have each other's values: a swapped pair, a rolled segment, any other order."""
    places = np.flatnonzero(case.wrong)
    values, meant = case.analytic.flat[places], case.numerical.flat[places]
    # of all ways to match two sets of numbers, that by size has the smallest largest distance
    came, belongs = np.argsort(values, kind="stable"), np.argsort(meant, kind="stable")
    put_right = values.copy()
    put_right[belongs] = values[came]
    if not case.agrees(_with(case.analytic, places, put_right)):
        return ""
    names = [case.element(place) for place in places[:LISTED]]
    if len(places) == 2:
        return f"{names[0]} and {names[1]} are swapped"
    last = case.element(places[-1])
    contiguous = places[-1] - places[0] == len(places) - 1
    for step in range(1, len(places)) if contiguous and len(places) <= 64 else ():
        if case.agrees(_with(case.analytic, places, np.roll(values, -step))):
            step = min(step, len(places) - step)
            return f"{names[0]} to {last} are rolled by {step}"
    if len(places) > LISTED:
        names = [names[0], f"... {last}"]
    return f"{len(places):,} elements of {{}} have each other's values: {', '.join(names)}"


def _with(array: Array, places: NDArray[np.intp], values: Array) -> Array:
    changed = array.copy()
    changed.flat[places] = values
    return changed


def _of_another(case: Case, cases: Sequence[Case]) -> str:
    a = case.analytic
    for other in cases:
        for b, how in ((a, ""), (a.T, ", transposed")):
            if (
                other is not case
                and b.shape == other.smooth.shape
                and np.count_nonzero(other.resolved) >= 2
                and other.agrees(b)
            ):
                return f"the gradient of {{}} looks like that of {other.name}{how}"
    return ""
