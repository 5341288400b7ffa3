"""User input to kernel arrays: the checks that modules share.

Each function returns what the kernels take, or raises one sentence: the argument, what was given, what was expected.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _mapped

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def choice(value: Any, name: str, known: Iterable[str]) -> str:
    """One of the known names."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, known))}")
    return value


def named(
    value: Any, name: str, known: Iterable[str], params: Mapping[str, tuple[float, Callable[[Any, str], float]]]
) -> tuple[str, float]:
    """A known name and its parameter, as in "huber(0.5)"; params: default and check of those that have one."""
    match = re.fullmatch(r"(\w+)\((.*)\)", value) if isinstance(value, str) else None
    plain = choice(match[1] if match else value, name, known)
    if plain not in params:
        if match:
            raise ValueError(f"{name} is {value!r}, expected {plain!r}, which has no parameter")
        return plain, 0.0
    default, check = params[plain]
    return plain, check(match[2], f"the parameter of {name} {plain!r}") if match else default


def instance(value: Any, name: str, kind: type, expected: str) -> None:
    """That value is one of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}, expected {expected}")


def float_type(dtype: Any) -> "np.dtype[Any]":
    """float32 or float64."""
    try:
        result: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        result = None
    if result is None or result not in FLOATS:
        raise ValueError(f"dtype is {dtype!r}, expected float32 or float64")
    return result


def positive_int(value: Any, name: str) -> int:
    """A whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, expected a whole number of 1 or more")
    if value < 1:
        raise ValueError(f"{name} is {value}, expected 1 or more")
    return int(value)


def non_negative_int(value: Any, name: str) -> int:
    """A whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, expected a whole number of 0 or more")
    if value < 0:
        raise ValueError(f"{name} is {value}, expected 0 or more")
    return int(value)


def positive_float(value: Any, name: str) -> float:
    """A finite number above 0."""
    return _number(value, name, lambda v: 0 < v < math.inf, "a finite number above 0")


def non_negative_float(value: Any, name: str) -> float:
    """A finite number of 0 or more."""
    return _number(value, name, lambda v: 0 <= v < math.inf, "a finite number of 0 or more")


def fraction(value: Any, name: str) -> float:
    """A number from 0 to below 1."""
    return _number(value, name, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def closed_fraction(value: Any, name: str) -> float:
    """A number from 0 to 1."""
    return _number(value, name, lambda v: 0 <= v <= 1, "a number from 0 to 1")


def inner_fraction(value: Any, name: str) -> float:
    """A number between 0 and 1, none of the two."""
    return _number(value, name, lambda v: 0 < v < 1, "a number between 0 and 1")


def optional_positive_float(value: Any, name: str) -> float | None:
    """None, or a finite number above 0."""
    return None if value is None else positive_float(value, name)


def _number(value: Any, name: str, fits: Callable[[float], bool], expected: str) -> float:
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}, expected {expected}") from None
    if not fits(result):
        raise ValueError(f"{name} is {value}, expected {expected}")
    return result


def numbers(x: ArrayLike, name: str) -> Array:
    """An array of real numbers as it came; lists of equal length become arrays."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is a ragged list, expected rows of equal length") from None
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        count = int(np.ma.getmaskarray(x).sum())
        raise TypeError(f"{name} is a masked array with {count} masked elements, expected none: fill them")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} is an array of dtype {array.dtype}, expected real numbers")
    return array


def floats(x: ArrayLike, name: str) -> Array:
    """float32 and float64 are kept, everything else becomes float64; contiguous, of native byte order."""
    array = numbers(x, name)
    dtype = np.dtype(np.float32) if array.dtype.newbyteorder("=") == np.float32 else np.dtype(np.float64)
    return np.asarray(array, dtype=dtype, order="C")


def largest(array: Array) -> float:
    """The largest size of an element, 0 of none; NaN if there is one."""
    if not array.size:
        return 0.0
    return float(max(-np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)))


def finite(array: Array, name: str) -> Array:
    """No NaN, no infinity: the error names the first offending index."""
    if array.dtype.kind != "f":
        return array
    for first, part in _mapped.pieces(array):
        if not np.isfinite(part).all():
            index = [int(i) for i in np.argwhere(~np.isfinite(part))[0]]
            value = part[tuple(index)]
            index[:1] = [first + i for i in index[:1]]  # a number alone has no index
            raise ValueError(f"{name}[{', '.join(map(str, index))}] is {value}, expected finite numbers only")
    return array


def samples(x: ArrayLike, name: str, n_in: int, *, what: str = "the first layer") -> Array:
    """Rows for the engine: (n_samples, n_in) contiguous float32, float64 or uint8; one sample becomes one row."""
    array = numbers(x, name)
    if array.ndim not in (1, 2) or array.shape[-1] != n_in:
        raise ValueError(f"{name} has shape {array.shape}, expected (n_samples, {n_in}) or ({n_in},) to fit {what}")
    if array.shape[0] == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}, expected at least one sample")
    if array.dtype != np.uint8:
        array = floats(array, name)
    return finite(np.ascontiguousarray(array.reshape(-1, n_in)), name)


def targets(t: ArrayLike, name: str, n_samples: int, n_out: int) -> Array:
    """Targets for the engine: labels (n_samples,) as intp, or (n_samples, n_out) floats.

    One dimension means labels, unless the network has one output, or there is one sample with n_out numbers.
    """
    array = numbers(t, name)
    if array.ndim == 0 and n_samples == 1:
        array = array.reshape(1)
    if array.ndim == 1 and n_out == 1:
        array = array.reshape(-1, 1)
    if array.ndim == 1 and n_samples == 1 and array.size == n_out:
        array = array.reshape(1, -1)
    if array.shape == (n_samples,):
        return labels(array, name, n_out)
    if array.shape != (n_samples, n_out):
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({n_samples},) labels or ({n_samples}, {n_out}) targets"
        )
    return finite(floats(array, name), name)


def labels(t: ArrayLike, name: str, n_classes: int) -> NDArray[np.intp]:
    """Class numbers 0 to n_classes - 1."""
    array = numbers(t, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is an array of dtype {array.dtype}, expected integer labels 0 to {n_classes - 1}")
    if array.size and not 0 <= array.min() <= array.max() < n_classes:
        bad = np.argwhere((array < 0) | (array >= n_classes))[0]
        index = ", ".join(str(int(i)) for i in bad)
        raise ValueError(f"{name}[{index}] is {array[tuple(bad)]}, expected labels 0 to {n_classes - 1}")
    return np.asarray(array, dtype=np.intp, order="C")


TARGET_RANGES: dict[str, tuple[Callable[[Array], Any], str]] = {
    "sigmoid_cross_entropy": (lambda t: (t >= 0) & (t <= 1), "numbers from 0 to 1"),
    "binary_cross_entropy": (lambda t: (t >= 0) & (t <= 1), "numbers from 0 to 1"),
    "poisson": (lambda t: t >= 0, "numbers of 0 or more"),
    "hinge": (lambda t: (t == 1) | (t == -1), "-1 or 1"),
}


def targets_for(loss: str, t: Array, name: str) -> Array:
    """Targets that are not labels lie where this loss is defined."""
    if loss in TARGET_RANGES and t.ndim == 2:
        fits, expected = TARGET_RANGES[loss]
        for first, part in _mapped.pieces(t):
            if not fits(part).all():
                i, k = (int(index) for index in np.argwhere(~fits(part))[0])
                raise ValueError(f"{name}[{first + i}, {k}] is {part[i, k]}, expected {expected} with loss {loss!r}")
    return t


def sample_weights(weights: ArrayLike | None, n_samples: int, n_out: int) -> NDArray[np.float64] | None:
    """One weight a sample, or one a sample and output; none negative, not all zero."""
    if weights is None:
        return None
    array = np.ascontiguousarray(numbers(weights, "sample_weight"), dtype=np.float64)
    if array.shape not in ((n_samples,), (n_samples, n_out)):
        raise ValueError(
            f"sample_weight has shape {array.shape}, expected ({n_samples},) or ({n_samples}, {n_out}) to match X"
        )
    finite(array, "sample_weight")
    if (array < 0).any() or not array.any():
        raise ValueError(f"sample_weight goes from {array.min()} to {array.max()}, expected 0 or more, not all zero")
    return array


def parameter(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """New values of a parameter: its shape, whatever its float type."""
    array = numbers(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array


def finite_parameter(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """New values of a parameter without NaN and infinity."""
    return finite(parameter(value, name, shape), name)


def switch(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}, expected True or False")
    return bool(value)


def generator(rng: Any) -> np.random.Generator:
    """A NumPy generator from a seed, a generator or None."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0):
        return np.random.default_rng(rng)
    raise ValueError(f"rng is {rng!r}, expected a whole number of 0 or more, a numpy.random.Generator or None")


def perturbable(x: Any, name: str, *, in_place: bool) -> Array:
    """An array of finite floats, writable if it is changed in place."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        got = f"an array of dtype {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(f"{name} is {got}, expected an array of floats: a step added to an integer vanishes")
    if in_place and not x.flags.writeable:
        raise TypeError(f"{name} is read-only, expected a writable array: its elements are changed in place")
    return finite(x, name)


def updatable(param: Any, grad: Any, key: str) -> tuple[Array, Array]:
    """A parameter and its gradient as the flat vectors of one update: the first a view where memory allows it."""
    name = f"params[{key!r}]"
    if not isinstance(param, np.ndarray):
        raise TypeError(f"{name} is a {type(param).__name__}, expected an array to change in place")
    dtype = param.dtype.newbyteorder("=")
    if dtype not in FLOATS:
        raise TypeError(f"{name} is an array of dtype {param.dtype}, expected float32 or float64")
    if not param.flags.writeable:
        raise TypeError(f"{name} is read-only, expected an array to change in place")
    gradient = finite(numbers(grad, f"grads[{key!r}]"), f"grads[{key!r}]")
    if gradient.shape != param.shape:
        raise ValueError(f"grads[{key!r}] has shape {gradient.shape}, expected {param.shape} to match {name}")
    flat = np.asarray(param, dtype, order="C").reshape(-1)
    gradient = np.asarray(gradient, dtype, order="C").reshape(-1)
    return flat, gradient.copy() if np.may_share_memory(flat, gradient) else gradient


def function_name(function: Any) -> str:
    """What messages call a function."""
    return str(getattr(function, "__name__", repr(function)))


def applied(function: Callable[[Array], Any], a: Array) -> Array:
    """What an activation, or its derivative, makes of pre-activations: finite where they are, and of their shape."""
    name = f"{function_name(function)}(a)"
    values = np.array(parameter(function(a.copy()), name, a.shape), a.dtype, order="C")
    return finite(values, name) if np.isfinite(a).all() else values


def bounds(value: Any, x: Array, name: str) -> tuple[Array, Array] | None:
    """A pair (low, high) of numbers or arrays that x lies within, each of x's shape."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"bounds is a {type(value).__name__}, expected a pair (low, high) of numbers or arrays")
    try:
        low, high = (np.broadcast_to(numbers(side, "bounds"), x.shape) for side in value)
    except ValueError:
        raise ValueError(f"bounds has shapes {[np.shape(v) for v in value]}, expected {x.shape} to match x") from None
    outside = ~((low <= x) & (x <= high) & (low < high))
    if outside.any():
        i = tuple(int(k) for k in np.argwhere(outside)[0])
        where = f"{name}[{', '.join(map(str, i))}]"
        raise ValueError(f"{where} is {x[i]}, expected bounds around it: they are {low[i]} and {high[i]}")
    return low, high


def jobs(value: Any) -> int:
    """A number of workers: 1 or more, or -1 for one a CPU, -2 for one less, as joblib has it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value == 0:
        raise ValueError(f"n_jobs is {value!r}, expected a whole number of workers, -1 for one a CPU, or None")
    return int(value)


def array_keys(x: Any, name: str) -> list[Any]:
    """Keys or positions of a container's arrays."""
    keys = list(x) if isinstance(x, dict) else list(range(len(x)))
    if not any(isinstance(x[key], np.ndarray) for key in keys) and keys:
        raise TypeError(
            f"{name} is a {type(x).__name__}, expected an array of floats, or a dict, list or tuple of arrays"
        )
    return keys


def callables(values: Any, name: str) -> tuple[Any, ...]:
    """A sequence of functions."""
    if callable(values) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}, expected a list of functions")
    functions = tuple(values)
    for value in functions:
        if not callable(value):
            raise TypeError(f"{name} holds {value!r}, expected functions")
    return functions


def functions(values: Any, name: str) -> tuple[Callable[[Array], Any], Callable[[Array], Any]]:
    """An activation and its derivative."""
    if len(values) != 2 or not all(map(callable, values)):
        raise TypeError(f"{name} is {values!r}, expected a name, or a pair of functions (f, df)")
    return values[0], values[1]


def pair(values: Any, name: str) -> tuple[Any, Any]:
    """X and y."""
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        got = f"{len(values)} items" if isinstance(values, (tuple, list)) else f"a {type(values).__name__}"
        raise TypeError(f"{name} is {got}, expected a pair (X, y)")
    return values[0], values[1]
