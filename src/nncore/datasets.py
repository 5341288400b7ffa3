"""Data sets as NumPy arrays, and the reader of IDX files."""

from nncore.data.datasets import (
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_moons,
    read_idx,
)

__all__ = [
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "load_moons",
    "read_idx",
]
