"""Whether a gradient is that of some samples alone, or of a mean over another number of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore._experiment import Experiment
from nncore._tape import Call, Operation
from nncore._variants import in_formulas

Array = NDArray[Any]

MOST_SAMPLES = 2000
MOST_SUMS = 3
RTOL = 1e-6


def other_count(f: Experiment) -> str:
    """Say of which count of samples the gradient is, where all errors are one factor that a sum or mean explains."""
    ratio, relative = _common_ratio(f)
    joined = in_formulas(f.operations)
    for operation in f.operations if ratio else ():
        if operation.name in ("sum", "mean") and operation.axes and operation.number not in joined:
            n = prod(operation.shapes[0][axis] for axis in operation.axes)
            for count in _counts(operation, n, f.operations):
                expected = (n if operation.name == "mean" else 1) / count
                if expected != 1 and abs(ratio / expected - 1) <= max(3 * relative, 1e-9) < 0.01:
                    divided = f" divided by {count}" if count > 1 else ""
                    return (
                        f"f takes the {operation.name} {operation.over()}: the gradient is that of their sum{divided}"
                    )
    return ""


def _common_ratio(f: Experiment) -> tuple[float, float]:
    """analytic / numerical, if that is the same for all, and its relative error; else 0."""
    wrong = [case for case in f.cases if case.wrong.any()]
    ratios = []
    for case in wrong:
        k, relative = case.multiple(case.numerical, case.analytic)
        if not k or not case.agrees(case.analytic * k):
            return 0.0, 0.0
        ratios.append((1 / k, relative))
    ratio, relative = min(ratios, key=lambda pair: pair[1])
    alike = all(abs(r / ratio - 1) <= 3 * (error + relative) + 1e-9 for r, error in ratios)
    others = any(case.right() and case.numerical[case.sure].any() for case in f.cases)
    return (ratio, relative) if alike and not others else (0.0, 0.0)


def _counts(operation: Operation, n: int, operations: Sequence[Operation]) -> Iterator[int]:
    """What a sum over n may have been divided by: some of its axes, n - 1, n outputs or classes as well."""
    lengths = [operation.shapes[0][axis] for axis in operation.axes or ()]
    for size in range(len(lengths), -1, -1):
        yield from map(prod, combinations(lengths, size))
    yield n - 1
    yield from dict.fromkeys(n * d for o in operations for shape in o.shapes if len(shape) > 1 for d in shape)


@dataclass
class Sum:
    """A sum in f over samples, whose terms it reads from the tape: one operation, or an addition for each term."""

    numbers: tuple[int, ...]
    is_mean: bool = False
    of_terms: bool = False
    shift: float = 0.0
    _calls: list[Call] = field(default_factory=list)

    @property
    def noun(self) -> str:
        """What its terms are."""
        return "terms that f adds" if self.of_terms else "samples"

    def __call__(self, operation: Operation, call: Call) -> Array | None:
        """The rule that reads, and shifts the sum."""
        if operation.number in self.numbers:
            self._calls.append(call)
        return call.result + self.shift if operation.number == self.numbers[-1] and self.shift else None

    def terms(self) -> Array:
        """The terms of the last evaluation; their sum is the result."""
        calls, self._calls = self._calls, []
        first, result = calls[0], [float(call.result.sum()) for call in calls]
        if self.of_terms:
            start = float(first.arguments[0]) if isinstance(first.arguments[0], np.ndarray) else None
            return np.diff([0.0, *([] if start is None else [start]), *result])
        a = np.asarray(first.arguments[0], np.float64)
        if len(first.arguments) > 1 and isinstance(first.arguments[1], np.ndarray):  # a product of two vectors
            return np.asarray(a.reshape(-1) * first.arguments[1].reshape(-1))
        return np.asarray(a.reshape(len(a), -1).sum(axis=1) / (a.size if self.is_mean else 1))


def _sums(operations: Sequence[Operation]) -> list[Sum]:
    """The sums in f that may run over samples, the last first."""
    joined = in_formulas(operations)
    found, chains = [], []
    for o in operations:
        if prod(o.result_shape) != 1 or o.number in joined:
            continue
        shape = o.shapes[0]
        product = o.name in ("dot", "matmul", "inner", "vdot") and len(o.shapes) == 2 and max(shape) == prod(shape)
        if shape and (product or o.name in ("sum", "mean")) and prod(shape) > 1 and (product or shape[0] > 1):
            found.append(Sum((o.number,), is_mean=o.name == "mean"))
        if o.name in ("add", "subtract") and not any(o.shapes) and not o.result_shape:
            chain = next((chain for chain in chains if chain[-1] == o.makers[0]), None)
            if chain is None:
                chains.append([o.number])
            else:
                chain.append(o.number)
    found += [Sum(tuple(chain), of_terms=True) for chain in chains]
    return sorted(found, key=lambda s: -s.numbers[-1])[:MOST_SUMS]


def part_of_batch(f: Experiment) -> str:
    """Say of which samples the gradient is, where it is that of some of them alone."""
    if _common_ratio(f)[0] or len(f.elements) < 2:
        return ""
    for over_samples in _sums(f.operations):
        if f.left < 2 * len(f.elements) + 3:
            break
        said = _part(f, over_samples)
        if said:
            return said
    return ""


def _part(f: Experiment, over_samples: Sum) -> str:
    """Hold the gradient under test against those of one sum's terms: without one of them, or with some alone."""
    by_term, wanted, tolerance = [], [], []
    f.evaluate(over_samples)
    size = float(np.abs(over_samples.terms()).sum())
    weight = _derivative(f, over_samples, 1e-4 * size or 1e-4)
    for element in f.elements:
        up, _ = f.evaluate(over_samples, (element, element.step))
        terms = over_samples.terms()
        down, _ = f.evaluate(over_samples, (element, -element.step))
        by_term.append(weight * (terms - over_samples.terms()) / (2 * element.step))
        # what the terms have to yield: the rest, such as that of a regularisation, is taken off
        wanted.append(element.analytic - ((up - down) / (2 * element.step) - by_term[-1].sum()))
        rounding = f.rounding(element, max(abs(up), abs(weight) * size))
        tolerance.append(RTOL * max(abs(wanted[-1]), abs(element.analytic)) + rounding)
    goal, tolerated, each = np.array(wanted), np.array(tolerance), np.array(by_term).T
    wrong = np.array([abs(element.analytic - element.numerical) for element in f.elements]) > 10 * tolerated
    if len(each) < 2 or np.count_nonzero(wrong & (np.abs(goal) > 10 * tolerated)) < 2:
        return ""

    def fits(gradients: Array) -> NDArray[np.bool_]:
        return np.asarray((np.abs(gradients - goal) <= tolerated).all(axis=-1))

    whole, of = each.sum(axis=0), f"of {len(each)} {over_samples.noun}, counted from 0"
    for factor, said in ((-1, "leaves out"), (1, "counts twice"), (-2, "has the wrong sign for")):
        (places,) = np.nonzero(fits(whole + factor * each))
        if places.size:
            return f"the gradient {said} number {places[0]} {of}"
    return _run_of_samples(each, fits, over_samples)


def _run_of_samples(each: Array, fits: Callable[[Array], NDArray[np.bool_]], over_samples: Sum) -> str:
    """The run of samples, at the end, at the beginning or anywhere, whose gradient it is."""
    n = len(each)
    up_to = np.concatenate([np.zeros((1, each.shape[1])), np.cumsum(each, axis=0)])
    places = np.arange(1, n)
    inside = [(first, np.arange(first + 1, n)) for first in range(1, n if n <= MOST_SAMPLES else 0)]
    for firsts, lasts in [(places[::-1], n), (0, places[::-1]), *inside]:
        first, last = np.broadcast_arrays(firsts, lasts)
        for scale in (np.ones(len(first)), n / (last - first)):
            (found,) = np.nonzero(fits((up_to[last] - up_to[first]) * scale[:, None]))
            if found.size:
                k = found[0]
                return _some_samples(n, int(first[k]), int(last[k]), scale[k] != 1, over_samples)
    return ""


def _some_samples(n: int, first: int, last: int, scaled: bool, over_samples: Sum) -> str:
    count = last - first
    many = f" {count}" if count > 1 else ""
    of = f"of {n} {over_samples.noun}"
    mean, divided = ("the mean over ", "") if scaled else ("", f", divided by {n}")
    if not over_samples.is_mean:
        mean, divided = "", f", times {n} / {count}" if scaled else ""
    if last == n:
        tail = ": does a later batch overwrite what it should add to?"
        return f"the gradient is that of {mean}the last{many} {of}{divided}{tail}"
    if first == 0:
        return f"the gradient is that of {mean}the first{many} {of}{divided}: is the rest left out?"
    return f"the gradient is that of {mean}numbers {first} to {last - 1} {of}{divided}, counted from 0"


def _derivative(f: Experiment, over_samples: Sum, shift: float) -> float:
    """Return that of f by the sum."""
    values = []
    for over_samples.shift in (shift, -shift):
        values.append(f.evaluate(over_samples)[0])
        over_samples.terms()
    over_samples.shift = 0.0
    return (values[0] - values[1]) / (2 * shift)
