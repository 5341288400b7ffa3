"""Pictures of functions: tangents, gradients, surfaces, and the path of a descent."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nncore.core import checks
from nncore.differences.gradient import numerical_diff, numerical_gradient
from nncore.plotting import arguments, canvas, grids
from nncore.plotting.grids import Extent, Scalar
from nncore.plotting.style import BLACK, BLUE, COLOURS, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped, unused-ignore]

SQUARE: Extent = (-3.0, 3.0, -3.0, 3.0)


def plot_function_and_tangent(
    f: Callable[[float], float],
    x0s: float | Sequence[float],
    x_range: tuple[float, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw y = f(x) and its tangents, whose slopes are numerical_diff(f, x0).

    Parameters
    ----------
    f : callable
        Takes and returns a float.
    x0s : float or sequence of float
        Where the tangents touch.
    x_range : (float, float), optional
        First and last x; by default wide enough for all x0s.
    ax : Axes, optional
        To draw on; by default new ones.

    Returns
    -------
    Axes
        Its lines are the curve, then for each x0 the tangent and the point of contact.

    Raises
    ------
    TypeError, ValueError
        If x0s or x_range is not such numbers.

    Examples
    --------
    >>> ax = plot_function_and_tangent(lambda x: 0.01 * x**2 + 0.1 * x, [5, 10], (0, 20))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['f(x)', 'slope 0.2 at 5', 'slope 0.3 at 10']
    """
    touching = arguments.row(np.atleast_1d(np.asarray(x0s)), "x0s")
    margin = max(np.ptp(touching), 1.0)
    wide = (touching.min() - margin, touching.max() + margin)
    start, end = arguments.limits(wide if x_range is None else x_range, 2, "x_range")
    x = np.linspace(start, end, 201)
    ax = canvas.axes(ax)
    ax.plot(x, [f(float(v)) for v in x], color=BLACK, label="f(x)")
    for x0, colour in zip(touching.tolist(), itertools.cycle(COLOURS[:-1])):
        slope, y0 = numerical_diff(f, x0), f(x0)
        ax.plot(x, y0 + slope * (x - x0), color=colour, lw=1.2, ls="--", label=f"slope {slope:.4g} at {x0:.4g}")
        ax.plot(x0, y0, "o", color=colour)
    ax.set(xlabel="x", ylabel="f(x)", xlim=(start, end))
    ax.legend(loc="upper left")
    return ax


def plot_gradient_field(f: Scalar, extent: Extent = SQUARE, ax: "Axes | None" = None, *, n: int = 17) -> "Axes":
    """Draw the negative gradients of f as arrows: they point where f falls fastest, long where it is steep.

    Parameters
    ----------
    f : callable
        Takes an array (2,), returns one number.
    extent : (float, float, float, float)
        Least and greatest x0, least and greatest x1.
    ax : Axes, optional
        To draw on; by default new ones.
    n : int
        Arrows along each side.

    Returns
    -------
    Axes
        With one Quiver, whose U and V are minus numerical_gradient(f, ...).

    Raises
    ------
    TypeError, ValueError
        If extent or n is not such numbers.

    Examples
    --------
    >>> ax = plot_gradient_field(lambda x: x[0] ** 2 + x[1] ** 2, n=5)
    >>> ax.collections[0].U.shape
    (25,)
    """
    points = grids.points(extent, checks.positive_int(n, "n"))
    slopes = np.array([numerical_gradient(f, point) for point in points.reshape(-1, 2)]).reshape(points.shape)
    ax = canvas.axes(ax)
    ax.quiver(*np.moveaxis(points, -1, 0), *np.moveaxis(-slopes, -1, 0), angles="xy", color=BLUE, width=0.004)
    ax.set(xlabel="$x_0$", ylabel="$x_1$", aspect="equal")
    return ax


def plot_surface(f: Scalar, extent: Extent = SQUARE, ax: "Axes3D | None" = None, *, n: int = 50) -> "Axes3D":
    """Draw the surface of f over a rectangle, in three dimensions.

    Parameters
    ----------
    f : callable
        Takes an array (2,), returns one number.
    extent : (float, float, float, float)
        Least and greatest x0, least and greatest x1.
    ax : Axes3D, optional
        As ``plt.subplots(subplot_kw={"projection": "3d"})`` makes them.
    n : int
        Points along each side.

    Returns
    -------
    Axes3D

    Raises
    ------
    TypeError, ValueError
        If extent or n is not such numbers, or ax has two dimensions.

    Examples
    --------
    >>> ax = plot_surface(lambda x: x[0] ** 2 + x[1] ** 2)
    >>> ax.name
    '3d'
    """
    points = grids.points(extent, checks.positive_int(n, "n"))
    space: Any = canvas.axes(ax, "3d")
    space.plot_surface(points[..., 0], points[..., 1], grids.values(f, points), cmap="viridis", rcount=n, ccount=n)
    space.set(xlabel="$x_0$", ylabel="$x_1$", zlabel="$f(x)$")
    space.set_box_aspect(None, zoom=0.85)  # else the label of the third axis is cut off
    return space


def plot_descent(f: Scalar, path: ArrayLike, extent: Extent | None = None, ax: "Axes | None" = None) -> "Axes":
    """Draw the path of a descent over the contours of f.

    Parameters
    ----------
    f : callable
        Takes an array (2,), returns one number.
    path : array_like of shape (n_points, 2)
        As gradient_descent returns it with return_path.
    extent : (float, float, float, float), optional
        Least and greatest x0, least and greatest x1; by default the path and a margin around it.
    ax : Axes, optional
        To draw on; by default new ones.

    Returns
    -------
    Axes
        Its lines are the path, its start and its end.

    Raises
    ------
    TypeError, ValueError
        If path or extent is not such numbers.

    Examples
    --------
    >>> ax = plot_descent(lambda x: x[0] ** 2 + x[1] ** 2, [[-3, 4], [-1, 1], [0, 0]])
    >>> ax.lines[0].get_xdata().tolist()
    [-3.0, -1.0, 0.0]
    """
    points = arguments.points(path, "path")
    contours = grids.points(grids.around(points, 0.15) if extent is None else extent, 80)
    ax = canvas.axes(ax)
    lines = ax.contour(*np.moveaxis(contours, -1, 0), grids.values(f, contours), 12, cmap="viridis", linewidths=0.8)
    ax.clabel(lines, fontsize=7, fmt="%.3g")
    ax.plot(*points.T, "o-", color=VERMILLION, ms=3, lw=1)
    ax.plot(*points[0], "o", color=BLACK, label="start")
    ax.plot(*points[-1], "*", color=BLACK, ms=11, label="end")
    ax.set(xlabel="$x_0$", ylabel="$x_1$")
    ax.legend(loc="upper right")
    return ax
