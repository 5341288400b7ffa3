"""Numerical differentiation of functions, and gradient descent on it.

Source: S. Saito, Deep Learning from Scratch, chapter 4; step sizes: W. Press et al., Numerical Recipes, section 5.7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks
from nncore.differences.arguments import array_keys, perturbable, rebuilt, separate
from nncore.differences.differences import differences
from nncore.differences.estimates import GradientInfo, jacobian_with_errors, with_errors
from nncore.differences.evaluation import MAX_MEMORY
from nncore.differences.hessian import second_differences

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
    checks.choice(method, "method", ("central", "forward"))
    h = checks.positive_float(h, "h")
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
    full_output: bool = False,
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
        Processes that share the evaluations of a slow Python function, -1 for one per CPU; each gets a copy of x, and f
        must use its argument. Same result to the last bit.
    n_threads : int
        Threads that share the evaluations of a C function. Same result to the last bit.
    max_memory : int
        Bytes that a stack, and the points of one block of elements, may take.
    return_error, full_output : bool
        Also return the estimated error of each element, or a `GradientInfo` with it. Steps are then chosen by element,
        by its size, the noise of f, which is measured, and where f bends: some ten evaluations an element, 60 at most.

    Returns
    -------
    grad : ndarray, or a container like x
        Shape and float type of x. Differences are divided by the step that rounding left.
    error : ndarray, or a container like x
        Only with return_error; it holds in 95 of 100 cases.
    info : GradientInfo
        Only with full_output.

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
    one = isinstance(x, np.ndarray) or not isinstance(x, (dict, list, tuple))
    keys = [None] if one else array_keys(x, "x")
    arrays = [x] if one else [x[key] for key in keys]
    names = ["x"] if one else [f"x[{key!r}]" for key in keys]
    if not one:
        # all arrays are looked at before any work is done
        for name, array in zip(names, arrays, strict=True):
            perturbable(array, name, in_place=not vectorized)
        separate(list(zip(names, arrays, strict=True)))
    how: dict[str, Any] = {
        "vectorized": vectorized, "n_jobs": n_jobs, "n_threads": n_threads, "max_memory": max_memory,
    }  # fmt: skip
    scheme: dict[str, Any] = {"h": h, "method": method, "order": order, "noise": noise}
    find = with_errors if return_error or full_output else differences
    parts: list[Any] = [
        find(f, x, key=key, name=name, bounds=bounds, **scheme, **how) for key, name in zip(keys, names, strict=True)
    ]

    def like_x(items: list[Any]) -> Any:
        return items[0] if one else _like(x, items)

    grad = like_x([p.value.astype(a.dtype.newbyteorder("="), copy=False) for p, a in zip(parts, arrays, strict=True)])
    if full_output:
        fields = {field: like_x([getattr(p, field) for p in parts]) for field in ("error", "kink", "noise")}
        return grad, GradientInfo(**fields, n_evaluations=sum(p.n_evaluations for p in parts))
    return (grad, like_x([p.error for p in parts])) if return_error else grad


def _like(container: Any, items: list[Any]) -> Any:
    """Return a container like this one with other items."""
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
    full_output: bool = False,
) -> Any:
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
    full_output : bool
        Also return the estimated errors. Steps are then chosen by element, of fourteen points each.

    Returns
    -------
    jacobian : ndarray of shape (*f_shape, *x.shape)
        In x's float type.
    error : ndarray of its shape
        Only with full_output; it holds in 95 of 100 cases.

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
    value: Any = None
    native = x.dtype.newbyteorder("=") if isinstance(x, np.ndarray) else np.float64
    if not full_output or method != "central" or h is not None or order != 2:
        value = differences(
            f, x, h, method, order=order, vectorized=vectorized, noise=noise, bounds=bounds, n_jobs=n_jobs,
            max_memory=max_memory, arrays=True,
        ).value  # fmt: skip
    if not full_output:
        return _outputs_first(value, x).astype(native, copy=False)
    best, error = jacobian_with_errors(f, x, noise, bounds, vectorized=vectorized, n_jobs=n_jobs, max_memory=max_memory)
    if value is None:
        value = best
    error = np.where(np.isfinite(error), error + np.abs(value - best), np.inf)
    return _outputs_first(value, x).astype(native, copy=False), _outputs_first(error, x)


def _outputs_first(derivatives: Array, x: Array) -> Array:
    """Return an array of shape (*x.shape, *f_shape) as (*f_shape, *x.shape)."""
    axes = range(x.ndim)
    ends = [derivatives.ndim - x.ndim + axis for axis in axes]
    return np.ascontiguousarray(np.moveaxis(derivatives, axes, ends))


def numerical_hessian(
    f: Any,
    x: Array,
    h: float | None = None,
    *,
    vectorized: bool = False,
    noise: float | None = None,
    n_jobs: int | None = None,
    n_threads: int = 1,
    max_memory: int = MAX_MEMORY,
    full_output: bool = False,
) -> Any:
    """Return the second derivatives of f at x by central differences of f; symmetric to the last bit.

    Parameters
    ----------
    f : callable or C function
        Returns one number, as for `numerical_gradient`. It is evaluated some 4 n**2 + 30 n times for n elements.
    x : ndarray of float
        Any shape and layout; changed in place and restored.
    h : float, optional
        Step, the same for every element; by default chosen for each, by its size and the noise of f.
    noise : float, optional
        The noise of f in units of the rounding of f(x); by default it is measured.
    vectorized, n_jobs, n_threads, max_memory
        As for `numerical_gradient`.
    full_output : bool
        Also return the estimated errors.

    Returns
    -------
    hessian : ndarray of shape (*x.shape, *x.shape)
        In x's float type.
    error : ndarray of its shape
        Only with full_output; it holds in 95 of 100 cases.

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
    found, error = second_differences(
        f, x, h, noise=noise, vectorized=vectorized, n_jobs=n_jobs, n_threads=n_threads, max_memory=max_memory
    )
    hessian = found.reshape(x.shape + x.shape).astype(x.dtype.newbyteorder("="), copy=False)
    return (hessian, error.reshape(hessian.shape)) if full_output else hessian


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
    lr = checks.positive_float(lr, "lr")
    step_num = checks.positive_int(step_num, "step_num")
    x = np.array(checks.floats(init_x, "init_x"))
    path = [x.copy()]
    for _ in range(step_num):
        x -= lr * numerical_gradient(f, x)
        path.append(x.copy())
    return (x, np.array(path)) if return_path else x
