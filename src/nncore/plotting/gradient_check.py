"""The picture of a gradient check: values against each other, and the errors of every parameter."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nncore.plotting import canvas
from nncore.plotting.style import BLACK, ERRORS, GREY, VALUES, VERDICT_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

AGREEMENT = ("ok", "noise", "kink", "jump", "mismatch")  # verdicts as points, drawn in this order
MARKED = ("kink", "jump", "nonfinite", "mismatch")  # and as marks on the heat maps
MARKS = 200  # in one heat map: more would hide it
MAPS = 12


@runtime_checkable
class Checked(Protocol):
    """The part of a GradientReport that its picture reads: arrays by the name of the parameter."""

    passed: bool

    @property
    def analytic(self) -> Mapping[str, Array]:
        """The gradients that were checked."""

    @property
    def numerical(self) -> Mapping[str, Array]:
        """The values that they were compared with."""

    @property
    def error(self) -> Mapping[str, Array]:
        """How far they are apart."""

    @property
    def verdict(self) -> Mapping[str, NDArray[np.str_]]:
        """The verdicts as words."""


def plot_gradient_report(report: Checked) -> "Figure":
    """Draw analytic against numerical values with the line where they agree, and the errors of every parameter.

    Parameters
    ----------
    report : GradientReport
        Of any gradient check.

    Returns
    -------
    Figure
        A new one: on its first axes the points of each verdict; then axes for every parameter (of more than 12 those
        most wrong) with log10 of its errors as a heat map on one scale, grey where nothing was checked, and with its
        mismatches, kinks, jumps and elements that are not finite marked.

    Raises
    ------
    TypeError
        If report is no GradientReport.

    Examples
    --------
    >>> from nncore import GradientReport
    >>> from nncore.checking.evidence import Evidence
    >>> zero, no = np.zeros((2, 3)), np.zeros((2, 3), bool)
    >>> W = Evidence(np.ones((2, 3)), np.ones((2, 3)), zero, zero, no, no, ~no)
    >>> figure = plot_gradient_report(GradientReport({"W": W}, n_evaluations=12, seconds=0.001))
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['Gradient check passed', 'W']
    """
    if not isinstance(report, Checked):
        raise TypeError(f"report is a {type(report).__name__}, expected a GradientReport")
    filled = [name for name, error in report.error.items() if np.size(error)]
    worst = sorted(filled, key=lambda name: int(np.isin(report.verdict[name], ("mismatch", "nonfinite")).sum()))[-MAPS:]
    names = [name for name in filled if name in worst]
    n_columns = min(canvas.columns(max(len(names), 1)), 4)
    n_rows = -(-max(len(names), 1) // n_columns)
    figure = canvas.figure(VALUES[0] + ERRORS[0] * n_columns, max(VALUES[1], ERRORS[1] * n_rows))
    grid = figure.add_gridspec(n_rows, 1 + n_columns, width_ratios=[1.9, *[1] * n_columns])
    _plot_agreement(report, figure.add_subplot(grid[:, 0]))
    maps = [figure.add_subplot(grid[i // n_columns, 1 + i % n_columns]) for i in range(len(names))]
    errors = {name: _log_errors(report, name) for name in names}
    known = np.concatenate([[], *(e[np.isfinite(e)] for e in errors.values())])
    low, high = (known.min(), known.max()) if known.size else (-16.0, 0.0)
    for name, ax in zip(names, maps, strict=True):
        shown = _plot_errors(report, name, errors[name], ax, (low, max(high, low + 1)))
    if maps:
        figure.colorbar(shown, ax=maps, label="log10 of the error", shrink=0.9)
    return figure


def _plot_agreement(report: Checked, ax: "Axes") -> None:
    """Points (numerical, analytic) by verdict, and the line where both are equal."""
    flat = {
        key: np.concatenate([[], *(np.asarray(array).reshape(-1) for array in getattr(report, key).values())])
        for key in ("numerical", "analytic")
    }
    verdicts = np.concatenate([np.empty(0, "U1"), *(array.reshape(-1) for array in report.verdict.values())])
    corners = []
    for verdict in AGREEMENT:
        colour, marker = VERDICT_STYLES[verdict]
        chosen = verdicts == verdict
        x, y = flat["numerical"][chosen], flat["analytic"][chosen]
        if x.size:
            # thousands of points make a picture faster than thousands of shapes
            label = f"{x.size:,} {verdict}"
            ax.plot(x, y, marker, color=colour, ms=4, label=label, rasterized=x.size > 2000, zorder=3)
            corners.append((x.min(), y.min()))
    # through a point among the others, so that the line does not widen the axes
    low = float(max(np.min(corners, axis=0))) if corners else 0.0
    ax.axline((low, low), slope=1, color=BLACK, lw=0.8, alpha=0.6, label="equal", zorder=2)
    ax.set(xlabel="numerical", ylabel="analytic", title=f"Gradient check {'passed' if report.passed else 'failed'}")
    ax.legend(loc="upper left", fontsize="small")


def _log_errors(report: Checked, name: str) -> Array:
    """log10 of the errors as a matrix, NaN where there is none; not below the rounding of the largest value."""
    largest = max(
        (float(abs(x).max(initial=0.0, where=np.isfinite(x))) for x in map(np.asarray, report.numerical.values())),
        default=0.0,
    )
    floor = np.finfo(np.float64).eps * (largest or 1.0)
    error = report.error[name]
    known = (report.verdict[name] != "unchecked") & np.isfinite(error)
    logarithms = np.log10(np.maximum(np.where(known, error, np.nan), floor))
    return logarithms.reshape(len(error), -1) if error.ndim > 1 else logarithms.reshape(1, -1)


def _plot_errors(report: Checked, name: str, errors: Array, ax: "Axes", limits: tuple[float, float]) -> Any:
    """The heat map of one parameter, with what is not right marked."""
    from matplotlib.ticker import MaxNLocator

    low, high = limits
    shown = ax.imshow(errors, cmap="viridis", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    ax.set_facecolor(GREY)
    verdict = report.verdict[name].reshape(errors.shape)
    for kind in MARKED:
        colour, marker = VERDICT_STYLES[kind]
        rows, columns = np.nonzero(verdict == kind)
        if 0 < rows.size <= MARKS:
            ax.plot(columns, rows, marker, color=colour, mfc="none", ms=5, mew=1.5, ls="none", label=kind)
    n_wrong = np.count_nonzero(verdict == "mismatch")
    ax.set_title(f"{name}: {n_wrong:,} mismatch" if n_wrong else name, fontsize="medium")
    ax.tick_params(labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    if errors.shape[0] == 1:
        ax.set_yticks([])
    return shown
