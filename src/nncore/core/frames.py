"""Data frames and their columns as arrays of numbers, where NumPy would make arrays of objects."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = "fiub"


def is_frame(x: Any) -> bool:
    """Whether x has columns with types of their own, or is such a column."""
    return hasattr(x, "to_numpy") and (hasattr(x, "dtype") or (hasattr(x, "dtypes") and hasattr(x, "columns")))


def array_of(x: Any, name: str) -> Array:
    """Return the numbers of a frame, as float64, or of a column, in its type; the error names a column of others."""
    if hasattr(x, "dtype"):
        return _column(x, f"{name} is a column")
    columns = [_column(x[label], f"{name} has the column {label!r}") for label in x.columns]
    return np.column_stack(columns).astype(np.float64) if columns else np.empty((len(x), 0))


def _column(column: Any, what: str) -> Array:
    dtype, plain = column.dtype, np.asarray(column)
    if not {getattr(dtype, "kind", "O"), plain.dtype.kind} & set(KINDS):
        raise TypeError(f"{what} of dtype {dtype}, expected real numbers: encode it as numbers, or leave it out")
    missing = np.asarray(column.isna() if hasattr(column, "isna") else column.is_null())  # as polars has it
    if missing.any():
        where = int(missing.argmax())
        raise ValueError(f"{what} without a value in row {where}, expected numbers only: fill in what is missing")
    return plain if plain.dtype.kind in KINDS else np.asarray(column.to_numpy(dtype=dtype.numpy_dtype))
