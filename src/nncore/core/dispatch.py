"""Picks one compiled level of the core at import; everything compiled is reached through here."""

import importlib
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.core import _cpu

LEVELS = ("x86_64_v4", "x86_64_v3", "baseline")


def _pick_level() -> str:
    """The best level this machine runs, or the one NNCORE_LEVEL asks for."""
    supported = [level for level in _cpu.supported_levels() if level in LEVELS]
    forced = os.environ.get("NNCORE_LEVEL", "")
    if not forced:
        return supported[0]
    if forced not in LEVELS:
        raise ImportError(f"NNCORE_LEVEL is {forced!r}, expected one of {', '.join(LEVELS)}, or unset")
    if forced not in supported:
        raise ImportError(f"NNCORE_LEVEL is {forced!r}, but this machine runs only {', '.join(supported)}")
    return forced


level = _pick_level()

if TYPE_CHECKING:
    from nncore.core._baseline import activation as activation
    from nncore.core._baseline import dense as dense
    from nncore.core._baseline import loss as loss
    from nncore.core._baseline import network as network
    from nncore.core._baseline import numdiff as numdiff
    from nncore.core._baseline import optimizer as optimizer
    from nncore.core._baseline import sparse as sparse
else:
    # GNU's OpenMP reads this when it is loaded. A thread that waits spins for a millisecond otherwise, which costs a
    # factor of 30 where another program keeps the core of the one it waits for busy: 23 to 0.7 ms a step of the book's
    # job on two threads and two busy cores. On idle ones it is the same with 5000, which lasts from one short call of
    # the core to the next; with 2000 it is 3 % slower on digits.
    chosen = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ)
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = "5000"
    activation = importlib.import_module(f"nncore.core._{level}.activation")
    dense = importlib.import_module(f"nncore.core._{level}.dense")
    loss = importlib.import_module(f"nncore.core._{level}.loss")
    network = importlib.import_module(f"nncore.core._{level}.network")
    numdiff = importlib.import_module(f"nncore.core._{level}.numdiff")
    optimizer = importlib.import_module(f"nncore.core._{level}.optimizer")
    sparse = importlib.import_module(f"nncore.core._{level}.sparse")
    if not chosen:
        del os.environ["GOMP_SPINCOUNT"]


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show what was built and what runs: level, compiler, flags, products, threads, versions.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print a table, or return it as a dict.

    Returns
    -------
    dict or None
        With ``mode="dicts"`` the values by name.

    Raises
    ------
    ValueError
        For another mode.

    Examples
    --------
    >>> import nncore
    >>> nncore.show_config("dicts")["nncore"]
    '0.1.0'
    """
    import scipy

    import nncore
    from nncore.core import checks
    from nncore.core import threads as _threads

    checks.choice(mode, "mode", ("stdout", "dicts"))
    config = {
        "nncore": nncore.__version__,
        "level": f"{level} (of {', '.join(_cpu.supported_levels())})",
        "compiler": _cpu.compiler(),
        "flags": network.build_flags(),
        "OpenMP": "yes" if network.has_openmp() else "no: one thread",
        "threads": _threads.available(),
        "products": _threads.products(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
    }
    if mode == "dicts":
        return config
    for name, value in config.items():
        print(f"{name:<9} {value}")
    return None
