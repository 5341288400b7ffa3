"""What a gradient check found: a verdict for every element, the table that shows them, and what is likely wrong."""

import html
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nncore import _checks
from nncore._diagnosis import Case, Element, diagnose, where

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

VERDICTS = ("unchecked", "ok", "mismatch", "kink", "noise", "nonfinite", "nondeterministic")
UNCHECKED, OK, MISMATCH, KINK, NOISE, NONFINITE, NONDETERMINISTIC = range(len(VERDICTS))
BY_GRAVITY = ("mismatch", "nonfinite", "nondeterministic", "kink", "noise", "ok")
HEADER = ("parameter", "shape", "checked", "worst", "analytic", "numerical", "abs error", "rel error", "verdict")
ALIGN = (str.ljust,) * 4 + (str.rjust,) * 4 + (str.ljust,)  # words begin at the left, numbers end at the right
WIDTH = 120
MEANINGS = {
    NONDETERMINISTIC: "as the function gave two values at one point: random numbers, dropout or a state in it?",
    NONFINITE: "where the gradient, or the function beside the point, is NaN or infinite",
    KINK: "where the slopes of the two sides differ: is the derivative chosen there, as relu'(0), meant?",
    NOISE: "which the difference cannot resolve: a wrong value there could have passed",
}

# An estimate of truncation is good to a factor of about two, and among 10,000 to 100,000 rounding errors the largest
# is about four times their standard deviation: below 4 right gradients of large networks fail by chance.
SAFETY = 4.0
# The difference resolves an element when a fault of a tenth of it would show.
RESOLVED = 0.1
# Beside the largest element of its parameter, an unresolved remainder of this part moves no descent.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Evidence:
    """What was measured of one parameter; every array has its shape, all numbers are absolute.

    analytic is the gradient under test and numerical the difference, with truncation and rounding the estimates of its
    two errors. kink and nonfinite mark elements where the function has no derivative or no finite value, checked those
    that were evaluated at all.
    """

    analytic: Array
    numerical: Array
    truncation: Array
    rounding: Array
    kink: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    checked: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for field in fields(self):
            shape = np.shape(getattr(self, field.name))
            if shape != np.shape(self.analytic):
                raise ValueError(f"{field.name} has shape {shape}, expected {np.shape(self.analytic)} as analytic")

    def uncertainty(self) -> NDArray[np.float64]:
        """How far numerical may be from the derivative; an unknown error is without bound."""
        estimate = SAFETY * (np.asarray(self.truncation, np.float64) + self.rounding)
        return np.where(np.isnan(estimate), np.inf, estimate)

    def error(self) -> NDArray[np.float64]:
        """|analytic - numerical|."""
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(np.asarray(self.analytic, np.float64) - self.numerical))

    def tolerance(self, rtol: float, atol: float) -> NDArray[np.float64]:
        """The error that is forgiven, of each element by itself: it does not grow with the size of the array."""
        with np.errstate(all="ignore"):
            return np.asarray(rtol * self.size() + atol + self.uncertainty())

    def size(self) -> NDArray[np.float64]:
        """max(|analytic|, |numerical|)."""
        return np.maximum(np.abs(np.asarray(self.analytic, np.float64)), np.abs(self.numerical))

    def resolved(self) -> NDArray[np.bool_]:
        """Where a fault of a tenth of the element would show."""
        return np.asarray(self.uncertainty() <= RESOLVED * self.size())


def judge(
    evidence: Evidence, *, rtol: float = 1e-6, atol: float = 0.0, deterministic: bool = True
) -> NDArray[np.uint8]:
    """Give every element of a parameter its verdict; the first of these rules that applies decides.

    With u = 4 (truncation + rounding), the uncertainty of the difference, and
    tolerance = rtol max(|analytic|, |numerical|) + atol + u:

    1. ``unchecked``: the element was not evaluated.
    2. ``nondeterministic``: the function gave two values at one point, so that no difference means anything.
    3. ``nonfinite``: one of the two values, or the function beside them, is NaN or infinite.
    4. ``kink``: the function has a kink there, and the two do not agree as in rule 7.
    5. ``mismatch``: |analytic - numerical| > tolerance.
    6. ``noise``: they agree, but so would a wrong value: u is above a tenth of both values and above a millionth of
       the parameter's largest. (A tiny element beside large ones is ``ok``: what u hides there moves no descent.)
    7. ``ok``: everything else; also two values equal to the last bit, such as 0 and 0.

    Parameters
    ----------
    evidence : Evidence
        What was measured.
    rtol, atol : float
        Relative and absolute error that is forgiven beside the uncertainty of the difference.
    deterministic : bool
        Whether the function gave the same value twice.

    Returns
    -------
    ndarray of uint8
        Of the parameter's shape; positions in VERDICTS.

    Examples
    --------
    >>> zero, no = np.zeros(3), np.zeros(3, bool)
    >>> numerical = np.array([1.0, 1.0, 1e-9])
    >>> measured = Evidence(np.array([1.0, 2.0, 0.0]), numerical, zero, zero + 1e-9, no, no, ~no)
    >>> [VERDICTS[code] for code in judge(measured)]
    ['ok', 'mismatch', 'ok']
    """
    e = evidence
    finite = np.isfinite(e.analytic) & np.isfinite(e.numerical) & ~e.nonfinite
    numerical = np.abs(np.asarray(e.numerical, np.float64))
    largest = numerical.max(initial=0.0, where=e.checked & finite & ~e.kink)
    wrong = e.error() > e.tolerance(rtol, atol)
    hidden = ~e.resolved() & (e.uncertainty() > NEGLIGIBLE * largest) & (e.analytic != e.numerical)
    unstable = np.full_like(wrong, not deterministic)
    rules = [~e.checked, unstable, ~finite, e.kink & (wrong | hidden), wrong, hidden]
    verdicts = [UNCHECKED, NONDETERMINISTIC, NONFINITE, KINK, MISMATCH, NOISE]
    return np.asarray(np.select(rules, verdicts, OK), np.uint8)


class GradientMismatch(AssertionError):
    """A gradient check failed; the message starts with the worst element, ``report`` is all of it."""

    report: "GradientReport"


class GradientReport:
    """What a gradient check found; print it, or ask it for the part that matters.

    Parameters
    ----------
    evidence : mapping of str to Evidence
        What was measured, by the name of the parameter.
    n_evaluations, seconds : int, float
        Evaluations of the function, and time of the check.
    mode, note : str
        Which elements were checked, in words; a sentence to be printed with the notes.
    rtol, atol, deterministic : float, float, bool
        As judge has them.
    kinks : {"ignore", "fail"}
        Whether a kink fails the check.
    values : mapping of str to ndarray, optional
        The parameters themselves: with them a missing regularisation term is recognised.

    Attributes
    ----------
    passed : bool
        No mismatch, nonfinite or nondeterministic element; no kink either if kinks is "fail". Noise does not fail.
    counts : dict of str to int
        Elements by verdict.
    max_abs_error, max_rel_error : float
        Over the elements judged ok or mismatch; the relative one without those ok that the difference cannot resolve.
    analytic, numerical, error, tolerance, verdict : dict of str to ndarray
        By name, of the parameter's shape; a verdict is a word.
    hints, notes : list of str
        What is likely wrong, where the errors have a pattern; what a reader should know beside it.

    Raises
    ------
    ValueError
        If kinks is none of the two words.

    Examples
    --------
    >>> zero, no = np.zeros(2), np.zeros(2, bool)
    >>> b1 = Evidence(np.array([4.0, 8.0]), np.array([1.0, 2.0]), zero, zero + 1e-9, no, no, ~no)
    >>> report = GradientReport({"b1": b1}, n_evaluations=4, seconds=0.001)
    >>> report.passed
    False
    >>> print(report.worst(1)[0])
    b1[1]: analytic 8.0, numerical 2.0 (4 times too large), tolerance 8e-06
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
        rtol: float = 1e-6,
        atol: float = 0.0,
        kinks: Literal["ignore", "fail"] = "ignore",
        deterministic: bool = True,
        values: Mapping[str, Array] | None = None,
        note: str = "",
    ) -> None:
        _checks.choice(kinks, "kinks", ("ignore", "fail"))
        self.evidence, self.values = dict(evidence), dict(values or {})
        self.n_evaluations, self.seconds, self.mode, self.note = n_evaluations, seconds, mode, note
        self.rtol, self.atol, self.kinks = rtol, atol, kinks
        self.analytic = {name: e.analytic for name, e in evidence.items()}
        self.numerical = {name: e.numerical for name, e in evidence.items()}
        self.error = {name: e.error() for name, e in evidence.items()}
        self.tolerance = {name: e.tolerance(rtol, atol) for name, e in evidence.items()}
        self._codes = {n: judge(e, rtol=rtol, atol=atol, deterministic=deterministic) for n, e in evidence.items()}
        self._fatal = {MISMATCH, NONFINITE, NONDETERMINISTIC} | ({KINK} if kinks == "fail" else set())
        totals = sum((self._count(codes) for codes in self._codes.values()), np.zeros(len(VERDICTS), np.intp))
        self.counts = dict(zip(VERDICTS, totals.tolist(), strict=True))
        self.passed = not totals[list(self._fatal)].any()
        self.max_abs_error, self.max_rel_error = self._largest_errors()

    @cached_property
    def verdict(self) -> dict[str, NDArray[np.str_]]:
        """The verdicts as words, by name."""
        return {name: np.asarray(np.array(VERDICTS)[codes]) for name, codes in self._codes.items()}

    @cached_property
    def hints(self) -> list[str]:
        """What is likely wrong, a line each; empty if the errors have no pattern that tells."""
        return diagnose([self._case(name, e) for name, e in self.evidence.items()])

    @property
    def notes(self) -> list[str]:
        """The note, and what kinks and noise mean for this function."""
        notes = [self.note] if self.note else []
        for code, meaning in MEANINGS.items():
            count = self.counts[VERDICTS[code]]
            if count:
                (first,) = self._ranked(1, {code})
                elements = "1 element" if count == 1 else f"{count:,} elements"
                notes.append(f"{VERDICTS[code]}: {elements}, such as {where(first.name, first.index)}, {meaning}")
        return notes

    def worst(self, k: int = 5, name: str | None = None) -> list[Element]:
        """The k elements, of all parameters or one, of greatest error / tolerance; those that fail the check first."""
        names = list(self.evidence) if name is None else [_checks.choice(name, "name", self.evidence)]
        failing = self._ranked(_checks.positive_int(k, "k"), self._fatal, names)
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
        """Everything as JSON, arrays as lists; what is not finite is "NaN", "Infinity" or "-Infinity"."""
        plain = ("passed", "counts", "mode", "n_evaluations", "seconds", "rtol", "atol", "kinks", "hints", "notes")
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
        def clipped(text: str, width: int) -> str:
            return text if len(text) <= width else text[: width - 3] + "..."

        rows = [HEADER, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
        # a long name gives way to the numbers
        widths[0] = max(len(HEADER[0]), min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths[1:])))
        lines = [line for text in self._heading() for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")] + [""]
        for name, *cells in rows:
            row = clipped(name, widths[0]), *cells
            padded = (align(cell, width) for align, cell, width in zip(ALIGN, row, widths, strict=True))
            lines.append(clipped("  ".join(padded).rstrip(), WIDTH))
        for title, items in self._sections():
            lines += ["", title]
            for item in items:
                lines += textwrap.wrap(item, WIDTH, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        heading, *rest = (html.escape(line) for line in self._heading())
        colour = "#009E73" if self.passed else "#D55E00"  # as in the pictures
        parts = [f'<p><b style="color: {colour}">{heading}</b><br>{"<br>".join(rest)}</p>']
        parts += ["<table>", row(HEADER, "th"), *(row(cells, "td") for cells in self._rows()), "</table>"]
        for title, items in self._sections():
            parts.append(f"<p>{title}</p><ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>")
        return "\n".join(parts)

    def _heading(self) -> list[str]:
        found = ", ".join(f"{self.counts[verdict]:,} {verdict}" for verdict in BY_GRAVITY if self.counts[verdict])
        took = f"{self.seconds:,.1f} s" if self.seconds >= 1 else f"{1e3 * self.seconds:.3g} ms"
        absolute = f" + {self.atol:g}" if self.atol else ""
        return [
            f"Gradient check {'PASSED' if self.passed else 'FAILED'}: {found or 'nothing to check'}; "
            f"{self.mode}, {self.n_evaluations:,} evaluations, {took}",
            f"largest error {self.max_abs_error:.2g} absolute, {self.max_rel_error:.2g} relative; "
            f"tolerance {self.rtol:g} relative{absolute} + {SAFETY:g} x estimated error of the difference",
        ]

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        """Titles and lines below the table, of what there is."""
        failing = [str(element) for element in self._ranked(5, self._fatal)]
        sections = {"worst elements": failing, "likely wrong": self.hints, "notes": self.notes}
        return ((title, items) for title, items in sections.items() if items)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of the table, a line a parameter."""
        for name, codes in self._codes.items():
            n_checked = int(np.count_nonzero(codes))
            checked = f"{codes.size:,}" if n_checked == codes.size else f"{n_checked:,} of {codes.size:,}"
            cells = name, str(codes.shape), checked
            for e in self.worst(1, name):
                # of what is as small as its uncertainty, the relative error says nothing
                vague = e.verdict in ("ok", "noise") and e.tolerance * e.relative > RESOLVED * e.error
                relative = "-" if vague else f"{e.relative:.1e}"
                values = f"{e.analytic:.5g}", f"{e.numerical:.5g}", f"{e.error:.1e}", relative
                yield *cells, where("", e.index), *values, self._found(codes)
            if n_checked == 0:
                yield *cells, *"-----", VERDICTS[UNCHECKED]

    def _case(self, name: str, e: Evidence) -> Case:
        """What diagnosis needs; the tolerance is that of the numerical values, as the analytic ones may be wrong."""
        analytic, numerical = np.asarray(e.analytic, np.float64), np.asarray(e.numerical, np.float64)
        size, codes = np.abs(numerical), self._codes[name]
        tolerance = max(self.rtol, 1e-12) * size + self.atol + e.uncertainty()
        told = np.isin(codes, (OK, MISMATCH, NOISE))
        sure = told & (size > 5 * e.uncertainty())
        return Case(name, analytic, numerical, tolerance, told, sure, codes == MISMATCH, self.values.get(name))

    @staticmethod
    def _count(codes: NDArray[np.uint8]) -> NDArray[np.intp]:
        return np.bincount(codes.reshape(-1), minlength=len(VERDICTS))

    def _found(self, codes: NDArray[np.uint8]) -> str:
        """The verdicts of a parameter in words: what failed with its count, else ok and what else there is."""
        counts = self._count(codes)
        found = [verdict for verdict in BY_GRAVITY if counts[VERDICTS.index(verdict)]]
        if len(found) == 1:
            return found[0]
        others = [f"{counts[VERDICTS.index(verdict)]:,} {verdict}" for verdict in found if verdict != "ok"]
        return ", ".join(others if counts[list(self._fatal)].any() or "ok" not in found else ["ok", *others])

    def _ranked(self, k: int, codes: set[int], names: list[str] | None = None) -> list[Element]:
        """The k elements of greatest error / tolerance among those of such verdicts."""
        candidates = []
        for name in self.evidence if names is None else names:
            chosen = np.flatnonzero(np.isin(self._codes[name], list(codes)))
            with np.errstate(all="ignore"):
                severity = self.error[name].flat[chosen] / self.tolerance[name].flat[chosen]
            # no error, or none that is known, of an element that no tolerance can measure
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

    def _largest_errors(self) -> tuple[float, float]:
        absolute = relative = 0.0
        for name, e in self.evidence.items():
            mismatch, error = self._codes[name] == MISMATCH, self.error[name]
            judged = mismatch | (self._codes[name] == OK)
            told = (mismatch | (judged & e.resolved())) & (error > 0)
            absolute = max(absolute, float(error.max(initial=0.0, where=judged)))
            relative = max(relative, float((error[told] / e.size()[told]).max(initial=0.0)))
        return absolute, relative
