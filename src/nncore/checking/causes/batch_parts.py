"""Whether a gradient is that of some samples alone, or of a mean over another number of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.experiment import Experiment
from nncore.checking.causes.tape import Call, Operation
from nncore.checking.causes.variants import in_formulas

Array = NDArray[Any]

MOST_SAMPLES = 1000
MOST_SUMS = 3
MOST_COLUMNS = 16
MEANS = ("mean", "average")
PRODUCTS = ("dot", "matmul", "inner", "vdot", "einsum")
RTOL = 1e-6
CHANCE = 1e-3  # a part of the samples must fit by chance less often than that


def other_count(f: Experiment) -> str:
    """Return of which count of samples the gradient is, where all errors are one factor that a sum or mean explains."""
    ratio, relative = _common_ratio(f)
    joined = in_formulas(f.operations)
    for operation in f.operations if ratio else ():
        if operation.name in ("sum", "mean") and operation.axes and operation.number not in joined:
            n = prod(operation.shapes[0][axis] for axis in operation.axes)
            for count in _counts(operation, n, f.operations):
                expected = (n if operation.name == "mean" else 1) / count
                if expected == 1 or (expected == 0.5 and operation.name == "sum"):
                    continue  # a factor of 2 has likelier causes
                if abs(ratio / expected - 1) <= relative < CHANCE:
                    divided = f" divided by {count}" if count > 1 else ""
                    return (
                        f"f takes the {operation.name} {operation.over()}: the gradient is that of their sum{divided}"
                    )
    return ""


def _common_ratio(f: Experiment) -> tuple[float, float]:
    """Return analytic / numerical if that is the same for all, and its relative error; else 0."""
    wrong = [case for case in f.cases if case.wrong.any()]
    analytic = np.concatenate([case.analytic[case.smooth] for case in wrong])
    numerical = np.concatenate([case.numerical[case.smooth] for case in wrong])
    if not (analytic.any() and numerical.any()):
        return 0.0, 0.0
    ratio = float(analytic @ numerical) / float(numerical @ numerical)
    apart = float(np.linalg.norm(analytic - ratio * numerical)) / float(np.linalg.norm(analytic))
    others = any(case.right() and case.numerical[case.resolved].any() for case in f.cases)
    alike = all(case.agrees(case.analytic / ratio) for case in wrong)
    return (ratio, 3 * apart + 1e-6) if alike and not others else (0.0, 0.0)


def _counts(operation: Operation, n: int, operations: Sequence[Operation]) -> Iterator[int]:
    """Yield the numbers that a sum over n may have been divided by: some of its axes, n - 1, n outputs or classes."""
    lengths = [operation.shapes[0][axis] for axis in operation.axes or ()]
    for size in range(len(lengths), -1, -1):
        yield from map(prod, combinations(lengths, size))
    if n > 2:
        yield n - 1
    yield from dict.fromkeys(n * d for o in operations for shape in o.shapes if len(shape) > 1 for d in shape if d)


@dataclass
class Sum:
    """A sum in f over samples, whose terms it reads from the tape: one operation, or an addition for each term."""

    numbers: tuple[int, ...]
    kind: str
    size: int = 1
    shift: Array | None = None
    _calls: list[Call] = field(default_factory=list)

    @property
    def noun(self) -> str:
        """The name of its terms."""
        return "terms that f adds" if self.kind == "added" else "samples"

    @property
    def is_mean(self) -> bool:
        """Whether it divides by their number."""
        return self.kind in MEANS

    def __call__(self, operation: Operation, call: Call) -> Array | None:
        """Read the terms as a rule of the tape, and shift the sum."""
        if operation.number in self.numbers:
            self._calls.append(call)
        last = operation.number == self.numbers[-1]
        return call.result + self.shift.reshape(call.result.shape) if last and self.shift is not None else None

    def terms(self) -> Array:
        """Return the terms of the last evaluation, (n, size); the sum of each column is a number of the result."""
        calls, self._calls = self._calls, []
        first = calls[0]
        a = np.asarray(first.arguments[0]) if self.kind != "einsum" else np.asarray(first.arguments[1])
        if self.kind == "added":
            start = [a] if isinstance(first.arguments[0], np.ndarray) else []
            return np.diff([0.0, *start, *(call.result for call in calls)])[:, None]
        if self.kind == "norm":  # the terms are the squares
            a = np.square(a, dtype=np.float64)
        if self.kind in PRODUCTS:
            other = np.asarray(first.arguments[-1])
            a = np.multiply(a, other.reshape(a.shape), dtype=np.float64)
            a = a.reshape(-1, 1) if self.kind != "einsum" else a
        scale = self.size / a.size if self.is_mean else 1.0
        return np.asarray(scale * a.reshape(len(a), -1, self.size).sum(axis=1, dtype=np.float64))

    def derivative(self, f: Experiment) -> Array:
        """Return the slope of f by each number of the result; of a norm, by its square; NaN if the terms do not fit."""
        f.evaluate(self)
        result = np.ravel(self._calls[-1].result)
        terms = self.terms()
        step = 1e-4 * float(np.abs(terms).sum()) or 1e-4
        slopes = np.full(self.size, np.nan)
        if not np.allclose(terms.sum(axis=0), result**2 if self.kind == "norm" else result, rtol=1e-5, atol=step):
            return slopes
        for k in range(self.size):
            values = []
            for by in (step, -step):
                self.shift = by * (np.arange(self.size) == k)
                values.append(f.evaluate(self)[0])
                self.terms()
            slopes[k] = (values[0] - values[1]) / (2 * step)
        self.shift = None
        return slopes / (2 * result) if self.kind == "norm" else slopes


def _sums(operations: Sequence[Operation]) -> list[Sum]:
    """Return the sums in f that may run over samples: additions one by one, then those of most terms."""
    joined = in_formulas(operations)
    found: list[tuple[int, Sum]] = []
    chains: list[list[int]] = []
    for o in operations:
        size = prod(o.result_shape)
        if o.number in joined or size > MOST_COLUMNS or not size:
            continue
        if _is_over_rows(o, size):
            found.append((max(o.shapes[0]), Sum((o.number,), o.name, size)))
        if o.name in ("add", "subtract") and not any(o.shapes) and not o.result_shape:
            chain = next((chain for chain in chains if chain[-1] == o.makers[0]), None)
            if chain is None:
                chains.append([o.number])
            else:
                chain.append(o.number)
    added = [Sum(tuple(chain), "added") for chain in sorted(chains, key=len, reverse=True)]
    return [*added[:1], *(s for _, s in sorted(found, key=lambda pair: -pair[0]))][:MOST_SUMS]


def _is_over_rows(o: Operation, size: int) -> bool:
    """Whether it sums over the first axis, whatever else it sums over."""
    shape = o.shapes[0]
    if o.name in PRODUCTS:
        vectors = max(shape, default=0) == prod(shape) > 1 and prod(o.shapes[-1]) == prod(shape)
        return size == 1 and len(o.shapes) == 2 and (o.shapes[1] == shape if o.name == "einsum" else vectors)
    if o.name not in ("sum", "norm", *MEANS) or not shape or shape[0] < 2 or len(o.shapes) > 1:
        return False
    axes = o.axes or ()
    # the axes that are left have to be the last, or none
    return axes == tuple(range(len(axes))) and bool(axes) and (size == 1 or o.name != "norm")


def part_of_batch(f: Experiment) -> str:
    """Return in words of which samples the gradient is, where it is that of some of them alone."""
    if _common_ratio(f)[0] or len(f.elements) < 2:
        return ""
    for over_samples in _sums(f.operations):
        if f.left < 2 * len(f.elements) + 2 * over_samples.size + 1:
            continue
        said = _part(f, over_samples)
        if said:
            return said
    return ""


def _part(f: Experiment, over_samples: Sum) -> str:
    """Compare the gradient under test with those of one sum's terms: without one of them, or with some alone."""
    by_term, wanted, tolerance = [], [], []
    weights = over_samples.derivative(f)
    for element in f.elements:
        up, _ = f.evaluate(over_samples, (element, element.step))
        terms = over_samples.terms()
        down, _ = f.evaluate(over_samples, (element, -element.step))
        by_term.append((terms - over_samples.terms()) @ weights / (2 * element.step))
        # the terms have to yield this: the rest, such as a regularisation, is taken off
        wanted.append(element.analytic - ((up - down) / (2 * element.step) - by_term[-1].sum()))
        rounding = f.rounding(element, max(abs(up), float(np.abs(terms * weights).sum())))
        tolerance.append(RTOL * max(abs(wanted[-1]), abs(element.analytic)) + rounding)
    goal, tolerated, each = np.array(wanted), np.array(tolerance), np.array(by_term).T
    wrong = np.array([abs(element.analytic - element.numerical) for element in f.elements]) > 10 * tolerated
    if len(each) < 2 or np.count_nonzero(wrong & (np.abs(goal) > 10 * tolerated)) < 2:
        return ""
    if (np.count_nonzero(each, axis=1) <= 1).all():  # the terms are those of the elements, and no samples
        return ""
    n = len(each)

    def fits(gradients: Array) -> NDArray[np.bool_]:
        return np.asarray((np.abs(gradients - goal) <= tolerated).all(axis=-1))

    whole, of = each.sum(axis=0), f"of {n} {over_samples.noun}, counted from 0"
    for factor, said in ((-1, "leaves out"), (1, "counts twice"), (-2, "has the wrong sign for")):
        (places,) = np.nonzero(fits(whole + factor * each))
        if places.size:
            return f"the gradient {said} number {places[0]} {of}"
    chance = float(np.prod(np.minimum(1, tolerated / np.abs(goal))))
    return _run_of_samples(each, fits, over_samples, chance)


def _run_of_samples(each: Array, fits: Callable[[Array], NDArray[np.bool_]], over_samples: Sum, chance: float) -> str:
    """Return the run of samples, last, first or anywhere, whose gradient it is; chance: that one run fits by chance."""
    n = len(each)
    up_to = np.concatenate([np.zeros((1, each.shape[1])), np.cumsum(each, axis=0)])
    cuts, none = np.arange(1, n), np.zeros(n - 1, int)
    runs = [(cuts[::-1], none + n), (none, cuts[::-1])]
    if n <= MOST_SAMPLES and n**2 * chance < CHANCE:
        runs += [(none[first:] + first, cuts[first:]) for first in range(1, n - 1)]
    for first, last in runs if n * chance < CHANCE else ():
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
    places = f"numbers {first} to {last - 1}" if count > 1 else f"number {first}"
    return f"the gradient is that of {mean}{places} {of}{divided}, counted from 0"
