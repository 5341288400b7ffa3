"""class History: the record of a training run, while it runs and after."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(eq=False, repr=False)
class History:
    """The record of a training run.

    Attributes
    ----------
    loss : ndarray of shape (n_iterations,)
        Each batch's loss before its update; with LBFGS that of all samples after it.
    lr : ndarray of shape (n_iterations,), or None
        Each update's learning rate, with a schedule.
    epoch_ends : list of int
        Iterations done at each record of the lists below: at the end of every epoch, and of the run. Kept when there
        is something to record, or a callback.
    epoch_loss : list of float
        The mean loss of each of these epochs: each batch's counts by its samples, or by the sum of their weights.
    train_accuracy, test_accuracy : list of float
        Fractions, one an epoch; with validation_data and targets that stand for classes.
    train_loss, test_loss : list of float
        Losses over the whole sets, one an epoch; with validation_data and other targets.
    metrics : dict of str to list of float
        Other metrics that fit was asked for, by names such as "test_top_5", one an epoch.
    best_epoch : int or None
        The epoch, counting from 1, that early stopping found best.
    watched : str or None
        What early stopping, or else a schedule, follows: the name of a list such as "test_accuracy", or "epoch_loss".
    held_out : str
        What tables call the data of the lists test_...: "test", or "validation".
    epochs : int
        Epochs begun.
    seconds : float
        Spent in training; evaluations included, and in a resumed run what was spent before.
    train_seconds : float
        Spent in updates only.
    n_threads : int
        Threads used; with "auto", those found fastest in the end.
    density : float or None
        Fraction of non-zeros in X when its rows were compressed, which is chosen where it is faster; else None.
    interrupted : bool
        Whether Ctrl-C ended it.
    ended : str
        What ended it before its last iteration, in words: early stopping with what it went by, a callback or Ctrl-C.
    error : Exception or None
        What ended it, in a population trained by fit_many.
    """

    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    lr: NDArray[np.float64] | None = None
    epoch_ends: list[int] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None
    watched: str | None = None
    held_out: str = "test"
    epochs: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    n_threads: int = 1
    density: float | None = None
    interrupted: bool = False
    ended: str = ""
    error: Exception | None = None

    def __repr__(self) -> str:
        parts = [f"{self.iterations:,} iterations", f"{self.epochs:,} epochs"]
        if self.iterations:
            parts.append(f"loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}")
        parts += [f"{self.named(name)} {values[-1]:.4g}" for name, values in self.epoch_columns().items()]
        parts += [f"ended by {self.ended}"] if self.ended else []
        parts += [f"error={self.error!r}"] if self.error is not None else []
        return f"History({', '.join(parts)})"

    @property
    def iterations(self) -> int:
        """Number of updates."""
        return len(self.loss)

    def column(self, name: str) -> list[float]:
        """Return the list by epoch of this name, empty at first."""
        known = name in ("epoch_loss", "train_accuracy", "test_accuracy", "train_loss", "test_loss")
        values: list[float] = getattr(self, name) if known else self.metrics.setdefault(name, [])
        return values

    @property
    def held_out_label(self) -> str:
        """The name that pictures and messages give the held-out data: data that decide are no test."""
        return "validation" if (self.watched or "").startswith("test_") else self.held_out

    @property
    def watched_label(self) -> str:
        """The name of the metric that is watched, in words."""
        data, _, metric = (self.watched or "epoch_loss").partition("_")
        name = {"train": "training", "test": self.held_out_label, "epoch": "training"}[data]
        return f"{name} {metric}"

    def named(self, column: str) -> str:
        """Return the name of a list by epoch in tables."""
        data, _, metric = column.partition("_")
        return f"{self.held_out}_{metric}" if data == "test" else column

    def epoch_columns(self) -> dict[str, list[float]]:
        """Return the lists by epoch that were recorded, by name."""
        names = ("train_accuracy", "test_accuracy", "train_loss", "test_loss", *self.metrics)
        return {name: self.column(name) for name in names if self.column(name)}

    def to_csv(self) -> str:
        """Return one line an iteration; what is recorded by epoch stands in the line of the epoch's last iteration."""
        columns = self.epoch_columns()
        rows = dict(zip(self.epoch_ends, zip(*columns.values(), strict=True), strict=True)) if columns else {}
        blank = "," * len(columns)
        names = ("iteration", "loss") if self.lr is None else ("iteration", "loss", "lr")
        rates = [""] * self.iterations if self.lr is None else [f",{lr:.9g}" for lr in self.lr]
        lines = [",".join((*names, *map(self.named, columns)))]
        for i, (loss, rate) in enumerate(zip(self.loss, rates, strict=True), start=1):
            tail = "".join(f",{value:.6g}" for value in rows[i]) if i in rows else blank
            lines.append(f"{i},{loss:.9g}{rate}{tail}")
        return "\n".join(lines) + "\n"

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row an iteration.

        Returns
        -------
        pandas.DataFrame
            Its index is the iteration, from 1; columns loss, lr if there was a schedule, and those recorded by epoch,
            NaN but in the epoch's last iteration.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> History(loss=np.array([3.0, 2.0]), epoch_ends=[2], test_accuracy=[0.5]).to_frame()
                   loss  test_accuracy
        iteration
        1           3.0            NaN
        2           2.0            0.5
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("History.to_frame needs pandas, which is not installed: pip install pandas") from None
        index = pd.RangeIndex(1, self.iterations + 1, name="iteration")
        columns = {"loss": self.loss} if self.lr is None else {"loss": self.loss, "lr": self.lr}
        frame = pd.DataFrame({name: np.array(values) for name, values in columns.items()}, index=index)
        for name, values in self.epoch_columns().items():
            frame[self.named(name)] = pd.Series(values, index=self.epoch_ends)
        return frame

    def plot(self) -> "Figure":
        """Draw the loss of every iteration and, if anything was recorded by epoch, that beside it.

        Returns
        -------
        matplotlib.figure.Figure
            As plotting.plot_curves, a new one.

        Examples
        --------
        >>> len(History(loss=np.array([3.0, 2.0])).plot().axes)
        1
        """
        from nncore import plotting

        return plotting.plot_curves(self)
