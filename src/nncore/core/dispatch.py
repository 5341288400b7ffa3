"""The compiled core: picks one of its CPU levels at import; everything compiled is reached through here."""

import importlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nncore.core import _cpu

LEVELS = ("x86_64_v4", "x86_64_v3", "baseline")
BUILT = tuple(level for level in LEVELS if find_spec(f"nncore.core._{level}.network"))
# Those of them that this machine runs, best first.
USABLE = tuple(level for level in _cpu.supported_levels() if level in BUILT)


def _pick_level() -> str:
    """Return the best usable level, or the one NNCORE_LEVEL asks for."""
    forced = os.environ.get("NNCORE_LEVEL", "")
    if not forced:
        return USABLE[0]
    if forced not in LEVELS:
        raise ImportError(f"NNCORE_LEVEL is {forced!r}, expected one of {', '.join(LEVELS)}, or unset")
    if forced not in _cpu.supported_levels():
        raise ImportError(
            f"NNCORE_LEVEL is {forced!r}, but this machine runs only {', '.join(_cpu.supported_levels())}"
        )
    if forced not in BUILT:
        raise ImportError(
            f"NNCORE_LEVEL is {forced!r}, but nncore was built for {', '.join(BUILT)}: unset it, or build nncore from "
            f"source with NNCORE_LEVELS={forced}"
        )
    return forced


level = _pick_level()

if TYPE_CHECKING:
    from nncore.core import _functions
    from nncore.core._baseline import activation as activation
    from nncore.core._baseline import compressed as compressed
    from nncore.core._baseline import dense as dense
    from nncore.core._baseline import loss as loss
    from nncore.core._baseline import network as network
    from nncore.core._baseline import optimizer as optimizer

    functions = _functions
else:
    # GNU's OpenMP reads this when it is loaded. A thread that waits spins for a millisecond otherwise, which costs a
    # factor of 30 where another program keeps the core of the one it waits for busy: 23 to 0.7 ms a step of the book's
    # job on two threads and two busy cores. On idle ones it is the same with 5000, which lasts from one short call of
    # the core to the next; with 2000 it is 3 % slower on digits.
    chosen = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ)
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = "5000"
    activation = importlib.import_module(f"nncore.core._{level}.activation")
    compressed = importlib.import_module(f"nncore.core._{level}.compressed")
    dense = importlib.import_module(f"nncore.core._{level}.dense")
    loss = importlib.import_module(f"nncore.core._{level}.loss")
    network = importlib.import_module(f"nncore.core._{level}.network")
    functions = importlib.import_module("nncore.core._functions")
    optimizer = importlib.import_module(f"nncore.core._{level}.optimizer")
    if not chosen:
        del os.environ["GOMP_SPINCOUNT"]
