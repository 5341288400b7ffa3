"""User input to kernel arrays: the checks that modules share.

Each function returns what the kernels take, or raises one sentence: the argument, what was given, what was expected.
"""

import difflib
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import frames as _frames
from nncore.core import mapped
from nncore.core import memory as _memory

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def choice(value: Any, name: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """One of the known names; others: what some are called elsewhere."""
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
    """A known name and its parameter, as in "huber(0.5)"; params: default and check of those that have one."""
    match = re.fullmatch(r"(\w+)\((.*)\)", value) if isinstance(value, str) else None
    plain = choice(match[1] if match else value, name, known, others)
    if plain not in params:
        if match:
            raise ValueError(f"{name} is {value!r}, expected {plain!r}, which has no parameter")
        return plain, 0.0
    default, check = params[plain]
    return plain, check(_parsed(match[2]), f"the parameter of {name} {plain!r}") if match else default


def _parsed(text: str) -> float | str:
    """The number that a text stands for, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def shown(value: Any) -> str:
    """A value as messages have it: of a number with hundreds of digits, how many."""
    if isinstance(value, int) and value.bit_length() > 1023:
        return f"a whole number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    return str(value) if isinstance(value, (int, float, np.number)) else repr(value)


def instance(value: Any, name: str, kind: type, expected: str) -> None:
    """That value is one of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}, expected {expected}")


def path(value: Any, name: str) -> Path:
    """The path of a file, as text or a path object."""
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
    return _whole_number(value, name, 1)


def non_negative_int(value: Any, name: str) -> int:
    """A whole number of 0 or more."""
    return _whole_number(value, name, 0)


def _whole_number(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {shown(value)}, expected a whole number of {least} or more")
    if not least <= value <= sys.maxsize:
        most = "" if value < least else " and below 2**63"
        raise ValueError(f"{name} is {shown(value)}, expected {least} or more{most}")
    return int(value)


def positive_float(value: Any, name: str) -> float:
    """A finite number above 0."""
    return number(value, name, lambda v: 0 < v < math.inf, "a finite number above 0")


def non_negative_float(value: Any, name: str) -> float:
    """A finite number of 0 or more."""
    return number(value, name, lambda v: 0 <= v < math.inf, "a finite number of 0 or more")


def fraction(value: Any, name: str) -> float:
    """A number from 0 to below 1."""
    return number(value, name, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def closed_fraction(value: Any, name: str) -> float:
    """A number from 0 to 1."""
    return number(value, name, lambda v: 0 <= v <= 1, "a number from 0 to 1")


def inner_fraction(value: Any, name: str) -> float:
    """A number between 0 and 1, none of the two."""
    return number(value, name, lambda v: 0 < v < 1, "a number between 0 and 1")


def optional_positive_float(value: Any, name: str) -> float | None:
    """None, or a finite number above 0."""
    return None if value is None else positive_float(value, name)


def number(value: Any, name: str, fits: Callable[[float], bool], expected: str) -> float:
    """A number that fits, which a NaN must not; True, texts and arrays are none."""
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


def numbers(x: ArrayLike, name: str) -> Array:
    """An array of real numbers as it came; lists of equal length become arrays."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is a ragged list, expected rows of equal length") from None
    except RuntimeError as error:  # a tensor whose gradients PyTorch keeps
        raise TypeError(f"{name} is a {type(x).__name__} that is no array: {error}") from None
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        count = int(np.ma.getmaskarray(x).sum())
        raise TypeError(f"{name} is a masked array with {count} masked elements, expected none: fill them")
    if array.dtype.kind not in _frames.KINDS and _frames.is_frame(x):
        array = _frames.array_of(x, name)
    if array.dtype.kind not in _frames.KINDS:
        raise TypeError(f"{name} is an array of dtype {array.dtype}, expected real numbers")
    return array


def floats(x: ArrayLike, name: str) -> Array:
    """float32 and float64 are kept, everything else becomes float64; contiguous, of native byte order."""
    array = numbers(x, name)
    dtype = np.dtype(np.float32) if array.dtype.newbyteorder("=") == np.float32 else np.dtype(np.float64)
    return laid_out(array, dtype)


def laid_out(array: Array, dtype: Any) -> Array:
    """An array as the kernels take it: of this type, contiguous, aligned; a copy where it is not."""
    result = np.asarray(array, dtype=dtype, order="C")
    return result if result.flags.aligned else result.copy()


def largest(array: Array) -> float:
    """The largest size of an element, 0 of none; NaN if there is one."""
    if not array.size:
        return 0.0
    return float(max(-np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)))


def finite(array: Array, name: str) -> Array:
    """No NaN, no infinity: the error names the first offending index."""
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
    array = _target_numbers(t, name)
    if array.ndim == 0 and n_samples == 1:
        array = array.reshape(1)
    if array.ndim == 1 and n_out == 1:
        array = array.reshape(-1, 1)
    if array.ndim == 1 and n_samples == 1 and array.size == n_out:
        array = array.reshape(1, -1)
    if array.shape == (n_samples,):
        return labels(array, name, n_out)
    if array.shape != (n_samples, n_out):
        hint = f": ravel() makes labels of one column, {name}.ravel()" if array.shape == (n_samples, 1) else ""
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({n_samples},) labels or ({n_samples}, {n_out}) targets{hint}"
        )
    return finite(floats(array, name), name)


def labels(t: ArrayLike, name: str, n_classes: int) -> NDArray[np.intp]:
    """Class numbers 0 to n_classes - 1; False and True are 0 and 1."""
    array = _target_numbers(t, name)
    if array.dtype.kind not in "iub":
        whole = array.size and (finite(array, name) == np.round(array)).all()
        hint = f": {name}.astype(int) makes some of whole numbers" if whole else ""
        raise TypeError(
            f"{name} is an array of dtype {array.dtype}, expected integer labels 0 to {n_classes - 1}{hint}"
        )
    if array.size and not 0 <= array.min() <= array.max() < n_classes:
        bad = np.argwhere((array < 0) | (array >= n_classes))[0]
        index = ", ".join(str(int(i)) for i in bad)
        hint = f": these count from 1, subtract 1 of {name}" if array.min() >= 1 and array.max() == n_classes else ""
        raise ValueError(f"{name}[{index}] is {array[tuple(bad)]}, expected labels 0 to {n_classes - 1}{hint}")
    return laid_out(array, np.intp)


def _target_numbers(t: ArrayLike, name: str) -> Array:
    """Numbers, with a hint where there are words."""
    try:
        return numbers(t, name)
    except TypeError:
        kind = np.asarray(t).dtype.kind
        if kind in "US" or (kind == "O" and any(isinstance(label, str) for label in np.ravel(np.asarray(t))[:1000])):
            raise TypeError(
                f"{name} has words for labels, expected class numbers: np.unique({name}, return_inverse=True) finds "
                f"them, and nncore.MLPClassifier takes words as they are"
            ) from None
        raise


def sample_weights(weights: ArrayLike | None, n_samples: int, n_out: int) -> NDArray[np.float64] | None:
    """One weight a sample, or one a sample and output; none negative, not all zero."""
    if weights is None:
        return None
    array = laid_out(numbers(weights, "sample_weight"), np.float64)
    if array.shape not in ((n_samples,), (n_samples, n_out)):
        raise ValueError(
            f"sample_weight has shape {array.shape}, expected ({n_samples},) or ({n_samples}, {n_out}) to match X"
        )
    finite(array, "sample_weight")
    if not ((array >= 0).all() and array.any()):
        raise ValueError(f"sample_weight goes from {array.min()} to {array.max()}, expected 0 or more, not all zero")
    return addable(array, "sample_weight")


def addable(weights: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Weights of 0 or more, not all 0, by whose sum they can be divided."""
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(
            f"{name} goes up to {weights.max():g} and its sum is {total:g}, expected one from 2.3e-308 to 1.7e308: "
            f"divide the weights by their largest"
        )
    return weights


def multiplied(weights: NDArray[np.float64], others: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """The product of two weights a sample, which must not become 0 or infinite by rounding."""
    with np.errstate(over="ignore", under="ignore"):
        products = weights * others
    if not (np.isfinite(products) & ((products > 0) == ((weights > 0) & (others > 0)))).all():
        raise ValueError(
            f"{name} multiplies weights up to {weights.max():g} and {others.max():g}, expected products that are "
            f"neither 0 nor infinite by rounding: divide the weights by their largest"
        )
    return products


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
    if _memory.overlapping(x):
        raise ValueError(f"{name} has elements that share memory, expected an array of its own: pass a copy of it")
    return finite(x, name)


def separate(arrays: Sequence[tuple[str, Array]]) -> None:
    """That no two of these named arrays have common memory: a step in one would move the other."""
    names = _memory.shared(arrays)
    if names:
        raise ValueError(f"{names[0]} and {names[1]} share memory, expected arrays of their own: pass a copy of one")


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
    if param.size > 1 and any(step == 0 < size - 1 for step, size in zip(param.strides, param.shape, strict=True)):
        raise TypeError(f"{name} has elements that share memory, expected an array of its own: copy it")
    flat = laid_out(param, dtype).reshape(-1)
    gradient = laid_out(gradient, dtype).reshape(-1)
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
