"""Activations of arrays: what the core computes in a layer, by itself."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.core.dispatch import activation as core
from nncore.functions import kinds

Array = NDArray[Any]


def _activate(name: str, x: ArrayLike, param: Any = 0.0) -> Any:
    """Return f(x) for the elementwise activation of this name; a new array of x's shape."""
    parameter = kinds.ACTIVATIONS[name].parameter
    if parameter:
        param = parameter.check(param, parameter.name)
    z = np.array(checks.floats(x, "x"))
    core.activate(kinds.ACTIVATIONS[name].number, z.reshape(-1), param=param)
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
    return _activate("identity", x)


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
    return _activate("sigmoid", x)


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
    return _activate("tanh", x)


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
    return _activate("relu", x)


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
    return _activate("leaky_relu", x, slope)


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
    return _activate("elu", x, alpha)


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
    return _activate("selu", x)


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
    return _activate("gelu", x)


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
    return _activate("silu", x)


def mish(x: ArrayLike) -> Any:
    """Return x * tanh(softplus(x)), smooth and a little below 0 for negative x.

    Source: D. Misra, Mish: a self regularized non-monotonic activation function (2019).

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
    >>> mish([0.0, 1.0]).round(4)
    array([0.    , 0.8651])
    """
    return _activate("mish", x)


def softsign(x: ArrayLike) -> Any:
    """Return x / (1 + abs(x)), between -1 and 1, which it nears more slowly than tanh.

    Source: J. Bergstra et al., Quadratic polynomials learn better image features (2009).

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
    >>> softsign([-3.0, 0.0, 1.0])
    array([-0.75,  0.  ,  0.5 ])
    """
    return _activate("softsign", x)


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
    return _activate("softplus", x)


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
    return _activate("hard_sigmoid", x)


def _softmax_and_log_sums(x: ArrayLike, axis: int) -> tuple[Array, Array]:
    """The softmax along axis, and log(sum(exp(x - max(x)))) with that axis kept."""
    array = checks.floats(x, "x")
    if array.ndim == 0 or not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis is {axis} and x has shape {array.shape}, expected an axis of x")
    if array.shape[axis] == 0:
        raise ValueError(f"x has shape {array.shape}, expected at least one element along axis {axis}")
    moved = np.array(np.moveaxis(array, axis, -1), order="C")
    log_sums = np.empty(moved.size // moved.shape[-1])
    core.softmax(moved.reshape(-1, moved.shape[-1]), log_sums)
    return np.moveaxis(moved, -1, axis), np.expand_dims(log_sums.reshape(moved.shape[:-1]), axis)


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
