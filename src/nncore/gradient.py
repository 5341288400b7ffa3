"""Numerical differentiation of functions, and gradient descent on it.

Source: S. Saito, Deep Learning from Scratch, chapter 4; step sizes: W. Press et al., Numerical Recipes, section 5.7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks
from nncore._dispatch import numdiff

METHODS = ("central", "forward")


def numerical_diff(f: Callable[[float], float], x: float, h: float = 1e-4, method: str = "central") -> float:
    """Return the slope of f at x: (f(x + h) - f(x - h)) / 2h, or forward (f(x + h) - f(x)) / h.

    Parameters
    ----------
    f : callable
        Takes and returns a float.
    x : float
    h : float
        Step. The error is about h**2 (central) or h (forward) from truncation plus 1e-16 / h from rounding: a step
        that is too small, such as 10e-50, vanishes in x + h and gives 0.
    method : {"central", "forward"}

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an unknown method, or h that is not above 0.

    Examples
    --------
    >>> numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5)
    0.1999999999990898
    """
    _checks.choice(method, "method", METHODS)
    h = _checks.positive_float(h, "h")
    if method == "central":
        return (f(x + h) - f(x - h)) / (2 * h)
    return (f(x + h) - f(x)) / h


def numerical_gradient(
    f: Callable[[NDArray[Any]], float], x: NDArray[Any], h: float | None = None, method: str = "central"
) -> NDArray[Any]:
    """Return the gradient of f at x, one element at a time.

    Parameters
    ----------
    f : callable
        Returns one number. It is called with x; it may as well ignore its argument and read x by alias.
    x : ndarray of float
        Any shape and layout. Each element is changed in place and restored, also when f raises.
    h : float, optional
        Step, the same for every element. By default eps**(1/3) * max(1, abs(x)) for central and
        eps**(1/2) * max(1, abs(x)) for forward differences, with eps of x's type.
    method : {"central", "forward"}

    Returns
    -------
    ndarray
        Shape and float type of x. Differences are divided by the step that rounding left.

    Raises
    ------
    TypeError
        If x is not a writable array of floats, or f does not return one number.
    ValueError
        For an unknown method, or h that is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    """
    _checks.choice(method, "method", METHODS)
    step = 0.0 if h is None else _checks.positive_float(h, "h")
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        got = f"an array of dtype {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(f"x is {got}, expected an array of floats: a step added to an integer vanishes")
    if not x.flags.writeable:
        raise TypeError("x is read-only, expected a writable array: its elements are changed in place")
    grad = np.zeros(x.size)
    relative_step = float(np.finfo(x.dtype).eps) ** (1 / 3 if method == "central" else 1 / 2)
    numdiff.numerical_gradient(f, x, grad, step, method == "central", relative_step)
    return grad.reshape(x.shape).astype(x.dtype.newbyteorder("="), copy=False)


def gradient_descent(
    f: Callable[[NDArray[Any]], float],
    init_x: ArrayLike,
    lr: float = 0.01,
    step_num: int = 100,
    return_path: bool = False,
) -> Any:
    """Walk step_num times down the numerical gradient: x = x - lr * gradient.

    Parameters
    ----------
    f : callable
        Takes an array of init_x's shape, returns one number.
    init_x : array_like
        The start; it is not changed.
    lr : float
        Learning rate. Too large diverges, too small stands still.
    step_num : int
        Number of steps.
    return_path : bool
        Also return every point.

    Returns
    -------
    x : ndarray
        The last point.
    path : ndarray of shape (step_num + 1, *init_x.shape)
        Only with return_path: the start and the point after each step.

    Raises
    ------
    TypeError, ValueError
        If lr or step_num is not a positive number, or init_x is not numbers.

    Examples
    --------
    >>> import numpy as np
    >>> gradient_descent(lambda x: np.sum(x**2), [-3.0, 4.0], lr=0.1, step_num=100).round(8)
    array([-0.,  0.])
    """
    lr = _checks.positive_float(lr, "lr")
    step_num = _checks.positive_int(step_num, "step_num")
    x = np.array(_checks.floats(init_x, "init_x"))
    path = [x.copy()]
    for _ in range(step_num):
        x -= lr * numerical_gradient(f, x)
        path.append(x.copy())
    return (x, np.array(path)) if return_path else x
