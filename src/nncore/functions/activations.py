"""Activations, losses and information measures of arrays: the articles' definitions to the last digit.

The source of the definitions is S. Saito, Deep Learning from Scratch, chapters 3 and 4, and for the information
measures C. Shannon, A Mathematical Theory of Communication (1948).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, target_checks
from nncore.core.dispatch import activation, loss
from nncore.functions import domains

Array = NDArray[Any]


def activate(name: str, x: ArrayLike, param: float = 0.0) -> Any:
    """Return f(x) for the elementwise activation of this name; a new array of x's shape."""
    z = np.array(checks.floats(x, "x"))
    activation.activate(activation.ACTIVATIONS[name], z.reshape(-1), param=param)
    return z[()]


def identity(x: ArrayLike) -> Any:
    """Return x itself as floats: the activation of an output layer for regression.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        A new array of the same shape.

    Examples
    --------
    >>> identity([1.0, -2.0])
    array([ 1., -2.])
    """
    return activate("identity", x)


def sigmoid(x: ArrayLike) -> Any:
    """Return 1 / (1 + exp(-x)), finite and without a warning for every x.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Values in [0, 1], same shape.

    Examples
    --------
    >>> sigmoid([0.0, -1000.0])
    array([0.5, 0. ])
    """
    return activate("sigmoid", x)


def tanh(x: ArrayLike) -> Any:
    """Return the hyperbolic tangent of x.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Values in [-1, 1], same shape.

    Examples
    --------
    >>> tanh([0.0, 1000.0])
    array([0., 1.])
    """
    return activate("tanh", x)


def relu(x: ArrayLike) -> Any:
    """Return max(x, 0).

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Same shape. Where a derivative is taken, that at 0 is 0.

    Examples
    --------
    >>> relu([-1.0, 2.0])
    array([0., 2.])
    """
    return activate("relu", x)


def _softmax_and_log_sums(x: ArrayLike, axis: int) -> tuple[Array, Array]:
    """The softmax along axis, and log(sum(exp(x - max(x)))) with that axis kept."""
    array = checks.floats(x, "x")
    if array.ndim == 0 or not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis is {axis} and x has shape {array.shape}, expected an axis of x")
    if array.shape[axis] == 0:
        raise ValueError(f"x has shape {array.shape}, expected at least one element along axis {axis}")
    moved = np.array(np.moveaxis(array, axis, -1), order="C")
    log_sums = np.empty(moved.size // moved.shape[-1])
    activation.softmax(moved.reshape(-1, moved.shape[-1]), log_sums)
    return np.moveaxis(moved, -1, axis), np.expand_dims(log_sums.reshape(moved.shape[:-1]), axis)


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Any:
    """Return x where it is positive, else slope * x.

    Parameters
    ----------
    x : array_like
        Any shape.
    slope : float
        0 or more.

    Returns
    -------
    ndarray or float
        Same shape.

    Examples
    --------
    >>> leaky_relu([2.0, -2.0])
    array([ 2.  , -0.02])
    """
    return activate("leaky_relu", x, checks.non_negative_float(slope, "slope"))


def elu(x: ArrayLike, alpha: float = 1.0) -> Any:
    """Return x where it is positive, else alpha * (exp(x) - 1).

    Source: D. Clevert, T. Unterthiner, S. Hochreiter, Exponential linear units (2015).

    Parameters
    ----------
    x : array_like
        Any shape.
    alpha : float
        Above 0.

    Returns
    -------
    ndarray or float
        Values above -alpha, same shape.

    Examples
    --------
    >>> elu([2.0, -1000.0])
    array([ 2., -1.])
    """
    return activate("elu", x, checks.positive_float(alpha, "alpha"))


def selu(x: ArrayLike) -> Any:
    """Return the elu with alpha 1.6733, times 1.0507: means and variances of layers then stay near 0 and 1.

    Source: G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, Self-normalizing neural networks (2017).

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Same shape.

    Examples
    --------
    >>> selu([1.0, -1000.0]).round(4)
    array([ 1.0507, -1.7581])
    """
    return activate("selu", x)


def gelu(x: ArrayLike) -> Any:
    """Return x times the standard normal distribution function of x, not its tanh approximation.

    To 4 units in the last place for every x, also far below 0, where 1 + erf(x / sqrt(2)) has lost all digits.

    Source: D. Hendrycks, K. Gimpel, Gaussian error linear units (2016).

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Same shape.

    Examples
    --------
    >>> gelu([0.0, 1.0]).round(4)
    array([0.    , 0.8413])
    """
    return activate("gelu", x)


def silu(x: ArrayLike) -> Any:
    """Return x * sigmoid(x), also called swish.

    Source: S. Elfwing, E. Uchibe, K. Doya, Sigmoid-weighted linear units (2017).

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Same shape.

    Examples
    --------
    >>> silu([0.0, 1.0]).round(4)
    array([0.    , 0.7311])
    """
    return activate("silu", x)


def softplus(x: ArrayLike) -> Any:
    """Return log(1 + exp(x)), finite for every finite x.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Positive values, same shape.

    Examples
    --------
    >>> softplus([0.0, 1000.0]).round(4)
    array([6.931e-01, 1.000e+03])
    """
    return activate("softplus", x)


def hard_sigmoid(x: ArrayLike) -> Any:
    """Return x / 6 + 1 / 2, at least 0 and at most 1: the sigmoid in three straight lines.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray or float
        Values in [0, 1], same shape.

    Examples
    --------
    >>> hard_sigmoid([-3.0, 0.0, 1.5, 3.0])
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    return activate("hard_sigmoid", x)


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Return exp(x) / sum(exp(x)) along one axis, finite for every finite x.

    Parameters
    ----------
    x : array_like
        At least one dimension.
    axis : int
        The axis that sums to 1.

    Returns
    -------
    ndarray
        Probabilities, same shape.

    Raises
    ------
    ValueError
        If x has no such axis, or it is empty.

    Examples
    --------
    >>> softmax([1000.0, 1000.0])
    array([0.5, 0.5])
    """
    return _softmax_and_log_sums(x, axis)[0]


def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Return log(softmax(x)): exact also where a probability rounds to 0, and where all x are large.

    As (x - max(x)) - log(sum(exp(x - max(x)))), so that what is small beside the largest x is not lost.

    Parameters
    ----------
    x : array_like
        At least one dimension.
    axis : int
        The axis along which the probabilities sum to 1.

    Returns
    -------
    ndarray
        Values of 0 or less, same shape.

    Raises
    ------
    ValueError
        If x has no such axis, or it is empty.

    Examples
    --------
    >>> log_softmax([0.0, -1000.0])
    array([    0., -1000.])
    """
    array = checks.floats(x, "x")
    log_sums = _softmax_and_log_sums(array, axis)[1]  # checks x and axis
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, and finite numbers too far apart
        shifted = array - array.max(axis=axis, keepdims=True)
    return np.asarray(shifted - log_sums, dtype=array.dtype)


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
    numbers = target_checks.labels(array, "labels", n_classes)
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
    total = loss.cross_entropy(rows, expected, np.empty_like(rows), delta)
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
    picked = logs[np.arange(len(logs)), target_checks.labels(labels, "labels", logs.shape[1])]
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


def _distribution(p: ArrayLike, name: str) -> Array:
    """Probabilities that sum to 1."""
    array = np.asarray(checks.floats(p, name), dtype=np.float64)
    if array.ndim != 1 or not ((array >= 0).all() and abs(array.sum() - 1) <= 1e-6):
        raise ValueError(f"{name} is {array}, expected probabilities of 0 or more that sum to 1")
    return array


def _base(base: float) -> float:
    """The base of a logarithm."""
    return checks.number(base, "base", lambda v: 0 < v < np.inf and v != 1, "a finite number above 0 other than 1")


def information_content(p: ArrayLike, base: float = 2.0) -> Any:
    """Return -log(p): what learning of an event of probability p tells.

    Parameters
    ----------
    p : array_like
        Probabilities in (0, 1], any shape.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    ndarray or float

    Raises
    ------
    ValueError
        If a probability is not in (0, 1].

    Examples
    --------
    >>> information_content(0.25)
    2.0
    """
    array = np.asarray(checks.floats(p, "p"), dtype=np.float64)
    if not ((array > 0) & (array <= 1)).all():
        raise ValueError(f"p is {array}, expected probabilities above 0 and up to 1")
    result = np.abs(np.log(array) / np.log(_base(base)))
    return result if result.ndim else float(result)


def entropy(p: ArrayLike, base: float = 2.0) -> float:
    """Return -sum(p log(p)): the information expected from one draw.

    Parameters
    ----------
    p : array_like of shape (n_outcomes,)
        Probabilities that sum to 1.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If p is not a distribution.

    Examples
    --------
    >>> entropy([0.5, 0.5])
    1.0
    """
    return cross_entropy(p, p, base)


def cross_entropy(p: ArrayLike, q: ArrayLike, base: float = 2.0) -> float:
    """Return -sum(p log(q)): the information expected when draws from p are coded for q.

    Parameters
    ----------
    p, q : array_like of shape (n_outcomes,)
        The true and the assumed distribution.
    base : float
        2 for bits, e for nats.

    Returns
    -------
    float
        inf where q rules out what p allows.

    Raises
    ------
    ValueError
        If p or q is not a distribution, or their lengths differ.

    Examples
    --------
    >>> round(cross_entropy([0.9, 0.1], [0.99, 0.01]), 6)
    0.677435
    """
    true, assumed = _distribution(p, "p"), _distribution(q, "q")
    if true.shape != assumed.shape:
        raise ValueError(f"q has {assumed.size} outcomes, expected {true.size} to match p")
    possible = true > 0
    if (assumed[possible] == 0).any():
        return float("inf")
    return float(-np.sum(true[possible] * np.log(assumed[possible])) / np.log(_base(base)))
