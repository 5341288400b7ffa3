"""Numerical differentiation of functions, and gradient descent on it.

Source: S. Saito, Deep Learning from Scratch, chapter 4; step sizes: W. Press et al., Numerical Recipes, section 5.7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks
from nncore._differences import Differences, differences, second_differences
from nncore._evaluation import MAX_MEMORY, rebuilt

Array = NDArray[Any]


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
    _checks.choice(method, "method", ("central", "forward"))
    h = _checks.positive_float(h, "h")
    if method == "central":
        return (f(x + h) - f(x - h)) / (2 * h)
    return (f(x + h) - f(x)) / h


def numerical_gradient(
    f: Any,
    x: Any,
    h: float | None = None,
    method: str = "central",
    *,
    order: int = 2,
    vectorized: bool = False,
    noise: float = 1.0,
    bounds: Any = None,
    n_jobs: int | None = None,
    n_threads: int = 1,
    max_memory: int = MAX_MEMORY,
    return_error: bool = False,
) -> Any:
    """Return the gradient of f at x, one element at a time.

    Parameters
    ----------
    f : callable or C function
        Returns one number. A Python function is called with x; it may as well ignore its argument and read x by
        alias. A C function is a ``scipy.LowLevelCallable``, a numba ``cfunc``, a ctypes function pointer with argtypes
        and restype, or a cffi pointer, of signature ``double (intptr_t n, const double *x, void *user_data)`` or
        ``double (intptr_t n, const double *x)``; it is called without the GIL, on copies of x.
    x : ndarray of float, or a dict, list or tuple of them
        Any shape and layout. Each element is changed in place and restored, also when f raises; for a container f is
        called with that container.
    h : float, optional
        Step, the same for every element. By default (noise * eps)**p, rounded to a power of 2, times
        max(1, abs(x)): eps of the coarser float type of x and of what f returns; p = 1/3 for central differences, 1/5
        with order 4, 1/7 for Richardson's, 1/2 for forward and backward ones. Where all of x is below 0.001 and f
        varies on the scale of x, the largest abs(x) takes the place of 1.
    method : {"central", "forward", "backward", "complex", "richardson"}
        "complex" is exact to rounding for an f that is analytic and takes complex x. "richardson" extrapolates
        central differences of five steps to h = 0.
    order : {2, 4}
        Of central differences: 4 takes the points x ± h and x ± h/2.
    vectorized : bool
        f takes a stack of arrays of shape (m, *x.shape) and returns m numbers; x itself is not touched.
    noise : float
        How many times the rounding error of f is above eps. 1e6 for an f that is good to 1e-10 only.
    bounds : (low, high), optional
        Numbers or arrays of x's shape. f is never evaluated outside; where x ± h does not fit, the difference is
        one-sided, of second order. With a container every array has the same bounds.
    n_jobs : int, optional
        Processes that share the evaluations of a slow Python function, -1 for one a CPU; each gets a copy of x, and f
        must use its argument. Same result to the last bit.
    n_threads : int
        Threads that share the evaluations of a C function. Same result to the last bit.
    max_memory : int
        Bytes that a stack, and the points of one block of elements, may take.
    return_error : bool
        Also return an estimate of the error of each element, truncation and rounding, for which f is evaluated at
        four points an element at least.

    Returns
    -------
    grad : ndarray, or a container like x
        Shape and float type of x. Differences are divided by the step that rounding left.
    error : ndarray, or a container like x
        Only with return_error.

    Raises
    ------
    TypeError
        If x is not a writable array of floats, f does not return one number, or a C function has another signature.
    ValueError
        For an unknown method, h that is not above 0, x or f(x) that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    >>> numerical_gradient(lambda x: np.sum(x**2, axis=1), np.array([3.0, 4.0]), vectorized=True).round(6)
    array([6., 8.])
    >>> params = {"W": np.array([[1.0, 2.0]]), "b": np.array([0.5])}
    >>> numerical_gradient(lambda p: float(np.sum(p["W"] ** 2) + 3 * p["b"][0]), params)["W"].round(6)
    array([[2., 4.]])
    """
    settings: dict[str, Any] = {
        "h": h, "method": method, "order": order, "noise": noise, "bounds": bounds, "vectorized": vectorized,
        "n_jobs": n_jobs, "n_threads": n_threads, "max_memory": max_memory, "diagnose": return_error,
    }  # fmt: skip
    if isinstance(x, np.ndarray) or not isinstance(x, (dict, list, tuple)):
        return _gradient_and_error(differences(f, x, **settings), x, return_error)
    keys = _checks.array_keys(x, "x")
    # all arrays are looked at before any work is done
    for key in keys:
        _checks.perturbable(x[key], f"x[{key!r}]", in_place=not vectorized)
    parts = [
        _gradient_and_error(differences(f, x, key=key, name=f"x[{key!r}]", **settings), x[key], return_error)
        for key in keys
    ]
    if return_error:
        return _like(x, [grad for grad, _ in parts]), _like(x, [error for _, error in parts])
    return _like(x, parts)


def _gradient_and_error(found: Differences, x: Array, return_error: bool) -> Any:
    grad = found.value.astype(x.dtype.newbyteorder("="), copy=False)
    return (grad, found.truncation + found.rounding) if return_error else grad


def _like(container: Any, items: list[Any]) -> Any:
    if isinstance(container, dict):
        return dict(zip(container, items, strict=True))
    return rebuilt(container, items)


def numerical_jacobian(
    f: Callable[[Array], Any],
    x: Array,
    h: float | None = None,
    method: str = "central",
    *,
    order: int = 2,
    vectorized: bool = False,
    noise: float = 1.0,
    bounds: Any = None,
    n_jobs: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Array:
    """Return the derivatives of every number that f returns by every element of x.

    Parameters
    ----------
    f : callable
        Takes x, returns an array of numbers, always of the same shape; with ``vectorized`` it takes a stack
        (m, *x.shape) and returns (m, *f_shape).
    x : ndarray of float
        Any shape and layout; changed in place and restored, as by `numerical_gradient`.
    h, method, order, vectorized, noise, bounds, n_jobs, max_memory
        As for `numerical_gradient`.

    Returns
    -------
    ndarray of shape (*f_shape, *x.shape)
        In x's float type.

    Raises
    ------
    TypeError, ValueError
        As by `numerical_gradient`; also if f returns arrays of several shapes.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_jacobian(lambda x: np.array([x[0] * x[1], x[0] ** 2]), np.array([3.0, 4.0])).round(6)
    array([[4., 3.],
           [6., 0.]])
    """
    found = differences(
        f, x, h, method, order=order, vectorized=vectorized, noise=noise, bounds=bounds, n_jobs=n_jobs,
        max_memory=max_memory, arrays=True,
    )  # fmt: skip
    axes = range(x.ndim)
    jacobian = np.moveaxis(found.value, axes, [found.value.ndim - x.ndim + axis for axis in axes])
    return np.ascontiguousarray(jacobian, dtype=x.dtype.newbyteorder("="))


def numerical_hessian(
    f: Any,
    x: Array,
    h: float | None = None,
    *,
    vectorized: bool = False,
    noise: float = 1.0,
    n_jobs: int | None = None,
    n_threads: int = 1,
    max_memory: int = MAX_MEMORY,
) -> Array:
    """Return the second derivatives of f at x by central differences of f; symmetric to the last bit.

    Parameters
    ----------
    f : callable or C function
        Returns one number, as for `numerical_gradient`. It is evaluated 2 n**2 + 1 times for n elements.
    x : ndarray of float
        Any shape and layout; changed in place and restored.
    h : float, optional
        Step, the same for every element. By default (noise * eps)**(1/4), to the next power of 2, times max(1, abs(x)).
    vectorized, noise, n_jobs, n_threads, max_memory
        As for `numerical_gradient`.

    Returns
    -------
    ndarray of shape (*x.shape, *x.shape)
        In x's float type.

    Raises
    ------
    TypeError, ValueError
        As by `numerical_gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_hessian(lambda x: x[0] ** 2 * x[1], np.array([3.0, 4.0])).round(4)
    array([[8., 6.],
           [6., 0.]])
    """
    found = second_differences(
        f, x, h, vectorized=vectorized, noise=noise, n_jobs=n_jobs, n_threads=n_threads, max_memory=max_memory
    )
    return found.reshape(x.shape + x.shape).astype(x.dtype.newbyteorder("="), copy=False)


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
