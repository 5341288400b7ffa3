"""show_config: which level of the core was built and runs, with its compiler, flags and versions."""

import platform
import sys
from typing import Any

import numpy as np

from nncore.core import _cpu, checks, dispatch, threads
from nncore.core.blas import products
from nncore.core.version import VERSION


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show how the core was built and which part of it runs: level, compiler, flags, products, threads, versions.

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
        "threads": threads.available(),
        "products": products(),
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
