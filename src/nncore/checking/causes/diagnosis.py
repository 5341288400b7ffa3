"""Likely mistakes in a gradient, in words: its errors are compared with those that people make.

Each mistake is a correction: if the analytic gradient divided by 4, or transposed, or with a multiple of the parameter
taken off agrees with the difference at every element that can tell, then that is what is wrong. Errors that
nothing corrects are described by their place: one element, one row.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.arrangements import rearranged
from nncore.checking.causes.cases import NEAR, Case, where

Array = NDArray[Any]
Mask = NDArray[np.bool_]

FEW = 5
SINGLE = 1e-3  # of the largest value: sums in float32 have smaller errors


def diagnose(cases: Sequence[Case]) -> list[str]:
    """Return a sentence for each mistake that explains the mismatches of one parameter or of several."""
    found: dict[str, list[str]] = {}
    with np.errstate(all="ignore"):
        for case in cases:
            if case.wrong.any():
                found.setdefault(explained(case, cases), []).append(case.name)
    unexplained = found.pop("", [])
    sentences = [sentence.replace("{}", _join(names, len(cases))) for sentence, names in found.items()]
    return sentences + [s for s in (kept_inputs(cases, unexplained), upstream(cases, unexplained)) if s]


def explained(case: Case, cases: Sequence[Case]) -> str:
    """Return the first explanation of one parameter's errors, with {} for its name; empty if none fits."""
    looks = (missing, factor, rearranged, decayed, single_precision, part_missing, factor_of_some, factors)
    finer = [] if case.finer is None else [replace(case, tolerance=case.finer)]
    found = (look(version, cases) for version in (*finer, case) for look in looks)
    return next(filter(None, found), "") or placed(case, cases)


def missing(case: Case, _: Sequence[Case]) -> str:
    """Explain a gradient that is zero everywhere, where the difference is not."""
    absent = case.resolved.any() and not case.analytic[case.smooth].any()
    return "the gradient of {} is missing: all zero" if absent else ""


def factor(case: Case, _: Sequence[Case]) -> str:
    """Explain one ratio analytic / numerical for all elements; one element of many makes no rule."""
    # the errors are those of the numerical values
    k, relative = case.multiple(case.numerical, case.analytic)
    n_resolved, n_smooth = np.count_nonzero(case.resolved), np.count_nonzero(case.smooth)
    if relative > 0.05 or 1 == n_resolved < n_smooth or not case.agrees(case.analytic * k):
        return ""
    c = 1 / k
    size = max(abs(c), abs(k))
    whole = round(size)
    # a whole number only where its neighbours are excluded
    exact = abs(size - whole) <= max(2 * relative, 1e-9) * size < 0.25
    if exact and whole == 1:
        return "the sign of {} is flipped" if c < 0 else ""
    much = _much(c, relative, str(whole) if exact else "")
    if n_smooth == 1:
        return f"{{}} is {much}"
    all_ = "all" if n_smooth == case.smooth.size else "all checked"
    return f"{all_} elements of {{}} are {much}{_reason(whole, abs(c) > 1) if exact else ''}"


def _much(c: float, relative: float, whole: str = "") -> str:
    """Return a ratio with this relative error in words: 4 times too large, or 0.5 % too small."""
    size, off = max(abs(c), 1 / abs(c)), abs(abs(c) - 1)
    if off < NEAR:
        much = f"{_rounded(100 * off, relative * abs(c) / off, 3)} %"
    else:
        much = f"{whole or _rounded(size, relative, 4)} times"
    return f"{'of the wrong sign and ' if c < 0 else ''}{much} too {'large' if abs(c) > 1 else 'small'}"


def decayed(case: Case, _: Sequence[Case]) -> str:
    """Explain errors that are a multiple of the parameter, or of its signs: a term that gradient or loss lacks."""
    if case.values is None:
        return ""
    values = np.asarray(case.values, np.float64)
    for x, term, what in ((values, "the parameter's values", "L2"), (np.sign(values), "the signs of its values", "L1")):
        c, relative = case.multiple(case.analytic - case.numerical, x)
        several = np.count_nonzero(case.wrong & (x != 0)) >= 2
        if several and relative <= 0.05 and case.agrees(case.analytic - c * x):
            place = "gradient" if c < 0 else "loss"
            size = _rounded(c, relative, 3)
            return f"the error of {{}} is {size} times {term}: is the {what} regularisation missing in the {place}?"
    return ""


def in_single(values: Array) -> bool:
    """Whether these are numbers of float32, with more digits than whole numbers and simple fractions have."""
    values = values[np.isfinite(values) & (values != 0)]
    mantissas, _ = np.frexp(values)
    simple = mantissas * 2.0**12 == np.round(mantissas * 2.0**12)
    return bool(np.count_nonzero(~simple) > len(values) / 2 and (values == values.astype(np.float32)).all())


def single_precision(case: Case, _: Sequence[Case]) -> str:
    """Explain small errors of a gradient whose numbers are all those of float32."""
    largest = np.abs(case.numerical[case.smooth]).max(initial=0.0)
    error = np.abs(case.analytic - case.numerical)[case.wrong].max() / largest
    if error > SINGLE or np.count_nonzero(case.smooth) < FEW or not in_single(case.analytic[case.smooth]):
        return ""
    return (
        "the values of {} are those of float32 and so are their errors, as of long sums: compute the gradient in "
        "float64, or allow for it by rtol and atol"
    )


def part_missing(case: Case, _: Sequence[Case]) -> str:
    """Explain zeros at all wrong elements, beside some that are right: a part that was never written."""
    count = np.count_nonzero(case.wrong)
    if count < 2 or case.analytic[case.wrong].any():
        return ""
    return f"{count:,} of {np.count_nonzero(case.smooth):,} elements of {{}} are missing, all zero{_among(case)}"


def factor_of_some(case: Case, _: Sequence[Case]) -> str:
    """Explain one ratio for all wrong elements beside others that are right."""
    k, relative = replace(case, smooth=case.wrong).multiple(case.numerical, case.analytic)
    count = np.count_nonzero(case.wrong)
    if not 3 <= count < np.count_nonzero(case.smooth) or not k or relative > 0.05:
        return ""
    if abs(k - 1) <= 2 * relative or not case.agrees(np.where(case.wrong, k, 1.0) * case.analytic):
        return ""
    much = "of the wrong sign" if abs(k + 1) <= max(2 * relative, 1e-9) else _much(1 / k, relative)
    return f"{count:,} of {np.count_nonzero(case.smooth):,} elements of {{}} are {much}{_among(case)}"


def _among(case: Case) -> str:
    """Return the row, the column, or the first and last place of the wrong elements."""
    places = np.argwhere(case.wrong)
    for axis in range(places.shape[1]):
        if places.shape[1] > 1 and (places[:, axis] == places[0, axis]).all():
            return f": in {where(case.name, [places[0, axis] if k == axis else ':' for k in range(places.shape[1])])}"
    if places.shape[1] > 1 and (places == places[:, :1]).all():
        return ": those on the diagonal"
    return f": {where(case.name, places[0].tolist())} to {where(case.name, places[-1].tolist())}"


def factors(case: Case, _: Sequence[Case]) -> str:
    """Explain rows or columns that are each wrong by a factor of their own."""
    if case.analytic.ndim != 2:
        return ""
    weights = np.where(case.smooth & (case.tolerance > 0), 1 / case.tolerance**2, 0.0)
    numerical = np.where(case.smooth, case.numerical, 0.0)
    for axis, line in ((1, "row"), (0, "column")):
        products = (weights * numerical * case.analytic).sum(axis, keepdims=True)
        squares = (weights * case.analytic**2).sum(axis, keepdims=True)
        k = products / np.where(squares > 0, squares, 1.0)
        several = np.count_nonzero(case.resolved & case.wrong, axis) >= 2
        if np.count_nonzero(several) >= 2 and k.all() and case.agrees(case.analytic * k):
            some = ", ".join(f"{c:.3g}" for c in 1 / k.ravel()[:3])
            some += ", ..." * (k.size > 3)
            return f"each {line} of {{}} is wrong by a factor of its own ({some}): is a product by {line} missing?"
    return ""


def placed(case: Case, _: Sequence[Case]) -> str:
    """Name the places of few wrong elements among many right ones, or the row that all of them are in."""
    indices = np.argwhere(case.wrong)
    count, n_smooth = len(indices), np.count_nonzero(case.smooth)
    for axis in range(indices.shape[1]):
        place = indices[0, axis]
        if count > 1 and case.smooth.shape[axis] > 1 and (indices[:, axis] == place).all():
            whole = count == np.count_nonzero(case.smooth.take(place, axis))
            if whole or count > FEW:
                line = [place if k == axis else ":" for k in range(case.smooth.ndim)]
                return f"all {count:,} errors of {{}} are in {where(case.name, line)}"
    if count <= FEW and 4 * count <= n_smooth:
        places = ", ".join(where(case.name, index) for index in indices.tolist())
        return f"{count} of {n_smooth:,} elements of {{}} differ{'s' if count == 1 else ''}: {places}"
    return ""


def kept_inputs(cases: Sequence[Case], unexplained: Sequence[str]) -> str:
    """Explain wrong weights beside a right bias: of da and the layer's inputs, only the inputs can be wrong."""
    for weights, bias in pairwise(cases):
        fits = weights.analytic.ndim == 2 and bias.analytic.ndim == 1 and bias.analytic.size in weights.analytic.shape
        if fits and weights.name in unexplained and bias.right():
            return (
                f"{bias.name} is right and {weights.name} is not: are the inputs kept for {weights.name} those of this "
                f"evaluation, or stale (of an earlier batch) or overwritten?"
            )
    return ""


def upstream(cases: Sequence[Case], unexplained: Sequence[str]) -> str:
    """Explain parameters wrong up to one, and right from there on: the gradient goes wrong on its way back."""
    wrong = [case.name in unexplained for case in cases]
    first = wrong.index(False) if False in wrong else len(wrong)
    if not 1 < first < len(cases) or not all(case.right() for case in cases[first:]):
        return ""
    return (
        f"everything up to {cases[first - 1].name} is wrong and everything from {cases[first].name} on is right: does "
        f"the gradient pass from {cases[first].name} to {cases[first - 1].name} by the right weights and derivative?"
    )


def _rounded(value: float, relative: float, most: int) -> str:
    """Return a value with the digits that its relative error leaves, at least one."""
    digits = most if relative <= 0 else max(1, min(most, int(-math.log10(relative))))
    return f"{float(f'{value:.{digits}g}'):g}"


def _reason(n: int, large: bool) -> str:
    """Return what may make a gradient n times too large or too small."""
    if n == 2:
        return f": a factor of {'1/2' if large else '2'} forgotten{', or the sum of 2 samples' if large else ''}?"
    return f": sum instead of mean over {n} samples?" if large else f": divided by {n} samples twice?"


def _join(names: list[str], n_all: int) -> str:
    """Return names in words: A and B; A, B, C and 7 more; every parameter."""
    if len(names) == n_all > 2:
        return "every parameter"
    if len(names) > FEW:
        names = [*names[: FEW - 1], f"{len(names) - FEW + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
