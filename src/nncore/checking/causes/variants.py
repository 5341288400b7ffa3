"""Variants of a function that were perhaps meant: each is a rule for its tape, and the words for it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.tape import Call, Operation, Rule

Array = NDArray[Any]

ROWS = "rows"


@dataclass(frozen=True)
class Variant:
    """A rule under which f is the function that was meant: what f does now, and what would be right."""

    kind: str
    what: str
    right: str
    rule: Rule


def variants(operations: Sequence[Operation]) -> Iterator[Variant]:
    """Yield the functions that may have been meant, the likelier first."""
    yield from _of_one_shape(operations)
    yield from _over_other_axes(operations)
    yield from _by_rows(operations)


# ---- shapes ----


def is_outer(operation: Operation) -> bool:
    """Whether it combines (n, 1) with (n,) or (1, n) to (n, n)."""
    if not operation.elementwise or len(operation.shapes) < 2:
        return False
    pair = operation.shapes[-2:]
    n = max(itertools.chain(*pair), default=0)
    return n > 1 and (n, 1) in pair and ((n,) in pair or (1, n) in pair)


def broadcast(operation: Operation) -> str:
    """Return in words how an operation that is_outer combines its arrays."""
    one, other = operation.shapes[-2:]
    return f"broadcasts {one} with {other} to {operation.result_shape} in {operation.name}"


def _of_one_shape(operations: Sequence[Operation]) -> Iterator[Variant]:
    """Yield f with n results wherever (n, 1) and (n,) meet, also after operations that were replaced."""
    outer = list(filter(is_outer, operations))
    for shape in ((-1, 1), (-1,)) if outer else ():

        def rule(operation: Operation, call: Call, shape: tuple[int, ...] = shape) -> Array | None:
            if not is_outer(operation):
                return None
            return np.asarray(call.function(*(np.reshape(a, shape) if np.size(a) > 1 else a for a in call.arguments)))

        yield Variant("shapes", broadcast(outer[0]), "both of one shape, so ravel or reshape one of them", rule)


def _by_rows(operations: Sequence[Operation]) -> Iterator[Variant]:
    """Yield f with (n,) applied to the rows of (n, n) where it is applied to the columns."""
    for chosen in operations:
        line, square = sorted(chosen.shapes, key=len)[:2] if len(chosen.shapes) == 2 else ((), ())
        if chosen.elementwise and len(line) == 1 and square == line * 2 and line[0] > 1:

            def rule(operation: Operation, call: Call, number: int = chosen.number) -> Array | None:
                if operation.number != number:
                    return None
                return np.asarray(call.function(*(a[:, None] if np.ndim(a) == 1 else a for a in call.arguments)))

            what = f"applies {line} to the columns of {square} in {chosen.name}"
            yield Variant(ROWS, what, "its rows, as with [:, None]", rule)


# ---- axes ----


def in_formulas(operations: Sequence[Operation]) -> set[int]:
    """Return the numbers of the reductions that are part of a formula, as the sum in a softmax is."""
    return {number for operation in operations for number in operation.joined}


def _over_other_axes(operations: Sequence[Operation]) -> Iterator[Variant]:
    """Yield f with a softmax, a mean, ... over another axis."""
    joined = in_formulas(operations)
    seen = set()
    for group in _groups(operations, joined):
        first = operations[group[0]]
        ndim, keep = len(first.shapes[0]), first.number in joined
        for axis in reversed(range(ndim)) if ndim > 1 else ():
            same = first.axes == (axis,) and (axis == 0 or not keep or len(first.result_shape) == ndim)
            if same or (axis, *group) in seen:
                continue
            seen.add((axis, *group))

            def rule(
                operation: Operation, call: Call,
                numbers: frozenset[int] = frozenset(group), axis: int = axis, keep: bool = keep,
            ) -> Array | None:  # fmt: skip
                return call.over(axis, keep) if operation.number in numbers else None

            name = _called(group, operations)
            without = " without keepdims" if first.axes == (axis,) else ""
            right = f"axis={axis}{', keepdims=True' if keep else ''}"
            yield Variant(name, f"takes the {name} {first.over()}{without}", right, rule)


def _groups(operations: Sequence[Operation], joined: set[int]) -> Iterator[list[int]]:
    """Yield reductions that belong together: of formulas over the same axes, of one formula, of two; single ones."""
    alike: dict[Any, list[int]] = {}
    for number in sorted(joined):
        alike.setdefault(operations[number].axes, []).append(number)
    yield from alike.values()
    groups = [sorted(operation.joined) for operation in operations if operation.joined]
    yield from groups
    yield from (sorted({*a, *b}) for a, b in itertools.pairwise(groups))
    yield from ([o.number] for o in operations if o.axes is not None and len(o.axes) == 1 and o.number not in joined)


def _called(group: Sequence[int], operations: Sequence[Operation]) -> str:
    """Return the name of some reductions, such as softmax, or mean and std."""
    if any(is_of_exp(operations[number], operations) for number in group):
        return "softmax"
    return " and ".join(dict.fromkeys(operations[number].name for number in group))


def is_of_exp(operation: Operation, operations: Sequence[Operation]) -> bool:
    """Whether it is the sum in a softmax."""
    maker = operation.makers[0]
    return operation.name == "logsumexp" or (operation.name == "sum" and maker >= 0 and operations[maker].name == "exp")
