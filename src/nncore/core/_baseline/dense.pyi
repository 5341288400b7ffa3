from typing import Any

from numpy.typing import NDArray

def forward(x: NDArray[Any], W: NDArray[Any], b: NDArray[Any] | None, a: NDArray[Any], n_threads: int = 1) -> None: ...
def backward(
    x: NDArray[Any],
    W: NDArray[Any],
    da: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any],
    dx: NDArray[Any],
    n_threads: int = 1,
) -> None: ...
