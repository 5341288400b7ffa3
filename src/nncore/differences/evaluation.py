"""Four ways to evaluate f at points that differ from x in one element, behind one class.

They are a Python function in place, the same in several processes, a vectorised one on stacks, and a C function.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.core.dispatch import functions
from nncore.core.threads import choices
from nncore.differences import c_functions
from nncore.differences.arguments import Watched, copied, perturbable, replaced

Array = NDArray[Any]
MAX_MEMORY = 64 << 20


class Evaluator(ABC):
    """f(x), and f with one element of x replaced.

    The points replace elements of x. After start: shape and dtype of f's values, eps of its float type.
    """

    x: Array
    shape: tuple[int, ...] = ()
    dtype: "np.dtype[Any]" = np.dtype(np.float64)
    eps: float = float(np.finfo(np.float64).eps)
    n_evaluations: int = 0

    @abstractmethod
    def call(self) -> Array:
        """Return f at self.x as it is now."""

    @abstractmethod
    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where x.flat[elements[r]] is points[r, j]."""

    def watched(self) -> Watched:
        """Return a guard of the arrays that f could change."""
        return Watched({})

    def start(self) -> Array:
        """Return f(x), which must be finite; fixes the shape and type of later values."""
        value = self.call()
        if not np.isfinite(value).all():
            index = ", ".join(str(int(i)) for i in np.argwhere(~np.isfinite(value))[0])
            where = f"f(x)[{index}]" if index else "f(x)"
            raise ValueError(f"{where} is {value[~np.isfinite(value)][0]} at the start, expected a finite number")
        self.shape = value.shape
        if value.dtype.kind in "fc":
            self.eps = max(self.eps, float(np.finfo(value.dtype).eps))
        return value.astype(self.dtype)

    def each(self, elements: NDArray[np.intp], points: Array) -> Array:
        """Return values of shape (rows, n_points, *shape) for points (rows, n_points)."""
        values = np.empty((*points.shape, *self.shape), self.dtype)
        self.fill(np.ascontiguousarray(elements, dtype=np.intp), np.ascontiguousarray(points, self.x.dtype), values)
        self.n_evaluations += points.size
        return values


class PythonFunction(Evaluator):
    """f called with argument, an array or a container of arrays; one of them is changed in place."""

    def __init__(self, f: Callable[[Any], Any], argument: Any, key: Any = None, name: str = "x", arrays: bool = False):
        self.f, self.argument, self.key, self.name, self.arrays = f, argument, key, name, arrays
        self.x = argument if key is None else argument[key]

    def watched(self) -> Watched:
        """Return a guard of the arrays that f is called with."""
        if isinstance(self.argument, np.ndarray):
            return Watched({self.name: self.argument})
        keys = self.argument if isinstance(self.argument, dict) else range(len(self.argument))
        return Watched({f"x[{k!r}]": self.argument[k] for k in keys if isinstance(self.argument[k], np.ndarray)})

    def call(self) -> Array:
        """Return f at self.x as it is now."""
        self.n_evaluations += 1
        result = self.f(self.argument)
        if self.arrays:
            return _values(result)
        value = number(result)
        # the type tells how f rounds; a Python number counts as float64
        return np.asarray(value, getattr(result, "dtype", np.float64) if _is_float(result) else np.float64)

    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where x.flat[elements[r]] is points[r, j]."""
        functions.evaluate(self.f, self.argument, self.x, elements, points, values, self.name)


class ComplexFunction(PythonFunction):
    """f called with a complex copy of x."""

    dtype = np.dtype(np.complex128)

    def __init__(self, f: Callable[[Any], Any], argument: Any, key: Any = None, name: str = "x", arrays: bool = False):
        argument = copied(argument)
        x = np.asarray(argument if key is None else argument[key], dtype=np.complex128)
        super().__init__(f, x if key is None else replaced(argument, key, x), key, name, arrays)

    def call(self) -> Array:
        """Return f at self.x as it is now; an f that drops the imaginary part has no complex step."""
        self.n_evaluations += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
                result = self.f(self.argument)
        except TypeError as error:
            raise TypeError(f"f is not complex-safe, expected a function of complex x: it raised {error!r}") from error
        value = _values(result)
        if value.dtype.kind != "c" or (value.ndim and not self.arrays):
            what = functions.described(result)
            expected = "complex numbers" if self.arrays else "one complex number"
            raise TypeError(f"f is not complex-safe: of a complex x it returned {what}, expected {expected}")
        return value


class ParallelFunction(PythonFunction):
    """A slow f in several processes, each with copies of f and its argument."""

    n_jobs: int = 1

    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where x.flat[elements[r]] is points[r, j]."""
        import joblib

        # a few blocks a worker even out evaluations of different length
        n_blocks = min(len(elements), 4 * joblib.effective_n_jobs(self.n_jobs))
        blocks = [block for block in np.array_split(np.arange(len(elements)), max(1, n_blocks)) if block.size]
        what = (self.f, self.argument, self.key, self.name, values.shape[2:])
        parts = joblib.Parallel(self.n_jobs)(
            joblib.delayed(_in_worker)(what, elements[block], points[block]) for block in blocks
        )
        for block, part in zip(blocks, parts, strict=True):
            values[block] = part


def _in_worker(what: tuple[Any, ...], elements: NDArray[np.intp], points: Array) -> Array:
    """Return the values of one block, evaluated on copies: the arrays of a worker may be read-only or shared."""
    f, argument, key, name, shape = what
    function = PythonFunction(f, copied(argument), key, name)
    values = np.empty((*points.shape, *shape))
    function.fill(elements, np.ascontiguousarray(points, function.x.dtype), values)
    return values


class VectorizedFunction(Evaluator):
    """f called with stacks (m, *x.shape) of bounded size, x itself untouched."""

    def __init__(self, f: Callable[[Array], Any], x: Array, arrays: bool, max_memory: int):
        self.f, self.arrays = f, arrays
        self.x = np.array(x, dtype=x.dtype.newbyteorder("="), order="C")
        self.rows = max(1, max_memory // max(1, self.x.nbytes))

    def call(self) -> Array:
        """Return f at self.x as it is now, as a stack of one."""
        self.n_evaluations += 1
        value: Array = np.asarray(self._of(self.x[None].copy())[0])
        return value

    def _of(self, stack: Array) -> Array:
        values = _values(self.f(stack))
        m = len(stack)
        if (values.ndim != 1 and not self.arrays) or values.shape[:1] != (m,):
            expected = f"({m}, ...)" if self.arrays else f"({m},)"
            raise TypeError(f"f returned an array of shape {values.shape} for a stack of {m}, expected {expected}")
        return values

    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where x.flat[elements[r]] is points[r, j]."""
        elements = np.repeat(elements, points.shape[1])
        flat_points, flat_values = points.reshape(-1), values.reshape(-1, *self.shape)
        for first in range(0, len(elements), self.rows):
            part = slice(first, first + self.rows)
            m = len(elements[part])
            stack = np.empty((m, self.x.size), self.x.dtype)  # new each time: f may keep or change it
            stack[:] = self.x.reshape(-1)
            stack[np.arange(m), elements[part]] = flat_points[part]
            try:
                result = self._of(stack.reshape(m, *self.x.shape))
            except BaseException as error:
                changed = f"{elements[part][0]} to {elements[part][-1]}" if m > 1 else f"{elements[part][0]}"
                error.add_note(f"while f was evaluated with elements {changed} of x, in C order, changed")
                raise
            if result.shape[1:] != self.shape or result.dtype.kind == "c":
                raise TypeError(
                    f"f returned {result.dtype} of shape {result.shape}, expected {(m, *self.shape)} as before"
                )
            flat_values[part] = result


class CFunction(Evaluator):
    """A function written in C on a private float64 copy of x."""

    def __init__(self, function: c_functions.CFunction, x: Array, n_threads: int):
        self.function, self.n_threads = function, n_threads
        self.x = np.array(x, dtype=np.float64, order="C")

    def call(self) -> Array:
        """Return f at self.x as it is now."""
        self.n_evaluations += 1
        return np.asarray(functions.c_value(*self.function[:3], self.x.reshape(-1)))

    def fill(self, elements: NDArray[np.intp], points: Array, values: Array) -> None:
        """Fill values[r, j] with f where x.flat[elements[r]] is points[r, j]."""
        functions.c_evaluate(*self.function[:3], self.x.reshape(-1), elements, points, values, self.n_threads)


def evaluator(
    f: Any,
    argument: Any,
    key: Any = None,
    *,
    name: str = "x",
    arrays: bool = False,
    complex_step: bool = False,
    vectorized: bool = False,
    n_jobs: int | None = None,
    n_threads: int = 1,
    max_memory: int = MAX_MEMORY,
) -> Evaluator:
    """Return the one of the four that fits f; argument is an array, or a container whose item key is the array."""
    max_memory = checks.positive_int(max_memory, "max_memory")
    n_threads = choices(checks.positive_int(n_threads, "n_threads"), 0)[-1]
    function = c_functions.c_function(f)
    if function is None and not callable(f):
        raise TypeError(f"f is a {type(f).__name__}, expected a function of x")
    in_c_or_stacks = "a C function" if function else "vectorized" if vectorized else ""
    x = perturbable(argument if key is None else argument[key], name, in_place=not in_c_or_stacks)
    if in_c_or_stacks and key is not None:
        raise TypeError(f"x is a {type(argument).__name__}, expected one array: f is {in_c_or_stacks}")
    if in_c_or_stacks and (complex_step or n_jobs is not None or (function and (vectorized or arrays))):
        wrong = "method 'complex'" if complex_step else "n_jobs" if n_jobs is not None else "an array of values"
        raise ValueError(f"f is {in_c_or_stacks}, expected a plain Python function for {wrong}")
    if function:
        return CFunction(function, x, n_threads)
    if n_threads > 1:
        raise ValueError(f"n_threads is {n_threads}, expected 1 for a Python function: n_jobs shares its evaluations")
    if vectorized:
        return VectorizedFunction(f, x, arrays, max_memory)
    if complex_step:
        return ComplexFunction(f, argument, key, name, arrays)
    if n_jobs is None:
        return PythonFunction(f, argument, key, name, arrays)
    parallel = ParallelFunction(f, argument, key, name, arrays)
    parallel.n_jobs = checks.jobs(n_jobs)
    return parallel


def number(result: Any) -> float:
    """Return the value of f, which has to be one number."""
    try:
        return float(functions.number_of(result))
    except TypeError as error:
        shape = np.shape(result) if isinstance(result, np.ndarray) else ()
        if not shape:
            raise
        way_out = ".item() of it" if np.size(result) == 1 else "their sum or mean, or numerical_jacobian for all"
        raise TypeError(f"{error}: return {way_out}") from None


def _is_float(result: Any) -> bool:
    return isinstance(getattr(result, "dtype", None), np.dtype) and result.dtype.kind == "f"


def _values(result: Any) -> Array:
    """Return the value of f as an array of numbers."""
    values: Array = np.asarray(result)
    if values.dtype.kind not in "fiubc":
        raise TypeError(f"f returned {functions.described(result)}, expected numbers")
    return values


def median_size(x: Array) -> float:
    """Return the median size of the elements of an array that are not 0; 1 where all are."""
    sizes = np.abs(x[x != 0])
    return float(np.median(sizes)) if sizes.size else 1.0
