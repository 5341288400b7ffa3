"""The checks of files with data that training and prediction share, and what they call a column of labels."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.data import tables

Array = NDArray[Any]
FILES = (".npz", *tables.ENDINGS)


def expect_file(path: Path, argument: str) -> None:
    """Refuse a file that is not there before anything is done with it.

    Raises
    ------
    ValueError
        If there is no such file, or it is a folder.
    """
    if path.is_dir():
        raise ValueError(f"{argument} is {str(path)!r}, which is a folder, expected a file")
    if not path.exists():
        raise ValueError(f"{argument} is {str(path)!r}, but there is no such file")


def expect_range(x: Array, dtype: Any, name: str) -> None:
    """Refuse features that become infinite in the network's float type.

    Raises
    ------
    ValueError
        If there is one.
    """
    if x.dtype == np.float64 and np.dtype(dtype) == np.float32:
        largest = max(x.max(), -x.min())
        if largest > np.finfo(np.float32).max:
            raise ValueError(f"{name} has values up to {largest:.3g}, more than float32 holds: scale them")


def expect_lengths(path: Path, x: Array, y: Array) -> None:
    """Refuse rows and labels of which there are not equally many, or none.

    Raises
    ------
    ValueError
        If so.
    """
    if y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        n = 0 if y.ndim == 0 else len(y)
        raise ValueError(f"{path} has {len(x)} rows of X and {n} of y, expected the same number, 1 or more")


def rows_of_array(x: Array, name: str) -> Array:
    """Return samples as rows of numbers, uint8 or floats: images are flattened."""
    array = checks.numbers(x, name)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n_samples, n_features), none of them 0")
    array = array.reshape(len(array), -1)
    return array if array.dtype == np.uint8 else checks.finite(checks.floats(array, name), name)


def expected_names(label: str | None) -> list[str]:
    """The name that a header must have; a number may as well be data."""
    return [] if label is None or tables.is_number(label) else [label]


def label_column(table: tables.Table, label: str) -> int:
    """Where the label column is."""
    if table.names is None or label not in table.names:
        known = tables.listed(table.names) if table.names else "no header"
        raise ValueError(f"--label is {label!r}, but {table.path} has {known}")
    return table.names.index(label)
