"""class GradientReport: the verdicts of a gradient check, the worst elements, and the mistakes that are likely."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nncore.checking.causes.cases import Case, Element, where
from nncore.checking.causes.diagnosis import diagnose
from nncore.checking.evidence import (
    BY_GRAVITY,
    JUMP,
    KINK,
    MISMATCH,
    NOISE,
    NONFINITE,
    OK,
    RTOL,
    UNCHECKED,
    VERDICTS,
    Evidence,
    judge,
)
from nncore.checking.table import as_html, as_page, as_text
from nncore.core import checks
from nncore.differences.extrapolation import SAFETY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

MEANINGS = {
    NONFINITE: "where the gradient, or the function on both sides of the point, is NaN or infinite",
    JUMP: "where the function itself jumps: it has a slope on one side only, which the gradient has to be",
    KINK: "where the slopes of the two sides differ and the gradient is one of them or between: is the derivative "
    "chosen there, as relu'(0), meant?",
}
MOST = 0.5  # of a parameter's elements: if more are unresolved, nobody knows whether they are right
FINER = 1e-6  # a cause explains the errors to this at first, and to rtol only if none does
VAGUE = 0.1  # an error of which this part is not known has no relative size


class GradientMismatch(AssertionError):
    """A gradient check failed; the message starts with the worst element, ``report`` holds everything."""

    report: "GradientReport"


class GradientReport:
    """The result of a gradient check; print it, or ask it for the part that matters.

    Parameters
    ----------
    evidence : mapping of str to Evidence
        The measurements, by the name of the parameter.
    n_evaluations, seconds : int, float
        Evaluations of the function, and time of the check.
    mode, note : str
        Which elements were checked, in words; a sentence to be printed with the notes.
    rtol, atol : float
        As judge has them.
    kinks : {"ignore", "fail"}
        Whether an element at a kink, or a jump, fails the check.
    noise : {"fail", "report"}
        Whether a parameter of whose elements most are unresolved fails the check.
    noise_level : mapping of str to float
        The noise of the function that was measured, as a standard deviation, by the name of the parameter.
    values : mapping of str to ndarray, optional
        The parameters themselves: with them a missing regularisation term is recognised.
    causes : sequence of str
        Likely mistakes that were found otherwise than from the numbers; the first of the hints.

    Attributes
    ----------
    passed : bool
        No mismatch and no nonfinite element; no kink or jump if kinks is "fail"; no parameter of whose elements more
        than half are noise, unless noise is "report".
    counts : dict of str to int
        Elements by verdict.
    max_abs_error, max_rel_error : float
        Over the elements judged ok or mismatch; the relative one without those ok that are below what matters.
    smallest_error : dict of str to float
        By name, the relative error of any element judged ok, but those below what matters, that would have shown.
    analytic, numerical, error, tolerance, verdict : dict of str to ndarray
        By name, of the parameter's shape; a verdict is a word.
    hints, notes : list of str
        Likely mistakes, where the errors have a pattern; facts that a reader should know besides.

    Raises
    ------
    ValueError
        If kinks or noise is none of its two words, or rtol or atol is no finite number of 0 or more.

    Examples
    --------
    >>> zero, no = np.zeros(2), np.zeros(2, bool)
    >>> b1 = Evidence(np.array([4.0, 8.0]), np.array([1.0, 2.0]), zero, zero + 1e-9, no, no, ~no)
    >>> report = GradientReport({"b1": b1}, n_evaluations=4, seconds=0.001)
    >>> report.passed
    False
    >>> print(report.worst(1)[0])
    b1[1]: analytic 8.0, numerical 2.0 (4 times too large), tolerance 0.0008
    >>> report.hints
    ['all elements of b1 are 4 times too large: sum instead of mean over 4 samples?']
    """

    def __init__(
        self,
        evidence: Mapping[str, Evidence],
        *,
        n_evaluations: int,
        seconds: float,
        mode: str = "every element",
        rtol: float = RTOL,
        atol: float = 0.0,
        kinks: Literal["ignore", "fail"] = "ignore",
        noise: Literal["fail", "report"] = "fail",
        noise_level: Mapping[str, float] | None = None,
        values: Mapping[str, Array] | None = None,
        note: str = "",
        causes: Sequence[str] = (),
    ) -> None:
        checks.choice(kinks, "kinks", ("ignore", "fail"))
        checks.choice(noise, "noise", ("fail", "report"))
        rtol, atol = checks.non_negative_float(rtol, "rtol"), checks.non_negative_float(atol, "atol")
        self.evidence, self.values = dict(evidence), dict(values or {})
        self.n_evaluations, self.seconds, self.mode, self.note = n_evaluations, seconds, mode, note
        self.rtol, self.atol, self.kinks, self.noise = rtol, atol, kinks, noise
        self.noise_level, self.causes = dict(noise_level or {}), list(causes)
        self.analytic = {name: e.analytic for name, e in evidence.items()}
        self.numerical = {name: e.numerical for name, e in evidence.items()}
        self.error = {name: e.error() for name, e in evidence.items()}
        sizes, doubts = ({name: of(e) for name, e in evidence.items()} for of in (Evidence.size, Evidence.uncertainty))
        with np.errstate(all="ignore"):
            allowed = {name: np.asarray(rtol * size + atol) for name, size in sizes.items()}
            self.tolerance = {name: np.asarray(allowed[name] + doubts[name]) for name in evidence}
        among, weighted = (
            max((e.largest(doubts[name], w) for name, e in evidence.items()), default=0.0) for w in (False, True)
        )
        self._codes = {
            name: judge(e, rtol=rtol, atol=atol, among=among, among_weighted=weighted) for name, e in evidence.items()
        }
        self._fatal = {MISMATCH, NONFINITE} | ({KINK, JUMP} if kinks == "fail" else set())
        counts = {name: self._count(codes) for name, codes in self._codes.items()}
        totals = sum(counts.values(), np.zeros(len(VERDICTS), np.intp))
        self.counts = dict(zip(VERDICTS, totals.tolist(), strict=True))
        self.unresolved = [name for name, count in counts.items() if count[NOISE] > MOST * count[OK:].sum()]
        if noise == "fail" and self.unresolved:
            self._fatal.add(NOISE)
        self.passed = not totals[list(self._fatal - {NOISE})].any() and not (noise == "fail" and self.unresolved)
        self.max_abs_error, self.max_rel_error = self._largest_errors(sizes, doubts)
        self.smallest_error = {
            name: self._smallest_error(name, sizes[name], doubts[name] <= allowed[name]) for name in evidence
        }

    @cached_property
    def verdict(self) -> dict[str, NDArray[np.str_]]:
        """The verdicts as words, by name."""
        return {name: np.asarray(np.array(VERDICTS)[codes]) for name, codes in self._codes.items()}

    @cached_property
    def hints(self) -> list[str]:
        """Likely mistakes, a line each; empty if the errors have no pattern."""
        return [*self.causes, *diagnose(self.cases())]

    def cases(self) -> list[Case]:
        """Return every parameter as diagnosis takes it."""
        return [self._case(name, e) for name, e in self.evidence.items()]

    @property
    def notes(self) -> list[str]:
        """The note, and the meaning of jumps, kinks and noise for this function."""
        notes = [self.note] if self.note else []
        for code, meaning in MEANINGS.items():
            count = self.counts[VERDICTS[code]]
            if count:
                (first,) = self._ranked(1, {code})
                elements = "1 element" if count == 1 else f"{count:,} elements"
                notes.append(f"{VERDICTS[code]}: {elements}, such as {where(first.name, first.index)}, {meaning}")
        return notes + [self._noise_note(name) for name, codes in self._codes.items() if (codes == NOISE).any()]

    def _noise_note(self, name: str) -> str:
        """Return how much of a parameter noise leaves open, and what would help."""
        noisy = self._codes[name] == NOISE
        missed = self.tolerance[name][noisy]
        (first,) = self._ranked(1, {NOISE}, [name])
        level = self.noise_level.get(name)
        measured = "" if level is None else f" (the noise of the function is about {level:.1g})"
        count = f"{int(noisy.sum()):,} of {np.count_nonzero(self._codes[name]):,} elements of {name}"
        typical = float(np.median(missed))
        text = (
            f"noise: {count}, such as {where(first.name, first.index)}: could not tell, an error below {typical:.2g} "
            f"would be missed{measured}"
        )
        if name in self.unresolved:
            text += (
                "; most of it is unresolved: compute in float64, leave out what is random, or ask for less by rtol "
                "(noise='report' lets it pass)"
            )
        return text

    def worst(self, k: int = 5, name: str | None = None) -> list[Element]:
        """Return the k elements, of all parameters or one, of greatest error / tolerance; failing ones first."""
        names = list(self.evidence) if name is None else [checks.choice(name, "name", self.evidence)]
        failing = self._ranked(checks.positive_int(k, "k"), self._fatal, names)
        return failing + self._ranked(k - len(failing), set(range(OK, len(VERDICTS))) - self._fatal, names)

    def raise_if_failed(self) -> None:
        """Raise GradientMismatch, with the worst element and the table, unless the check passed."""
        if not self.passed:
            error = GradientMismatch(f"{self.worst(1)[0]}\n\n{self}")
            error.report = self
            raise error

    def plot(self) -> "Figure":
        """Draw analytic against numerical values, and the errors of every parameter; see plotting."""
        from nncore.plotting import plot_gradient_report

        return plot_gradient_report(self)

    def to_json(self) -> str:
        """Return everything as JSON, arrays as lists; numbers not finite are "NaN", "Infinity" or "-Infinity"."""
        plain = (
            "passed", "counts", "mode", "n_evaluations", "seconds", "rtol", "atol", "kinks", "noise", "noise_level",
            "smallest_error", "hints", "notes",
        )  # fmt: skip
        arrays = ("analytic", "numerical", "error", "tolerance", "verdict")
        content = {key: getattr(self, key) for key in (*plain, "max_abs_error", "max_rel_error")}
        content["worst"] = [asdict(element) for element in self.worst()]
        content["parameters"] = {
            name: {
                "shape": np.shape(e.analytic),
                **{key: np.asarray(getattr(self, key)[name]).tolist() for key in arrays},
                **{key: np.asarray(getattr(e, key)).tolist() for key in ("truncation", "rounding")},
            }
            for name, e in self.evidence.items()
        }
        return json.dumps(json.loads(json.dumps(content), parse_constant=str), allow_nan=False)

    def __str__(self) -> str:
        return as_text(self._heading(), self._rows(), self._sections())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self._heading(), self._rows(), self._sections(), passed=self.passed)

    def to_html(self) -> str:
        """Return everything that is printed as a page of its own."""
        return as_page(f"Gradient check {'passed' if self.passed else 'failed'}", self._repr_html_())

    def _heading(self) -> list[str]:
        found = ", ".join(f"{self.counts[verdict]:,} {verdict}" for verdict in BY_GRAVITY if self.counts[verdict])
        took = f"{self.seconds:,.1f} s" if self.seconds >= 1 else f"{1e3 * self.seconds:.3g} ms"
        absolute = f" + {self.atol:g}" if self.atol else ""
        known = [error for error in self.smallest_error.values() if not np.isnan(error)]
        shown = f"; any of {max(known):.2g} would have shown" if known else ""
        return [
            f"Gradient check {'PASSED' if self.passed else 'FAILED'}: {found or 'nothing to check'}; "
            f"{self.mode}, {self.n_evaluations:,} evaluations, {took}",
            f"largest error {self.max_abs_error:.2g} absolute, {self.max_rel_error:.2g} relative; tolerance "
            f"{self.rtol:g} of the element{absolute} + {SAFETY:g} x estimated error of the difference{shown}",
        ]

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        """Return titles and lines of the sections below the table that are not empty."""
        failing = [str(element) for element in self._ranked(5, self._fatal)]
        sections = {"worst elements": failing, "likely wrong": self.hints, "notes": self.notes}
        return ((title, items) for title, items in sections.items() if items)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of the table, a line for each parameter."""
        for name, codes in self._codes.items():
            n_checked = int(np.count_nonzero(codes))
            checked = f"{codes.size:,}" if n_checked == codes.size else f"{n_checked:,} of {codes.size:,}"
            cells = name, str(codes.shape), checked
            for e in self.worst(1, name):
                # an element as small as its uncertainty has no meaningful relative error
                vague = e.verdict in ("ok", "noise") and e.tolerance * e.relative > VAGUE * e.error
                relative = "-" if vague else f"{e.relative:.1e}"
                values = f"{e.analytic:.5g}", f"{e.numerical:.5g}", f"{e.error:.1e}", relative
                yield *cells, where("", e.index), *values, self._found(codes)
            if n_checked == 0:
                yield *cells, *"-----", VERDICTS[UNCHECKED]

    def _case(self, name: str, e: Evidence) -> Case:
        """Return a parameter as diagnosis takes it; tolerances go by numerical values: the analytic may be wrong."""
        analytic, numerical = np.asarray(e.analytic, np.float64), np.asarray(e.numerical, np.float64)
        size, codes = np.abs(numerical), self._codes[name]
        rtol = max(self.rtol, 1e-12)
        tolerance, finer = (r * size + self.atol + e.uncertainty() for r in (rtol, min(rtol, FINER)))
        smooth = np.isin(codes, (OK, MISMATCH, NOISE)) & np.isfinite(numerical)
        resolved = smooth & (size > 5 * e.uncertainty())
        wrong = codes == MISMATCH
        return Case(name, analytic, numerical, tolerance, smooth, resolved, wrong, self.values.get(name), finer)

    @staticmethod
    def _count(codes: NDArray[np.uint8]) -> NDArray[np.intp]:
        return np.bincount(codes.reshape(-1), minlength=len(VERDICTS))

    def _found(self, codes: NDArray[np.uint8]) -> str:
        """Return the verdicts of a parameter in words: those that fail with counts, else ok and the others."""
        counts = self._count(codes)
        found = [verdict for verdict in BY_GRAVITY if counts[VERDICTS.index(verdict)]]
        if len(found) == 1:
            return found[0]
        others = [f"{counts[VERDICTS.index(verdict)]:,} {verdict}" for verdict in found if verdict != "ok"]
        return ", ".join(others if counts[list(self._fatal)].any() or "ok" not in found else ["ok", *others])

    def _ranked(self, k: int, codes: set[int], names: list[str] | None = None) -> list[Element]:
        """Return the k elements of greatest error / tolerance among those of these verdicts."""
        candidates = []
        for name in self.evidence if names is None else names:
            chosen = np.flatnonzero(np.isin(self._codes[name], list(codes)))
            with np.errstate(all="ignore"):
                severity = self.error[name].flat[chosen] / self.tolerance[name].flat[chosen]
            # NaN is 0 / 0, or an error or a tolerance that is not known
            severity[np.isnan(severity)] = np.inf if codes & {NONFINITE} else 0.0
            order = np.argsort(-severity, kind="stable")[: max(k, 0)]
            candidates += [(float(severity[i]), name, int(chosen[i])) for i in order]
        candidates.sort(key=lambda candidate: -candidate[0])
        return [self._element(name, flat) for _, name, flat in candidates[: max(k, 0)]]

    def _element(self, name: str, flat: int) -> Element:
        e = self.evidence[name]
        index = tuple(int(i) for i in np.unravel_index(flat, np.shape(e.analytic)))
        arrays = e.analytic, e.numerical, self.error[name], self.tolerance[name]
        analytic, numerical, error, tolerance = (float(array[index]) for array in arrays)
        relative = error / float(e.size()[index]) if error else 0.0
        return Element(name, index, analytic, numerical, error, tolerance, relative, VERDICTS[self._codes[name][index]])

    def _smallest_error(self, name: str, size: Array, resolved: NDArray[np.bool_]) -> float:
        """Return the relative error that would have shown in any element judged ok; NaN if none was."""
        ok = (self._codes[name] == OK) & (size > 0) & resolved
        return float((self.tolerance[name][ok] / size[ok]).max()) if ok.any() else float("nan")

    def _largest_errors(self, sizes: Mapping[str, Array], doubts: Mapping[str, Array]) -> tuple[float, float]:
        absolute = relative = 0.0
        for name, size in sizes.items():
            mismatch, error = self._codes[name] == MISMATCH, self.error[name]
            judged = mismatch | (self._codes[name] == OK)
            meaningful = (mismatch | (judged & (doubts[name] <= VAGUE * size))) & (error > 0)
            absolute = max(absolute, float(error.max(initial=0.0, where=judged)))
            relative = max(relative, float((error[meaningful] / size[meaningful]).max(initial=0.0)))
        return absolute, relative
