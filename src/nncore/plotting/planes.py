"""Pictures of points in the plane by class, and of a network's answers all over it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.plotting import arguments, canvas, grids
from nncore.plotting.style import BLACK, COLOURS, DARK_BACKGROUND, DARK_COLOURS, DARK_INK, WHITE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

Array = NDArray[Any]


def plot_points(X: ArrayLike, y: ArrayLike, ax: "Axes | None" = None, *, dark: bool = False) -> "Axes":
    """Draw points of the plane in the colours of their classes.

    Parameters
    ----------
    X : array_like of shape (n_samples, 2)
        The points.
    y : array_like of int, shape (n_samples,)
        Classes 0, 1, 2, ...
    ax : Axes, optional
        To draw on; by default new ones.
    dark : bool
        Bright points on a dark background; the figure (or subfigure) around the axes becomes dark as well.

    Returns
    -------
    Axes
        With one collection of points a class.

    Raises
    ------
    TypeError, ValueError
        If X or y is not such numbers.

    Examples
    --------
    >>> ax = plot_points([[0.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [0, 1, 1], dark=True)
    >>> [len(points.get_offsets()) for points in ax.collections]
    [1, 2]
    """
    points = arguments.points(X, "X")
    classes = arguments.classes(y, len(points))
    ax = canvas.axes(ax)
    _scatter(ax, points, classes, dark)
    ax.set(xlabel="$x_0$", ylabel="$x_1$")
    return ax


def plot_decision_boundary(
    predict: Callable[[Array], ArrayLike], X: ArrayLike, y: ArrayLike, ax: "Axes | None" = None, *, dark: bool = False
) -> "Axes":
    """Draw what a network of two classes says all over the plane, its boundary, and the points.

    Parameters
    ----------
    predict : callable
        Takes (n, 2), returns the score of class 1 as (n,) or (n, 1), or a score for each class as (n, 2). Two scores
        become one, (1 + y[:, 1] - y[:, 0]) / 2, of probabilities that of class 1. It is cut to [0, 1].
    X : array_like of shape (n_samples, 2)
        The points.
    y : array_like of int, shape (n_samples,)
        0 or 1.
    ax : Axes, optional
        To draw on; by default new ones.
    dark : bool
        As in plot_points.

    Returns
    -------
    Axes
        Filled contours of the score, the line where it is 0.5 (if it is anywhere), and the points.

    Raises
    ------
    TypeError, ValueError
        If X or y is not such numbers, or predict returns another shape.

    Examples
    --------
    >>> ax = plot_decision_boundary(lambda x: x[:, 0], [[0.0, 0.0], [1.0, 1.0]], [0, 1])
    >>> len(ax.collections)
    4
    """
    points = arguments.points(X, "X")
    classes = checks.labels(arguments.classes(y, len(points)), "y", 2)
    places = grids.points(grids.around(points, 0.08), 200)
    answers = checks.finite(checks.floats(predict(places.reshape(-1, 2)), "predict(x)"), "predict(x)")
    n = places.size // 2
    if answers.shape not in ((n,), (n, 1), (n, 2)):
        raise ValueError(f"predict(x) has shape {answers.shape}, expected ({n},), ({n}, 1) or ({n}, 2) for {n} points")
    scores = (1 + answers[:, 1] - answers[:, 0]) / 2 if answers.shape == (n, 2) else answers
    scores = np.clip(scores, 0, 1).reshape(places.shape[:2])
    ax = canvas.axes(ax)
    plane = np.moveaxis(places, -1, 0)
    filled = ax.contourf(*plane, scores, np.linspace(0, 1, 21), cmap=_score_colours(dark))
    if scores.min() < 0.5 < scores.max():
        ax.contour(*plane, scores, [0.5], colors=[DARK_INK if dark else BLACK], linewidths=1.5)
    bar = ax.figure.colorbar(filled, ax=ax, label="score of class 1", ticks=np.linspace(0, 1, 6))
    _scatter(ax, points, classes, dark)
    if dark:
        _darken(bar.ax)
    ax.set(xlabel="$x_0$", ylabel="$x_1$")
    return ax


def _scatter(ax: "Axes", points: Array, classes: NDArray[np.intp], dark: bool) -> None:
    """The points of each class, with a legend."""
    edge = DARK_BACKGROUND if dark else WHITE
    colours = DARK_COLOURS if dark else COLOURS
    for k in np.unique(classes).tolist():
        colour = colours[k % len(colours)]
        x0, x1 = points[classes == k].T
        ax.scatter(x0, x1, s=18, color=colour, edgecolors=edge, linewidths=0.4, label=f"class {k}")
    legend = ax.legend(loc="upper right", facecolor=edge, labelcolor="linecolor" if dark else None)
    if dark:
        legend.get_frame().set_edgecolor(DARK_INK)
        _darken(ax)


def _darken(ax: "Axes") -> None:
    """A dark background with bright ink, for the axes and the figure or subfigure around them."""
    ax.figure.set_facecolor(DARK_BACKGROUND)
    ax.set_facecolor(DARK_BACKGROUND)
    ax.tick_params(colors=DARK_INK)
    for spine in ax.spines.values():
        spine.set_color(DARK_INK)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(DARK_INK)


def _score_colours(dark: bool) -> "Colormap":
    """From the colour of class 0 over the background to that of class 1, paler than the points."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = (DARK_COLOURS if dark else COLOURS)[:2]
    ends_and_centre = np.array([to_rgb(colour) for colour in (low, DARK_BACKGROUND if dark else WHITE, high)])
    paler = 0.6 * ends_and_centre + 0.4 * ends_and_centre[1]
    return LinearSegmentedColormap.from_list("scores", [tuple(colour) for colour in paler])
