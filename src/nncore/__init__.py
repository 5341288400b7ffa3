"""nncore: dense neural networks on a CPU at C speed, and their gradients checked element by element.

Names are loaded on first use: ``import nncore`` imports nothing but NumPy.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from nncore.core.version import VERSION as __version__

# one list of the public names, which type checkers read as well
_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_MODULE_OF = {name: module for module, name in re.findall(r"^from ([\w.]+) import (\w+) as", _STUB, re.MULTILINE)}

_PUBLIC_MODULES = ("datasets", "losses", "metrics", "plotting", "testing")

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC_MODULES:
        return importlib.import_module(f"nncore.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nncore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
