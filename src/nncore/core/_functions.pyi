from collections.abc import Callable
from typing import Any

from numpy import float64, intp
from numpy.typing import NDArray

def evaluate(
    f: Callable[[Any], Any],
    argument: Any,
    x: NDArray[Any],
    elements: NDArray[intp],
    points: NDArray[Any],
    values: NDArray[Any],
    name: str,
) -> None: ...
def two_points(
    f: Callable[[Any], Any],
    argument: Any,
    x: NDArray[Any],
    f0: float,
    h: float,
    relative_step: float,
    size: float,
    up: bool,
    down: bool,
    slopes: NDArray[float64],
    name: str,
) -> None: ...
def number_of(result: Any) -> float: ...
def described(result: Any) -> str: ...
def c_value(address: int, user_data: int, takes_user_data: bool, x: NDArray[float64]) -> float: ...
def c_evaluate(
    address: int,
    user_data: int,
    takes_user_data: bool,
    x: NDArray[float64],
    elements: NDArray[intp],
    points: NDArray[float64],
    values: NDArray[float64],
    n_threads: int,
) -> None: ...
def capsule_parts(capsule: Any) -> tuple[int, int, str]: ...
