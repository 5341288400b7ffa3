from typing import Any

from numpy.typing import NDArray

KINDS: dict[str, int]
STATE_VECTORS: dict[int, int]

def update(
    rule: tuple[int, float, float, float, float, float],
    lr: float,
    n_steps: int,
    grads: NDArray[Any],
    params: NDArray[Any],
    state: NDArray[Any],
    n_threads: int = 1,
) -> None: ...
