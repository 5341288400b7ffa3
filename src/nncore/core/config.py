"""What was built and what runs."""

import platform
import sys
from typing import Any

import numpy as np

from nncore.core import _cpu, checks, dispatch
from nncore.core import threads as _threads
from nncore.core.version import VERSION


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

    checks.choice(mode, "mode", ("stdout", "dicts"))
    config = {
        "nncore": VERSION,
        "level": f"{dispatch.level} (of {', '.join(dispatch.USABLE)})",
        "compiler": _cpu.compiler(),
        "flags": dispatch.network.build_flags(),
        "OpenMP": "yes" if dispatch.network.has_openmp() else "no: one thread",
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
