"""Which elements, and which arrays, lie in the same memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def overlapping(array: Array) -> bool:
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


def shared(arrays: Sequence[tuple[str, Array]]) -> tuple[str, str] | None:
    """The names of two arrays with common memory, if there are such."""
    for i, (name, array) in enumerate(arrays):
        for other_name, other in arrays[:i]:
            if np.may_share_memory(array, other) and np.shares_memory(array, other):
                return other_name, name
    return None
