"""The end of an epoch: metrics, the schedule that follows one of them, early stopping, callbacks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.model.model import Model
from nncore.training.early_stopping import EarlyStopping
from nncore.training.evaluation import Evaluation
from nncore.training.history import History
from nncore.training.schedules import Schedule, follower_of


class EpochEnd:
    """All that one run does after every epoch.

    Attributes
    ----------
    needed : bool
        Whether there is anything to do.
    settled : bool
        False while an epoch is half recorded, which only Ctrl-C can leave behind.
    best : float
        The metric of early stopping after the best epoch, turned so that less is better.
    waited : int
        Epochs since then.
    best_network : pair of ndarray, or None
        The parameters and running moments then, if they will be restored.
    """

    def __init__(
        self,
        net: Model,
        history: History,
        evaluation: Evaluation,
        schedule: Schedule | None,
        stopping: EarlyStopping | None,
        callbacks: Sequence[Callable[[History], Any]],
    ) -> None:
        self.net, self.history, self.evaluation, self.callbacks = net, history, evaluation, callbacks
        self.follower, self.stopping = follower_of(schedule), stopping
        # the columns they follow, and the signs that turn them so that less is better
        self.followed = evaluation.watched(self.follower.metric, self.follower.mode) if self.follower else None
        self.watched = evaluation.watched(stopping.metric, stopping.mode) if stopping else None
        history.watched = next((followed[0] for followed in (self.watched, self.followed) if followed), None)
        self.needed = bool(evaluation.metrics or callbacks or self.follower or stopping)
        self.settled = True
        self.best, self.waited = np.inf, 0
        self.best_network: tuple[NDArray[Any], NDArray[Any]] | None = None

    @property
    def recorded(self) -> bool:
        """Return whether the epoch that ends here has been recorded."""
        ends = self.history.epoch_ends
        return bool(ends) and ends[-1] == self.history.iterations

    @property
    def stops(self) -> bool:
        """Return whether early stopping ends the run."""
        return self.stopping is not None and self.waited >= self.stopping.patience

    def record(self, shares: NDArray[Any] | None = None) -> None:
        """Measure, and note what follows from it; shares: what each batch's loss counts in that of the epoch."""
        if not self.needed:
            return
        values = {}
        if self.evaluation.metrics:
            with self.net.core.pause():
                values = self.evaluation(self.history.n_threads)
        self.settled = False
        self._note(values, shares)
        self.settled = True

    def call_back(self) -> bool:
        """Call all callbacks; returns whether one ends the run."""
        with self.net.core.pause():
            stops = [callback(self.history) is True for callback in self.callbacks]
        return any(stops)

    def _note(self, values: dict[str, float], shares: NDArray[Any] | None) -> None:
        history = self.history
        losses = history.loss[history.epoch_ends[-1] if history.epoch_ends else 0 :]
        history.epoch_ends.append(history.iterations)
        if shares is None or not shares.any():
            shares = np.ones(len(losses))
        losses = losses[-len(shares) :]  # epochs before may have gone by without a record
        values = {**values, "epoch_loss": float(losses @ shares / shares.sum())}
        for column, value in values.items():
            history.column(column).append(value)
        if self.follower and self.followed:
            value = values[self.followed[0]]
            # PyTorch's follower takes an infinite metric for better than none: it tells as little as NaN
            turned = self.followed[1] * value if np.isfinite(value) else np.nan
            self.follower.observe(turned, self.followed[1])
        if self.stopping and self.watched:
            self._compare(self.watched[1] * values[self.watched[0]], self.stopping)

    def _compare(self, value: float, stopping: EarlyStopping) -> None:
        self.waited += 1
        if np.isfinite(value) and self.best - value > stopping.min_delta:
            self.best, self.waited, self.history.best_epoch = value, 0, len(self.history.epoch_ends)
            core = self.net.core
            self.best_network = (core.params.copy(), core.moments.copy()) if stopping.restore_best else None

    def why_stopped(self) -> str:
        """Say what early stopping went by: a metric that never changed, or never was a number, told nothing."""
        history, values = self.history, np.array(self.history.column(self.history.watched or "epoch_loss"))
        if not np.isfinite(values).any():
            return f"early stopping: {history.watched_label} was not finite in any of {len(values)} epochs"
        if len(values) > 1 and (values == values[0]).all():
            return f"early stopping: {history.watched_label} was {values[0]:g} in all {len(values)} epochs"
        return f"early stopping: {history.watched_label} was best in epoch {history.best_epoch} of {len(values)}"

    def restore_best(self) -> None:
        """Give the network its best parameters."""
        if self.best_network is not None:
            self.net.core.params[:], self.net.core.moments[:] = self.best_network
