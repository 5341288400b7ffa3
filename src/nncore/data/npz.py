"""Arrays of a .npz file, read with distrust: no member is unpacked before its sizes agree, and no code is run.

numpy.load believes the header of a member and asks Python's tokenizer about it: what a hostile file makes of that is
an error of any kind, or all the machine's memory.
"""

import ast
import math
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MAX_HEADER = 10_000  # bytes, as NumPy
MAX_RATIO = 1040  # what deflate makes of the same byte over and over is 1032 times smaller
MAX_DIMENSIONS = 32
_PIECE = 1 << 20
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, NotImplementedError, OverflowError, RuntimeError,
    ValueError, OSError,
)  # fmt: skip


class _Header(NamedTuple):
    dtype: "np.dtype[Any]"
    fortran_order: bool
    shape: tuple[int, ...]


def read_npz(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Array], list[str]]:
    """Read those of the named arrays that a .npz file has; returns them, and the names of all that it has.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no .npz file, is damaged, or an array needs pickle or is larger than the file can hold.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                arrays = {name: _array(archive, members[name], size) for name in names if name in members}
        except MemoryError:
            raise ValueError(f"{path} has arrays that do not fit into memory") from None
        except _BROKEN as error:
            raise ValueError(f"{path} is not a readable .npz file with arrays X and y: {error}") from None
    return arrays, list(members)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file_size: int) -> Array:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed by method {member.compress_type}, expected deflate")
    if member.file_size > MAX_RATIO * file_size:
        raise ValueError(f"{member.filename} claims {member.file_size} bytes, more than the file can hold")
    with archive.open(member) as file:
        header, length = _header(file, member.filename)
        expected = length + math.prod(header.shape) * header.dtype.itemsize
        if member.file_size != expected:
            raise ValueError(
                f"{member.filename} has {member.file_size} bytes, expected {expected} for an array of shape "
                f"{header.shape} and dtype {header.dtype}"
            )
        content = bytearray()
        while piece := file.read(_PIECE):  # to the end, where the checksum is compared
            content += piece
    if length + len(content) != expected:
        raise ValueError(f"{member.filename} ends after {length + len(content)} of {expected} bytes")
    array: Array = np.ndarray(
        header.shape, header.dtype, content, order="F" if header.fortran_order else "C"
    )  # empty arrays and strings of length 0 too
    return array


def _header(file: Any, name: str) -> tuple[_Header, int]:
    """The header of a .npy file, and how many bytes it and the magic take."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError(f"{name} does not begin as a .npy file of version 1, 2 or 3")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > MAX_HEADER:
        raise ValueError(f"{name} has a header of {length} bytes, expected at most {MAX_HEADER}")
    text = file.read(length)
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's about odd literals
            header = _Header(*_fields(text.decode("latin-1" if start[6] < 3 else "utf-8")))
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError(f"{name} has a header that is not an array's: {error}") from None
    return header, 8 + width + length


def _fields(text: str) -> tuple["np.dtype[Any]", bool, tuple[int, ...]]:
    header = ast.literal_eval(text.strip())
    descr, fortran_order, shape = header["descr"], header["fortran_order"], header["shape"]
    if descr == "|O" or (isinstance(descr, list) and "O" in str(descr)):
        raise ValueError("it holds Python objects, which need pickle")
    if not isinstance(descr, str) or not re.fullmatch(r"[<>|=]?(b1|[iufcUS]\d{1,9})", descr):
        raise ValueError(f"its dtype is {descr!r}, expected numbers or strings")
    if not isinstance(fortran_order, bool):
        raise ValueError(f"fortran_order is {fortran_order!r}")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(
        type(n) is int and 0 <= n < 1 << 62 for n in shape
    ):  # fmt: skip
        raise ValueError(f"its shape is {shape!r}")
    return np.dtype(descr), fortran_order, shape
