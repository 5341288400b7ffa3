"""How good predictions are: functions of targets and outputs."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


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
    """Return labels, from labels or scores."""
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0] if array.dtype.kind in "iub" else (array[:, 0] > 0.5).astype(int)
    return array.argmax(axis=1) if array.ndim == 2 else array


def top_k(targets: Array, outputs: Array, k: int) -> float:
    """Return the fraction of samples with fewer than k outputs above that of the true class."""
    labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
    true = np.take_along_axis(outputs, labels[:, np.newaxis], axis=1)
    return float(np.mean((outputs > true).sum(axis=1) < k))


def mse(targets: Array, outputs: Array) -> float:
    """Return the mean of the squared differences."""
    return float(np.mean((targets - outputs.astype(np.float64)) ** 2))


def r2(targets: Array, outputs: Array) -> float:
    """Return R², 1 - sum((t - y)**2) / sum((t - mean(t))**2), the mean over columns; scikit-learn's r2_score."""
    from sklearn.metrics import r2_score

    return float(r2_score(targets, outputs))


def auc(targets: Array, scores: Array) -> float:
    """Return the area under the ROC curve; of several classes the mean over each against the rest."""
    from sklearn.metrics import roc_auc_score

    if scores.shape[1] > 1 and targets.ndim == 1:
        targets = np.eye(scores.shape[1], dtype=bool)[targets]
    return float(roc_auc_score(targets, scores))


def every_class(targets: Array, n_out: int) -> bool:
    """Return whether every class has samples, and none has all."""
    counts = np.bincount(targets, minlength=n_out) if targets.ndim == 1 else targets.sum(axis=0, dtype=np.float64)
    return bool(((counts > 0) & (counts < len(targets))).all())
