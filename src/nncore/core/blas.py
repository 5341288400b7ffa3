"""BLAS held to one thread while our own threads share the work, and the name of what multiplies matrices."""

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from nncore.core.dispatch import network

# BLAS itself runs smaller products on one thread.
THREADED_MACS = network.PLAIN_MACS

_NOTHING = contextlib.nullcontext()
_lock = threading.Lock()
_depth = 0
_saved: list[int] = []


def _after_fork_in_child() -> None:
    """Forget the calls of the parent's other threads: they are not in the child, where nobody would end them."""
    global _lock, _depth
    _lock = threading.Lock()
    _depth = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def products() -> str:
    """Name what multiplies matrices: our own loops, or the BLAS libraries loaded in this process, with versions."""
    if not network.uses_blas():
        return "nncore's own"
    names = {f"{lib.internal_api} {lib.version or ''}".strip() for lib in _libraries()}
    return ", ".join(sorted(names)) or "unknown"


def single_threaded_blas(macs: int = THREADED_MACS) -> contextlib.AbstractContextManager[None]:
    """Hold BLAS to one thread within, restored when the last of the calls that overlap ends.

    Our own threads share the work already, and the bits must not depend on BLAS's number of threads. Nothing to do
    where products are our own, or so few multiply-adds that BLAS takes one thread anyway.
    """
    return held_blas() if macs >= THREADED_MACS and network.uses_blas() else _NOTHING


@contextlib.contextmanager
def held_blas() -> Iterator[None]:
    """As single_threaded_blas, for what others compute: where a core is busy, waking a thread takes milliseconds."""
    global _depth, _saved
    with _lock:
        before = [lib.get_num_threads() for lib in _libraries()]
        if _depth == 0:
            _saved = before
        for lib in _libraries():
            _set_threads(lib, 1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            for lib, of_thread, of_process in zip(_libraries(), before, _saved, strict=True):
                if getattr(lib, "threading_layer", "") == "openmp":  # each thread has its own number
                    _set_threads(lib, of_thread)
                elif _depth == 0:
                    _set_threads(lib, of_process)


def _set_threads(lib: Any, n: int) -> None:
    """Set a library's threads from any Python thread: threadpoolctl (3.7 on) remembers one that may set OpenBLAS's."""
    forget = getattr(lib, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    lib.set_num_threads(n)
    forget(force=True)
