"""Pictures of a training: the loss of every iteration, and what was recorded by epoch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.plotting import arguments, canvas
from nncore.plotting.style import BLUE, CURVES, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]


@runtime_checkable
class Recorded(Protocol):
    """The part of a History that these pictures read."""

    @property
    def loss(self) -> NDArray[np.float64]:
        """Of every iteration."""

    @property
    def epoch_ends(self) -> list[int]:
        """Iterations done at each record by epoch."""

    @property
    def best_epoch(self) -> int | None:
        """The epoch that early stopping found best."""

    @property
    def held_out_label(self) -> str:
        """The name of the data that were not trained on."""

    @property
    def watched_label(self) -> str:
        """The name of the value that decided which epoch is best."""

    def epoch_columns(self) -> dict[str, list[float]]:
        """The values by epoch, by names such as "test_accuracy"."""


def plot_loss(losses: Recorded | ArrayLike, ax: "Axes | None" = None, *, window: int | None = None) -> "Axes":
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
    values = arguments.row(losses.loss if isinstance(losses, Recorded) else losses, "losses")
    window = max(1, len(values) // 50) if window is None else checks.positive_int(window, "window")
    if window > len(values):
        raise ValueError(f"window is {window}, expected at most {len(values)}, the number of losses")
    ax = canvas.axes(ax)
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


def plot_accuracy(history: Recorded, ax: "Axes | None" = None) -> "Axes":
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
    >>> from nncore import History
    >>> ax = plot_accuracy(History(train_accuracy=[0.8, 0.9], test_accuracy=[0.7, 0.8]))
    >>> [line.get_label() for line in ax.lines]
    ['train', 'test']
    """
    from matplotlib.ticker import MaxNLocator

    _expect_history(history)
    columns = history.epoch_columns()
    if not columns:
        raise ValueError("history has no values by epoch, expected a training with validation_data")
    kinds = [name.partition("_")[2] for name in columns]
    what = next((kind for kind in ("accuracy", "loss") if kind in kinds), kinds[0])
    ax = canvas.axes(ax)
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


def plot_curves(history: Recorded) -> "Figure":
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
    >>> from nncore import History
    >>> len(plot_curves(History(loss=[2.0, 1.0], train_loss=[1.2], test_loss=[1.3])).axes)
    2
    """
    _expect_history(history)
    arguments.row(history.loss, "losses")
    pictures: list[Callable[..., Any]] = [plot_loss, plot_accuracy] if history.epoch_columns() else [plot_loss]
    width, height = CURVES
    figure = canvas.figure(width * len(pictures), height)
    for i, picture in enumerate(pictures, start=1):
        picture(history, figure.add_subplot(1, len(pictures), i))
    return figure


def _expect_history(history: object) -> None:
    """Refuse what lacks anything that the pictures read."""
    if not isinstance(history, Recorded):
        raise TypeError(f"history is a {type(history).__name__}, expected a History")


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
