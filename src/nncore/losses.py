"""Losses for loops of your own: each returns the loss of a batch and its gradient by the outputs.

The formulas and reductions are those of NeuralNetwork: a sum over outputs, averaged over the samples. The
gradient is what ``NeuralNetwork.backward`` takes, and ``NeuralNetwork(loss=...)`` takes such a function as it is.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, target_checks
from nncore.core.dispatch import loss as core
from nncore.functions import domains, kinds
from nncore.functions.weights import shares

__all__ = list(kinds.LOSSES)

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

# What the docstrings share, by its name in braces there.
_SHARED = {
    "y": "y : array_like of shape (n_samples, n_out) or (n_out,)",
    "weights": """\
weights : array_like of shape (n_samples,) or (n_samples, n_out), optional
    sum(weight * loss) / sum(weight) instead of the mean; with one weight an output, 0 for a mask, each term times
    its weight, and the mean over samples.""",
    "returns": """\
Returns
-------
loss : float
dy : ndarray
    Its gradient by y, of y's shape.""",
    "raises": """\
Raises
------
TypeError, ValueError
    If shapes do not fit""",
}


def _documented(function: F) -> F:
    """The function, with the shared parts in its docstring."""
    if function.__doc__:  # python -OO leaves none
        text = inspect.cleandoc(function.__doc__)
        for name, part in _SHARED.items():
            text = text.replace(f"{{{name}}}", part)
        function.__doc__ = text
    return function


def _batch(kind: str, y: ArrayLike, t: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Outputs and targets as rows, labels as one-hot ones, and the shares of their terms."""
    rows = np.atleast_2d(checks.floats(y, "y"))
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"y has shape {np.shape(y)}, expected (n_samples, n_out) or (n_out,)")
    n, n_out = rows.shape
    loss = kinds.LOSSES[kind]
    if loss.exclusive and n_out == 1:
        raise ValueError(
            f"y has shape {np.shape(y)}, expected 2 outputs or more, one a class: see sigmoid_cross_entropy"
        )
    low, high = loss.outputs or (None, None)
    if low is not None and not ((rows >= low) & (rows <= high)).all():
        raise ValueError(f"y goes from {rows.min()} to {rows.max()}, expected numbers from {low:g} to {high:g}")
    array = None if weights is None else _weights(weights, rows.shape, single=np.ndim(y) == 1)
    targets = domains.targets_for(kind, target_checks.targets(t, "t", n, n_out), "t", array)
    if targets.ndim == 1:
        off, on = loss.coding
        targets = np.where(np.eye(n_out)[targets] > 0, on, off)
    return rows, targets.astype(rows.dtype, copy=False), shares(array, rows.shape)


def _weights(weights: ArrayLike, shape: tuple[int, ...], *, single: bool) -> Array:
    """Weights of samples or of outputs, of a single sample as a row; unlike in training all may be 0."""
    n, n_out = shape
    array = checks.finite(np.asarray(checks.numbers(weights, "weights"), np.float64), "weights")
    array = array[None] if single and array.shape == (n_out,) else array
    if array.shape not in ((n,), (n, n_out)):
        raise ValueError(f"weights has shape {array.shape}, expected ({n},) or ({n}, {n_out}) to match y")
    if not (array >= 0).all():
        raise ValueError(f"weights goes from {array.min()} to {array.max()}, expected 0 or more")
    return target_checks.addable(array, "weights") if array.any() else array


def _terms(kind: str, y: ArrayLike, t: ArrayLike, weights: ArrayLike | None, param: Any = 0.0) -> tuple[float, Array]:
    """A loss that is a sum over outputs."""
    parameter = kinds.LOSSES[kind].parameter
    if parameter:
        param = parameter.check(param, parameter.name)
    rows, targets, share = _batch(kind, y, t, weights)
    dy = np.empty_like(rows)
    return core.terms(kinds.LOSSES[kind].number, param, rows, targets, share, dy), dy.reshape(np.shape(y))


@_documented
def squared_error(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss (y - t)**2 / 2 and its gradient.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        Targets of y's shape.
    {weights}

    {returns}

    {raises}, or a weight is negative.

    Examples
    --------
    >>> squared_error([[3.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])
    (1.0, array([[1., 0.],
           [0., 0.]]))

    The second output does not count:

    >>> squared_error([3.0, 9.0], [1.0, 1.0], weights=[1, 0])
    (2.0, array([2., 0.]))
    """
    return _terms("squared_error", y, t, weights)


@_documented
def absolute_error(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss abs(y - t) and its gradient.

    The gradient where y = t is 0.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        Targets of y's shape.
    {weights}

    {returns}

    {raises}, or a weight is negative.

    Examples
    --------
    >>> absolute_error([3.0, 1.0], [1.0, 1.0])
    (2.0, array([1., 0.]))
    """
    return _terms("absolute_error", y, t, weights)


@_documented
def huber(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None, *, delta: float = 1.0) -> tuple[float, Array]:
    """Return the loss (y - t)**2 / 2 up to an error of delta, linear beyond, and its gradient.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        Targets of y's shape.
    {weights}
    delta : float
        Above 0.

    {returns}

    {raises}, a weight is negative, or delta is not above 0.

    Examples
    --------
    >>> huber([3.0, 1.5], [1.0, 1.0])
    (1.625, array([1. , 0.5]))
    """
    return _terms("huber", y, t, weights, delta)


@_documented
def log_cosh(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss log(cosh(y - t)) and its gradient, tanh(y - t).

    About half the square of a small error, and the size of a large one less log(2): as huber(1), but smooth.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        Targets of y's shape.
    {weights}

    {returns}

    {raises} or a weight is negative.

    Examples
    --------
    >>> loss, dy = log_cosh([3.0, 1.0], [1.0, 1.0])
    >>> round(loss, 4), dy.round(4)
    (1.325, array([0.964, 0.   ]))
    """
    return _terms("log_cosh", y, t, weights)


@_documented
def quantile(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None, *, q: float = 0.5) -> tuple[float, Array]:
    """Return the loss max(q * (t - y), (q - 1) * (t - y)) and its gradient.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        Targets of y's shape.
    {weights}
    q : float
        Between 0 and 1: the quantile of t that y is drawn to.

    {returns}

    {raises}, a weight is negative, or q is not between 0 and 1.

    Examples
    --------
    >>> quantile([3.0, 1.0], [1.0, 2.0], q=0.75)
    (1.25, array([ 0.25, -0.75]))
    """
    return _terms("quantile", y, t, weights, q)


@_documented
def poisson(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss exp(y) - t * y and its gradient.

    Parameters
    ----------
    {y}
        Logarithms of the mean.
    t : array_like
        Counts of 0 or more, of y's shape.
    {weights}

    {returns}

    {raises}, a weight is negative, or t is.

    Examples
    --------
    >>> poisson([0.0], [3.0])
    (1.0, array([-2.]))
    """
    return _terms("poisson", y, t, weights)


@_documented
def sigmoid_cross_entropy(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss -t * log(s) - (1 - t) * log(1 - s), s = sigmoid(y), and its gradient.

    Finite for every finite y.

    Parameters
    ----------
    {y}
        Logits.
    t : array_like
        Numbers from 0 to 1 of y's shape.
    {weights}

    {returns}

    {raises}, a weight is negative, or t not from 0 to 1.

    Examples
    --------
    >>> loss, dy = sigmoid_cross_entropy([0.0, 1000.0], [1.0, 1.0])
    >>> round(loss, 4), dy
    (0.6931, array([-0.5,  0. ]))
    """
    return _terms("sigmoid_cross_entropy", y, t, weights)


@_documented
def binary_cross_entropy(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss -t * log(y) - (1 - t) * log(1 - y) and its gradient.

    Logarithms are at least -100. sigmoid_cross_entropy is exact where this rounds.

    Parameters
    ----------
    {y}
        Probabilities, from 0 to 1.
    t : array_like
        Numbers from 0 to 1 of y's shape.
    {weights}

    {returns}

    {raises}, a weight is negative, or y or t not from 0 to 1.

    Examples
    --------
    >>> loss, dy = binary_cross_entropy([0.5], [1.0])
    >>> round(loss, 4), dy
    (0.6931, array([-2.]))
    """
    return _terms("binary_cross_entropy", y, t, weights)


@_documented
def hinge(y: ArrayLike, t: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, Array]:
    """Return the loss max(0, 1 - t * y) and its gradient.

    Parameters
    ----------
    {y}
        Outputs.
    t : array_like
        -1 or 1, of y's shape; or labels (n_samples,), whose output is to be 1 and the others -1.
    {weights}

    {returns}

    {raises}, a weight is negative, or t is not -1 or 1.

    Examples
    --------
    >>> hinge([0.5, -2.0], [1.0, -1.0])
    (0.5, array([-1.,  0.]))
    """
    return _terms("hinge", y, t, weights)


@_documented
def softmax_cross_entropy(
    y: ArrayLike,
    t: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    delta: float = 0.0,
    label_smoothing: float = 0.0,
) -> tuple[float, Array]:
    """Return the loss -t * log(softmax(y) + delta) and its gradient.

    Parameters
    ----------
    {y}
        Logits.
    t : array_like
        Labels (n_samples,), or targets of y's shape, one-hot or soft.
    {weights}
    delta : float
        The book's constant within the logarithm; 0 for the exact loss, finite for every finite y.
    label_smoothing : float
        t becomes (1 - label_smoothing) * t + label_smoothing / n_out.

    {returns}

    {raises}, a weight is negative, a setting out of range, or t not from 0 to 1 with rows that sum
        to 1 (within 1e-5; 1e-3 in float32).

    Examples
    --------
    >>> loss, dy = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss, 4), dy
    (0.6931, array([[ 0.5, -0.5]]))
    """
    delta = checks.non_negative_float(delta, "delta")
    smoothing = checks.fraction(label_smoothing, "label_smoothing")
    rows, targets, share = _batch("softmax_cross_entropy", y, t, weights)
    targets = (1 - smoothing) * targets + smoothing / rows.shape[1]
    dy = np.empty_like(rows)
    # the loss is linear in t
    loss = core.softmax_cross_entropy(rows, (share * targets).astype(rows.dtype), dy, delta)
    return loss, dy.reshape(np.shape(y))
