"""What is measured after every epoch, and early stopping by it.

A metric is "accuracy", "top_k" (such as "top_5": the fraction whose class is among the k largest outputs), "loss",
"mse", "r2" or "auc" (scikit-learn's roc_auc_score, the mean over classes of one against the rest), or a function of
the targets and the network's outputs that returns a number. It is measured on the validation data; "train_" before the
name asks for the training data instead, which cost as many predictions.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _checks
from nncore._data import is_one_hot
from nncore._settings import Checked
from nncore.schedules import mode_of

if TYPE_CHECKING:
    from nncore.network import NeuralNetwork

Array = NDArray[Any]
Pair = tuple[Any, Array]  # rows and targets as the engine takes them
Function = Callable[[Any, Any], float]
NAMES = ("accuracy", "top_<k>", "loss", "mse", "r2", "auc")
LESS_IS_BETTER = ("loss", "mse")
OF_CLASSES = ("accuracy", "top", "auc")


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

    patience = Checked(_checks.positive_int)
    min_delta = Checked(_checks.non_negative_float)
    restore_best = Checked(_checks.switch)
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
    """As fit takes it: a number is the patience."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"early_stopping is {value!r}, expected a number of epochs, an EarlyStopping or None")
    return EarlyStopping(patience=_checks.positive_int(value, "early_stopping"))


@dataclass
class Metric:
    """One column of the history: of which data, by what."""

    column: str
    data: str  # "train" or "test"
    kind: str  # "accuracy", "top", ..., or "function"
    k: int = 1
    function: Function | None = None

    def less_is_better(self, mode: str) -> bool:
        """By its kind, or as the mode says."""
        if mode == "auto" and self.function is not None:
            name = self.column.removeprefix("test_")
            raise ValueError(f"mode is 'auto', expected 'min' or 'max' for the function {name}")
        return mode == "min" or (mode == "auto" and self.kind in LESS_IS_BETTER)


def parsed(value: Any) -> Metric:
    """A metric from its name or function."""
    if callable(value):
        return Metric(f"test_{getattr(value, '__name__', type(value).__name__)}", "test", "function", function=value)
    if isinstance(value, str):
        data = "train" if value.startswith("train_") else "test"
        name = value.removeprefix(f"{data}_")
        k = re.fullmatch(r"top_([1-9]\d*)", name)
        if k:
            return Metric(f"{data}_{name}", data, "top", int(k[1]))
        if name in NAMES:
            return Metric(f"{data}_{name}", data, name)
    raise ValueError(f"a metric is {value!r}, expected a function or one of {', '.join(map(repr, NAMES))}")


class Evaluation:
    """The metrics of a run: checked first, computed after every epoch."""

    def __init__(self, net: "NeuralNetwork", train: Pair, test: Pair | None, names: Iterable[Any] | None) -> None:
        self.net = net
        self.data = {"train": train} if test is None else {"train": train, "test": test}
        self._classes: dict[tuple[str, bool], bool] = {}
        self.metrics: dict[str, Metric] = {}
        if names is not None:
            if isinstance(names, str) or not isinstance(names, Iterable):
                raise TypeError(f"metrics is {names!r}, expected a list of names and functions")
            for name in names:
                self.add(name)
        elif test is not None:
            classes = all(self._are_classes(data, single=net.is_classifier) for data in self.data)
            kind = "accuracy" if classes else "loss"
            for data in ("train", "test"):
                self.add(f"{data}_{kind}")

    def add(self, value: Any) -> Metric:
        """Measure this as well."""
        metric = parsed(value)
        if metric.data not in self.data:
            raise ValueError(
                f"a metric is {value!r} and there is no validation_data, expected it, or a name such as 'train_loss'"
            )
        rows, targets = self.data[metric.data]
        if metric.kind == "top" and not metric.k <= self.net.n_out:
            raise ValueError(f"a metric is {value!r}, expected at most top_{self.net.n_out}, the number of outputs")
        if metric.kind in OF_CLASSES and not self._are_classes(metric.data, single=metric.kind != "top"):
            raise ValueError(f"a metric is {value!r}, expected targets that stand for classes")
        if metric.kind in ("mse", "r2") and targets.ndim == 1:
            raise ValueError(f"a metric is {value!r}, expected targets of shape ({len(rows)}, {self.net.n_out})")
        if metric.kind == "auc" and not _every_class(targets, self.net.n_out):
            raise ValueError("a metric is 'auc', expected samples of every class")
        return self.metrics.setdefault(metric.column, metric)

    def watched(self, value: Any, mode: str) -> tuple[str, float]:
        """The column that early stopping or a schedule follows, and its sign."""
        if value is not None:
            metric = self.add(value)
        elif not self.metrics:
            return "epoch_loss", 1.0
        else:
            every = list(self.metrics.values())
            metric = next((one for one in every if one.data == "test"), every[0])
        return metric.column, 1.0 if metric.less_is_better(mode) else -1.0

    def _are_classes(self, data: str, *, single: bool = False) -> bool:
        """Whether the targets are labels or one-hot rows; single: also one column of zeros and ones."""
        targets = self.data[data][1]
        if targets.ndim == 1:
            return True
        if (data, single) not in self._classes:
            self._classes[data, single] = is_one_hot(targets, single=single)
        return self._classes[data, single]

    def __call__(self, n_threads: int = 1) -> dict[str, float]:
        """All of them now, by column."""
        outputs: dict[str, Array] = {}
        return {column: self._value(metric, outputs, n_threads) for column, metric in self.metrics.items()}

    def _value(self, metric: Metric, known: dict[str, Array], n_threads: int) -> float:
        rows, targets = self.data[metric.data]
        if metric.kind == "accuracy":
            return self.net._accuracy(rows, targets, n_threads=n_threads)
        if metric.kind == "loss":
            return self.net._loss(rows, targets, n_threads=n_threads)
        if metric.data not in known:
            known[metric.data] = self.net._outputs(rows, None, n_threads)
        outputs = known[metric.data]
        if metric.function is not None:
            return float(metric.function(targets, outputs))
        if np.isnan(outputs).any():
            return math.nan
        if metric.kind == "top":
            return top_k(targets, outputs, metric.k)
        if metric.kind == "auc":
            return auc(targets, self.net._probabilities(outputs) if self.net.is_classifier else outputs)
        return mse(targets, outputs) if metric.kind == "mse" else r2(targets, outputs)


def accuracy(y_pred: ArrayLike, y_true: ArrayLike) -> float:
    """Return the fraction of right classes among predictions.

    Parameters
    ----------
    y_pred, y_true : array_like
        Labels (n_samples,) or (n_samples, 1); or one row of scores (or one-hot) a sample, whose largest is the class;
        of a single score a sample, above 0.5 is class 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the numbers of samples differ, there is none, or a NaN among them.

    Examples
    --------
    >>> accuracy([[0.9, 0.1], [0.2, 0.8]], [0, 0])
    0.5
    """
    for values, name in ((y_pred, "y_pred"), (y_true, "y_true")):
        array = np.asarray(values)
        if array.dtype.kind == "f" and np.isnan(array).any():
            index = ", ".join(map(str, np.argwhere(np.isnan(array))[0]))
            raise ValueError(f"{name}[{index}] is nan, expected numbers: nan is of no class")
    predicted, true = map(classes, (y_pred, y_true))
    if predicted.shape != true.shape or predicted.ndim != 1 or predicted.size == 0:
        raise ValueError(
            f"y_pred has shape {np.shape(y_pred)} and y_true {np.shape(y_true)}, "
            f"expected labels or rows of scores of the same number of samples"
        )
    return float(np.mean(predicted == true))


def classes(y: ArrayLike) -> Array:
    """Labels, from labels or scores."""
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0] if array.dtype.kind in "iub" else (array[:, 0] > 0.5).astype(int)
    return array.argmax(axis=1) if array.ndim == 2 else array


def top_k(targets: Array, outputs: Array, k: int) -> float:
    """The fraction of samples with fewer than k outputs above that of the true class."""
    labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
    true = np.take_along_axis(outputs, labels[:, np.newaxis], axis=1)
    return float(np.mean((outputs > true).sum(axis=1) < k))


def mse(targets: Array, outputs: Array) -> float:
    """The mean of the squared differences."""
    return float(np.mean((targets - outputs.astype(np.float64)) ** 2))


def r2(targets: Array, outputs: Array) -> float:
    """1 - sum((t - y)**2) / sum((t - mean(t))**2), the mean over columns; scikit-learn's r2_score."""
    from sklearn.metrics import r2_score

    return float(r2_score(targets, outputs))


def auc(targets: Array, scores: Array) -> float:
    """The area under the ROC curve; of several classes the mean over each against the rest."""
    from sklearn.metrics import roc_auc_score

    if scores.shape[1] > 1 and targets.ndim == 1:
        targets = np.eye(scores.shape[1], dtype=bool)[targets]
    return float(roc_auc_score(targets, scores))


def _every_class(targets: Array, n_out: int) -> bool:
    counts = np.bincount(targets, minlength=n_out) if targets.ndim == 1 else targets.sum(axis=0, dtype=np.float64)
    return bool(((counts > 0) & (counts < len(targets))).all())
