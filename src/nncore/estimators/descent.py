"""scikit-learn's solvers "sgd" and "adam" as optimizers of the engine."""

from typing import Any

import numpy as np

from nncore.estimators.settings import Settings
from nncore.training.update_rule import Optimizer, Rule


class Descent(Optimizer):
    """The rule of a solver, its rate by now, and its state for so many parameters."""

    def __init__(self, estimator: Settings, n_params: int, dtype: "np.dtype[Any]") -> None:
        super().__init__(estimator.learning_rate_init, 0.0)
        if estimator.solver == "adam":
            self.settings = self._numbers("adam_hat", estimator.beta_1, estimator.beta_2, estimator.epsilon)
        else:
            kind = "nesterov" if estimator.nesterovs_momentum else "momentum"
            self.settings = self._numbers(kind if estimator.momentum else "sgd", estimator.momentum)
        self.state = self._state(n_params, dtype)

    def _rule(self) -> Rule:
        return self.settings

    @property
    def learning_rate(self) -> float:
        """The rate, by scikit-learn's name."""
        return self.lr

    @learning_rate.setter
    def learning_rate(self, lr: float) -> None:
        """The engine's velocities are sums of gradients, scikit-learn's of steps: those stay as they are."""
        self.state.vectors *= self.lr / lr
        self.lr = lr
