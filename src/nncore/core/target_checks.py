"""Checks of what a network is trained towards: targets, labels, and the weights of samples."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore.core.checks import Array, finite, floats, laid_out, numbers


def targets(t: ArrayLike, name: str, n_samples: int, n_out: int) -> Array:
    """Return targets for the engine: labels (n_samples,) as intp, or (n_samples, n_out) floats.

    One dimension means labels, unless the network has one output, or there is one sample with n_out numbers.
    """
    array = _target_numbers(t, name)
    if array.ndim == 0 and n_samples == 1:
        array = array.reshape(1)
    if array.ndim == 1 and n_out == 1:
        array = array.reshape(-1, 1)
    if array.ndim == 1 and n_samples == 1 and array.size == n_out:
        array = array.reshape(1, -1)
    if array.shape == (n_samples,):
        return labels(array, name, n_out)
    if array.shape != (n_samples, n_out):
        hint = f": ravel() makes labels of one column, {name}.ravel()" if array.shape == (n_samples, 1) else ""
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({n_samples},) labels or ({n_samples}, {n_out}) targets{hint}"
        )
    return finite(floats(array, name), name)


def labels(t: ArrayLike, name: str, n_classes: int) -> NDArray[np.intp]:
    """Return class numbers 0 to n_classes - 1; False and True are 0 and 1."""
    array = _target_numbers(t, name)
    if array.dtype.kind not in "iub":
        whole = array.size and (finite(array, name) == np.round(array)).all()
        hint = f": {name}.astype(int) makes some of whole numbers" if whole else ""
        raise TypeError(
            f"{name} is an array of dtype {array.dtype}, expected integer labels 0 to {n_classes - 1}{hint}"
        )
    if array.size and not 0 <= array.min() <= array.max() < n_classes:
        bad = np.argwhere((array < 0) | (array >= n_classes))[0]
        index = ", ".join(str(int(i)) for i in bad)
        hint = f": these count from 1, subtract 1 of {name}" if array.min() >= 1 and array.max() == n_classes else ""
        raise ValueError(f"{name}[{index}] is {array[tuple(bad)]}, expected labels 0 to {n_classes - 1}{hint}")
    return laid_out(array, np.intp)


def _target_numbers(t: ArrayLike, name: str) -> Array:
    """Return an array of numbers; the error for words says how they become numbers."""
    try:
        return numbers(t, name)
    except TypeError:
        kind = np.asarray(t).dtype.kind
        if kind in "US" or (kind == "O" and any(isinstance(label, str) for label in np.ravel(np.asarray(t))[:1000])):
            raise TypeError(
                f"{name} has words for labels, expected class numbers: np.unique({name}, return_inverse=True) finds "
                f"them, and nncore.MLPClassifier takes words as they are"
            ) from None
        raise


def sample_weights(weights: ArrayLike | None, n_samples: int, n_out: int) -> NDArray[np.float64] | None:
    """Return one weight per sample, or one per sample and output; none negative, not all zero."""
    if weights is None:
        return None
    array = laid_out(numbers(weights, "sample_weight"), np.float64)
    if array.shape not in ((n_samples,), (n_samples, n_out)):
        raise ValueError(
            f"sample_weight has shape {array.shape}, expected ({n_samples},) or ({n_samples}, {n_out}) to match X"
        )
    finite(array, "sample_weight")
    if not ((array >= 0).all() and array.any()):
        raise ValueError(f"sample_weight goes from {array.min()} to {array.max()}, expected 0 or more, not all zero")
    return addable(array, "sample_weight")


def addable(weights: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return weights of 0 or more, not all 0, if they can be divided by their sum."""
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(
            f"{name} goes up to {weights.max():g} and its sum is {total:g}, expected one from 2.3e-308 to 1.7e308: "
            f"divide the weights by their largest"
        )
    return weights


def multiplied(weights: NDArray[np.float64], others: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return the products of two weights per sample, which must not become 0 or infinite by rounding."""
    with np.errstate(over="ignore", under="ignore"):
        products = weights * others
    if not (np.isfinite(products) & ((products > 0) == ((weights > 0) & (others > 0)))).all():
        raise ValueError(
            f"{name} multiplies weights up to {weights.max():g} and {others.max():g}, expected products that are "
            f"neither 0 nor infinite by rounding: divide the weights by their largest"
        )
    return products
