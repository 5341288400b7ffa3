"""Pictures of images: the weights of a first layer, and images taken for another class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.plotting import arguments, canvas
from nncore.plotting.style import MESSAGE, MISTAKE, PALE_GREY, TILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]


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
    n_columns = canvas.columns(count)
    n_rows = -(-count // n_columns)
    gap = max(1, width // 14)
    mosaic = np.full((n_rows * (height + gap) - gap, n_columns * (width + gap) - gap), np.nan)
    for i, image in enumerate(images):
        top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
        mosaic[top : top + height, left : left + width] = image
    greatest = float(abs(images).max()) or 1.0
    figure = canvas.figure(1.8 + TILE * n_columns, 0.6 + TILE * n_rows * height / width, "compressed")
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
    true = arguments.classes(t_true, len(pictures), "t_true")
    predicted = arguments.classes(t_pred, len(pictures), "t_pred")
    names = _names(class_names, int(max(true.max(), predicted.max())) + 1)
    wrong = np.flatnonzero(true != predicted)
    confidence = _confidence(probabilities, predicted)
    if confidence is not None:
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    shown = wrong[: checks.positive_int(n, "n")]
    if not len(shown):
        figure = canvas.figure(*MESSAGE)
        figure.text(0.5, 0.5, f"No mistake among {len(pictures)} images", ha="center", va="center")
        return figure
    between = "\n" if max(map(len, names)) > 4 else " "
    n_columns = canvas.columns(len(shown))
    n_rows = -(-len(shown) // n_columns)
    width, height = MISTAKE
    figure = canvas.figure(max(width * n_columns, 4.5), (height + 0.2 * (between == "\n")) * n_rows + 0.4)
    for place, i in enumerate(shown, start=1):
        percent = "" if confidence is None else f" ({confidence[i]:.0%})"
        title = f"{names[true[i]]} →{between}{names[predicted[i]]}{percent}"
        _plot_image(figure.add_subplot(n_rows, n_columns, place), pictures[i], title)
    all_of_them = f"{len(wrong)} {'mistake' if len(wrong) == 1 else 'mistakes'} among {len(pictures)} images"
    some = "" if len(shown) == len(wrong) else f"{len(shown)} of the "
    figure.suptitle(some + all_of_them, fontsize=11)
    return figure


def _plot_image(ax: "Axes", image: Array, title: str) -> None:
    """Dark ink on bright ground, in a pale frame."""
    ax.imshow(image, cmap="gray_r", interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color(PALE_GREY)


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


def _names(given: Sequence[str] | None, n_classes: int) -> list[str]:
    """The names of the classes, by default their numbers."""
    names = [str(k) for k in range(n_classes)] if given is None else [str(name) for name in given]
    if len(names) < n_classes:
        raise ValueError(f"class_names has {len(names)} names, expected {n_classes}, one a class")
    return names


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
