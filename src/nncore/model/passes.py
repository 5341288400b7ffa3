"""Passes of a model over rows that are checked: outputs, losses, differences, also of rows larger than memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped
from nncore.core.blas import single_threaded_blas
from nncore.core.threads import choices, usable
from nncore.functions import activations, kinds
from nncore.model.stack import Stack

Array = NDArray[Any]


def outputs(model: Stack, rows: Any, out: Array | None = None, n_threads: int | str = 1) -> Array:
    """Return the outputs of the last layer for these rows."""
    if out is None:
        out = np.empty((len(rows), model.n_out), model.dtype)
    macs = len(rows) * model.n_params
    with single_threaded_blas(macs):
        if type(rows) is np.ndarray and rows.nbytes <= mapped.WINDOW_BYTES:
            model.core.forward(rows, out, choices(n_threads, macs)[-1])
        else:
            for at, part in mapped.pieces(rows, uncut=True):
                model.core.forward(part, out[at], choices(n_threads, macs)[-1])
    if np.isnan(out.min()):
        model.expect_finite()
    return out


def mean(rows: Any, of: Callable[[Array, slice], float], weights: Array | None = None) -> float:
    """Return the mean over samples of a function that gives means over parts; rows in memory are one part."""
    means, sums = [], []
    for at, part in mapped.pieces(rows, uncut=True):
        means.append(of(part, at))
        sums.append(len(part) if weights is None or weights.ndim == 2 else weights[at].sum())
    return means[0] if len(means) == 1 else float(np.average(means, weights=sums))


def loss(model: Stack, rows: Array, targets: Array, weights: Array | None = None, *, n_threads: int = 1) -> float:
    """Return the mean loss of these samples."""

    def of(part: Array, at: slice) -> float:
        some = None if weights is None else weights[at]
        return float(model.core.loss(part, targets[at], some, n_threads=usable(n_threads)))

    with single_threaded_blas(len(rows) * model.n_params):
        return mean(rows, of, weights)


def probabilities(model: Stack, outputs: Array) -> Array:
    """Return class probabilities from outputs."""
    link = kinds.loss(model.loss_kind).probabilities
    if model.layers[-1].activation_name != "identity" or link is None:
        return outputs
    of_logits: Array = getattr(activations, link)(outputs)
    return of_logits


def differences(
    model: Stack,
    rows: Array,
    targets: Array,
    h: float,
    n_threads: int | str,
    slope: NDArray[np.float64],
    truncation: NDArray[np.float64] | None = None,
    *,
    weights: NDArray[np.float64] | None = None,
    wanted: NDArray[np.uint8] | None = None,
    rounding: float = 0.0,
    max_memory: int = 64 << 20,
    one_sided: bool = False,
) -> NDArray[np.uint8]:
    """Fill in the slope of the mean loss by every parameter, and its truncation error; return where kinks are."""
    kink = np.empty(model.n_params, np.uint8)
    weights = np.ones(len(rows)) if weights is None else weights
    with single_threaded_blas():
        model.core.numerical_gradient(
            rows, targets, weights, h, slope, truncation, kink, max_memory, wanted, rounding, one_sided,
            n_threads=choices(n_threads, len(rows) * model.n_params**2 // 16)[-1],
        )  # fmt: skip
    return kink
