"""Targets are checked to be what a loss is defined for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped
from nncore.core.dispatch import loss as core
from nncore.functions import kinds

Array = NDArray[Any]
# What takes the numbers of exclusive classes, without their sum.
_WITHOUT_SUM = "sigmoid_cross_entropy"


def targets_for(loss: str, t: Array, name: str, weights: Any = None) -> Array:
    """Targets (n_samples, n_out) that are what this loss takes; labels are checked already.

    weights: of the samples, or of the outputs: what those hide may be any number, and classes need not sum to 1.
    """
    row = kinds.loss(loss)
    if row.targets is None or t.ndim != 2:
        return t
    number, seen = row.number, t
    if weights is not None and np.ndim(weights) == 2:
        number = kinds.LOSSES[_WITHOUT_SUM].number if row.exclusive else number
        if np.shape(weights) == t.shape:
            seen = np.where(np.asarray(weights) == 0, t.dtype.type(1), t)  # 1 is a target of every loss
    for place, part in mapped.pieces(seen, uncut=True):
        k = core.first_misfit(number, part)
        if k >= 0:
            raise ValueError(_message(row, row.targets, part[k], f"{name}[{place.start + k}"))
    return t


def _message(loss: kinds.Loss, targets: kinds.Targets, values: Array, name: str) -> str:
    """Return the sentence on wrong targets of one sample."""
    fits = targets.fit(values)
    if fits.all():
        return (
            f"{name}] sums to {float(values.sum(dtype=np.float64)):.7g}, expected {targets.expected} with loss "
            f"{loss.name!r}: divide each row by its sum; what a sample counts is its sample_weight"
        )
    k = int(fits.argmin())
    hint = ""
    if loss.margin and np.isin(values, (0, 1)).all():
        hint = ": of 0 and 1 take 2 * t - 1"
    elif loss.exclusive and values[k] > 1 and values.size > 1:
        hint = ": class numbers go in one column of integers, (n_samples,)"
    return f"{name}, {k}] is {values[k]}, expected {targets.expected} with loss {loss.name!r}{hint}"
