"""How many threads a call of the core gets: the environment, the CPUs, a container's share of time, and forks."""

import contextlib
import os
from functools import cache
from pathlib import Path

from nncore.core import checks
from nncore.core.dispatch import network
from nncore.core.process import is_forked

# Multiply-adds of one call below which waking a second thread costs more than it gives; steps of training find it
# awake.
MACS_PER_THREAD = 1 << 20
STEP_MACS_PER_THREAD = 1 << 19
# More than this are never started: the system may refuse them, which ends the process.
MAX_THREADS = 64


def available() -> int:
    """Return the number of threads that the core may use."""
    return 1 if is_forked() or not network.has_openmp() else limited()


def limited() -> int:
    """Return cpus(), but no more than OpenMP allows unless NNCORE_NUM_THREADS asks for them.

    OpenMP goes by OMP_NUM_THREADS and OMP_THREAD_LIMIT as they were when it was loaded, and by what threadpoolctl
    has set since in this thread; joblib's loky sets the first for its workers.
    """
    return cpus() if os.environ.get("NNCORE_NUM_THREADS") else min(cpus(), network.openmp_threads())


def cpus() -> int:
    """Return NNCORE_NUM_THREADS, or the CPUs this process is allowed on and, in a container, given the time of."""
    forced = os.environ.get("NNCORE_NUM_THREADS", "")
    if forced:
        if not forced.isdecimal() or int(forced) < 1:
            raise ValueError(f"NNCORE_NUM_THREADS is {forced!r}, expected a whole number of 1 or more")
        return min(int(forced), MAX_THREADS)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _quota(Path("/sys/fs/cgroup")))


@cache
def _quota(cgroup: Path) -> int:
    """The CPUs whose time a control group may use, rounded up: docker run --cpus, limits of Kubernetes."""
    files = [cgroup / "cpu.max"], [cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    for texts in files:  # versions 2 and 1
        with contextlib.suppress(OSError, ValueError):
            microseconds, period = map(int, " ".join(path.read_text() for path in texts).split())
            if microseconds > 0:
                return -(-microseconds // period)
    return MAX_THREADS


def choices(n_threads: int | str, macs: int, per_thread: int = MACS_PER_THREAD) -> tuple[int, ...]:
    """Return the numbers of threads to choose from by measurement, for calls or steps of this many multiply-adds.

    "auto" is one thread where there is too little to share.
    """
    if n_threads == "auto":
        shared = macs // per_thread
        shared = min(available(), shared) if shared > 1 else 1  # a small job does not ask the system
        return (1, shared) if shared > 1 else (1,)
    wanted = min(checks.positive_int(n_threads, "n_threads"), MAX_THREADS)
    return (1,) if is_forked() or not network.has_openmp() else (wanted,)


def usable(n_threads: int) -> int:
    """Return the threads of a call, asked just before it: one where this process was forked meanwhile."""
    return 1 if is_forked() else n_threads
