"""The callbacks of an estimator: the parameter callbacks, and those of scikit-learn's set_callbacks."""

from typing import Any

from numpy.typing import NDArray

from nncore.estimators.settings import Settings

Array = NDArray[Any]


class Tasks:
    """The callbacks of one fit, called after every epoch."""

    def __init__(self, estimator: Settings, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.known = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.fit: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(**self.known)

    def begin(self) -> None:
        """An epoch begins."""
        if self.fit is not None and hasattr(self.estimator, "_skl_callbacks"):
            self.epoch = self.fit.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.known)

    def end(self) -> bool:
        """An epoch has ended; returns whether one of the callbacks ends training."""
        stops = [callback(self.estimator) is True for callback in self.estimator.callbacks]
        if self.epoch is not None:
            stops.append(self.epoch.call_on_fit_task_end(**self.known, reconstruction_attributes=self._copies))
        return any(stops)

    def close(self) -> None:
        """The fit has ended."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.known, reconstruction_attributes=self._copies)

    def _copies(self) -> dict[str, list[Array]]:
        """The parameters as they are now: training goes on changing them."""
        return {name: [a.copy() for a in getattr(self.estimator, name)] for name in ("coefs_", "intercepts_")}
