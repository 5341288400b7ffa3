"""Checks of user input that modules share: settings first, then arrays as the kernels take them.

Each function returns what it has checked, or raises one sentence: the argument, what was given, what was expected.
Targets and weights of samples have theirs in target_checks.
"""

import difflib
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import frames, mapped

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def choice(value: Any, name: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return one of the known names; others: the names that some have elsewhere."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        word = value.lower() if isinstance(value, str) else ""
        meant = (others or {}).get(word) or next(iter(difflib.get_close_matches(word, known, 1)), "")
        hint = f": is {meant!r} meant?" if meant else ""
        raise ValueError(f"{name} is {shown(value)}, expected one of {', '.join(map(repr, known))}{hint}")
    return value


def named(
    value: Any,
    name: str,
    known: Iterable[str],
    params: Mapping[str, tuple[float, Callable[[Any, str], float]]],
    others: Mapping[str, str] | None = None,
) -> tuple[str, float]:
    """Return a known name and its parameter, as in "huber(0.5)"; params: default and check of those that have one."""
    match = re.fullmatch(r"(\w+)\((.*)\)", value) if isinstance(value, str) else None
    plain = choice(match[1] if match else value, name, known, others)
    if plain not in params:
        if match:
            raise ValueError(f"{name} is {value!r}, expected {plain!r}, which has no parameter")
        return plain, 0.0
    default, check = params[plain]
    return plain, check(_parsed(match[2]), f"the parameter of {name} {plain!r}") if match else default


def _parsed(text: str) -> float | str:
    """Return the number that a text stands for, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def shown(value: Any) -> str:
    """Return a value as messages have it: of a number with hundreds of digits, how many."""
    if isinstance(value, int) and value.bit_length() > 1023:
        return f"a whole number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    return str(value) if isinstance(value, (int, float, np.number)) else repr(value)


def instance(value: Any, name: str, kind: type, expected: str) -> None:
    """Raise TypeError unless value is one of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}, expected {expected}")


def path(value: Any, name: str) -> Path:
    """Return the path of a file, given as text or a path object."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} is {value!r}, expected the path of a file")
    try:
        fits = text and b"\0" not in os.fsencode(text) and not text.endswith("/")
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} is {text!r}, expected the path of a file")
    return Path(text)


def float_type(dtype: Any) -> "np.dtype[Any]":
    """Return the type float32 or float64."""
    try:
        result: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        result = None
    if result is None or result not in FLOATS:
        raise ValueError(f"dtype is {dtype!r}, expected float32 or float64")
    return result


def positive_int(value: Any, name: str) -> int:
    """Return a whole number of 1 or more."""
    return _whole_number(value, name, 1)


def non_negative_int(value: Any, name: str) -> int:
    """Return a whole number of 0 or more."""
    return _whole_number(value, name, 0)


def _whole_number(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {shown(value)}, expected a whole number of {least} or more")
    if not least <= value <= sys.maxsize:
        most = "" if value < least else " and below 2**63"
        raise ValueError(f"{name} is {shown(value)}, expected {least} or more{most}")
    return int(value)


def positive_float(value: Any, name: str) -> float:
    """Return a finite number above 0."""
    return number(value, name, lambda v: 0 < v < math.inf, "a finite number above 0")


def non_negative_float(value: Any, name: str) -> float:
    """Return a finite number of 0 or more."""
    return number(value, name, lambda v: 0 <= v < math.inf, "a finite number of 0 or more")


def fraction(value: Any, name: str) -> float:
    """Return a number from 0 to below 1."""
    return number(value, name, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def closed_fraction(value: Any, name: str) -> float:
    """Return a number from 0 to 1."""
    return number(value, name, lambda v: 0 <= v <= 1, "a number from 0 to 1")


def inner_fraction(value: Any, name: str) -> float:
    """Return a number above 0 and below 1."""
    return number(value, name, lambda v: 0 < v < 1, "a number between 0 and 1")


def optional_positive_float(value: Any, name: str) -> float | None:
    """Return None, or a finite number above 0."""
    return None if value is None else positive_float(value, name)


def number(value: Any, name: str, fits: Callable[[float], bool], expected: str) -> float:
    """Return a number that fits, which a NaN must not; True, texts and arrays are refused."""
    try:
        if type(value) is not float and (isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value)):
            raise TypeError
        result = float(value)
    except OverflowError:  # an integer above 1e308
        raise ValueError(f"{name} is {shown(value)}, expected {expected}, at most 1.8e308") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}") from None
    if not fits(result):
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")
    return result


def switch(value: Any, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}, expected True or False")
    return bool(value)


def generator(rng: Any) -> np.random.Generator:
    """Return a NumPy generator from a seed, a generator or None."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0):
        return np.random.default_rng(rng)
    raise ValueError(f"rng is {rng!r}, expected a whole number of 0 or more, a numpy.random.Generator or None")


def jobs(value: Any) -> int:
    """Return a number of workers: 1 or more, or -1 for one per CPU, -2 for one less, as joblib has it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value == 0:
        raise ValueError(f"n_jobs is {value!r}, expected a whole number of workers, -1 for one a CPU, or None")
    return int(value)


def function_name(function: Any) -> str:
    """Return the name of a function for messages."""
    return str(getattr(function, "__name__", repr(function)))


def callables(values: Any, name: str) -> tuple[Any, ...]:
    """Return a sequence of functions as a tuple."""
    if callable(values) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}, expected a list of functions")
    functions = tuple(values)
    for value in functions:
        if not callable(value):
            raise TypeError(f"{name} holds {value!r}, expected functions")
    return functions


def functions(values: Any, name: str) -> tuple[Callable[[Array], Any], Callable[[Array], Any]]:
    """Return an activation and its derivative."""
    if len(values) != 2 or not all(map(callable, values)):
        raise TypeError(f"{name} is {values!r}, expected a name, or a pair of functions (f, df)")
    return values[0], values[1]


def pair(values: Any, name: str) -> tuple[Any, Any]:
    """Return X and y."""
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        got = f"{len(values)} items" if isinstance(values, (tuple, list)) else f"a {type(values).__name__}"
        raise TypeError(f"{name} is {got}, expected a pair (X, y)")
    return values[0], values[1]


def numbers(x: ArrayLike, name: str) -> Array:
    """Return an array of real numbers in the type it came in; lists of equal length become arrays."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is a ragged list, expected rows of equal length") from None
    except RuntimeError as error:  # a tensor whose gradients PyTorch keeps
        raise TypeError(f"{name} is a {type(x).__name__} that is no array: {error}") from None
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        count = int(np.ma.getmaskarray(x).sum())
        raise TypeError(f"{name} is a masked array with {count} masked elements, expected none: fill them")
    if array.dtype.kind not in frames.KINDS and frames.is_frame(x):
        array = frames.array_of(x, name)
    if array.dtype.kind not in frames.KINDS:
        raise TypeError(f"{name} is an array of dtype {array.dtype}, expected real numbers")
    return array


def floats(x: ArrayLike, name: str) -> Array:
    """Return floats, contiguous and of native byte order: float32 is kept, everything else becomes float64."""
    array = numbers(x, name)
    dtype = np.dtype(np.float32) if array.dtype.newbyteorder("=") == np.float32 else np.dtype(np.float64)
    return laid_out(array, dtype)


def laid_out(array: Array, dtype: Any) -> Array:
    """Return an array as the kernels take it: of this type, contiguous, aligned; a copy where it is not."""
    result = np.asarray(array, dtype=dtype, order="C")
    return result if result.flags.aligned else result.copy()


def largest(array: Array) -> float:
    """Return the largest absolute value of an array, 0 if it is empty, NaN if it has one."""
    if not array.size:
        return 0.0
    return float(max(-np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)))


def finite(array: Array, name: str) -> Array:
    """Return the array if it has no NaN and no infinity: the error names the first offending index."""
    if array.dtype.kind != "f":
        return array
    for place, part in mapped.pieces(array):
        if not np.isfinite(part).all():
            index = [int(i) for i in np.argwhere(~np.isfinite(part))[0]]
            value = part[tuple(index)]
            index[:1] = [place.start + i for i in index[:1]]  # a number alone has no index
            raise ValueError(f"{name}[{', '.join(map(str, index))}] is {value}, expected finite numbers only")
    return array


def samples(x: ArrayLike, name: str, n_in: int, *, what: str = "the first layer") -> Array:
    """Return rows for the engine: (n_samples, n_in) contiguous float32, float64 or uint8; one sample is one row."""
    array = numbers(x, name)
    if array.ndim not in (1, 2) or array.shape[-1] != n_in:
        raise ValueError(f"{name} has shape {array.shape}, expected (n_samples, {n_in}) or ({n_in},) to fit {what}")
    if array.shape[0] == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}, expected at least one sample")
    if array.dtype != np.uint8:
        array = floats(array, name)
    return finite(np.ascontiguousarray(array.reshape(-1, n_in)), name)


def parameter(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Return new values of a parameter: its shape, whatever its float type."""
    array = numbers(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array


def finite_parameter(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Return new values of a parameter without NaN and infinity."""
    return finite(parameter(value, name, shape), name)


def applied(function: Callable[[Array], Any], a: Array) -> Array:
    """Return an activation, or its derivative, of pre-activations: finite where they are, and of their shape."""
    name = f"{function_name(function)}(a)"
    values = np.array(parameter(function(a.copy()), name, a.shape), a.dtype, order="C")
    return finite(values, name) if np.isfinite(a).all() else values


def updatable(param: Any, grad: Any, key: str) -> tuple[Array, Array]:
    """Return a parameter and its gradient as flat vectors of one update: the first a view where memory allows it."""
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
    if param.size > 1 and any(step == 0 < size - 1 for step, size in zip(param.strides, param.shape, strict=True)):
        raise TypeError(f"{name} has elements that share memory, expected an array of its own: copy it")
    flat = laid_out(param, dtype).reshape(-1)
    gradient = laid_out(gradient, dtype).reshape(-1)
    return flat, gradient.copy() if np.may_share_memory(flat, gradient) else gradient
