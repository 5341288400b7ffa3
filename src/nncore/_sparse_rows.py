"""Samples given as a SciPy sparse matrix: trained on as they are, and dense a few rows at a time for all else."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore._dispatch import sparse


def is_sparse(x: Any) -> bool:
    """Whether x is a matrix or array of scipy.sparse, which is not imported for it."""
    return type(x).__module__.startswith("scipy.sparse")


class SparseRows:
    """The rows of a sparse matrix, in the engine's types; a slice of them is a dense array.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    nbytes, size : int
        Of the dense array.
    """

    def __init__(self, x: Any, name: str, n_in: int) -> None:
        if x.ndim != 2 or x.shape[1] != n_in:
            raise ValueError(f"{name} has shape {x.shape}, expected (n_samples, {n_in}) to fit the first layer")
        if x.shape[0] == 0:
            raise ValueError(f"{name} is empty, shape {x.shape}, expected at least one sample")
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} is a sparse array of dtype {x.dtype}, expected real numbers")
        rows = x.tocsr()
        if rows.dtype not in (np.uint8, np.float32, np.float64):
            rows = rows.astype(np.float64)
        if not rows.has_canonical_format:  # sorted and without duplicates: in a copy, x stays as it is
            rows = rows.copy()
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
