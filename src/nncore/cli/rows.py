"""Rows of a file for a model: by the names of the columns it was trained on, or by their places."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.cli.files import expect_lengths, expected_names, label_column, rows_of_array
from nncore.data import classes, npz, tables

Array = NDArray[Any]


class Trained(NamedTuple):
    """Names of all columns and of the label in the table a model was trained on, and whether it had decimal commas."""

    columns: Sequence[str] = ()
    label: str | None = None
    decimal_commas: bool = False


def rows_of_table(
    path: Path, n_in: int, label: str | None, trained: Trained
) -> tuple[Array, list[str] | None, list[str]]:
    """Read features for a model, by name where file and model have names, and labels if the file has them.

    Returns
    -------
    x : ndarray of shape (n_rows, n_in)
    labels : list of str, or None
        As they stand in the file, with a decimal point; "" where one is missing.
    notes : list of str
        What a reader should know of how the file was read.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no table, or its columns are not those of the model.
    """
    wanted = [name for name in trained.columns if name != trained.label]
    table = tables.read(path, wanted or expected_names(label))
    if table.names and wanted:
        features, at = _by_name(table, wanted, label, trained)
    else:
        features, at = _by_place(table, n_in, label, trained)
    labels = [] if at is None else ["" if tables.is_missing(cell) else cell for cell in table.cells(at)]
    numeric = [at] if at is not None and all(cell == "" or tables.is_number(cell) for cell in labels) else []
    commas = table.decimal_commas([*features, *numeric], trained.decimal_commas)
    x = table.numbers(features, commas=commas)
    if at is None:
        return x, None, table.notes
    return x, [label.replace(",", ".") for label in labels] if numeric and commas else labels, table.notes


def _by_name(
    table: tables.Table, wanted: list[str], label: str | None, trained: Trained
) -> tuple[list[int], int | None]:
    names = table.names or []
    if label is None and trained.label in names:
        label = trained.label
    at = None if label is None else label_column(table, label)
    missing = [name for name in wanted if name not in names]
    unknown = [name for name in names if name not in wanted and name != label]
    if missing or unknown:
        faults = [f"lacks {tables.listed(missing)}"] * bool(missing)
        faults += [f"has {tables.listed(unknown)}, unknown to the model"] * bool(unknown)
        optional = f" (and {trained.label}, the label)" if trained.label else ""
        raise ValueError(
            f"{table.path} {' and '.join(faults)}, expected the columns {tables.listed(wanted)}{optional} in any order"
        )
    return [names.index(name) for name in wanted], at


def _by_place(table: tables.Table, n_in: int, label: str | None, trained: Trained) -> tuple[list[int], int | None]:
    """The columns in their order, where the file or the model has no names."""
    if label is not None:
        at: int | None = label_column(table, label)
    elif table.width == n_in + 1:
        order = list(trained.columns or table.names or [])
        at = order.index(trained.label) if trained.label and trained.label in order else table.width - 1
    else:
        at = None
    features = [k for k in range(table.width) if k != at]
    if len(features) != n_in:
        raise ValueError(
            f"{table.path} has {table.width} columns, expected the {n_in} inputs of the model, {n_in + 1} with labels"
        )
    if trained.columns:
        table.notes.append(f"{table.path} has no header: its columns are taken in the order of the training")
    elif table.names:
        table.notes.append(f"the model knows no names of columns: those of {table.path} are taken in their order")
    return features, at


def rows_of_npz(path: Path) -> tuple[Array, list[str] | None]:
    """Return X of a .npz file as rows, and y as text if there is one label for each row: whole floats as 1, not 1.0."""
    arrays, names = npz.read_npz(path, ("X", "y"))
    if "X" not in arrays:
        raise ValueError(f"{path} has the arrays {tables.listed(names) or 'none'}, expected X")
    x, y = rows_of_array(arrays["X"], "X"), arrays.get("y")
    if y is None:
        return x, None
    expect_lengths(path, x, y)
    y = classes.flat(y, path, "y")
    if y.ndim != 1:
        return x, None
    whole = y.dtype.kind in "fb" and bool((y == np.round(y)).all())
    return x, [str(int(v) if whole else v) for v in y.tolist()]
