"""Picks one compiled level of the core at import; everything compiled is reached through here."""

import importlib
import os
from typing import TYPE_CHECKING

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
