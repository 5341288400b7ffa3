"""Evaluations of f on a tape: as it is, and with a rule that replaces some of its operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.cases import Case
from nncore.checking.causes.diagnosis import in_single
from nncore.checking.causes.tape import Operation, Rule, Tape
from nncore.differences.arguments import rebuilt

Array = NDArray[Any]

N_ELEMENTS = 8  # of the largest errors, and as many others: a variant of f that fits them fits all
MOST_EVALUATIONS = 400
MOST_WORK = 500_000  # operations in all evaluations
RTOL = 1e-5


@dataclass(frozen=True)
class Probe:
    """One element to compare at: x[which].flat[place], its gradient under test, and the step of its difference."""

    which: int
    place: int
    analytic: float
    numerical: float
    wrong: bool
    step: float


class Experiment:
    """A function at one point, some elements of its argument, and the gradient that is under test there.

    left is how often f may still be evaluated, single says how f shows that it computes in float32, elements are where
    its slopes are compared.
    """

    def __init__(
        self, f: Callable[[Any], Any], argument: Any, cases: Sequence[Case], grad: Callable[[Any], Any] | None = None
    ) -> None:
        self.f, self.argument, self.cases, self.grad = f, argument, cases, grad
        self.arrays = [np.array(a) for a in _items(argument, argument)]
        if [a.shape for a in self.arrays] != [case.analytic.shape for case in cases]:
            raise ValueError("the cases are not those of the argument's arrays")
        self.left = 2
        self.eps = float(np.finfo(np.float64).eps)
        self.operations: list[Operation] = []
        self.grad_operations: list[Operation] = []
        self.single = ""
        self.elements: list[Probe] = []

    def start(self) -> None:
        """Evaluate f and grad as they are, and choose the elements to compare at."""
        value, tape = self.evaluate()
        self.operations = tape.operations
        if self.evaluate()[0] != value:
            raise ValueError("f is random, and so are its differences")
        n_smooth = sum(int(case.smooth.sum()) for case in self.cases)
        self.left = min(MOST_EVALUATIONS, 40 + 4 * n_smooth, MOST_WORK // (1 + len(self.operations)))
        if all(a.dtype == np.float64 for a in self.arrays):
            narrow = next((operation for operation in self.operations if operation.narrowed), None)
            self.single = f"from {narrow.name} on" if narrow else "as its values show" if self._returns_single() else ""
        if self.single:
            self.eps = float(np.finfo(np.float32).eps)
        self.elements = self._chosen()
        if self.grad is not None and self.gradient() is not None:
            self.grad_operations = self._grad_tape.operations

    def evaluate(self, rule: Rule | None = None, change: tuple[Probe, float] | None = None) -> tuple[float, Tape]:
        """Return the value of f, with one element changed by so much, and its tape."""
        self.left -= 1
        tape = Tape(rule)
        arrays = [tape.traced(a) for a in self.arrays]
        if change is not None:
            element, by = change
            arrays[element.which].view(np.ndarray).reshape(-1)[element.place] += by
        try:
            return self._number(self.f(self._argument(arrays))), tape
        finally:
            tape.is_open = False

    def gradient(self, rule: Rule | None = None) -> list[Array] | None:
        """Return the gradient of grad under this rule, array by array; None if it makes no sense to grad."""
        self._grad_tape = tape = Tape(rule)
        try:
            result = self.grad(self._argument([tape.traced(a) for a in self.arrays]))  # type: ignore[misc]
            gradients = [np.array(g, np.float64) for g in _items(result, self.argument)]
        except Exception:  # the rule makes no sense to grad
            return None
        finally:
            tape.is_open = False
        return gradients if [g.shape for g in gradients] == [a.shape for a in self.arrays] else None

    def fits(self, rule: Rule, gradient: list[Array] | None = None) -> bool:
        """Whether the gradient under test, or this one, is that of f under this rule, at all chosen elements."""
        telling = 0
        for element in self.elements:
            if self.left < 2:
                return False
            try:
                up, down = (self.evaluate(rule, (element, by))[0] for by in (element.step, -element.step))
            except Exception:  # the rule makes no sense to f
                return False
            analytic = element.analytic if gradient is None else float(gradient[element.which].flat[element.place])
            slope = (up - down) / (2 * element.step)
            tolerance = RTOL * abs(analytic) + self.rounding(element, max(abs(up), abs(down)))
            if not abs(analytic - slope) <= tolerance:
                return False
            telling += element.wrong and min(abs(element.analytic - element.numerical), abs(slope)) > 10 * tolerance
        return telling >= min(2, len(self.elements)) > 0

    def tidy(self) -> None:
        """Call f and grad once more with the user's own arrays, which they may keep, and restore those."""
        own = [a for a in _items(self.argument, self.argument) if isinstance(a, np.ndarray)]
        kept = [a.copy() for a in own]
        try:
            self.f(self.argument)
            if self.grad is not None:
                self.grad(self.argument)
        finally:
            for array, values in zip(own, kept, strict=True):
                if array.tobytes() != values.tobytes():
                    array[...] = values

    def _argument(self, arrays: list[Any]) -> Any:
        """Return these arrays in the form of the argument."""
        if isinstance(self.argument, dict):
            return dict(zip(self.argument, arrays, strict=True))
        return rebuilt(self.argument, arrays) if isinstance(self.argument, (list, tuple)) else arrays[0]

    @staticmethod
    def _number(result: Any) -> float:
        return float(np.asarray(result).reshape(()))

    def _returns_single(self) -> bool:
        """Whether the values are numbers of float32, at points where those of float64 have more digits."""
        values = []
        for k in range(4):
            arrays = [a * (1 + 1e-3 * k / 7) for a in self.arrays]
            values.append(self._number(self.f(self._argument(arrays))))
        self.left -= len(values)
        return in_single(np.array(values))

    def rounding(self, element: Probe, size: float) -> float:
        """Return how far rounding in numbers of this size may take the difference."""
        return 8 * self.eps * size / element.step

    def _chosen(self) -> list[Probe]:
        """Choose the largest errors of each array in turn, and as many elements from anywhere."""
        rng, cases = np.random.default_rng(0), list(enumerate(self.cases))
        errors = [self._first(k, c.wrong, np.abs(c.analytic - c.numerical)) for k, c in cases]
        others = [self._first(k, c.resolved | c.wrong, rng.random(c.smooth.shape)) for k, c in cases]
        return list(dict.fromkeys(_in_turn(errors) + _in_turn(others)))

    def _first(self, which: int, among: NDArray[np.bool_], by: Array) -> list[Probe]:
        """Return some of these elements of one array, the largest first."""
        case, x = self.cases[which], np.asarray(self.arrays[which], np.float64)
        places = np.flatnonzero(among)
        places = places[np.argsort(-by.flat[places], kind="stable")][:N_ELEMENTS]
        typical = 0.1 * float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
        cube_root = self.eps ** (1 / 3)
        if self.arrays[which].dtype.itemsize < 8:
            cube_root = float(np.finfo(np.float32).eps) ** (1 / 3)
        return [
            Probe(
                which, int(p), float(case.analytic.flat[p]), float(case.numerical.flat[p]), bool(case.wrong.flat[p]),
                cube_root * (max(abs(float(x.flat[p])), typical) or 1.0),
            )
            for p in places
        ]  # fmt: skip


def _in_turn(lists: list[list[Probe]]) -> list[Probe]:
    """Return the first of each list, then the second of each, ..."""
    longest = max(map(len, lists), default=0)
    return [elements[i] for i in range(longest) for elements in lists if i < len(elements)][:N_ELEMENTS]


def _items(values: Any, like: Any) -> list[Any]:
    """Return the arrays of a value that has the form of another, a container or one array, in its order."""
    if isinstance(like, dict):
        return [values[key] for key in like]
    return list(values) if isinstance(like, (list, tuple)) else [values]
