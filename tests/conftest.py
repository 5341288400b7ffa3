"""What the tests share: the compiled levels, the real MNIST, random numbers."""

import importlib
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nncore import _cpu

MODULES = ("activation", "dense", "loss", "network", "numdiff", "optimizer", "sparse")


@pytest.fixture(scope="session", params=_cpu.supported_levels())
def core(request):
    """The compiled modules of every level this machine runs."""
    return SimpleNamespace(**{name: importlib.import_module(f"nncore._{request.param}.{name}") for name in MODULES})


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
