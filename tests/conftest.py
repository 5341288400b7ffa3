"""Fixtures that the tests share: the compiled levels, the real MNIST, random numbers."""

import _thread
import contextlib
import importlib
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nncore.core import dispatch, notices

MODULES = ("activation", "compressed", "dense", "loss", "network", "optimizer")


@pytest.fixture(scope="session", params=dispatch.USABLE)
def core(request):
    """The compiled modules of every level that is built and that this machine runs."""
    return SimpleNamespace(
        **{name: importlib.import_module(f"nncore.core._{request.param}.{name}") for name in MODULES}
    )


@pytest.fixture(autouse=True)
def each_ctrl_c_is_the_first(monkeypatch):
    """Tests press Ctrl-C faster than people do: a second press is one of the user's where a test says so."""
    monkeypatch.setattr(notices, "TWICE_SECONDS", 0.0)


@pytest.fixture
def rng():
    """The same numbers in every test."""
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder with the real MNIST; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("NNCORE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST in {folder}: set NNCORE_DATA to the folder that holds mnist/")
    return folder


@pytest.fixture
def ctrl_c():
    """with ctrl_c(seconds): what is within must be ended by a KeyboardInterrupt that comes after so long."""

    @contextlib.contextmanager
    def ends(seconds):
        if hasattr(signal, "setitimer"):  # reaches C code that keeps the GIL too
            before = signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        else:
            timer = threading.Timer(seconds, _thread.interrupt_main)
            timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                yield
        finally:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            else:
                timer.cancel()

    return ends
