"""IDX files, the form in which MNIST is published: a header with type and shape, then the elements.

The header is read first and says how many bytes may follow: no more than those and one are ever unpacked.
"""

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_idx"]

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
KNOWN_TYPES = "0x08 (uint8), 0x09 (int8), 0x0b (int16), 0x0c (int32), 0x0d (float32) or 0x0e (float64)"
MAX_DIMENSIONS = 32  # what every NumPy takes
_PIECE = 1 << 20  # read at a time: memory grows with what is there, not with what a header promises
_DRAINED = 1 << 24  # looked at for damage of the gzip file, which is then the better thing to say


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or gzipped (told by its content, not by its name).

    Parameters
    ----------
    path : path-like
        The file: two zero bytes, the type code, the number of dimensions, each dimension as a big-endian 32-bit
        integer, then the elements, big-endian, in row-major order.

    Returns
    -------
    ndarray
        New, writable array of the shape that the file declares: uint8 (code 0x08), int8 (0x09), int16 (0x0b),
        int32 (0x0c), float32 (0x0d) or float64 (0x0e), of native byte order.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not IDX, declares another type, is truncated, has trailing bytes, or is a damaged gzip file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    return read_with_digest(Path(path))[0]


def read_with_digest(path: Path) -> tuple[NDArray[Any], str]:
    """Read an IDX file; returns the array and the SHA-256 of the uncompressed content."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            return _read(file, path)
        with gzip.GzipFile(fileobj=file) as unpacked:
            try:
                try:
                    return _read(unpacked, path)
                except ValueError:
                    _at_most(unpacked, _DRAINED, keep=False)
                    raise
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error


def _read(file: BinaryIO | gzip.GzipFile, path: Path) -> tuple[NDArray[Any], str]:
    header = _at_most(file, 4)
    # A prefix is compared, so that a file cut inside its first bytes is called truncated, not foreign.
    if not b"\0\0".startswith(header[:2]):
        raise ValueError(f"{path} is not an IDX file: it begins with 0x{header[:2].hex()} instead of 0x0000")
    if len(header) > 2 and header[2] not in TYPES:
        raise ValueError(f"{path} holds IDX type 0x{header[2]:02x}; convert it to {KNOWN_TYPES}")
    start = 4 + 4 * header[3] if len(header) == 4 else 4
    header += _at_most(file, start - len(header))
    if len(header) < start:
        raise ValueError(f"{path} is truncated: its header has {len(header)} of {start} bytes; fetch it again")
    if header[3] > MAX_DIMENSIONS:
        raise ValueError(
            f"{path} declares an impossible shape ({header[3]} dimensions, at most {MAX_DIMENSIONS}); fetch it again"
        )
    shape = tuple(np.frombuffer(bytes(header), ">u4", header[3], offset=4).tolist())
    dtype = np.dtype(TYPES[header[2]])
    return _elements(file, path, header, shape, dtype)


def _elements(
    file: BinaryIO | gzip.GzipFile, path: Path, header: bytearray, shape: tuple[int, ...], dtype: "np.dtype[Any]"
) -> tuple[NDArray[Any], str]:
    size = math.prod(shape) * dtype.itemsize
    content = _at_most(file, size + 1)
    found = f"{len(header) + len(content)}{' or more' if len(content) > size else ''}"
    if len(content) != size:
        fault = "is truncated" if len(content) < size else "has trailing bytes"
        expected = f"expected {len(header) + size} bytes for {shape}"
        raise ValueError(f"{path} {fault}: {expected}, found {found}; fetch it again")
    digest = hashlib.sha256(header)
    digest.update(content)
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:
        raise ValueError(f"{path} declares an impossible shape ({error}); fetch it again") from error
    return array.astype(dtype.newbyteorder("="), copy=False), digest.hexdigest()


def _at_most(file: BinaryIO | gzip.GzipFile, size: int, *, keep: bool = True) -> bytearray:
    """The next bytes of a file, so many or as many as there are; a memory of its own, which an array may use."""
    result, left = bytearray(), size
    while left > 0:
        piece = file.read(min(left, _PIECE))
        if not piece:
            break
        left -= len(piece)
        if keep:
            result += piece
    return result
