"""Measure the jobs: first the peers have to agree, then their repeats take turns."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import floor
from benchmarks.peers import PEERS, Entry, MissingError, Outcome, Peer, Run, entries, load, numpy_reference
from benchmarks.problem import DTYPES, Job, Problem

# How far loss and parameters may be from NumPy's in float64 after an epoch, relative to the largest of their array.
# A step rounds a parameter by up to u of it, 6e-8 in float32 and 1.1e-16 in float64; what the update itself has lost is
# less, as it is multiplied by the learning rate. If all 1,400 steps erred to the same side that would be 1,400 u, or
# 8e-5 and 1.6e-13. Measured are 2e-6 and 1e-15, since errors cancel. A wrong formula is far beyond: a bias that is not
# updated 0.7, one sample left out 0.09, a learning rate 1 % off 1e-3, the book's 1e-7 within the logarithm 1e-6.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}

# BLAS and OpenMP threads keep a core busy for a while after their work, and would do so in the next one's time.
SETTLE_SECONDS = 0.05


@dataclass
class Row:
    """One line of a table: a peer with one float type and one number of threads, or the reason why it has no figure.

    Attributes
    ----------
    threads_asked : int or None
        None is the peer's default.
    threads : int or None
        Used in the last run; None if there was none.
    status : {"ok", "differs", "failed", "missing"}
        Only "ok" has figures.
    reason : str
        Why not "ok".
    deviation : float or None
        From the reference, relative, or absolute if the peer's entry has a limit; None where it cannot be compared, or
        is not finite.
    steps : int
        A repeat.
    part : float
        Of the work of a step that was done; the times are scaled to all of it.
    times_us : list of float
        Microseconds a step, of each repeat.
    ratio : float or None
        Median over that of nncore's first row with the same float type.
    over_floor : float or None
        Median over that of the floor for the same number of threads, where the job has one.
    """

    peer: str
    dtype: str
    threads_asked: int | None = None
    threads: int | None = None
    status: str = "ok"
    reason: str = ""
    note: str = ""
    deviation: float | None = None
    steps: int = 0
    part: float = 1.0
    times_us: list[float] = field(default_factory=list)
    ratio: float | None = None
    over_floor: float | None = None

    @property
    def min_us(self) -> float | None:
        """Fastest repeat."""
        return min(self.times_us, default=None)

    @property
    def median_us(self) -> float | None:
        """Median of the repeats."""
        return float(np.median(self.times_us)) if self.times_us else None


@dataclass(frozen=True)
class Settings:
    """Which peers, which float types, how many repeats of about how many seconds."""

    peers: Sequence[str] = tuple(PEERS)
    dtypes: Sequence[str] = DTYPES
    repeats: int = 7
    seconds: float = 0.5


def measure(job: Job, settings: Settings) -> list[Row]:
    """The rows of a job's table.

    Raises
    ------
    OSError, ValueError
        If its data cannot be had, or it has none of the float types.
    """
    dtypes = float_types(job, settings)
    raw, labels = job.load()
    labels = labels.astype(np.intp)
    reference = _reference(Problem(job, raw, labels, np.dtype(np.float64)))
    rows: list[Row] = []
    for dtype in dtypes:
        # a Problem a type, so that the float copy of one type is gone before that of the next is made
        rows += _measure_dtype(Problem(job, raw, labels, np.dtype(dtype)), settings, reference)
    return rows


def float_types(job: Job, settings: Settings) -> list[str]:
    """Those of the settings that the job has."""
    dtypes = [dtype for dtype in settings.dtypes if dtype in job.dtypes]
    if not dtypes:
        raise ValueError(f"is measured in {' and '.join(job.dtypes)}, not in {' and '.join(settings.dtypes)}")
    return dtypes


def _reference(problem: Problem) -> Outcome:
    """The result that an epoch has to end with."""
    return numpy_reference.JOBS[problem.job.name].prepare(problem, None)(problem.checked)


def _measure_dtype(problem: Problem, settings: Settings, reference: Outcome) -> list[Row]:
    rows, timed = [], []
    for row, entry in _candidates(problem, settings.peers):
        rows.append(row)
        run = entry and _verified(row, entry, problem, reference)
        if run:
            # whole epochs that take about so long, one at least
            epochs = round(problem.job.longer * settings.seconds / _seconds(row, run, problem.epoch))
            row.steps = problem.epoch * max(1, epochs)
            timed.append((row, run))
    for _ in range(settings.repeats):
        for row, run in timed:
            time.sleep(SETTLE_SECONDS)
            seconds = _seconds(row, run, row.steps)
            row.times_us.append(seconds / (row.steps * row.part) * 1e6)
    _compare(rows)
    return rows


def _candidates(problem: Problem, names: Iterable[str]) -> Iterator[tuple[Row, Entry | None]]:
    """A row for every way of every peer, or for what is missing of it."""
    dtype = problem.dtype.name
    for name in names:
        try:
            peer: Peer = load(name)
        except ImportError as error:
            yield Row(name, dtype, status="missing", reason=str(error)), None
            continue
        versions = entries(peer, problem.job.name)
        if not versions:
            yield Row(name, dtype, status="missing", reason=f"has no version of {problem.job.name}"), None
        for entry in versions:
            for threads in entry.threads:
                yield Row(name, dtype, threads, note=entry.note), entry
    if problem.job.floor:
        for threads in floor.ENTRY.threads:
            yield Row("floor", dtype, threads, note=floor.ENTRY.note), floor.ENTRY


def _verified(row: Row, entry: Entry, problem: Problem, reference: Outcome) -> Run | None:
    """The prepared run if it computes what it should; else the row says that it does not."""
    try:
        run = entry.prepare(problem, row.threads_asked)
        outcome = run(problem.checked)
    except MissingError as error:
        row.status, row.reason = "missing", str(error)
        return None
    except Exception as error:  # whatever a foreign package raises is no reason to lose the others' figures
        row.status, row.reason = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
        return None
    row.threads = outcome.threads
    limit = problem.job.tolerance or TOLERANCE[row.dtype] if entry.limit is None else entry.limit
    if entry.comparable and not _agrees(row, deviation(outcome, reference, relative=entry.limit is None), limit):
        return None
    return run


def _agrees(row: Row, distance: float, limit: float) -> bool:
    """Whether the distance from the reference is within the limit; the row says if not."""
    row.deviation = distance if math.isfinite(distance) else None
    if distance <= limit:
        return True
    row.status = "differs"
    row.reason = f"{distance:.1e} from the reference, expected at most {limit:.0e}"
    return False


def deviation(outcome: Outcome, reference: Outcome, *, relative: bool = True) -> float:
    """Largest difference of the loss and of each array, or relative to its largest; inf for other shapes or NaN."""
    if [a.shape for a in outcome.params] != [b.shape for b in reference.params]:
        return math.inf
    pairs: list[tuple[Any, Any]] = [(outcome.loss, reference.loss)]
    pairs += zip(outcome.params, reference.params, strict=True)
    # np.max and not max: a NaN must come through
    worst = float(np.max([np.max(np.abs(a - b)) / (np.max(np.abs(b)) if relative else 1.0) for a, b in pairs]))
    return worst if math.isfinite(worst) else math.inf


def _seconds(row: Row, run: Run, steps: int) -> float:
    started = time.perf_counter()
    outcome = run(steps)
    elapsed = time.perf_counter() - started
    row.threads, row.part = outcome.threads, outcome.part  # a peer may choose anew in every run
    return elapsed


def _compare(rows: Sequence[Row]) -> None:
    """Sets the ratios, if nncore and the floor are there to compare with."""
    base = next((row.median_us for row in rows if row.peer == "nncore"), None)
    for row in rows:
        if base and row.median_us:
            row.ratio = row.median_us / base
    floors = {row.threads_asked: row.median_us for row in rows if row.peer == "floor"}
    for row in rows:
        least = floors.get(row.threads_asked)
        if least and row.median_us:
            row.over_floor = row.median_us / least
