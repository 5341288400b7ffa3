"""Grids of points over a rectangle of the plane, and a function's values on them."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nncore.plotting import arguments

Array = NDArray[Any]
Scalar: TypeAlias = Callable[[Array], float]  # of a point (2,)
Extent: TypeAlias = tuple[float, float, float, float]  # as Matplotlib's: left, right, bottom, top


def around(points: Array, margin: float) -> Extent:
    """The rectangle that holds the points, wider on each side by this part of its size."""
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    dx, dy = (margin * (size or 1.0) for size in (right - left, top - bottom))
    return left - dx, right + dx, bottom - dy, top + dy


def points(extent: Extent, n: int) -> NDArray[np.float64]:
    """Points (n, n, 2) over a rectangle; axis 0 goes up."""
    left, right, bottom, top = arguments.limits(extent, 4, "extent")
    return np.stack(np.meshgrid(np.linspace(left, right, n), np.linspace(bottom, top, n)), axis=-1)


def values(f: Scalar, points: Array) -> Array:
    """Values of f at every point of a grid (n, n, 2)."""
    return np.array([float(f(point)) for point in points.reshape(-1, 2)]).reshape(points.shape[:2])
