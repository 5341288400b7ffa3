"""The share of each term in a loss, from the weights of samples or of outputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def shares(weights: Array | None, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The factor of each term of a loss (n_samples, n_out); all-zero weights give 0."""
    weights = np.ones(shape[0]) if weights is None else weights
    if weights.ndim == 2:
        return np.ascontiguousarray(weights / shape[0])
    whole = weights.sum()
    by_sample = weights / whole if whole > 0 else np.zeros(shape[0])
    return np.ascontiguousarray(np.broadcast_to(by_sample[:, None], shape))
