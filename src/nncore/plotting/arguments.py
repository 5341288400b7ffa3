"""The checks of numbers to draw: rows, points of the plane, classes and limits."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks


def row(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers (n,), at least one."""
    array = np.asarray(checks.floats(values, name), dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n,) with at least one number")
    return checks.finite(array, name)


def points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers (n, 2), at least one row."""
    array = np.asarray(checks.floats(values, name), dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n, 2) with at least one point")
    return checks.finite(array, name)


def classes(t: ArrayLike, n_samples: int, name: str = "y") -> NDArray[np.intp]:
    """Class numbers (n_samples,), of 0 or more."""
    array = checks.numbers(t, name)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({n_samples},), a class a sample")
    return checks.labels(array, name, int(max(array.max(), 0)) + 1)


def limits(values: Any, n: int, name: str) -> tuple[float, ...]:
    """Pairs of finite numbers, the second of a pair the greater."""
    array = row(values, name)
    if array.size != n or not (array[::2] < array[1::2]).all():
        raise ValueError(f"{name} is {values}, expected {n} numbers, in each pair the lesser before the greater")
    return tuple(array.tolist())
