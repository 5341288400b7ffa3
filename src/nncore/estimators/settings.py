"""The parameters that MLPClassifier and MLPRegressor share, and their checks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from nncore.core import checks, notices
from nncore.estimators.versions import CallbackSupportMixin
from nncore.functions.kinds import ACTIVATION_PARAMS, HIDDEN, OTHER_ACTIVATIONS

SOLVERS = ("lbfgs", "sgd", "adam")
SCHEDULES = ("constant", "invscaling", "adaptive")
# scikit-learn's names beside the engine's
HIDDEN_ACTIVATIONS = [*OTHER_ACTIVATIONS, *HIDDEN]
BATCH_SIZE = 200  # of "auto"

CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "alpha": checks.non_negative_float,
    "learning_rate_init": checks.positive_float,
    "power_t": checks.non_negative_float,
    "max_iter": checks.positive_int,
    "tol": checks.non_negative_float,
    "validation_fraction": checks.fraction,
    "beta_1": checks.fraction,
    "beta_2": checks.fraction,
    "epsilon": checks.positive_float,
    "max_fun": checks.positive_int,
    "momentum": checks.closed_fraction,
}
FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


@dataclass(eq=False, repr=False)
class Settings(CallbackSupportMixin, BaseEstimator):
    """The parameters of both estimators, as MLPClassifier describes them."""

    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    max_fun: int = 15000
    dropout: float | Sequence[float] = 0.0
    scoring: Any = None
    callbacks: Sequence[Callable[[Any], Any]] = ()
    dtype: Any = "auto"
    n_threads: int | str = "auto"

    def _check_settings(self) -> None:
        """Refuse a parameter that is out of its range."""
        for name, check in CHECKS.items():
            check(getattr(self, name), name)
        for name in FLAGS:
            checks.switch(getattr(self, name), name)
        checks.choice(self.solver, "solver", SOLVERS)
        checks.choice(self.learning_rate, "learning_rate", SCHEDULES)
        for name, other in (("batch_size", "auto"), ("n_iter_no_change", math.inf), ("n_threads", "auto")):
            if getattr(self, name) != other:
                checks.positive_int(getattr(self, name), name)
        if not self._follows_dtype():
            checks.float_type(self.dtype)
        checks.callables(self.callbacks, "callbacks")
        if self.scoring is not None:
            check_scoring(self, scoring=self.scoring)
        if self.solver == "lbfgs" and any(rate for *_, rate in self._hidden()):
            raise ValueError(f"dropout is {self.dropout}, expected 0 with solver='lbfgs', whose loss must not change")

    def _hidden(self) -> list[tuple[int, str, float]]:
        """Size, activation and dropout of each hidden layer."""
        sizes = [self.hidden_layer_sizes] if np.ndim(self.hidden_layer_sizes) == 0 else list(self.hidden_layer_sizes)
        sizes = [checks.positive_int(size, f"hidden_layer_sizes[{i}]") for i, size in enumerate(sizes)]
        names = _by_layer(self.activation, "activation", len(sizes))
        rates = _by_layer(self.dropout, "dropout", len(sizes))
        for name in names:
            checks.named(name, "activation", HIDDEN_ACTIVATIONS, ACTIVATION_PARAMS)
        rates = [checks.fraction(rate, "dropout") for rate in rates]
        return list(zip(sizes, [OTHER_ACTIVATIONS.get(name, name) for name in names], rates, strict=True))

    def _follows_dtype(self) -> bool:
        """Return whether the float type is that of X."""
        return isinstance(self.dtype, str) and self.dtype == "auto"

    def _samples_a_step(self, n: int) -> int:
        """The samples of an update, where there are n."""
        if self.batch_size == "auto":
            return min(BATCH_SIZE, n)
        batch_size = int(self.batch_size)
        if batch_size > n:
            notices.warn(f"batch_size is {batch_size}, which is more than the {n} samples there are")
        return min(batch_size, n)


def _by_layer(value: Any, name: str, n_layers: int) -> list[Any]:
    """One value for all hidden layers, or one for each."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value] * n_layers
    if len(value) != n_layers:
        raise ValueError(f"{name} has {len(value)} values, expected one, or one for each of {n_layers} hidden layers")
    return list(value)
