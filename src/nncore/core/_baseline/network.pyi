from contextlib import AbstractContextManager
from typing import Any

from numpy import dtype, float64, intp, uint8
from numpy.typing import NDArray

from nncore.core._baseline.compressed import CompressedRows

PLAIN_MACS: int

def has_openmp() -> bool: ...
def build_flags() -> str: ...
def openmp_threads() -> int: ...
def uses_blas() -> bool: ...
def plain_rows(x: object, n_features: int) -> NDArray[Any] | None: ...
def forked() -> None: ...
def end_calls() -> None: ...
def n_calls() -> int: ...
def held_memory(array: NDArray[Any]) -> object: ...

class Network:
    params: NDArray[Any]
    grads: NDArray[Any]
    moments: NDArray[Any]
    input_scale: float
    penalty_by_samples: bool
    penalty_share: float
    steps_done: int
    @property
    def has_dropout(self) -> bool: ...
    @property
    def has_batch_norm(self) -> bool: ...
    @property
    def n_kept(self) -> int: ...
    def training(self, what: str) -> AbstractContextManager[None]: ...
    def reading(self, what: str) -> AbstractContextManager[None]: ...
    def pause(self) -> AbstractContextManager[None]: ...
    def expect_still(self, pause: bool = False) -> None: ...
    def take(self) -> None: ...
    def release(self) -> None: ...
    def __init__(
        self,
        layers: list[tuple[int, int, int, bool, bool]],
        loss: int,
        delta: float,
        dtype: dtype[Any],
        loss_param: float = 0,
        smoothing: float = 0,
        batch_norm: tuple[int, ...] = (),
    ) -> None: ...
    def configure(
        self,
        layer: int,
        *,
        param: float = 0,
        trainable_bias: bool = True,
        dropout: float = 0,
        l1: float = 0,
        l2: float = 0,
        max_norm: float = 0,
        lr_scale: float = 1,
    ) -> None: ...
    def views(self, layer: int, flat: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any] | None]: ...
    def norm_views(
        self, layer: int, flat: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
    def forward(self, x: NDArray[Any], out: NDArray[Any], n_threads: int = 1) -> None: ...
    def forward_plain(self, x: object, out: object = None) -> NDArray[Any] | None: ...
    def loss(
        self, x: NDArray[Any], t: NDArray[Any], weights: NDArray[float64] | None = None, *, n_threads: int = 1
    ) -> float: ...
    def gradient(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        weights: NDArray[float64] | None,
        grads: NDArray[Any],
        dx: NDArray[Any] | None = None,
        *,
        n_threads: int = 1,
    ) -> float: ...
    def step(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        lr: float,
        rule: tuple[int, float, float, float, float, float] = ...,
        state: Any = None,
    ) -> float: ...
    def update(
        self,
        lr: float,
        rule: tuple[int, float, float, float, float, float] = ...,
        state: Any = None,
        *,
        clip_norm: float = 0,
        clip_value: float = 0,
    ) -> None: ...
    def penalty(self, whole: float, grads: NDArray[Any] | None = None) -> float: ...
    def normalise(self, layer: int, a: NDArray[Any], x_hat: NDArray[Any], training: bool) -> None: ...
    def normalise_backward(
        self, layer: int, x_hat: NDArray[Any], da: NDArray[Any], grads: NDArray[Any], training: bool
    ) -> None: ...
    def drop(self, layer: int, z: NDArray[Any], seed: int, step: int) -> None: ...
    def forward_keep(self, x: NDArray[Any], out: NDArray[Any], *, n_threads: int = 1) -> None: ...
    def backward(self, dy: NDArray[Any], grads: NDArray[Any], dx: NDArray[Any], *, n_threads: int = 1) -> None: ...
    def train(
        self,
        x: NDArray[Any] | CompressedRows,
        t: NDArray[Any],
        weights: NDArray[float64] | None,
        index: NDArray[intp],
        position: int,
        epoch_size: int,
        batch_size: int,
        lr: float | NDArray[float64],
        losses: NDArray[float64],
        rule: tuple[int, float, float, float, float, float] = ...,
        state: Any = None,
        *,
        clip_norm: float = 0,
        clip_value: float = 0,
        seed: int = 0,
        first_step: int = 0,
        n_threads: int = 1,
    ) -> int: ...
    def numerical_gradient(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        weights: NDArray[float64],
        h: float,
        slope: NDArray[float64],
        truncation: NDArray[float64] | None,
        kink: NDArray[uint8],
        max_memory: int,
        wanted: NDArray[uint8] | None = None,
        rounding: float = 0.0,
        one_sided: bool = False,
        *,
        n_threads: int = 1,
    ) -> None: ...
    def last(self, what: str, layer: int) -> NDArray[Any] | None: ...
