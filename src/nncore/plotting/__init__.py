"""Every picture of the library.

A function that draws one picture takes the axes to draw on, makes a new figure if there are none, and returns the
axes; ``ax.figure.savefig("name.png")`` writes the file. A picture of several parts comes as a figure of its own.
Matplotlib is imported on first use. Colours are those of Okabe and Ito, told apart by colour-blind readers too.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.checking.report import GradientReport
from nncore.core import checks, target_checks
from nncore.differences.gradient import numerical_diff, numerical_gradient
from nncore.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped, unused-ignore]

__all__ = [
    "plot_accuracy",
    "plot_curves",
    "plot_decision_boundary",
    "plot_descent",
    "plot_function_and_tangent",
    "plot_gradient_field",
    "plot_gradient_report",
    "plot_loss",
    "plot_mistakes",
    "plot_points",
    "plot_surface",
    "plot_weights",
]

Array = NDArray[Any]
Scalar: TypeAlias = Callable[[Array], float]  # of a point (2,)
Extent: TypeAlias = tuple[float, float, float, float]  # as Matplotlib's: left, right, bottom, top

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, YELLOW, BLACK = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
DARK_COLOURS = (SKY, ORANGE, GREEN, YELLOW, PURPLE, BLUE, VERMILLION, "#FFFFFF")
DARK_BACKGROUND, DARK_INK = "#15181E", "#D8DCE3"

MARKS = 200  # in one heat map: more would hide it
MAPS = 12
VERDICT_STYLES = {  # colour and marker, drawn in this order
    "ok": (BLUE, "o"), "noise": ("#999999", "o"), "kink": (ORANGE, "^"), "jump": (PURPLE, "v"),
    "mismatch": (VERMILLION, "x"),
}  # fmt: skip

SQUARE: Extent = (-3.0, 3.0, -3.0, 3.0)


# ---- training ------------------------------------------------------------------------------------------------


def plot_loss(losses: History | ArrayLike, ax: "Axes | None" = None, *, window: int | None = None) -> "Axes":
    """Draw the loss of every iteration as a light line, and its moving average as a strong one.

    Parameters
    ----------
    losses : History or array_like of shape (n_iterations,)
        The loss of every iteration.
    ax : Axes, optional
        To draw on; by default new ones.
    window : int, optional
        Iterations averaged; by default a fiftieth of all. 1 draws the losses only.

    Returns
    -------
    Axes
        Its lines are the losses, and if window is not 1 the averages, each at the middle of its window. Of more than
        10,000 losses only the least and the greatest of every 5,000th part are drawn, which looks the same.

    Raises
    ------
    TypeError, ValueError
        If the losses are not a row of finite numbers, or window is not 1 to n_iterations.

    Examples
    --------
    >>> ax = plot_loss([3.0, 2.0, 1.5, 1.0], window=2)
    >>> [line.get_ydata().tolist() for line in ax.lines]
    [[3.0, 2.0, 1.5, 1.0], [2.5, 1.75, 1.25]]
    """
    values = _row(losses.loss if isinstance(losses, History) else losses, "losses")
    window = max(1, len(values) // 50) if window is None else checks.positive_int(window, "window")
    if window > len(values):
        raise ValueError(f"window is {window}, expected at most {len(values)}, the number of losses")
    ax = _axes(ax)
    ax.plot(
        *_thinned(values), color=BLUE, lw=1, alpha=0.35 if window > 1 else 1, label="each iteration", **_dots(values)
    )
    if window > 1:
        sums = np.cumsum(np.concatenate([[0.0], values]))
        means = (sums[window:] - sums[:-window]) / window
        middles = np.arange(len(means)) + (window + 1) / 2
        step = max(1, len(means) // 5000)
        ax.plot(middles[::step], means[::step], color=BLUE, lw=1.8, label=f"mean of {window}")
        ax.legend(loc="upper right")
    ax.set(xlabel="iteration", ylabel="loss")
    return ax


def plot_accuracy(history: History, ax: "Axes | None" = None) -> "Axes":
    """Draw training and test accuracy by epoch; where it was not recorded the losses, or the first metric.

    Parameters
    ----------
    history : History
        Of a training with validation_data.
    ax : Axes, optional
        To draw on; by default new ones.

    Returns
    -------
    Axes
        Its lines are the training and the test values, as far as there are any; "validation" where early stopping or a
        schedule decided by them. A run that ended within an epoch ends between two whole numbers.

    Raises
    ------
    TypeError, ValueError
        If history is no History, or nothing was recorded by epoch.

    Examples
    --------
    >>> ax = plot_accuracy(History(train_accuracy=[0.8, 0.9], test_accuracy=[0.7, 0.8]))
    >>> [line.get_label() for line in ax.lines]
    ['train', 'test']
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(history, History):
        raise TypeError(f"history is a {type(history).__name__}, expected a History")
    columns = history.epoch_columns()
    if not columns:
        raise ValueError("history has no values by epoch, expected a training with validation_data")
    kinds = [name.partition("_")[2] for name in columns]
    what = next((kind for kind in ("accuracy", "loss") if kind in kinds), kinds[0])
    ax = _axes(ax)
    for name, colour, style in (("train", BLUE, "-"), ("test", VERMILLION, "--")):
        if f"{name}_{what}" not in columns:
            continue
        values = np.asarray(columns[f"{name}_{what}"])
        ends = history.epoch_ends
        epochs = np.array(ends) / ends[0] if len(ends) == len(values) > 0 else np.arange(1, len(values) + 1)
        label = name if name == "train" else history.held_out_label
        ax.plot(epochs, values, color=colour, ls=style, label=label, **_dots(values))
    ax.set(xlabel="epoch", ylabel=what)
    if history.best_epoch is not None:
        ax.set_title(f"epoch {history.best_epoch} is the best by {history.watched_label}", fontsize="medium")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower right" if what == "accuracy" else "upper right")
    return ax


def plot_curves(history: History) -> "Figure":
    """Draw plot_loss and, if values were recorded by epoch, plot_accuracy beside it.

    Parameters
    ----------
    history : History
        Of any training.

    Returns
    -------
    Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        As plot_loss.

    Examples
    --------
    >>> len(plot_curves(History(loss=[2.0, 1.0], train_loss=[1.2], test_loss=[1.3])).axes)
    2
    """
    if not isinstance(history, History):
        raise TypeError(f"history is a {type(history).__name__}, expected a History")
    _row(history.loss, "losses")
    pictures: list[Callable[..., Any]] = [plot_loss, plot_accuracy] if history.epoch_columns() else [plot_loss]
    figure = _figure(5 * len(pictures), 3.8)
    for i, picture in enumerate(pictures, start=1):
        picture(history, figure.add_subplot(1, len(pictures), i))
    return figure


# ---- functions and descent -----------------------------------------------------------------------------------


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
    touching = _row(np.atleast_1d(np.asarray(x0s)), "x0s")
    margin = max(np.ptp(touching), 1.0)
    wide = (touching.min() - margin, touching.max() + margin)
    start, end = _limits(wide if x_range is None else x_range, 2, "x_range")
    x = np.linspace(start, end, 201)
    ax = _axes(ax)
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
    points = _grid(extent, checks.positive_int(n, "n"))
    slopes = np.array([numerical_gradient(f, point) for point in points.reshape(-1, 2)]).reshape(points.shape)
    ax = _axes(ax)
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
    points = _grid(extent, checks.positive_int(n, "n"))
    space: Any = _axes(ax, "3d")
    space.plot_surface(points[..., 0], points[..., 1], _on_grid(f, points), cmap="viridis", rcount=n, ccount=n)
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
    points = _points(path, "path")
    contours = _grid(_around(points, 0.15) if extent is None else extent, 80)
    ax = _axes(ax)
    lines = ax.contour(*np.moveaxis(contours, -1, 0), _on_grid(f, contours), 12, cmap="viridis", linewidths=0.8)
    ax.clabel(lines, fontsize=7, fmt="%.3g")
    ax.plot(*points.T, "o-", color=VERMILLION, ms=3, lw=1)
    ax.plot(*points[0], "o", color=BLACK, label="start")
    ax.plot(*points[-1], "*", color=BLACK, ms=11, label="end")
    ax.set(xlabel="$x_0$", ylabel="$x_1$")
    ax.legend(loc="upper right")
    return ax


# ---- points in the plane -------------------------------------------------------------------------------------


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
    points = _points(X, "X")
    classes = _classes(y, len(points))
    ax = _axes(ax)
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
    points = _points(X, "X")
    classes = target_checks.labels(_classes(y, len(points)), "y", 2)
    places = _grid(_around(points, 0.08), 200)
    answers = checks.finite(checks.floats(predict(places.reshape(-1, 2)), "predict(x)"), "predict(x)")
    n = places.size // 2
    if answers.shape not in ((n,), (n, 1), (n, 2)):
        raise ValueError(f"predict(x) has shape {answers.shape}, expected ({n},), ({n}, 1) or ({n}, 2) for {n} points")
    scores = (1 + answers[:, 1] - answers[:, 0]) / 2 if answers.shape == (n, 2) else answers
    scores = np.clip(scores, 0, 1).reshape(places.shape[:2])
    ax = _axes(ax)
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


# ---- images --------------------------------------------------------------------------------------------------


def plot_weights(W: ArrayLike, shape: tuple[int, int] | None = None, *, n: int = 50) -> "Figure":
    """Draw what each unit of the first layer looks for: its weights as an image, all on one scale centred at 0.

    Parameters
    ----------
    W : array_like of shape (n_in, n_units)
        Such as ``net.params["W1"]``.
    shape : (int, int), optional
        Height and width of an image of n_in pixels; by default a square.
    n : int
        Units drawn at most, the first ones.

    Returns
    -------
    Figure
        A new one, with all images as tiles of one, and a colour bar.

    Raises
    ------
    TypeError, ValueError
        If W is not finite numbers of such a shape, or its rows do not make an image.

    Examples
    --------
    >>> figure = plot_weights([[0.1, -0.2], [0.3, 0.4], [0.0, 0.1], [0.2, -0.5]])
    >>> figure.axes[0].images[0].get_clim()
    (-0.5, 0.5)
    """
    weights = checks.finite(checks.floats(W, "W"), "W")
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(f"W has shape {weights.shape}, expected (n_in, n_units), neither of them 0")
    images = _images(weights.T[: checks.positive_int(n, "n")], "W", shape)
    count, height, width = images.shape
    n_columns = _columns(count)
    n_rows = -(-count // n_columns)
    gap = max(1, width // 14)
    mosaic = np.full((n_rows * (height + gap) - gap, n_columns * (width + gap) - gap), np.nan)
    for i, image in enumerate(images):
        top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
        mosaic[top : top + height, left : left + width] = image
    greatest = float(abs(images).max()) or 1.0
    figure = _figure(1.8 + 0.8 * n_columns, 0.6 + 0.8 * n_rows * height / width, "compressed")
    ax = figure.add_subplot()
    shown = ax.imshow(mosaic, cmap="RdBu_r", vmin=-greatest, vmax=greatest, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(f"Weights of {count} of {weights.shape[1]} units" if count < weights.shape[1] else "Weights")
    figure.colorbar(shown, ax=ax, label="weight", shrink=0.9)
    return figure


def plot_mistakes(
    images: ArrayLike,
    t_true: ArrayLike,
    t_pred: ArrayLike,
    probabilities: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    *,
    n: int = 25,
) -> "Figure":
    """Draw images that were taken for another class, each titled "true → predicted".

    Parameters
    ----------
    images : array_like of shape (n_samples, n_pixels), (n_samples, height, width) or (n_samples, 1, height, width)
        Bright ink on a dark ground, as in MNIST: it is drawn dark on bright.
    t_true, t_pred : array_like of int, shape (n_samples,)
        Classes 0, 1, 2, ...
    probabilities : array_like of shape (n_samples, n_classes), optional
        Then the most confident mistakes come first, with the probability of the predicted class.
    class_names : sequence of str, optional
        By default the classes' numbers.
    n : int
        Images drawn at most.

    Returns
    -------
    Figure
        A new one, with one axes an image; if there is no mistake it says so.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other.

    Examples
    --------
    >>> figure = plot_mistakes([[0.0, 1.0, 1.0, 0.0]] * 3, [0, 1, 2], [0, 2, 2])
    >>> [ax.get_title() for ax in figure.axes]
    ['1 → 2']
    """
    pictures = _images(checks.finite(checks.numbers(images, "images"), "images"), "images", None)
    true, predicted = _classes(t_true, len(pictures), "t_true"), _classes(t_pred, len(pictures), "t_pred")
    n_classes = int(max(true.max(), predicted.max())) + 1
    names = [str(k) for k in range(n_classes)] if class_names is None else [str(name) for name in class_names]
    if len(names) < n_classes:
        raise ValueError(f"class_names has {len(names)} names, expected {n_classes}, one a class")
    wrong = np.flatnonzero(true != predicted)
    confidence = _confidence(probabilities, predicted)
    if confidence is not None:
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    shown = wrong[: checks.positive_int(n, "n")]
    if not len(shown):
        figure = _figure(5, 1.5)
        figure.text(0.5, 0.5, f"No mistake among {len(pictures)} images", ha="center", va="center")
        return figure
    between = "\n" if max(map(len, names)) > 4 else " "
    n_columns = _columns(len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = _figure(max(1.3 * n_columns, 4.5), (1.55 + 0.2 * (between == "\n")) * n_rows + 0.4)
    for place, i in enumerate(shown, start=1):
        ax = figure.add_subplot(n_rows, n_columns, place)
        ax.imshow(pictures[i], cmap="gray_r", interpolation="nearest")
        percent = "" if confidence is None else f" ({confidence[i]:.0%})"
        ax.set_title(f"{names[true[i]]} →{between}{names[predicted[i]]}{percent}", fontsize=9)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#CCCCCC")
    all_of_them = f"{len(wrong)} {'mistake' if len(wrong) == 1 else 'mistakes'} among {len(pictures)} images"
    some = "" if len(shown) == len(wrong) else f"{len(shown)} of the "
    figure.suptitle(some + all_of_them, fontsize=11)
    return figure


# ---- gradient checks -----------------------------------------------------------------------------------------


def plot_gradient_report(report: GradientReport) -> "Figure":
    """Draw analytic against numerical values with the line where they agree, and the errors of every parameter.

    Parameters
    ----------
    report : GradientReport
        Of any gradient check.

    Returns
    -------
    Figure
        A new one: on its first axes the points of each verdict; then axes for every parameter (of more than 12 those
        most wrong) with log10 of its errors as a heat map on one scale, grey where nothing was checked, and with its
        mismatches, kinks, jumps and elements that are not finite marked.

    Raises
    ------
    TypeError
        If report is no GradientReport.

    Examples
    --------
    >>> from nncore.checking.report import Evidence
    >>> zero, no = np.zeros((2, 3)), np.zeros((2, 3), bool)
    >>> W = Evidence(np.ones((2, 3)), np.ones((2, 3)), zero, zero, no, no, ~no)
    >>> figure = plot_gradient_report(GradientReport({"W": W}, n_evaluations=12, seconds=0.001))
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['Gradient check passed', 'W']
    """
    if not isinstance(report, GradientReport):
        raise TypeError(f"report is a {type(report).__name__}, expected a GradientReport")
    filled = [name for name, error in report.error.items() if np.size(error)]
    worst = sorted(filled, key=lambda name: int(np.isin(report.verdict[name], ("mismatch", "nonfinite")).sum()))[-MAPS:]
    names = [name for name in filled if name in worst]
    n_columns = min(_columns(max(len(names), 1)), 4)
    n_rows = -(-max(len(names), 1) // n_columns)
    figure = _figure(5.4 + 2.6 * n_columns, max(4.6, 2.3 * n_rows))
    grid = figure.add_gridspec(n_rows, 1 + n_columns, width_ratios=[1.9, *[1] * n_columns])
    _plot_agreement(report, figure.add_subplot(grid[:, 0]))
    maps = [figure.add_subplot(grid[i // n_columns, 1 + i % n_columns]) for i in range(len(names))]
    errors = {name: _log_errors(report, name) for name in names}
    known = np.concatenate([[], *(e[np.isfinite(e)] for e in errors.values())])
    low, high = (known.min(), known.max()) if known.size else (-16.0, 0.0)
    for name, ax in zip(names, maps, strict=True):
        shown = _plot_errors(report, name, errors[name], ax, (low, max(high, low + 1)))
    if maps:
        figure.colorbar(shown, ax=maps, label="log10 of the error", shrink=0.9)
    return figure


# ---- helpers -------------------------------------------------------------------------------------------------


def _axes(ax: Any, projection: str = "rectilinear") -> Any:
    """The axes given, or new ones."""
    from matplotlib.axes import Axes

    if ax is None:
        return _figure().add_subplot(projection=projection)
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}, expected Matplotlib axes or None")
    if projection == "3d" and ax.name != "3d":
        raise ValueError("ax has two dimensions, expected axes made with projection='3d'")
    return ax


def _figure(
    width: float = 6.4, height: float = 4.8, layout: Literal["constrained", "compressed"] = "constrained"
) -> "Figure":
    """A new figure of so many inches, known to pyplot, so that plt.show() shows it."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout=layout)


def _plot_agreement(report: GradientReport, ax: "Axes") -> None:
    """Points (numerical, analytic) by verdict, and the line where both are equal."""
    flat = {
        key: np.concatenate([[], *(np.asarray(array).reshape(-1) for array in getattr(report, key).values())])
        for key in ("numerical", "analytic")
    }
    verdicts = np.concatenate([np.empty(0, "U1"), *(array.reshape(-1) for array in report.verdict.values())])
    corners = []
    for verdict, (colour, marker) in VERDICT_STYLES.items():
        chosen = verdicts == verdict
        x, y = flat["numerical"][chosen], flat["analytic"][chosen]
        if x.size:
            # thousands of points make a picture faster than thousands of shapes
            label = f"{x.size:,} {verdict}"
            ax.plot(x, y, marker, color=colour, ms=4, label=label, rasterized=x.size > 2000, zorder=3)
            corners.append((x.min(), y.min()))
    # through a point among the others, so that the line does not widen the axes
    low = float(max(np.min(corners, axis=0))) if corners else 0.0
    ax.axline((low, low), slope=1, color=BLACK, lw=0.8, alpha=0.6, label="equal", zorder=2)
    ax.set(xlabel="numerical", ylabel="analytic", title=f"Gradient check {'passed' if report.passed else 'failed'}")
    ax.legend(loc="upper left", fontsize="small")


def _log_errors(report: GradientReport, name: str) -> Array:
    """log10 of the errors as a matrix, NaN where there is none; not below the rounding of the largest value."""
    largest = max(
        (float(abs(x).max(initial=0.0, where=np.isfinite(x))) for x in map(np.asarray, report.numerical.values())),
        default=0.0,
    )
    floor = np.finfo(np.float64).eps * (largest or 1.0)
    error = report.error[name]
    known = (report.verdict[name] != "unchecked") & np.isfinite(error)
    logarithms = np.log10(np.maximum(np.where(known, error, np.nan), floor))
    return logarithms.reshape(len(error), -1) if error.ndim > 1 else logarithms.reshape(1, -1)


def _plot_errors(report: GradientReport, name: str, errors: Array, ax: "Axes", limits: tuple[float, float]) -> Any:
    """The heat map of one parameter, with what is not right marked."""
    from matplotlib.ticker import MaxNLocator

    low, high = limits
    shown = ax.imshow(errors, cmap="viridis", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    ax.set_facecolor("#999999")
    verdict = report.verdict[name].reshape(errors.shape)
    for kind, colour, marker in (
        ("kink", ORANGE, "^"), ("jump", PURPLE, "v"), ("nonfinite", PURPLE, "s"), ("mismatch", VERMILLION, "x"),
    ):  # fmt: skip
        rows, columns = np.nonzero(verdict == kind)
        if 0 < rows.size <= MARKS:
            ax.plot(columns, rows, marker, color=colour, mfc="none", ms=5, mew=1.5, ls="none", label=kind)
    n_wrong = np.count_nonzero(verdict == "mismatch")
    ax.set_title(f"{name}: {n_wrong:,} mismatch" if n_wrong else name, fontsize="medium")
    ax.tick_params(labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    if errors.shape[0] == 1:
        ax.set_yticks([])
    return shown


def _darken(ax: "Axes") -> None:
    """A dark background with bright ink, for the axes and the figure or subfigure around them."""
    ax.figure.set_facecolor(DARK_BACKGROUND)
    ax.set_facecolor(DARK_BACKGROUND)
    ax.tick_params(colors=DARK_INK)
    for spine in ax.spines.values():
        spine.set_color(DARK_INK)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(DARK_INK)


def _scatter(ax: "Axes", points: Array, classes: NDArray[np.intp], dark: bool) -> None:
    """The points of each class, with a legend."""
    edge = DARK_BACKGROUND if dark else "#FFFFFF"
    colours = DARK_COLOURS if dark else COLOURS
    for k in np.unique(classes).tolist():
        colour = colours[k % len(colours)]
        x0, x1 = points[classes == k].T
        ax.scatter(x0, x1, s=18, color=colour, edgecolors=edge, linewidths=0.4, label=f"class {k}")
    legend = ax.legend(loc="upper right", facecolor=edge, labelcolor="linecolor" if dark else None)
    if dark:
        legend.get_frame().set_edgecolor(DARK_INK)
        _darken(ax)


def _score_colours(dark: bool) -> "Colormap":
    """From the colour of class 0 over the background to that of class 1, paler than the points."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    low, high = (DARK_COLOURS if dark else COLOURS)[:2]
    ends_and_centre = np.array([to_rgb(colour) for colour in (low, DARK_BACKGROUND if dark else "#FFFFFF", high)])
    paler = 0.6 * ends_and_centre + 0.4 * ends_and_centre[1]
    return LinearSegmentedColormap.from_list("scores", [tuple(colour) for colour in paler])


def _dots(values: Array) -> dict[str, Any]:
    """Markers for short lines, of which one of a single point would not be seen without."""
    return {"marker": "o", "ms": 4} if len(values) <= 20 else {}


def _thinned(values: Array, n: int = 5000) -> tuple[Array, Array]:
    """Positions from 1 and values; of more than 2n only the least and the greatest of each of n parts."""
    if len(values) <= 2 * n:
        return np.arange(1, len(values) + 1), values
    starts = np.linspace(0, len(values), n, endpoint=False).astype(np.intp)
    ends = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.repeat(starts + 1, 2), np.stack(ends, axis=1).reshape(-1)


def _row(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers (n,), at least one."""
    array = np.asarray(checks.floats(values, name), dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n,) with at least one number")
    return checks.finite(array, name)


def _points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers (n, 2), at least one row."""
    array = np.asarray(checks.floats(values, name), dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n, 2) with at least one point")
    return checks.finite(array, name)


def _classes(t: ArrayLike, n_samples: int, name: str = "y") -> NDArray[np.intp]:
    """Class numbers (n_samples,), of 0 or more."""
    array = checks.numbers(t, name)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({n_samples},), a class a sample")
    return target_checks.labels(array, name, int(max(array.max(), 0)) + 1)


def _confidence(probabilities: ArrayLike | None, predicted: NDArray[np.intp]) -> Array | None:
    """The probability of each sample's predicted class."""
    if probabilities is None:
        return None
    array = checks.finite(checks.floats(probabilities, "probabilities"), "probabilities")
    n_samples, n_classes = len(predicted), int(predicted.max()) + 1
    if array.ndim != 2 or len(array) != n_samples or array.shape[1] < n_classes:
        raise ValueError(
            f"probabilities has shape {array.shape}, "
            f"expected ({n_samples}, n_classes) with n_classes of at least {n_classes}"
        )
    return np.asarray(array[np.arange(n_samples), predicted])


def _images(pixels: Array, name: str, shape: tuple[int, int] | None) -> Array:
    """Rows of pixels, or images with or without a channel, as (n, height, width)."""
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        expected = "(n, n_pixels), (n, height, width) or (n, 1, height, width)"
        raise ValueError(f"{name} has shape {pixels.shape}, expected {expected}, none of them 0")
    if pixels.ndim == 3:
        return pixels
    n_pixels = pixels.shape[1]
    side = round(n_pixels**0.5)
    if shape is not None and np.shape(shape) != (2,):
        raise ValueError(f"shape is {shape!r}, expected (height, width)")
    height, width = (side, side) if shape is None else (checks.positive_int(k, "shape") for k in shape)
    if height * width != n_pixels:
        expected = "a square number of pixels" if shape is None else f"{height} x {width}, the shape"
        raise ValueError(f"{name} has images of {n_pixels} pixels, expected {expected}")
    return pixels.reshape(-1, height, width)


def _columns(count: int) -> int:
    """Columns of a grid about square or up to twice as wide, with as few empty places as possible."""
    least = math.ceil(math.sqrt(count))
    return min(range(least, 2 * least + 1), key=lambda columns: (-count % columns, columns))


def _limits(values: Any, n: int, name: str) -> tuple[float, ...]:
    """Pairs of finite numbers, the second of a pair the greater."""
    array = _row(values, name)
    if array.size != n or not (array[::2] < array[1::2]).all():
        raise ValueError(f"{name} is {values}, expected {n} numbers, in each pair the lesser before the greater")
    return tuple(array.tolist())


def _around(points: Array, margin: float) -> Extent:
    """The rectangle that holds the points, wider on each side by this part of its size."""
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    dx, dy = (margin * (size or 1.0) for size in (right - left, top - bottom))
    return left - dx, right + dx, bottom - dy, top + dy


def _grid(extent: Extent, n: int) -> NDArray[np.float64]:
    """Points (n, n, 2) over a rectangle; axis 0 goes up."""
    left, right, bottom, top = _limits(extent, 4, "extent")
    return np.stack(np.meshgrid(np.linspace(left, right, n), np.linspace(bottom, top, n)), axis=-1)


def _on_grid(f: Scalar, points: Array) -> Array:
    """Values of f at every point of a grid (n, n, 2)."""
    return np.array([float(f(point)) for point in points.reshape(-1, 2)]).reshape(points.shape[:2])
