"""Arrays that somebody else's function is called with: what it changes is said, and put back."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Watched:
    """The bytes of some arrays, by name; they are restored when the block ends, however it ends."""

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

    def look(self, who: str) -> None:
        """Raise ValueError, and restore the arrays, if one of them is not as it was."""
        for name in self._changed():
            array, copy = self.arrays[name], self.copies[name]
            index = tuple(int(i) for i in np.argwhere(_differ(array, copy))[0])
            place = f"{name}[{', '.join(map(str, index))}]" if index else name
            before, after = told_apart(copy[index], array[index])
            array[...] = copy
            raise ValueError(
                f"{who} changed {place} from {before} to {after}, expected a function that leaves its argument "
                f"as it is (it is restored): let it work on a copy, as in x = x.copy()"
            )

    def _changed(self) -> list[str]:
        return [name for name, array in self.arrays.items() if array.tobytes() != self.copies[name].tobytes()]


def told_apart(one: Any, other: Any) -> tuple[str, str]:
    """Two numbers that are not the same, with as many digits as that takes."""
    digits = 17 if f"{one:.6g}" == f"{other:.6g}" else 6
    return f"{one:.{digits}g}", f"{other:.{digits}g}"


def _differ(array: Array, copy: Array) -> NDArray[np.bool_]:
    """Elements whose bytes differ: NaN may be equal, 0 and -0 not."""
    old, new = (np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(*a.shape, -1) for a in (copy, array))
    result: NDArray[np.bool_] = (old != new).any(axis=-1)
    return result
