"""class EarlyStopping: when a training ends before its epochs do."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nncore.core import checks
from nncore.core.settings import Checked
from nncore.training.schedules import mode_of

Function = Callable[[Any, Any], float]


class EarlyStopping:
    """End a training when a metric has not improved for patience epochs in a row, and take the best parameters.

    Parameters
    ----------
    metric : str or callable, optional
        As one of fit's metrics. By default the first of them; without validation_data the loss of the epoch, in which
        batches count by their samples. A value that is not finite is never better than another.
    patience : int
        Epochs, 1 or more.
    min_delta : float
        0 or more: only what is better than the best so far by more than it counts as an improvement.
    restore_best : bool
        In the end, also after Ctrl-C, the network gets the parameters it had after the best epoch; False leaves the
        last ones.
    mode : {"auto", "min", "max"}
        Whether less or more of the metric is better; "auto" knows it for metrics with a name.

    Raises
    ------
    TypeError, ValueError
        If a setting is not as described.

    Examples
    --------
    >>> from nncore import SGD, Layer, NeuralNetwork, load_digits
    >>> (x, t), test = load_digits()
    >>> net = NeuralNetwork([Layer(64, 32, "relu", init="he"), Layer(32, 10)], loss="softmax_cross_entropy", rng=0)
    >>> stopping = EarlyStopping("loss", patience=3)
    >>> history = net.fit(
    ...     x, t, optimizer=SGD(0.5), epochs=500, validation_data=test, early_stopping=stopping, rng=0, progress=False
    ... )
    >>> history.epochs - history.best_epoch
    3
    """

    patience = Checked(checks.positive_int)
    min_delta = Checked(checks.non_negative_float)
    restore_best = Checked(checks.switch)
    mode = Checked(mode_of)

    def __init__(
        self,
        metric: str | Function | None = None,
        patience: int = 10,
        *,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        self.metric, self.patience, self.min_delta = metric, patience, min_delta
        self.restore_best, self.mode = restore_best, mode

    def __repr__(self) -> str:
        return f"EarlyStopping({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def early_stopping(value: Any) -> EarlyStopping | None:
    """Return what fit was given as an EarlyStopping: a number is the patience."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"early_stopping is {value!r}, expected a number of epochs, an EarlyStopping or None")
    return EarlyStopping(patience=checks.positive_int(value, "early_stopping"))
