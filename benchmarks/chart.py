"""The picture of all jobs: a panel each, a bar for every peer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.harness import Row
from benchmarks.problem import Job
from nncore.plotting.style import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS = "#999999"
COLUMNS = 3
UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))


def fastest(job: Job, rows: Sequence[Row]) -> list[Row]:
    """Of every version of every peer the row to draw: the job's first float type, the best number of threads."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row.peer, row.note
        if row.median_us and row.dtype == job.dtypes[0]:
            best[key] = min(best.get(key, row), row, key=lambda row: row.median_us or 0.0)
    return sorted(best.values(), key=lambda row: row.median_us or 0.0)


def draw(results: Sequence[tuple[Job, Sequence[Row]]]) -> "Figure":
    """Median times on log axes, the fastest at the top, nncore in colour; the job many has only ratios."""
    import matplotlib.pyplot as plt

    drawn = [(job, fastest(job, rows)) for job, rows in results if job.name != "many"]
    drawn = [(job, rows) for job, rows in drawn if rows]
    n_rows = max(1, -(-len(drawn) // COLUMNS))
    figure = plt.figure(figsize=(4.6 * COLUMNS, 2.7 * n_rows), layout="constrained")
    for k, (job, rows) in enumerate(drawn, start=1):
        _panel(figure.add_subplot(n_rows, COLUMNS, k), job, rows)
    return figure


def _panel(ax: "Axes", job: Job, rows: Sequence[Row]) -> None:
    times = [row.median_us or 0.0 for row in rows]
    base = next((row for row in rows if _name(row) == "nncore"), None)  # as in the table: without out=
    colours = [{"nncore": BLUE, "floor": ORANGE}.get(row.peer, OTHERS) for row in rows]
    bars = ax.barh(range(len(rows)), times, color=colours, height=0.7)
    ax.bar_label(bars, [_label(row, base) for row in rows], padding=3, fontsize="small")
    ax.set_yticks(range(len(rows)), [_name(row) for row in rows])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(min(times) / 3, max(times) * 12)  # room for the labels; a log axis has no 0 where bars could begin
    ax.set_title(job.name, fontsize="medium", loc="left", fontweight="bold")
    ax.set_xlabel(f"µs per {job.unit}", fontsize="small")
    ax.tick_params(labelsize="small")
    ax.spines[["top", "right"]].set_visible(False)


def _name(row: Row) -> str:
    return f"{row.peer} (out=)" if row.peer == "nncore" and "out=" in row.note else row.peer


def _label(row: Row, base: Row | None) -> str:
    """The time in a unit that reads well, and how many times that of nncore's bar it is."""
    time_us = row.median_us or 0.0
    size, unit = next((size, unit) for size, unit in UNITS if time_us >= size or unit == "µs")
    digits = f"{time_us / size:.3g}" if time_us / size < 100 else f"{time_us / size:.0f}"
    if base is None or not base.median_us or row.peer == "nncore":
        return f"{digits} {unit}"
    ratio = time_us / base.median_us
    return f"{digits} {unit}  ({ratio:{'.2g' if ratio < 100 else '.0f'}} x)"
