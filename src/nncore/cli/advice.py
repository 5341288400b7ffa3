"""Notes before a training on what is likely to go wrong with the data of a file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.cli.source import Source
from nncore.data import tables

# Root mean squares of inputs that a network learns from without scaling, and how far apart they may be.
SMALLEST, LARGEST, SPREAD = 1e-3, 100.0, 1000.0
MIN_ROWS = 10  # fewer may count up by chance


def on_scales(source: Source) -> list[str]:
    """Return notes on features and targets of sizes that plain gradient descent does not cope with."""
    notes = []
    if source.x_train.dtype != np.uint8:
        sizes = _sizes(source.x_train)
        used = sizes[sizes > 0]
        apart = used.size > 0 and used.max() > SPREAD * used.min()
        odd = (sizes > LARGEST) | ((sizes > 0) & (sizes < SMALLEST))
        if apart and not odd.any():
            odd = (sizes == used.max()) | (sizes == used.min())
        if odd.any():
            shown = [f"{source.feature(k)} (about {sizes[k]:.2g})" for k in np.flatnonzero(odd).tolist()]
            notes.append(
                f"{source.name}: {tables.listed(shown, 6)}: inputs of sizes so far from 1, or from each other, are "
                f"hard to learn from: standardise them, for prediction too (subtract the mean, divide by the deviation)"
            )
    if not source.classes:
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = source.t_train.mean(axis=0), source.t_train.std(axis=0)
        k = int(np.argmax(np.maximum(abs(mean), deviation)))
        if max(abs(mean[k]), deviation[k]) > LARGEST or 0 < deviation.max() < SMALLEST:
            notes.append(
                f"{source.name}: the targets have the mean {mean[k]:.4g} and the deviation {deviation[k]:.4g}, far "
                f"from 0 and 1: standardise them, or the training will be slow or diverge"
            )
    return notes


def on_counting(x: NDArray[Any], table: tables.Table, features: list[int]) -> list[str]:
    """Return a note if a column in the order of the file counts the rows."""
    if len(x) < MIN_ROWS:
        return []
    counting = [
        k for k, start in enumerate(x[0]) if start in (0, 1) and np.array_equal(x[:, k], start + np.arange(len(x)))
    ]
    return [
        f"{table.path}: {table.column(features[k])} counts the rows: leave it out if it is an index" for k in counting
    ]


def _sizes(x: NDArray[Any]) -> NDArray[np.float64]:
    """The root mean square of every column."""
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->j", x, x, dtype=np.float64)
        sizes: NDArray[np.float64] = np.sqrt(squares / len(x))
    return sizes
