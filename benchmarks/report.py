"""Measurements as a table to read, as Markdown and as JSON to keep."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nncore
from benchmarks.harness import Row, Settings
from benchmarks.peers import load
from benchmarks.problem import MICROSECONDS, Job

HEADINGS = ("peer", "dtype", "threads", "min", "median", "x slower than nncore")
FLOOR = "x floor"
PICTURE = "jobs.png"


def environment(names: Iterable[str]) -> dict[str, Any]:
    """Machine, level and threads of nncore, and the version of every peer that is installed."""
    versions = {"python": f"Python {platform.python_version()}"}
    for name in names:
        try:
            versions[name] = load(name).version()
        except ImportError:
            continue
    config = nncore.show_config("dicts")
    assert config is not None  # a dict in this mode
    machine = {"cpu": _cpu(), "cpus": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}
    nncore_keys = {key: config[key] for key in ("level", "threads", "compiler", "flags", "OpenMP", "products")}
    return {"machine": machine, "nncore": nncore_keys, "versions": versions}


def _cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown CPU"


def heading(env: dict[str, Any]) -> str:
    """Level, threads, CPU and versions, for the top of the tables."""
    machine, core = env["machine"], env["nncore"]
    return (
        f"level {core['level']}, {core['threads']} threads, {machine['cpu']} x {machine['cpus']}, {machine['system']}\n"
        f"{', '.join(env['versions'].values())}"
    )


def table(job: Job, rows: Sequence[Row], settings: Settings) -> str:
    """A job's table: times a unit, then notes."""
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    lines = [_headings(job), *(_cells(row, notes, job) for row in rows)]
    widths = [max(len(line[k]) for line in lines if len(line) > k + 1 or k == 0) for k in range(len(lines[0]) - 1)]
    return "\n".join(
        [
            f"{job.name}: {job.title}",
            caption(job, settings),
            *(_line(line, widths) for line in lines),
            *(f"[{k}] {note}" for k, note in enumerate(notes, start=1)),
        ]
    )


def caption(job: Job, settings: Settings) -> str:
    """The unit of a table's numbers."""
    return f"{job.prefix} per {job.unit}, {settings.repeats} interleaved repeats"


def _headings(job: Job) -> tuple[str, ...]:
    last = "ratio" if job.name == "many" else HEADINGS[-1]
    return (*HEADINGS[:-1], last, *([FLOOR] if job.floor else []))


def _cells(row: Row, notes: Sequence[str], job: Job) -> tuple[str, ...]:
    peer = f"{row.peer} [{notes.index(row.note) + 1}]" if row.note else row.peer
    if row.status != "ok":
        return peer, row.dtype, f"{row.status}: {row.reason}"
    ratios = [row.ratio, row.over_floor] if job.floor else [row.ratio]
    us = MICROSECONDS[job.prefix]
    threads = f"{row.threads} default" if row.threads_asked is None else str(row.threads)
    return peer, row.dtype, threads, _number(row.min_us, us), _number(row.median_us, us), *map(_ratio, ratios)


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}"


def _number(time_us: float | None, us: float) -> str:
    """A time in units of so many µs: three digits that count, more for large numbers."""
    if time_us is None:
        return "-"
    number = time_us / us
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right; the last cell may be long."""
    padded = [cell.ljust(w) if k < 3 else cell.rjust(w) for k, (cell, w) in enumerate(zip(cells, widths, strict=False))]
    return "  ".join([*padded[: len(cells) - 1], cells[-1]])


def job_as_dict(job: Job, rows: Iterable[Row]) -> dict[str, Any]:
    """A job and its rows for JSON, always in µs."""
    return {
        "job": job.name,
        "title": job.title,
        "unit": f"µs per {job.unit}",
        "rows": [{**asdict(row), "min_us": row.min_us, "median_us": row.median_us} for row in rows],
    }


def markdown(env: dict[str, Any], results: Iterable[tuple[Job, Sequence[Row]]], settings: Settings) -> str:
    """A page with a table a job, and what was not there named under it."""
    versions = ", ".join(env["versions"].values())
    machine, core = env["machine"], env["nncore"]
    top = [
        "# Benchmarks",
        f"`python -m benchmarks` on {machine['cpu']} x {machine['cpus']}, {machine['system']}, "
        f"level {core['level']}, {core['threads']} threads.",
        f"{versions}.",
        "Every peer starts from the same parameters and takes the same samples; one whose losses and parameters do not "
        "agree gets no time, and a note says where that cannot be checked. What counts is the ratio of two times.",
        f"![Median times of each job]({PICTURE})",
    ]
    return "\n\n".join([*top, *(_section(job, rows, settings) for job, rows in results)]) + "\n"


def _section(job: Job, rows: Sequence[Row], settings: Settings) -> str:
    shown = [row for row in rows if row.status != "missing"]
    notes = list(dict.fromkeys(row.note for row in shown if row.note))
    headings = _headings(job)
    cells = [_cells(row, notes, job) for row in shown]
    lines = [headings, ("---",) * len(headings), *(line + ("",) * (len(headings) - len(line)) for line in cells)]
    parts = [
        f"## {job.name}",
        f"{job.title}. {caption(job, settings)}.",
        "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines),
        "\n".join(f"- [{k}] {note}" for k, note in enumerate(notes, start=1)),
        _not_measured(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def _not_measured(rows: Iterable[Row]) -> str:
    """The missing, each once."""
    reasons = dict.fromkeys(f"{row.peer} ({row.reason})" for row in rows if row.status == "missing")
    return f"Not measured: {', '.join(reasons)}." if reasons else ""
