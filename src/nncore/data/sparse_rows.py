"""Samples given as a SciPy sparse matrix: trained on as they are, and dense a few rows at a time for all else."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core.dispatch import sparse

Array = NDArray[Any]


def is_sparse(x: Any) -> bool:
    """Whether x is a matrix or array of scipy.sparse, which is not imported for it."""
    return type(x).__module__.startswith("scipy.sparse")


class SparseRows:
    """The rows of a sparse matrix, in the engine's types; a slice of them is a dense array.

    as_taken, if given, makes of the numbers that are stored those of the type that the network takes.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    nbytes, size : int
        Of the dense array.
    """

    def __init__(self, x: Any, name: str, n_in: int, as_taken: Callable[[Array], Array] | None = None) -> None:
        if x.ndim != 2 or x.shape[1] != n_in:
            raise ValueError(f"{name} has shape {x.shape}, expected (n_samples, {n_in}) to fit the first layer")
        if x.shape[0] == 0:
            raise ValueError(f"{name} is empty, shape {x.shape}, expected at least one sample")
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} is a sparse array of dtype {x.dtype}, expected real numbers")
        rows = _own(x, name)
        taken = rows.data if as_taken is None else as_taken(rows.data)
        if taken.dtype != rows.dtype or rows.dtype not in (np.uint8, np.float32, np.float64):
            rows = rows.astype(np.uint8 if taken.dtype == np.uint8 else np.float64)
        rows.sum_duplicates()
        if rows.dtype.kind == "f" and not np.isfinite(rows.data).all():
            at = int(np.argmin(np.isfinite(rows.data)))
            row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
            where = f"{name}[{row}, {rows.indices[at]}]"
            raise ValueError(f"{where} is {rows.data[at]}, expected finite numbers only")
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype
        self.size = rows.shape[0] * rows.shape[1]
        self.nbytes = self.size * rows.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, part: slice) -> NDArray[Any]:
        return np.ascontiguousarray(self.rows[part].toarray())

    def compressed(self) -> sparse.CompressedRows:
        """As the training loop takes them."""
        indptr = self.rows.indptr.astype(np.intp)
        columns = self.rows.indices.astype(np.uint16 if self.shape[1] <= 2**16 else np.int32)
        counts = np.bincount(self.rows.indices, minlength=self.shape[1])
        return sparse.cut(indptr, columns, np.ascontiguousarray(self.rows.data), counts)


def _own(x: Any, name: str) -> Any:
    """A CSR matrix that nobody else can change, whose indices lie within its shape.

    SciPy looks at neither what an invalid matrix is made of nor, in its loops, at indices.
    """
    if getattr(x, "format", "") in ("csr", "csc", "bsr"):
        height, width = x.blocksize if x.format == "bsr" else (1, 1)
        major, minor = x.shape[::-1] if x.format == "csc" else (x.shape[0] // height, x.shape[1] // width)
        data, indices, indptr = (np.array(part) for part in (x.data, x.indices, x.indptr))
        _expect_valid(data, indices, indptr, (major, minor), name)
        rows = type(x)((data, indices, indptr), shape=x.shape).tocsr()  # anew: x may say it is sorted, and be no more
    else:
        with _refused(name):
            rows = x.copy().tocsr()
        _expect_valid(rows.data, rows.indices, rows.indptr, rows.shape, name)
    return rows


@contextlib.contextmanager
def _refused(name: str) -> Iterator[None]:
    """Put the name before SciPy's message about a matrix that it cannot convert."""
    try:
        yield
    except (IndexError, ValueError) as error:
        raise ValueError(f"{name} is an invalid sparse matrix: {error}") from None


def _expect_valid(data: Array, indices: Array, indptr: Array, shape: tuple[int, int], name: str) -> None:
    """Refuse parts of a compressed matrix that do not fit each other and the shape: of rows, or columns, or blocks."""
    major, minor = shape
    said = f"{name} is an invalid sparse matrix: its"
    if (indices.ndim, indptr.ndim) != (1, 1) or indices.dtype.kind + indptr.dtype.kind != "ii":
        raise ValueError(f"{said} indices are not whole numbers in one dimension")
    if len(indptr) != major + 1:
        raise ValueError(f"{said} indptr has {len(indptr)} entries, expected {major + 1}")
    n = int(indptr[-1])
    if indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError(f"{said} indptr does not ascend from 0")
    if n > min(len(indices), len(data)):
        raise ValueError(f"{said} indptr ends at {n}, and there are {len(indices)} indices and {len(data)} values")
    if n and not 0 <= indices[:n].min() <= indices[:n].max() < minor:
        raise ValueError(
            f"{said} indices go from {indices[:n].min()} to {indices[:n].max()}, expected 0 to {minor - 1}"
        )
