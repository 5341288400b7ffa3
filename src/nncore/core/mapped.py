"""Arrays in files (numpy.memmap), larger than memory perhaps: read piece by piece, and pages given back once read."""

import contextlib
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Mapped arrays above this are trained on a window at a time, one copy of which is in memory.
WINDOW_BYTES = 64 << 20
# A shuffled window comes from so many places of the file: enough to mix, few enough to read mostly in sequence.
BLOCKS = 64
# What is looked at once goes in pieces of about this size.
PIECE_BYTES = 8 << 20


def is_large(array: Any) -> bool:
    """Whether an array lies in a file map and is too large to be read at once."""
    return array.nbytes > WINDOW_BYTES and _file_map(array) is not None


def _memmap(array: Any) -> Any:
    """The memmap that an array is a view of."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.mode is not None:
            return array
        array = array.base
    return None


def _file_map(array: Any) -> mmap.mmap | None:
    """The map that an array is a view of; None for copy-on-write, whose changed pages are nowhere else."""
    whole = _memmap(array)
    return None if whole is None or whole.mode == "c" else whole._mmap


def expect_whole(array: Any) -> None:
    """Refuse a mapped array whose file is shorter than it was: reading beyond its end would end the process."""
    whole = _memmap(array)
    if whole is not None:
        expected = whole.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY + len(whole._mmap)
        if whole._mmap.size() < expected:
            raise ValueError(f"the file of a mapped array has {whole._mmap.size()} bytes, expected {expected}: "
                             "it became shorter after it was mapped")  # fmt: skip


def settled(array: Any) -> Any:
    """An array for a whole training: a view, whose shape nobody else changes, or the copy of a file that may shrink."""
    expect_whole(array)
    return np.array(array) if _memmap(array) is not None and not is_large(array) else array.view()


def release(array: Any) -> None:
    """Give back the pages of a mapped array, which would count as this process's memory; they can be read again."""
    pages = _file_map(array)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError):  # pages locked in memory stay
            pages.madvise(mmap.MADV_DONTNEED)


def pieces(array: Any, *, uncut: bool = False) -> Iterator[tuple[slice, Array]]:
    """Yield the places and the rows of consecutive parts along the first axis, of about PIECE_BYTES each.

    uncut: an array that fits into memory comes as one; sparse rows, and files too large for it, in pieces all the same.
    """
    expect_whole(array)
    if isinstance(array, np.ndarray) and (not is_large(array) if uncut else array.nbytes <= PIECE_BYTES):
        yield slice(0, None), array
        return
    step = max(1, PIECE_BYTES * len(array) // array.nbytes)
    for first in range(0, len(array), step):
        expect_whole(array)
        yield slice(first, min(first + step, len(array))), array[first : first + step]
        release(array)


def spread(array: Any, rows: int, numbers: int) -> slice:
    """Rows from all over an array: no more than these, or numbers; few of a map, where each brings its neighbours."""
    rows = min(rows // 64 if isinstance(array, np.ndarray) and is_large(array) else rows, numbers // array.shape[1])
    return slice(None, None, -(-len(array) // max(1, rows)))


class Windows:
    """Mapped samples, so many consecutive ones of an epoch at a time, copied into one buffer.

    Attributes
    ----------
    size : int
        Samples of a window: a multiple of the batch size, so that no batch crosses windows.
    block : int
        Consecutive rows that a shuffle keeps in one window.
    """

    def __init__(self, x: Array, t: Array, weights: NDArray[np.float64] | None, batch_size: int) -> None:
        self.x, self.t, self.weights = x, t, weights
        rows = WINDOW_BYTES * len(x) // x.nbytes
        self.size = max(1, rows // batch_size) * batch_size
        self.block = max(1, self.size // BLOCKS)
        self.buffer = np.empty((min(self.size, len(x)), x.shape[1]), x.dtype)

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Every row once: blocks in random order, rows shuffled within each window of them."""
        n = len(self.x)
        blocks = rng.permutation(-(-n // self.block)).astype(np.intp, copy=False)
        order = (blocks[:, np.newaxis] * self.block + np.arange(self.block)).ravel()
        order = order[order < n]
        for first in range(0, n, self.size):
            rng.shuffle(order[first : first + self.size])
        return order

    def load(self, index: NDArray[np.intp]) -> tuple[Array, Array, NDArray[np.float64] | None]:
        """Copies of the samples of one window; index, their numbers, becomes their places in it."""
        rows, index[:] = np.unique(index, return_inverse=True)  # ascending: read in the order of the file
        for array in (self.x, self.t, self.weights):
            expect_whole(array)
        for first in range(0, len(rows), self.block):
            some = rows[first : first + self.block]
            # clip: what is out of bounds cannot be here, and "raise" would copy once more
            np.take(self.x, some, axis=0, out=self.buffer[first : first + len(some)], mode="clip")
            release(self.x)
        t = self.t[rows]
        release(self.t)
        return self.buffer[: len(rows)], t, None if self.weights is None else self.weights[rows]
