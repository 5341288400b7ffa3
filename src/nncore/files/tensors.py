"""Safetensors: 8 bytes with the length of the header, the header as JSON, the raw tensors. Reading runs no code.

A file may carry a SHA-256 of all its bytes among its metadata; in the hashed bytes zeros stand in its place. Sizes are
compared with what is there before anything of that size is made.
"""

import contextlib
import hashlib
import io
import json
import os
import reprlib
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.files import formats

Array = NDArray[Any]

DIGEST = "sha256"
NO_DIGEST = "0" * 64
TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
# Types of the format that are no numbers of NumPy's, or none that a network is made of.
OTHERS = {"BOOL", "BF16", "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4"}
NAMES = {np.dtype(code): name for name, code in TYPES.items()}
HEADER_BYTES = 100_000_000  # at most, as the format has it
PIECE_BYTES = 4 << 20


class Content(NamedTuple):
    """The tensors and the metadata of a file.

    intact: whether all bytes are as they were written, None if the file has no digest that could tell.
    """

    tensors: dict[str, Array]
    metadata: dict[str, str]
    intact: bool | None


class Encoded:
    """Tensors and metadata as a file, written piece by piece: no second copy of all of them is made.

    The same tensors and metadata give the same bytes. With signed a digest is among the metadata.
    """

    def __init__(self, tensors: Mapping[str, Array], metadata: Mapping[str, str], *, signed: bool = False) -> None:
        self.signed = signed
        entries = {**metadata, DIGEST: NO_DIGEST} if signed else metadata
        # other programs take no text with the surrogates that a file's name can have
        texts = {name: entries[name].encode(errors="backslashreplace").decode() for name in sorted(entries)}
        arrays = {name: np.asarray(array) for name, array in tensors.items()}
        order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # larger types first keeps all aligned
        header: dict[str, Any] = {"__metadata__": texts}
        end = 0
        for name in order:
            array = arrays[name]
            begin, end = end, end + array.nbytes
            kind = NAMES[array.dtype.newbyteorder("<")]
            header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
        if len(text) > HEADER_BYTES:
            raise ValueError(f"the names and metadata take {len(text):,} bytes, expected at most {HEADER_BYTES:,}")
        self.head = len(text).to_bytes(8, "little") + text
        self.arrays = [arrays[name] for name in order]
        self.size = len(self.head) + end

    def write_to(self, file: BinaryIO) -> None:
        """Write all; the digest is of the bytes written, whatever becomes of the arrays meanwhile."""
        digest = hashlib.sha256(self.head)
        file.write(self.head)
        for array in self.arrays:
            for piece in _pieces(array):
                digest.update(piece)
                file.write(piece)
        if self.signed:
            at = self.head.index(f'"{DIGEST}":"{NO_DIGEST}"'.encode()) + len(DIGEST) + 4
            file.seek(at)
            file.write(digest.hexdigest().encode())

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        file = io.BytesIO()
        self.write_to(file)
        return file.getvalue()


def _pieces(array: Array) -> Iterator[bytes]:
    """Yield the bytes of an array in row-major order, little-endian."""
    flat = np.asarray(array, array.dtype.newbyteorder("<"), order="C").reshape(-1)
    step = PIECE_BYTES // flat.itemsize
    for first in range(0, flat.size, step):
        yield flat[first : first + step].tobytes()


def read(path: str | os.PathLike[str], data: bytes | None = None) -> Content:
    """Read a file, or these bytes of it.

    Raises
    ------
    OSError
        If the file cannot be read.
    MemoryError
        If it is larger than the machine's memory.
    TypeError, ValueError
        If path is not the path of a file, or what is there no complete safetensors file of types that NumPy has.
    """
    if data is not None:
        return _read(path, io.BytesIO(data), len(data))
    with _opened(path) as file:
        try:
            return _read(path, file, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise OSError(error.errno, f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file: devices and pipes have no size that is known before they are read, or no end."""
    # a pipe nobody writes to would be waited for
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(checks.path(path, "path"), flags)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder, expected a file")
    raise OSError(f"{path} is a device or pipe, expected a file, whose size is known before it is read")


def _read(path: str | os.PathLike[str], file: BinaryIO, size: int) -> Content:
    try:
        head = file.read(8)
        text = _header_text(file, head, size)
        header = strict_json(text.decode())
        metadata = _metadata(header)
        places = _places(header, size - 8 - len(text))
        tensors, digest = _data(path, file, places, head + _with_zeros(text, metadata))
    except (ValueError, RecursionError) as problem:  # one of Unicode is a ValueError too
        file.seek(0)
        known = formats.looks_like(file.read(4096))
        reason = f"it looks like {known[0]}; {known[1]}" if known else _reason(problem)
        raise ValueError(f"{path} is not a complete safetensors file: {reason}") from None
    intact = metadata[DIGEST] == digest if DIGEST in metadata else None
    if intact is not False:
        for place in places.values():
            if place.type not in TYPES:
                raise ValueError(f"{path} has a tensor of type {place.type}, expected F32 or F64")
    return Content(
        {name: _array(raw, places[name]) for name, raw in tensors.items() if places[name].type in TYPES},
        metadata,
        intact,
    )


def _reason(problem: Exception) -> str:
    if isinstance(problem, RecursionError):
        return "its header is nested too deeply"
    if isinstance(problem, UnicodeDecodeError):
        return "its header is not text"
    return str(problem)


def _header_text(file: BinaryIO, head: bytes, size: int) -> bytes:
    if len(head) < 8:
        raise ValueError(f"it has {len(head)} bytes, expected 8 with the length of a header")
    length = int.from_bytes(head, "little")
    if length > min(size - 8, HEADER_BYTES):
        raise ValueError(f"its header would have {length:,} bytes, of {size - 8:,} that are there")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ended while it was read")
    return text


def strict_json(text: str) -> Any:
    """Read JSON without names that are there twice.

    Raises
    ------
    RecursionError, ValueError
        If it is no such JSON.
    """
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{reprlib.repr(twice)} is there twice")
    return result


def _metadata(header: Any) -> dict[str, str]:
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) and name.isprintable() for name, text in metadata.items()
    ):
        raise ValueError("its metadata are not texts by name")
    return metadata


class _Place(NamedTuple):
    """The place of a tensor in a file, its type and its shape."""

    type: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _places(header: dict[str, Any], size: int) -> dict[str, _Place]:
    """Return the tensors in the order of their bytes, which follow each other without gaps to the end of the file."""
    places = {name: _place(name, entry) for name, entry in header.items()}
    end = 0
    places = dict(sorted(places.items(), key=lambda item: item[1][2:]))
    for name, place in places.items():
        if place.begin != end:
            raise ValueError(f"tensor {reprlib.repr(name)} begins at byte {place.begin:,}, expected {end:,}")
        end = place.end
    if end != size:
        raise ValueError(f"its tensors take {end:,} bytes, and {size:,} are there")
    return places


def _place(name: str, entry: Any) -> _Place:
    if not name.isprintable():
        raise ValueError(f"a tensor's name is {reprlib.repr(name)}")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {reprlib.repr(name)} is not described by dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(kind, str) and _sizes(shape) and _sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"tensor {reprlib.repr(name)} has no possible type, shape and place")
    if kind not in TYPES and kind not in OTHERS:
        raise ValueError(f"tensor {reprlib.repr(name)} has the unknown type {reprlib.repr(kind)}")
    place = _Place(kind, tuple(shape), *offsets)
    expected = prod(shape) * np.dtype(TYPES[kind]).itemsize if kind in TYPES else place.end - place.begin
    if place.end - place.begin != expected or expected < 0:
        raise ValueError(f"tensor {reprlib.repr(name)} has {place.end - place.begin:,} bytes, expected {expected:,}")
    return place


def _sizes(values: Any) -> bool:
    """Whether these are sizes of an array that could be, whose other sizes may be 0."""
    whole = isinstance(values, list) and len(values) <= 32 and all(type(n) is int and n >= 0 for n in values)
    return whole and prod(n or 1 for n in values) < 1 << 58


def _with_zeros(text: bytes, metadata: dict[str, str]) -> bytes:
    """Return the header as it is hashed. Within another value the quotes would be escaped."""
    digest = metadata.get(DIGEST, "")
    return text.replace(f'"{DIGEST}":"{digest}"'.encode(errors="replace"), f'"{DIGEST}":"{NO_DIGEST}"'.encode(), 1)


def _data(
    path: str | os.PathLike[str], file: BinaryIO, places: dict[str, _Place], head: bytes
) -> tuple[dict[str, Array], str]:
    """Return the bytes of the tensors, and the SHA-256 of the file."""
    total, memory = sum(place.end - place.begin for place in places.values()), _memory()
    if total > memory:
        raise MemoryError(f"{path} holds {total:,} bytes of tensors, and {memory:,} bytes of memory are there")
    digest, tensors = hashlib.sha256(head), {}
    for name, place in places.items():
        raw = tensors[name] = np.empty(place.end - place.begin, np.uint8)
        for first in range(0, raw.size, PIECE_BYTES):
            piece = raw[first : first + PIECE_BYTES].data
            if file.readinto(piece) < len(piece):  # type: ignore[attr-defined]
                raise ValueError("it ended while it was read")
            digest.update(piece)
    if file.read(1):
        raise ValueError("it grew while it was read")
    return tensors, digest.hexdigest()


def _memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes of memory that the machine, or this process's container, has, as far as it is known."""
    known = [1 << 62]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2 and 1
        with contextlib.suppress(OSError, ValueError):
            known.append(int((cgroup / name).read_text()))
    return min(known)


def _array(raw: Array, place: _Place) -> Array:
    return raw.view(TYPES[place.type]).reshape(place.shape)
