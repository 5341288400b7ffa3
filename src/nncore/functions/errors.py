"""Errors of predictions, to the last digit as the articles define them, and the one-hot targets that they take.

Source: S. Saito, Deep Learning from Scratch, chapter 4.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.core.dispatch import loss as core
from nncore.functions import domains

Array = NDArray[Any]


def one_hot(labels: ArrayLike, n_classes: int | None = None) -> NDArray[np.float64]:
    """Encode class numbers as rows with a single 1.

    Parameters
    ----------
    labels : array_like of int
        Any shape, values 0 to n_classes - 1.
    n_classes : int, optional
        Width of a row; by default the largest label plus 1.

    Returns
    -------
    ndarray of shape (*labels.shape, n_classes)

    Raises
    ------
    TypeError, ValueError
        If the labels are not integers or out of range.

    Examples
    --------
    >>> one_hot([2, 0])
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    array = checks.numbers(labels, "labels")
    if n_classes is None:
        if array.size == 0:
            raise ValueError("labels is empty, expected n_classes to be given")
        n_classes = max(1, int(checks.finite(array, "labels").max()) + 1)
    n_classes = checks.positive_int(n_classes, "n_classes")
    numbers = checks.labels(array, "labels", n_classes)
    rows = np.zeros((*numbers.shape, n_classes))
    np.put_along_axis(rows, numbers[..., None], 1.0, axis=-1)
    return rows


def _probabilities(p: Array, name: str) -> Array:
    """Numbers from 0 to 1, but for the rounding of what made them."""
    error = 4 * np.finfo(p.dtype).eps
    if not ((p >= 0) & (p <= 1 + error)).all():
        raise ValueError(f"{name} goes from {p.min()} to {p.max()}, expected probabilities from 0 to 1")
    return p


def _like(t: ArrayLike, y: Array) -> Array:
    """The array t in y's shape and type."""
    array = checks.floats(t, "t")
    if array.shape != y.shape:
        raise ValueError(f"t has shape {array.shape}, expected {y.shape} to match y")
    return array.astype(y.dtype, copy=False)


def mean_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """Return 0.5 * sum((y - t)**2) over everything given: the book's definition, which takes no mean.

    Parameters
    ----------
    y, t : array_like
        Outputs and targets of the same shape.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> y = [0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]
    >>> mean_squared_error(y, one_hot(2, 10))
    0.09750000000000003
    """
    outputs = checks.floats(y, "y")
    return 0.5 * float(np.sum((outputs - _like(t, outputs)) ** 2))


def cross_entropy_error(y: ArrayLike, t: ArrayLike, delta: float = 1e-7) -> float:
    """Return -sum(t * log(y + delta)), averaged over the batch.

    Parameters
    ----------
    y : array_like of shape (n_classes,) or (n_samples, n_classes)
        Probabilities, from 0 to 1.
    t : array_like
        Targets of y's shape (one-hot or soft, rows that sum to 1), or integer labels with one dimension less.
    delta : float
        Keeps the logarithm finite; the book's 1e-7. 0 gives the exact value.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or labels, targets or probabilities are out of range.

    Examples
    --------
    >>> y = [0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]
    >>> cross_entropy_error(y, 2)
    0.510825457099338
    """
    probabilities = checks.floats(y, "y")
    if probabilities.ndim not in (1, 2) or probabilities.size == 0:
        raise ValueError(f"y has shape {probabilities.shape}, expected (n_classes,) or (n_samples, n_classes)")
    delta = checks.non_negative_float(delta, "delta")
    n_classes = probabilities.shape[-1]
    if np.ndim(t) == probabilities.ndim - 1:
        if np.shape(t) != probabilities.shape[:-1]:
            raise ValueError(f"t has shape {np.shape(t)}, expected {probabilities.shape[:-1]} labels to match y")
        t = one_hot(t, n_classes)
    rows, n_samples = probabilities.reshape(-1, n_classes), probabilities.size // n_classes
    expected = domains.targets_for("softmax_cross_entropy", _like(t, probabilities).reshape(-1, n_classes), "t")
    _probabilities(probabilities, "y")
    total = core.cross_entropy(rows, expected, np.empty_like(rows), delta)
    return float(total / n_samples)


def negative_log_likelihood(log_probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of -log_probabilities[i, labels[i]]: with log_softmax before it, the cross-entropy.

    Parameters
    ----------
    log_probabilities : array_like of shape (n_samples, n_classes)
        0 or less.
    labels : array_like of int, shape (n_samples,)

    Returns
    -------
    float
        In nats.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or labels are out of range.

    Examples
    --------
    >>> from nncore import log_softmax
    >>> negative_log_likelihood(log_softmax([[0.0, 0.0]]), [1])
    0.6931471805599453
    """
    logs = checks.floats(log_probabilities, "log_probabilities")
    if logs.ndim != 2 or np.shape(labels) != logs.shape[:1] or logs.size == 0:
        raise ValueError(
            f"log_probabilities has shape {logs.shape} and labels {np.shape(labels)}, "
            f"expected (n_samples, n_classes) and (n_samples,)"
        )
    if not (logs <= 1e-6).all():
        raise ValueError(
            f"log_probabilities goes up to {logs.max()}, expected logarithms of 0 or less: see log_softmax"
        )
    picked = logs[np.arange(len(logs)), checks.labels(labels, "labels", logs.shape[1])]
    return -float(picked.mean())


def binary_cross_entropy(y: ArrayLike, t: ArrayLike, eps: float = 1e-7) -> float:
    """Return the mean of -(t log(y) + (1 - t) log(1 - y)) with y clipped to [eps, 1 - eps].

    Parameters
    ----------
    y, t : array_like
        Probabilities and targets in [0, 1], same shape; others are refused.
    eps : float
        Clipping distance, below 0.5.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    ValueError
        If the shapes differ, nothing is given, or a number is out of its range.

    Examples
    --------
    >>> round(binary_cross_entropy([0.9, 0.1], [1, 0]), 6)
    0.105361
    """
    outputs = checks.floats(y, "y")
    eps = checks.number(eps, "eps", lambda v: 0 < v < 0.5, "a number between 0 and 0.5")
    if outputs.size == 0:
        raise ValueError(f"y is empty, shape {outputs.shape}, expected at least one probability")
    expected = _probabilities(_like(t, outputs), "t")
    p = np.clip(_probabilities(outputs, "y").astype(np.float64), eps, 1 - eps)  # in float32 1 - eps may be 1
    return float(np.mean(-(expected * np.log(p) + (1 - expected) * np.log(1 - p))))
