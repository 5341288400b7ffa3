"""How many threads a job gets, and BLAS held to one thread while ours share the work."""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nncore.core import checks
from nncore.core.dispatch import network

# Multiply-adds of one call below which waking a second thread costs more than it gives; steps of training find it
# awake.
MACS_PER_THREAD = 1 << 20
STEP_MACS_PER_THREAD = 1 << 19
# More than this are never started: the system may refuse them, which ends the process.
MAX_THREADS = 64
# Products this small run on one thread in BLAS anyway.
BLAS_THREADED_MACS = 1 << 18
# Python gets control back about this often: progress, Ctrl-C.
CALL_SECONDS = 0.05
# A shorter call that was slow may have been interrupted by another program.
HICCUP_SECONDS = 0.02

# How long the end of the interpreter waits for calls of other threads to end.
ENDING_SECONDS = 2.0

_NOTHING = contextlib.nullcontext()
_lock = threading.Lock()
# One thread at a time lays a network out.
building = threading.RLock()
_depth = 0
_saved: list[int] = []
_forked = False


def _after_fork_in_child() -> None:
    """The thread pools of the parent do not exist in the child: waiting for them would never end."""
    global _forked, _lock, _depth, building
    _forked = True
    _lock, building = threading.Lock(), threading.RLock()
    _depth = 0
    network.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _end_calls() -> None:
    """Before the interpreter ends: no daemon thread is to be found in the core, whose libraries are taken down then."""
    network.end_calls()
    limit = time.monotonic() + ENDING_SECONDS
    while network.n_calls() and time.monotonic() < limit:
        time.sleep(0.001)


atexit.register(_end_calls)


def available() -> int:
    """Threads the core may use."""
    return 1 if _forked or not network.has_openmp() else limited()


def limited() -> int:
    """cpus(), but no more than OpenMP says unless NNCORE_NUM_THREADS does.

    OpenMP goes by OMP_NUM_THREADS and OMP_THREAD_LIMIT as they were when it was loaded, and by what threadpoolctl
    has set since in this thread; joblib's loky sets the first for its workers.
    """
    return cpus() if os.environ.get("NNCORE_NUM_THREADS") else min(cpus(), network.openmp_threads())


def cpus() -> int:
    """NNCORE_NUM_THREADS, or the CPUs this process is allowed on and, in a container, given the time of."""
    forced = os.environ.get("NNCORE_NUM_THREADS", "")
    if forced:
        if not forced.isdecimal() or int(forced) < 1:
            raise ValueError(f"NNCORE_NUM_THREADS is {forced!r}, expected a whole number of 1 or more")
        return min(int(forced), MAX_THREADS)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _quota(Path("/sys/fs/cgroup")))


@cache
def _quota(cgroup: Path) -> int:
    """CPUs whose time a control group may use at most, rounded up: docker run --cpus, limits of Kubernetes."""
    files = [cgroup / "cpu.max"], [cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    for texts in files:  # versions 2 and 1
        with contextlib.suppress(OSError, ValueError):
            microseconds, period = map(int, " ".join(path.read_text() for path in texts).split())
            if microseconds > 0:
                return -(-microseconds // period)
    return MAX_THREADS


def choices(n_threads: int | str, macs: int, per_thread: int = MACS_PER_THREAD) -> tuple[int, ...]:
    """Numbers of threads to choose from by measurement, for calls or steps of this many multiply-adds.

    "auto" is one thread where there is too little to share.
    """
    if n_threads == "auto":
        shared = macs // per_thread
        shared = min(available(), shared) if shared > 1 else 1  # what is small does not ask the system
        return (1, shared) if shared > 1 else (1,)
    wanted = min(checks.positive_int(n_threads, "n_threads"), MAX_THREADS)
    return (1,) if _forked or not network.has_openmp() else (wanted,)


class Pace:
    """How many steps each call of the core gets so that Python has control back in time, and on how many threads.

    With a choice of threads it goes by measurement, which costs nothing as the result does not depend on them: a
    step that is shared gains on a quiet machine and loses badly where another program keeps a core busy.
    """

    def __init__(self, choices: tuple[int, ...], seconds: float = CALL_SECONDS) -> None:
        self.seconds_per_step, self.seconds = dict.fromkeys(choices, 0.0), seconds
        self.steps, self.elapsed, self.next_look, self.phase = 1, 0.0, 0.0, "run"
        self.used = choices[0]

    @property
    def fastest(self) -> int:
        """Threads; a choice not yet measured comes first."""
        return min(self.seconds_per_step, key=lambda n: self.seconds_per_step[n])

    @property
    def found(self) -> int:
        """Threads for the history: the fastest, and until all choices are measured those of the last call."""
        return self.fastest if all(self.seconds_per_step.values()) else self.used

    def next(self) -> tuple[int, int]:
        """Threads and steps of the next call: what was fastest, and now and then a short look at the other choice.

        A look takes a 64th of a call, by what a step took there, as where a core is busy a shared step can take 20
        times as long. Before it one step wakes the threads, which can take longer than the look itself. Steps of looks
        take no more than a 16th of the time, less and less; what waking takes is not counted.
        """
        others = [n for n in self.seconds_per_step if n != self.fastest]
        if not others or self.elapsed < self.next_look:
            self.phase, self.used = "run", self.fastest
            return self.used, self.steps
        self.phase, self.used = "look" if self.phase == "wake" else "wake", others[0]
        known = max(self.seconds_per_step[self.used], self.seconds / self.steps)
        return self.used, max(1, int(self.seconds / (64 * known))) if self.phase == "look" else 1

    def took(self, n_threads: int, steps: int, seconds: float) -> None:
        """What a call of so many steps took; the next has 8 times as many at most, as short ones are measured badly."""
        self.elapsed += seconds
        if self.phase == "wake":
            return
        if self.phase == "look":
            with_waking = seconds + seconds / steps
            self.next_look = self.elapsed + max(16 * with_waking, min(self.elapsed, 64 * self.seconds))
        new, before = seconds / steps, self.seconds_per_step[n_threads]
        if seconds < HICCUP_SECONDS and before:
            new = min(new, 2 * before)
        # one slow call does not decide
        self.seconds_per_step[n_threads] = new if new < before or not before else 0.75 * before + 0.25 * new
        per_step = max(min(filter(None, self.seconds_per_step.values()), default=0.0), 1e-9)
        self.steps = max(1, min(8 * self.steps, int(self.seconds / per_step)))


def usable(n_threads: int) -> int:
    """So many threads for a call, asked just before it: one where this process was forked meanwhile."""
    return 1 if _forked else n_threads


@cache
def _blas_libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def products() -> str:
    """What multiplies matrices: our own loops, or the BLAS libraries loaded in this process, with versions."""
    if not network.uses_blas():
        return "nncore's own"
    names = {f"{lib.internal_api} {lib.version or ''}".strip() for lib in _blas_libraries()}
    return ", ".join(sorted(names)) or "unknown"


def single_threaded_blas(macs: int) -> contextlib.AbstractContextManager[None]:
    """Hold BLAS to one thread within, restored when the last of the calls that overlap ends.

    Our own threads share the work already, and the bits must not depend on BLAS's number of threads. Nothing to do
    where products are our own.
    """
    return held_blas() if macs >= BLAS_THREADED_MACS and network.uses_blas() else _NOTHING


@contextlib.contextmanager
def held_blas() -> Iterator[None]:
    """As single_threaded_blas, for what others compute: where a core is busy, waking a thread takes milliseconds."""
    global _depth, _saved
    with _lock:
        before = [lib.get_num_threads() for lib in _blas_libraries()]
        if _depth == 0:
            _saved = before
        for lib in _blas_libraries():
            _set_blas_threads(lib, 1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            for lib, of_thread, of_process in zip(_blas_libraries(), before, _saved, strict=True):
                if getattr(lib, "threading_layer", "") == "openmp":  # each thread has its own number
                    _set_blas_threads(lib, of_thread)
                elif _depth == 0:
                    _set_blas_threads(lib, of_process)


def _set_blas_threads(lib: Any, n: int) -> None:
    """From any Python thread: threadpoolctl (3.7 on) lets one of them set OpenBLAS's, until it is told to forget it."""
    forget = getattr(lib, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    lib.set_num_threads(n)
    forget(force=True)
