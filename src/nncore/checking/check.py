"""check_gradient: whether a gradient is right, and if not, which element is wrong, by how much, and why."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.checking.evidence import RTOL
from nncore.checking.functions import check_function
from nncore.checking.networks import check_network
from nncore.checking.report import GradientReport
from nncore.core import checks
from nncore.differences.evaluation import MAX_MEMORY
from nncore.model.model import Model

Array = NDArray[Any]
RTOL_SINGLE = 3e-2  # smaller errors hide in differences of a float32 network


def check_gradient(
    f: Any,
    x: Any,
    t: ArrayLike | None = None,
    *,
    grad: Any = None,
    h: float | None = None,
    rtol: float | None = None,
    atol: float = 0.0,
    kinks: Literal["ignore", "fail"] = "ignore",
    noise: Literal["fail", "report"] | float = "fail",
    sample: int | None = None,
    directions: int | None = None,
    rng: int | np.random.Generator | None = 0,
    sample_weight: ArrayLike | None = None,
    dtype: Literal["float64", "network"] = "float64",
    bounds: Any = None,
    vectorized: bool = False,
    n_jobs: int | None = None,
    n_threads: int | Literal["auto"] = "auto",
    max_memory: int = MAX_MEMORY,
) -> GradientReport:
    """Compare a gradient with differences of the function, element by element.

    Two forms: ``check_gradient(net, x, t)`` checks the back-propagation of a network of this library on the samples x
    with targets t; ``check_gradient(f, x, grad=g)`` checks the gradient g that somebody wrote for the function f.

    Parameters
    ----------
    f : NeuralNetwork, TwoLayerNet, SimpleNet, or a function
        A function as numerical_gradient takes it: a Python function of x that returns one number (it may read x by
        alias), or a C function.
    x : array_like, or for a function an array of floats, a number, or a dict, list or tuple of arrays
        Samples (n_samples, n_in) for a network. A function's own arrays are changed in place and restored to the bit.
    t, sample_weight : array_like
        Targets, and the weights of the samples in the loss; for a network only.
    grad : array_like, dict, list or tuple, or callable
        The gradient under test, in the form of x; or a function that is called with x and returns it. A network
        provides its own unless one is given, as a dict by parameter name.
    h : float, optional
        First step, the same for every element; by default chosen for each, by its size, f's noise and its gradient.
    rtol, atol : float
        The error that is forgiven, and that has to be seen: rtol * max(|analytic|, |numerical|) + atol, of each element
        by itself. The estimated error of the difference is forgiven beside it. Defaults 1e-4 (3e-2 for a float32
        network as it is) and 0.
    kinks : {"ignore", "fail"}
        Whether an element at a kink, such as relu at 0, or a jump fails the check even if its value is one of the
        slopes on the two sides, or between. Other values are a mismatch at any rate.
    noise : {"fail", "report"} or float
        Whether the check fails when the differences resolve less than half of a parameter's elements to rtol: then they
        could not tell a right gradient from a wrong one. For a function, a number is the noise of f, in units of the
        rounding of f(x), which otherwise is measured.
    sample : int, optional
        Check only so many elements, drawn at random from every array by its size.
    directions : int, optional
        Check only the slope along so many random directions; the report says how small an error they could miss.
    rng : int or numpy.random.Generator
        For both; 0 by default, so that a check repeats.
    dtype : {"float64", "network"}
        For a network: check a copy in double precision (default), or float32 as it is, with its larger errors.
    bounds, vectorized, n_jobs
        For a function, as numerical_gradient has them.
    n_threads : int or "auto"
        For a network or a C function; the result does not depend on it.
    max_memory : int
        Bytes of workspace.

    Returns
    -------
    GradientReport
        Print it; ``passed``, ``worst()``, ``hints``, ``raise_if_failed()``, ``plot()``, ``to_html()``.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, a start that is not finite, arrays that share memory, or a function that changes
        its argument.

    Notes
    -----
    Two evaluations an element decide where the slope between x + h and x - h is the gradient under test to rtol, f's
    noise is small beside it and f is straight there; at most 50 are made where they do not. Steps then shrink by
    eighths until the slopes of the two sides show a bend, a kink or a jump, or noise takes over; or grow, with
    extrapolation to h = 0, where noise hides the slope. The noise of f is measured at seven points near x, more where
    f is coarse. A network's differences are compiled: its kinks are found exactly, by the side on which each relu is at
    the two points.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> check_gradient(lambda x: np.sum(x**3), x, grad=3 * x**2).passed
    True
    >>> report = check_gradient(lambda x: np.sum(x**3), x, grad=[3.0, 12.0, -27.0])
    >>> report.passed, report.worst(1)[0].index
    (False, (2,))
    """
    if isinstance(getattr(f, "network", None), Model):  # the book's classes
        f = f.network
    if sample is not None and directions is not None:
        raise ValueError(f"sample is {sample} and directions is {directions}, expected only one of them")
    checks.choice(dtype, "dtype", ("float64", "network"))
    atol = checks.non_negative_float(atol, "atol")
    single = dtype == "network" and isinstance(f, Model) and f.dtype == np.float32
    rtol = (RTOL_SINGLE if single else RTOL) if rtol is None else checks.non_negative_float(rtol, "rtol")
    common: dict[str, Any] = {
        "h": h, "rtol": rtol, "atol": atol, "kinks": kinks, "noise": noise, "sample": sample, "directions": directions,
        "rng": rng, "max_memory": max_memory, "n_threads": n_threads,
    }  # fmt: skip
    if isinstance(f, Model):
        if t is None:
            raise TypeError("t is missing, expected check_gradient(net, x, t) for a network")
        unused = {"bounds": bounds, "n_jobs": n_jobs, "vectorized": vectorized or None}
        unused["a number as noise"] = None if isinstance(noise, str) else noise
        _unused(unused, "a network", "a function")
        return check_network(f, x, t, grad, sample_weight=sample_weight, dtype=dtype, **common)
    if t is not None:
        raise TypeError("t is given with a function, expected check_gradient(f, x, grad=...)")
    _unused({"sample_weight": sample_weight, "dtype": None if dtype == "float64" else dtype}, "a function", "a network")
    common["n_threads"] = 1 if n_threads == "auto" else n_threads
    return check_function(f, x, grad, bounds=bounds, vectorized=vectorized, n_jobs=n_jobs, **common)


def _unused(values: dict[str, Any], here: str, there: str) -> None:
    """Raise TypeError if a value is given that only the other form knows."""
    for name, value in values.items():
        if value is not None:
            raise TypeError(f"{name} is given with {here}, expected it only for {there}")
