"""How good a network's predictions are: accuracy of inputs or, as in the articles, of predictions; evaluate."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.data import batches
from nncore.data.samples import is_one_hot, zero_one
from nncore.functions import kinds
from nncore.model import passes
from nncore.model.model import Model
from nncore.training import metrics

Array = NDArray[Any]
WAYS = "net.score(X, y) for inputs, nncore.metrics.accuracy(y_pred, y_true) for predictions"


class Accuracy:
    """The method accuracy of a network; of the class itself, metrics.accuracy."""

    def __get__(self, net: Model | None, owner: type) -> Callable[..., float]:
        if net is None:
            return metrics.accuracy

        def accuracy(x: ArrayLike | None = None, t: ArrayLike | None = None, **predictions: ArrayLike) -> float:
            """Return the fraction of right classes.

            Parameters
            ----------
            x : array_like of shape (n_samples, n_in) or (n_in,)
                Inputs. Predictions of this network (labels, or rows as predict yields them), as in the articles'
                ``net.accuracy(net.predict(X), y)``, are told from inputs by shape and values; logits of class 1 count
                from 0 on then.
            t : array_like
                Labels, or one-hot rows.
            **predictions : array_like
                y_pred and y_true, by name, are predictions in any case.

            Returns
            -------
            float

            Raises
            ------
            ValueError
                If x may be inputs as well as predictions.
            """
            if predictions:
                if x is not None or t is not None or set(predictions) != {"y_pred", "y_true"}:
                    raise TypeError(f"accuracy got {', '.join(predictions)}, expected x and t, or y_pred and y_true")
                return of_predictions(net, np.asarray(predictions["y_pred"]), predictions["y_true"])
            if x is None or t is None:
                raise TypeError("accuracy got one argument, expected x and t")
            array = x if hasattr(x, "shape") else np.asarray(x)
            if is_predictions(net, array, np.asarray(t)):
                return of_predictions(net, np.asarray(array), t)
            rows, targets, _ = batches.batch(net, x, t, sparse=True)
            return mean_accuracy(net, rows, targets)

        return accuracy


def is_predictions(net: Model, x: Any, t: Array) -> bool:
    """Return whether x is a prediction of this network, and not its input.

    Raises
    ------
    ValueError
        If it may be either.
    """
    n_in, n_out, shape, whole = net.n_in, net.n_out, tuple(x.shape), x.dtype.kind in "iub"
    if 0 in shape:
        return False
    if net.last_prediction is not None and net.last_prediction() is x:
        return True
    if len(shape) == 1:
        sample = shape == (n_in,) and (t.ndim == 0 or t.shape in ((1,), (n_out,)))
        if not (sample and whole and t.shape == shape):  # one sample with its row of targets, or labels with labels
            return not sample
    elif len(shape) != 2 or shape[1] not in (1, n_out) or not isinstance(x, np.ndarray):
        return False
    elif shape[1] != n_in:
        return True
    elif (shape[1] != n_out and not whole) or not could_be_outputs(net, x):
        return False
    elif not kinds.activation(net.layers[-1].activation_name).elementwise and len(x) > 1:  # rows that sum to 1
        return True
    raise ValueError(
        f"x has shape {shape} and may be inputs or predictions of this network, expected one of the two: use {WAYS}"
    )


def could_be_outputs(net: Model, x: Array) -> bool:
    """Return whether the values may be labels or what the last layer yields."""
    if x.dtype.kind in "iub" and not (x.min() >= 0 and x.max() < max(net.n_out, 2)):
        return False
    last = kinds.activation(net.layers[-1].activation_name)
    low, high = last.bounds
    if not (x.min() >= low and x.max() <= high):
        return False
    return last.elementwise or bool(np.allclose(x.sum(axis=1), 1, atol=1e-3))


def of_predictions(net: Model, y_pred: Array, y_true: ArrayLike) -> float:
    """Return the accuracy of labels or outputs; of one output a sample the cut is that of the network's loss."""
    logits = scores(net, np.zeros(1))[0] == 0.5  # what a network without an opinion yields is 0, not 0.5
    column = y_pred.dtype.kind == "f" and y_pred.ndim == 2 and y_pred.shape[1] == 1
    if not (column and logits and net.n_out == 1):
        return metrics.accuracy(y_pred, y_true)
    may_be_either = y_pred.size > 0 and kinds.loss(net.loss_kind).link == "sigmoid"
    if may_be_either and y_pred.min() >= 0 and y_pred.max() <= 1 and ((y_pred > 0) != (y_pred > 0.5)).any():
        raise ValueError(
            f"y_pred has values from {y_pred.min():.3g} to {y_pred.max():.3g}, which may be probabilities, while this "
            f"network predicts logits, expected one of the two: use {WAYS}, with y_pred > 0.5 of probabilities"
        )
    return metrics.accuracy((y_pred > 0).astype(int), y_true)


def of_outputs(net: Model, outputs: Array, targets: Array) -> float:
    """Return the accuracy of outputs, with targets as the engine takes them; NaN of outputs that are no numbers."""
    if np.isnan(outputs).any():
        return math.nan
    return metrics.accuracy(scores(net, outputs), zero_one(targets, net.loss_kind))


def mean_accuracy(net: Model, rows: Array, targets: Array, *, n_threads: int = 1) -> float:
    """Return the accuracy for samples that are checked."""

    def accuracy(part: Array, at: slice) -> float:
        return of_outputs(net, passes.outputs(net, part, None, n_threads), targets[at])

    return passes.mean(rows, accuracy)


def scores(net: Model, outputs: Array) -> Array:
    """Return outputs such that a single one means class 1 above 0.5."""
    loss = kinds.loss(net.loss_kind)
    if loss.margin:
        return outputs + 0.5
    return passes.probabilities(net, outputs) if loss.link == "sigmoid" else outputs


def evaluate(net: Model, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> dict[str, float]:
    """NeuralNetwork.evaluate, which says what it returns."""
    rows, targets, _ = batches.batch(net, X, y, "X", "y", sparse=True, weights=sample_weight)
    weights = batches.weights_for(net, sample_weight, len(rows))
    loss, outputs = passes.loss(net, rows, targets, weights), passes.outputs(net, rows)
    known = not np.isnan(outputs).any()
    classes = zero_one(targets, net.loss_kind)
    if weights is not None and weights.ndim == 2 and targets.ndim == 2:
        classes = np.where(weights == 0, 0, classes)
    if _one_class_a_sample(net, classes, weights):
        true = metrics.classes(classes)
        right = metrics.classes(scores(net, outputs)) == true if known else true
        if weights is not None and weights.ndim == 2:
            weights = np.take_along_axis(weights, true[:, np.newaxis], axis=1)[:, 0]
    elif net.is_classifier or kinds.loss(net.loss_kind).margin:  # several labels a sample
        right = (scores(net, outputs) > 0.5) == (classes > 0.5)
    else:
        return {"loss": loss, **_of_numbers(net, outputs, targets, weights)}
    return {"loss": loss, "accuracy": _average(right, weights) if known else math.nan}


def _one_class_a_sample(net: Model, classes: Array, weights: Array | None) -> bool:
    """Return whether a sample has one class, and not several labels, or numbers, each with a weight of its own."""
    if classes.ndim == 1 or kinds.loss(net.loss_kind).exclusive:
        return True
    if weights is not None and weights.ndim == 2:
        return False
    return is_one_hot(classes, single=net.is_classifier or kinds.loss(net.loss_kind).margin)


def _of_numbers(net: Model, outputs: Array, targets: Array, weights: Array | None) -> dict[str, float]:
    """Return R², the mean over columns, and RMSE; Poisson's outputs are logarithms of means."""
    from sklearn.metrics import r2_score

    means = (np.exp(outputs) if kinds.loss(net.loss_kind).link == "exp" else outputs).astype(np.float64)
    rmse = math.sqrt(_average((targets - means) ** 2, weights))
    if len(targets) == 1 or not np.isfinite(means).all():
        return {"r2": math.nan, "rmse": rmse}
    weights = np.ones(len(targets)) if weights is None else weights
    by_column = np.broadcast_to(weights.reshape(len(targets), -1), targets.shape)
    seen = np.flatnonzero(by_column.any(axis=0))
    columns = [r2_score(targets[:, k], means[:, k], sample_weight=by_column[:, k]) for k in seen]
    return {"r2": float(np.mean(columns)), "rmse": rmse}


def _average(values: Array, weights: Array | None) -> float:
    """Return the mean over samples and columns, weighted by sample or by element; NaN where nothing counts."""
    if weights is not None and weights.ndim < values.ndim:
        weights = np.broadcast_to(weights[:, np.newaxis], values.shape)
    return float(np.average(values, weights=weights)) if weights is None or weights.any() else math.nan


class ScoredModel(Model):
    """A model that says how good its predictions are."""

    accuracy = Accuracy()

    def evaluate(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> dict[str, float]:
        """Return the loss, and how good the predictions are, by name.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        dict of float
            "loss", with the penalties, and "accuracy" where the targets stand for classes (of several labels a sample
            the fraction of right labels); "r2" and "rmse" where they are numbers, with "poisson" of the means,
            exp(output). All by the weights, if there is one a sample.

        Raises
        ------
        TypeError, ValueError
            As loss.

        Examples
        --------
        >>> from nncore import Layer, NeuralNetwork
        >>> net = NeuralNetwork([Layer(1, 1, weights=[[2.0]], bias=[0.0])])
        >>> net.evaluate([[1.0], [2.0], [3.0]], [2.0, 4.0, 7.0])
        {'loss': 0.16666666666666666, 'r2': 0.9210526315789473, 'rmse': 0.5773502691896257}
        """
        return evaluate(self, X, y, sample_weight)

    def score(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy where the targets stand for classes, else R².

        Parameters
        ----------
        X, y, sample_weight : array_like
            As X and t in loss.

        Returns
        -------
        float
            1 at best.

        Raises
        ------
        TypeError, ValueError
            As loss.
        """
        values = self.evaluate(X, y, sample_weight=sample_weight)
        return next(values[name] for name in ("accuracy", "r2") if name in values)
