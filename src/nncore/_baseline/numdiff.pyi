from collections.abc import Callable
from typing import Any

from numpy import float64
from numpy.typing import NDArray

def numerical_gradient(
    f: Callable[[NDArray[Any]], Any],
    x: NDArray[Any],
    grad: NDArray[float64],
    h: float,
    central: bool,
    relative_step: float,
) -> None: ...
