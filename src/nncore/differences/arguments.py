"""The arguments of a user's function: whether a step in one can be taken, and whether the function has changed one."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core.checks import finite, numbers

Array = NDArray[Any]


def perturbable(x: Any, name: str, *, in_place: bool) -> Array:
    """Return an array of finite floats, writable if it is changed in place."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        got = f"an array of dtype {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(f"{name} is {got}, expected an array of floats: a step added to an integer vanishes")
    if in_place and not x.flags.writeable:
        raise TypeError(f"{name} is read-only, expected a writable array: its elements are changed in place")
    if _overlapping(x):
        raise ValueError(f"{name} has elements that share memory, expected an array of its own: pass a copy of it")
    return finite(x, name)


def _overlapping(array: Array) -> bool:
    """Whether two elements of an array lie in the same memory."""
    reach = array.itemsize
    for size, stride in sorted(zip(array.shape, map(abs, array.strides), strict=True), key=lambda pair: pair[1]):
        if size > 1:
            if stride < reach:
                break
            reach += stride * (size - 1)
    else:
        return False
    offsets = np.zeros(1, np.intp)
    for size, stride in zip(array.shape, array.strides, strict=True):
        offsets = np.add.outer(offsets, stride * np.arange(size)).reshape(-1)
    offsets = np.sort(offsets)
    return bool((np.diff(offsets) < array.itemsize).any())


def separate(arrays: Sequence[tuple[str, Array]]) -> None:
    """Raise ValueError if two of these named arrays have common memory: a step in one would move the other."""
    names = _shared(arrays)
    if names:
        raise ValueError(f"{names[0]} and {names[1]} share memory, expected arrays of their own: pass a copy of one")


def _shared(arrays: Sequence[tuple[str, Array]]) -> tuple[str, str] | None:
    """Return the names of two arrays with common memory, or None."""
    for i, (name, array) in enumerate(arrays):
        for other_name, other in arrays[:i]:
            if np.may_share_memory(array, other) and np.shares_memory(array, other):
                return other_name, name
    return None


def array_keys(x: Any, name: str) -> list[Any]:
    """Return the keys or positions of a container's arrays."""
    keys = list(x) if isinstance(x, dict) else list(range(len(x)))
    if not any(isinstance(x[key], np.ndarray) for key in keys) and keys:
        raise TypeError(
            f"{name} is a {type(x).__name__}, expected an array of floats, or a dict, list or tuple of arrays"
        )
    return keys


def bounds_of(value: Any, x: Array, name: str) -> tuple[Array, Array] | None:
    """Return bounds (low, high) that x lies within, numbers or arrays, each in the shape of x."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"bounds is a {type(value).__name__}, expected a pair (low, high) of numbers or arrays")
    try:
        low, high = (np.broadcast_to(numbers(side, "bounds"), x.shape) for side in value)
    except ValueError:
        raise ValueError(f"bounds has shapes {[np.shape(v) for v in value]}, expected {x.shape} to match x") from None
    outside = ~((low <= x) & (x <= high) & (low < high))
    if outside.any():
        i = tuple(int(k) for k in np.argwhere(outside)[0])
        where = f"{name}[{', '.join(map(str, i))}]"
        raise ValueError(f"{where} is {x[i]}, expected bounds around it: they are {low[i]} and {high[i]}")
    return low, high


def inward(limits: tuple[Array, Array] | None, x: Array) -> tuple[Array, Array]:
    """Return bounds in the type of x, rounded inwards; without bounds the largest numbers of the type."""
    if limits is None or np.iscomplexobj(x):
        largest = np.asarray(np.finfo(x.dtype).max, dtype=x.real.dtype)
        return -largest, largest
    low, high = (side.reshape(-1).astype(x.dtype) for side in limits)
    low = np.where(low < limits[0].reshape(-1), np.nextafter(low, np.inf, dtype=x.dtype), low)
    high = np.where(high > limits[1].reshape(-1), np.nextafter(high, -np.inf, dtype=x.dtype), high)
    largest = np.finfo(x.dtype).max
    return np.clip(low, -largest, largest), np.clip(high, -largest, largest)


def inward_at(limits: tuple[Array, Array] | None, x: Array, elements: NDArray[np.intp]) -> tuple[Array, Array]:
    """Return the bounds of these elements, as inward does."""
    low, high = (np.broadcast_to(side, x.shape)[elements] for side in inward(limits, x))
    return low, high


def copied(argument: Any) -> Any:
    """Return a copy of an argument: an array, or a container of arrays of its own."""
    if isinstance(argument, dict):
        return {key: np.array(value) for key, value in argument.items()}
    if isinstance(argument, (list, tuple)):
        return rebuilt(argument, [np.array(value) for value in argument])
    return np.array(argument)


def replaced(argument: Any, key: Any, x: Array) -> Any:
    """Return a container with another array at key."""
    if isinstance(argument, dict):
        return {**argument, key: x}
    return rebuilt(argument, [x if i == key else value for i, value in enumerate(argument)])


def rebuilt(container: Any, items: list[Any]) -> Any:
    """Return a list or (named) tuple like this one with other items."""
    return container._make(items) if hasattr(container, "_make") else type(container)(items)


class Watched:
    """A guard of some arrays, by name: their bytes are restored when the block ends, however it ends."""

    def __init__(self, arrays: Mapping[str, Array]):
        self.arrays = dict(arrays)
        self.copies = {name: np.array(array) for name, array in arrays.items()}

    def __enter__(self) -> "Watched":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in self._changed():
            self.arrays[name][...] = self.copies[name]

    def expect_unchanged(self, who: str) -> None:
        """Raise ValueError, and restore the array, if one of them is not as it was."""
        for name in self._changed():
            array, copy = self.arrays[name], self.copies[name]
            index = tuple(int(i) for i in np.argwhere(_differ(array, copy))[0])
            place = f"{name}[{', '.join(map(str, index))}]" if index else name
            before, after = distinct_digits(copy[index], array[index])
            array[...] = copy
            raise ValueError(
                f"{who} changed {place} from {before} to {after}, expected a function that leaves its argument "
                f"as it is (it is restored): let it work on a copy, as in x = x.copy()"
            )

    def _changed(self) -> list[str]:
        return [name for name, array in self.arrays.items() if array.tobytes() != self.copies[name].tobytes()]


def distinct_digits(one: Any, other: Any) -> tuple[str, str]:
    """Return two numbers as text, with enough digits to see that they differ."""
    digits = 17 if f"{one:.6g}" == f"{other:.6g}" else 6
    return f"{one:.{digits}g}", f"{other:.{digits}g}"


def _differ(array: Array, copy: Array) -> NDArray[np.bool_]:
    """Return where the bytes of elements differ: NaN may be equal, 0 and -0 not."""
    old, new = (np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(*a.shape, -1) for a in (copy, array))
    result: NDArray[np.bool_] = (old != new).any(axis=-1)
    return result
