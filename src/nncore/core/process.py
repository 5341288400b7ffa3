"""The process around the compiled core: what a fork leaves behind in the child, and how the interpreter ends."""

import atexit
import os
import threading
import time

from nncore.core.dispatch import network

# How long the end of the interpreter waits for calls of other threads to end.
ENDING_SECONDS = 2.0

# One thread at a time lays a network out.
building = threading.RLock()
_forked = False


def is_forked() -> bool:
    """Whether this process was forked from one that had loaded the core: the parent's threads are not in it."""
    return _forked


def _after_fork_in_child() -> None:
    """Forget the thread pools of the parent, which the child does not have: waiting for them would never end."""
    global _forked, building
    _forked = True
    building = threading.RLock()  # a thread of the parent may have held it
    network.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _end_calls() -> None:
    """End the calls of daemon threads before the libraries that they run in are taken down."""
    network.end_calls()
    limit = time.monotonic() + ENDING_SECONDS
    while network.n_calls() and time.monotonic() < limit:
        time.sleep(0.001)


atexit.register(_end_calls)
