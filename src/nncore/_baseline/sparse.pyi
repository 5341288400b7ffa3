from typing import Any, NamedTuple

from numpy import intp
from numpy.typing import NDArray

class CompressedRows(NamedTuple):
    indptr: NDArray[intp]
    columns: NDArray[Any]
    values: NDArray[Any]
    n_features: int
    max_row: int

def compress(x: NDArray[Any], max_density: float) -> CompressedRows | None: ...
