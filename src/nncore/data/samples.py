"""The data of a training: checked once, weighted by class, compressed where that is faster."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core import checks, mapped
from nncore.core.dispatch import network, sparse
from nncore.data import batches, inputs
from nncore.data.signature import Signature
from nncore.data.sparse_rows import SparseRows
from nncore.functions import domains, kinds

Array = NDArray[Any]
# Rows with fewer non-zeros are compressed; measured with 784-50: as fast as dense ones at 0.4, half the time at 0.2.
MAX_DENSITY = 0.3
MIN_FEATURES = 64
# Where the first layer's weights outgrow the second-level cache, dense rows win earlier: a batch of 784-1024-1024-10 on
# images took 12.5 ms dense and 19.0 compressed.
CACHED_BYTES = 2 << 20
UNCACHED = 0.2


class Data:
    """The data of one network, or of several with as many inputs and outputs: checked once, never copied for each."""

    def __init__(
        self,
        net: Signature,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None,
        sample_weight: ArrayLike | None,
        class_weight: Any = None,
    ) -> None:
        self._memory: list[object] = []
        # as they come
        rows, targets, _ = batches.batch(net, X, y, "X", "y", sparse=True, weights=sample_weight, kind=inputs.NUMBERS)
        self.kind = inputs.kind_of(X, rows, inputs.scale_with(net, inputs.BYTES))
        self.input_scale = inputs.scale_with(net, self.kind)
        inputs.warn_of_flags(rows, self.input_scale, "X")
        weights = checks.sample_weights(sample_weight, len(rows), net.n_out)
        self.x, self.t = self._held(rows), self._held(targets)
        self.weights = None if weights is None else self._held(weights)
        self.test = None
        if validation_data is not None:
            pair = checks.pair(validation_data, "validation_data")
            rows, targets, _ = batches.batch(net, *pair, "validation X", "validation y", sparse=True, kind=self.kind)
            self.test = self._held(rows), self._held(targets)
        # metrics are about the targets as they came
        self.true, self._fits = self.t, {net.loss_kind}
        if class_weight is not None:
            self._weigh(net, class_weight)
        net.expect_unweighted(self.weights)
        self._compressed: dict[float, Any] = {}

    def _held(self, array: Any) -> Any:
        """The same numbers, in memory that stays what and where it is as long as these data live."""
        if isinstance(array, SparseRows):
            return array
        self._memory.append(network.held_memory(array))
        return mapped.settled(array)

    def expect_for(self, net: Signature) -> None:
        """Refuse targets that the loss of this network does not take, as others of a population share them."""
        if net.loss_kind not in self._fits:
            domains.targets_for(net.loss_kind, self.true, "y", self.weights)
            if self.test is not None:
                domains.targets_for(net.loss_kind, self.test[1], "validation y")
            self._fits.add(net.loss_kind)

    def _weigh(self, net: Signature, class_weight: Any) -> None:
        """Weigh samples by their class, as torch.nn.CrossEntropyLoss(weight=...) does; soft targets by element."""
        targets = zero_one(self.t, net.loss_kind)
        labels, spread = _labels(targets), net.label_smoothing / net.n_out / (1 - net.label_smoothing)
        if self.weights is not None and self.weights.ndim == 2:
            raise ValueError(f"sample_weight has shape {self.weights.shape}, expected one a sample with class_weight")
        if labels is None and not kinds.loss(net.loss_kind).exclusive:
            raise ValueError("class_weight is given, expected None unless y has labels or one-hot rows")
        if labels is None:
            by_class = class_weights(class_weight, self.t.sum(axis=0, dtype=np.float64))
            with np.errstate(over="ignore"):
                self.t = (self.t * by_class + spread * (by_class - 1)).astype(self.t.dtype)
            checks.finite(self.t, "class_weight times y")
            return
        by_class = class_weights(class_weight, np.bincount(labels, minlength=max(net.n_out, 2)))
        weights = by_class[labels]
        if spread:  # the smoothed part of a target has the weights of the other classes
            if not weights.all():
                raise ValueError("class_weight is 0 for a class of y, expected numbers above 0 with label_smoothing")
            self.t = np.eye(net.n_out)[labels] + spread * (by_class / weights[:, np.newaxis] - 1)
        if self.weights is not None:
            weights = checks.multiplied(weights, self.weights, "class_weight")
        if not weights.any():
            raise ValueError("class_weight is 0 for every sample of weight above 0, expected some above 0")
        self.weights = checks.addable(weights, "class_weight")

    def rows(self, net: Signature, n_reads: int) -> Any:
        """The rows as they are, or CompressedRows where that is faster and it is worth the pass over them."""
        if not net.takes_sparse:
            if isinstance(self.x, SparseRows):
                raise ValueError("X is a sparse matrix, expected an array: the first layer has batch_norm")
            return self.x
        limit = MAX_DENSITY if net.first_layer_bytes <= CACHED_BYTES else MAX_DENSITY * UNCACHED
        if isinstance(self.x, SparseRows):
            limit = 1.0
        elif n_reads < len(self.x):
            return self.x
        if limit not in self._compressed:
            self._compressed[limit] = _rows(self.x, limit)
        return self._compressed[limit]


def _rows(x: Any, limit: float) -> Any:
    """The rows as they are, or CompressedRows below this density."""
    if isinstance(x, SparseRows):
        return x.compressed()
    if x.shape[1] < MIN_FEATURES or mapped.is_large(x):
        return x
    some = x[:: max(1, len(x) // 1000)]
    if np.count_nonzero(some) > limit * some.size:
        return x
    return sparse.compress(x, limit) or x


def _labels(targets: Array) -> NDArray[np.intp] | None:
    """The classes of labels, one-hot rows or a column of zeros and ones; None of other targets."""
    if targets.ndim == 1:
        return targets
    if not is_one_hot(targets, single=True):
        return None
    column: NDArray[np.intp] = targets[:, 0].astype(np.intp) if targets.shape[1] == 1 else targets.argmax(axis=1)
    return column


def zero_one(targets: Array, loss: str) -> Array:
    """Targets as labels or shares of classes, whatever numbers the loss codes them by."""
    off, on = kinds.loss(loss).coding
    return (targets - off) / (on - off) if kinds.loss(loss).margin and targets.ndim == 2 else targets


def is_one_hot(targets: Array, *, single: bool = False) -> bool:
    """Whether every row is zeros and a single one; single: of one column, zeros and ones."""
    if targets.shape[1] == 1 and not single:
        return False

    def fits(part: Array) -> bool:
        binary = ((part == 0) | (part == 1)).all()
        return bool(binary and (part.shape[1] == 1 or (part.sum(axis=1) == 1).all()))

    return all(fits(part) for _, part in mapped.pieces(targets))


def class_weights(value: Any, counts: Array) -> NDArray[np.float64]:
    """One weight a class, from a dict, an array or "balanced": n_samples / (n_present * count), as in scikit-learn."""
    n = len(counts)
    if isinstance(value, str):
        checks.choice(value, "class_weight", ["balanced"])
        present = counts > 0
        weights = np.zeros(n)
        np.divide(counts.sum() / present.sum(), counts, out=weights, where=present)
        return weights
    if isinstance(value, dict):
        weights = np.ones(n)
        for key, weight in value.items():
            if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or not 0 <= key < n:
                raise ValueError(f"class_weight has the class {key!r}, expected classes 0 to {n - 1}")
            weights[key] = checks.non_negative_float(weight, f"class_weight[{key}]")
        return weights
    weights = checks.numbers(value, "class_weight").astype(np.float64)
    if weights.shape != (n,):
        raise ValueError(f"class_weight has shape {weights.shape}, expected ({n},), one a class")
    checks.finite(weights, "class_weight")
    if not ((weights >= 0).all() and weights.any()):
        raise ValueError(f"class_weight goes from {weights.min()} to {weights.max()}, expected 0 or more, not all 0")
    return weights
