"""What is measured and how: first the peers have to agree, then their repeats take turns."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.jobs import Job, Problem
from benchmarks.peers import PEERS, Entry, Outcome, Peer, Run, load, numpy_reference

DTYPES = ("float32", "float64")

# How far loss and parameters may be from NumPy's in float64 after one epoch, relative to the largest of their array.
# A step rounds a parameter by u = 6e-8 (float32) or 1.1e-16 (float64) of it, and makes an update of which sums over
# n <= 784 terms have lost up to sqrt(n) u = 28 u. If the errors of 1,400 steps only ever added up, that would be
# 1,400 u = 8e-5 and 1.5e-13 for the parameters. The limits leave a factor of 10 and more for what training itself
# amplifies, and are below what a wrong formula does: a bias not updated, a mean in place of a sum, or the book's 1e-7
# within the logarithm (1e-6).
TOLERANCE = {"float32": 1e-3, "float64": 1e-8}

# BLAS and OpenMP threads keep a core busy for a while after their work, and would do so in the next one's time.
SETTLE_SECONDS = 0.05


@dataclass
class Row:
    """One line of a table: a peer with one float type and one number of threads, or the reason why it has no figure.

    Attributes
    ----------
    status : {"ok", "differs", "failed", "missing"}
        Only "ok" has figures.
    reason : str
        Why not "ok".
    deviation : float or None
        From the reference, relative; None where it cannot be compared.
    steps : int
        A repeat.
    times_us : list of float
        Microseconds a step, of each repeat.
    ratio : float or None
        Median over that of nncore's first row with the same float type.
    """

    peer: str
    dtype: str
    threads: int | None = None
    status: str = "ok"
    reason: str = ""
    note: str = ""
    deviation: float | None = None
    steps: int = 0
    times_us: list[float] = field(default_factory=list)
    ratio: float | None = None

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
        If its data cannot be had.
    """
    raw, labels = job.load()
    labels = labels.astype(np.intp)
    reference = _reference(Problem(job, raw, labels, np.dtype(np.float64)))
    rows: list[Row] = []
    for dtype in settings.dtypes:
        # a Problem a type, so that the float copy of one type is gone before that of the next is made
        rows += _measure_dtype(Problem(job, raw, labels, np.dtype(dtype)), settings, reference)
    return rows


def _reference(problem: Problem) -> Outcome:
    """What an epoch has to end with."""
    return numpy_reference.JOBS[problem.job.name].prepare(problem, None)(problem.epoch)


def _measure_dtype(problem: Problem, settings: Settings, reference: Outcome) -> list[Row]:
    rows, timed = [], []
    for row, entry, threads in _candidates(problem, settings.peers):
        rows.append(row)
        run = entry and _verified(row, entry, problem, threads, reference)
        if run:
            row.steps = _steps_of(run, problem.epoch, settings.seconds)
            timed.append((row, run))
    for _ in range(settings.repeats):
        for row, run in timed:
            time.sleep(SETTLE_SECONDS)
            row.times_us.append(_seconds(run, row.steps) / row.steps * 1e6)
    _compare(rows)
    return rows


def _candidates(problem: Problem, names: Iterable[str]) -> Iterator[tuple[Row, Entry | None, int | None]]:
    """A row for every way of every peer, or for what is missing of it."""
    dtype = problem.dtype.name
    for name in names:
        try:
            peer: Peer = load(name)
        except ImportError as error:
            yield Row(name, dtype, status="missing", reason=str(error)), None, None
            continue
        entry = peer.JOBS.get(problem.job.name)
        if entry is None:
            yield Row(name, dtype, status="missing", reason=f"has no version of {problem.job.name}"), None, None
            continue
        for threads in entry.threads:
            yield Row(name, dtype, note=entry.note), entry, threads


def _verified(row: Row, entry: Entry, problem: Problem, threads: int | None, reference: Outcome) -> Run | None:
    """The prepared run if it computes what it should; else the row says that it does not."""
    try:
        run = entry.prepare(problem, threads)
        outcome = run(problem.epoch)
    except Exception as error:  # whatever a foreign package raises is no reason to lose the others' figures
        row.status, row.reason = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
        return None
    row.threads = outcome.threads
    if entry.comparable:
        row.deviation = deviation(outcome, reference)
        limit = TOLERANCE[row.dtype]
        if not row.deviation <= limit:
            row.status = "differs"
            row.reason = f"{row.deviation:.1e} from the reference after an epoch, at most {limit:.0e} is rounding"
            return None
    return run


def deviation(outcome: Outcome, reference: Outcome) -> float:
    """Largest relative difference of the loss and of each parameter array; inf for other shapes or NaN."""
    if [a.shape for a in outcome.params] != [b.shape for b in reference.params]:
        return math.inf
    pairs: list[tuple[Any, Any]] = [(outcome.loss, reference.loss)]
    pairs += zip(outcome.params, reference.params, strict=True)
    worst = max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)
    return worst if math.isfinite(worst) else math.inf


def _seconds(run: Run, steps: int) -> float:
    started = time.perf_counter()
    run(steps)
    return time.perf_counter() - started


def _steps_of(run: Run, epoch: int, seconds: float) -> int:
    """Whole epochs that take about so long, one at least."""
    return epoch * max(1, round(seconds / _seconds(run, epoch)))


def _compare(rows: Iterable[Row]) -> None:
    """Sets the ratios, if nncore is there to compare with."""
    rows = list(rows)
    base = next((row.median_us for row in rows if row.peer == "nncore"), None)
    for row in rows:
        if base and row.median_us:
            row.ratio = row.median_us / base
