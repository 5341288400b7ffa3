"""A tape of the NumPy operations that a Python function does with its arrays, some of which a rule may replace.

The arrays that go in are of class Traced, and so are all that NumPy makes of them. A function that leaves NumPy, or
asks for a plain array, leaves the tape: its further operations are not seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.differences.arguments import rebuilt

Array = NDArray[Any]

REDUCING_UFUNCS = {"add": "sum", "maximum": "max", "minimum": "min", "multiply": "prod", "logaddexp": "logsumexp"}
REDUCTIONS = {*REDUCING_UFUNCS.values(), "mean", "average", "amax", "amin", "std", "var", "norm", "median"}

MOST_OPERATIONS = 10_000
INPUT, UNTRACED, PART = -1, -2, -3  # makers that are no operation; a part is one of several results, as split has
MOST_SOURCES = 32


@dataclass(frozen=True)
class Operation:
    """One operation on the tape.

    shapes are those of its arrays, makers the numbers of the operations that made them, or INPUT for what went in,
    UNTRACED, or PART. axes are those that a reduction runs over, None for everything else. joined are the reductions
    whose results it combines with larger arrays: they are parts of a formula and not the loss. transposed says that its
    first array is transposed in memory, narrowed that doubles went in and single precision came out.
    """

    number: int
    name: str
    shapes: tuple[tuple[int, ...], ...]
    makers: tuple[int, ...]
    result_shape: tuple[int, ...]
    axes: tuple[int, ...] | None
    elementwise: bool
    joined: frozenset[int]
    transposed: bool
    narrowed: bool

    def over(self) -> str:
        """Return in words the numbers that a reduction runs over."""
        shape = self.shapes[0]
        numbers = " x ".join(map(str, shape))
        if self.axes is not None and len(self.axes) < len(shape):
            return f"over axis {', '.join(map(str, self.axes))} of {numbers} numbers"
        return f"over {'all ' if len(shape) > 1 else ''}{numbers} numbers"


@dataclass(frozen=True)
class Call:
    """An operation as it was called, and its result: a rule makes the replacement of them."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    settings: Mapping[str, Any]
    result: Array

    def over(self, axis: int, keepdims: bool) -> Array:
        """Return the reduction over another axis."""
        settings = {key: value for key, value in self.settings.items() if key not in ("axis", "keepdims", "out")}
        if self.function is np.linalg.norm and len(self.arguments) > 1:
            settings["ord"] = self.arguments[1]
        return np.asarray(self.function(self.arguments[0], **settings, axis=axis, keepdims=keepdims))


# Returns the replacement of an operation's result, or None to leave it.
Rule = Callable[[Operation, Call], Array | None]


@dataclass
class Tape:
    """The operations of one evaluation, in order; the rule replaces the results of some."""

    rule: Rule | None = None
    operations: list[Operation] = field(default_factory=list)
    is_open: bool = True

    def traced(self, array: Array) -> "Traced":
        """Return a copy of the array that records on this tape."""
        copy = np.array(array).view(Traced)
        copy.tape = self
        return copy

    def record(
        self, function: Callable[..., Any], name: str, arguments: tuple[Any, ...], settings: dict[str, Any],
        elementwise: bool = False,
    ) -> Any:  # fmt: skip
        """Perform an operation on plain arrays; its result is traced, where it is numbers."""
        if not self.is_open:  # f has kept an array
            return function(*_plain(arguments), **{key: _plain(value) for key, value in settings.items()})
        inputs = [a for a in _flat(arguments) if isinstance(a, (np.ndarray, np.generic))]
        plain, plain_settings = _plain(arguments), {key: _plain(value) for key, value in settings.items()}
        result = function(*plain, **plain_settings)
        number = len(self.operations)
        if number == MOST_OPERATIONS:
            raise RuntimeError(f"more than {number:,} operations")
        if isinstance(result, (tuple, list)):
            return rebuilt(result, [self._wrapped(part, frozenset(), PART) for part in result])
        if not isinstance(result, (np.ndarray, np.generic)):
            return result
        axes = _axes(name, plain, plain_settings) if name in REDUCTIONS else None
        smaller = frozenset(s for a in inputs if a.size < result.size for s in _sources(a))
        operation = Operation(
            number, name, tuple(a.shape for a in inputs), tuple(getattr(a, "maker", UNTRACED) for a in inputs),
            result.shape, axes, elementwise, smaller if elementwise else frozenset(),
            _is_transposed(inputs[0]), _narrows(inputs, result),
        )  # fmt: skip
        self.operations.append(operation)
        sources = frozenset((number,))
        if axes is None:
            sources = frozenset(s for a in inputs if a.size == result.size for s in _sources(a))
            if len(sources) > MOST_SOURCES:  # the sum of a long loop
                sources = frozenset()
        replaced = None
        if self.rule is not None:
            replaced = self.rule(operation, Call(function, plain, plain_settings, np.asarray(result)))
        out = settings.get("out")
        if out is None:
            return self._wrapped(result if replaced is None else replaced, sources, number)
        target = out[0] if isinstance(out, tuple) else out
        if replaced is not None:
            np.copyto(_plain(target), replaced)
        if isinstance(target, Traced):
            target.sources, target.maker = sources, number
        return target

    def _wrapped(self, result: Any, sources: frozenset[int], maker: int) -> Any:
        if not self.is_open or not isinstance(result, (np.ndarray, np.generic)) or result.dtype.kind not in "fiub":
            return result
        wrapped = np.asarray(result).view(Traced)
        wrapped.tape, wrapped.sources, wrapped.maker = self, sources, maker
        return wrapped


class Traced(np.ndarray):
    """An array whose operations are recorded; numbers stay arrays of no dimension, so that they are seen too."""

    tape: Tape = Tape(is_open=False)
    sources: frozenset[int] = frozenset()
    maker: int = INPUT

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Traced):
            self.tape, self.sources, self.maker = parent.tape, parent.sources, parent.maker

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        reduces = method == "reduce" and ufunc.__name__ in REDUCING_UFUNCS
        name = REDUCING_UFUNCS[ufunc.__name__] if reduces else ufunc.__name__
        elementwise = method == "__call__" and ufunc.nin == 2 and ufunc.signature is None
        tape = next(a.tape for a in (*inputs, *settings.get("out", ())) if isinstance(a, Traced))
        if reduces:
            settings.setdefault("axis", 0)
        return tape.record(getattr(ufunc, method), name, inputs, settings, elementwise)

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        name = function.__name__
        return self.tape.record(function, name, tuple(arguments), dict(settings), name == "where")

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(_plain(index))
        return part if isinstance(part, np.ndarray) else self.tape._wrapped(part, self.sources, self.maker)

    def astype(self, *arguments: Any, **settings: Any) -> Any:
        """Convert as any array does; a change of precision is recorded."""
        return self.tape.record(np.ndarray.astype, "astype", (self, *arguments), settings)

    # these go by way of a ufunc and a division by the count, or leave the tape
    def mean(self, *arguments: Any, **settings: Any) -> Any:
        """np.mean, recorded as that."""
        return np.mean(self, *arguments, **settings)

    def std(self, *arguments: Any, **settings: Any) -> Any:
        """np.std, recorded as that."""
        return np.std(self, *arguments, **settings)

    def var(self, *arguments: Any, **settings: Any) -> Any:
        """np.var, recorded as that."""
        return np.var(self, *arguments, **settings)

    def dot(self, *arguments: Any) -> Any:
        """np.dot, recorded as that."""
        return np.dot(self, *arguments)

    # a number is no array to others who hold it: total += term makes a new one
    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self + other if self.ndim == 0 else super().__iadd__(other)

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self - other if self.ndim == 0 else super().__isub__(other)

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self * other if self.ndim == 0 else super().__imul__(other)

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self / other if self.ndim == 0 else super().__itruediv__(other)


def _sources(array: Any) -> frozenset[int]:
    return getattr(array, "sources", frozenset())


def _flat(arguments: Any) -> Any:
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            yield from _flat(argument)
        else:
            yield argument


def _plain(value: Any) -> Any:
    """Return a value, or a list of values, with plain arrays."""
    if isinstance(value, Traced):
        return value.view(np.ndarray)
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _axes(name: str, arguments: tuple[Any, ...], settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the axes that a reduction of its first argument runs over."""
    place = 2 if name == "norm" else 1
    axis = settings.get("axis", arguments[place] if len(arguments) > place else None)
    ndim = np.ndim(arguments[0])
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(k % ndim for k in axes))


def _is_transposed(array: Any) -> bool:
    return bool(array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous)


def _narrows(inputs: list[Any], result: Any) -> bool:
    """Whether doubles went in and single precision came out."""
    return result.dtype.kind == "f" and result.dtype.itemsize < 8 and any(a.dtype == np.float64 for a in inputs)
