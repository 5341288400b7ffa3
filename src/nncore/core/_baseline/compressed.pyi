from typing import Any, NamedTuple

from numpy import intp
from numpy.typing import NDArray

class CompressedRows(NamedTuple):
    pieces: NDArray[intp]
    bounds: NDArray[intp]
    columns: NDArray[Any]
    values: NDArray[Any]
    max_piece: int

def compress(x: NDArray[Any], max_density: float) -> CompressedRows | None: ...
def cut(
    indptr: NDArray[intp], columns: NDArray[Any], values: NDArray[Any], counts: NDArray[intp]
) -> CompressedRows: ...
