from typing import Any

from numpy import float64
from numpy.typing import NDArray

LOSSES: dict[str, int]
TARGETS: dict[str, str]

def first_misfit(kind: int, t: NDArray[Any]) -> int: ...
def terms(
    kind: int, param: float, y: NDArray[Any], t: NDArray[Any], w: NDArray[float64] | None, dy: NDArray[Any]
) -> float: ...
def cross_entropy(y: NDArray[Any], t: NDArray[Any], dy: NDArray[Any], delta: float) -> float: ...
def softmax_cross_entropy(a: NDArray[Any], t: NDArray[Any], da: NDArray[Any], delta: float) -> float: ...
