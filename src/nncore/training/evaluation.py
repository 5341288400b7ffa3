"""Metrics that are measured after every epoch.

A metric is "accuracy", "top_k" (such as "top_5": the fraction whose class is among the k largest outputs), "loss",
"mse", "r2" or "auc" (scikit-learn's roc_auc_score, the mean over classes of one against the rest), or a function of
the targets and the network's outputs that returns a number. It is measured on the validation data; "train_" before the
name asks for the training data instead, which cost as many predictions.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.data.samples import is_one_hot
from nncore.model import passes
from nncore.model.model import Model
from nncore.training import scoring
from nncore.training.metrics import auc, every_class, mse, r2, top_k

Array = NDArray[Any]
Pair = tuple[Any, Array]  # rows and targets as the engine takes them
Function = Callable[[Any, Any], float]
NAMES = ("accuracy", "top_<k>", "loss", "mse", "r2", "auc")
LESS_IS_BETTER = ("loss", "mse")
OF_CLASSES = ("accuracy", "top", "auc")


@dataclass
class Metric:
    """One column of the history: of which data, by what."""

    column: str
    data: str  # "train" or "test"
    kind: str  # "accuracy", "top", ..., or "function"
    k: int = 1
    function: Function | None = None

    def less_is_better(self, mode: str) -> bool:
        """Return whether less is better, by its kind or as the mode says."""
        if mode == "auto" and self.function is not None:
            name = self.column.removeprefix("test_")
            raise ValueError(f"mode is 'auto', expected 'min' or 'max' for the function {name}")
        return mode == "min" or (mode == "auto" and self.kind in LESS_IS_BETTER)


def parsed(value: Any) -> Metric:
    """Return the metric of a name or function."""
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

    def __init__(self, net: Model, train: Pair, test: Pair | None, names: Iterable[Any] | None) -> None:
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
        if metric.kind == "auc" and not every_class(targets, self.net.n_out):
            raise ValueError("a metric is 'auc', expected samples of every class")
        return self.metrics.setdefault(metric.column, metric)

    def watched(self, value: Any, mode: str) -> tuple[str, float]:
        """Return the column that early stopping or a schedule follows, and its sign."""
        if value is not None:
            metric = self.add(value)
        elif not self.metrics:
            return "epoch_loss", 1.0
        else:
            every = list(self.metrics.values())
            metric = next((one for one in every if one.data == "test"), every[0])
        return metric.column, 1.0 if metric.less_is_better(mode) else -1.0

    def _are_classes(self, data: str, *, single: bool = False) -> bool:
        """Return whether the targets are labels or one-hot rows; single: also one column of zeros and ones."""
        targets = self.data[data][1]
        if targets.ndim == 1:
            return True
        if (data, single) not in self._classes:
            self._classes[data, single] = is_one_hot(targets, single=single)
        return self._classes[data, single]

    def __call__(self, n_threads: int = 1) -> dict[str, float]:
        """Return all of them as they are now, by column."""
        outputs: dict[str, Array] = {}
        return {column: self._value(metric, outputs, n_threads) for column, metric in self.metrics.items()}

    def _value(self, metric: Metric, known: dict[str, Array], n_threads: int) -> float:
        rows, targets = self.data[metric.data]
        if metric.kind == "accuracy":
            return scoring.mean_accuracy(self.net, rows, targets, n_threads=n_threads)
        if metric.kind == "loss":
            return passes.loss(self.net, rows, targets, n_threads=n_threads)
        if metric.data not in known:
            known[metric.data] = passes.outputs(self.net, rows, None, n_threads)
        outputs = known[metric.data]
        if metric.function is not None:
            return float(metric.function(targets, outputs))
        if np.isnan(outputs).any():
            return math.nan
        if metric.kind == "top":
            return top_k(targets, outputs, metric.k)
        if metric.kind == "auc":
            return auc(targets, passes.probabilities(self.net, outputs) if self.net.is_classifier else outputs)
        return mse(targets, outputs) if metric.kind == "mse" else r2(targets, outputs)
