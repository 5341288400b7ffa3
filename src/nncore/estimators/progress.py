"""How far the fit of an estimator has come: the attributes that its epochs and iterations read and write."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.data.samples import Data
from nncore.estimators.descent import Descent
from nncore.estimators.settings import Settings
from nncore.network import NeuralNetwork

Array = NDArray[Any]


class Progress(Settings):
    """The record of a fit, in scikit-learn's attributes, and how an estimator reports and judges it.

    Epochs and iterations of L-BFGS know no more of an estimator than this.
    """

    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    diverged_: bool
    _no_improvement_count: int
    _optimizer: Descent
    _least: float  # taken off the losses reported

    def _begin_anew(self) -> None:
        """Forget what was recorded."""
        self.n_iter_, self.t_ = 0, 0
        self.loss_curve_ = []
        self._no_improvement_count = 0
        self.best_loss_ = None
        self.best_validation_score_ = None
        self.validation_scores_ = None

    def _record(self, loss: float) -> None:
        """Record the loss of an epoch, or of an iteration of L-BFGS."""
        self.n_iter_ += 1
        self.loss_ = self._reported(loss)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")

    def _record_score(self, score: float) -> None:
        """Record the score of the validation samples after an epoch."""
        if self.validation_scores_ is None:
            self.validation_scores_ = []
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")

    def _reported(self, loss: float) -> float:
        """scikit-learn's loss from the engine's."""
        return loss

    def _divisor(self) -> int:
        """The number that scikit-learn divides a loss without penalty by where it reports it."""
        return 1

    def _least_losses(self, t: Array) -> Array | None:
        """The losses of perfect predictions, which scikit-learn takes off the engine's; None where they are 0."""
        return None

    def _far_from_targets(self, net: NeuralNetwork, data: Data, rows: NDArray[np.intp]) -> str:
        """A warning if predictions for samples trained on are far from targets that are not scaled; else empty."""
        return ""
