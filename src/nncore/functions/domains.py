"""Targets that a loss is defined for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped
from nncore.core.dispatch import loss as core

Array = NDArray[Any]


def targets_for(loss: str, t: Array, name: str, weights: Any = None) -> Array:
    """Targets (n_samples, n_out) that are what this loss takes; labels are checked already.

    weights: of the samples, or of the outputs: what those hide may be any number, and classes need not sum to 1.
    """
    if loss not in core.TARGETS or t.ndim != 2:
        return t
    kind, seen = core.LOSSES[loss], t
    if weights is not None and np.ndim(weights) == 2:
        kind = core.LOSSES["sigmoid_cross_entropy"] if loss == "softmax_cross_entropy" else kind
        if np.shape(weights) == t.shape:
            seen = np.where(np.asarray(weights) == 0, t.dtype.type(1), t)  # 1 is a target of every loss
    for place, part in mapped.pieces(seen, uncut=True):
        row = core.first_misfit(kind, part)
        if row >= 0:
            raise ValueError(_message(loss, part[row], f"{name}[{place.start + row}", core.TARGETS[loss]))
    return t


def _message(loss: str, row: Array, name: str, expected: str) -> str:
    """What is wrong with the targets of one sample."""
    fits = {"poisson": row >= 0, "hinge": np.abs(row) == 1}.get(loss, (row >= 0) & (row <= 1))
    if fits.all():
        return (
            f"{name}] sums to {float(row.sum(dtype=np.float64)):.7g}, expected {expected} with loss {loss!r}: divide "
            f"each row by its sum; what a sample counts is its sample_weight"
        )
    k = int(fits.argmin())
    hint = ""
    if loss == "hinge" and np.isin(row, (0, 1)).all():
        hint = ": of 0 and 1 take 2 * t - 1"
    elif loss == "softmax_cross_entropy" and row[k] > 1 and row.size > 1:
        hint = ": class numbers go in one column of integers, (n_samples,)"
    return f"{name}, {k}] is {row[k]}, expected {expected} with loss {loss!r}{hint}"
