"""The labels of a file: classes with names, or numbers to be approximated."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.data import tables

Array = NDArray[Any]
TASKS = ("auto", "classes", "numbers")
MANY = 20  # so many different whole numbers are classes only if they count from 0 or 1, with REPEATS rows for each
SOME = 10
REPEATS = 5
OWN = 0.8  # with so many different labels for a row, nearly every row has its own
_WHOLE = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_AS_TEXT = re.compile(r"[+-]?0\d.*|[+-]?\d{16,}", re.ASCII)  # 007 is no 7, and no float keeps 16 digits


class Targets(NamedTuple):
    """Class numbers and their names, or an array (n_samples, n_out) and no names.

    note says what whole numbers were taken for and how to change it.
    """

    t: Array
    classes: list[str]
    note: str = ""


def from_cells(table: tables.Table, k: int, features: Sequence[int], task: str) -> Array:
    """Return the labels in a column of a table as an array of numbers or of words; features: their columns.

    Raises
    ------
    ValueError
        If a row has no label, or none that is a number where they are asked for or most are fractions: names the line.
    """
    cells = table.cells(k)
    lacking = [(line, cell) for line, cell in zip(table.lines, cells, strict=True) if tables.is_missing(cell)]
    if lacking:
        marks = ", ".join(sorted({repr(cell) for _, cell in lacking if cell}))
        raise ValueError(
            f"{table.path}, {_lines([line for line, _ in lacking])} no label{f' ({marks})' if marks else ''}, expected "
            f"one in {table.column(k)}: drop such rows, or give the class another name"
        )
    fractions = sum(tables.is_number(cell) and not float(cell.replace(",", ".")).is_integer() for cell in cells)
    numbers = task == "numbers" or 2 * fractions > len(cells)  # what is no number among them is a mistake
    words = not all(map(tables.is_number, cells)) or any(map(_AS_TEXT.fullmatch, cells))
    if words and not numbers:
        return np.array(cells)
    return table.numbers([k], commas=table.decimal_commas([*features, k]))[:, 0]


def _lines(numbers: Sequence[int]) -> str:
    """Some lines as the subject of a sentence."""
    if len(numbers) == 1:
        return f"line {numbers[0]} has"
    *first, last = [str(number) for number in numbers[:6]]
    last = f"{len(numbers) - 5} more" if len(numbers) > 6 else last
    return f"lines {', '.join(first)} and {last} have"


def encode(y: Array, path: Path, task: str, name: str) -> Targets:
    """Find out what labels stand for, as the task says or by themselves.

    Raises
    ------
    ValueError
        If they do not fit the task, or could not be learned.
    """
    y = flat(y, path, name)
    if y.dtype.kind == "f":
        checks.finite(y, name)
    words = y.dtype.kind in "US"
    whole = words or (y.ndim == 1 and bool((y == np.round(y)).all()))
    if task == "numbers" or (task == "auto" and not whole) or y.ndim == 2:
        if words or task == "classes":
            raise ValueError(f"{path} has labels of dtype {y.dtype} and shape {y.shape}, expected one per row: {task}")
        return Targets(y.reshape(len(y), -1).astype(np.float64), [])
    if not whole:
        raise ValueError(f"{path} has fractions among its labels, expected whole numbers or words for --task classes")
    values, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise ValueError(f"{path} has the label {_name(values[0])} only, expected two classes or more")
    if task == "classes":
        return Targets(numbers, [_name(value) for value in values])
    if words:
        if len(values) > REPEATS and len(values) >= OWN * len(y):
            raise ValueError(
                f"{path} has {len(values)} different labels in {len(y)} rows of {name}, expected classes that repeat: "
                f"name another label column by --label, or decide by --task classes"
            )
        return Targets(numbers, [_name(value) for value in values])
    if _are_numbers(values, counts):
        found = f"{len(values)} different whole numbers from {_name(values[0])} to {_name(values[-1])}"
        note = f"{name} has {found}, taken for numbers: --task classes makes each a class"
        return Targets(y.reshape(-1, 1).astype(np.float64), [], note)
    note = f"{name} has whole numbers, taken for {len(values)} classes: --task numbers approximates them"
    return Targets(numbers, [_name(value) for value in values], note)


def _are_numbers(values: Array, counts: Array) -> bool:
    """Whether whole numbers are too many, too far apart or too rare to be classes."""
    n, k = int(counts.sum()), len(values)
    if k > 2 and k >= OWN * n:
        return True
    from_start = values[0] in (0, 1) and int(values[-1]) - int(values[0]) + 1 == k
    return (k > SOME and n < 2 * k) or (k > MANY and not (from_start and n >= REPEATS * k))


def flat(y: Array, path: Path, name: str) -> Array:
    """Return labels as an array of numbers or of words, one-dimensional where there is one for each row."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} has bytes in {name} that are no UTF-8: {error}") from None
    if y.dtype.kind == "U":
        if y.ndim == 1 and any(map(tables.is_missing, y.tolist())):
            i = [tables.is_missing(text) for text in y.tolist()].index(True)
            raise ValueError(f"{path} has no label in {name}[{i}] ({str(y[i])!r}), expected one in every row: drop it")
        return y
    return checks.numbers(y, name)


def _name(value: Any) -> str:
    """The name of a class: 1.0 and 1 are the same."""
    return str(value) if isinstance(value, str) else str(int(value))


def names_as(labels: Sequence[Any], classes: Sequence[str]) -> list[str]:
    """Return the names of given labels as the classes have them: where all these are whole numbers, 1.0 means 1."""
    if not all(map(_WHOLE.fullmatch, classes)):
        return [str(label) for label in labels]
    return [_name_of_number(str(label)) for label in labels]


def _name_of_number(text: str) -> str:
    if not tables.is_number(text) or _AS_TEXT.fullmatch(text):
        return text
    value = float(text.replace(",", "."))
    return str(int(value)) if value.is_integer() else text
