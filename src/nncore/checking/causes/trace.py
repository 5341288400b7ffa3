"""Mistakes found by experiment: f is evaluated with some of its operations replaced.

A gradient that does not fit f may fit the function that was meant: with the softmax taken row by row, with (n, 1)
ravelled before (n,) is taken off, with the last samples alone in the mean. Where the differences of such a variant of
f agree with the gradient, or a variant of the gradient agrees with those of f, that is what is wrong, and it is said
as a fact. An operation that only looks odd is asked about, if nothing else explains the errors.

All that f does with its argument by NumPy's functions and operators is seen, but not an f that reads its array by
another name, or hands it to compiled code or to np.asarray.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.batch_parts import other_count, part_of_batch
from nncore.checking.causes.cases import Case
from nncore.checking.causes.diagnosis import explained
from nncore.checking.causes.experiment import Experiment
from nncore.checking.causes.tape import UNTRACED
from nncore.checking.causes.variants import ROWS, broadcast, in_formulas, is_of_exp, is_outer, variants

Array = NDArray[Any]

SMALL = 1e-3  # of the largest slope: differences in float32 have smaller errors


def trace_hints(
    f: Callable[[Any], Any],
    argument: Any,
    cases: Sequence[Case],
    grad: Callable[[Any], Any] | None = None,
    notes: list[str] | None = None,
) -> list[str]:
    """Return what is likely wrong where the gradient check of a Python function has failed.

    Parameters
    ----------
    f, grad : callable
        The function, and that which computes the gradient under test if it is one; called with copies of the argument.
    argument : ndarray, or dict, list or tuple of them
        Where the check was done; not changed.
    cases : sequence of Case
        What the check found of each array, in the order of the argument.
    notes : list of str, optional
        To these is added that f computes in float32, which a reader should know beside the errors.

    Returns
    -------
    list of str
        Empty where nothing is found. Errors of f and grad, which may not bear such arrays, give no hint and are not
        raised. f is evaluated 400 times at most, and 40 and four times for each element.

    Examples
    --------
    >>> x, w = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]]), np.array([0.3, 0.1])
    >>> y = np.array([1.0, 2.0, 4.0])
    >>> yes = np.ones(2, bool)
    >>> case = Case("w", 2 * x.T @ (x @ w - y) / 3, np.array([-5.6, -5.73]), np.full(2, 1e-6), yes, yes, yes)
    >>> trace_hints(lambda w: np.mean((x @ w.reshape(2, 1) - y) ** 2), w, [case])[0].split(":")[0]
    'f broadcasts (3, 1) with (3,) to (3, 3) in subtract'
    """
    found = Found([], [] if notes is None else notes)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Exception):
            experiment = Experiment(f, argument, cases, grad)
            with suppress(Exception):
                experiment.start()
                _look(experiment, found)
            experiment.tidy()
    return found.hints


class Found(NamedTuple):
    """The sentences found so far."""

    hints: list[str]
    notes: list[str]


def _look(f: Experiment, found: Found) -> None:
    """Collect sentences, the surest first; those that were found stay when a later look fails."""
    _single_precision(f, found)
    fact = _variant(f) or other_count(f) or part_of_batch(f) if any(e.wrong for e in f.elements) else ""
    if fact:
        found.hints.append(fact)
    elif not all(explained(case, f.cases) for case in f.cases if case.wrong.any()):
        found.hints.extend(_questions(f))


def _variant(f: Experiment) -> str:
    """Return the variant of f, of grad or of both for which function and gradient agree."""
    meant = list(variants(f.operations))
    for variant in meant:
        if variant.kind != ROWS and f.fits(variant.rule):
            return f"f {variant.what}: the gradient is right for {variant.right}"
    for variant in variants(f.grad_operations):
        gradient = f.gradient(variant.rule)
        if gradient is None:
            continue
        if all(case.agrees(g) or not case.smooth.any() for case, g in zip(f.cases, gradient, strict=True)):
            return f"grad {variant.what}: it is right for {variant.right}"
        for other in meant:
            if (other.kind, other.right) == (variant.kind, variant.right) and f.fits(other.rule, gradient):
                return f"f {other.what}, and so does grad: they agree for {variant.right}"
    for variant in meant:
        # last, as a bias is mostly meant to be added so
        if variant.kind == ROWS and f.fits(variant.rule):
            return f"f {variant.what}: the gradient is right for {variant.right}"
    return ""


def _single_precision(f: Experiment, found: Found) -> None:
    """Say that f computes in float32: a hint where the errors are small enough to come from that, else a note."""
    if not f.single:
        return
    said = (
        f"f computes in float32 ({f.single}) though its argument is float64: its differences resolve slopes to about "
        f"{np.finfo(np.float32).eps ** (2 / 3):.0e}"
    )
    wrong = [case for case in f.cases if case.wrong.any()]
    errors = [np.abs(c.analytic - c.numerical)[c.wrong].max() / np.abs(c.numerical[c.smooth]).max() for c in wrong]
    if max(errors, default=1.0) <= SMALL:
        found.hints.append(f"{said}, and the errors are of that size: compute it in float64 for the check")
    else:
        found.notes.append(said)


def _questions(f: Experiment) -> list[str]:
    """Ask about operations that are rarely meant, once each."""
    asked = [
        f"f {broadcast(o)}: is that meant, or should one of them be ravelled?"
        for o in f.operations
        # numbers under test meet data; two of one kind are meant to make a table of all pairs
        if is_outer(o) and 1 in map(len, o.shapes[-2:]) and (o.makers[-2] == UNTRACED) != (o.makers[-1] == UNTRACED)
    ]
    joined = in_formulas(f.operations)
    softmaxes = [
        (o.over(), len(o.shapes[0]))
        for o in f.operations
        if o.number in joined and is_of_exp(o, f.operations) and _mixes_rows(o.shapes[0], o.axes, o.transposed)
    ] or _softmax_calls(f)
    asked += [
        f"f takes the softmax {over}, not row by row: is axis={ndim - 1}, keepdims=True meant?"
        for over, ndim in softmaxes
    ]
    return list(dict.fromkeys(asked))


def _mixes_rows(shape: tuple[int, ...], axes: tuple[int, ...] | None, transposed: bool) -> bool:
    """Whether the sum runs over samples too; a table of classes by samples is a transposed one."""
    return bool(len(shape) > 1 and shape[0] > 1 and axes and 0 in axes and not (transposed and axes == (0,)))


def _softmax_calls(f: Experiment) -> list[tuple[str, int]]:
    """Return the calls of functions named softmax over all numbers of a table, which the tape does not see into."""
    calls = []

    def look(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in ("softmax", "log_softmax") and "axis" in frame.f_locals:
            x = next(iter(frame.f_locals.values()))
            if isinstance(x, np.ndarray) and x.ndim > 1 and x.shape[0] > 1 and frame.f_locals["axis"] is None:
                calls.append((f"over all {' x '.join(map(str, x.shape))} numbers", x.ndim))

    if sys.getprofile() is None:
        sys.setprofile(look)
        try:
            f.evaluate()
        finally:
            sys.setprofile(None)
    return calls
