"""The same numbers in another type give the same answer, or a sentence: bytes, integers, floats.

A network multiplies bytes (uint8) by its input_scale and takes other numbers as they are. What it was trained on says
what the numbers are that it is asked with:

- trained on bytes: integers from 0 to 255 are bytes whatever their type; floats are scaled ones, so those that can only
  be bytes, and integers that cannot, are refused;
- trained on integers, or on floats far beyond scaled bytes: bytes are plain numbers too (input_scale becomes 1);
- trained on other floats, or not at all: bytes are scaled; integers that look like bytes are taken as they are, with a
  warning.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.core import mapped, notices
from nncore.core.checks import largest
from nncore.data.signature import Signature

Array = NDArray[Any]
BYTES, NUMBERS, FLOATS = "bytes", "numbers", "floats"
KINDS = (None, BYTES, NUMBERS, FLOATS)
# Floats that are scaled bytes, perhaps with noise, or standardised, stay below so many times the largest scaled byte.
FAR = 8
SOME = 1024, 1 << 20  # rows, numbers


def kind_of(x: Any, rows: Any, scale: float) -> str:
    """The kind of numbers in x, which the engine gets as rows: what a network is trained on."""
    if rows.dtype == np.uint8:
        return BYTES
    dtype = getattr(x, "dtype", None)
    if not isinstance(dtype, np.dtype):  # a list, or a table
        dtype = np.asarray(x).dtype
    if dtype.kind in "iub":
        return NUMBERS
    some = rows[mapped.spread(rows, *SOME)] if isinstance(rows, np.ndarray) else rows.rows.data
    far = largest(some) > FAR * 255 * scale
    mapped.release(rows)
    return NUMBERS if far else FLOATS


def warn_of_flags(rows: Any, scale: float, name: str) -> None:
    """Bytes of 0 and 1 are flags or black and white, and would all be next to 0."""
    if rows.dtype != np.uint8 or scale == 1 or mapped.is_large(rows):
        return
    values = rows if isinstance(rows, np.ndarray) else rows.rows.data
    if values.size and values.max() <= 1:
        notices.warn(
            f"{name} is uint8 with no value above 1, and bytes are multiplied by input_scale, {scale:.6g}: if they are "
            f"flags, give floats, or a network with input_scale=1"
        )


def same_numbers(array: Array, name: str, kind: str | None, scale: float) -> Array:
    """An array of any real type as a network trained on this kind takes it.

    Raises
    ------
    ValueError
        If the network was trained on bytes, and these are integers that are none, or floats that are not scaled.
    """
    if array.dtype == np.uint8 or array.size == 0 or kind == NUMBERS:
        return array
    if array.dtype.kind == "f":
        if kind == BYTES:
            expect_scaled(array, name, scale)
        return array
    if array.dtype.kind != "b" and not (array.min() >= 0 and array.max() <= 255):
        if kind == BYTES:
            raise ValueError(
                f"{name} has integers from {array.min()} to {array.max()}, expected 0 to 255: the network was trained "
                f"on bytes"
            )
        return array
    if kind == BYTES:
        return array.astype(np.uint8)
    if array.max() > FAR * 255 * scale:
        notices.warn(
            f"{name} has integers, which are taken as they are, though bytes (uint8) would be multiplied by "
            f"{scale:.6g}: give uint8 if they are bytes, else floats"
        )
    return array


def expect_scaled(array: Array, name: str, scale: float) -> None:
    """Refuse floats that cannot be scaled ones, for a network trained on bytes.

    Raises
    ------
    ValueError
        If they are as large as only bytes are, or whole numbers above the largest scaled byte.
    """
    size = largest(array)
    if size > FAR * 255 * scale or (size > 255 * scale and bool((array == np.rint(array)).all())):
        raise ValueError(
            f"{name} has floats up to {size:g}, expected uint8, or floats that are multiplied by {scale:.6g} already: "
            f"the network was trained on bytes"
        )


def trained_on(net: Signature, kind: str) -> None:
    """Note what a network is trained on from now on."""
    scale = scale_with(net, kind)
    if kind == NUMBERS != net.input_kind:
        net.byte_scale = net.input_scale
    net.input_scale, net.input_kind = scale, kind
    net.takes_plain = kind != BYTES and net.n_in != net.n_out


def scale_with(net: Signature, kind: str) -> float:
    """The factor of bytes in a network that is trained on this kind: numbers only put the network's own aside."""
    if kind == NUMBERS:
        return 1.0
    return net.byte_scale if net.input_kind == NUMBERS else net.input_scale
