"""The data of the command: data sets by name, and .npz, .csv and .tsv files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore.core import checks
from nncore.data import advice, datasets, npz, tables
from nncore.data import classes as _targets
from nncore.data.classes import TASKS

Array = NDArray[Any]
NAMES = ("digits", "mnist", "fashion-mnist", "moons")
FILES = (".npz", *tables.ENDINGS)
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


@dataclass
class Source:
    """A data set split for training.

    Attributes
    ----------
    x_train, x_test : ndarray of shape (n_samples, n_in)
        uint8 or floats.
    t_train, t_test : ndarray
        Class numbers (n_samples,) if there are classes, else targets (n_samples, n_out).
    classes : list of str
        Names of the classes; empty for numbers to be approximated.
    input_scale : float
        For uint8 data.
    image_shape : tuple of int, or None
        Rows and columns, if a sample is an image.
    columns : list of str
        Names of all columns of a table with a header, the label's among them; else empty.
    label : str or None
        Name of the label column, where columns have names.
    decimal_commas : bool
        Whether a table has them.
    labels : str
        That they are whole numbers and were taken for classes, and how to change it.
    notes : list of str
        What a reader should know of how a file was read.
    """

    name: str
    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array
    classes: list[str]
    input_scale: float = 1 / 255
    image_shape: tuple[int, int] | None = None
    columns: list[str] = field(default_factory=list)
    label: str | None = None
    decimal_commas: bool = False
    labels: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.x_train.shape[1])

    @property
    def n_out(self) -> int:
        """Number of outputs: classes, or numbers to be approximated."""
        return len(self.classes) or int(self.t_train.shape[1])

    def feature(self, k: int) -> str:
        """Return the name of the k-th feature for messages."""
        names = [name for name in self.columns if name != self.label]
        return f"column {names[k]}" if names else f"feature {k + 1}"


def load(name: str, *, test_size: float = 0.2, label: str | None = None, task: str = "auto", seed: int = 0) -> Source:
    """Load a data set by name, or a .npz file with X and y, or a .csv or .tsv file with a label column.

    Files are split at random into training and test rows, unless the .npz holds X_test and y_test.

    Raises
    ------
    OSError
        If a file is not there or cannot be read.
    ValueError
        If the name is unknown, or a file does not hold what it should.
    """
    if name in NAMES and (test_size, label, task) != (0.2, None, "auto"):
        raise ValueError(f"--test-size, --label and --task are given, expected them for files only: {name} has its own")
    if name in ("mnist", "fashion-mnist"):
        loader = datasets.load_mnist if name == "mnist" else datasets.load_fashion_mnist
        (x, t), (x_test, t_test) = loader(normalize=False)
        classes = list(FASHION) if name == "fashion-mnist" else [str(k) for k in range(10)]
        return Source(name, x, t, x_test, t_test, classes, image_shape=(28, 28))
    if name == "digits":
        (x, t), (x_test, t_test) = datasets.load_digits(normalize=False)
        return Source(name, x, t, x_test, t_test, [str(k) for k in range(10)], 1 / 16, (8, 8))
    if name == "moons":
        (x, t), (x_test, t_test) = datasets.load_moons()
        return Source(name, x, t, x_test, t_test, ["0", "1"])
    path = Path(name)
    if path.suffix.lower() not in FILES:
        raise ValueError(f"DATASET is {name!r}, expected one of {', '.join(NAMES)}, or a .npz, .csv or .tsv file")
    expect_file(path, "DATASET")
    if not 0 < test_size < 1:
        raise ValueError(f"--test-size is {test_size}, expected a number between 0 and 1")
    checks.choice(task, "--task", TASKS)
    if path.suffix.lower() != ".npz":
        return _from_table(path, label, test_size, task, seed)
    if label is not None:
        raise ValueError(f"--label is {label!r}, expected it for tables only: the labels of {path} are its array y")
    return _from_npz(path, test_size, task, seed)


def expect_range(x: Array, dtype: Any, name: str) -> None:
    """Refuse features that become infinite in the network's float type.

    Raises
    ------
    ValueError
        If there is one.
    """
    if x.dtype == np.float64 and np.dtype(dtype) == np.float32:
        largest = max(x.max(), -x.min())
        if largest > np.finfo(np.float32).max:
            raise ValueError(f"{name} has values up to {largest:.3g}, more than float32 holds: scale them")


def expect_file(path: Path, argument: str) -> None:
    """Refuse a file that is not there before anything is done with it.

    Raises
    ------
    ValueError
        If there is no such file, or it is a folder.
    """
    if path.is_dir():
        raise ValueError(f"{argument} is {str(path)!r}, which is a folder, expected a file")
    if not path.exists():
        raise ValueError(f"{argument} is {str(path)!r}, but there is no such file")


def _from_table(path: Path, label: str | None, test_size: float, task: str, seed: int) -> Source:
    table = tables.read(path, _known(label))
    if table.width == 1:
        delimiters = "commas, semicolons, tabs or bars"
        raise ValueError(f"{path} has one column, expected features and a label column, separated by {delimiters}")
    at = table.width - 1 if label is None else _position(table, label)
    features = [k for k in range(table.width) if k != at]
    y = _targets.from_cells(table, at, features, task)
    numeric = [at] if y.dtype.kind == "f" else []
    commas = table.decimal_commas([*features, *numeric])
    x = table.numbers(features, commas=commas)
    source = _split(path, x, y, test_size, task, seed, table.column(at))
    source.notes = [*table.notes, *advice.on_counting(x, table, features), *source.notes]
    source.columns, source.decimal_commas = table.names or [], commas
    source.label = table.names[at] if table.names else None
    return source


def _known(label: str | None) -> list[str]:
    """The name that a header must have; a number may as well be data."""
    return [] if label is None or tables.is_number(label) else [label]


def _position(table: tables.Table, label: str) -> int:
    """Where the label column is."""
    if table.names is None or label not in table.names:
        known = tables.listed(table.names) if table.names else "no header"
        raise ValueError(f"--label is {label!r}, but {table.path} has {known}")
    return table.names.index(label)


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
    table = tables.read(path, wanted or _known(label))
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
    at = None if label is None else _position(table, label)
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
        at: int | None = _position(table, label)
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


def _from_npz(path: Path, test_size: float, task: str, seed: int) -> Source:
    arrays, names = npz.read_npz(path, ("X", "y", "X_test", "y_test"))
    known = tables.listed([repr(name)[1:-1] for name in names]) or "none"
    if not {"X", "y"} <= set(arrays):
        raise ValueError(f"{path} has the arrays {known}, expected X and y")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise ValueError(f"{path} has the arrays {known}, expected X_test and y_test together or neither")
    for key in ("y", "y_test"):
        if key in arrays and (arrays[key].ndim not in (1, 2) or 0 in arrays[key].shape[1:]):
            raise ValueError(
                f"{path} has {key} of shape {arrays[key].shape}, expected (n_samples,) or (n_samples, n_out)"
            )
    x, y = rows_of_array(arrays["X"], "X"), arrays["y"]
    if "X_test" not in arrays:
        return _split(path, x, y, test_size, task, seed, "y")
    x_test, y_test = rows_of_array(arrays["X_test"], "X_test"), arrays["y_test"]
    _check_lengths(path, x, y)
    _check_lengths(path, x_test, y_test)
    _check_pairs(path, x, x_test, y, y_test)
    targets = _targets.encode(np.concatenate([y, y_test]), path, task, "y")
    t, t_test = targets.t[: len(y)], targets.t[len(y) :]
    return _source(path, (x, t, x_test, t_test), targets)


def rows_of_npz(path: Path) -> tuple[Array, list[str] | None]:
    """Return X of a .npz file as rows, and y as text if there is one label for each row: whole floats as 1, not 1.0."""
    arrays, names = npz.read_npz(path, ("X", "y"))
    if "X" not in arrays:
        raise ValueError(f"{path} has the arrays {tables.listed(names) or 'none'}, expected X")
    x, y = rows_of_array(arrays["X"], "X"), arrays.get("y")
    if y is None:
        return x, None
    _check_lengths(path, x, y)
    y = _targets.flat(y, path, "y")
    if y.ndim != 1:
        return x, None
    whole = y.dtype.kind in "fb" and bool((y == np.round(y)).all())
    return x, [str(int(v) if whole else v) for v in y.tolist()]


def _check_pairs(path: Path, x: Array, x_test: Array, y: Array, y_test: Array) -> None:
    """Refuse test data of another kind than the training data: bytes are scaled, floats are not."""
    if x.shape[1] != x_test.shape[1] or (x.dtype == np.uint8) != (x_test.dtype == np.uint8):
        raise ValueError(
            f"{path} has X with {x.shape[1]} features of {x.dtype} and X_test with {x_test.shape[1]} of "
            f"{x_test.dtype}, expected the same"
        )
    if y.shape[1:] != y_test.shape[1:] or (y.dtype.kind in "US") != (y_test.dtype.kind in "US"):
        raise ValueError(
            f"{path} has y of shape {y.shape} and dtype {y.dtype}, y_test of {y_test.shape} and {y_test.dtype}, "
            f"expected the same kind"
        )


def rows_of_array(x: Array, name: str) -> Array:
    """Return samples as rows of numbers, uint8 or floats: images are flattened."""
    array = checks.numbers(x, name)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (n_samples, n_features), none of them 0")
    array = array.reshape(len(array), -1)
    return array if array.dtype == np.uint8 else checks.finite(checks.floats(array, name), name)


def _check_lengths(path: Path, x: Array, y: Array) -> None:
    if y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        n = 0 if y.ndim == 0 else len(y)
        raise ValueError(f"{path} has {len(x)} rows of X and {n} of y, expected the same number, 1 or more")


def _split(path: Path, x: Array, y: Array, test_size: float, task: str, seed: int, name: str) -> Source:
    _check_lengths(path, x, y)
    targets = _targets.encode(y, path, task, name)
    order = np.random.default_rng(seed).permutation(len(x))
    n_test = max(1, round(test_size * len(x)))
    if n_test >= len(x):
        raise ValueError(f"{path} has {len(x)} rows, expected enough for a training and a test set")
    test, train, t = order[:n_test], order[n_test:], targets.t
    return _source(path, (x[train], t[train], x[test], t[test]), targets)


def _source(path: Path, arrays: tuple[Array, Array, Array, Array], targets: _targets.Targets) -> Source:
    """The source of x, t, x_test, t_test, with notes on what may surprise."""
    source = Source(path.name, *arrays, targets.classes)
    if not targets.classes:
        source.notes = [f"{path}: {targets.note}"] if targets.note else []
        return source
    source.labels = targets.note
    counts = np.bincount(source.t_train, minlength=len(targets.classes))
    rare = [name for name, count in zip(targets.classes, counts, strict=True) if count < 2]
    if rare:
        few = "more than one training row has" if counts.min() else "training row, or just one, has"
        source.notes = [f"{path}: no {few} the class {tables.listed(rare, 5)}, too few to learn it"]
    return source
