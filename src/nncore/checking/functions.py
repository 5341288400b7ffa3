"""The gradient check of a function: every element, a sample of them, or some directions."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.trace import trace_hints
from nncore.checking.directions import along_directions, sizes_of
from nncore.checking.evidence import Evidence
from nncore.checking.report import GradientReport
from nncore.core import checks
from nncore.differences import noise as noise_of
from nncore.differences.arguments import Watched, array_keys, bounds_of, distinct_digits, perturbable, separate
from nncore.differences.c_functions import c_function
from nncore.differences.evaluation import Evaluator, evaluator, median_size, number
from nncore.differences.slopes import Slopes, slopes

Array = NDArray[Any]
MISSING = object()
ROWS = 1 << 15  # elements that are looked at together


def check_function(
    f: Any, x: Any, grad: Any, *, h: float | None, rtol: float, atol: float, kinks: str, noise: str | float,
    sample: int | None, directions: int | None, rng: Any, bounds: Any, **how: Any,
) -> GradientReport:  # fmt: skip
    """Return the report of check_gradient for a function; how: vectorized, n_jobs, n_threads, max_memory."""
    started = time.perf_counter()
    if grad is None:
        raise TypeError(
            "grad is missing, expected check_gradient(f, x, grad=...): the gradient under test, or a function of x "
            "that returns it (numerical_gradient(f, x) gives the differences alone)"
        )
    argument, arrays, keys = arguments(x)
    level = None if isinstance(noise, str) else checks.positive_float(noise, "noise")
    h = None if h is None else checks.positive_float(h, "h")
    settings: dict[str, Any] = {"rtol": rtol, "atol": atol, "kinks": kinks}
    settings["noise"] = checks.choice(noise, "noise", ("fail", "report")) if level is None else "fail"
    rng = checks.generator(rng)
    common: dict[str, Any] = {"h": h, "rtol": rtol, "level": level}
    with Watched(arrays) as watch:
        analytic = gradients(grad(argument) if callable(grad) else grad, arrays, keys, called=callable(grad))
        watch.expect_unchanged("grad")
        notes = _two_values(f, argument, how, watch)
        if directions is not None:
            _expect_directions(f, how, bounds)
            count = checks.positive_int(directions, "directions")
            evidence, found_level, note, evaluations = _directions(
                f, argument, arrays, keys, analytic, count, rng, **common
            )
            levels, mode, notes = {"direction": found_level}, f"{count} random directions", [*notes, note]
        else:
            elements = _selection(arrays, sample, rng)
            evidence, levels, evaluations = _by_elements(
                f, argument, arrays, keys, analytic, elements, bounds, how, **common
            )
            total, checked = (sum(map(len, e)) for e in (map(np.ravel, arrays.values()), elements.values()))
            mode = "every element" if sample is None else f"{checked:,} of {total:,} elements at random"
        watch.expect_unchanged("f")

        def report(**more: Any) -> GradientReport:
            return GradientReport(
                evidence, n_evaluations=evaluations + 2 * _plain(f, how),
                seconds=time.perf_counter() - started, mode=mode,
                values=arrays if directions is None else None, noise_level=levels, note=" ".join(notes),
                **settings, **more,
            )  # fmt: skip

        result = report()
        if result.passed:
            return result
        states = _two_gradients(grad, argument, arrays, keys, analytic)
        notes += states
        if not result.counts["mismatch"] or not _plain(f, how):
            return report() if states else result
        inside = f if bounds is None else _within(f, bounds, keys)
        return report(causes=trace_hints(inside, argument, result.cases(), grad if callable(grad) else None, notes))


def _expect_directions(f: Any, how: Mapping[str, Any], bounds: Any) -> None:
    """Raise TypeError unless f can be evaluated along directions."""
    if not callable(f) or how.get("vectorized"):
        raise TypeError("directions is given, expected a Python function of one point for them")
    if bounds is not None:
        raise TypeError("bounds are given with directions, expected only one of them: directions leave any bounds")


def arguments(x: Any) -> tuple[Any, dict[str, Array], list[Any]]:
    """Return the argument of f, its arrays by name, and their keys in it (None for a single array).

    A number, or a list of numbers, becomes an array.
    """
    parts: dict[str, Any] = {"x": x}
    if isinstance(x, (dict, list, tuple)):
        parts = {f"x[{key!r}]": part for key, part in (x.items() if isinstance(x, dict) else enumerate(x))}
    for name, part in parts.items():
        if hasattr(part, "detach") and hasattr(part, "numpy"):
            raise TypeError(
                f"{name} is a {type(part).__module__.split('.')[0]} {type(part).__name__}, expected a NumPy array: "
                f"pass {name}.detach().numpy(), and let f make the tensor of its argument"
            )
    if isinstance(x, (list, tuple)) and x and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in x):
        x = np.array(x, np.float64)
    elif isinstance(x, (int, float, np.floating, np.integer)) and not isinstance(x, bool):
        x = np.array(float(x))
    if isinstance(x, (dict, list, tuple)):
        keys = array_keys(x, "x")
        names = [str(key) if isinstance(x, dict) else f"x[{key}]" for key in keys]
        arrays = {name: x[key] for name, key in zip(names, keys, strict=True)}
        if len(arrays) < len(names):
            alike = [key for key, name in zip(keys, names, strict=True) if names.count(name) > 1]
            raise ValueError(f"x has the keys {', '.join(map(repr, alike))}, expected keys that differ as text")
        separate([(name, array) for name, array in arrays.items() if isinstance(array, np.ndarray)])
    else:
        keys, arrays = [None], {"x": x}
    for name, array in arrays.items():
        perturbable(array, name, in_place=False)
    return x, arrays, keys


def gradients(grad: Any, arrays: Mapping[str, Any], keys: Sequence[Any], *, called: bool) -> dict[str, Array]:
    """Return copies of the gradient under test by the names of the arrays, each of its array's shape."""
    what = "grad(x)" if called else "grad"
    if grad is None:
        shapes = ", ".join(f"{name} {np.shape(a)}" for name, a in arrays.items())
        raise TypeError(
            f"{what} is None, expected the gradient, of the shape of {shapes}: a function has to return it, not to "
            f"leave it somewhere"
        )
    if keys == [None]:
        parts = [grad]
    else:
        parts = [_part(grad, key) for key in keys]
        if any(part is MISSING for part in parts) or len(grad) != len(keys):
            kind = "a list or tuple" if list(arrays) == [f"x[{k}]" for k in range(len(keys))] else "a dict"
            got = f" with {', '.join(map(str, grad)) or 'nothing'}" if isinstance(grad, Mapping) else ""
            got = f" of {len(grad)}" if isinstance(grad, (list, tuple)) else got
            raise ValueError(f"{what} is a {type(grad).__name__}{got}, expected {kind} with {', '.join(arrays)}")
    found = {}
    for part, (name, array) in zip(parts, arrays.items(), strict=True):
        label = what if keys == [None] else f"grad of {name}"
        if part is None:
            raise TypeError(f"{label} is None, expected an array of shape {np.shape(array)}")
        part = part.detach() if hasattr(part, "detach") else part
        found[name] = np.array(checks.floats(checks.parameter(part, label, np.shape(array)), "grad"))
    return found


def _part(grad: Any, key: Any) -> Any:
    """Return the gradient by the array at this key of x, or MISSING; a list and a tuple stand for each other."""
    if isinstance(grad, Mapping):
        return grad.get(key, MISSING)
    sequence = isinstance(grad, (list, tuple)) and isinstance(key, int) and key < len(grad)
    return grad[key] if sequence else MISSING


def _plain(f: Any, how: Mapping[str, Any]) -> bool:
    """Whether f is a Python function of one point."""
    return callable(f) and not how.get("vectorized") and c_function(f) is None


def _two_values(f: Any, argument: Any, how: Mapping[str, Any], watch: Watched) -> list[str]:
    """Return a sentence if f gives two values at one point."""
    if not _plain(f, how):
        return []
    first = number(f(argument))
    watch.expect_unchanged("f")
    second = number(f(argument))
    watch.expect_unchanged("f")
    if np.array_equal(first, second, equal_nan=True):
        return []
    one, other = distinct_digits(first, second)
    return [f"f gave two values at one point, {one} and {other}: random numbers, dropout or a state in it?"]


def _two_gradients(
    grad: Any, argument: Any, arrays: Mapping[str, Array], keys: Sequence[Any], analytic: Mapping[str, Array]
) -> list[str]:
    """Return a sentence if grad is a function that gives two gradients at one point."""
    if not callable(grad):
        return []
    again = gradients(grad(argument), arrays, keys, called=True)
    if all(np.array_equal(again[name], analytic[name], equal_nan=True) for name in arrays):
        return []
    return ["grad(x) returned another gradient when called again: does it read what an earlier call left?"]


def _within(f: Any, bounds: Any, keys: Sequence[Any]) -> Any:
    """Return f such that it raises ValueError at points outside the bounds instead of being called."""

    def inside(x: Any) -> Any:
        for key in keys:
            array = np.asarray(x if key is None else x[key])
            if not ((bounds[0] <= array) & (array <= bounds[1])).all():
                raise ValueError("a point outside the bounds")
        return f(x)

    return inside


def _selection(
    arrays: Mapping[str, Array], sample: int | None, rng: np.random.Generator
) -> dict[str, NDArray[np.intp]]:
    """Choose the elements to check of every array: all, or so many of all at random, of each by its size."""
    total = sum(array.size for array in arrays.values())
    chosen = {}
    for name, array in arrays.items():
        chosen[name] = np.arange(array.size)
        if sample is not None and array.size:
            count = min(array.size, max(1, round(checks.positive_int(sample, "sample") * array.size / total)))
            chosen[name] = np.sort(rng.choice(array.size, count, replace=False))
    return chosen


def _by_elements(
    f: Any, argument: Any, arrays: Mapping[str, Array], keys: Sequence[Any], analytic: Mapping[str, Array],
    elements: Mapping[str, NDArray[np.intp]], bounds: Any, how: Mapping[str, Any], **common: Any,
) -> tuple[dict[str, Evidence], dict[str, float], int]:  # fmt: skip
    """Return the evidence of these elements, the noise of f in each array, and the number of evaluations."""
    evidence, levels, evaluations = {}, {}, 0
    for key, name in zip(keys, arrays, strict=True):
        fn = evaluator(f, argument, key, name=name, **how)
        found, levels[name] = slopes_of_array(fn, analytic[name], elements[name], bounds=bounds, name=name, **common)
        evidence[name] = spread(analytic[name], found, elements[name])
        evaluations += fn.n_evaluations
    return evidence, levels, evaluations


def slopes_of_array(
    fn: Evaluator, analytic: Array, elements: NDArray[np.intp], *, h: float | None, rtol: float, level: float | None,
    bounds: Any = None, name: str = "x",
) -> tuple[Slopes, float]:  # fmt: skip
    """Return the slopes by some elements of one array, and the noise of f there."""
    limits = bounds_of(bounds, fn.x, name)
    f0 = fn.start()
    typical = median_size(np.asarray(fn.x))
    with np.errstate(all="ignore"):
        noise = float(noise_of.measure(fn, f0, typical, limits)) if level is None else level * fn.eps * abs(float(f0))
    parts, largest = [], (0.0, 0.0)
    for first in range(0, max(1, elements.size), ROWS):
        block = elements[first : first + ROWS]
        part = slopes(
            fn, f0, block, analytic.reshape(-1)[block], noise=noise, rtol=rtol, typical=typical, h=h, limits=limits,
            largest=largest,
        )  # fmt: skip
        size = np.where(np.isfinite(part.value), np.abs(part.value), 0.0)
        largest = (max(largest[0], size.max(initial=0.0)), max(largest[1], (size * part.size).max(initial=0.0)))
        parts.append(part)
    return Slopes.joined(parts), noise


def spread(analytic: Array, found: Slopes, elements: NDArray[np.intp]) -> Evidence:
    """Return the slopes of some elements as evidence of the whole array."""
    names = ("truncation", "rounding", "kink", "nonfinite", "jump", "left", "right")
    fields = {name: getattr(found, name) for name in names} | {"numerical": found.value, "weight": found.size}
    checked = np.zeros(analytic.size, bool)
    checked[elements] = True
    for name, part in fields.items():
        whole = np.zeros(analytic.size, part.dtype)
        whole[elements] = part
        fields[name] = whole.reshape(analytic.shape)
    return Evidence(analytic=analytic, checked=checked.reshape(analytic.shape), **fields)


def _directions(
    f: Any, argument: Any, arrays: Mapping[str, Array], keys: Sequence[Any], analytic: Mapping[str, Array], count: int,
    rng: np.random.Generator, *, h: float | None, rtol: float, level: float | None,
) -> tuple[dict[str, Evidence], float, str, int]:  # fmt: skip
    """Return along_directions over the arrays of a function, which are moved in place."""
    starts = {name: array.copy() for name, array in arrays.items()}
    ends = np.cumsum([array.size for array in arrays.values()])[:-1]
    for name, array in arrays.items():
        perturbable(array, name, in_place=True)
    fn = evaluator(f, argument, next(iter(keys)))
    fn.start()

    def move(offset: Array) -> float:
        for (name, array), part in zip(arrays.items(), np.split(offset, ends), strict=True):
            array[...] = starts[name] + part.reshape(array.shape)
        return float(fn.call())

    try:
        return along_directions(
            move, np.concatenate([sizes_of(a) for a in starts.values()]),
            np.concatenate([np.ravel(g) for g in analytic.values()]).astype(np.float64), count=count, h=h, rtol=rtol,
            noise=level, rng=rng, eps=fn.eps,
        )  # fmt: skip
    finally:
        for name, array in arrays.items():
            array[...] = starts[name]
